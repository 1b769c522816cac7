"""Bodies of the what-if route."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from service.fields import AsOf, Currency, Day, GivenDay, PolicyVersion
from service.schemas import Body, RecommendationItem

MOST_DAYS = 365
LeadTimeSource = Literal["request", "request (calendar)", "store", "store (calendar)"]
Days = Annotated[float, Field(ge=0, le=MOST_DAYS)]


class DemandChange(Body):
    """Demand that differs from the forecast on some selling dates."""

    selling_from: GivenDay = Field(description="First selling date.", examples=["2019-05-03"])
    selling_to: GivenDay = Field(description="Last selling date.", examples=["2019-05-05"])
    per_cent: float = Field(
        ge=-100, le=1000, description="By how much demand differs from the forecast, %.", examples=[50]
    )

    @model_validator(mode="after")
    def _check(self) -> DemandChange:
        if self.selling_to < self.selling_from:
            raise ValueError(f"selling_to ({self.selling_to}) must not lie before selling_from ({self.selling_from})")
        return self


class Assumptions(Body):
    """What is to be taken for granted instead of what is known."""

    demand: list[DemandChange] = Field(
        default_factory=list, max_length=100,
        description="Changes that meet on a date are multiplied. The policy is not told of them; it decides as before.",
    )  # fmt: skip
    lead_time_days: int | None = Field(
        None, ge=1, le=MOST_DAYS, description="Another lead time, in whole days; the policy decides anew under it.", examples=[4],
    )  # fmt: skip


class WhatIfRequest(RecommendationItem):
    """One series, some numbers of days, and what is to be assumed."""

    as_of: GivenDay | None = Field(
        None, description="The day at whose end the order is placed; the last recorded day where absent.",
        examples=["2019-04-30"],
    )  # fmt: skip
    inventory_days: Days | None = Field(
        None, description="Days whose stock is projected; those of the present recommendation where absent.", examples=[5],
    )  # fmt: skip
    days: list[Days] | None = Field(
        None, min_length=1, max_length=200,
        description="Days to price; where absent those that the policy chooses from, up to twice the largest of lead time "
        "plus review period, its own answer and inventory_days.",
        examples=[[2, 3, 4, 5, 6]],
    )  # fmt: skip
    assumptions: Assumptions = Field(default_factory=Assumptions, description="What is to be taken for granted.")


class PricedDays(BaseModel):
    """What one number of days is expected to cost over the dates that the order is responsible for."""

    inventory_days: float = Field(description="The days.", examples=[4.75])
    order_quantity: float = Field(
        description="Units ordered after the item's rules, if an order were due.", examples=[249]
    )
    holding_cost: float = Field(description="Of stock left at the periods' ends, currency.", examples=[3.1])
    stockout_cost: float = Field(description="Of demand that finds no stock, currency.", examples=[5.4])
    waste_cost: float = Field(description="Of stock that perishes, currency.", examples=[0])
    total_cost: float = Field(description="Their sum, currency.", examples=[8.5])
    lost_units: float = Field(description="Units of demand that find no stock.", examples=[2.7])
    stockout_probability: float = Field(
        description="Probability that some demand finds no stock, 0 to 1.", examples=[0.12]
    )


class ProjectedPeriod(BaseModel):
    """Stock in one period after as_of, if the chosen days are ordered for now."""

    date: Day
    received: float = Field(description="Units that come in at its start.", examples=[249])
    on_hand_p10: float = Field(description="Stock at its end that one path in ten stays below, units.", examples=[410])
    on_hand_p50: float = Field(description="The median, units.", examples=[520])
    on_hand_p90: float = Field(description="Stock at its end that one path in ten exceeds, units.", examples=[590])
    lost_units: float = Field(description="Expected units of demand that find no stock.", examples=[0.4])
    stockout_probability: float = Field(
        description="Probability that some demand of the period finds no stock, 0 to 1.", examples=[0.05]
    )


class WhatIfResponse(BaseModel):
    """The cost curve over days of one series, and the projected stock of chosen days."""

    as_of: AsOf
    policy_version: PolicyVersion
    currency: Currency
    review_due: bool = Field(
        description="Whether an order may be placed at the end of as_of; if not, this is what if it could.",
        examples=[True],
    )
    lead_time_days: int = Field(description="Days until the order arrives, calendars included.", examples=[3])
    lead_time_source: LeadTimeSource | None = Field(
        None,
        description="Where lead_time_days comes from: the request's assumptions or the stored item, calendar where order or "
        "delivery days make another of it. Null in answers of services that do not tell.",
        examples=["request"],
    )
    expected_receipt_date: date = Field(
        description="First selling date that the order is responsible for.", examples=["2019-05-03"]
    )
    covers_until: date = Field(description="Last selling date that it is responsible for.", examples=["2019-05-03"])
    daily_rate: float = Field(description="What a day stands for, units.", examples=[212.4])
    inventory_position: float = Field(description="On hand, on order and reserved, units.", examples=[760])
    policy_days: float = Field(description="The policy's own answer, days.", examples=[4.75])
    override_id: int | None = Field(
        description="Number of the override that counts in the recommendation, if any.", examples=[17]
    )
    inventory_days: float = Field(description="The days whose stock is projected.", examples=[5])
    order_quantity: float = Field(description="Units ordered for them, if an order were due.", examples=[302])
    cheapest_days: float = Field(description="The cheapest of the priced days; of equals the fewest.", examples=[4.25])
    policy_above_cheapest: float = Field(
        description="By how much the policy's answer is expected to cost more than the cheapest, currency.",
        examples=[0.35],
    )
    paths: int = Field(
        description="Equally likely paths of demand that the figures are means and quantiles of.", examples=[256]
    )
    curve: list[PricedDays] = Field(description="By days; inventory_days and policy_days are always among them.")
    projection: list[ProjectedPeriod] = Field(description="From the period after as_of to covers_until.")
