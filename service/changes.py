"""The log of what was changed, from which every process keeps its `View` of the store up to date.

A writing notes what it changes; the notes are stored as its last act, under a lock that is held until it is committed. So
numbers follow the order of commits, and whoever has read up to a number has missed nothing before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from service.tables import changes

LOCK = 7_263_002  # of PostgreSQL's advisory locks
KEPT = 20_000  # changes; who is further behind reads everything anew
MOST_KEYS = 5_000  # of one change; more of them are noted as all

DATASET, HISTORY, TERMS, INVENTORY, ORDERS = "dataset", "history", "terms", "inventory", "open_orders"
OVERRIDES, DECISIONS, KEYS, HOLDS, STOPS = "overrides", "decisions", "keys", "holds", "stops"


class Change(NamedTuple):
    """What one transaction changed of one kind."""

    number: int
    kind: str
    keys: frozenset[Any] | None  # (item, location), location or number, by kind; None: all
    at: datetime  # just before it was committed


def note_change(connection: sa.Connection, kind: str, keys: Iterable[Any] | None = None) -> None:
    """Tell what a writing changes.

    Args:
        connection: of a `Database.writing`.
        kind: one of the above.
        keys: (item, location) of stock, orders and decisions; locations of terms; numbers of overrides. None: all.
    """
    noted: dict[str, set[Any] | None] = connection.info.setdefault("changes", {})
    before = noted.get(kind, set())
    noted[kind] = None if keys is None or before is None else before | set(keys)


def flush(connection: sa.Connection) -> None:
    """Store what was noted; the last act of a transaction."""
    noted: dict[str, set[Any] | None] = connection.info.pop("changes", {})
    if not noted:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
    now, number = datetime.now(UTC), 0
    for kind, keys in noted.items():
        listed = None if keys is None or len(keys) > MOST_KEYS else json.dumps(sorted(keys))
        stored = connection.execute(sa.insert(changes).values(kind=kind, named=listed, at=now))
        assert stored.inserted_primary_key is not None
        number = int(stored.inserted_primary_key[0])
    if number % (KEPT // 10) < len(noted):
        connection.execute(sa.delete(changes).where(changes.c.number <= number - KEPT))


def last_number(connection: sa.Connection) -> int:
    """Of the newest change; 0 where there is none."""
    return int(connection.scalar(sa.select(sa.func.max(changes.c.number))) or 0)


def changes_since(connection: sa.Connection, number: int) -> list[Change] | None:
    """What was changed after a number, oldest first; None where the log no longer reaches back to it."""
    query = sa.select(changes).where(changes.c.number >= number)
    rows = connection.execute(query.order_by(changes.c.number)).all()
    if number and (not rows or rows[0].number != number):
        return None
    return [Change(row.number, row.kind, keys_told(row.named), row.at) for row in rows if row.number > number]


def keys_told(listed: str | None) -> frozenset[Any] | None:
    """The keys of a change as they are stored; None: all."""
    if listed is None:
        return None
    return frozenset(tuple(key) if isinstance(key, list) else key for key in json.loads(listed))
