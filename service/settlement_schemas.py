"""Bodies of settlements."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, Field

from service.fields import Currency, Item, Place

MOST_LINES = 500


class ReplayedOrder(BaseModel):
    """What happened in one replay."""

    order_quantity: float = Field(description="Units of the order in question, after the item's rules.", examples=[249])
    lost_units: float = Field(description="Demand that found no stock, units.", examples=[12])
    stock_periods: float = Field(
        description="Stock left at the ends of the periods, added up, units x periods.", examples=[840]
    )
    wasted_units: float = Field(description="Units that perished.", examples=[0])
    lost_sale_cost: float = Field(description="Of the lost units, currency.", examples=[18.6])
    holding_cost: float = Field(description="Of the stock, currency.", examples=[4.2])
    waste_cost: float = Field(description="Of what perished, currency.", examples=[0])
    total_cost: float = Field(description="All three, currency.", examples=[22.8])


class SettlementLine(BaseModel):
    """One decision that followed the override."""

    decision_id: str = Field(description="Its number.", examples=["d-mf2xk5dpn5zgkzq3bq5a2ghs"])
    item_id: Item
    location_id: Place
    order_date: date = Field(description="The order was placed at the end of this day.", examples=["2019-04-30"])
    state: Literal["settled", "too_early", "nothing_ordered", "no_history"] = Field(
        description="too_early: the history ends before settled_until. nothing_ordered: the order was rejected. no_history: the "
        "series, or the length of its periods, is no longer that of then.",
        examples=["settled"],
    )
    settled_until: date | None = Field(
        description="Last day that the replays count: lead time and two review periods after the order; of a longer period its "
        "first. Null where nothing was ordered.",
        examples=["2019-05-05"],
    )
    stood: ReplayedOrder | None = Field(description="With the number that stood; null where not settled.")
    policy: ReplayedOrder | None = Field(description="With the policy's own; null where not settled.")
    saved_units: float | None = Field(
        description="Units sold more than with the policy's own number; below 0: less. Null where not settled.",
        examples=[12],
    )
    money: float | None = Field(
        description="What it earned against the policy's own number, currency; below 0: what it cost. Null where not settled.",
        examples=[14.4],
    )
    demand_understated: bool | None = Field(
        description="Whether something ran out, or sales are unknown, in these periods: demand was at least what was sold. Null "
        "where not settled.",
        examples=[False],
    )


class Settlement(BaseModel):
    """What an override earned or cost against the policy's own numbers, by replay of the sales that followed."""

    override_id: int = Field(description="Number of the override.", examples=[17])
    state: Literal["settled", "partly", "too_early", "nothing_ordered"] = Field(
        description="partly: some orders are settled, others are too early or may still be placed.",
        examples=["settled"],
    )
    currency: Currency
    decisions: int = Field(
        description="Number of orders that followed it and were not replaced by others.", examples=[3]
    )
    settled: int = Field(description="Number of those that are settled.", examples=[3])
    saved_units: float = Field(description="Units sold more, of all that are settled.", examples=[36])
    stock_periods: float = Field(
        description="Stock held more, of all that are settled, units x periods.", examples=[510]
    )
    wasted_units: float = Field(description="Units perished more, of all that are settled.", examples=[0])
    money: float = Field(
        description="What all that are settled earned, currency; below 0: what they cost.", examples=[41.5]
    )
    demand_understated: bool = Field(
        description="Whether that is so in any line: it may have earned more.", examples=[False]
    )
    lines: list[SettlementLine] = Field(description="The largest sums of money first, at most 500.")
