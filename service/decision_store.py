"""Decisions and their outcomes in SQL. Rows in, rows out."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from service.changes import DECISIONS, note_change
from service.database import among, insert_into, one_of
from service.series import Series, lock_series, of_series
from service.tables import decision_outcomes, decisions

OPEN, SUPERSEDED, SEEN = "open", "superseded", "seen"
ORDERED = ("ordered", "changed")
CHUNK = 400  # values of one IN list
AT_ONCE = 500  # rows of one insert
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
Row = dict[str, Any]
BRIEF = [column for column in decisions.c if column.name not in ("inputs", "answer", "observation")]


class Advised(NamedTuple):
    """A decision whose goods may be on their way."""

    id: str
    order_date: date
    expected_receipt_date: date
    quantity: float  # what was ordered, or else advised
    status: str
    seen: list[tuple[date, float]]  # the open orders that it knew
    made_at: datetime = LONG_AGO

    def counts_after(self, day: date) -> bool:
        """Whether it may say something of an order at the end of `day` or later: its goods are not there yet, and it did not give
        way to another on an earlier day."""
        return self.expected_receipt_date > day and (self.status != SUPERSEDED or self.order_date >= day)


def add_decisions(connection: sa.Connection, rows: Sequence[Row], *, late: bool = False) -> None:
    """Store decisions; one that is there already stays as it is, an open one for the same order gives way.

    Args:
        connection: in a transaction.
        rows: the columns of `decisions`; no two of the same series and order, unless late.
        late: they were made a while ago; one that a newer one for the same order has followed gives way itself.
    """
    lock_series(connection, [(row["location_id"], row["item_id"]) for row in rows])
    note_change(connection, DECISIONS, [(row["item_id"], row["location_id"]) for row in rows])
    if late:
        rows = [row | {"status": SUPERSEDED} if _followed(connection, row) else row for row in rows]
    for at in range(0, len(rows), AT_ONCE):
        part = rows[at : at + AT_ONCE]
        _supersede(connection, [row for row in part if row["status"] == OPEN])
        connection.execute(insert_into(connection, decisions).on_conflict_do_nothing(), part)
        fresh = [row["id"] for row in part if row["status"] == OPEN]
        for start in range(0, len(fresh), CHUNK):  # what gave way earlier and is asked again counts again
            again = one_of(connection, decisions.c.id, fresh[start : start + CHUNK])
            closed = decisions.c.status == SUPERSEDED
            connection.execute(sa.update(decisions).where(again, closed).values(status=OPEN))


def _followed(connection: sa.Connection, row: Row) -> bool:
    d = decisions.c
    same = d.location_id == row["location_id"], d.item_id == row["item_id"], d.order_date == row["order_date"]
    later = sa.select(d.id).where(*same, d.id != row["id"], d.created_at > row["created_at"], d.status != SUPERSEDED)
    return connection.execute(later.limit(1)).first() is not None


def _supersede(connection: sa.Connection, rows: Sequence[Row]) -> None:
    """Close what is open for the same orders under another number."""
    keys = decisions.c.location_id, decisions.c.item_id, decisions.c.order_date
    wanted = [(row["location_id"], row["item_id"], row["order_date"]) for row in rows]
    is_open = decisions.c.status == sa.literal_column(f"'{OPEN}'")  # as SQLite knows the index of open ones again
    there = sa.select(decisions.c.id).where(among(connection, keys, wanted), is_open)
    old = set(connection.execute(there).scalars()) - {row["id"] for row in rows}
    for at in range(0, len(old), CHUNK):
        part = sorted(old)[at : at + CHUNK]
        still = one_of(connection, decisions.c.id, part), decisions.c.status == OPEN
        connection.execute(sa.update(decisions).where(*still).values(status=SUPERSEDED))


def advised_after(
    connection: sa.Connection, after: date, series: Collection[Series] | None = None
) -> dict[Series, list[Advised]]:
    """Decisions that count after a day (`Advised.counts_after`), or those of them on some series, by series, oldest first."""
    quantity = sa.func.coalesce(decisions.c.ordered_quantity, decisions.c.order_quantity).label("quantity")
    d = decisions.c
    query = sa.select(
        d.id, d.item_id, d.location_id, d.order_date, d.expected_receipt_date, quantity, d.status, d.inputs, d.created_at
    )  # fmt: skip
    telling = sa.or_(d.status != SUPERSEDED, d.order_date >= after)
    query = query.where(d.expected_receipt_date > after, telling).order_by(d.order_date, d.created_at, d.id)
    found: dict[Series, list[Advised]] = {}
    for part in (
        [query] if series is None else [query.where(chosen) for chosen in of_series(connection, decisions, series)]
    ):
        for row in connection.execute(part):
            seen = [(date.fromisoformat(day), units) for day, units in json.loads(row.inputs)["open_orders"]]
            one = Advised(
                row.id, row.order_date, row.expected_receipt_date, row.quantity, row.status, seen, row.created_at
            )  # fmt: skip
            found.setdefault((row.item_id, row.location_id), []).append(one)
    return found


def mark_seen(connection: sa.Connection, ids: Sequence[str]) -> None:
    """Open decisions whose orders have shown up: from now on they are not expected besides."""
    if not ids:
        return
    d = decisions.c
    parts = [ids[at : at + CHUNK] for at in range(0, len(ids), CHUNK)]
    mine = sa.select(d.item_id, d.location_id)
    found = [row for part in parts for row in connection.execute(mine.where(one_of(connection, d.id, part)))]
    lock_series(connection, [(row.location_id, row.item_id) for row in found])
    note_change(connection, DECISIONS, [(row.item_id, row.location_id) for row in found])
    for part in parts:
        expected = one_of(connection, d.id, part), d.status.in_((OPEN, *ORDERED))
        connection.execute(sa.update(decisions).where(*expected).values(status=SEEN))


def find_decision(connection: sa.Connection, decision_id: str) -> Row | None:
    """One decision with all that it saw."""
    query = sa.select(decisions).where(decisions.c.id == decision_id)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else dict(row)


def lock_decision(connection: sa.Connection, decision_id: str) -> Row | None:
    """The same, and others are kept off its series until the transaction ends. The series is what everybody locks first:
    a lock on the decision's row would wait for one that waits for us."""
    row = find_decision(connection, decision_id)
    if row is None:
        return None
    lock_series(connection, [(row["location_id"], row["item_id"])])
    return find_decision(connection, decision_id)


