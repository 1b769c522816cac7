"""A dataset as dense arrays, series by period.

This module knows axes, dates and shapes. It does not know files (`canonical.py` reads them), what a policy may see
(`observation.py`) or how stock moves (`step.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simulator.forecasts import Forecasts

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
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
    shelf_life_days: F64
    unit_volume: F64
    status: Strings  # active, phase_out, new
    order_weekdays: Strings  # ISO weekdays on which one may order, as digits ("135"); "" means any
    delivery_weekdays: Strings  # the same for receipts
    uom: Strings  # unit of measure that all its quantities are counted in, as an ERP names it
    order_cutoff_days: F64  # days before the order day by which it must have been decided; NaN means 0

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
    order_open: F32 | None = None  # (N, T) share of the period in which suppliers take orders; None: always
    delivery_open: F32 | None = None  # (N, T) share of the period in which goods are received; None: always
    unit_cost: F32 | None = None  # (N, T) currency per unit, where the purchase cost changes over time
    oos_mask: I32 | None = None  # (N, T) bit h: out of stock in hour h of the day; -1 where unknown
    forecasts: Forecasts | None = None  # the caller's own, by when they were made

    def __post_init__(self) -> None:
        shape = self.units_sold.shape
        for field in ("in_stock", "price", "promotion", "open", "holiday", "school_holiday"):
            if getattr(self, field).shape != shape:
                raise ValueError(f"{field} has shape {getattr(self, field).shape}, units_sold has {shape}")
        if self.oos_mask is not None and self.oos_mask.shape != shape:
            raise ValueError(f"oos_mask has shape {self.oos_mask.shape}, units_sold has {shape}")
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

    @cached_property
    def plain_calendar(self) -> bool:
        """Whether lead times and review periods alone say when an order is placed and arrives."""
        items = self.items
        texts = (items.order_weekdays, items.delivery_weekdays, items.orderable_until)
        closed = self.order_open is not None or self.delivery_open is not None
        return not (closed or any(t for column in texts for t in column) or bool((items.order_cutoff_days > 0).any()))

    @property
    def shelf_life_periods(self) -> I64:
        """(N,) whole periods in which a received unit can be sold; 0 where it keeps."""
        life = np.nan_to_num(self.items.shelf_life_days)
        return np.where(life > 0, np.maximum(life // self.period_days, 1), 0).astype(np.int64)

    @property
    def orderable_until_day(self) -> I64:
        """(N,) the last order date as days since 1970-01-01; far ahead where there is none."""
        last = [date.fromisoformat(text) if text else date.max for text in self.items.orderable_until]
        return np.array([(day - EPOCH).days for day in last], dtype=np.int64)

    def take(self, rows: I64) -> Panel:
        """The same panel for some series only, in the order of `rows`."""
        cut = {
            name: getattr(self, name)[rows]
            for name in (
                "units_sold", "in_stock", "price", "promotion", "open", "holiday", "school_holiday",
                "on_hand", "open_orders", "order_open", "delivery_open", "unit_cost", "oos_mask",
            )
            if getattr(self, name) is not None
        }  # fmt: skip
        forecasts = None if self.forecasts is None else self.forecasts.take(rows)
        return replace(self, items=self.items.take(rows), forecasts=forecasts, **cut)

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


def test_window(panel: Panel, test_days: int) -> range:
    """The last `test_days` of the recorded periods.

    Raises:
        ValueError: when nothing is left before it.
    """
    stop = panel.last_recorded + 1
    start = stop - test_days // panel.period_days
    if not 0 < start < stop:
        raise ValueError(
            f"the window must have at least one period and leave history before it, got {test_days} of "
            f"{stop * panel.period_days} days"
        )
    return range(start, stop)
