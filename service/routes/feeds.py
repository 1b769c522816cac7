"""`/v1/items`, `/history`, `/inventory`, `/open-orders`, `/calendar`: what an ERP sends, and reads back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from service.auth import Caller, ErpWrite
from service.cursors import cursor_of, place_of, unknown_cursor
from service.feed_forms import JSON
from service.feed_schemas import (
    CalendarPage,
    CalendarRow,
    FeedResult,
    HistoryPage,
    HistoryRow,
    InventoryHistoryPage,
    InventoryPage,
    InventoryRow,
    ItemPage,
    ItemRow,
    OpenOrderPage,
    OpenOrderRow,
    body_of,
)  # fmt: skip
from service.feed_store import page
from service.feeds import Feeds
from service.fields import GivenDay
from service.problems import problem_responses
from service.routes.parameters import Cursor, FeedLimit, OnlyItem, OnlyPlace
from service.tables import calendar, history, inventory, inventory_history, items, open_orders

router = APIRouter(prefix="/v1", tags=["feeds"])


async def _body(request: Request) -> bytes:
    return await request.body()


WRITING = problem_responses(408, 409, 413, 415, 422)
Bytes = Annotated[bytes, Depends(_body)]
Form = Annotated[str, Header(alias="Content-Type", include_in_schema=False)]
First = Annotated[GivenDay | None, Query(alias="from", description="From this date on.", examples=["2019-04-01"])]
Last = Annotated[GivenDay | None, Query(alias="to", description="Up to this date.", examples=["2019-04-30"])]


def _feeds(request: Request) -> Feeds:
    feeds: Feeds = request.app.state.feeds
    return feeds


def _page(
    request: Request, row: type[BaseModel], table: sa.Table, order: Sequence[str],
    conditions: Sequence[sa.ColumnElement[bool]], cursor: str | None, limit: int,
) -> dict[str, Any]:  # fmt: skip
    """A page of a table as `items` and `next_cursor`."""
    after = None
    if cursor is not None:
        kinds = tuple(int if table.c[name].type.python_type is int else str for name in order)
        place = place_of(cursor, kinds)
        try:
            after = [
                date.fromisoformat(str(p)) if table.c[name].type.python_type is date else p
                for name, p in zip(order, place, strict=True)
            ]
        except ValueError:
            raise unknown_cursor(cursor) from None
    with request.app.state.store.database.reading() as connection:
        found = page(connection, table, order, conditions, after, limit + 1)
    end = found[limit - 1] if len(found) > limit else None
    following = None
    if end is not None:
        following = cursor_of(*(v.isoformat() if isinstance(v := end[name], date) else v for name in order))
    return {"items": [row(**one).model_dump() for one in found[:limit]], "next_cursor": following}


def _matching(table: sa.Table, **values: str | None) -> list[sa.ColumnElement[bool]]:
    return [table.c[name] == value for name, value in values.items() if value is not None]


def _between(column: sa.Column[Any], first: date | None, last: date | None) -> list[sa.ColumnElement[bool]]:
    found = [] if first is None else [column >= first]
    return found if last is None else [*found, column <= last]


@router.put("/items", response_model=FeedResult, responses=WRITING, openapi_extra=body_of(ItemRow))
def put_items(request: Request, body: Bytes, write: ErpWrite, form: Form = JSON) -> JSONResponse:
    """Add or replace items; a row replaces all that was known of its series."""
    return write.once(request.app.state.store.database, lambda: _feeds(request).items(body, form))


@router.put("/history", response_model=FeedResult, responses=WRITING, openapi_extra=body_of(HistoryRow))
def put_history(request: Request, body: Bytes, write: ErpWrite, form: Form = JSON) -> JSONResponse:
    """Add or correct sales, as late as you like; columns that are left out stay as they are."""
    return write.once(request.app.state.store.database, lambda: _feeds(request).history(body, form))


@router.put("/inventory", response_model=FeedResult, responses=WRITING, openapi_extra=body_of(InventoryRow))
def put_inventory(request: Request, body: Bytes, write: ErpWrite, form: Form = JSON) -> JSONResponse:
    """Say what stands there at the end of a day; a count of an earlier day than the stored one decides nothing."""
    return write.once(request.app.state.store.database, lambda: _feeds(request).inventory(body, form))


@router.put("/open-orders", response_model=FeedResult, responses=WRITING, openapi_extra=body_of(OpenOrderRow))
def put_open_orders(request: Request, body: Bytes, write: ErpWrite, form: Form = JSON) -> JSONResponse:
    """Say everything that is on order of the series that are named; a quantity of 0 clears one."""
    return write.once(request.app.state.store.database, lambda: _feeds(request).open_orders(body, form))


@router.put("/calendar", response_model=FeedResult, responses=WRITING, openapi_extra=body_of(CalendarRow))
def put_calendar(request: Request, body: Bytes, write: ErpWrite, form: Form = JSON) -> JSONResponse:
    """Add or correct days of locations; columns that are left out stay as they are."""
    return write.once(request.app.state.store.database, lambda: _feeds(request).calendar(body, form))


@router.get("/items", response_model=ItemPage, responses=problem_responses(422))
def get_items(
    request: Request, _caller: Caller, item_id: OnlyItem = None, location_id: OnlyPlace = None, cursor: Cursor = None,
    limit: FeedLimit = 1000,
) -> dict[str, Any]:  # fmt: skip
    """The items that are stored."""
    conditions = _matching(items, item_id=item_id, location_id=location_id)
    found = _page(request, _Stored, items, ("location_id", "item_id"), conditions, cursor, limit)
    found["items"] = [json.loads(one.pop("attributes")) | one for one in found["items"]]
    return found


class _Stored(BaseModel):
    item_id: str
    location_id: str
    attributes: str


@router.get("/history", response_model=HistoryPage, responses=problem_responses(422))
def get_history(
    request: Request, _caller: Caller, item_id: OnlyItem = None, location_id: OnlyPlace = None, first: First = None,
    last: Last = None, cursor: Cursor = None, limit: FeedLimit = 1000,
) -> dict[str, Any]:  # fmt: skip
    """The sales that are stored."""
    conditions = _matching(history, item_id=item_id, location_id=location_id) + _between(history.c.date, first, last)
    return _page(request, HistoryRow, history, ("location_id", "item_id", "date"), conditions, cursor, limit)


@router.get("/inventory", response_model=InventoryPage, responses=problem_responses(422))
def get_inventory(
    request: Request, _caller: Caller, item_id: OnlyItem = None, location_id: OnlyPlace = None, cursor: Cursor = None,
    limit: FeedLimit = 1000,
) -> dict[str, Any]:  # fmt: skip
    """The stock that is stored."""
    conditions = _matching(inventory, item_id=item_id, location_id=location_id)
    return _page(request, InventoryRow, inventory, ("location_id", "item_id"), conditions, cursor, limit)


@router.get("/inventory/history", response_model=InventoryHistoryPage, responses=problem_responses(422))
def get_inventory_history(
    request: Request, _caller: Caller, item_id: OnlyItem = None, location_id: OnlyPlace = None, first: First = None,
    last: Last = None, cursor: Cursor = None, limit: FeedLimit = 1000,
) -> dict[str, Any]:  # fmt: skip
    """Every count of stock that was told, day by day; of a day that was told again the last one."""
    table = inventory_history
    conditions = _matching(table, item_id=item_id, location_id=location_id) + _between(table.c.date, first, last)
    return _page(request, InventoryRow, table, ("date", "location_id", "item_id"), conditions, cursor, limit)


@router.get("/open-orders", response_model=OpenOrderPage, responses=problem_responses(422))
def get_open_orders(
    request: Request, _caller: Caller, item_id: OnlyItem = None, location_id: OnlyPlace = None, cursor: Cursor = None,
    limit: FeedLimit = 1000,
) -> dict[str, Any]:  # fmt: skip
    """The open orders that are stored."""
    conditions = _matching(open_orders, item_id=item_id, location_id=location_id)
    return _page(request, OpenOrderRow, open_orders, ("id",), conditions, cursor, limit)


@router.get("/calendar", response_model=CalendarPage, responses=problem_responses(422))
def get_calendar(
    request: Request, _caller: Caller, location_id: OnlyPlace = None, first: First = None, last: Last = None,
    cursor: Cursor = None, limit: FeedLimit = 1000,
) -> dict[str, Any]:  # fmt: skip
    """The calendar that is stored."""
    conditions = _matching(calendar, location_id=location_id) + _between(calendar.c.date, first, last)
    return _page(request, CalendarRow, calendar, ("location_id", "date"), conditions, cursor, limit)
