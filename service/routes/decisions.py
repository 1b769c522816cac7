"""`/v1/decisions`: what was advised, and what became of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse

from service.auth import Caller, ErpWrite
from service.decision_schemas import DecisionPage, OutcomeRequest, Status, StoredDecision
from service.decisions import Decisions
from service.fields import GivenDay
from service.idempotency import REPLAYED, Act, Answered
from service.problems import problem_responses
from service.routes.parameters import Cursor, Limit, OnlyItem, OnlyPlace

router = APIRouter(prefix="/v1", tags=["decisions"])

Id = Annotated[str, Path(max_length=40, description="Number of the decision.", examples=["d-mf2xk5dpn5zgkzq3bq5a2ghs"])]


def _decisions(request: Request) -> Decisions:
    decisions: Decisions = request.app.state.decisions
    return decisions


@router.get("/decisions", responses=problem_responses(422))
def list_decisions(
    request: Request,
    _caller: Caller,
    item_id: OnlyItem = None,
    location_id: OnlyPlace = None,
    order_date: Annotated[
        GivenDay | None, Query(description="Only orders of this day.", examples=["2019-04-30"])
    ] = None,
    status: Annotated[Status | None, Query(description="Only those that stand so.", examples=["open"])] = None,
    client_ref: Annotated[
        str | None, Query(max_length=200, description="Only those of this run.", examples=["night-2019-04-30"])
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> DecisionPage:
    """Decisions, oldest first; each filter that is given has to match exactly."""
    given = {"item_id": item_id, "location_id": location_id, "order_date": order_date, "status": status,
             "client_ref": client_ref}  # fmt: skip
    matching = {name: value for name, value in given.items() if value is not None}
    return _decisions(request).page(matching, cursor, limit)


@router.get("/decisions/{decision_id}", responses=problem_responses(404, 422))
def get_decision(decision_id: Id, request: Request, _caller: Caller) -> StoredDecision:
    """One decision: what it rested on, what was answered, what became of it."""
    return _decisions(request).get(decision_id)


@router.post(
    "/decisions/{decision_id}/outcome",
    response_model=StoredDecision,
    responses=problem_responses(404, 408, 409, 413, 422),
)
def tell_outcome(decision_id: Id, body: OutcomeRequest, request: Request, write: ErpWrite) -> JSONResponse:
    """Say what became of a decision. What was ordered counts until it shows up among the open orders; what was rejected
    does not count."""
    decisions = _decisions(request)

    def prepare() -> Act:
        store = decisions.settling(decision_id, body, write.caller)
        return lambda connection: Answered(200, store(connection).model_dump(mode="json"))

    told = write.once(request.app.state.store.database, prepare)
    if REPLAYED not in told.headers:
        request.app.state.telemetry.outcomes.labels(body.status).inc()
    return told
