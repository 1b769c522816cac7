"""Policies side by side where goods are promoted and where they are not.

A promotion window is a series' promoted periods and the review cycle behind each promotion, in which too large an order is
still held: both sides of a bold decision are counted in it. All other periods are routine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from simulator.metrics import (
    LEAST_LOST,
    Metrics,
    SeriesTotals,
    paired_ratio,
    series_totals,
    summarise,
    unit_totals_where,
)
from simulator.observation import ObservationSpec, Observer
from simulator.panel import F64, Bools, Panel
from simulator.rollout import Trajectory
from training.backtest import Decide, replay_contender
from training.methods import Replay, only_judged

PROMOTION, ROUTINE, ALL = "promotion", "routine", "all"


class Replayed(NamedTuple):
    """What happened to the judged series under one policy."""

    record: Trajectory  # (N, T) each
    totals: dict[str, SeriesTotals]  # by window; of a series without such a period nothing is counted


def promoted_periods(panel: Panel, discount: float = 0.0) -> Bools:
    """(N, periods) whether goods are promoted; what is unknown counts as no.

    Args:
        panel: the series.
        discount: where above 0, periods whose price lies below list by more than this share are promoted too.
    """
    promoted = np.nan_to_num(panel.promotion) > 0
    if discount > 0:
        promoted |= panel.price < (1 - discount) * panel.items.unit_price[:, None]
    return np.asarray(promoted)


def promotion_windows(panel: Panel, periods: range, discount: float = 0.0) -> Bools:
    """(N, T) whether each period belongs to a promotion window."""
    promoted = promoted_periods(panel, discount)
    review = panel.review_periods
    inside = promoted.copy()
    for behind in range(1, int(review.max(initial=0)) + 1):
        late = np.zeros_like(promoted)
        late[:, behind:] = promoted[:, :-behind]
        inside |= late & (behind <= review)[:, None]
    return np.asarray(inside[:, periods.start : periods.stop])


def replay_windows(replay: Replay, policies: Mapping[str, Decide], discount: float = 0.0) -> dict[str, Replayed]:
    """Every policy over the judged series, its costs told apart by window; `discount` as in `promoted_periods`."""
    replay = only_judged(replay)
    panel = replay.panel
    inside = promotion_windows(panel, replay.periods, discount)
    observer = Observer(panel, ObservationSpec(panel.period_days), replay.rates)
    done = {}
    for name, decide in policies.items():
        record, _ = replay_contender(replay, observer, decide)
        totals = {}
        for window, counted in ((PROMOTION, inside), (ROUTINE, ~inside), (ALL, np.ones_like(inside))):
            rows = np.flatnonzero(counted.any(axis=1))
            units = unit_totals_where(Trajectory(*(column[rows] for column in record)), counted[rows])
            totals[window] = series_totals(units, panel.items.take(rows), panel.period_days)
        done[name] = Replayed(record, totals)
    return done


def as_rows(totals: Mapping[str, dict[str, SeriesTotals]], reference: str, seed: int) -> list[dict[str, Any]]:
    """One row a window and policy: its metrics, and what they are beside a reference policy's, with 95 % intervals over series.

    Args:
        totals: by policy and window.
        reference: one of the policies.
        seed: of the bootstrap.

    Returns:
        JSON values; none for a window that no series has. Each `_ratio` is mine over the reference's, None where that one is
        nothing; `in_stock_gain` is how much larger the share of periods in stock is.
    """
    rows = []
    for window in (PROMOTION, ROUTINE, ALL):
        base = totals[reference][window]
        if not len(base.periods):
            continue
        for name, found in totals.items():
            mine = found[window]
            metrics: Metrics = summarise(mine)
            rows.append(
                {"window": window, "policy": name, "series": len(mine.periods), **metrics._asdict(),
                 "turnover_ratio": _ratio(mine.mean_stock, base.mean_stock, seed),  # demand is the same for both
                 "in_stock_gain": _ratio(base.stockout_periods - mine.stockout_periods, base.periods, seed),
                 "holding_ratio": _ratio(mine.holding_cost, base.holding_cost, seed),
                 "stockout_ratio": _ratio(mine.stockout_cost, base.stockout_cost, seed),
                 "total_cost_ratio": paired_ratio(mine.total_cost, base.total_cost, np.random.default_rng(seed)),
                 "lost_sales_ratio": _ratio(mine.demand - mine.sales, base.demand - base.sales, seed)}
            )  # fmt: skip
    return rows


def _ratio(mine: F64, base: F64, seed: int) -> tuple[float, float, float] | None:
    return paired_ratio(mine, base, np.random.default_rng(seed)) if base.sum() > LEAST_LOST else None
