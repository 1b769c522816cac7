"""Which policy is in charge. A refused bundle never replaces one that holds."""

from __future__ import annotations

import logging
from pathlib import Path

from service.policy import BundleRefused, Policy
from service.problems import ProblemError
from service.telemetry import Telemetry

LOG = logging.getLogger(__name__)


class Policies:
    """Holds the policy in charge and the last refusal."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._current: Policy | None = None
        self._refused: str | None = None

    def load(self, bundle: Path) -> bool:
        """Put a bundle in charge if it holds; else keep what there is and say why."""
        try:
            policy = Policy(bundle)
        except BundleRefused as error:
            self._refused = str(error)
            self._telemetry.policy_refused.labels(error.reason).inc()
            LOG.error("%s", error)
            return False
        if self._current is not None:
            self._telemetry.policy.remove(self._current.version)
        self._current, self._refused = policy, None
        self._telemetry.policy.labels(policy.version).set(1)
        return True

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
