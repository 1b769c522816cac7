"""Feeds written and read back."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import date

import polars as pl
from pydantic import BaseModel

from orpr.calls.transport import Calls
from service.feed_schemas import CalendarRow, FeedResult, HistoryRow, InventoryRow, ItemRow, OpenOrderRow

PAGE = 5000  # rows of one page
PARQUET = "application/vnd.apache.parquet"


class FeedCalls(Calls):
    """Items, history, stock, open orders, calendar."""

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
        return self._pages(ItemRow, "/v1/items", matching, PAGE)

    def history(self, first: date | None = None, last: date | None = None, **matching: str) -> Iterator[HistoryRow]:
        """The sales that are stored, from `first` to `last`."""
        return self._pages(HistoryRow, "/v1/history", matching | _span(first, last), PAGE)

    def inventory(self, **matching: str) -> Iterator[InventoryRow]:
        """The stock that is stored."""
        return self._pages(InventoryRow, "/v1/inventory", matching, PAGE)

    def inventory_history(
        self, first: date | None = None, last: date | None = None, **matching: str
    ) -> Iterator[InventoryRow]:
        """Every count of stock that was told, from `first` to `last`, day by day."""
        return self._pages(InventoryRow, "/v1/inventory/history", matching | _span(first, last), PAGE)

    def open_orders(self, **matching: str) -> Iterator[OpenOrderRow]:
        """The open orders that are stored."""
        return self._pages(OpenOrderRow, "/v1/open-orders", matching, PAGE)

    def calendar(self, first: date | None = None, last: date | None = None, **matching: str) -> Iterator[CalendarRow]:
        """The calendar that is stored, from `first` to `last`; `matching` by location_id."""
        return self._pages(CalendarRow, "/v1/calendar", matching | _span(first, last), PAGE)

    def _feed(self, name: str, rows: Sequence[BaseModel] | pl.DataFrame, key: str | None) -> FeedResult:
        if isinstance(rows, pl.DataFrame):
            table = io.BytesIO()
            rows.write_parquet(table)
            headers = {"Content-Type": PARQUET}
            return self._write(FeedResult, "PUT", f"/v1/{name}", key, headers, content=table.getvalue())
        told = [row.model_dump(mode="json", exclude_unset=True) for row in rows]
        return self._write(FeedResult, "PUT", f"/v1/{name}", key, json=told)


def _span(first: date | None, last: date | None) -> dict[str, str]:
    return {name: str(day) for name, day in (("from", first), ("to", last)) if day is not None}
