"""Outcomes by series and period, and the periods before and after the start.

It knows the dataset and the calendar of the experiment, not who was treated.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import numpy as np

from simulator.censoring import replayed_demand
from simulator.panel import F64, Panel

METRICS = ("turnover_days", "in_stock_rate", "holding_cost", "lost_sale_cost", "units_sold")
UNITS = {
    "turnover_days": "days", "in_stock_rate": "share of periods", "holding_cost": "{currency} a series and day",
    "lost_sale_cost": "{currency} a series and day", "units_sold": "units a series and day",
}  # fmt: skip
NO_INVENTORY = "the dataset has no inventory file"


class Window(NamedTuple):
    """Periods of the panel."""

    before: range
    after: range

    @property
    def columns(self) -> list[int]:
        """Of both, in order."""
        return [*self.before, *self.after]


class Outcome(NamedTuple):
    """One outcome of every series and period."""

    name: str
    unit: str
    values: F64  # (N, T) NaN where unknown


def day_of(field: str, text: str) -> date:
    """A date from the command line."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{field} must be a date, YYYY-MM-DD, got {text!r}") from None


def history_before(panel: Panel, start: date, history_days: int) -> range:
    """The periods of the last `history_days` before the start.

    Raises:
        ValueError: where there is none, or the start is not the first day of a period.
    """
    t = panel.period_of(start)
    if panel.date_of(t) != start:
        raise ValueError(
            f"start: {start} is not the first day of a period; the nearest are {panel.date_of(t)} and {panel.date_of(t + 1)}"
        )
    first = max(t - history_days // panel.period_days, 0)
    if t - first < 2:
        raise ValueError(
            f"start: {start} leaves fewer than two periods before it; the history begins on {panel.start}, "
            f"and {history_days} days of it are read"
        )
    if first > panel.last_recorded:
        raise ValueError(
            f"start: {start} lies more than {history_days} days after the last recorded day, {panel.date_of(panel.last_recorded)}"
        )
    return range(first, t)


def experiment_window(panel: Panel, start: date, end: date | None, history_days: int, settle_days: int) -> Window:
    """The periods that are compared.

    Args:
        panel: the dataset.
        start: first day on which the new policy decides.
        end: last day, included; the last recorded one where None.
        history_days: how far before the start.
        settle_days: after the start, left out: stock of earlier orders still decides.

    Raises:
        ValueError: naming the date, where no period is left before or after.
    """
    before = history_before(panel, start, history_days)
    last = panel.date_of(panel.last_recorded)
    if before.stop > panel.last_recorded:
        raise ValueError(f"start: {start} lies after the last recorded period, {last}")
    stop = panel.last_recorded + 1 if end is None else panel.period_of(end) + 1
    if end is not None and end < start:
        raise ValueError(f"end: {end} lies before the start, {start}")
    if stop > panel.last_recorded + 1:
        raise ValueError(f"end: {end} lies after the last recorded period, {last}")
    first = before.stop - (-settle_days // panel.period_days)
    if stop - first < 1:
        raise ValueError(f"settle_days: {settle_days} days leave nothing of the experiment, {start} to {end or last}")
    return Window(before, range(first, stop))


def outcomes_of(
    panel: Panel, on_hand: F64 | None, before: range, asked: list[str], *, until: int | None = None
) -> tuple[list[Outcome], dict[str, str]]:
    """What can be told of the asked outcomes, and for the rest why not.

    `turnover_days` is stock at the period's end over the series' own mean daily sales before the start: one divisor that
    the treatment cannot move. `in_stock_rate` is 1 where the period was in stock throughout; where the dataset does not know,
    whether stock was left at its end. `lost_sale_cost` is estimated (`simulator/censoring.py`).

    Args:
        panel: the dataset.
        on_hand: (N, T) units at each period's end, NaN where unknown; None where nobody knows.
        before: the periods before the start.
        asked: names; all where empty.
        until: what is told of earlier periods rests on no sales from this one on; None reads all.

    Raises:
        ValueError: for a name that is not known; for one that was asked for and cannot be told.
    """
    for name in asked:
        if name not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {name!r}")
    told, reasons = [], {}
    for name in asked or METRICS:
        values = _values(name, panel, on_hand, before, until)
        if isinstance(values, str):
            reasons[name] = values
        else:
            told.append(Outcome(name, UNITS[name].format(currency=panel.currency or "money"), values))
    for name in asked:
        if name in reasons:
            raise ValueError(f"metric: {name} cannot be told: {reasons[name]}")
    return told, reasons


def stock_and_sales(panel: Panel, on_hand: F64) -> tuple[F64, F64]:
    """(N, T) units on hand and units sold a day where both are known, else NaN."""
    sold = panel.units_sold.astype(np.float64) / panel.period_days
    known = np.isfinite(on_hand) & np.isfinite(sold)
    return np.where(known, on_hand, np.nan), np.where(known, sold, np.nan)


def mean_daily_sales(panel: Panel, periods: range) -> F64:
    """(N,) units a day over the periods with recorded sales; NaN where nothing was sold."""
    sold = panel.units_sold[:, periods.start : periods.stop].astype(np.float64)
    known = np.isfinite(sold)
    total = np.where(known, sold, 0.0).sum(axis=1)
    return np.where(total > 0, total / np.maximum(known.sum(axis=1) * panel.period_days, 1), np.nan)


def _values(name: str, panel: Panel, on_hand: F64 | None, before: range, until: int | None) -> F64 | str:
    """(N, T), or why there are none."""
    if name == "in_stock_rate":
        return _in_stock(panel, on_hand)
    if name == "units_sold":
        return panel.units_sold.astype(np.float64) / panel.period_days
    if name == "lost_sale_cost":
        return _lost_sale_cost(panel, until)
    if on_hand is None:
        return NO_INVENTORY
    daily = mean_daily_sales(panel, before)
    return np.asarray(on_hand * (panel.items.holding_cost_per_day if name == "holding_cost" else 1 / daily)[:, None])


def _lost_sale_cost(panel: Panel, until: int | None) -> F64 | str:
    short = np.isfinite(panel.units_sold) & (panel.in_stock < 1)
    if not bool(short[:, :until].any()):
        return "the dataset records no time out of stock"
    demand, known = replayed_demand(panel, "recovered", until)
    lost = np.where(known, demand - np.nan_to_num(panel.units_sold), np.nan)
    return np.asarray(lost * panel.items.lost_sale_cost[:, None] / panel.period_days)


def _in_stock(panel: Panel, on_hand: F64 | None) -> F64 | str:
    share = np.where(np.isfinite(panel.units_sold), panel.in_stock, np.nan).astype(np.float64)
    in_stock = np.where(np.isnan(share), np.nan, share >= 1 - 1e-6)
    if on_hand is not None:
        left = np.where(np.isnan(on_hand), np.nan, on_hand > 0)
        in_stock = np.where(np.isnan(in_stock), left, in_stock)
    if not np.isfinite(in_stock).any():
        return "neither in_stock nor an inventory file says when the series were in stock"
    return in_stock
