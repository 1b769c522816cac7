"""Order memory: what was advised counts as on order until the caller says what became of it.

An ERP that asks again before it has ordered, or whose orders show up late, must not be told to buy twice. So a decision
counts until it should have arrived, or is too old to be believed; one that was rejected does not. Orders that have newly
appeared among the open ones since are taken to be what became of it: they count once, and the decision is `seen` from then on.

A decision of an earlier day is stock on its way like any other. What was ordered today already is another thing: the
answer is the same as before it was, less what it brings, for it is the same order.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from service.asked import Arrivals, Asked
from service.database import UNANSWERED, within
from service.decide import Override, Span
from service.decision_store import OPEN, ORDERED, SEEN, SUPERSEDED, Advised, add_decisions, advised_after, mark_seen
from service.rollout import Remembered
from service.series import Series
from service.spool import Spool
from service.store import Store
from service.view import View
from simulator.ordering import OrderRules

STORED_WITHIN_S = 10.0  # else the decisions are spooled


class Outstanding(NamedTuple):
    """What decisions add to the open orders of one series."""

    reserved: Arrivals  # advised on earlier days, and not among the open orders yet
    shown: Arrivals  # open orders that are today's own
    placed: float  # units ordered today that are not among the open orders yet
    seen: list[str]  # decisions whose orders have shown up, by number


NOTHING = Outstanding([], [], 0.0, [])


class Recording(NamedTuple):
    """For whom answers are remembered."""

    caller: str
    client_ref: str


class Memory:
    """Reads and writes decisions."""

    def __init__(self, store: Store, view: View, spool: Spool, expiry_days: int) -> None:
        self._store, self._view, self._spool, self._expiry_days = store, view, spool, expiry_days

    def advised(self, series: Sequence[Series], day: date) -> dict[Series, list[Advised]]:
        """Decisions on some series that count for an order at the end of `day`, oldest first."""
        if day >= self._view.decisions_after:
            known = {key: self._view.decisions(key) for key in series}
        else:  # a question about the past
            with self._store.database.reading() as connection:
                known = advised_after(connection, day, series)
        first = day - timedelta(days=self._expiry_days)
        return {key: [one for one in found if counts(one, first, day)] for key, found in known.items() if found}

    def record(self, recording: Recording, parts: Sequence[Remembered]) -> None:
        """Remember answers in one transaction; while the database does not answer, on disk until it does. Each gets its number;
        the same answer of the same policy to the same question has the same one.

        Args:
            recording: for whom.
            parts: what was answered, no series twice.
        """
        now = datetime.now(UTC)
        rows: list[dict[str, Any]] = []
        for part in parts:
            made = _rows(part, recording, now)
            rows += made.values()
            for n, row in made.items():
                part.answers[n].decision_id = row["id"]
        if rows:
            self._keep(rows, [number for part in parts for n in part.answers for number in part.asked.stock[n].seen])

    def _keep(self, rows: list[dict[str, Any]], seen: list[str]) -> None:
        given_up = threading.Event()

        def store() -> bool:
            with self._store.database.writing() as connection:
                if not given_up.is_set():  # else they are spooled, and a newer answer may have taken their place
                    add_decisions(connection, rows)
                    mark_seen(connection, seen)
            return True

        try:
            self._store.database.check_up()
            within(STORED_WITHIN_S, store)
        except UNANSWERED:
            given_up.set()
            self._spool.put(rows, seen)
            self._view.expect({(row["item_id"], row["location_id"]): _advised(row) for row in rows})


def _rows(part: Remembered, recording: Recording, now: datetime) -> dict[int, dict[str, Any]]:
    """Columns of decisions, by place among the series asked."""
    asked, series, blobs = part.asked, part.series, part.asked.seen.blobs
    rows: dict[int, dict[str, Any]] = {}
    rules = _rules(asked.rules)
    for n, answer in part.answers.items():
        said, version = answer.model_dump_json(), asked.policy.version
        inputs = json.dumps(_inputs(asked, n, rules[n], part.overrides[n], part.spans[n]), sort_keys=True)
        rows[n] = {
            "id": _number(series[n], said, inputs, blobs[n], version), "item_id": series[n][0], "location_id": series[n][1],
            "order_date": answer.order_date, "expected_receipt_date": answer.expected_receipt_date,
            "order_quantity": answer.order_quantity, "review_due": answer.review_due, "status": OPEN,
            "policy_version": version, "client_ref": recording.client_ref, "made_for": recording.caller,
            "created_at": now, "inputs": inputs, "answer": said, "observation": zlib.compress(blobs[n], 1),
            "override_id": None if (followed := part.overrides[n]) is None else followed.id,
        }  # fmt: skip
    return rows


def _advised(row: dict[str, Any]) -> Advised:
    knew = [(date.fromisoformat(day), units) for day, units in json.loads(row["inputs"])["open_orders"]]
    return Advised(
        row["id"], row["order_date"], row["expected_receipt_date"], row["order_quantity"], row["status"], knew, row["created_at"]
    )  # fmt: skip


def counts(one: Advised, first: date, day: date) -> bool:
    """Whether a decision says anything of an order at the end of `day`: of those of the same day all but the rejected ones;
    of earlier ones those that were ordered or seen, or lie open since `first` at the earliest."""
    if one.expected_receipt_date <= day or one.order_date > day:
        return False
    if one.order_date == day:
        return one.status in (OPEN, SUPERSEDED, SEEN, *ORDERED)
    told = one.status in (SEEN, *ORDERED) or (one.status == OPEN and one.order_date >= first)
    return told and one.quantity > 0


def outstanding(advised: list[Advised], arrivals: Arrivals, day: date) -> Outstanding:
    """What decisions add to the open orders of one series.

    Args:
        advised: decisions, oldest first.
        arrivals: open orders as they are known now.
        day: as-of day.
    """
    if not advised:
        return NOTHING
    today = [one for one in advised if one.order_date == day]
    earlier = [one for one in advised if one.order_date < day]
    shown = _appeared(arrivals, today[0].seen, day, today) if today else []
    placed = sum(one.quantity for one in today if one.status in ORDERED) - sum(units for _, units in shown)
    appeared = _appeared(arrivals, [*earlier[0].seen, *shown], day, earlier) if earlier else []
    new = sum(units for _, units in appeared)
    reserved: Arrivals = []
    matched: list[str] = []
    for one in earlier:
        counted = min(new, one.quantity)
        new -= counted
        if one.status == SEEN:
            continue
        if one.quantity > counted:
            reserved.append((one.expected_receipt_date, one.quantity - counted))
        else:
            matched.append(one.id)
    return Outstanding(reserved, shown, max(0.0, placed), matched)


def _appeared(arrivals: Arrivals, seen: Arrivals, day: date, advised: list[Advised]) -> Arrivals:
    """Open orders that were not there when others were seen; those that should have come by `day` say nothing.

    An order that was only moved to another date is none: what is missing on one date makes up for what is new on another,
    and an overdue order that is gone for a new one of its size, unless the new one is just what was advised.
    """
    expected = [(one.expected_receipt_date, one.quantity) for one in advised]
    change: dict[date, float] = {}
    late = [units for arrival, units in seen if arrival <= day and (arrival, units) not in arrivals]
    for sign, orders in ((1.0, arrivals), (-1.0, seen)):
        for arrival, units in orders:
            if arrival > day:
                change[arrival] = change.get(arrival, 0.0) + sign * units
    missing = -sum(units for units in change.values() if units < 0)
    found: Arrivals = []
    for arrival in sorted(change):
        moved = min(max(change[arrival], 0.0), missing)
        missing -= moved
        left = change[arrival] - moved
        if left in late and (arrival, left) not in expected:
            late.remove(left)
        elif left > 0:
            found.append((arrival, left))
    return found


def _inputs(asked: Asked, n: int, rules: dict[str, Any], override: Override | None, span: Span) -> dict[str, Any]:
    """What the answer rests on besides the observation, as JSON values."""
    stock = asked.stock[n]
    told = None if override is None else asdict(override)
    return {
        "on_hand": stock.on_hand,
        "open_orders": [[day.isoformat(), units] for day, units in stock.arrivals],
        "reserved": [[day.isoformat(), units] for day, units in stock.reserved],
        "shown": [[day.isoformat(), units] for day, units in stock.shown],
        "placed": stock.placed,
        "rules": rules,
        "ordering_mode": asked.policy.ordering_mode,
        "span": [span[0].isoformat(), span[1].isoformat()],
        "override": None if told is None else {k: v.isoformat() if isinstance(v, date) else v for k, v in told.items()},
    }


def _rules(rules: OrderRules) -> list[dict[str, Any]]:
    """The rules of each of N series; infinity, which JSON lacks, is null."""
    columns: dict[str, list[Any]] = {}
    for name, column in vars(rules).items():
        if name != "rounding" and column is not None:
            known = np.isfinite(column).tolist()
            columns[name] = [value if good else None for value, good in zip(column.tolist(), known, strict=True)]
    rows = zip(*columns.values(), strict=True)
    return [{"rounding": rules.rounding, **dict(zip(columns, row, strict=True))} for row in rows]


def _number(series: Series, *said: str | bytes) -> str:
    digest = hashlib.sha256(json.dumps(series).encode())
    for part in said:
        digest.update(part if isinstance(part, bytes) else part.encode())
    return "d-" + base64.b32encode(digest.digest()[:15]).decode().lower()
