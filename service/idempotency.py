"""Doing a write once, however often it is sent: the key, what it asked for and what was answered share its transaction.

A client that got no answer sends the same request with the same `Idempotency-Key` again. Whether the first one was
stored or not, exactly one is, and both get the same answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple

import sqlalchemy as sa
from fastapi import Header, Request
from fastapi.responses import JSONResponse
from sqlalchemy.exc import IntegrityError, OperationalError

from service.database import Database
from service.problems import ProblemError
from service.tables import idempotency_keys

KEPT = timedelta(days=7)  # how long an answer can be had again
KEPT_AT_LEAST = 1000  # answers, however old the clock says they are
REPLAYED = "Idempotency-Replayed"
LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL's code for a lock that was waited for in vain
WAIT_MS = 5000  # for the same key's first request, where it is still under way


class Answered(NamedTuple):
    """What a write answers."""

    status: int
    body: dict[str, Any]
    etag: str | None = None


Act = Callable[[sa.Connection], Answered]


class Write(NamedTuple):
    """One request that changes something."""

    caller: str
    key: str | None
    digest: str  # of what was asked

    def once(self, database: Database, prepare: Callable[[], Act]) -> JSONResponse:
        """Run what `prepare` returns in one transaction together with the key; a key that was answered before gets that
        answer, and nothing runs.

        Args:
            database: where it is stored.
            prepare: everything that takes long and stores nothing; it returns what stores.

        Raises:
            ProblemError: 422 where the key was used for another request, 409 where its first one is still under way;
                whatever the two raise, and then nothing is stored.
        """
        if self.key is None:
            act = prepare()
            with database.writing() as connection:
                return _response(act(connection))
        with database.reading() as connection:
            earlier = self._answer(connection)
        if earlier is not None:
            return _response(earlier, replayed=True)
        act = prepare()
        with database.writing() as connection:
            earlier = self._claim(connection)
            if earlier is not None:
                return _response(earlier, replayed=True)
            answered = act(connection)
            said = {"status": answered.status, "body": json.dumps(answered.body), "etag": answered.etag}
            connection.execute(sa.update(idempotency_keys).where(self._mine).values(**said))
            forget_old_keys(connection)
            return _response(answered)

    @property
    def _mine(self) -> sa.ColumnElement[bool]:
        return (idempotency_keys.c.caller == self.caller) & (idempotency_keys.c.key == self.key)

    def _answer(self, connection: sa.Connection) -> Answered | None:
        """What the key was answered with; None where it is new."""
        found = connection.execute(sa.select(idempotency_keys).where(self._mine)).mappings().one_or_none()
        if found is None:
            return None
        if found["digest"] != self.digest:
            detail = f"Idempotency-Key: {self.key!r} was used for another request before"
            raise ProblemError(422, "idempotency-key-reused", "The key belongs to another request", detail)
        return Answered(found["status"], json.loads(found["body"]), found["etag"])

    def _claim(self, connection: sa.Connection) -> Answered | None:
        """Take the key; what it was answered with where somebody has."""
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text(f"SET LOCAL lock_timeout = {WAIT_MS}"))
        row = {"caller": self.caller, "key": self.key, "digest": self.digest, "created_at": datetime.now(UTC)}
        try:
            with connection.begin_nested():
                connection.execute(sa.insert(idempotency_keys).values(**row))
        except IntegrityError:
            pass
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            detail = f"Idempotency-Key: the first request with {self.key!r} is still under way"
            raise ProblemError(409, "request-under-way", "The same request is under way", detail) from None
        else:
            return None
        return self._answer(connection)


def _response(answered: Answered, *, replayed: bool = False) -> JSONResponse:
    headers = {"ETag": answered.etag} if answered.etag else {}
    if replayed:
        headers[REPLAYED] = "true"
    return JSONResponse(answered.body, answered.status, headers)


IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", min_length=1, max_length=255,
        description="Any text of your own, new for each intent: sending the same request again then changes nothing.",
        examples=["8c1f0a52-night-2019-04-30"],
    ),
]  # fmt: skip


async def digest_of(request: Request) -> str:
    """What a request asks for: its method, path, query, precondition and body."""
    said = [request.method, request.url.path, request.url.query, request.headers.get("if-match", "")]
    digest = hashlib.sha256(json.dumps(said).encode())
    digest.update(await request.body())
    return digest.hexdigest()


def forget_old_keys(connection: sa.Connection) -> None:
    """Drop what is older than a week, but never the newest: where the clock of one process jumps ahead, writes that were just
    done would else be done a second time."""
    at = idempotency_keys.c.created_at
    newest = sa.select(at).order_by(at.desc()).offset(KEPT_AT_LEAST).limit(1).scalar_subquery()
    connection.execute(sa.delete(idempotency_keys).where(at < datetime.now(UTC) - KEPT, at <= newest))
