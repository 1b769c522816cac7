"""Bodies of the override routes."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from service.problems import Problem
from service.schemas import Body, Day

MOST_DAYS = 365
MOST_BULK = 5000
Mode = Literal["set", "at_least", "add_units", "uplift"]
SellingFrom = Annotated[Day, Field(description="First selling date it is for.", examples=["2019-05-03"])]
SellingTo = Annotated[Day, Field(description="Last selling date it is for.", examples=["2019-05-05"])]
Value = Annotated[
    float,
    Field(
        ge=-100, le=1e9, examples=[6],
        description="Days (0 to 365) for set and at_least, units for add_units, per cent (-100 to 1000) for uplift.",
    ),
]  # fmt: skip
Reason = Annotated[str, Field(min_length=1, max_length=500, examples=["May Day promotion"])]
Author = Annotated[str, Field(min_length=1, max_length=100, examples=["planner@example.com"])]
PromotionId = Annotated[str, Field(max_length=200, description="Your own name of the promotion.", examples=["MAY19"])]
_Scope = Annotated[str | None, Field(min_length=1, max_length=200)]


class OverrideRequest(Body):
    """A planner's decision for selling dates. Leave scope fields out to mean all."""

    item_id: _Scope = Field(None, examples=["B101"])
    location_id: _Scope = Field(None, examples=["S17"])
    category: _Scope = Field(None, description="Not together with item_id.", examples=["bakery"])
    selling_from: SellingFrom
    selling_to: SellingTo
    mode: Mode = Field(
        description="set or at_least inventory days, units added to the target, or an uplift of the demand on these "
        "dates against that of days without a promotion."
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
    mode: Mode | None = None
    value: Value | None = None
    promotion_id: PromotionId | None = None
    reason: Reason | None = None
    author: Author | None = None


class BulkRequest(Body):
    """Overrides that are stored together: all of them, or none where one of them is bad."""

    overrides: list[OverrideRequest] = Field(min_length=1, max_length=MOST_BULK)


class StoredOverride(BaseModel):
    """An override as it stands."""

    id: int = Field(examples=[17])
    version: int = Field(description="Grows with every change; the ETag.", examples=[1])
    state: Literal["active", "pending", "deleted"] = Field(
        description="Only active ones count. A pending one waits for the approval of a second person."
    )
    item_id: str | None
    location_id: str | None
    category: str | None
    selling_from: date
    selling_to: date
    mode: Mode
    value: float
    promotion_id: str
    reason: str
    author: str
    changed_by: str = Field(description="Name of the API key that wrote this version.", examples=["erp"])
    created_at: datetime
    changed_at: datetime | None
    series_in_scope: int = Field(description="Known series that it covers.", examples=[1])


class OverridePage(BaseModel):
    """Some overrides in the order of their numbers."""

    items: list[StoredOverride]
    next_cursor: str | None = Field(description="For the next page; null at the end.")


class OverrideVersion(BaseModel):
    """One entry of an override's history."""

    version: int
    action: Literal["created", "changed", "approved", "deleted"]
    at: datetime
    by: str = Field(description="Name of the API key.")
    fields: dict[str, Any] = Field(description="The override as this version left it.")


class BulkResponse(BaseModel):
    """The stored overrides in the order of the request."""

    items: list[StoredOverride]


class SeriesEffect(BaseModel):
    """What an override would do to the first order that covers one of its dates, judged by today's stock and forecast."""

    item_id: str
    location_id: str
    order_date: date | None = Field(description="When that order is placed; null where none covers the dates.")
    target_units: float | None = Field(description="Change of the target, units.", examples=[120.5])
    order_units: float | None = Field(description="Change of the rounded order, units.", examples=[121])
    money: float | None = Field(description="Change of the order's value at unit cost; null where no cost is known.")
    problem: Problem | None = None


class Preview(BaseModel):
    """What an override would do; nothing is stored."""

    as_of: date
    currency: str | None
    series_in_scope: int = Field(examples=[12])
    series_changed: int = Field(description="Series whose rounded order changes.", examples=[9])
    series_unchanged: int = Field(description="Series whose rounded order stays the same.", examples=[3])
    order_units: float = Field(description="Change of all rounded orders, units.", examples=[540])
    money: float = Field(description="Change of their value at unit cost, where it is known.", examples=[810.5])
    needs_approval: bool = Field(description="Whether a second person would have to approve it.")
    note: str = Field(description="In words.", examples=["Changes 9 of 12 orders by 540 units, worth 810.50 EUR."])
    series: list[SeriesEffect] = Field(description="The largest changes first, at most 100.")
