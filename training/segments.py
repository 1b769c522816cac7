"""ABC by value and XYZ by steadiness, from the year before a window only.

A: the series that make the first 80 % of the value, B: up to 95 %, C: the rest. X: weekly demand varies by less than
half its mean (standard deviation over mean), Y: by less than its mean, Z: by more. The cuts are the textbook's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.panel import F64, Panel, Strings
from simulator.rates import YEAR_DAYS

VALUE_CUTS = (0.80, 0.95)  # of the summed value, largest series first
VARIATION_CUTS = (0.5, 1.0)  # of weekly standard deviation over weekly mean
SEGMENTS = tuple(a + x for a in "ABC" for x in "XYZ")


class Segments(NamedTuple):
    """All (N,)."""

    value: F64  # currency sold in the year before the window
    variation: F64  # standard deviation over mean of weekly demand; infinite where nothing was sold
    name: Strings  # AX .. CZ


def segments_of(panel: Panel, start: int) -> Segments:
    """The segment of every series by what was known before period `start`.

    Value is units sold at list price; a series without a price counts its cost, one without either its lost-sale
    cost. Weeks count back from `start`, at most 52, and only those with known sales.
    """
    width = max(7 // panel.period_days, 1)
    weeks = min(start // width, YEAR_DAYS // (width * panel.period_days))
    sold = panel.units_sold[:, start - weeks * width : start].astype(np.float64).reshape(panel.series_count, weeks, -1)
    known = np.isfinite(sold).all(axis=2)
    weekly = np.where(known, np.nan_to_num(sold).sum(axis=2), 0.0)
    count = known.sum(axis=1)
    mean = weekly.sum(axis=1) / np.maximum(count, 1)
    squares = (np.where(known, weekly - mean[:, None], 0.0) ** 2).sum(axis=1)
    deviation = np.sqrt(squares / np.maximum(count - 1, 1))
    variation = np.divide(deviation, mean, out=np.full_like(mean, np.inf), where=(mean > 0) & (count > 1))
    value = np.nan_to_num(sold).sum(axis=(1, 2)) * _worth(panel)
    names = [a + x for a, x in zip(_abc(value), _xyz(variation), strict=True)]
    return Segments(value, variation, np.array(names, dtype=object))


def _worth(panel: Panel) -> F64:
    items = panel.items
    worth = np.where(np.isfinite(items.unit_price), items.unit_price, items.unit_cost)
    return np.where(np.isfinite(worth), worth, items.lost_sale_cost)


def _abc(value: F64) -> list[str]:
    """The series that crosses a cut still belongs to the class above it, so that A is never empty."""
    order = np.argsort(-value, kind="stable")
    before = np.zeros(len(value))
    before[order] = np.concatenate([[0.0], np.cumsum(value[order])[:-1]])
    share = before / max(float(value.sum()), 1e-12)
    return ["ABC"[int(np.searchsorted(VALUE_CUTS, s, side="right"))] for s in share]


def _xyz(variation: F64) -> list[str]:
    return ["XYZ"[int(np.searchsorted(VARIATION_CUTS, v, side="right"))] for v in variation]


def cuts_in_words() -> str:
    """The rule as a sentence for tables."""
    return (
        f"A: the series that make the first {VALUE_CUTS[0]:.0%} of the value sold in the year before the window, B: up "
        f"to {VALUE_CUTS[1]:.0%}, C: the rest. X: the standard deviation of weekly demand is below {VARIATION_CUTS[0]} "
        f"of its mean in that year, Y: below {VARIATION_CUTS[1]}, Z: above."
    )
