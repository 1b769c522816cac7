"""Which policy is in charge. A refused bundle never replaces one that holds."""

from __future__ import annotations

import logging
from pathlib import Path

from service.policy import BundleRefused, Policy, PolicyNotFound, resolve_bundle
from service.problems import ProblemError
from service.telemetry import Telemetry

LOG = logging.getLogger(__name__)


class Policies:
    """Holds the policy in charge and the last refusal."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._current: Policy | None = None
        self._refused: str | None = None

    def load_named(self, name: str, period_days: int) -> bool:
        """Put the policy of that name in charge, for data of that period length."""
        try:
            bundle = resolve_bundle(name, period_days)
        except PolicyNotFound as error:
            return self._refuse("missing", str(error))
        return self.load(bundle, period_days)

    def load(self, bundle: Path, period_days: int = 1) -> bool:
        """Put a bundle in charge if it holds and decides for that period length; else keep what there is, say why."""
        try:
            policy = Policy(bundle)
        except BundleRefused as error:
            return self._refuse(error.reason, str(error))
        if policy.period_days != period_days:
            detail = f"it decides for periods of {policy.period_days} days, the data has {period_days}"
            return self._refuse("contract", f"policy bundle {bundle.name} refused (contract): {detail}")
        if self._current is not None:
            self._telemetry.policy.remove(self._current.version)
        self._current, self._refused = policy, None
        self._telemetry.policy.labels(policy.version).set(1)
        return True

    def _refuse(self, reason: str, detail: str) -> bool:
        self._refused = detail
        self._telemetry.policy_refused.labels(reason).inc()
        LOG.error("%s", detail)
        return False

    @property
    def ready(self) -> bool:
        """Whether a policy is in charge."""
        return self._current is not None

    def current(self) -> Policy:
        """The policy in charge.

        Raises:
            ProblemError: 503 where none is.
        """
        if self._current is None:
            raise ProblemError(503, "no-policy", "No policy is in charge", self._refused or "none was loaded")
        return self._current

    def status(self) -> dict[str, str | None]:
        """For `/readyz`: the version in charge and the last refusal."""
        return {"version": self._current.version if self._current else None, "refused": self._refused}
