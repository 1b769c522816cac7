"""How long orders really took, and lead times drawn from that.

A draw is of the ratio of the real to the planned lead time, so that a supplier's few orders can be filled up with those
of its category. Each order gets a draw of its own: a later order may overtake an earlier one. Files are `stock.py`'s
business.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.panel import F64, I64, Panel
from simulator.rates import group_codes
from simulator.schedule import review_schedule

OWN_ORDERS = 8  # from so many received orders on, a series speaks for itself


class LeadTimeHistory(NamedTuple):
    """Received orders; all (K,)."""

    series: I64  # row of the panel
    order_day: I64  # days since 1970-01-01
    lead_time_days: F64  # from the order's date to the first day its goods could be sold; at least 1


def draw_lead_times(panel: Panel, history: LeadTimeHistory, periods: range, rng: np.random.Generator) -> I64:
    """(N, T) periods that the order placed at the end of each period would take, drawn from what orders took.

    A series with fewer than eight received orders before the window draws from its category's, then from all of them;
    without any, every order takes its planned time. Only orders placed before the window are drawn from. What they took
    holds their waits for delivery days already, so calendars are not added once more.

    Args:
        panel: the dataset.
        history: received orders.
        periods: the window.
        rng: source of the draws.
    """
    planned = review_schedule(panel, periods).lead_time
    item = panel.lead_periods[:, None]
    past = history.order_day < panel.start_day + periods.start * panel.period_days
    series = history.series[past]
    ratio = history.lead_time_days[past] / np.maximum(panel.items.lead_time_days[series], 1)
    if not len(ratio):
        return planned
    category = group_codes(panel.items.category)
    pools = {c: ratio[category[series] == c] for c in np.unique(category[series])}
    order = np.argsort(series, kind="stable")
    own = np.split(ratio[order], np.cumsum(np.bincount(series, minlength=panel.series_count))[:-1])
    drawn = np.empty(planned.shape)
    for n in range(panel.series_count):
        pool = own[n] if len(own[n]) >= OWN_ORDERS else pools.get(category[n], ratio)
        drawn[n] = rng.choice(pool, planned.shape[1])
    return np.maximum(np.round(item * drawn), 1).astype(np.int64)
