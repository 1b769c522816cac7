"""Rows that an ERP sends and reads back; what they mean stands in docs/format.md.

Tables are read as columns, not row by row, so these models describe bodies and answers and judge none."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from service.problems import MEDIA_TYPE, Problem

Item = Annotated[str, Field(description="The SKU.", examples=["B101"])]
Place = Annotated[str, Field(description="The DC or store.", examples=["S17"])]
Text = Annotated[str | None, Field(examples=[None])]
Units = Annotated[float | None, Field(ge=0, description="Units.", examples=[None])]
Money = Annotated[float | None, Field(ge=0, description="Currency per unit.", examples=[2.4])]
Share = Annotated[
    float | None, Field(ge=0, le=1, description="1 yes, 0 no; a share where a period is longer than a day.")
]


class ItemRow(BaseModel):
    """One series: an item at a location."""

    item_id: Item
    location_id: Place
    category: Text = None
    parent_category: Text = None
    region: Text = None
    name: Text = None
    unit_price: Money = None
    unit_cost: Money = None
    lost_sale_cost: float = Field(ge=0, description="Of a unit that was wanted and not there.", examples=[1.1])
    holding_cost_per_day: float = Field(ge=0, description="Of a unit and day.", examples=[0.02])
    lead_time_days: int = Field(ge=1, le=3650, examples=[3])
    review_period_days: int = Field(ge=1, le=3650, examples=[7])
    review_offset_days: int = Field(ge=0, le=3650, examples=[0])
    min_order_qty: Units = None
    order_multiple: Units = None
    max_order_qty: Units = None
    min_stock: Units = None
    max_stock: Units = None
    orderable_until: date | None = Field(None, description="Last order date.")
    reference_item_id: Text = None
    expected_daily_demand: Units = None
    expected_turnover_days: float | None = Field(None, ge=0)
    shelf_life_days: float | None = Field(None, ge=1, le=3650)
    unit_volume: float | None = Field(None, ge=0)
    status: Literal["active", "phase_out", "new"] | None = None
    order_weekdays: Text = None
    delivery_weekdays: Text = None
    uom: Text = None
    order_cutoff_days: float | None = Field(None, ge=0, le=3650)


class HistoryRow(BaseModel):
    """One period of one series. In rows that only announce a promotion `units_sold` is null."""

    item_id: Item
    location_id: Place
    date: date
    units_sold: float | None = Field(ge=0, description="Units.", examples=[41])
    in_stock: float | None = Field(ge=0, le=1, description="Share of the selling time in stock.", examples=[1])
    price: Money = None
    promotion: bool | None = Field(None, examples=[False])


class InventoryRow(BaseModel):
    """What stood there at the end of a day."""

    item_id: Item
    location_id: Place
    date: date
    on_hand: float = Field(ge=0, description="Units.", examples=[640])


class OpenOrderRow(BaseModel):
    """Goods ordered and not yet received. A quantity of 0 clears what was known of the series."""

    item_id: Item
    location_id: Place
    arrival_date: date = Field(description="Sold from the start of this date.")
    quantity: float = Field(ge=0, description="Units.", examples=[120])


class CalendarRow(BaseModel):
    """One day at a location."""

    location_id: Place
    date: date
    open: Share = None
    holiday: Share = None
    school_holiday: Share = None
    order_open: Share = None
    delivery_open: Share = None


class FeedResult(BaseModel):
    """What became of a feed."""

    rows: int = Field(description="Rows that were sent.", examples=[84])
    stored: int = Field(description="Rows that are stored now.", examples=[84])
    ignored: int = Field(description="Rows older than what is stored.", examples=[0])


def body_of(row: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's description of a feed's body, in its three forms."""
    schema = row.model_json_schema(ref_template="#/components/schemas/{model}")
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"type": "array", "items": schema, "minItems": 1}},
                "application/x-ndjson": {"schema": {"type": "string"}},
                "application/vnd.apache.parquet": binary,
            },
        }
    }


def problems_of_a_feed() -> dict[int | str, dict[str, Any]]:
    """What a feed may be answered with besides success."""
    said = {401: "No valid key", 403: "The key lacks the scope erp", 409: "Under way", 413: "Too large", 415: "Not one of the three forms",
            422: "Some rows are wrong; `errors` names them and nothing is stored", 503: "No dataset"}  # fmt: skip
    return {
        status: {"model": Problem, "description": text, "content": {MEDIA_TYPE: {}}} for status, text in said.items()
    }
