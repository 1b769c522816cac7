"""What policies there are, where the aliases point, and how the canary does. Nothing is changed here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isfinite
from typing import Any

import sqlalchemy as sa

from service.aliases import Aliases
from service.bundle import CHAMPION, BundleRefused, PolicyNotFound, read_manifest
from service.bundle_folders import describe, find_bundle, found_versions, is_shipped, shipped_champion
from service.canary_store import figures_of
from service.gate import gate_of
from service.guardrails import Judged, Limits, judge
from service.policy_schemas import (
    AliasChange,
    AliasState,
    CanaryState,
    Gate,
    GuardrailState,
    PolicyDetail,
    PolicyList,
    StoredPolicy,
)
from service.policy_store import (
    CANARY,
    SHADOW,
    Row,
    changes_of,
    find_policy,
    newest_change,
    pins_of,
    promoted,
    registered_policies,
)
from service.problems import ProblemError
from service.registry import Policies
from service.store import Store


class PolicyListing:
    """What the reading policy routes do."""

    def __init__(self, store: Store, policies: Policies, aliases: Aliases, limits: Limits, *, pinned: bool) -> None:
        self._store, self._policies, self._aliases = store, policies, aliases
        self._limits, self._pinned = limits, pinned

    def listed(self) -> PolicyList:
        """Every policy that is registered or lies in the folders."""
        period_days, status = self._aliases.period_days, self._policies.status()
        with self._store.database.reading() as connection:
            rows, changes = registered_policies(connection), changes_of(connection, period_days)
            canary = self._canary(connection, period_days, champion_of(changes, period_days))
        states = alias_states(changes, period_days)
        known = {row["version"] for row in rows}
        found = [version for version in found_versions(self._aliases.folders) if version not in known]
        return PolicyList(
            period_days=period_days, serving=status["version"], pinned=self._pinned, refused=status["refused"],
            aliases=states, canary=canary,
            items=[*(stored_policy(row, states) for row in rows), *(self._of_folder(v, states) for v in found)],
        )  # fmt: skip

    def get(self, version: str) -> PolicyDetail:
        """One policy.

        Raises:
            ProblemError: 404 where it is neither registered nor in the folders.
        """
        period_days = self._aliases.period_days
        with self._store.database.reading() as connection:
            row = find_policy(connection, version)
            if row is not None:
                period_days = row["period_days"]
            changes = changes_of(connection, period_days)
            canary = self._canary(connection, period_days, champion_of(changes, period_days))
        states = alias_states(changes, period_days)
        gate = self._gate(version, registered=row is not None)
        stored = self._of_folder(version, states) if row is None else stored_policy(row, states)
        return PolicyDetail(
            **stored.model_dump(), gate=gate, canary=canary if canary and canary.version == version else None,
            changes=[_change(change) for change in _concerning(version, changes)],
        )  # fmt: skip

    def _gate(self, version: str, *, registered: bool) -> Gate | None:
        """As the manifest says; a registered policy may have lost its folder."""
        try:
            return gate_of(read_manifest(find_bundle(version, self._aliases.folders)))
        except PolicyNotFound as error:
            if registered:
                return None
            raise ProblemError(404, "policy-unknown", "There is no such policy", f"version: {error}") from None
        except BundleRefused:
            return None

    def _canary(self, connection: sa.Connection, period_days: int, champion: str | None) -> CanaryState | None:
        row = newest_change(connection, period_days, CANARY)
        if row is None or row["version"] is None or champion is None:
            return None
        judged = judge(figures_of(connection, row["id"], champion), self._limits)
        return CanaryState(
            version=row["version"], share=row["share"], since=row["at"], by=row["by"], reason=row["reason"],
            compared_with=champion, guardrails=[_guardrail(one) for one in judged],
        )  # fmt: skip

    def _of_folder(self, version: str, states: list[AliasState]) -> StoredPolicy:
        told = describe(find_bundle(version, self._aliases.folders))
        return StoredPolicy(
            version=version, period_days=told.period_days, contract_id=told.contract_id, sha256=told.sha256,
            metrics=told.metrics, shipped=is_shipped(version), registered=False, aliases=_pointing_to(version, states),
        )  # fmt: skip


def stored_policy(row: Row, states: Sequence[AliasState]) -> StoredPolicy:
    """A registered policy, as it is told."""
    metrics = None if row["metrics"] is None else json.loads(row["metrics"])
    return StoredPolicy(
        version=row["version"], period_days=row["period_days"], contract_id=row["contract_id"], sha256=pins_of(row),
        metrics=metrics, shipped=is_shipped(row["version"]), registered=True, registered_at=row["registered_at"],
        registered_by=row["registered_by"], aliases=_pointing_to(row["version"], states),
    )  # fmt: skip


def alias_states(changes: list[Row], period_days: int) -> list[AliasState]:
    """Where the aliases of some periods point, from all of their changes."""
    shipped, standing = shipped_champion(period_days), promoted(changes)
    last = {change["alias"]: change for change in changes}
    before = (standing[-2] or shipped) if len(standing) > 1 else None
    states = [AliasState(alias=CHAMPION, version=standing[-1] or shipped, before=before, changed=_last(last, CHAMPION))]
    for alias in (CANARY, SHADOW):
        pointed = [None, *(change["version"] for change in changes if change["alias"] == alias)]
        before = pointed[-2] if len(pointed) > 1 else None
        share = last[alias]["share"] if alias in last else None
        changed = _last(last, alias)
        states.append(AliasState(alias=alias, version=pointed[-1], before=before, share=share, changed=changed))
    return states


def champion_of(changes: list[Row], period_days: int) -> str | None:
    """The version in charge by all changes of some periods; None where no shipped one decides for them."""
    return promoted(changes)[-1] or shipped_champion(period_days)


def _last(last: dict[str, Row], alias: str) -> AliasChange | None:
    return _change(last[alias]) if alias in last else None


def _pointing_to(version: str, states: Sequence[AliasState]) -> list[Any]:
    return [state.alias for state in states if state.version == version]


def _concerning(version: str, changes: Sequence[Row]) -> list[Row]:
    """The changes that pointed an alias to a version, and those that took it from there."""
    pointed: dict[str, str | None] = {}
    found = []
    for change in changes:
        if version in (change["version"], pointed.get(change["alias"])):
            found.append(change)
        pointed[change["alias"]] = change["version"]
    return found


def _change(row: Row) -> AliasChange:
    return AliasChange(**{name: row[name] for name in AliasChange.model_fields})


def _guardrail(one: Judged) -> GuardrailState:
    value = one.value if one.value is not None and isfinite(one.value) else None
    return GuardrailState(
        guardrail=one.guardrail, value=value, lowest=one.lowest, highest=one.highest, counted=one.counted,
        needed=one.needed, sentence=one.sentence,
    )  # fmt: skip
