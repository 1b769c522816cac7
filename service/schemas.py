"""Request and response bodies; every field with its unit and an example."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.fields import AsOf, GivenDay, GivenMoment, Item, Place
from service.problems import Problem

PRINTED = r"^[^\x00-\x1f\x7f]*$"  # no control characters, which databases refuse and logs should not hold
Name = Annotated[str, Field(min_length=1, max_length=200)]
UNTOLD = "Null in answers from before this was told."
BY_CALENDAR = f"the stored item, calendar where order or delivery days make another of it. {UNTOLD}"


class Body(BaseModel):
    """Of a request. A value of another type than it should have is refused: true is no number, and "no" no truth value."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class OpenOrder(Body):
    """Goods ordered and not yet received."""

    arrival_date: GivenDay = Field(description="Sold from the start of this date.", examples=["2019-05-02"])
    quantity: float = Field(ge=0, le=1e12, description="Units.", examples=[120])


class RecommendationItem(Body):
    """One series to decide for."""

    item_id: Name = Field(description="The SKU.", examples=["B101"])
    location_id: Name = Field(description="The DC or store.", examples=["S17"])
    on_hand: float | None = Field(
        None, ge=0, le=1e12, description="Units in stock at the end of as_of; the stored stock where absent.",
        examples=[640],
    )  # fmt: skip
    open_orders: list[OpenOrder] | None = Field(
        None, max_length=500, description="Everything on order; the stored open orders where absent."
    )


class RecommendationRequest(Body):
    """1 to 5,000 series at one as-of day."""

    as_of: GivenDay | None = Field(
        None, description="The day at whose end the orders are placed, in weekly data the first day of that week; the last "
        "recorded day where absent.",
        examples=["2019-04-30"],
    )  # fmt: skip
    items: list[RecommendationItem] = Field(min_length=1, max_length=5000, description="Each series once.")
    inventory_as_of: GivenMoment | None = Field(
        None, description="When the stock in this request was counted, by the location's clock, on as_of or in its period: what is "
        "expected to sell in what is left of it is deducted. At the end of as_of where absent.",
        examples=["2019-04-30T14:00:00"],
    )  # fmt: skip
    uom: str | None = Field(
        None, min_length=1, max_length=20, pattern=PRINTED, description="Unit of measure that the request's quantities are "
        "counted in; an item that is kept in another is a problem, not a guess.", examples=["EA"],
    )  # fmt: skip
    record: bool = Field(
        default=True,
        description="Whether the answers are remembered as decisions, and count as on order until an outcome is told.",
        examples=[True],
    )
    counterfactuals: bool = Field(
        default=False,
        description="Whether to say what another lead time or no promotion would change; takes longer.",
        examples=[False],
    )
    client_ref: str = Field(
        "", max_length=200, pattern=PRINTED, description="Your own name of this run.", examples=["night-2019-04-30"]
    )


class AppliedOverride(BaseModel):
    """The planner's decision that counted."""

    id: int = Field(description="Number of the override.", examples=[17])
    mode: str = Field(description="set, at_least, add_units or uplift.", examples=["at_least"])
    value: float = Field(description="Days for set and at_least, units for add_units, % for uplift.", examples=[6])
    units: float = Field(description="Units that add_units or uplift put on the target.", examples=[0])
    reason: str = Field(description="As its author gave it.", examples=["May Day promotion"])
    author: str = Field(description="Whose decision it is.", examples=["planner@example.com"])


# No model, for there are several in every answer and nobody sends any.
@dataclass(slots=True)
class ReceiptLine:
    """One step from days to order."""

    what: Annotated[str, Field(description="The step in words.", examples=["4.75 days at 212.4 units"])]
    units: Annotated[float, Field(description="What it adds, units.", examples=[1008.9])]


class CounterfactualLine(BaseModel):
    """What another circumstance would change of the policy's target."""

    change: str = Field(description="The other circumstance.", examples=["2 days more lead time"])
    target_units: float = Field(description="Change of the target, units.", examples=[25])


class UsedRules(BaseModel):
    """The item's rules as they counted; null where there is none."""

    min_order_qty: float | None = Field(description="Smallest order, units.", examples=[12])
    order_multiple: float | None = Field(description="Orders are multiples of this, units.", examples=[6])
    max_order_qty: float | None = Field(description="Largest order, units.", examples=[600])
    min_stock: float | None = Field(description="Display minimum, units.", examples=[4])
    max_stock: float | None = Field(description="Shelf capacity, units.", examples=[900])


