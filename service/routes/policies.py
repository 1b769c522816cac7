"""`/v1/policies`: which policies there are, which one decides, and which one decides beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse

from service.aliases import Aliases
from service.auth import Caller, OpsWrite
from service.bundle_folders import VERSION
from service.idempotency import Act, Write
from service.policy_schemas import (
    AliasState,
    PolicyDetail,
    PolicyList,
    ReasonRequest,
    RegisterRequest,
    StoredPolicy,
)  # fmt: skip
from service.problems import problem_responses
from service.promotions import Promotions

router = APIRouter(prefix="/v1", tags=["policies"])

Version = Annotated[str, Path(pattern=VERSION, description="Name of a bundle.", examples=["daily-5"])]
CHANGING = problem_responses(404, 408, 409, 413, 422)


def _promotions(request: Request) -> Promotions:
    promotions: Promotions = request.app.state.promotions
    return promotions


def _change(request: Request, write: Write, prepare: Callable[[], Act]) -> JSONResponse:
    """Store a change; this process follows it before it answers, others within a second."""
    aliases: Aliases = request.app.state.aliases
    changed = write.once(request.app.state.store.database, prepare)
    aliases.look()
    return changed


@router.get("/policies")
def list_policies(request: Request, _caller: Caller) -> PolicyList:
    """Every policy that is registered, ships, or lies in the folder of bundles; where the aliases point and pointed before."""
    return _promotions(request).listed()


@router.post(
    "/policies",
    status_code=201,
    response_model=StoredPolicy,
    responses={200: {"model": StoredPolicy, "description": "It was registered before."}, **CHANGING},
)
def register_policy(body: RegisterRequest, request: Request, write: OpsWrite) -> JSONResponse:
    """Check a bundle that lies in the folders and pin the hashes of its files: it is refused from then on where they differ."""
    promotions = _promotions(request)
    return _change(request, write, lambda: promotions.registering(body.version, write.caller))


@router.post("/policies/rollback", response_model=AliasState, responses=CHANGING)
def roll_back(body: ReasonRequest, request: Request, write: OpsWrite) -> JSONResponse:
    """Make the champion before this one the champion again; after the first promotion that is the one that ships."""
    promotions = _promotions(request)
    return _change(request, write, lambda: promotions.rolling_back(body.reason, write.caller))


@router.delete("/policies/shadow", response_model=AliasState, responses=CHANGING)
def clear_shadow(
    request: Request,
    write: OpsWrite,
    reason: Annotated[str, Query(max_length=500, description="Kept with the change.", examples=["seen enough"])] = "",
) -> JSONResponse:
    """End the shadow."""
    promotions = _promotions(request)
    return _change(request, write, lambda: promotions.clearing_shadow(reason, write.caller))


@router.get("/policies/{version}", responses=problem_responses(404, 422))
def get_policy(version: Version, request: Request, _caller: Caller) -> PolicyDetail:
    """One policy, with every change of an alias that named it."""
    return _promotions(request).get(version)


@router.post("/policies/{version}/promote", response_model=AliasState, responses=CHANGING)
def promote_policy(version: Version, body: ReasonRequest, request: Request, write: OpsWrite) -> JSONResponse:
    """Make a registered policy the champion. Requests under way end with the one that they began with; every process of the
    installation follows within about a second. Where the bundle does not hold, nothing changes."""
    promotions = _promotions(request)
    return _change(request, write, lambda: promotions.promoting(version, body.reason, write.caller))


@router.post("/policies/{version}/shadow", response_model=AliasState, responses=CHANGING)
def shadow_policy(version: Version, body: ReasonRequest, request: Request, write: OpsWrite) -> JSONResponse:
    """Let a registered policy decide beside the champion: what it would have answered is kept, no answer is touched."""
    promotions = _promotions(request)
    return _change(request, write, lambda: promotions.shadowing(version, body.reason, write.caller))
