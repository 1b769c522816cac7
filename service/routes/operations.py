"""For ops: is it alive, may it serve, how is it doing."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

router = APIRouter(tags=["operations"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"description": "Not ready; the body says why"}})
def readyz(request: Request) -> JSONResponse:
    """The process may be sent requests: a policy is in charge, the store answers, a dataset is loaded."""
    state = request.app.state
    checks: dict[str, Any] = {"policy": state.policies.status(), "cache": state.features_cache.name}
    try:
        state.store.database.ping()
        loaded = state.view.dataset()
        checks["store"] = "ok" if loaded and loaded.last_recorded else "no dataset is loaded"
    except SQLAlchemyError as error:
        checks["store"] = f"does not answer ({type(error).__name__})"
    ready = checks["store"] == "ok" and state.policies.ready
    return JSONResponse({"ready": ready, **checks}, 200 if ready else 503)


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Prometheus exposition."""
    state = request.app.state
    state.telemetry.cache_hits.set(state.features.hits)
    state.telemetry.cache_misses.set(state.features.misses)
    state.telemetry.cache_errors.set(getattr(state.features_cache, "errors", 0))
    return Response(generate_latest(state.telemetry.registry), media_type=CONTENT_TYPE_LATEST)
