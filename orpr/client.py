"""A typed client of a running service: one method a call, the service's own bodies in and out.

Every write carries an Idempotency-Key and is sent again under it where no answer came, or one that may pass: it is done
once, however often it is sent. Nothing is kept between calls but connections.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any, Self, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
import polars as pl
from pydantic import BaseModel, TypeAdapter, ValidationError

from orpr.sending import WAITS_S, Sender, json_of, one_line
from service.decision_schemas import DecisionBrief, OutcomeRequest, StoredDecision
from service.feed_schemas import CalendarRow, FeedResult, HistoryRow, InventoryRow, ItemRow, OpenOrderRow
from service.override_schemas import (
    BulkRequest,
    BulkResponse,
    OverrideChange,
    OverrideRequest,
    OverrideVersion,
    Preview,
    StoredOverride,
)  # fmt: skip
from service.problems import Problem, RowError
from service.schemas import RecommendationItem, RecommendationRequest, RecommendationResponse
from service.what_if_schemas import WhatIfRequest, WhatIfResponse

KEY = "ORPR_API_KEY"
MOST_SERIES = 5000  # of one request
PAGE = 500  # rows of one page of decisions or overrides
FEED_PAGE = 5000
PARQUET = "application/vnd.apache.parquet"
Body = TypeVar("Body", bound=BaseModel)
Told = TypeVar("Told")


class _Page(BaseModel):
    """One page of anything."""

    items: list[Any]
    next_cursor: str | None


class ServiceProblem(RuntimeError):
    """What the service answered in place of a result; its text is one line without a secret."""

    def __init__(self, call: str, problem: Problem) -> None:
        super().__init__(one_line(f"{call}: {problem.status} {problem.type}: {problem.detail}"))
        self.type: str = problem.type
        self.title: str = problem.title
        self.status: int = problem.status
        self.detail: str = problem.detail
        self.errors: list[RowError] = problem.errors or []


class Client:
    """One service, asked under one key."""

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
        self, items: Sequence[RecommendationItem], *, as_of: date | None = None, record: bool = True,
        counterfactuals: bool = False, client_ref: str = "",
    ) -> RecommendationResponse:  # fmt: skip
        """Answers in the order of `items`, asked for in batches of 5,000, all as of the same day by the same policy.

        Raises:
            ServiceProblem: where a batch is refused; earlier ones are remembered then, and answered alike when asked again.
            RuntimeError: where another policy took charge between two batches.
            ValueError: where no item is given.
        """
        told: RecommendationResponse | None = None
        for at in range(0, max(len(items), 1), MOST_SERIES):
            body = RecommendationRequest(
                as_of=as_of if told is None else told.as_of, items=list(items[at : at + MOST_SERIES]), record=record,
                counterfactuals=counterfactuals, client_ref=client_ref,
            )  # fmt: skip
            path = "/v1/recommendations"
            answer = self._read(RecommendationResponse, "POST", path, json=_json(body))
            if told is not None and told.policy_version != answer.policy_version:
                raise RuntimeError(
                    f"POST {path}: the policy changed from {told.policy_version} to {answer.policy_version} between two "
                    "batches; ask again"
                )
            told = answer if told is None else told.model_copy(update={"items": told.items + answer.items})
        assert told is not None
        return told

    def what_if(self, question: WhatIfRequest) -> WhatIfResponse:
        """What other days would cost one series, and the stock that chosen ones would leave; nothing is stored."""
        return self._read(WhatIfResponse, "POST", "/v1/what-if", json=_json(question))

    # --------------------------------------------------------------------------------------------------- decisions

    def decisions(self, **matching: str | date) -> Iterator[DecisionBrief]:
        """Decisions, oldest first; `matching` by item_id, location_id, order_date, status, client_ref."""
        return self._pages(DecisionBrief, "decisions", matching, PAGE)

    def decision(self, decision_id: str) -> StoredDecision:
        """One decision with what it rested on and what became of it."""
        return self._read(StoredDecision, "GET", f"/v1/decisions/{_segment(decision_id)}")

    def tell_outcome(self, decision_id: str, outcome: OutcomeRequest, *, key: str | None = None) -> StoredDecision:
        """Say what became of a decision."""
        path = f"/v1/decisions/{_segment(decision_id)}/outcome"
        return self._write(StoredDecision, "POST", path, key, json=_json(outcome))

    # ------------------------------------------------------------------------------------------------------- feeds

    def put_items(self, rows: Sequence[ItemRow] | pl.DataFrame, *, key: str | None = None) -> FeedResult:
        """Add or replace items. Rows go as JSON, of each the fields that were set; a table goes as Parquet."""
        return self._feed("items", rows, key)

    def put_history(self, rows: Sequence[HistoryRow] | pl.DataFrame, *, key: str | None = None) -> FeedResult:
        """Add or correct sales; see `put_items`. All rows have to set the same fields."""
        return self._feed("history", rows, key)

    def put_inventory(self, rows: Sequence[InventoryRow] | pl.DataFrame, *, key: str | None = None) -> FeedResult:
        """Say what stands there; see `put_items`."""
        return self._feed("inventory", rows, key)

    def put_open_orders(self, rows: Sequence[OpenOrderRow] | pl.DataFrame, *, key: str | None = None) -> FeedResult:
        """Say all that is on order of the series that are named, in one call; see `put_items`."""
        return self._feed("open-orders", rows, key)

    def put_calendar(self, rows: Sequence[CalendarRow] | pl.DataFrame, *, key: str | None = None) -> FeedResult:
        """Add or correct days of locations; see `put_items`. All rows have to set the same fields."""
        return self._feed("calendar", rows, key)

    def items(self, **matching: str) -> Iterator[ItemRow]:
        """The items that are stored, page after page; `matching` by item_id, location_id. So do the others."""
        return self._pages(ItemRow, "items", matching)

    def history(self, first: date | None = None, last: date | None = None, **matching: str) -> Iterator[HistoryRow]:
        """The sales that are stored, from `first` to `last`."""
        return self._pages(HistoryRow, "history", matching | _span(first, last))

    def inventory(self, **matching: str) -> Iterator[InventoryRow]:
        """The stock that is stored."""
        return self._pages(InventoryRow, "inventory", matching)

    def open_orders(self, **matching: str) -> Iterator[OpenOrderRow]:
        """The open orders that are stored."""
        return self._pages(OpenOrderRow, "open-orders", matching)

    def calendar(self, first: date | None = None, last: date | None = None, **matching: str) -> Iterator[CalendarRow]:
        """The calendar that is stored, from `first` to `last`; `matching` by location_id."""
        return self._pages(CalendarRow, "calendar", matching | _span(first, last))

    # --------------------------------------------------------------------------------------------------- overrides

    def preview_override(self, override: OverrideRequest) -> Preview:
        """What an override would do; nothing is stored."""
        return self._read(Preview, "POST", "/v1/overrides/preview", json=_json(override))

    def create_override(self, override: OverrideRequest, *, key: str | None = None) -> StoredOverride:
        """Store an override."""
        return self._write(StoredOverride, "POST", "/v1/overrides", key, json=_json(override))

    def create_overrides(self, overrides: Sequence[OverrideRequest], *, key: str | None = None) -> list[StoredOverride]:
        """Store up to 5,000 overrides, all or none."""
        body = BulkRequest(overrides=list(overrides))
        return self._write(BulkResponse, "POST", "/v1/overrides/bulk", key, json=_json(body)).items

    def overrides(self, **matching: str | date) -> Iterator[StoredOverride]:
        """Overrides in the order of their numbers; `matching` by scope, promotion_id, state, selling_on."""
        return self._pages(StoredOverride, "overrides", matching, PAGE)

    def override(self, override_id: int) -> StoredOverride:
        """One override, withdrawn ones too."""
        return self._read(StoredOverride, "GET", f"/v1/overrides/{override_id}")

    def override_history(self, override_id: int) -> list[OverrideVersion]:
        """Every version, oldest first."""
        path = f"/v1/overrides/{override_id}/history"
        return _parsed(TypeAdapter(list[OverrideVersion]), f"GET {path}", self._ask("GET", path))

    def change_override(
        self, override_id: int, change: OverrideChange, *, version: int, key: str | None = None
    ) -> StoredOverride:
        """Change some fields of the version that was seen; a newer one is a problem, `version-changed`."""
        path, told = f"/v1/overrides/{override_id}", change.model_dump(mode="json", exclude_unset=True)
        return self._write(StoredOverride, "PATCH", path, key, headers=_seen(version), json=told)

    def approve_override(self, override_id: int, *, version: int, key: str | None = None) -> StoredOverride:
        """Put a pending override into effect."""
        path = f"/v1/overrides/{override_id}/approval"
        return self._write(StoredOverride, "POST", path, key, headers=_seen(version))

    def withdraw_override(self, override_id: int, *, version: int, key: str | None = None) -> StoredOverride:
        """Withdraw the version that was seen."""
        path = f"/v1/overrides/{override_id}"
        return self._write(StoredOverride, "DELETE", path, key, headers=_seen(version))

    # -------------------------------------------------------------------------------------------------------- HTTP

    def _read(self, body: type[Body], method: str, path: str, **parts: Any) -> Body:
        return _parsed(TypeAdapter(body), f"{method} {path}", self._ask(method, path, **parts))

    def _write(
        self, body: type[Body], method: str, path: str, key: str | None, headers: dict[str, str] | None = None,
        **parts: Any,
    ) -> Body:  # fmt: skip
        named = (headers or {}) | {"Idempotency-Key": key or uuid4().hex}
        return self._read(body, method, path, headers=named, **parts)

    def _feed(self, name: str, rows: Sequence[BaseModel] | pl.DataFrame, key: str | None) -> FeedResult:
        if isinstance(rows, pl.DataFrame):
            table = io.BytesIO()
            rows.write_parquet(table)
            headers = {"Content-Type": PARQUET}
            return self._write(FeedResult, "PUT", f"/v1/{name}", key, headers, content=table.getvalue())
        told = [row.model_dump(mode="json", exclude_unset=True) for row in rows]
        return self._write(FeedResult, "PUT", f"/v1/{name}", key, json=told)

    def _pages(self, row: type[Body], name: str, matching: dict[str, Any], limit: int = FEED_PAGE) -> Iterator[Body]:
        path, cursor = f"/v1/{name}", None
        rows = TypeAdapter(list[row])  # type: ignore[valid-type]
        given = {field: str(value) for field, value in matching.items()} | {"limit": str(limit)}
        while True:
            page = self._read(_Page, "GET", path, params=given | ({"cursor": cursor} if cursor else {}))
            yield from _parsed(rows, f"GET {path}", page.items)
            if page.next_cursor is None:
                return
            if not page.items or page.next_cursor == cursor:
                raise ValueError(f"GET {path}: the answer is none of this service: its pages have no end")
            cursor = page.next_cursor

    def _ask(self, method: str, path: str, **parts: Any) -> Any:
        response = self._sender.send(method, path, **parts)
        if not response.is_success:
            raise ServiceProblem(f"{method} {path}", _problem_of(response))
        return json_of(response)


def _json(body: BaseModel) -> Any:
    return body.model_dump(mode="json")


def _parsed(adapter: TypeAdapter[Told], call: str, told: Any) -> Told:
    try:
        return adapter.validate_python(told)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(one_line(f"{call}: the answer is none of this service: {where}: {first['msg']}")) from None


def _problem_of(response: httpx.Response) -> Problem:
    """The problem document, or what can be said of an answer that is none, say a proxy's."""
    told = json_of(response)
    try:
        return Problem.model_validate(told)
    except ValidationError:
        title = response.reason_phrase
        return Problem(type="about:blank", title=title, status=response.status_code, detail=one_line(response.text))


def _seen(version: int) -> dict[str, str]:
    return {"If-Match": f'"{version}"'}


def _span(first: date | None, last: date | None) -> dict[str, str]:
    return {name: str(day) for name, day in (("from", first), ("to", last)) if day is not None}


def _segment(text: str) -> str:
    return quote(text, safe="")
