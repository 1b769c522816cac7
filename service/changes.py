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


class Mark(NamedTuple):
    """The change up to which somebody has read."""

    number: int  # 0: before the first
    at: datetime | None  # when it was stored; a number alone may be given again after a backup was restored


class Change(NamedTuple):
    """What one transaction changed of one kind."""

    mark: Mark
    kind: str
    keys: frozenset[Any] | None  # (item, location), location or number, by kind; None: all

    @property
    def at(self) -> datetime:
        """Just before it was committed."""
        assert self.mark.at is not None
        return self.mark.at


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


def last_mark(connection: sa.Connection) -> Mark:
    """Of the newest change."""
    query = sa.select(changes.c.number, changes.c.at).order_by(changes.c.number.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return Mark(0, None) if row is None else Mark(*row)


def changes_since(connection: sa.Connection, mark: Mark) -> list[Change] | None:
    """What was changed after a mark, oldest first; None where the log no longer reaches back to it, or is another one: a
    backup was restored, or another database put in the place of this."""
    query = sa.select(changes.c.number, changes.c.at, changes.c.kind, changes.c.named)
    rows = connection.execute(query.where(changes.c.number >= mark.number).order_by(changes.c.number)).all()
    found = [Change(Mark(row.number, row.at), row.kind, keys_told(row.named)) for row in rows]
    if not mark.number:
        return found
    return found[1:] if found and found[0].mark == mark else None


def keys_told(listed: str | None) -> frozenset[Any] | None:
    """The keys of a change as they are stored; None: all."""
    if listed is None:
        return None
    return frozenset(tuple(key) if isinstance(key, list) else key for key in json.loads(listed))