class Recommendation(BaseModel):
    """How many days of stock to hold, and the order that follows."""

    decision_id: str | None = Field(
        None, description="Tell its outcome under this number; null where the answer is not remembered.",
        examples=["d-mf2xk5dpn5zgkzq3bq5a2ghs"],
    )  # fmt: skip
    inventory_days: float = Field(description="Days of stock to hold, lead time included.", examples=[4.75])
    inventory_days_p10: float = Field(description="10 % point of the policy's distribution, days.", examples=[4.0])
    inventory_days_p90: float = Field(description="90 % point of the policy's distribution, days.", examples=[5.5])
    daily_rate: float = Field(description="What a day stands for, units.", examples=[212.4])
    rate_source: str = Field(description="Where the rate comes from.", examples=["history"])
    target_stock: float = Field(
        description="inventory_days x daily_rate plus what an override adds, units.", examples=[1008.9]
    )
    on_hand: float = Field(description="Units in stock that the answer rests on.", examples=[640])
    on_order: float = Field(description="Units on order that the answer rests on.", examples=[120])
    stock_source: Literal["request", "store", "store (drawn)"] = Field(
        description="Where on_hand comes from.", examples=["store"]
    )
    sold_since_count: float = Field(
        description="Units that were counted but are expected to sell before the order is placed; not in on_hand.",
        examples=[80],
    )
    open_orders_source: Literal["request", "store"] = Field(
        description="Where on_order comes from.", examples=["store"]
    )
    lead_time_days: int = Field(description="From order_date to expected_receipt_date, days.", examples=[2])
    lead_time_source: Literal["store", "store (calendar)"] | None = Field(
        None, description=f"Where lead_time_days comes from: {BY_CALENDAR}", examples=["store"]
    )
    review_period_days: int = Field(description="Selling days that the order is responsible for.", examples=[1])
    review_period_source: Literal["store", "store (calendar)"] | None = Field(
        None, description=f"Where review_period_days comes from: {BY_CALENDAR}", examples=["store (calendar)"]
    )
    order_rules: UsedRules = Field(description="The stored item's rules that the order obeys.")
    order_rules_source: Literal["store", "store (whole units)"] | None = Field(
        None,
        description="Where order_rules come from: the stored item, whole units where it names no multiple and the dataset "
        f"counts in whole units. {UNTOLD}",
        examples=["store"],
    )
    reserved: float = Field(
        description="Units advised on earlier days that have neither an outcome nor shown up on order.", examples=[0]
    )
    inventory_position: float = Field(description="on_hand + on_order + reserved, units.", examples=[760])
    raw_order_quantity: float = Field(description="max(0, target_stock - inventory_position), units.", examples=[248.9])
    order_quantity: float = Field(
        description="What to order: after minimum, multiple, maximum and shelf, units; 0 where no order is due.",
        examples=[249],
    )
    order_quantity_if_due: float = Field(description="The same if an order were due, units.", examples=[249])
    constraints_applied: list[str] = Field(
        description="Item rules that changed the quantity.", examples=[["order_multiple"]]
    )
    review_due: bool = Field(
        description="Whether an order may be placed at the end of as_of by the item's calendar.", examples=[True]
    )
    order_date: date = Field(description="The order is placed at the end of this day.", examples=["2019-04-30"])
    next_order_date: date | None = Field(
        description="The first order day after as_of; null where none lies within 90 days.", examples=["2019-05-01"]
    )
    expected_receipt_date: date = Field(description="Sold from the start of this day.", examples=["2019-05-03"])
    covers_until: date = Field(description="Last selling date this order is responsible for.", examples=["2019-05-03"])
    override: AppliedOverride | None = Field(None, description="The planner's decision that counted, if any.")
    policy_days: float = Field(description="Days without the override.", examples=[4.75])
    source: Literal["policy", "baseline"] = Field(description="Who decided.", examples=["policy"])
    receipt: list[ReceiptLine] = Field(description="Lines that add up to order_quantity.")
    reasons: list[str] = Field(
        description="The same in sentences.", examples=[["The target is 4.75 days of stock at 212.4 units a day."]]
    )
    counterfactuals: list[CounterfactualLine] | None = Field(None, description="Where the request asks for them.")


class ItemAnswer(BaseModel):
    """The answer for one requested series: a result or a problem, never both."""

    item_id: Item
    location_id: Place
    result: Recommendation | None = Field(None, description="The answer; null where there is a problem.")
    problem: Problem | None = Field(None, description="Why there is none; null where there is.")
    policy_version: str | None = Field(
        None, description="Name of the policy that decided; null beside a problem.", examples=["daily-6.1"]
    )
    policy_alias: str | None = Field(
        None, description="What that policy is to the service: champion, or canary where the series belongs to one; null "
        "beside a problem, and where the process is pinned to the version.", examples=["champion"],
    )  # fmt: skip
    feature_age_s: float | None = Field(
        None, description="How long ago what the policy saw of the history was read, seconds; null beside a problem.",
        examples=[310.5],
    )  # fmt: skip


class RecommendationResponse(BaseModel):
    """Answers in the order of the request."""

    as_of: AsOf
    policy_version: str = Field(
        description="Name of the policy that decided all of the answers; where a canary decided some of them, of the champion.",
        examples=["daily-6.1"],
    )
    policy_alias: str | None = Field(
        description="By which name it was in charge; null where the process is pinned to this version.",
        examples=["champion"],
    )
    uom: str | None = Field(description="The request's unit of measure.", examples=["EA"])
    overrides_as_of: str = Field(
        description="When overrides, stock, orders and decisions were known in full, ISO 8601; a moment ago, unless the database "
        "does not answer.",
        examples=["2019-05-01T02:00:00.123456+00:00"],
    )
    items: list[ItemAnswer] = Field(description="One for each series of the request.")
