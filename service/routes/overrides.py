"""`/v1/overrides`: planners' decisions for selling dates."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path as Folder
from typing import Annotated, Any, BinaryIO, Literal

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from service.auth import Caller, PlannerWrite, check_scope
from service.feed_forms import PARQUET
from service.fields import GivenDay
from service.idempotency import REPLAYED, Act, Answered, Write
from service.keys import OPS, PLANNER
from service.label_store import Wanted
from service.labels import Labels
from service.override_schemas import (
    BulkRequest,
    BulkResponse,
    OverrideChange,
    OverridePage,
    OverrideRequest,
    OverrideVersion,
    Preview,
    StoredOverride,
)  # fmt: skip
from service.overrides import Overrides, answered, answered_bulk, etag
from service.problems import problem_responses
from service.routes.parameters import Cursor, Limit, OnlyItem, OnlyPlace
from service.settlement_schemas import Settlement
from service.settlements import Settlements

router = APIRouter(prefix="/v1", tags=["overrides"])

Id = Annotated[int, Path(ge=1, le=2**31 - 1, description="Number of the override.", examples=[17])]
PART = 2**20  # bytes
AFile: dict[int | str, dict[str, Any]] = {
    200: {"description": "A Parquet file.", "content": {PARQUET: {"schema": {"type": "string", "format": "binary"}}}}
}
Promotion = Annotated[str | None, Query(max_length=200, description="Only this promotion.", examples=["MAY19"])]
CHANGING = problem_responses(404, 408, 409, 412, 413, 422, 428)
IfMatch = Annotated[
    str | None, Header(max_length=40, description="ETag of the version that you have seen, or *.", examples=['"1"'])
]


def _overrides(request: Request) -> Overrides:
    overrides: Overrides = request.app.state.overrides
    return overrides


def _parts_of(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while part := file.read(PART):
            yield part


def _create(
    request: Request, write: Write, bodies: list[OverrideRequest], words: Callable[[list[StoredOverride]], Answered]
) -> JSONResponse:
    rules = _overrides(request)

    def prepare() -> Act:
        store = rules.creating(bodies, write.caller)
        return lambda connection: words(store(connection))

    made = write.once(request.app.state.store.database, prepare)
    if REPLAYED not in made.headers:
        request.app.state.telemetry.overrides.inc(len(bodies))
    return made


@router.post(
    "/overrides",
    status_code=201,
    response_model=StoredOverride,
    responses=problem_responses(404, 408, 409, 413, 422),
)
def create_override(body: OverrideRequest, request: Request, write: PlannerWrite) -> JSONResponse:
    """Store an override. It counts in the next answer of every order that covers one of its selling dates."""
    return _create(request, write, [body], lambda made: answered(made[0], 201))


@router.post("/overrides/preview", responses=problem_responses(404, 408, 413, 422))
def preview_override(body: OverrideRequest, request: Request, _caller: Caller) -> Preview:
    """What an override would do, in units and money. Nothing is stored."""
    return _overrides(request).preview(body)


@router.post(
    "/overrides/bulk",
    status_code=201,
    response_model=BulkResponse,
    responses=problem_responses(404, 408, 409, 413, 422),
)
def create_overrides(body: BulkRequest, request: Request, write: PlannerWrite) -> JSONResponse:
    """Store up to 5,000 overrides: all of them, or none where one is bad; `errors` names the rows."""
    return _create(request, write, body.overrides, answered_bulk)


@router.get("/overrides", responses=problem_responses(422))
def list_overrides(
    request: Request,
    _caller: Caller,
    item_id: OnlyItem = None,
    location_id: OnlyPlace = None,
    category: Annotated[
        str | None, Query(max_length=200, description="Only this category.", examples=["bread"])
    ] = None,
    promotion_id: Promotion = None,
    state: Annotated[
        Literal["active", "pending", "deleted"] | None,
        Query(description="Only those that stand so.", examples=["active"]),
    ] = None,
    selling_on: Annotated[
        GivenDay | None, Query(description="A selling date that they cover.", examples=["2019-05-03"])
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> OverridePage:
    """Overrides in the order of their numbers; each filter that is given has to match exactly."""
    given = {"item_id": item_id, "location_id": location_id, "category": category, "promotion_id": promotion_id,
             "state": state}  # fmt: skip
    matching = {name: value for name, value in given.items() if value is not None}
    return _overrides(request).page(matching, selling_on, cursor, limit)


@router.get("/overrides/export", response_class=StreamingResponse, responses=AFile | problem_responses(422))
def export_labels(
    request: Request,
    caller: Caller,
    order_from: Annotated[
        GivenDay | None, Query(description="Only orders from this day on.", examples=["2019-04-01"])
    ] = None,
    order_to: Annotated[
        GivenDay | None, Query(description="Only orders up to this day.", examples=["2019-04-30"])
    ] = None,
    author: Annotated[
        str | None, Query(max_length=100, description="Only their decisions.", examples=["planner@example.com"])
    ] = None,
    promotion_id: Promotion = None,
    *,
    newest: Annotated[
        bool,
        Query(
            description="Where there are more than 20,000, of whatever author: those of the last order days.",
            examples=[True],
        ),
    ] = False,
) -> StreamingResponse:
    """Expert labels as a Parquet file, at most 20,000: a row for each order that followed an override, or that was told to
    have been placed with another quantity, with what the policy saw. Takes the scope planner or ops."""
    check_scope(caller, PLANNER, OPS)
    labels: Labels = request.app.state.labels
    with tempfile.TemporaryDirectory(prefix="orpr-labels-") as folder:
        file = labels.export(Wanted(order_from, order_to, author, promotion_id, newest), Folder(folder)).open("rb")
    size = {"Content-Length": str(os.fstat(file.fileno()).st_size)}  # the file has no name any more
    return StreamingResponse(_parts_of(file), media_type=PARQUET, headers=size)


@router.get("/overrides/{override_id:int}/settlement", responses=problem_responses(404, 422))
def get_settlement(override_id: Id, request: Request, _caller: Caller) -> Settlement:
    """What an override earned or cost against the policy's own number, in units and money, by replay of the sales that
    followed."""
    settlements: Settlements = request.app.state.settlements
    return settlements.of_override(override_id)


@router.get("/overrides/{override_id:int}", responses=problem_responses(404, 422))
def get_override(override_id: Id, request: Request, response: Response, _caller: Caller) -> StoredOverride:
    """One override, withdrawn ones too; its ETag is what `If-Match` wants."""
    found = _overrides(request).get(override_id)
    response.headers["ETag"] = etag(found.version)
    return found


@router.get("/overrides/{override_id:int}/history", responses=problem_responses(404, 422))
def get_history(override_id: Id, request: Request, _caller: Caller) -> list[OverrideVersion]:
    """Every version, oldest first, with who made it."""
    return _overrides(request).history(override_id)


@router.patch(
    "/overrides/{override_id:int}",
    response_model=StoredOverride,
    responses=CHANGING,
)
def change_override(
    override_id: Id, body: OverrideChange, request: Request, write: PlannerWrite, if_match: IfMatch = None
) -> JSONResponse:
    """Change some fields; the change counts in the next answer."""
    rules = _overrides(request)

    def prepare() -> Act:
        store = rules.changing(override_id, if_match, body, write.caller)
        return lambda connection: answered(store(connection))

    return write.once(request.app.state.store.database, prepare)


@router.post(
    "/overrides/{override_id:int}/approval",
    response_model=StoredOverride,
    responses=CHANGING,
)
def approve_override(override_id: Id, request: Request, write: PlannerWrite, if_match: IfMatch = None) -> JSONResponse:
    """Put a pending override into effect; whoever wrote it cannot."""
    rules, database = _overrides(request), request.app.state.store.database
    return write.once(database, lambda: lambda c: answered(rules.approve(c, override_id, if_match, write.caller)))


@router.delete(
    "/overrides/{override_id:int}",
    response_model=StoredOverride,
    responses=CHANGING,
)
def withdraw_override(override_id: Id, request: Request, write: PlannerWrite, if_match: IfMatch = None) -> JSONResponse:
    """Withdraw an override; it no longer counts, and its history stays."""
    rules, database = _overrides(request), request.app.state.store.database
    return write.once(database, lambda: lambda c: answered(rules.withdraw(c, override_id, if_match, write.caller)))
