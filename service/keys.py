"""API keys in SQL: what they may do, until when. Only their hashes are kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from service.changes import KEYS, note_change
from service.database import Database
from service.tables import api_keys

ERP, PLANNER, OPS = "erp", "planner", "ops"
SCOPES = (ERP, PLANNER, OPS)


class Key(NamedTuple):
    """A key that was not revoked."""

    digest: str
    name: str
    scopes: frozenset[str]
    expires_at: datetime | None = None


class Keys:
    """Makes, finds and revokes keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, scopes: Sequence[str] = SCOPES, expires_at: datetime | None = None) -> str:
        """A new key.

        Raises:
            ValueError: where a scope is none, or the end lies in the past.
        """
        for scope in scopes:
            if scope not in SCOPES:
                raise ValueError(f"scope must be one of {', '.join(SCOPES)}, got {scope!r}")
        now = datetime.now(UTC)
        if expires_at is not None and expires_at <= now:
            raise ValueError(f"expires_at must lie ahead, got {expires_at.isoformat()}")
        key = f"orpr_{secrets.token_urlsafe(24)}"
        row = {"digest": digest_of(key), "name": name, "scopes": " ".join(scopes), "created_at": now}
        with self._database.writing() as connection:
            connection.execute(sa.insert(api_keys).values(**row, expires_at=expires_at))
            note_change(connection, KEYS)
        return key

    def is_good(self, key: str) -> bool:
        """Whether it is one of ours, neither revoked nor at its end."""
        with self._database.reading() as connection:
            found = keys_of(connection).get(digest_of(key))
        return found is not None and (found.expires_at is None or found.expires_at > datetime.now(UTC))

    def revoke(self, name: str) -> int:
        """End every key of that name at once; how many."""
        mine = (api_keys.c.name == name) & api_keys.c.revoked_at.is_(None)
        with self._database.writing() as connection:
            ended = connection.execute(sa.select(api_keys.c.digest).where(mine)).scalars().all()
            connection.execute(sa.update(api_keys).where(mine).values(revoked_at=datetime.now(UTC)))
            note_change(connection, KEYS)
        return len(ended)

    def all(self) -> list[dict[str, Any]]:
        """Name, scopes and times of every key, oldest first; never the key."""
        columns = [column for column in api_keys.c if column.name != "digest"]
        with self._database.reading() as connection:
            return [
                dict(row) for row in connection.execute(sa.select(*columns).order_by(api_keys.c.created_at)).mappings()
            ]


def keys_of(connection: sa.Connection) -> dict[str, Key]:
    """Every key that was not revoked, by its hash."""
    columns = api_keys.c.digest, api_keys.c.name, api_keys.c.scopes, api_keys.c.expires_at
    rows = connection.execute(sa.select(*columns).where(api_keys.c.revoked_at.is_(None)))
    return {row.digest: Key(row.digest, row.name, frozenset(row.scopes.split()), row.expires_at) for row in rows}


def digest_of(key: str) -> str:
    """What is stored of a key. Keys are 192 random bits, so a plain hash cannot be guessed back."""
    return hashlib.sha256(key.encode()).hexdigest()
