"""A dataset as dense arrays, series by period.

This module knows axes, dates and shapes. It does not know files (`canonical.py` reads them), what a policy may see
(`observation.py`) or how stock moves (`step.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]
Strings = NDArray[np.object_]

EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Items:
    """What is known of each series besides its history; every array is (N,), NaN or "" where unknown.

    Units: prices and costs in currency per unit, `holding_cost_per_day` per unit and day, times in days, quantities
    in units. `lead_time_days` and `review_period_days` are whole days, at least 1.
    """

    item_id: Strings
    location_id: Strings
    category: Strings
    parent_category: Strings
    region: Strings
    name: Strings
    unit_price: F64
    unit_cost: F64
    lost_sale_cost: F64
    holding_cost_per_day: F64
    lead_time_days: I64
    review_period_days: I64
    review_offset_days: I64
    min_order_qty: F64
    order_multiple: F64
    max_order_qty: F64
    min_stock: F64
    max_stock: F64
    orderable_until: Strings
    reference_item_id: Strings
    expected_daily_demand: F64
    expected_turnover_days: F64

    def __len__(self) -> int:
        return len(self.item_id)

    def take(self, rows: I64) -> Items:
        """The same columns for some series only, in the order of `rows`."""
        return Items(**{name: column[rows] for name, column in vars(self).items()})


@dataclass(frozen=True)
class Panel:
    """N series over T periods that start at `start` and last `period_days` each.

    History arrays are (N, T) float32. NaN means unknown: before a series began, after what has been recorded, or a
    column that the dataset does not have. `units_sold` equals demand only where `in_stock` is 1. Flags are 0 or 1.
    The T axis may run past the last recorded period, so that promotions and holidays known ahead have a place.
    """

    name: str
    period_days: int
    currency: str
    quantity: str
    source: str
    review_origin: date
    promotion_known_ahead_days: int
    price_known_ahead_days: int
    start: date
    items: Items
    units_sold: F32  # (N, T) units
    in_stock: F32  # (N, T) share of selling time, 0..1
    price: F32  # (N, T) currency per unit
    promotion: F32  # (N, T) flag
    open: F32  # (N, T) flag
    holiday: F32  # (N, T) flag
    school_holiday: F32  # (N, T) flag
    on_hand: F64  # (N,) units at the end of the last recorded period; NaN where no state is given
    open_orders: F64  # (N, L) units; column j arrives at the start of the (j + 1)-th period after the last recorded

    def __post_init__(self) -> None:
        shape = self.units_sold.shape
        for field in ("in_stock", "price", "promotion", "open", "holiday", "school_holiday"):
            if getattr(self, field).shape != shape:
                raise ValueError(f"{field} has shape {getattr(self, field).shape}, units_sold has {shape}")
        if len(self.items) != shape[0]:
            raise ValueError(f"items has {len(self.items)} series, units_sold has {shape[0]}")
        if self.period_days < 1:
            raise ValueError(f"period_days must be at least 1, got {self.period_days}")

    @property
    def series_count(self) -> int:
        return int(self.units_sold.shape[0])

    @property
    def period_count(self) -> int:
        return int(self.units_sold.shape[1])

    @property
    def last_recorded(self) -> int:
        """The last period in which any series has a recorded sale; -1 where none has."""
        known = np.flatnonzero(np.isfinite(self.units_sold).any(axis=0))
        return int(known[-1]) if len(known) else -1

    @property
    def discrete(self) -> bool:
        return self.quantity == "discrete"

    def date_of(self, t: int) -> date:
        """The first day of period `t`."""
        return self.start + timedelta(days=t * self.period_days)

    def period_of(self, day: date) -> int:
        """The period that contains `day`; it may lie outside the T axis."""
        return (day - self.start).days // self.period_days

    @property
    def start_day(self) -> int:
        """Days from 1970-01-01 to the first day of period 0."""
        return (self.start - EPOCH).days

    @property
    def lead_periods(self) -> I64:
        """(N,) lead time in whole periods, rounded up."""
        return -(-self.items.lead_time_days // self.period_days)

    @property
    def review_periods(self) -> I64:
        """(N,) review period in whole periods, rounded up."""
        return -(-self.items.review_period_days // self.period_days)

    @property
    def protection_periods(self) -> I64:
        """(N,) periods an order has to last: lead time + review period - 1."""
        return self.lead_periods + self.review_periods - 1

    def review_due(self, periods: range) -> Bools:
        """(N, len(periods)) whether a review is due at the end of each period.

        It is when (days from `review_origin` to the period's first day - offset) is a multiple of the review period.
        The origin is an absolute date, so cutting off old history moves no order day. Where a period is longer than
        the review period, every period is an order day.
        """
        origin = (self.start - self.review_origin).days
        days = origin + np.arange(periods.start, periods.stop) * self.period_days
        review = self.review_periods[:, None] * self.period_days
        since = days[None, :] - self.items.review_offset_days[:, None]
        return np.asarray(since % review < self.period_days)

    def take(self, rows: I64) -> Panel:
        """The same panel for some series only, in the order of `rows`."""
        cut = {
            name: getattr(self, name)[rows]
            for name in (
                "units_sold", "in_stock", "price", "promotion", "open", "holiday", "school_holiday",
                "on_hand", "open_orders",
            )
        }  # fmt: skip
        return replace(self, items=self.items.take(rows), **cut)

    @property
    def names(self) -> list[str]:
        """`item_id@location_id` for messages and tables."""
        return [f"{item}@{place}" for item, place in zip(self.items.item_id, self.items.location_id, strict=True)]


def shift_known_ahead(panel: Panel) -> tuple[int, int]:
    """Whole periods ahead for which promotions and prices may be read."""
    return (
        panel.promotion_known_ahead_days // panel.period_days,
        panel.price_known_ahead_days // panel.period_days,
    )
