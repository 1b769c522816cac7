"""Held batches and stopped places in SQL. Rows in, rows out."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from service.breaker import Finding, no_worse
from service.changes import HOLDS, STOPS, note_change
from service.series import Series, of_series
from service.tables import decisions, holds, stops

HELD, RELEASED = "held", "released"
RELEASES_BACK = timedelta(days=31)  # before the last recorded day; older order days are asked for no more
LAST_ORDERS_BACK = timedelta(days=92)  # an order that is older says nothing of today's
Row = dict[str, Any]


class Release(NamedTuple):
    """What somebody let pass."""

    order_date: date
    location_id: str
    category: str
    findings: list[Finding]


class Stop(NamedTuple):
    """No orders for a location, a category, or a category at a location; empty: all."""

    id: int
    location_id: str
    category: str
    reason: str
    begun_by: str

    def covers(self, location_id: str, category: str) -> bool:
        """Whether a series of that location and category is stopped."""
        return self.location_id in ("", location_id) and self.category in ("", category)


def last_orders(connection: sa.Connection, series: Collection[Series], day: date) -> dict[Series, float]:
    """Units ordered, or else advised, by the last decision on an order day before `day` that was not rejected, by series."""
    d = decisions.c
    newest = sa.func.row_number().over(
        partition_by=(d.location_id, d.item_id), order_by=(d.order_date.desc(), d.created_at.desc())
    )
    found: dict[Series, float] = {}
    for chosen in of_series(connection, decisions, series):
        units = sa.func.coalesce(d.ordered_quantity, d.order_quantity).label("units")
        ranked = sa.select(d.item_id, d.location_id, units, newest.label("place")).where(
            chosen, d.order_date < day, d.order_date >= day - LAST_ORDERS_BACK, d.review_due,
            d.status.not_in(("superseded", "rejected")),
        )  # fmt: skip
        rows = ranked.subquery()
        query = sa.select(rows.c.item_id, rows.c.location_id, rows.c.units).where(rows.c.place == 1)
        found |= {(item, place): float(ordered) for item, place, ordered in connection.execute(query)}
    return found


def add_hold(connection: sa.Connection, day: date, scope: tuple[str, str], findings: Sequence[Finding], by: str) -> int:
    """Hold orders of a location or category. One that is held already keeps what it knows, and takes what is worse or new as
    its next version. Its number."""
    place, category = scope
    h = holds.c
    mine = h.order_date == day, h.location_id == place, h.category == category, h.state == HELD
    query = sa.select(h.id, h.findings, h.version).where(*mine).order_by(h.id).limit(1)
    there = connection.execute(query.with_for_update()).one_or_none()
    if there is not None:
        known = [Finding(**one) for one in json.loads(there.findings)]
        fresh = [
            one for one in findings if not any(seen.measure == one.measure and no_worse(one, seen) for seen in known)
        ]
        if fresh:
            values = {"findings": _told([*known, *fresh]), "version": there.version + 1}
            connection.execute(sa.update(holds).where(h.id == there.id).values(**values))
        return int(there.id)
    row = {
        "order_date": day, "location_id": place, "category": category, "findings": _told(findings), "version": 1,
        "state": HELD, "made_for": by, "created_at": datetime.now(UTC), "released_by": "", "reason": "",
    }  # fmt: skip
    key = connection.execute(sa.insert(holds).values(**row)).inserted_primary_key
    assert key is not None
    note_change(connection, HOLDS)
    return int(key[0])


def _told(findings: Sequence[Finding]) -> str:
    return json.dumps([finding._asdict() for finding in findings])


def find_hold(connection: sa.Connection, number: int, *, locked: bool = False) -> Row | None:
    """One hold; `locked` keeps others from changing it until the transaction ends."""
    query = sa.select(holds).where(holds.c.id == number)
    row = connection.execute(query.with_for_update() if locked else query).mappings().one_or_none()
    return None if row is None else {**row, "findings": json.loads(row["findings"])}


def release_hold(connection: sa.Connection, number: int, by: str, reason: str) -> None:
    """Let pass what is held."""
    values = {"state": RELEASED, "released_by": by, "released_at": datetime.now(UTC), "reason": reason}
    connection.execute(sa.update(holds).where(holds.c.id == number).values(**values))
    note_change(connection, HOLDS)


def holds_page(connection: sa.Connection, state: str | None, after: int, limit: int) -> list[Row]:
    """Some holds in the order of their numbers."""
    query = sa.select(holds).where(holds.c.id > after)
    if state is not None:
        query = query.where(holds.c.state == state)
    rows = connection.execute(query.order_by(holds.c.id).limit(limit)).mappings()
    return [{**row, "findings": json.loads(row["findings"])} for row in rows]


def released_lately(connection: sa.Connection, last: date | None) -> list[Release]:
    """Everything that was released for order days that may still be asked for.

    Args:
        connection: to the database.
        last: day with sales; None: there are none.
    """
    if last is None:
        return []
    h = holds.c
    query = sa.select(h.order_date, h.location_id, h.category, h.findings).where(
        h.state == RELEASED, h.order_date >= last - RELEASES_BACK
    )
    return [
        Release(row.order_date, row.location_id, row.category, [Finding(**one) for one in json.loads(row.findings)])
        for row in connection.execute(query.order_by(h.id))
    ]


def count_held(connection: sa.Connection, last: date | None, period_days: int) -> int:
    """How many holds wait for somebody to look at them.

    Nobody asks for the orders of a day when the next one's are over, whether its feed was mended or the hold forgotten; the
    next one's sales alone say little, for some locations send them early.

    Args:
        connection: to the database.
        last: day with sales; None: there are none, and every hold counts.
        period_days: of the dataset, 1 or 7.
    """
    waiting = [holds.c.state == HELD]
    if last is not None:
        waiting.append(holds.c.order_date >= last - timedelta(days=period_days))
    return connection.scalar(sa.select(sa.func.count()).select_from(holds).where(*waiting)) or 0


def add_stop(connection: sa.Connection, location_id: str, category: str, reason: str, by: str) -> Row:
    """Stop orders from now on."""
    row = {"location_id": location_id, "category": category, "reason": reason, "begun_by": by, "ended_by": ""}
    key = connection.execute(sa.insert(stops).values(**row, begun_at=datetime.now(UTC))).inserted_primary_key
    assert key is not None
    note_change(connection, STOPS)
    found = find_stop(connection, int(key[0]))
    assert found is not None
    return found


def find_stop(connection: sa.Connection, number: int) -> Row | None:
    """One stop, ended or not."""
    row = connection.execute(sa.select(stops).where(stops.c.id == number)).mappings().one_or_none()
    return None if row is None else dict(row)


def end_stop(connection: sa.Connection, number: int, by: str) -> None:
    """Let orders go on; a stop that has ended stays as it is."""
    mine = (stops.c.id == number) & stops.c.ended_at.is_(None)
    connection.execute(sa.update(stops).where(mine).values(ended_at=datetime.now(UTC), ended_by=by))
    note_change(connection, STOPS)


def stops_page(connection: sa.Connection, after: int, limit: int, *, ended: bool) -> list[Row]:
    """Some stops in the order of their numbers; those that have ended too where wanted."""
    query = sa.select(stops).where(stops.c.id > after)
    if not ended:
        query = query.where(stops.c.ended_at.is_(None))
    return [dict(row) for row in connection.execute(query.order_by(stops.c.id).limit(limit)).mappings()]


def active_stops(connection: sa.Connection) -> list[Stop]:
    """Every stop that counts, oldest first."""
    s = stops.c
    query = sa.select(s.id, s.location_id, s.category, s.reason, s.begun_by).where(s.ended_at.is_(None))
    return [Stop(*row) for row in connection.execute(query.order_by(s.id))]
