"""`/v1/what-if`: what another number of days would cost, and the stock that it would leave."""

from __future__ import annotations

from fastapi import APIRouter, Request

from service.auth import Caller
from service.problems import problem_responses
from service.what_if import what_if
from service.what_if_schemas import WhatIfRequest, WhatIfResponse

router = APIRouter(prefix="/v1", tags=["recommendations"])


@router.post("/what-if", responses=problem_responses(404, 408, 409, 413, 422))
def ask_what_if(body: WhatIfRequest, request: Request, _caller: Caller) -> WhatIfResponse:
    """The cost curve over days of one series and the projected stock of chosen days, under a planner's assumptions.

    Costs are those of the one order that would be placed at the end of as_of, over the dates that it is responsible for.
    Nothing is stored, and the present recommendation stays as it is.
    """
    return what_if(request.app.state.recommender, body)
