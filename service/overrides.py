"""Planners' overrides: taken in, changed, approved, withdrawn. Every change is one transaction and one version."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError

from service.cursors import cursor_of, place_of
from service.decide import Override
from service.idempotency import Answered
from service.override_schemas import (
    BulkResponse,
    OverrideChange,
    OverridePage,
    OverrideRequest,
    OverrideVersion,
    Preview,
    StoredOverride,
)  # fmt: skip
from service.override_store import (
    ACTIVE,
    DELETED,
    PENDING,
    Row,
    add_override,
    change_override,
    find_override,
    overrides_page,
    versions_of,
    writers_of,
)  # fmt: skip
from service.preview import preview, scope_of
from service.problems import ProblemError, RowError
from service.recommender import Recommender
from service.store import Store, count_series

UNSTORED = sys.maxsize  # the number of an override that has none yet: newer than all
SCOPE = ("item_id", "location_id", "category")
EFFECT = ("selling_from", "selling_to", "mode", "value")
CHANGEABLE = (*EFFECT, "promotion_id", "reason", "author")


class Overrides:
    """What the override routes and the planner page do."""

    def __init__(self, store: Store, recommender: Recommender, approval_money: float | None) -> None:
        self._store, self._recommender, self._limit = store, recommender, approval_money

    def preview(self, body: OverrideRequest, override_id: int = UNSTORED) -> Preview:
        """What it would do; nothing is stored.

        Raises:
            ProblemError: 404 where it covers nothing; see `service.preview`.
        """
        self._covered([body])
        return preview(self._recommender, self._store, _as_override(body, override_id), self._limit)

    def creating(self, bodies: Sequence[OverrideRequest], by: str) -> Callable[[sa.Connection], list[StoredOverride]]:
        """What stores some overrides, all or none. What is sent together is judged together: many small ones of one person are
        one large decision.

        Raises:
            ProblemError: 404 where one covers no known series; it names the rows.
        """
        covered = self._covered(bodies)
        states = self._states(bodies)
        rows = [_fields(body) | {"state": state} for body, state in zip(bodies, states, strict=True)]

        def store(connection: sa.Connection) -> list[StoredOverride]:
            made = [add_override(connection, fields, by) for fields in rows]
            return [_stored(row, count) for row, count in zip(made, covered, strict=True)]

        return store

    def changing(
        self, override_id: int, if_match: str | None, body: OverrideChange, by: str
    ) -> Callable[[sa.Connection], StoredOverride]:
        """What stores the next version of an override; above the limit it has to be approved again where its effect changes.

        Raises:
            ProblemError: 404, 412 or 428, see `_mine`; 422 where the change makes no sense.
        """
        with self._store.database.reading() as connection:
            seen = self._mine(connection, override_id, if_match)
        kept = {name: seen[name] or None for name in SCOPE} | {name: seen[name] for name in CHANGEABLE}
        try:
            whole = OverrideRequest.model_validate(kept | body.model_dump(exclude_none=True))
        except ValidationError as error:
            detail = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ProblemError(422, "request-invalid", "The request is not valid", detail) from None
        fields = _fields(whole)
        same = all(fields[name] == seen[name] for name in EFFECT)
        changes = fields | {"state": seen["state"] if same else self._state(whole, override_id)}

        def store(connection: sa.Connection) -> StoredOverride:
            row = self._mine(connection, override_id, etag(seen["version"]))
            return _stored(
                change_override(connection, row, changes, "changed", by), count_series(connection, _scope(row))
            )

        return store

    def approve(self, connection: sa.Connection, override_id: int, if_match: str | None, by: str) -> StoredOverride:
        """Put a pending override into effect.

        Raises:
            ProblemError: 404, 412 or 428, see `_mine`; 409 where it is not pending; 403 where its writers ask.
        """
        row = self._mine(connection, override_id, if_match)
        if row["state"] != PENDING:
            raise ProblemError(
                409, "not-pending", "There is nothing to approve", f"override {override_id} is in effect"
            )
        if by in writers_of(connection, override_id):
            detail = f"the key {by!r} has a hand in override {override_id}; a second person has to approve it"
            raise ProblemError(403, "second-person-needed", "Another person has to approve", detail)
        return _stored(
            change_override(connection, row, {"state": ACTIVE}, "approved", by), count_series(connection, _scope(row))
        )

    def withdraw(self, connection: sa.Connection, override_id: int, if_match: str | None, by: str) -> StoredOverride:
        """Take an override out of effect; its history stays.

        Raises:
            ProblemError: 404, 412 or 428, see `_mine`.
        """
        row = self._mine(connection, override_id, if_match)
        return _stored(
            change_override(connection, row, {"state": DELETED}, "deleted", by), count_series(connection, _scope(row))
        )

    def get(self, override_id: int) -> StoredOverride:
        """One override, withdrawn ones too.

        Raises:
            ProblemError: 404.
        """
        with self._store.database.reading() as connection:
            row = find_override(connection, override_id)
            if row is None:
                raise _unknown(override_id)
            return _stored(row, count_series(connection, _scope(row)))

    def history(self, override_id: int) -> list[OverrideVersion]:
        """Every version, oldest first.

        Raises:
            ProblemError: 404.
        """
        with self._store.database.reading() as connection:
            rows = versions_of(connection, override_id)
        if not rows:
            raise _unknown(override_id)
        return [OverrideVersion(**{name: row[name] for name in OverrideVersion.model_fields}) for row in rows]

    def page(self, matching: Row, selling_on: date | None, cursor: str | None, limit: int) -> OverridePage:
        """Some overrides in the order of their numbers.

        Raises:
            ProblemError: 422 where the cursor is none of ours.
        """
        after = 0 if cursor is None else int(place_of(cursor, (int,))[0])
        with self._store.database.reading() as connection:
            rows = overrides_page(connection, matching, selling_on, after, limit + 1)
            found = [_stored(row, count_series(connection, _scope(row))) for row in rows[:limit]]
        return OverridePage(items=found, next_cursor=cursor_of(rows[limit - 1]["id"]) if len(rows) > limit else None)

    # --------------------------------------------------------------------------------------------------------- rules

    def _mine(self, connection: sa.Connection, override_id: int, if_match: str | None) -> Row:
        """The row to change, locked where the transaction writes, where the caller has seen its newest version."""
        writing = connection.get_execution_options().get("writing", False)
        row = find_override(connection, override_id, locked=writing)
        if row is None or row["state"] == DELETED:
            raise _unknown(override_id)
        if if_match is None:
            detail = "If-Match: send the ETag of the version that you have seen, so that nobody's change is lost"
            raise ProblemError(428, "precondition-required", "If-Match is required", detail)
        if if_match.strip() not in ("*", etag(row["version"])):
            detail = f"If-Match: {if_match} is not {etag(row['version'])}, the newest version of override {override_id}"
            raise ProblemError(412, "version-changed", "The override was changed meanwhile", detail)
        return row

    def _covered(self, bodies: Sequence[OverrideRequest]) -> list[int]:
        counts: dict[tuple[str | None, ...], int] = {}
        errors, covered = [], []
        for row, body in enumerate(bodies):
            key = (body.item_id, body.location_id, body.category)
            if key not in counts:
                with self._store.database.reading() as connection:
                    counts[key] = count_series(connection, scope_of(_as_override(body, UNSTORED)))
            covered.append(counts[key])
            if not counts[key]:
                named = ", ".join(f"{n} {v!r}" for n, v in zip(SCOPE, key, strict=True) if v) or "an empty dataset"
                errors.append(RowError(row=row, field="scope", detail=f"no series has {named}"))
        if errors:
            raise ProblemError(404, "scope-unknown", "The override covers nothing", errors[0].detail, errors)
        return covered

    def _state(self, body: OverrideRequest, override_id: int) -> str:
        if self._limit is None:
            return ACTIVE
        return PENDING if self.preview(body, override_id).needs_approval else ACTIVE

    def _states(self, bodies: Sequence[OverrideRequest]) -> list[str]:
        if self._limit is None:
            return [ACTIVE] * len(bodies)
        seen = [self.preview(body) for body in bodies]
        large = sum(one.money_moved for one in seen) > self._limit
        return [PENDING if large or one.needs_approval else ACTIVE for one in seen]


def _scope(row: Row) -> dict[str, str]:
    return {name: row[name] for name in SCOPE if row[name]}


def etag(version: int) -> str:
    """The ETag of a version."""
    return f'"{version}"'


def answered(stored: StoredOverride, status: int = 200) -> Answered:
    """An override as a write's answer."""
    return Answered(status, stored.model_dump(mode="json"), etag(stored.version))


def answered_bulk(stored: list[StoredOverride]) -> Answered:
    """Some overrides as a write's answer."""
    return Answered(201, BulkResponse(items=stored).model_dump(mode="json"))


def _unknown(override_id: int) -> ProblemError:
    return ProblemError(404, "override-unknown", "There is no such override", f"there is no override {override_id}")


def _fields(body: OverrideRequest) -> dict[str, Any]:
    return body.model_dump() | {name: getattr(body, name) or "" for name in SCOPE}


def _as_override(body: OverrideRequest, override_id: int) -> Override:
    fields = _fields(body)
    return Override(id=override_id, **{name: fields[name] for name in Override.__dataclass_fields__ if name != "id"})


def _stored(row: Row, covered: int) -> StoredOverride:
    fields = {name: row[name] for name in StoredOverride.model_fields if name in row}
    return StoredOverride(**(fields | {name: row[name] or None for name in SCOPE}), series_in_scope=covered)
