"""Upserts of what feeds bring, and pages of what is stored. Rows in, rows out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from service.blocks import write_blocks
from service.changes import ORDERS, note_change
from service.database import among, insert_into
from service.series import lock_series
from service.tables import history, open_orders

AT_ONCE = 1000  # rows of one statement
Row = dict[str, Any]


def upsert(
    connection: sa.Connection, table: sa.Table, key: Sequence[str], rows: Sequence[Row], stamped: str | None = None
) -> int:
    """Insert rows, or put their columns in place of those of the same key; how many are stored.

    Args:
        connection: in a transaction.
        table: where to.
        key: columns that tell rows apart.
        rows: all with the same columns.
        stamped: a column that takes the time of storing.
    """
    now = {stamped: datetime.now(UTC)} if stamped else {}
    query = insert_into(connection, table)
    changed = {name: query.excluded[name] for name in (*rows[0], *now) if name not in key}
    if changed:
        query = query.on_conflict_do_update(index_elements=list(key), set_=changed)
    else:
        query = query.on_conflict_do_nothing()
    for at in range(0, len(rows), AT_ONCE):
        connection.execute(query, [row | now for row in rows[at : at + AT_ONCE]])
    return len(rows)


def write_history(connection: sa.Connection, table: pl.DataFrame) -> int:
    """Upsert rows of history, and with them the blocks that are read; how many are stored.

    Args:
        connection: in a transaction.
        table: item_id, location_id, date and the columns that are told; others stay as they are.
    """
    write_blocks(connection, table)  # first: whoever has a series' blocks may write its rows
    key = ("location_id", "item_id", "date")
    return upsert(connection, history, key, table.to_dicts(), stamped="recorded_at")


def upsert_newer(
    connection: sa.Connection, table: sa.Table, key: Sequence[str], rows: Sequence[Row], newest: str
) -> int:
    """The same, but a row that is older than the stored one by the column `newest` changes nothing."""
    query = insert_into(connection, table)
    changed = {name: query.excluded[name] for name in rows[0] if name not in key}
    later = query.excluded[newest] >= table.c[newest]
    query = query.on_conflict_do_update(index_elements=list(key), set_=changed, where=later)
    columns, ignored = [table.c[name] for name in key], 0
    for at in range(0, len(rows), AT_ONCE):
        part = {tuple(row[name] for name in key): row for row in rows[at : at + AT_ONCE]}
        there = sa.select(*columns, table.c[newest]).where(among(connection, columns, part))
        ignored += sum(one[-1] > part[tuple(one[:-1])][newest] for one in connection.execute(there))
        connection.execute(query, list(part.values()))
    return len(rows) - ignored


def replace_open_orders(connection: sa.Connection, rows: Sequence[Row]) -> int:
    """Put rows in place of everything on order of their series; how many rows were sent."""
    series = sorted({(row["location_id"], row["item_id"]) for row in rows})
    pair = open_orders.c.location_id, open_orders.c.item_id
    lock_series(connection, series)
    note_change(connection, ORDERS, [(item, place) for place, item in series])
    for at in range(0, len(series), AT_ONCE):
        connection.execute(sa.delete(open_orders).where(among(connection, pair, series[at : at + AT_ONCE])))
    kept = [row for row in rows if row["quantity"] > 0]
    for at in range(0, len(kept), AT_ONCE):
        connection.execute(sa.insert(open_orders), kept[at : at + AT_ONCE])
    return len(rows)


def page(
    connection: sa.Connection, table: sa.Table, order: Sequence[str], conditions: Sequence[sa.ColumnElement[bool]],
    after: Sequence[Any] | None, limit: int,
) -> list[Row]:  # fmt: skip
    """Some rows in the order of some columns, which together tell them apart.

    Args:
        connection: to read with.
        table: where from.
        order: the columns.
        conditions: that every row meets.
        after: their values in the last row before these.
        limit: at most so many.
    """
    columns = [table.c[name] for name in order]
    query = sa.select(table).where(*conditions)
    if after is not None:
        query = query.where(sa.tuple_(*columns) > sa.tuple_(*map(sa.literal, after, [c.type for c in columns])))
    return [dict(row) for row in connection.execute(query.order_by(*columns).limit(limit)).mappings()]
