"""What the look-back route answers."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, Field

from service.fields import Currency


class LookedBackPeriod(BaseModel):
    """One period of a replay."""

    on_hand: float = Field(description="Stock at its end, units.", examples=[120])
    sales: float = Field(description="Units sold.", examples=[88])
    lost_units: float = Field(description="Units that were asked for and not there.", examples=[0])
    ordered: float = Field(description="Units ordered at its end.", examples=[96])


class LookedBackPolicy(BaseModel):
    """What would have happened under one policy."""

    alias: Literal["champion", "canary", "shadow", "incumbent"] = Field(
        description="What the policy is to the service; incumbent is the base stock that a user would hold without one.",
        examples=["champion"],
    )
    version: str | None = Field(description="Name of the policy; null of the incumbent.", examples=["daily-6.1"])
    turnover_days: float = Field(description="Mean stock over mean daily demand, days.", examples=[2.4])
    in_stock_rate: float = Field(description="Share of periods without a lost sale.", examples=[0.96])
    lost_units: float = Field(description="Units lost in all periods.", examples=[14])
    holding_cost: float = Field(description="Of the stock left at the periods' ends, currency.", examples=[31.5])
    stockout_cost: float = Field(description="Of the lost units, currency.", examples=[12.6])
    total_cost: float = Field(description="Holding, lost sales and waste, currency.", examples=[44.1])
    periods: list[LookedBackPeriod] = Field(description="One for each of demand, in its order.")


class LookedBack(BaseModel):
    """The last periods of one series, replayed under each loaded policy from the same stock."""

    first: date = Field(description="First day of the first period.", examples=["2019-03-06"])
    last: date = Field(description="First day of the last period.", examples=["2019-04-30"])
    period_days: int = Field(description="Length of a period, days.", examples=[1])
    currency: Currency
    demand_understated: bool = Field(
        description="Whether the shelf ran empty in these periods: sales, which are replayed as demand, then tell too little.",
        examples=[False],
    )
    demand: list[float] = Field(description="Units asked for in each period.", examples=[[88, 102]])
    promoted: list[bool] = Field(description="Whether each period was promoted.", examples=[[False, True]])
    policies: list[LookedBackPolicy] = Field(description="The incumbent first.")
