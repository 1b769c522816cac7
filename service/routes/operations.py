"""For ops: is it alive, may it serve, how is it doing."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

router = APIRouter(tags=["operations"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"description": "Not ready; the body says why"}})
def readyz(request: Request) -> JSONResponse:
    """The process may be sent requests: a policy is in charge, and it knows a dataset. Where the database has gone away since,
    it answers on from what it knows, and says so."""
    state = request.app.state
    state.view.catch_up()
    loaded, known_at = state.view.dataset(), state.view.as_of
    knows = loaded is not None and loaded.last_recorded is not None
    store = "ok" if knows else "no dataset is loaded"
    if state.store.database.down:
        store = "does not answer; " + (
            f"answers rest on {known_at.isoformat()}" if known_at else "nothing is known yet"
        )
    checks: dict[str, Any] = {"policy": state.policies.status(), "cache": state.features_cache.name, "store": store}
    ready = knows and state.policies.ready
    return JSONResponse({"ready": ready, **checks}, 200 if ready else 503)


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """Prometheus exposition."""
    state = request.app.state
    state.telemetry.cache_hits.set(state.features.hits)
    state.telemetry.cache_misses.set(state.features.misses)
    state.telemetry.cache_errors.set(getattr(state.features_cache, "errors", 0))
    return Response(generate_latest(state.telemetry.registry), media_type=CONTENT_TYPE_LATEST)
