"""Bodies of the routes for held batches and stops."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, Field

from service.schemas import Body


class FoundAbnormal(BaseModel):
    """One measure of a batch that is beyond its limit."""

    measure: Literal["order_value", "order_growth", "order_fall", "zero_stock", "history_end"]
    value: float = Field(description="Money in the dataset's currency, or a share.")
    limit: float = Field(description="What would have passed.")
    whole_batch: bool = Field(description="Of the whole batch, or of the location alone.")
    location_id: str = Field(description="The location to blame; empty where it is no single one.")
    category: str = Field(description="The category to blame where no location is; empty where it is no single one.")
    feed: str = Field(description="The feed to look at first: inventory, history, or empty.")
    sentence: str = Field(description="The same in words.")


class Hold(BaseModel):
    """Orders that are not given out until somebody releases them."""

    id: int
    order_date: date
    location_id: str = Field(description="Where; empty: everywhere, or wherever the category is.")
    category: str = Field(description="Of what; empty: of everything.")
    findings: list[FoundAbnormal]
    version: int = Field(description="Grows with what it tells of.")
    state: Literal["held", "released"]
    made_for: str = Field(description="Name of the API key that asked.")
    created_at: datetime
    released_at: datetime | None
    released_by: str
    reason: str


class HoldPage(BaseModel):
    """Some holds in the order of their numbers."""

    items: list[Hold]
    next_cursor: str | None = Field(description="For the next page; null at the end.")


class ReleaseRequest(Body):
    """Which version was seen, and why it may pass."""

    version: int = Field(
        ge=1, description="Of the hold that was looked at; one that tells of more by now is not released."
    )
    reason: str = Field(min_length=1, max_length=500, examples=["opening of the new hall, order is right"])


class StopRequest(Body):
    """For what no orders are to be given out."""

    location_id: str = Field("", max_length=200, description="A location; empty: every one.", examples=["S17"])
    category: str = Field("", max_length=200, description="A category; empty: every one.", examples=["bread"])
    reason: str = Field(min_length=1, max_length=500, examples=["stock take, counts are wrong until Monday"])


class StoredStop(BaseModel):
    """A kill switch that was thrown."""

    id: int
    location_id: str
    category: str
    reason: str
    begun_at: datetime
    begun_by: str
    ended_at: datetime | None
    ended_by: str


class StopPage(BaseModel):
    """Some stops in the order of their numbers."""

    items: list[StoredStop]
    next_cursor: str | None = Field(description="For the next page; null at the end.")
