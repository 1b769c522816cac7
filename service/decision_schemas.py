"""Bodies of the decision routes."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from service.schemas import Body

Status = Literal["open", "superseded", "seen", "ordered", "changed", "rejected"]


class OutcomeRequest(Body):
    """What became of a decision."""

    status: Literal["ordered", "changed", "rejected"] = Field(
        description="ordered as advised, ordered with another quantity, or not ordered."
    )
    quantity: float | None = Field(
        None, ge=0, le=1e12, description="Units ordered; required for changed.", examples=[240]
    )
    note: str = Field("", max_length=500, examples=["supplier had no more"])

    @model_validator(mode="after")
    def _check(self) -> OutcomeRequest:
        if (self.status == "changed") != (self.quantity is not None):
            raise ValueError("quantity belongs to status changed, and only to it")
        return self


class Outcome(BaseModel):
    """One outcome that was told; the newest counts."""

    number: int
    status: Literal["ordered", "changed", "rejected"]
    quantity: float | None
    note: str
    at: datetime
    by: str = Field(description="Name of the API key.")


class DecisionBrief(BaseModel):
    """A remembered recommendation."""

    id: str = Field(examples=["d-5f0c9a1be4a34f0d9c1a7f23"])
    item_id: str
    location_id: str
    order_date: date = Field(description="The order is placed at the end of this day.")
    expected_receipt_date: date
    order_quantity: float = Field(description="Units.")
    ordered_quantity: float | None = Field(description="Units by its outcome.")
    status: Status = Field(
        description="open until an outcome is told; superseded where a later answer for the same order took its place; "
        "seen where its order has shown up among the open ones."
    )
    policy_version: str
    client_ref: str
    made_for: str = Field(description="Name of the API key.")
    created_at: datetime


class DecisionPage(BaseModel):
    """Some decisions, oldest first."""

    items: list[DecisionBrief]
    next_cursor: str | None = Field(description="For the next page; null at the end.")


class StoredDecision(DecisionBrief):
    """A decision with what it rested on, what was answered and what became of it."""

    inputs: dict[str, Any] = Field(description="Stock, open orders, rules and override that the answer rests on.")
    answer: dict[str, Any] = Field(description="The recommendation as it was answered.")
    outcomes: list[Outcome]
