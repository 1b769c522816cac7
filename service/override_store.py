"""Overrides in SQL: every change is a new version, and every version is kept. Rows in, rows out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa

from service.changes import OVERRIDES, note_change
from service.database import one_of
from service.decide import Override
from service.tables import override_versions, overrides

ACTIVE, PENDING, DELETED = "active", "pending", "deleted"
FIELDS = (
    "item_id", "location_id", "category", "selling_from", "selling_to", "mode", "value", "promotion_id", "reason",
    "author", "state",
)  # fmt: skip
CHUNK = 400  # values of one IN list
Row = dict[str, Any]


def add_override(connection: sa.Connection, fields: Row, by: str) -> Row:
    """Store a new one, with the first entry of its history; it counts once the transaction is committed."""
    now = datetime.now(UTC)
    result = connection.execute(
        sa.insert(overrides).values(**fields, version=1, changed_by=by, created_at=now, changed_at=now)
    )
    key = result.inserted_primary_key
    assert key is not None
    _remember(connection, int(key[0]), 1, "created", now, by, fields)
    note_change(connection, OVERRIDES, [int(key[0])])
    found = find_override(connection, int(key[0]))
    assert found is not None
    return found


def change_override(connection: sa.Connection, row: Row, changes: Row, action: str, by: str) -> Row:
    """The next version of a row that was found by `find_override(..., locked=True)`."""
    now, version = datetime.now(UTC), row["version"] + 1
    fields = {name: row[name] for name in FIELDS} | changes
    connection.execute(
        sa.update(overrides)
        .where(overrides.c.id == row["id"])
        .values(**fields, version=version, changed_by=by, changed_at=now)
    )
    _remember(connection, row["id"], version, action, now, by, fields)
    note_change(connection, OVERRIDES, [row["id"]])
    found = find_override(connection, row["id"])
    assert found is not None
    return found


def _remember(
    connection: sa.Connection, override_id: int, version: int, action: str, at: datetime, by: str, fields: Row
) -> None:
    text = json.dumps({name: v.isoformat() if isinstance(v, date) else v for name, v in fields.items()})
    connection.execute(
        sa.insert(override_versions).values(
            override_id=override_id, version=version, action=action, at=at, by=by, fields=text
        )
    )


def find_override(connection: sa.Connection, override_id: int, *, locked: bool = False) -> Row | None:
    """One override, deleted or not; `locked` keeps others from changing it until the transaction ends."""
    query = sa.select(overrides).where(overrides.c.id == override_id)
    row = connection.execute(query.with_for_update() if locked else query).mappings().one_or_none()
    return None if row is None else dict(row)


def versions_of(connection: sa.Connection, override_id: int) -> list[Row]:
    """Every version, oldest first: version, action, at, by, fields."""
    query = sa.select(override_versions).where(override_versions.c.override_id == override_id)
    rows = connection.execute(query.order_by(override_versions.c.version)).mappings()
    return [{**row, "fields": json.loads(row["fields"])} for row in rows]


def writers_of(connection: sa.Connection, override_id: int) -> set[str]:
    """Who has written at it since it was last approved."""
    writers: set[str] = set()
    for version in versions_of(connection, override_id):
        writers = set() if version["action"] == "approved" else writers | {version["by"]}
    return writers


def overrides_page(
    connection: sa.Connection, matching: Row, selling_on: date | None, after: int, limit: int
) -> list[Row]:
    """Some overrides in the order of their numbers.

    Args:
        connection: to read with.
        matching: columns and the values they must have.
        selling_on: a selling date that they must cover.
        after: only numbers above this.
        limit: at most so many.
    """
    query = sa.select(overrides).where(overrides.c.id > after)
    for column, value in matching.items():
        query = query.where(overrides.c[column] == value)
    if selling_on is not None:
        query = query.where(overrides.c.selling_from <= selling_on, overrides.c.selling_to >= selling_on)
    return [dict(row) for row in connection.execute(query.order_by(overrides.c.id).limit(limit)).mappings()]


def active_overrides(connection: sa.Connection, numbers: Sequence[int] | None = None) -> list[Override]:
    """Every override that counts, or those of some numbers, oldest first."""
    query = sa.select(*(overrides.c[name] for name in Override.__dataclass_fields__)).where(overrides.c.state == ACTIVE)
    if numbers is None:
        return [Override(**row) for row in connection.execute(query.order_by(overrides.c.id)).mappings()]
    found: list[Override] = []
    for at in range(0, len(numbers), CHUNK):
        part = query.where(one_of(connection, overrides.c.id, numbers[at : at + CHUNK])).order_by(overrides.c.id)
        found += [Override(**row) for row in connection.execute(part).mappings()]
    return found
