"""Some series in SQL: the conditions that choose their rows, and the lock that keeps other writings off them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy import Table

from service.database import among
from service.tables import items

Series = tuple[str, str]  # item and location
CHUNK = 400  # series in one IN list; SQLite allows 32,766 variables


def of_series(connection: sa.Connection, table: Table, series: Collection[Series]) -> Iterator[sa.ColumnElement[bool]]:
    """Conditions that together choose the rows of some series."""
    pair, listed = (table.c.location_id, table.c.item_id), sorted((place, item) for item, place in series)
    return (among(connection, pair, listed[at : at + CHUNK]) for at in range(0, len(listed), CHUNK))


def lock_series(connection: sa.Connection, series: Sequence[tuple[str, str]]) -> None:
    """Keep other writings off some series, (location, item), until the transaction ends: two that delete and insert rows
    of one series side by side would not see each other's. In SQLite a writing is alone anyway."""
    if connection.dialect.name == "sqlite":
        return
    pair, listed = (items.c.location_id, items.c.item_id), sorted(series)
    for at in range(0, len(listed), CHUNK):
        mine = among(connection, pair, listed[at : at + CHUNK])
        connection.execute(sa.select(items.c.item_id).where(mine).order_by(*pair).with_for_update())
