"""Labels: the decision that would have been best, with the whole cost curve over inventory days.

An **epoch label** belongs to one series and one review at the end of period t: what the single order placed there
would have cost for every candidate, from the stock that the incumbent's replay left, over the periods that the order
is responsible for (t + lead .. t + lead + review - 1). A label is hindsight: it reads the future on purpose and is
never an input of anything that decides.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from simulator.baselines import baseline_windows, incumbent
from simulator.ordering import ORDER_UP_TO, OrderRules, constrain, raw_order_quantity, rules_of
from simulator.panel import F32, F64, I64, Bools, Panel
from simulator.rates import Rates, evidence
from simulator.rollout import follow, replay_world, rollout


class Epochs(NamedTuple):
    """E decisions, each with what its cost curve follows from. Money and units as in the items table."""

    series: I64  # (E,) row of the panel
    period: I64  # (E,) t, at whose end the order is placed
    inventory_position: F64  # (E,) units before ordering
    stock_before_arrival: F64  # (E,) units left at the end of t + lead - 1
    demand: F64  # (E, R) units in the responsible periods; 0 behind the review period
    review: I64  # (E,) responsible periods, at most R
    daily_rate: F64  # (E,) units a day known at the end of t
    incumbent_days: F64  # (E,) the incumbent's target, in days


def label_demand(panel: Panel, *, recovered: bool) -> tuple[F64, Bools]:
    """(N, T) the demand that labels replay, and where it is known.

    Recovered demand scales sales up by the time in stock; a period that was hardly in stock is unknown.
    """
    sold = np.nan_to_num(panel.units_sold).astype(np.float64)
    found = evidence(panel.units_sold, panel.in_stock, panel.promotion * 0, panel.open)
    closed = panel.open == 0
    known = (found.seen > 0) | (closed & np.isfinite(panel.units_sold))
    return (np.where(found.seen > 0, found.demand, sold) if recovered else sold), known


def epochs_of(panel: Panel, rates: Rates, periods: range, *, recovered: bool = True) -> Epochs:
    """Every review in `periods` whose responsible periods also lie inside it.

    Args:
        panel: the dataset; its incumbent is replayed from `periods.start` on.
        rates: daily rates of the panel.
        periods: replayed window.
        recovered: label on demand recovered from stock-outs, else on raw sales.

    Returns:
        Epochs without those whose lead time or responsible periods contain unknown demand.
    """
    demand, known = label_demand(panel, recovered=recovered)
    rules = rules_of(panel)
    window = slice(periods.start, periods.stop)
    world = replay_world(panel, periods, rules)._replace(demand=demand[:, window])
    targets = incumbent(panel, periods)
    record = rollout(world, follow(targets))
    ordered, received = record.order_quantity.cumsum(axis=1), record.received.cumsum(axis=1)
    position = record.on_hand + ordered - received - record.order_quantity  # before ordering, at each period's end

    lead, review = panel.lead_periods, panel.review_periods
    last = len(periods) - (lead + review)
    due = world.review_due & (np.arange(len(periods))[None, :] <= last[:, None])
    unknown = np.cumsum(np.pad(~known[:, window], ((0, 0), (1, 0))), axis=1)
    n, t = np.nonzero(due)
    clean = unknown[n, t + lead[n] + review[n]] == unknown[n, t + 1]
    rate = rates.daily_rate[:, window]
    keep = clean & (rate[n, t] > 0)
    n, t = n[keep], t[keep]
    steps = np.arange(int(review.max(initial=1)))
    ahead = np.minimum((t + lead[n])[:, None] + steps, len(periods) - 1)
    inside = steps[None, :] < review[n][:, None]
    return Epochs(
        series=n,
        period=t + periods.start,
        inventory_position=position[n, t],
        stock_before_arrival=record.on_hand[n, t + lead[n] - 1],
        demand=np.where(inside, world.demand[n[:, None], ahead], 0.0),
        review=review[n],
        daily_rate=rate[n, t],
        incumbent_days=targets[n, t] / rate[n, t],
    )


def cost_curves(panel: Panel, epochs: Epochs, days: F64, rules: OrderRules | None = None,
                ordering_mode: str = ORDER_UP_TO) -> F64:  # fmt: skip
    """(E, V) holding plus lost-sale cost, in currency, of every candidate number of days.

    Exact, not a model: the order is placed under the item's rules, arrives on the stock that stood there, and meets
    the real demand of the periods it is responsible for. Earlier and later orders do not depend on it there.
    """
    rules = (rules_of(panel) if rules is None else rules).take(epochs.series)
    wide = rules.take((slice(None), None))  # (E, 1)
    target = epochs.daily_rate[:, None] * days[None, :]
    position = np.broadcast_to(epochs.inventory_position[:, None], target.shape)
    raw = raw_order_quantity(target, position, ordering_mode)
    available = epochs.stock_before_arrival[:, None] + constrain(raw, position, wide).order_quantity
    held = np.zeros_like(available)
    sold = np.zeros(len(epochs.series))
    for step in range(epochs.demand.shape[1]):
        sold = sold + epochs.demand[:, step]
        held += np.maximum(available - sold[:, None], 0.0) * (step < epochs.review)[:, None]
    lost = np.maximum(sold[:, None] - available, 0.0)
    items = panel.items
    holding = (items.holding_cost_per_day * panel.period_days)[epochs.series]
    return np.asarray(held * holding[:, None] + lost * items.lost_sale_cost[epochs.series][:, None])


def best_days(curves: F64 | F32, days: F64) -> F64:
    """(E,) the cheapest candidate; among equals the smallest."""
    return np.asarray(days[np.argmin(curves, axis=1)])


def history_window(panel: Panel, end: int) -> range:
    """From where the baselines' window is full (half of it on a short history) to the period before `end`."""
    warm = min(baseline_windows(panel.period_days)[1], max(end // 4, 1))
    return range(warm, end)


def with_offset(panel: Panel, offset: int) -> Panel:
    """The panel with every review moved `offset` days on."""
    items = replace(panel.items, review_offset_days=panel.items.review_offset_days + offset)
    return replace(panel, items=items)
