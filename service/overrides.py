"""Taking in a planner's override: does its scope exist, then store it."""

from __future__ import annotations

from service.problems import ProblemError
from service.schemas import OverrideRequest, OverrideResponse
from service.store import Store


def store_override(store: Store, body: OverrideRequest) -> OverrideResponse:
    """Store an override that covers at least one known series.

    Raises:
        ProblemError: 404 where it covers none.
    """
    scope = {name: getattr(body, name) for name in ("item_id", "location_id", "category") if getattr(body, name)}
    covered = store.count_series(scope)
    if covered == 0:
        named = ", ".join(f"{name} {value!r}" for name, value in scope.items()) or "an empty dataset"
        raise ProblemError(404, "scope-unknown", "The override covers nothing", f"no series has {named}")
    fields = body.model_dump() | {name: getattr(body, name) or "" for name in ("item_id", "location_id", "category")}
    return OverrideResponse(id=store.add_override(fields), series_in_scope=covered)
