"""Which policy is in charge, which one is tried on a share of the series, and which one shadows it. A refused bundle never replaces one that holds."""

from __future__ import annotations

import logging
from pathlib import Path

from service.bundle import BundleRefused, PolicyNotFound, resolve_bundle
from service.policy import Policy
from service.problems import ProblemError
from service.rollout import Canary, Rollout
from service.telemetry import Telemetry

LOG = logging.getLogger(__name__)


class Policies:
    """Holds the policy in charge, its canary and its shadow, and the last refusal.

    Whoever answers takes champion and canary once, at the beginning: a change is one assignment, and what is under way ends
    with the policies that it began with.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._current: Policy | None = None
        self._shadow: Policy | None = None
        self._canary: Canary | None = None
        self._refused: str | None = None

    def load_named(self, name: str, period_days: int) -> bool:
        """Put the policy of that name in charge, for data of that period length."""
        try:
            bundle = resolve_bundle(name, period_days)
        except PolicyNotFound as error:
            return self.refuse(error)
        return self.load(bundle, period_days)

    def load(self, bundle: Path, period_days: int = 1) -> bool:
        """Put a bundle in charge if it holds and decides for that period length; else keep what there is, say why."""
        try:
            policy = Policy(bundle)
            check_period(policy, bundle, period_days)
        except BundleRefused as error:
            return self.refuse(error)
        self.put_in_charge(policy)
        return True

    def put_in_charge(self, policy: Policy) -> None:
        """Let a verified policy decide from the next request on."""
        before, self._current, self._refused = self._current, policy, None
        if before is not None:
            self._telemetry.policy_changes.inc(before.version != policy.version)
            self._telemetry.policy.remove(before.version)
        self._telemetry.policy.labels(policy.version).set(1)
        if policy.histograms is None and (before is None or before.version != policy.version):
            LOG.warning("policy %s carries no histograms; its drift is not measured", policy.version)

    def put_in_shadow(self, policy: Policy | None) -> None:
        """Let a verified policy answer beside the one in charge; None: no longer."""
        self._shadow = policy

    def put_canary(self, canary: Canary | None) -> None:
        """Let a verified policy decide for a share of the series from the next request on; None: no longer."""
        self._canary = canary
        self._telemetry.show_canary(None if canary is None else canary.policy.version, canary.share if canary else 0.0)

    def refuse(self, error: BundleRefused | PolicyNotFound) -> bool:
        """Tell of a bundle that must not serve; False."""
        self._refused = str(error)
        self._telemetry.policy_refused.labels(error.reason).inc()
        LOG.error("%s", error)
        return False

    def refuse_nothing(self) -> None:
        """What was refused is wanted no more."""
        self._refused = None

    @property
    def ready(self) -> bool:
        """Whether a policy is in charge."""
        return self._current is not None

    def in_charge(self) -> Policy | None:
        """The policy in charge, if there is one."""
        return self._current

    def current(self) -> Policy:
        """The policy in charge.

        Raises:
            ProblemError: 503 where none is.
        """
        policy = self._current
        if policy is None:
            raise ProblemError(503, "no-policy", "No policy is in charge", self._refused or "none was loaded")
        return policy

    def rollout(self) -> Rollout:
        """Who decides now. A canary that has become the champion is none.

        Raises:
            ProblemError: 503 where no policy is in charge.
        """
        champion, canary = self.current(), self._canary
        return Rollout(champion, None if canary is None or canary.policy.version == champion.version else canary)

    def shadow(self) -> Policy | None:
        """The policy that answers beside it."""
        return self._shadow

    def status(self) -> dict[str, str | None]:
        """For `/readyz`: the versions in charge, on trial and in the shadow, and the last refusal since one was put in charge."""
        current, canary, shadow = self._current, self._canary, self._shadow
        return {
            "version": current.version if current else None, "canary": canary.policy.version if canary else None,
            "shadow": shadow.version if shadow else None, "refused": self._refused,
        }  # fmt: skip


def check_period(policy: Policy, bundle: Path, period_days: int) -> None:
    """Raise BundleRefused where a policy decides for periods of another length."""
    if policy.period_days != period_days:
        detail = f"it decides for periods of {policy.period_days} days, the data has {period_days}"
        raise BundleRefused(bundle, "contract", detail)
