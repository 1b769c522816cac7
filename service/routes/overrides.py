"""`/v1/overrides`: planners' decisions for selling dates."""

from __future__ import annotations

from fastapi import APIRouter, Request

from service.auth import Caller
from service.overrides import store_override
from service.problems import problem_responses
from service.schemas import OverrideRequest, OverrideResponse

router = APIRouter(prefix="/v1", tags=["overrides"])


@router.post("/overrides", status_code=201, responses=problem_responses(401, 404, 413, 422))
def create_override(body: OverrideRequest, request: Request, _caller: Caller) -> OverrideResponse:
    """Store an override. It counts in the next answer of every order that covers one of its selling dates."""
    response = store_override(request.app.state.store, body)
    request.app.state.telemetry.overrides.inc()
    return response
