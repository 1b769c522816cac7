"""`/v1/policies`: which policies there are, which one decides, which one for a share of the series, and which one beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse

from service.aliases import Aliases
from service.auth import Caller, OpsWrite
from service.bundle_folders import VERSION
from service.idempotency import Act, Write
from service.policy_listing import PolicyListing
from service.policy_schemas import (
    AliasState,
    CanaryRequest,
    PolicyDetail,
    PolicyList,
    ReasonRequest,
    RegisterRequest,
    StoredPolicy,
)  # fmt: skip
from service.policy_store import CANARY, SHADOW
from service.problems import problem_responses
from service.promotions import Promotions

router = APIRouter(prefix="/v1", tags=["policies"])

Version = Annotated[str, Path(pattern=VERSION, description="Name of a bundle.", examples=["daily-6.1"])]
EndReason = Annotated[str, Query(max_length=500, description="Kept with the change.", examples=["seen enough"])]
CHANGING = problem_responses(404, 408, 409, 413, 422)


def _promotions(request: Request) -> Promotions:
    promotions: Promotions = request.app.state.promotions
    return promotions


def _listing(request: Request) -> PolicyListing:
    listing: PolicyListing = request.app.state.policy_listing
    return listing


def _change(request: Request, write: Write, prepare: Callable[[], Act]) -> JSONResponse:
    """Store a change; this process follows it before it answers, others within a second."""
    aliases: Aliases = request.app.state.aliases
    changed = write.once(request.app.state.store.database, prepare)
    aliases.look()
    return changed


@router.get("/policies")
def list_policies(request: Request, _caller: Caller) -> PolicyList:
    """Every policy that is registered, ships, or lies in the folder of bundles; where the aliases point and pointed before."""
    return _listing(request).listed()


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
def clear_shadow(request: Request, write: OpsWrite, reason: EndReason = "") -> JSONResponse:
    """End the shadow."""
    promotions = _promotions(request)
    return _change(request, write, lambda: promotions.clearing(SHADOW, reason, write.caller))


@router.delete("/policies/canary", response_model=AliasState, responses=CHANGING)
def clear_canary(request: Request, write: OpsWrite, reason: EndReason = "") -> JSONResponse:
    """End the canary: the champion decides for all series from the next request on."""
    promotions = _promotions(request)
    return _change(request, write, lambda: promotions.clearing(CANARY, reason, write.caller))


@router.get("/policies/{version}", responses=problem_responses(404, 422))
def get_policy(version: Version, request: Request, _caller: Caller) -> PolicyDetail:
    """One policy, with every change of an alias that named it."""
    return _listing(request).get(version)


@router.post("/policies/{version}/promote", response_model=AliasState, responses=CHANGING)
def promote_policy(version: Version, body: ReasonRequest, request: Request, write: OpsWrite) -> JSONResponse:
    """Make a registered policy the champion. Requests under way end with the one that they began with; every process of the
    installation follows within about a second. Where the bundle does not hold, nothing changes. A canary that is promoted ends."""
    promotions = _promotions(request)
    return _change(request, write, lambda: promotions.promoting(version, body.reason, write.caller))


@router.post("/policies/{version}/shadow", response_model=AliasState, responses=CHANGING)
def shadow_policy(version: Version, body: ReasonRequest, request: Request, write: OpsWrite) -> JSONResponse:
    """Let a registered policy decide beside the champion: what it would have answered is kept, no answer is touched."""
    promotions = _promotions(request)
    return _change(request, write, lambda: promotions.shadowing(version, body.reason, write.caller))


@router.post("/policies/{version}/canary", response_model=AliasState, responses=CHANGING)
def try_policy(version: Version, body: CanaryRequest, request: Request, write: OpsWrite) -> JSONResponse:
    """Let a registered policy decide for a share of the series, always the same ones; again with another share to change that.
    Guardrails compare it with the champion, and end it where one trips."""
    promotions = _promotions(request)
    return _change(request, write, lambda: promotions.trying(version, body.share, body.reason, write.caller))
