"""Bodies of the decision routes."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from service.fields import Item, KeyName, Moment, NextCursor, Place, PolicyVersion, ReceiptDate
from service.schemas import Body

Status = Literal["open", "superseded", "seen", "ordered", "changed", "rejected"]


class OutcomeRequest(Body):
    """What became of a decision."""

    status: Literal["ordered", "changed", "rejected"] = Field(
        description="ordered as advised, ordered with another quantity, or not ordered.", examples=["changed"]
    )
    quantity: float | None = Field(
        None, ge=0, le=1e12, description="Units ordered; required for changed.", examples=[240]
    )
    note: str = Field("", max_length=500, description="Kept with it.", examples=["supplier had no more"])

    @model_validator(mode="after")
    def _check(self) -> OutcomeRequest:
        if (self.status == "changed") != (self.quantity is not None):
            raise ValueError("quantity belongs to status changed, and only to it")
        return self


class Outcome(BaseModel):
    """One outcome that was told; the newest counts."""

    number: int = Field(description="Number within the decision, from 1.", examples=[1])
    status: Literal["ordered", "changed", "rejected"] = Field(description="What was told.", examples=["changed"])
    quantity: float | None = Field(description="Units ordered; null where rejected.", examples=[240])
    note: str = Field(description="As it was told.", examples=["supplier had no more"])
    at: Moment
    by: KeyName


class DecisionBrief(BaseModel):
    """A remembered recommendation."""

    id: str = Field(description="Its number.", examples=["d-mf2xk5dpn5zgkzq3bq5a2ghs"])
    item_id: Item
    location_id: Place
    order_date: date = Field(description="The order is placed at the end of this day.", examples=["2019-04-30"])
    expected_receipt_date: ReceiptDate
    order_quantity: float = Field(description="Units advised.", examples=[249])
    ordered_quantity: float | None = Field(description="Units by its outcome; null without one.", examples=[240])
    status: Status = Field(
        description="open until an outcome is told; superseded where a later answer for the same order took its place; "
        "seen where its order has shown up among the open ones.",
        examples=["open"],
    )
    policy_version: PolicyVersion
    client_ref: str = Field(description="The caller's own name of the run.", examples=["night-2019-04-30"])
    made_for: KeyName
    created_at: Moment


class DecisionPage(BaseModel):
    """Some decisions, oldest first."""

    items: list[DecisionBrief] = Field(description="At most `limit`.")
    next_cursor: NextCursor


class StoredDecision(DecisionBrief):
    """A decision with what it rested on, what was answered and what became of it."""

    inputs: dict[str, Any] = Field(
        description="Stock, open orders, rules and override that the answer rests on.",
        examples=[{"on_hand": 640, "on_order": 120, "reserved": 0}],
    )
    answer: dict[str, Any] = Field(
        description="The recommendation as it was answered.", examples=[{"inventory_days": 4.75, "order_quantity": 249}]
    )
    outcomes: list[Outcome] = Field(description="All that were told, oldest first.")
