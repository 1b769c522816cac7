"""`/v1/holds` and `/v1/stops`: orders that are not given out, and who lets them pass."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse

from service.auth import Caller, OpsWrite
from service.hold_schemas import Hold, HoldPage, ReleaseRequest, StopPage, StopRequest, StoredStop
from service.holds import Holds
from service.idempotency import Act, Answered
from service.problems import problem_responses
from service.routes.parameters import Cursor, Limit

router = APIRouter(prefix="/v1", tags=["holds"])

Number = Annotated[int, Path(ge=1, le=2**31 - 1, description="Its number.", examples=[3])]
CHANGING = problem_responses(404, 408, 409, 413, 422)


def _holds(request: Request) -> Holds:
    holds: Holds = request.app.state.holds
    return holds


@router.get("/holds", responses=problem_responses(422))
def list_holds(
    request: Request,
    _caller: Caller,
    state: Annotated[
        Literal["held", "released"] | None, Query(description="Only those that stand so.", examples=["held"])
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> HoldPage:
    """Batches that were found abnormal, with the measures and who is to blame."""
    return _holds(request).page(state, cursor, limit)


@router.post("/holds/{hold_id}/release", response_model=Hold, responses=CHANGING)
def release_hold(hold_id: Number, body: ReleaseRequest, request: Request, write: OpsWrite) -> JSONResponse:
    """Let pass what is held: the same question then has its answer. What is more abnormal than this is held anew."""
    holds = _holds(request)

    def prepare() -> Act:
        store = holds.releasing(hold_id, body, write.caller)
        return lambda connection: Answered(200, store(connection).model_dump(mode="json"))

    return write.once(request.app.state.store.database, prepare)


@router.get("/stops", responses=problem_responses(422))
def list_stops(
    request: Request,
    _caller: Caller,
    cursor: Cursor = None,
    limit: Limit = 100,
    *,
    ended: Annotated[bool, Query(description="Those that have ended too.", examples=[True])] = False,
) -> StopPage:
    """For what no orders are given out."""
    return _holds(request).stops(cursor, limit, ended=ended)


@router.post("/stops", status_code=201, response_model=StoredStop, responses=CHANGING)
def stop_orders(body: StopRequest, request: Request, write: OpsWrite) -> JSONResponse:
    """Give out no orders for a location, a category, a category at a location, or for anything, from the next answer on."""
    holds = _holds(request)

    def prepare() -> Act:
        store = holds.stopping(body, write.caller)
        return lambda connection: Answered(201, store(connection).model_dump(mode="json"))

    return write.once(request.app.state.store.database, prepare)


@router.delete("/stops/{stop_id}", response_model=StoredStop, responses=CHANGING)
def end_stop(stop_id: Number, request: Request, write: OpsWrite) -> JSONResponse:
    """Let orders go on."""
    holds = _holds(request)

    def prepare() -> Act:
        store = holds.ending(stop_id, write.caller)
        return lambda connection: Answered(200, store(connection).model_dump(mode="json"))

    return write.once(request.app.state.store.database, prepare)
