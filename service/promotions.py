"""Policies registered, promoted, tried on a share of the series, let run in the shadow, and rolled back."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from service.aliases import Aliases, Wanted
from service.bundle import CHAMPION, BundleRefused, PolicyNotFound
from service.bundle_folders import find_bundle, metrics_of, shipped_champion
from service.gate import judged_against, objection
from service.idempotency import Act, Answered
from service.policy import Policy
from service.policy_listing import alias_states, champion_of, stored_policy
from service.policy_store import (
    CANARY,
    CLEAR,
    PROMOTE,
    ROLLBACK,
    SHADOW,
    add_change,
    add_policy,
    changes_of,
    find_policy,
    lock_policies,
    newest_change,
    pins_of,
    promoted,
)
from service.problems import ProblemError
from service.registry import Policies
from service.store import Store


class Promotions:
    """What the changing policy routes do. Each change is prepared by loading and checking what it names, and stored afterwards."""

    def __init__(self, store: Store, policies: Policies, aliases: Aliases) -> None:
        self._store, self._policies, self._aliases = store, policies, aliases

    def registering(self, version: str, by: str) -> Act:
        """What stores a bundle's hashes; they are what its files must have from then on.

        Raises:
            ProblemError: 404 where there is no such bundle, 409 where it does not hold, its gate has not let it pass, or it is
                registered with other hashes.
        """
        bundle = self._bundle(version)
        policy = self._checked(Wanted(None, version, None))
        _check_gate(policy)
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
            states = alias_states(changes_of(connection, policy.period_days), policy.period_days)
            return Answered(201 if row is None else 200, stored_policy(stored, states).model_dump(mode="json"))

        return store

    def promoting(self, version: str, reason: str, by: str) -> Act:
        """What makes a policy the champion. A canary ends with that.

        Raises:
            ProblemError: 404 or 409; what is in charge stays.
        """
        period_days = self._aliases.period_days
        policy = self._registered(version, period_days)

        def store(connection: sa.Connection) -> Answered:
            lock_policies(connection)
            _check_not_in_charge(connection, period_days, version)
            _check_verdict_holds(connection, period_days, policy)
            add_change(connection, period_days, CHAMPION, version, PROMOTE, reason, by)
            _end_canary(connection, period_days, version, PROMOTE, reason, by)
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
            _end_canary(connection, period_days, version, ROLLBACK, reason, by)
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

    def trying(self, version: str, share: float, reason: str, by: str) -> Act:
        """What lets a policy decide for a share of the series, per cent; also another share for the one that does already.

        Raises:
            ProblemError: 404 or 409.
        """
        period_days = self._aliases.period_days
        policy = self._registered(version, period_days)

        def store(connection: sa.Connection) -> Answered:
            lock_policies(connection)
            _check_not_in_charge(connection, period_days, version)
            _check_verdict_holds(connection, period_days, policy)
            add_change(connection, period_days, CANARY, version, CANARY, reason, by, share)
            return _answered(connection, CANARY, period_days)

        return store

    def clearing(self, alias: str, reason: str, by: str) -> Act:
        """What ends the shadow or the canary; it stays ended where there is none."""
        period_days = self._aliases.period_days

        def store(connection: sa.Connection) -> Answered:
            lock_policies(connection)
            add_change(connection, period_days, alias, None, CLEAR, reason, by)
            return _answered(connection, alias, period_days)

        return store

    # ------------------------------------------------------------------------------------------------------- checking

    def _bundle(self, version: str) -> Path:
        try:
            return find_bundle(version, self._aliases.folders)
        except PolicyNotFound as error:
            raise ProblemError(404, "policy-unknown", "There is no such policy", f"version: {error}") from None

    def _registered(self, version: str, period_days: int) -> Policy:
        """A registered policy; raise where it is not registered, decides for other periods or no longer holds."""
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
        return self._checked(Wanted(period_days, version, pins_of(row)))

    def _checked(self, wanted: Wanted) -> Policy:
        try:
            return self._aliases.verify(wanted)
        except (BundleRefused, PolicyNotFound) as error:
            self._policies.refuse(error)
            raise ProblemError(409, "policy-refused", "The policy does not hold", f"version: {error}") from None


def _check_gate(policy: Policy) -> None:
    why = objection(policy.manifest)
    if why is not None:
        detail = f"version: {policy.version!r} is not registered: {why}"
        raise ProblemError(409, "policy-gate", "The gate has not let the policy pass", detail)


def _check_not_in_charge(connection: sa.Connection, period_days: int, version: str) -> None:
    if champion_of(changes_of(connection, period_days, CHAMPION), period_days) == version:
        detail = f"version: {version!r} is the champion already"
        raise ProblemError(409, "policy-in-charge", "The policy is in charge already", detail)


def _check_verdict_holds(connection: sa.Connection, period_days: int, policy: Policy) -> None:
    """Raise where a gate has judged a policy beside another champion than the one in charge, unless it was in charge itself."""
    changes = changes_of(connection, period_days)
    champion, beside = champion_of(changes, period_days), judged_against(policy.manifest)
    been = any((change["alias"], change["version"]) == (CHAMPION, policy.version) for change in changes)
    running = newest_change(connection, period_days, CANARY)
    tried = (
        running is not None and running["version"] == policy.version
    )  # its guardrails watch it beside who is in charge
    if beside in (None, champion) or been or tried:
        return
    detail = (
        f"version: {policy.version!r} was fine-tuned from {beside!r} and judged beside it, but {champion!r} is in charge; "
        "fine-tune from that one"
    )
    raise ProblemError(409, "policy-judged-otherwise", "The gate has judged it beside another champion", detail)


def _end_canary(
    connection: sa.Connection, period_days: int, version: str | None, action: str, reason: str, by: str
) -> None:
    """End a canary that has become the champion."""
    newest = newest_change(connection, period_days, CANARY)
    if newest is not None and version is not None and newest["version"] == version:
        add_change(connection, period_days, CANARY, None, action, reason, by)


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
    states = alias_states(changes_of(connection, period_days), period_days)
    return Answered(200, next(state for state in states if state.alias == alias).model_dump(mode="json"))
