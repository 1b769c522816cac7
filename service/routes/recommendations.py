"""`/v1/recommendations`: how many days of stock to hold, and what to order."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from service.at_once import WouldWait, at_once
from service.auth import Caller, check_scope
from service.fields import GivenDay
from service.keys import ERP
from service.memory import Recording
from service.problems import ProblemError, problem_responses
from service.recommender import PLAIN, How, Recommender
from service.schemas import (
    Name,
    RecommendationItem,
    RecommendationRequest,
    RecommendationResponse,
)  # fmt: skip
from service.telemetry import Telemetry

router = APIRouter(prefix="/v1", tags=["recommendations"])
FEW = 4  # series that are tried at once: more would keep others waiting for longer than the hand-over takes


@router.post("/recommendations", response_model=RecommendationResponse, responses=problem_responses(408, 413, 422))
async def recommend(body: RecommendationRequest, request: Request, caller: Caller) -> Response:
    """Decide 1 to 5,000 series at once. Answers keep the order of the request; each is a result or a problem.

    Answers are remembered as decisions, unless `record` is false: what they advise counts as on order on later days until
    an outcome is told. The same question again has the same answer and the same decision.
    """
    if body.record:
        check_scope(caller, ERP)
    recording = Recording(caller.name, body.client_ref) if body.record else None
    how = How(recording, body.counterfactuals, body.inventory_as_of, body.uom)
    return await _answer(request, body.items, body.as_of, how)


@router.get(
    "/recommendations/{location_id}/{item_id}", response_model=RecommendationResponse,
    responses=problem_responses(404, 409, 422),
)  # fmt: skip
async def recommend_one(
    location_id: Annotated[Name, Path(description="The DC or store.", examples=["S17"])],
    item_id: Annotated[Name, Path(description="The SKU.", examples=["B101"])],
    request: Request,
    _caller: Caller,
    as_of: Annotated[
        GivenDay | None, Query(description="The day at whose end the order is placed.", examples=["2019-04-30"])
    ] = None,
    on_hand: Annotated[
        float | None, Query(ge=0, le=1e12, description="Units in stock.", allow_inf_nan=False, examples=[640])
    ] = None,
) -> Response:
    """Decide one series from stored history and stock; nothing is remembered."""
    item = RecommendationItem(item_id=item_id, location_id=location_id, on_hand=on_hand)
    return await _answer(request, [item], as_of, alone=True)


async def _answer(
    request: Request, items: list[RecommendationItem], as_of: date | None, how: How = PLAIN, *, alone: bool = False
) -> Response:
    """The response of some items; of one `alone`, its problem is that of the request."""

    def answer() -> Response:
        state = request.app.state
        recommender: Recommender = state.recommender
        telemetry: Telemetry = state.telemetry
        response = recommender.answer(items, as_of, how)
        telemetry.count_answers(response.items, store_down=state.store.database.down)
        problem = response.items[0].problem if alone else None
        if problem is not None:
            raise ProblemError(problem.status, problem.type, problem.title, problem.detail)
        return _json(telemetry, response)

    if len(items) <= FEW and how.recording is None and not how.counterfactuals:
        try:
            with at_once():
                return answer()
        except WouldWait:
            pass
    return await run_in_threadpool(answer)


def _json(telemetry: Telemetry, response: RecommendationResponse) -> Response:
    """As it is: FastAPI would check every field of up to 5,000 answers a second time."""
    laps = telemetry.laps()
    written = response.model_dump_json()
    laps.mark("json")
    return Response(written, media_type="application/json")
