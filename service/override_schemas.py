"""Bodies of the override routes."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from service.fields import AsOf, Currency, GivenDay, Item, KeyName, Moment, NextCursor, Place
from service.problems import Problem
from service.schemas import Body

MOST_DAYS = 365
MOST_BULK = 5000
Mode = Literal["set", "at_least", "add_units", "uplift"]
SellingFrom = Annotated[GivenDay, Field(description="First selling date it is for.", examples=["2019-05-03"])]
SellingTo = Annotated[GivenDay, Field(description="Last selling date it is for.", examples=["2019-05-05"])]
Value = Annotated[
    float,
    Field(
        ge=-100, le=1e9, examples=[6],
        description="Days (0 to 365) for set and at_least, units for add_units, per cent (-100 to 1000) for uplift.",
    ),
]  # fmt: skip
Reason = Annotated[str, Field(min_length=1, max_length=500, description="Why.", examples=["May Day promotion"])]
Author = Annotated[
    str, Field(min_length=1, max_length=100, description="Whose decision it is.", examples=["planner@example.com"])
]
PromotionId = Annotated[str, Field(max_length=200, description="Your own name of the promotion.", examples=["MAY19"])]
_Scope = Annotated[str | None, Field(min_length=1, max_length=200)]


class OverrideRequest(Body):
    """A planner's decision for selling dates. Leave scope fields out to mean all."""

    item_id: _Scope = Field(None, description="A SKU; every one where absent.", examples=["B101"])
    location_id: _Scope = Field(None, description="A DC or store; every one where absent.", examples=["S17"])
    category: _Scope = Field(
        None, description="A category; every one where absent. Not together with item_id.", examples=["bakery"]
    )
    selling_from: SellingFrom
    selling_to: SellingTo
    mode: Mode = Field(
        description="set or at_least inventory days, units added to the target, or an uplift of the demand on these "
        "dates against that of days without a promotion.",
        examples=["at_least"],
    )
    value: Value
    promotion_id: PromotionId = ""
    reason: Reason
    author: Author

    @model_validator(mode="after")
    def _check(self) -> OverrideRequest:
        if self.selling_to < self.selling_from:
            raise ValueError(f"selling_to ({self.selling_to}) must not lie before selling_from ({self.selling_from})")
        if self.item_id and self.category:
            raise ValueError("category cannot be named together with item_id")
        if self.mode != "uplift" and self.value < 0:
            raise ValueError(f"value must be at least 0, got {self.value:g}")
        if self.mode in ("set", "at_least") and self.value > MOST_DAYS:
            raise ValueError(f"value must be at most {MOST_DAYS} days, got {self.value:g}")
        if self.mode == "uplift" and self.value > 1000:
            raise ValueError(f"value must be at most 1000 %, got {self.value:g}")
        return self


class OverrideChange(Body):
    """What to change of an override; its scope stays. A field that is left out stays as it is."""

    selling_from: SellingFrom | None = None
    selling_to: SellingTo | None = None
    mode: Mode | None = Field(None, description="What value means.", examples=["at_least"])
    value: Value | None = None
    promotion_id: PromotionId | None = None
    reason: Reason | None = None
    author: Author | None = None


class BulkRequest(Body):
    """Overrides that are stored together: all of them, or none where one of them is bad."""

    overrides: list[OverrideRequest] = Field(min_length=1, max_length=MOST_BULK, description="In any order.")


class StoredOverride(BaseModel):
    """An override as it stands."""

    id: int = Field(description="Its number.", examples=[17])
    version: int = Field(description="Number that grows with every change; the ETag.", examples=[1])
    state: Literal["active", "pending", "deleted"] = Field(
        description="Only active ones count. A pending one waits for the approval of a second person.",
        examples=["active"],
    )
    item_id: str | None = Field(description="The SKU; null: every one.", examples=["B101"])
    location_id: str | None = Field(description="The DC or store; null: every one.", examples=["S17"])
    category: str | None = Field(description="The category; null: every one.", examples=[None])
    selling_from: SellingFrom
    selling_to: SellingTo
    mode: Mode = Field(description="What value means.", examples=["at_least"])
    value: float = Field(
        description="Days for set and at_least, units for add_units, per cent for uplift.", examples=[6]
    )
    promotion_id: str = Field(description="The planner's own name of the promotion.", examples=["MAY19"])
    reason: str = Field(description="Why.", examples=["May Day promotion"])
    author: str = Field(description="Whose decision it is.", examples=["planner@example.com"])
    changed_by: str = Field(description="Name of the API key that wrote this version.", examples=["erp"])
    created_at: Moment
    changed_at: Moment | None
    series_in_scope: int = Field(description="Known series that it covers.", examples=[1])


class OverridePage(BaseModel):
    """Some overrides in the order of their numbers."""

    items: list[StoredOverride] = Field(description="At most `limit`.")
    next_cursor: NextCursor


class OverrideVersion(BaseModel):
    """One entry of an override's history."""

    version: int = Field(description="Number of the version, from 1.", examples=[2])
    action: Literal["created", "changed", "approved", "deleted"] = Field(
        description="What made this version.", examples=["changed"]
    )
    at: Moment
    by: KeyName
    fields: dict[str, Any] = Field(
        description="The override as this version left it.", examples=[{"mode": "at_least", "value": 6}]
    )


class BulkResponse(BaseModel):
    """The stored overrides in the order of the request."""

    items: list[StoredOverride] = Field(description="As many as were sent.")


class SeriesEffect(BaseModel):
    """What an override would do to the first order that covers one of its dates, judged by today's stock and forecast."""

    item_id: Item
    location_id: Place
    order_date: date | None = Field(
        description="When that order is placed; null where none covers the dates.", examples=["2019-04-30"]
    )
    target_units: float | None = Field(description="Change of the target, units.", examples=[120.5])
    order_units: float | None = Field(description="Change of the rounded order, units.", examples=[121])
    money: float | None = Field(
        description="Change of the order's value at unit cost, currency; null where no cost is known.", examples=[181.5]
    )
    problem: Problem | None = Field(None, description="Why nothing can be said of this series.")


class Preview(BaseModel):
    """What an override would do; nothing is stored."""

    as_of: AsOf
    currency: Currency | None
    series_in_scope: int = Field(description="Known series that it covers.", examples=[12])
    series_changed: int = Field(description="Series whose rounded order changes.", examples=[9])
    series_unchanged: int = Field(description="Series whose rounded order stays the same.", examples=[3])
    order_units: float = Field(description="Change of all rounded orders, units.", examples=[540])
    money: float = Field(
        description="Change of their value at unit cost, where it is known, currency.", examples=[810.5]
    )
    money_moved: float = Field(
        description="The same with every order's change taken as positive: what the limit of approval is held against, "
        "currency.",
        examples=[810.5],
    )
    needs_approval: bool = Field(description="Whether a second person would have to approve it.", examples=[False])
    note: str = Field(description="In words.", examples=["Changes 9 of 12 orders by 540 units, worth 810.50 EUR."])
    series: list[SeriesEffect] = Field(description="The largest changes first, at most 100.")
