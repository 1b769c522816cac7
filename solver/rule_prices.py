"""What a supplier's rule costs: the price of a pack size, a minimum, an order day, a day of lead time.

Both sides are hindsight: each series takes the constant days that would have been cheapest under the rule and, once more,
without it, from the same opening stock. So a price is what the rule itself costs a planner who decides well, not
what a present policy makes of it. A price a little below zero is an accident of the window: rounding up to packs happened
to suit it better than any constant days without them. It is a list to negotiate with, not an input of anything that decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from simulator.metrics import waste_cost
from simulator.ordering import ORDER_UP_TO, rules_of
from simulator.panel import F64, Bools, Items, Panel
from simulator.rates import Rates
from simulator.rollout import opening_stock, replay_world
from simulator.sweep import sweep_chunks
from solver.candidates import replayed_rates

WEEK = "1234567"


class Relaxation(NamedTuple):
    """One rule, and the panels in which it is a step less strict."""

    instead: str  # what is compared with, in words
    concerned: Callable[[Panel], Bools]  # (N,) which series have the rule
    relaxed: Callable[[Panel], Iterator[Panel]]  # the cheapest of these counts


def _without(column: str, value: float) -> Callable[[Panel], Iterator[Panel]]:
    def relaxed(panel: Panel) -> Iterator[Panel]:
        yield _with_items(panel, **{column: np.full(panel.series_count, value)})

    return relaxed


def _with_items(panel: Panel, **columns: object) -> Panel:
    items: Items = replace(panel.items, **columns)  # type: ignore[arg-type]
    return replace(panel, items=items)


def _more_order_days(panel: Panel) -> Iterator[Panel]:
    """One weekday more where weekdays are given, whichever is best, used every week; else a shorter review period."""
    items = panel.items
    given = np.array([bool(days) for days in items.order_weekdays])
    often = np.array([7 // (len(set(days)) + 1) if days else 7 for days in items.order_weekdays])
    shorter = np.where(
        given, np.minimum(items.review_period_days, often), (panel.review_periods - 1) * panel.period_days
    )
    shorter = np.maximum(shorter, panel.period_days)
    if not given.any():
        yield _with_items(panel, review_period_days=shorter)
        return
    for day in WEEK:
        more = np.array(["".join(sorted({*days, day})) if days else "" for days in items.order_weekdays], dtype=object)
        yield _with_items(panel, review_period_days=shorter, order_weekdays=more)


def _earlier(panel: Panel) -> Iterator[Panel]:
    lead = np.maximum(panel.lead_periods - 1, 1) * panel.period_days
    yield _with_items(panel, lead_time_days=lead)


def _has_order_days(panel: Panel) -> Bools:
    given = np.array([days != "" for days in panel.items.order_weekdays])
    all_week = np.array([set(days) == set(WEEK) for days in panel.items.order_weekdays])
    return np.asarray(np.where(given, ~all_week, panel.review_periods > 1))


RELAXATIONS = {
    "order_multiple": Relaxation(
        "any whole quantity", lambda p: p.items.order_multiple > (1 if p.discrete else 0), _without("order_multiple", 0)
    ),
    "min_order_qty": Relaxation(
        "no minimum", lambda p: np.nan_to_num(p.items.min_order_qty) > 0, _without("min_order_qty", 0)
    ),
    "max_order_qty": Relaxation(
        "no maximum", lambda p: np.nan_to_num(p.items.max_order_qty) > 0, _without("max_order_qty", np.nan)
    ),
    "order_day": Relaxation("an order weekday more, or a review period a period shorter", _has_order_days, _more_order_days),
    "lead_time_days": Relaxation("a period less", lambda p: p.lead_periods > 1, _earlier),
}  # fmt: skip


def cheapest_cost(panel: Panel, rate: F64, periods: range, days: F64, initial: F64) -> F64:
    """(N,) currency over the window: the cost of each series' best constant days from a given opening stock."""
    world = replay_world(panel, periods, rules_of(panel), initial, daily_rate=rate)
    items = panel.items
    holding, losing = items.holding_cost_per_day * panel.period_days, items.lost_sale_cost
    wasting = waste_cost(items)
    best = np.empty(panel.series_count)
    for rows, table in sweep_chunks(world, rate, days, ORDER_UP_TO):
        cost = holding[rows, None] * table.stock + losing[rows, None] * table.lost_sales
        best[rows] = (cost + wasting[rows, None] * table.wasted).min(axis=1)
    return best


def price_of_a_rule(panel: Panel, rates: Rates, periods: range, days: F64, rule: str) -> F64:
    """(N,) currency a year that one rule costs each series; NaN where a series has no such rule.

    Args:
        panel, rates: the dataset and its daily rates.
        periods: the window replayed; a whole year or more is worth more than a few weeks.
        days: (V,) candidate inventory days.
        rule: a key of `RELAXATIONS`.

    Raises:
        ValueError: for an unknown rule.
    """
    if rule not in RELAXATIONS:
        raise ValueError(f"rule must be one of {', '.join(RELAXATIONS)}, got {rule!r}")
    relaxation = RELAXATIONS[rule]
    concerned = np.flatnonzero(relaxation.concerned(panel))
    price = np.full(panel.series_count, np.nan)
    if not len(concerned):
        return price
    part = panel.take(concerned)
    rate = replayed_rates(rates, periods)[concerned]
    initial = opening_stock(part, periods.start)
    present = cheapest_cost(part, rate, periods, days, initial)
    without = np.min([cheapest_cost(panel, rate, periods, days, initial) for panel in relaxation.relaxed(part)], axis=0)
    price[concerned] = (present - without) * 365 / (len(periods) * panel.period_days)
    return price
