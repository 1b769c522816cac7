"""What is known of a dataset before its end: demand to price decisions on, demand to forecast, and which of it counts.

A day out of stock tells less than it seems to: its sales are a lower bound, and leaving it out leaves out a busy day.
Nothing here knows decisions, curves or batches; `dataset.py` makes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.observation import Rates, panel_rates
from simulator.panel import F32, F64, I64, Bools, Panel
from simulator.rates import FULL_STOCK
from solver.labels import label_demand
from training.config import AT_LEAST, IN_STOCK, RECOVERED, LabelConfig

LEAST_SUPPLY = 0.9  # share of an interval in stock from which its sales count as demand


class Past(NamedTuple):
    """A panel and the period at which its test window starts."""

    panel: Panel
    end: int


@dataclass(frozen=True)
class Known:
    """What is known of a panel before its end, for all its copies."""

    panel: Panel
    end: int
    rates: Rates
    demand: F64  # (N, T) what the labels replay
    known: Bools  # (N, T) where
    future: F32  # (N, T) demand to forecast, NaN where unknown
    censored: Bools  # (N, T) where that is a lower bound
    supply: F64 | None  # (N, T + 1) time in stock summed up to each period, where only supplied intervals are taken
    supply_periods: int  # that supply is judged over at least

    def take(self, rows: I64) -> Known:
        """Some series only."""
        return Known(
            self.panel.take(rows),
            self.end,
            self.rates.take(rows),
            self.demand[rows],
            self.known[rows],
            self.future[rows],
            self.censored[rows],
            None if self.supply is None else self.supply[rows],
            self.supply_periods,
        )


def known_of(past: Past, config: LabelConfig) -> Known:
    """Rates, demand to replay and demand to forecast; nothing in the last two comes from `end` on.

    Args:
        past: the panel and its end.
        config: what decisions are priced on, and over how long their supply is judged.
    """
    panel, end = past
    stock = np.nan_to_num(panel.in_stock, nan=1.0).astype(np.float64)  # unknown counts as in stock, as everywhere
    demand, known = label_demand(panel, recovered=config.demand == RECOVERED, before=end)
    future, censored = _to_forecast(panel, stock, config.forecast, end)
    supply = np.pad(np.cumsum(stock, axis=1), ((0, 0), (1, 0))) if config.demand == IN_STOCK else None
    return Known(
        panel, end, panel_rates(panel), demand, known, future, censored, supply,
        -(-config.supply_days // panel.period_days),
    )  # fmt: skip


def _to_forecast(panel: Panel, stock: F64, which: str, end: int) -> tuple[F32, Bools]:
    """(N, T) demand of the periods before `end` as the forecast learns it, NaN where unknown, and where it is a lower bound.

    A day that was out of stock for a part is one on which much was asked for: left out, the forecast comes out low.
    """
    seen = np.isfinite(panel.units_sold) & ~(panel.open == 0)
    whole = seen & (stock >= FULL_STOCK)
    censored = np.zeros(whole.shape, dtype=bool)
    demand = panel.units_sold
    if which == AT_LEAST:
        censored = seen & ~whole & (panel.units_sold > 0)  # at least nothing says nothing
    elif which == RECOVERED:
        completed, known = label_demand(panel, recovered=True, before=end)
        demand, whole = completed.astype(np.float32), known & seen
    future = np.where(whole | censored, demand, np.nan).astype(np.float32)
    future[:, end:], censored[:, end:] = np.nan, False
    return future, censored


def supplied(known: Known, rows: I64, first: I64, stop: I64) -> Bools:
    """(B,) whether the shelf was full for nearly all of the periods from `first` to before `stop`; True where all count.

    Shorter stretches are judged over `known.supply_periods` from their start on, or up to `known.end` where that is near.
    """
    if known.supply is None:
        return np.ones(len(rows), dtype=bool)
    stop = np.minimum(np.maximum(stop, first + known.supply_periods), known.end)
    first = np.maximum(np.minimum(first, stop - known.supply_periods), 0)
    share = (known.supply[rows, stop] - known.supply[rows, first]) / np.maximum(stop - first, 1)
    return np.asarray(share >= LEAST_SUPPLY)
