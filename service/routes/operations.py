"""For ops: is it alive, may it serve, how is it doing."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from service.problems import MEDIA_TYPE, Problem, problem_responses

router = APIRouter(tags=["operations"])


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = Field("alive", description="Nothing else is ever said here.", examples=["alive"])


class Readiness(BaseModel):
    """Whether it may be sent requests, and what that rests on."""

    ready: bool = Field(description="Whether it may be sent requests.", examples=[True])
    policy: dict[str, Any] = Field(
        description="Which policies are in charge, on trial and in the shadow, and the last bundle that was refused.",
        examples=[{"version": "daily-6.1", "canary": None, "shadow": None, "refused": None}],
    )
    cache: str = Field(description="Where feature rows are cached.", examples=["memory"])
    store: str = Field(description="ok, or what is wrong with the database.", examples=["ok"])


@router.get("/healthz")
def healthz() -> Alive:
    """The process answers."""
    return Alive()


@router.get("/readyz", response_model=Readiness, responses=problem_responses(503))
def readyz(request: Request) -> JSONResponse:
    """The process may be sent requests: a policy is in charge, and it knows a dataset. Where the database has gone away since,
    it answers on from what it knows, and says so. The problem document of one that is not ready has the same fields beside its own."""
    state = request.app.state
    state.view.catch_up()
    loaded, known_at = state.view.dataset(), state.view.as_of
    knows = loaded is not None and loaded.last_recorded is not None
    store = "ok" if knows else "no dataset is loaded"
    if state.store.database.down:
        store = "does not answer; " + (
            f"answers rest on {known_at.isoformat()}" if known_at else "nothing is known yet"
        )
    told = {"policy": state.policies.status(), "cache": state.features_cache.name, "store": store}
    if knows and state.policies.ready:
        return JSONResponse({"ready": True, **told})
    why = "no policy is in charge" if knows else f"the database: {store}"
    problem = Problem(type="not-ready", title="Not ready", status=503, detail=why).model_dump(exclude_none=True)
    return JSONResponse({**problem, "ready": False, **told}, 503, media_type=MEDIA_TYPE)


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """Prometheus exposition."""
    return Response(request.app.state.gauges.exposition(), media_type=CONTENT_TYPE_LATEST)
