"""A typed client of a running service: one method a call, the service's own bodies in and out.

Every write carries an Idempotency-Key and is sent again under it where no answer came, or one that may pass: it is done
once, however often it is sent. Nothing is kept between calls but connections. The calls of feeds, overrides and ops stand
in `orpr/calls/`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from typing import Self

from orpr.calls.feeds import FeedCalls
from orpr.calls.operations import OperationCalls
from orpr.calls.overrides import OverrideCalls
from orpr.calls.transport import PAGE, ServiceProblem, json_body, segment
from orpr.sending import WAITS_S, Sender
from service.decision_schemas import DecisionBrief, OutcomeRequest, StoredDecision
from service.look_back_schemas import LookedBack
from service.schemas import RecommendationItem, RecommendationRequest, RecommendationResponse
from service.what_if_schemas import WhatIfRequest, WhatIfResponse

__all__ = ["Client", "ServiceProblem"]

KEY = "ORPR_API_KEY"
MOST_SERIES = 5000  # of one request


class Client(FeedCalls, OverrideCalls, OperationCalls):
    """One service, asked under one key.

    A call raises `ServiceProblem` where the service refuses, `Unanswered` where no answer came after all tries, and
    ValueError where the answer is none of this service.
    """

    def __init__(
        self, url: str, key: str | None = None, *, waits_s: Sequence[float] = WAITS_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        """Nothing is sent yet.

        Args:
            url: of the service, without `/v1`.
            key: of the API; by default what the environment has as `ORPR_API_KEY`.
            waits_s: seconds before each further try; a `Retry-After` that asks for more, up to a minute, is heeded.
            sleep: what waits.
        """
        found = os.environ.get(KEY, "") if key is None else key
        self._sender = Sender(url, {"X-API-Key": found} if found else {}, waits_s, sleep)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._sender.close()

    # ---------------------------------------------------------------------------------------------- recommendations

    def recommend(
        self, items: Sequence[RecommendationItem], *, as_of: date | None = None, inventory_as_of: datetime | None = None,
        uom: str | None = None, record: bool = True, counterfactuals: bool = False, client_ref: str = "",
    ) -> RecommendationResponse:  # fmt: skip
        """Answers in the order of `items`, asked for in batches of 5,000, all as of the same day by the same champion and canary.

        Raises:
            ServiceProblem: where a batch is refused; earlier ones are remembered then, and answered alike when asked again.
            RuntimeError: where another policy took charge between two batches.
            ValueError: where no item is given.
        """
        told: RecommendationResponse | None = None
        deciders: dict[str | None, str] = {}  # version by alias
        for at in range(0, max(len(items), 1), MOST_SERIES):
            body = RecommendationRequest(
                as_of=as_of if told is None else told.as_of, items=list(items[at : at + MOST_SERIES]),
                inventory_as_of=inventory_as_of, uom=uom, record=record, counterfactuals=counterfactuals,
                client_ref=client_ref,
            )  # fmt: skip
            path = "/v1/recommendations"
            answer = self._read(RecommendationResponse, "POST", path, json=json_body(body))
            for alias, version in _deciders(answer).items():
                if deciders.setdefault(alias, version) != version:
                    raise RuntimeError(
                        f"POST {path}: the policy changed from {deciders[alias]} to {version} between two batches; ask again"
                    )
            told = answer if told is None else _joined(told, answer)
        assert told is not None
        return told

    def what_if(self, question: WhatIfRequest) -> WhatIfResponse:
        """What other days would cost one series, and the stock that chosen ones would leave; nothing is stored."""
        return self._read(WhatIfResponse, "POST", "/v1/what-if", json=json_body(question))

    def look_back(self, item_id: str, location_id: str, *, periods: int | None = None) -> LookedBack:
        """The last periods of one series under each loaded policy; nothing is stored."""
        path = f"/v1/look-back/{segment(location_id)}/{segment(item_id)}"
        return self._read(LookedBack, "GET", path, params={} if periods is None else {"periods": periods})

    # --------------------------------------------------------------------------------------------------- decisions

    def decisions(self, **matching: str | date) -> Iterator[DecisionBrief]:
        """Decisions, oldest first; `matching` by item_id, location_id, order_date, status, client_ref."""
        return self._pages(DecisionBrief, "/v1/decisions", matching, PAGE)

    def decision(self, decision_id: str) -> StoredDecision:
        """One decision with what it rested on and what became of it."""
        return self._read(StoredDecision, "GET", f"/v1/decisions/{segment(decision_id)}")

    def tell_outcome(self, decision_id: str, outcome: OutcomeRequest, *, key: str | None = None) -> StoredDecision:
        """Say what became of a decision."""
        path = f"/v1/decisions/{segment(decision_id)}/outcome"
        return self._write(StoredDecision, "POST", path, key, json=json_body(outcome))


def _deciders(answer: RecommendationResponse) -> dict[str | None, str]:
    """Which version answered under which alias."""
    own = {answer.policy_alias: answer.policy_version}
    return own | {one.policy_alias: one.policy_version for one in answer.items if one.policy_version is not None}


def _joined(told: RecommendationResponse, answer: RecommendationResponse) -> RecommendationResponse:
    """Two batches as one; one that a canary decided alone does not stand for both."""
    lead = answer if told.policy_alias == "canary" else told
    return lead.model_copy(update={"items": told.items + answer.items})
