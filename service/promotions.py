"""Policies registered, promoted, rolled back and let run in the shadow; and what there is to choose from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from service.aliases import Aliases, Wanted
from service.bundle_folders import describe, find_bundle, found_versions, is_shipped, metrics_of, shipped_champion
from service.idempotency import Act, Answered
from service.policy import CHAMPION, BundleRefused, Policy, PolicyNotFound
from service.policy_schemas import AliasChange, AliasState, PolicyDetail, PolicyList, StoredPolicy
from service.policy_store import (
    CLEAR,
    PROMOTE,
    ROLLBACK,
    SHADOW,
    Row,
    add_change,
    add_policy,
    changes_of,
    find_policy,
    lock_policies,
    pins_of,
    promoted,
    registered_policies,
)
from service.problems import ProblemError
from service.registry import Policies
from service.store import Store


class Promotions:
    """What the policy routes do. Each change is prepared by loading and checking what it names, and stored afterwards."""

    def __init__(self, store: Store, policies: Policies, aliases: Aliases, *, pinned: bool) -> None:
        self._store, self._policies, self._aliases, self._pinned = store, policies, aliases, pinned

    # ------------------------------------------------------------------------------------------------------- reading

    def listed(self) -> PolicyList:
        """Every policy that is registered or lies in the folders."""
        period_days, status = self._aliases.period_days, self._policies.status()
        with self._store.database.reading() as connection:
            rows, changes = registered_policies(connection), changes_of(connection, period_days)
        states = _states(changes, period_days)
        known = {row["version"] for row in rows}
        found = [version for version in found_versions(self._aliases.folders) if version not in known]
        return PolicyList(
            period_days=period_days, serving=status["version"], pinned=self._pinned, refused=status["refused"],
            aliases=states, items=[*(_of_row(row, states) for row in rows), *(self._of_folder(v, states) for v in found)],
        )  # fmt: skip

    def get(self, version: str) -> PolicyDetail:
        """One policy.

        Raises:
            ProblemError: 404 where it is neither registered nor in the folders.
        """
        period_days = self._aliases.period_days
        with self._store.database.reading() as connection:
            row, changes = find_policy(connection, version), changes_of(connection, period_days)
            if row is not None and row["period_days"] != period_days:
                changes = changes_of(connection, row["period_days"])
        states = _states(changes, period_days if row is None else row["period_days"])
        if row is None:
            self._bundle(version)
        stored = self._of_folder(version, states) if row is None else _of_row(row, states)
        mine = [_change(change) for change in changes if change["version"] == version]
        return PolicyDetail(**stored.model_dump(), changes=mine)

    # ------------------------------------------------------------------------------------------------------- changing

    def registering(self, version: str, by: str) -> Act:
        """What stores a bundle's hashes; they are what its files must have from then on.

        Raises:
            ProblemError: 404 where there is no such bundle, 409 where it does not hold or is registered with other hashes.
        """
        bundle = self._bundle(version)
        policy = self._checked(Wanted(None, version, None))
        metrics = metrics_of(bundle, policy.manifest)

        def store(connection: sa.Connection) -> Answered:
            lock_policies(connection)
            row = find_policy(connection, version)
            if row is not None and pins_of(row) != policy.hashes:
                detail = f"version: {version!r} was registered on {row['registered_at']:%Y-%m-%d} with other files"
                raise ProblemError(409, "policy-registered-otherwise", "Another bundle has this version", detail)
            if row is None:
                add_policy(connection, policy, bundle, metrics, by)
            stored = find_policy(connection, version)
            assert stored is not None
            states = _states(changes_of(connection, policy.period_days), policy.period_days)
            return Answered(201 if row is None else 200, _of_row(stored, states).model_dump(mode="json"))

        return store

    def promoting(self, version: str, reason: str, by: str) -> Act:
        """What makes a policy the champion.

        Raises:
            ProblemError: 404 or 409; what is in charge stays.
        """
        period_days = self._aliases.period_days
        self._registered(version, period_days)

        def store(connection: sa.Connection) -> Answered:
            lock_policies(connection)
            if _champion(connection, period_days) == version:
                detail = f"version: {version!r} is the champion already"
                raise ProblemError(409, "policy-in-charge", "The policy is in charge already", detail)
            add_change(connection, period_days, CHAMPION, version, PROMOTE, reason, by)
            return _answered(connection, CHAMPION, period_days)

        return store

    def rolling_back(self, reason: str, by: str) -> Act:
        """What makes the policy before this one the champion again.

        Raises:
            ProblemError: 409 where there is none before, or it no longer holds.
        """
        period_days = self._aliases.period_days
        with self._store.database.reading() as connection:
            target = _before(connection, period_days)
            row = None if target is None else find_policy(connection, target)
        version = target or shipped_champion(period_days)
        self._checked(Wanted(period_days, version, None if row is None else pins_of(row)))

        def store(connection: sa.Connection) -> Answered:
            lock_policies(connection)
            if _before(connection, period_days) != target:
                detail = "another policy was promoted or rolled back at the same moment; look and decide again"
                raise ProblemError(409, "policy-changed", "The champion has changed meanwhile", detail)
            add_change(connection, period_days, CHAMPION, target, ROLLBACK, reason, by)
            return _answered(connection, CHAMPION, period_days)

        return store

    def shadowing(self, version: str, reason: str, by: str) -> Act:
        """What lets a policy decide in the shadow of the champion.

        Raises:
            ProblemError: 404 or 409.
        """
        period_days = self._aliases.period_days
        self._registered(version, period_days)

        def store(connection: sa.Connection) -> Answered:
            lock_policies(connection)
            add_change(connection, period_days, SHADOW, version, SHADOW, reason, by)
            return _answered(connection, SHADOW, period_days)

        return store

    def clearing_shadow(self, reason: str, by: str) -> Act:
        """What ends the shadow; it stays ended where there is none."""
        period_days = self._aliases.period_days

        def store(connection: sa.Connection) -> Answered:
            lock_policies(connection)
            add_change(connection, period_days, SHADOW, None, CLEAR, reason, by)
            return _answered(connection, SHADOW, period_days)

        return store

    # ------------------------------------------------------------------------------------------------------- checking

    def _bundle(self, version: str) -> Path:
        try:
            return find_bundle(version, self._aliases.folders)
        except PolicyNotFound as error:
            raise ProblemError(404, "policy-unknown", "There is no such policy", f"version: {error}") from None

    def _registered(self, version: str, period_days: int) -> None:
        """Raise where a policy is not registered, decides for other periods or no longer holds."""
        with self._store.database.reading() as connection:
            row = find_policy(connection, version)
        if row is None:
            self._bundle(version)
            detail = f"version: {version!r} is not registered; POST /v1/policies does it"
            raise ProblemError(409, "policy-not-registered", "The policy is not registered", detail)
        if row["period_days"] != period_days:
            detail = (
                f"version: {version!r} decides for periods of {row['period_days']} days, the dataset has {period_days}"
            )
            raise ProblemError(409, "policy-period", "The policy decides for other periods", detail)
        self._checked(Wanted(period_days, version, pins_of(row)))

    def _checked(self, wanted: Wanted) -> Policy:
        try:
            return self._aliases.verify(wanted)
        except (BundleRefused, PolicyNotFound) as error:
            self._policies.refuse(error)
            raise ProblemError(409, "policy-refused", "The policy does not hold", f"version: {error}") from None

    def _of_folder(self, version: str, states: list[AliasState]) -> StoredPolicy:
        told = describe(find_bundle(version, self._aliases.folders))
        return StoredPolicy(
            version=version, period_days=told.period_days, contract_id=told.contract_id, sha256=told.sha256,
            metrics=told.metrics, shipped=is_shipped(version), registered=False, aliases=_pointing_to(version, states),
        )  # fmt: skip


def _of_row(row: Row, states: list[AliasState]) -> StoredPolicy:
    metrics = None if row["metrics"] is None else json.loads(row["metrics"])
    return StoredPolicy(
        version=row["version"], period_days=row["period_days"], contract_id=row["contract_id"], sha256=pins_of(row),
        metrics=metrics, shipped=is_shipped(row["version"]), registered=True, registered_at=row["registered_at"],
        registered_by=row["registered_by"], aliases=_pointing_to(row["version"], states),
    )  # fmt: skip


def _pointing_to(version: str, states: list[AliasState]) -> list[Any]:
    return [state.alias for state in states if state.version == version]


def _states(changes: list[Row], period_days: int) -> list[AliasState]:
    """Where the aliases of some periods point, from all of their changes."""
    shipped, standing = shipped_champion(period_days), promoted(changes)
    shadows = [None, *(change["version"] for change in changes if change["alias"] == SHADOW)]
    last = {change["alias"]: _change(change) for change in changes}
    before = (standing[-2] or shipped) if len(standing) > 1 else None
    return [
        AliasState(alias=CHAMPION, version=standing[-1] or shipped, before=before, changed=last.get(CHAMPION)),
        AliasState(
            alias=SHADOW, version=shadows[-1], before=shadows[-2] if len(shadows) > 1 else None, changed=last.get(SHADOW)
        ),
    ]  # fmt: skip


def _change(row: Row) -> AliasChange:
    return AliasChange(**{name: row[name] for name in AliasChange.model_fields})


def _champion(connection: sa.Connection, period_days: int) -> str | None:
    return _states(changes_of(connection, period_days, CHAMPION), period_days)[0].version


def _before(connection: sa.Connection, period_days: int) -> str | None:
    """The champion that a rollback leads to; None: what ships.

    Raises:
        ProblemError: 409 where nobody was promoted.
    """
    standing = promoted(changes_of(connection, period_days, CHAMPION))
    if len(standing) == 1:
        detail = f"no promotion for periods of {period_days} days stands; what ships is in charge"
        raise ProblemError(409, "no-policy-before", "There is nothing to roll back to", detail)
    return standing[-2]


def _answered(connection: sa.Connection, alias: str, period_days: int) -> Answered:
    states = _states(changes_of(connection, period_days), period_days)
    return Answered(200, next(state for state in states if state.alias == alias).model_dump(mode="json"))
