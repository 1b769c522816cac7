"""Decisions that an expert had a hand in, in SQL: those that followed an override, and those that were ordered otherwise.
Rows in, rows out.

Of the decisions for one order the one that was in force is taken: never one that gave way, and of those left one that was
ordered before one that lies open, before one that was rejected. A day on which no order was due has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

import sqlalchemy as sa

from service.database import one_of
from service.decision_store import CHUNK, OPEN, ORDERED, SEEN, SUPERSEDED, Row
from service.series import Series
from service.tables import decision_outcomes, decisions, items, overrides

CHANGED = "changed"
REJECTED = "rejected"
_RANK = {**dict.fromkeys((*ORDERED, SEEN), 0), OPEN: 1, REJECTED: 2}
d, o = decisions.c, overrides.c


class Wanted(NamedTuple):
    """Which labels; None: all."""

    order_from: date | None = None
    order_to: date | None = None
    author: str | None = None
    promotion_id: str | None = None
    newest: bool = False  # where there are more than one file takes, those of the last days


def followed(
    connection: sa.Connection, override_id: int, series: Series | None = None, most: int | None = None
) -> list[str] | None:
    """Decisions in force that followed an override, by number, in the order of their orders; None where there are more
    than `most`.

    Args:
        connection: to read with.
        override_id: the override.
        series: only those on this one.
        most: how many at most.
    """
    query = _slim().where(d.override_id == override_id)
    if series is not None:
        query = query.where(d.item_id == series[0], d.location_id == series[1])
    return _in_force(connection, [query], most)


def labelled(connection: sa.Connection, wanted: Wanted, most: int) -> list[str] | None:
    """Decisions in force that are labels, by number, in the order of their orders; None where there are more than `most`, on
    the last day alone where the newest are wanted."""
    followed = _slim().join(overrides, o.id == d.override_id).where(d.override_id.is_not(None))
    queries = [followed]
    if wanted.promotion_id is not None:
        queries = [followed.where(o.promotion_id == wanted.promotion_id)]
    else:
        queries.append(_executed())
    queries = [_between(query, wanted) for query in queries]
    if wanted.newest:
        first = _last_days(connection, queries, most)
        queries = [query.where(d.order_date >= first) for query in queries]
    return _in_force(connection, queries, most)


def _executed() -> sa.Select[Any]:
    told = sa.select(decision_outcomes.c.decision_id).where(decision_outcomes.c.status == CHANGED)
    executed = _slim().where(d.id.in_(told), d.status == CHANGED, d.override_id.is_(None))
    return executed.where(d.ordered_quantity != d.order_quantity)


def _last_days(connection: sa.Connection, queries: Sequence[sa.Select[Any]], most: int) -> date:
    """From which order day on there are at most so many rows; the last one where it alone has more."""
    rows = sa.union_all(*queries).subquery()
    by_day = (
        sa.select(rows.c.order_date, sa.func.count()).group_by(rows.c.order_date).order_by(rows.c.order_date.desc())
    )
    first, total = date.min, 0
    for day, count in connection.execute(by_day):
        total += count
        if total > most and first > date.min:
            return first
        first = day
    return first


def label_rows(connection: sa.Connection, ids: Sequence[str], *, observed: bool) -> list[Row]:
    """Decisions in the order of their numbers `ids`, each with its item's category, its override's promotion and time, and
    who told its newest outcome, with the note.

    Args:
        connection: to read with.
        ids: their numbers.
        observed: whether with what they saw.
    """
    columns = [column for column in decisions.c if observed or column.name != "observation"]
    same = (items.c.location_id == d.location_id) & (items.c.item_id == d.item_id)
    query = sa.select(*columns, items.c.category, o.promotion_id, o.created_at.label("override_created_at"))
    query = query.select_from(decisions.outerjoin(items, same).outerjoin(overrides, o.id == d.override_id))
    told = sa.select(decision_outcomes).order_by(decision_outcomes.c.number)
    found: dict[str, dict[str, Any]] = {}
    for at in range(0, len(ids), CHUNK):
        part = ids[at : at + CHUNK]
        found |= {
            row["id"]: dict(row) for row in connection.execute(query.where(one_of(connection, d.id, part))).mappings()
        }
        for row in connection.execute(told.where(one_of(connection, decision_outcomes.c.decision_id, part))):
            found[row.decision_id] |= {"told_by": row.by, "note": row.note}
    return [found[one] for one in ids]


def ordered_otherwise(row: Row) -> bool:
    """Whether another quantity was told than was advised: then that one is what the expert decided, whatever was followed before."""
    return bool(row["status"] == CHANGED and row["ordered_quantity"] != row["order_quantity"])


def _slim() -> sa.Select[Any]:
    query = sa.select(d.id, d.item_id, d.location_id, d.order_date, d.status, d.created_at)
    return query.where(d.status != SUPERSEDED, d.review_due)


def _between(query: sa.Select[Any], wanted: Wanted) -> sa.Select[Any]:
    if wanted.order_from is not None:
        query = query.where(d.order_date >= wanted.order_from)
    return query if wanted.order_to is None else query.where(d.order_date <= wanted.order_to)


def _in_force(connection: sa.Connection, queries: Sequence[sa.Select[Any]], most: int | None) -> list[str] | None:
    best: dict[tuple[str, str, date], sa.Row[Any]] = {}
    for query in queries:
        for row in connection.execute(query):
            key = (row.location_id, row.item_id, row.order_date)
            if key not in best or _order(best[key]) < _order(row):
                best[key] = row
            if most is not None and len(best) > most:
                return None
    ordered = sorted(best.values(), key=lambda row: (row.order_date, row.location_id, row.item_id))
    return [row.id for row in ordered]


def _order(row: sa.Row[Any]) -> tuple[int, Any, str]:
    """The larger one is in force."""
    return -_RANK[row.status], row.created_at, row.id