def decisions_page(
    connection: sa.Connection, matching: Row, after: tuple[datetime, str] | None, limit: int
) -> list[Row]:
    """Some decisions, oldest first, without what they saw.

    Args:
        connection: to read with.
        matching: columns and the values they must have.
        after: time and number of the last one before these.
        limit: at most so many.
    """
    query = sa.select(*BRIEF)
    for column, value in matching.items():
        query = query.where(decisions.c[column] == value)
    if after is not None:
        place = sa.tuple_(decisions.c.created_at, decisions.c.id)
        query = query.where(place > sa.tuple_(*map(sa.literal, after, [column.type for column in place.clauses])))
    query = query.order_by(decisions.c.created_at, decisions.c.id).limit(limit)
    return [dict(row) for row in connection.execute(query).mappings()]


def add_outcome(
    connection: sa.Connection, decision: Row, status: str, quantity: float | None, note: str, by: str
) -> None:
    """What became of a decision, as `lock_decision` gave it; an earlier outcome stays in the history. Where an order was placed,
    others open for it are closed; that a draft was thrown away says nothing of a newer answer."""
    mine = decision_outcomes.c.decision_id == decision["id"]
    number = connection.scalar(sa.select(sa.func.count()).select_from(decision_outcomes).where(mine)) or 0
    connection.execute(
        sa.insert(decision_outcomes).values(
            decision_id=decision["id"], number=number + 1, status=status, quantity=quantity, note=note,
            at=datetime.now(UTC), by=by,
        )
    )  # fmt: skip
    note_change(connection, DECISIONS, [(decision["item_id"], decision["location_id"])])
    ordered = decision["order_quantity"] if status == "ordered" else quantity
    settled = sa.update(decisions).where(decisions.c.id == decision["id"])
    connection.execute(settled.values(status=status, ordered_quantity=ordered))
    if status in ORDERED:
        _supersede(connection, [decision])


def outcomes_of(connection: sa.Connection, decision_id: str) -> list[Row]:
    """Every outcome that was told, oldest first."""
    query = sa.select(decision_outcomes).where(decision_outcomes.c.decision_id == decision_id)
    return [dict(row) for row in connection.execute(query.order_by(decision_outcomes.c.number)).mappings()]
