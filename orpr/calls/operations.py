"""What ops do: batches let pass, orders stopped, policies changed. All but reading takes the scope `ops`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from orpr.calls.transport import PAGE, Calls, json_body, segment
from service.hold_schemas import Hold, ReleaseRequest, StopRequest, StoredStop
from service.policy_schemas import (
    AliasState,
    CanaryRequest,
    PolicyDetail,
    PolicyList,
    ReasonRequest,
    RegisterRequest,
    StoredPolicy,
)  # fmt: skip

POLICIES = "/v1/policies"


class OperationCalls(Calls):
    """Holds, stops and policies."""

    def holds(self, state: Literal["held", "released"] | None = None) -> Iterator[Hold]:
        """Batches that were found abnormal, in the order of their numbers."""
        return self._pages(Hold, "/v1/holds", {} if state is None else {"state": state}, PAGE)

    def release_hold(self, hold_id: int, reason: str, *, version: int, key: str | None = None) -> Hold:
        """Let pass what is held, as it was in the version that was seen; one that tells of more is a problem."""
        body = ReleaseRequest(version=version, reason=reason)
        return self._write(Hold, "POST", f"/v1/holds/{hold_id}/release", key, json=json_body(body))

    def stops(self, *, ended: bool = False) -> Iterator[StoredStop]:
        """For what no orders are given out; `ended` adds the stops that have ended."""
        return self._pages(StoredStop, "/v1/stops", {"ended": "true"} if ended else {}, PAGE)

    def stop_orders(self, stop: StopRequest, *, key: str | None = None) -> StoredStop:
        """Give out no orders for a location, a category, or anything, from the next answer on."""
        return self._write(StoredStop, "POST", "/v1/stops", key, json=json_body(stop))

    def end_stop(self, stop_id: int, *, key: str | None = None) -> StoredStop:
        """Let orders go on."""
        return self._write(StoredStop, "DELETE", f"/v1/stops/{stop_id}", key)

    def policies(self) -> PolicyList:
        """Every policy that the service knows, and where the aliases point."""
        return self._read(PolicyList, "GET", POLICIES)

    def policy(self, version: str) -> PolicyDetail:
        """One policy, with every change of an alias that named it."""
        return self._read(PolicyDetail, "GET", f"{POLICIES}/{segment(version)}")

    def register_policy(self, version: str, *, key: str | None = None) -> StoredPolicy:
        """Check a bundle that lies in the service's folders and pin the hashes of its files."""
        return self._write(StoredPolicy, "POST", POLICIES, key, json=json_body(RegisterRequest(version=version)))

    def promote_policy(self, version: str, reason: str, *, key: str | None = None) -> AliasState:
        """Make a registered policy the champion."""
        return self._point(f"/{segment(version)}/promote", reason, key)

    def roll_back_policy(self, reason: str, *, key: str | None = None) -> AliasState:
        """Make the champion before this one the champion again."""
        return self._point("/rollback", reason, key)

    def shadow_policy(self, version: str, reason: str, *, key: str | None = None) -> AliasState:
        """Let a registered policy decide beside the champion without answering."""
        return self._point(f"/{segment(version)}/shadow", reason, key)

    def end_shadow(self, reason: str = "", *, key: str | None = None) -> AliasState:
        """Let no policy decide beside the champion."""
        return self._write(AliasState, "DELETE", f"{POLICIES}/shadow", key, params={"reason": reason})

    def try_policy(self, version: str, share: float, reason: str, *, key: str | None = None) -> AliasState:
        """Let a registered policy decide for a share of the series, per cent."""
        body = CanaryRequest(share=share, reason=reason)
        return self._write(AliasState, "POST", f"{POLICIES}/{segment(version)}/canary", key, json=json_body(body))

    def end_canary(self, reason: str = "", *, key: str | None = None) -> AliasState:
        """Let the champion decide for all series again."""
        return self._write(AliasState, "DELETE", f"{POLICIES}/canary", key, params={"reason": reason})

    def _point(self, path: str, reason: str, key: str | None) -> AliasState:
        body = json_body(ReasonRequest(reason=reason))
        return self._write(AliasState, "POST", f"{POLICIES}{path}", key, json=body)
