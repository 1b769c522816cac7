"""Rows that an ERP sends and reads back; what they mean stands in docs/format.md.

Tables are read as columns, not row by row, so these models describe bodies and answers and judge none."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from service.fields import Day, Item, NextCursor, Place

Money = Annotated[float | None, Field(ge=0, le=1e12)]
Units = Annotated[float | None, Field(ge=0, le=1e12)]
Days = Annotated[float | None, Field(ge=0, le=3650)]
Share = Annotated[float | None, Field(ge=0, le=1)]
YES = "1 yes, 0 no; a share where a period is longer than a day."


class ItemRow(BaseModel):
    """One series: an item at a location."""

    item_id: Item
    location_id: Place
    category: str | None = Field(None, description="What it is one of.", examples=["bread"])
    parent_category: str | None = Field(None, description="What its category is one of.", examples=["bakery"])
    region: str | None = Field(None, description="Where its location lies.", examples=["Lyon"])
    name: str | None = Field(None, description="For people.", examples=["Baguette"])
    unit_price: Money = Field(None, description="Currency for a unit sold.", examples=[2.4])
    unit_cost: Money = Field(None, description="Currency for a unit bought.", examples=[1.3])
    lost_sale_cost: float = Field(
        ge=0, le=1e12, description="Currency for a unit that was wanted and not there.", examples=[1.1]
    )
    holding_cost_per_day: float = Field(
        ge=0, le=1e12, description="Currency for a unit that is held for a day.", examples=[0.02]
    )
    lead_time_days: int = Field(
        ge=1, le=3650, description="Days from the end of the order day to the first day of sale.", examples=[3]
    )
    review_period_days: int = Field(ge=1, le=3650, description="Days from one order day to the next.", examples=[7])
    review_offset_days: int = Field(
        ge=0, le=3650, description="Days by which the order days lie behind the dataset's origin.", examples=[0]
    )
    min_order_qty: Units = Field(None, description="Units of the least order.", examples=[24])
    order_multiple: Units = Field(None, description="Units of a pack; 0 or null: whole units.", examples=[12])
    max_order_qty: Units = Field(None, description="Units of the largest order.", examples=[480])
    min_stock: Units = Field(None, description="Units that a display has to show.", examples=[10])
    max_stock: Units = Field(None, description="Units that the shelf holds.", examples=[600])
    orderable_until: date | None = Field(None, description="Last order date.", examples=["2019-12-31"])
    reference_item_id: str | None = Field(
        None, description="A SKU whose sales stand for those that a new one does not have yet.", examples=["B100"]
    )
    expected_daily_demand: Units = Field(None, description="Units a day that are expected of a new item.", examples=[4])
    expected_turnover_days: Days = Field(None, description="Days of stock that are expected of it.", examples=[10])
    shelf_life_days: float | None = Field(
        None, ge=1, le=3650, description="Days on which what is received can be sold.", examples=[5]
    )
    unit_volume: Units = Field(None, description="Volume of a unit, in the units of the `limits` file.", examples=[0.8])
    status: Literal["active", "phase_out", "new"] | None = Field(
        None, description="Accepted; nothing is decided by it.", examples=["active"]
    )
    order_weekdays: str | None = Field(
        None, description="Days with orders, 1 for Monday to 7 for Sunday; empty: any.", examples=["135"]
    )
    delivery_weekdays: str | None = Field(
        None, description="Days with deliveries, 1 for Monday to 7 for Sunday; empty: any.", examples=["246"]
    )
    uom: str | None = Field(None, description="Unit of measure that its quantities are counted in.", examples=["EA"])
    order_cutoff_days: Days = Field(
        None, description="Days by which the decision has to come before the order day.", examples=[0]
    )


class HistoryRow(BaseModel):
    """One period of one series. In rows that only announce a promotion `units_sold` is null."""

    item_id: Item
    location_id: Place
    date: Day
    units_sold: Units = Field(description="Units sold in the period.", examples=[41])
    in_stock: Share = Field(description="Share of the selling time in stock.", examples=[1])
    price: Money = Field(None, description="Currency for a unit sold.", examples=[2.4])
    promotion: bool | None = Field(None, description="Whether it was on promotion.", examples=[False])


class InventoryRow(BaseModel):
    """What stood there at the end of a day."""

    item_id: Item
    location_id: Place
    date: Day
    on_hand: float = Field(ge=0, le=1e12, description="Units in stock.", examples=[640])


class OpenOrderRow(BaseModel):
    """Goods ordered and not yet received. A quantity of 0 clears what was known of the series."""

    item_id: Item
    location_id: Place
    arrival_date: date = Field(description="Sold from the start of this date.", examples=["2019-05-02"])
    quantity: float = Field(ge=0, le=1e12, description="Units ordered.", examples=[120])


class CalendarRow(BaseModel):
    """One day at a location."""

    location_id: Place
    date: Day
    open: Share = Field(None, description=f"Whether it sells. {YES}", examples=[1])
    holiday: Share = Field(None, description=f"Whether it is a public holiday. {YES}", examples=[0])
    school_holiday: Share = Field(None, description=f"Whether schools are closed. {YES}", examples=[0])
    order_open: Share = Field(None, description=f"Whether suppliers take orders. {YES}", examples=[1])
    delivery_open: Share = Field(None, description=f"Whether goods are received. {YES}", examples=[1])


class ItemPage(BaseModel):
    """Some items in the order of location and SKU."""

    items: list[ItemRow] = Field(description="At most `limit`.")
    next_cursor: NextCursor


class HistoryPage(BaseModel):
    """Some history in the order of location, SKU and date."""

    items: list[HistoryRow] = Field(description="At most `limit`.")
    next_cursor: NextCursor


class InventoryPage(BaseModel):
    """Some stock in the order of location and SKU."""

    items: list[InventoryRow] = Field(description="At most `limit`.")
    next_cursor: NextCursor


class InventoryHistoryPage(BaseModel):
    """Some counts of stock in the order of date, location and SKU."""

    items: list[InventoryRow] = Field(description="At most `limit`.")
    next_cursor: NextCursor


class OpenOrderPage(BaseModel):
    """Some open orders, in the order in which they were stored."""

    items: list[OpenOrderRow] = Field(description="At most `limit`.")
    next_cursor: NextCursor


class CalendarPage(BaseModel):
    """Some days in the order of location and date."""

    items: list[CalendarRow] = Field(description="At most `limit`.")
    next_cursor: NextCursor


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
