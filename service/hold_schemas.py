"""Bodies of the routes for held batches and stops."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, Field

from service.fields import KeyName, Moment, NextCursor
from service.schemas import Body


class FoundAbnormal(BaseModel):
    """One measure of a batch that is beyond its limit."""

    measure: Literal["order_value", "order_growth", "order_fall", "zero_stock", "history_end"] = Field(
        description="What was measured: what the orders cost; how much more or less than the last ones they do; the share "
        "of series with nothing on hand, or whose history ends early.",
        examples=["order_value"],
    )
    value: float = Field(description="Money in the dataset's currency, or a share.", examples=[260_000])
    limit: float = Field(
        description="What would have passed, in the same unit: currency or a share.", examples=[100_000]
    )
    whole_batch: bool = Field(description="Of the whole batch, or of the location alone.", examples=[False])
    location_id: str = Field(description="The location to blame; empty where it is no single one.", examples=["S17"])
    category: str = Field(
        description="The category to blame where no location is; empty where it is no single one.", examples=[""]
    )
    feed: str = Field(description="The feed to look at first: inventory, history, or empty.", examples=["inventory"])
    sentence: str = Field(
        description="The same in words.",
        examples=["S17: orders of 42 series cost 260,000.00 EUR, the limit is 100,000.00 EUR."],
    )


class Hold(BaseModel):
    """Orders that are not given out until somebody releases them."""

    id: int = Field(description="Its number.", examples=[3])
    order_date: date = Field(description="The orders are for the end of this day.", examples=["2019-04-30"])
    location_id: str = Field(description="Where; empty: everywhere, or wherever the category is.", examples=["S17"])
    category: str = Field(description="Of what; empty: of everything.", examples=[""])
    findings: list[FoundAbnormal] = Field(description="What is abnormal, at least one.")
    version: int = Field(description="Number that grows with what the hold tells of.", examples=[1])
    state: Literal["held", "released"] = Field(description="Only held ones hold anything back.", examples=["held"])
    made_for: str = Field(description="Name of the API key that asked.", examples=["erp"])
    created_at: Moment
    released_at: Moment | None
    released_by: str = Field(description="Name of the API key; empty while it is held.", examples=["ops"])
    reason: str = Field(description="Why it may pass; empty while it is held.", examples=["opening of the new hall"])


class HoldPage(BaseModel):
    """Some holds in the order of their numbers."""

    items: list[Hold] = Field(description="At most `limit`.")
    next_cursor: NextCursor


class ReleaseRequest(Body):
    """Which version was seen, and why it may pass."""

    version: int = Field(
        ge=1, description="Version number of the hold that was looked at; one that tells of more by now is not released.",
        examples=[1],
    )  # fmt: skip
    reason: str = Field(
        min_length=1, max_length=500, description="Kept with it.", examples=["opening of the new hall, order is right"]
    )


class StopRequest(Body):
    """For what no orders are to be given out."""

    location_id: str = Field("", max_length=200, description="A location; empty: every one.", examples=["S17"])
    category: str = Field("", max_length=200, description="A category; empty: every one.", examples=["bread"])
    reason: str = Field(
        min_length=1,
        max_length=500,
        description="Kept with it.",
        examples=["stock take, counts are wrong until Monday"],
    )


class StoredStop(BaseModel):
    """A kill switch that was thrown."""

    id: int = Field(description="Its number.", examples=[2])
    location_id: str = Field(description="Where; empty: everywhere.", examples=["S17"])
    category: str = Field(description="Of what; empty: of everything.", examples=["bread"])
    reason: str = Field(description="Why.", examples=["stock take, counts are wrong until Monday"])
    begun_at: Moment
    begun_by: KeyName
    ended_at: Moment | None
    ended_by: str = Field(description="Name of the API key; empty while it stands.", examples=[""])


class StopPage(BaseModel):
    """Some stops in the order of their numbers."""

    items: list[StoredStop] = Field(description="At most `limit`.")
    next_cursor: NextCursor
