"""`/v1/what-if` and `/v1/look-back`: what another number of days would cost, and what other policies would have done."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from service.auth import Caller
from service.fields import GivenDay
from service.look_back import look_back
from service.look_back_schemas import LookedBack
from service.problems import problem_responses
from service.schemas import Name
from service.what_if import what_if
from service.what_if_schemas import WhatIfRequest, WhatIfResponse

USUAL_PERIODS, MOST_PERIODS = 56, 182

router = APIRouter(prefix="/v1", tags=["recommendations"])


@router.post("/what-if", responses=problem_responses(404, 408, 409, 413, 422))
def ask_what_if(body: WhatIfRequest, request: Request, _caller: Caller) -> WhatIfResponse:
    """The cost curve over days of one series and the projected stock of chosen days, under a planner's assumptions.

    Costs are those of the one order that would be placed at the end of as_of, over the dates that it is responsible for.
    Nothing is stored, and the present recommendation stays as it is.
    """
    return what_if(request.app.state.recommender, body)


@router.get("/look-back/{location_id}/{item_id}", responses=problem_responses(404, 409, 422))
def ask_look_back(
    location_id: Annotated[Name, Path(description="The DC or store.", examples=["S17"])],
    item_id: Annotated[Name, Path(description="The SKU.", examples=["B101"])],
    request: Request,
    _caller: Caller,
    as_of: Annotated[
        GivenDay | None, Query(description="The last day; the last recorded one where absent.", examples=["2019-04-30"])
    ] = None,
    periods: Annotated[
        int,
        Query(ge=1, le=MOST_PERIODS, description="Number of periods to replay, the last of them as_of.", examples=[56]),
    ] = USUAL_PERIODS,
) -> LookedBack:
    """Stock, sales and lost sales of one series over the last periods, under each loaded policy and the incumbent.

    All begin with the same stock and meet the stored sales as demand. A policy sees at each day's end what could be seen
    then, as it is stored now; overrides are set aside. Nothing is stored.
    """
    state = request.app.state
    series = item_id, location_id
    return look_back(state.recommender, state.features, state.policies.shadow, series, as_of, periods)
