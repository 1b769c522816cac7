"""What is watched of decisions: a few of their inputs and the days, their histograms, and how far two of these lie apart.

Training counts what a policy learned from and freezes the histograms in its bundle; the service counts what it decides. Both
count here. Every number is free of currency, and all but `daily_sales` of the retailer's size, so that one that has moved
means something.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from simulator.observation import Observation, ObservationSpec
from simulator.panel import F32, F64, I64

RECENT_DAYS = 28
DAYS = "inventory_days"  # the action
MOST, MOST_BINS = 1e15, 1000  # of what comes from outside
_HALF = 0.5  # a decision in every bin besides those counted, so that an empty one is no infinite distance


class Watched(NamedTuple):
    """One number of a decision."""

    name: str
    unit: str
    meaning: str
    edges: tuple[float, ...]  # a bin holds values from one edge to below the next; what lies outside has bins too


INPUTS = (
    Watched("daily_sales", "units/day", "mean sales of the last 28 days",
            (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)),
    Watched("sales_change", "1", "the same, of the last year's mean", (0.25, 0.5, 0.7, 0.85, 1.0, 1.15, 1.4, 2, 4)),
    Watched("zero_share", "share", "periods without a sale, of those known of the last 13 weeks",
            (0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)),
    Watched("in_stock_share", "share", "time in stock in the last 28 days", (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)),
    Watched("promotion_share", "share", "promoted periods of those known ahead", (0.001, 0.05, 0.1, 0.25, 0.5)),
    Watched("critical_ratio", "share", "lost_sale_cost / (lost_sale_cost + a review period's holding cost)",
            (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.96, 0.98, 0.99)),
    Watched("lead_time_days", "days", "lead time", (2, 3, 4, 5, 6, 7, 8, 11, 15, 22, 29, 43)),
    Watched("review_period_days", "days", "review period", (2, 3, 4, 7, 8, 14, 15, 28)),
    Watched("days_of_cover", "days", "stock and open orders, of the daily rate",
            (0.5, 1, 2, 3, 4, 6, 8, 11, 15, 21, 30, 45, 60)),
    Watched("forecast_change", "1", "the first week's forecast, of the daily rate",
            (0.25, 0.5, 0.7, 0.85, 1.0, 1.15, 1.4, 2, 4)),
)  # fmt: skip
ACTION = Watched(
    DAYS, "days", "what the policy says, without overrides", (0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 14, 21, 28, 42)
)
WATCHED = (*INPUTS, ACTION)
NEEDED = (
    "units_sold", "in_stock", "promotion", "lost_sale_cost", "holding_cost_per_day", "lead_time_days",
    "review_period_days", "on_hand", "on_order",
)  # fmt: skip


def watched_values(
    observation: Observation, spec: ObservationSpec, inventory_days: F32, daily_rate: F32, forecast: F32
) -> dict[str, F64]:
    """Each of `WATCHED` by name, (B,); NaN where it is unknown.

    Args:
        observation: of B decisions, `NEEDED` at least.
        spec: its lengths.
        inventory_days: (B,) days, as the policy said.
        daily_rate: (B,) units a day, the same.
        forecast: (B, H, Q) units a period, the same.
    """
    recent, period = max(RECENT_DAYS // spec.period_days, 1), spec.period_days
    sold = observation["units_sold"]
    lately, weeks = _mean(sold[:, -recent:]) / period, sold[:, -spec.recent :]
    lost, review = observation["lost_sale_cost"].astype(np.float64), observation["review_period_days"]
    rate = daily_rate.astype(np.float64)
    week = forecast[:, : max(7 // period, 1)].astype(np.float64).mean(axis=(1, 2)) / period
    return {
        "daily_sales": lately,
        "sales_change": _ratio(lately, _mean(sold) / period),
        "zero_share": _ratio((weeks <= 0).sum(axis=1), (~np.isnan(weeks)).sum(axis=1)),
        "in_stock_share": _mean(observation["in_stock"][:, -recent:]),
        "promotion_share": _mean(observation["promotion"][:, spec.history :]),
        "critical_ratio": _ratio(lost, lost + observation["holding_cost_per_day"] * review),
        "lead_time_days": observation["lead_time_days"].astype(np.float64),
        "review_period_days": review.astype(np.float64),
        "days_of_cover": _ratio(observation["on_hand"] + observation["on_order"].sum(axis=1), rate),
        "forecast_change": _ratio(week, rate),
        DAYS: inventory_days.astype(np.float64),
    }


def _mean(values: F32) -> F64:
    """(B,) of the known ones of each row."""
    unknown = np.isnan(values)
    count = values.shape[1] - unknown.sum(axis=1)
    total = np.where(unknown, np.float32(0), values).sum(axis=1, dtype=np.float64)
    return np.asarray(np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0))


def _ratio(above: F64 | I64, below: F64 | I64) -> F64:
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0))


def counted(values: F64, edges: F64) -> I64:
    """(E + 2,) how many values lie below the first of E edges, from each to below the next, and are unknown."""
    bins = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))
    return np.bincount(bins, minlength=len(edges) + 2).astype(np.int64)


def psi(expected: F64 | I64, found: F64 | I64) -> float:
    """Population stability index of two histograms over the same bins.

    0: the same shares. By the usual reading up to 0.1 is nothing, above 0.25 is another population.

    Args:
        expected: (K,) counts, more than none in all.
        found: (K,) counts, the same.
    """
    p, q = ((counts + _HALF) / (counts.sum() + _HALF * len(counts)) for counts in (expected, found))
    return float(((q - p) * np.log(q / p)).sum())


class Histograms(NamedTuple):
    """Histograms by name."""

    edges: dict[str, F64]  # (E,) each
    counts: dict[str, F64]  # (E + 2,) each, see `counted`


def as_told(frozen: Histograms) -> dict[str, object]:
    """Histograms as JSON; see `read_told`."""
    known = {one.name: one for one in WATCHED}
    return {
        name: {
            "unit": known[name].unit, "meaning": known[name].meaning, "edges": edges.tolist(),
            "counts": frozen.counts[name][:-1].astype(int).tolist(), "unknown": int(frozen.counts[name][-1]),
        }
        for name, edges in frozen.edges.items()
    }  # fmt: skip


def read_told(told: object) -> Histograms:
    """The inverse of `as_told`, for JSON from outside.

    Raises:
        ValueError: where it lacks one of `WATCHED`, or something in it is no histogram.
    """
    edges: dict[str, F64] = {}
    counts: dict[str, F64] = {}
    for name in (one.name for one in WATCHED):
        one = told.get(name) if isinstance(told, Mapping) else None
        if not isinstance(one, Mapping):
            raise ValueError(f"there is no histogram of {name}")
        edges[name], counts[name] = (
            _numbers(one.get("edges")),
            _numbers([*_listed(one.get("counts")), one.get("unknown")]),
        )
        if len(counts[name]) != len(edges[name]) + 2 or not len(edges[name]) or (np.diff(edges[name]) <= 0).any():
            raise ValueError(f"{name}: edges must rise, and there must be one count more than there are edges")
        if (counts[name] < 0).any() or not counts[name].sum() > 0:
            raise ValueError(f"{name}: counts must not be negative, nor all 0")
    return Histograms(edges, counts)


def _listed(given: object) -> list[object]:
    return given if isinstance(given, list) else []


def _numbers(given: object) -> F64:
    values = _listed(given)
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        raise ValueError("edges and counts must be numbers")
    if len(values) > MOST_BINS or not all(abs(value) <= MOST for value in values):  # type: ignore[arg-type]
        raise ValueError(f"edges and counts must be finite, and at most {MOST_BINS:,} of each")
    return np.array(values, dtype=np.float64)
