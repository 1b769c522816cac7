"""`/v1/recommendations`: how many days of stock to hold, and what to order."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from service.auth import Caller, check_scope
from service.keys import ERP
from service.memory import Recording
from service.problems import ProblemError, problem_responses
from service.recommender import PLAIN, How, Recommender
from service.schemas import (
    Day,
    Name,
    RecommendationItem,
    RecommendationRequest,
    RecommendationResponse,
)  # fmt: skip
from service.telemetry import Telemetry

router = APIRouter(prefix="/v1", tags=["recommendations"])


@router.post(
    "/recommendations", response_model=RecommendationResponse, responses=problem_responses(401, 403, 413, 422, 503)
)
def recommend(body: RecommendationRequest, request: Request, caller: Caller) -> Response:
    """Decide 1 to 5,000 series at once. Answers keep the order of the request; each is a result or a problem.

    Answers are remembered as decisions, unless `record` is false: what they advise counts as on order on later days until
    an outcome is told. The same question again has the same answer and the same decision.
    """
    if body.record:
        check_scope(caller, ERP)
    recording = Recording(caller.name, body.client_ref) if body.record else None
    return _json(_answer(request, body.items, body.as_of, How(recording, body.counterfactuals)))


@router.get(
    "/recommendations/{location_id}/{item_id}", response_model=RecommendationResponse,
    responses=problem_responses(401, 404, 409, 422, 503),
)  # fmt: skip
def recommend_one(
    location_id: Annotated[Name, Path(description="The DC or store.", examples=["S17"])],
    item_id: Annotated[Name, Path(description="The SKU.", examples=["B101"])],
    request: Request,
    _caller: Caller,
    as_of: Annotated[Day | None, Query(description="The day at whose end the order is placed.")] = None,
    on_hand: Annotated[float | None, Query(ge=0, le=1e12, description="Units in stock.", allow_inf_nan=False)] = None,
) -> Response:
    """Decide one series from stored history and stock; nothing is remembered."""
    item = RecommendationItem(item_id=item_id, location_id=location_id, on_hand=on_hand)
    response = _answer(request, [item], as_of)
    problem = response.items[0].problem
    if problem is not None:
        raise ProblemError(problem.status, problem.type, problem.title, problem.detail)
    return _json(response)


def _json(response: RecommendationResponse) -> Response:
    """As it is: FastAPI would check every field of up to 5,000 answers a second time."""
    return Response(response.model_dump_json(), media_type="application/json")


def _answer(
    request: Request, items: list[RecommendationItem], as_of: date | None, how: How = PLAIN
) -> RecommendationResponse:
    recommender: Recommender = request.app.state.recommender
    telemetry: Telemetry = request.app.state.telemetry
    response = recommender.answer(items, as_of, how)
    for answer in response.items:
        telemetry.decisions.labels("decided" if answer.problem is None else answer.problem.type).inc()
    return response
