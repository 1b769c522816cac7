"""What a sampled number of days is worth: against the label, in the simulator against another action, and to the whole
portfolio.

The paper's Pareto reward judges each series by itself, where less stock nearly always costs some service, so it seldom
speaks and mostly for less. The portfolio's reward judges by what turnover days and the in-stock rate are made of: stock
and stock-outs added up over all series, at the rate at which scaling every action trades one for the other. Days then
move to where they buy most service, and both numbers can improve at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from simulator.ordering import ORDER_UP_TO, constrain, raw_order_quantity, rules_of
from simulator.panel import F32, F64, I64
from simulator.rollout import World
from simulator.step import State
from simulator.sweep import replay_totals
from training.config import AlignConfig
from training.dataset import Copy
from training.model import Context

AT_ONCE = 1024
LEAST_CHANGE = 0.25  # days; a smaller change against the incumbent has no sign
NUDGE = 0.05  # by which all actions are scaled to find what stock-outs are worth


class Prices(NamedTuple):
    """What the portfolio's reward charges; a reward of 0.01 is one per cent of the average decision's stock."""

    stock: float = 0.0  # a unit-period
    stockout: float = 0.0  # a period with a lost sale


class Traces(NamedTuple):
    """M decisions of one copy, with what was read before each."""

    copy: Copy
    chosen: I64  # (M,) decisions of the copy
    context: Context
    x: dict[str, Tensor]  # what the small half reads besides
    reference: F64  # (M,) days, the label
    incumbent: F64  # (M,) days
    rival: F64  # (M,) days that the simulator holds samples against
    prices: Prices
    grid: F64  # (V,) days that the curves are over

    @property
    def size(self) -> int:
        return len(self.chosen)

    def weight_of(self, rows: I64) -> F32:
        """(B,) weight of some decisions, mean 1 over the copy."""
        return self.copy.weight[self.chosen[rows]]


class Advice(NamedTuple):
    """M decisions of experts, with what was read before each. Nothing simulates them: what came of them may not be known yet."""

    context: Context
    x: dict[str, Tensor]  # what the small half reads besides
    reference: F64  # (M,) days, the expert's
    incumbent: F64  # (M,) days, the policy's own at the time
    interval: F64  # (M,) days that the order has to last
    weight: F32  # (M,) mean 1

    @property
    def size(self) -> int:
        return len(self.reference)

    def weight_of(self, rows: I64) -> F32:
        """(B,) weight of some decisions."""
        return self.weight[rows]


class Actions(NamedTuple):
    """What a policy does in B decisions."""

    days: F64  # (B, k) sampled, values of the grid
    mean: F64  # (B,) of its distribution, which is what is deployed


class Rewards(NamedTuple):
    """(B, k) each."""

    rule: F64
    pareto: F64  # +1 where turnover and lost sales are no worse than the rival's and one is better
    saving: F64  # days of lost sales that the sample saves against the rival, per period
    portfolio: F64  # stock and stock-outs saved against the rival, at the portfolio's prices
    curve: F64  # minus the cost of the order's own periods, days of lost sales


class Outcome(NamedTuple):
    """What followed an order; (B, k) each."""

    stock: F64  # unit-periods
    lost: F64  # units
    stockouts: F64  # periods with a lost sale
    cost: F64  # days of lost sales per period


def rule_reward(days: F64, reference: F64, incumbent: F64, interval: F64, alpha: float, gamma: float) -> F64:
    """(B, k) minus the focal, sign-aware loss of section 3.2.1.

    Args:
        days: (B, k) sampled.
        reference: (B,) days of the label or the expert.
        incumbent: (B,) days that changes are counted from.
        interval: (B,) days that an order has to last, the unit of errors.
        alpha: weight of a change in the wrong direction, above 1.
        gamma: how much small errors are turned down, at least 0.
    """
    change, wanted = days - incumbent[:, None], (reference - incumbent)[:, None]
    opposed = (change * wanted < 0) & (np.abs(change) >= LEAST_CHANGE) & (np.abs(wanted) >= LEAST_CHANGE)
    error = np.where(opposed, alpha, 1.0) * ((days - reference[:, None]) / interval[:, None]) ** 2
    return np.asarray(-((1.0 - np.exp(-error)) ** gamma) * error)


def pareto_reward(stock: F64, lost: F64, least_stock: F64, least_lost: F64) -> F64:
    """(B, k) 1 where a sample's (turnover, lost sales) dominates the reference's, -1 where it is dominated, else 0.

    Demand is the same for both, so mean stock stands for turnover days.
    """
    slack = 1e-6 * (1.0 + least_stock[:, None])
    worse = (stock > least_stock[:, None] + slack) | (lost > least_lost[:, None] + slack)
    better = (stock < least_stock[:, None] - slack) | (lost < least_lost[:, None] - slack)
    return (better & ~worse).astype(np.float64) - (worse & ~better)


def simulated(traces: Traces, rows: I64, days: F64, horizon: int) -> Outcome:
    """What follows an order.

    The order that `days` ask for is placed from the observed stock; later reviews follow the incumbent.

    Args:
        traces: the decisions.
        rows: (B,) of them.
        days: (B, k) inventory days to try.
        horizon: periods after the decision.
    """
    copy = traces.copy
    source, panel = copy.source, copy.source.panel
    chosen = traces.chosen[rows]
    series, t = np.repeat(copy.series[chosen], days.shape[1]), np.repeat(copy.period[chosen], days.shape[1])
    lead, review = panel.lead_periods[series], panel.review_periods[series]
    on_hand = np.repeat(copy.on_hand[chosen].astype(np.float64), days.shape[1])
    width = max(int(lead.max()), copy.arriving.shape[1])
    pipeline = np.zeros((len(series), width))
    pipeline[:, : copy.arriving.shape[1]] = np.repeat(copy.arriving[chosen], days.shape[1], axis=0)
    rate = source.rates.daily_rate[series, t]
    position = on_hand + pipeline.sum(axis=1)
    rules = rules_of(panel).take(series)
    order = constrain(raw_order_quantity(days.ravel() * rate, position, ORDER_UP_TO), position, rules).order_quantity
    pipeline[np.arange(len(series)), lead - 1] += order
    ahead = t[:, None] + 1 + np.arange(horizon)
    due = (np.arange(1, horizon + 1)[None, :] % review[:, None]) == 0
    demand = np.where(source.known[series[:, None], ahead], source.demand[series[:, None], ahead], 0.0)
    targets = np.where(due, copy.targets[series[:, None], ahead - copy.first], 0.0)
    world = World(demand, due, lead, rules, State(on_hand, pipeline))
    totals = replay_totals(world, targets, ORDER_UP_TO)
    items = panel.items
    unit = np.maximum(rate * panel.period_days, 1e-9)
    held = items.holding_cost_per_day[series] * panel.period_days / items.lost_sale_cost[series]
    cost = (held * totals.stock + totals.lost_sales) / (unit * horizon)
    columns = (totals.stock, totals.lost_sales, totals.stockout_periods, cost)
    return Outcome(*(column.reshape(days.shape) for column in columns))


def rewards(traces: Traces, rows: I64, actions: Actions, config: AlignConfig) -> Rewards:
    """All parts of the reward of sampled days (B, k)."""
    days = actions.days
    reference = traces.reference[rows]
    panel = traces.copy.source.panel
    series = traces.copy.series[traces.chosen[rows]]
    interval = ((panel.lead_periods + panel.review_periods - 1)[series] * panel.period_days).astype(np.float64)
    pareto = saving = portfolio = np.zeros(days.shape)
    if config.simulates:
        found = simulated(traces, rows, np.column_stack([days, traces.rival[rows]]), config.horizon)
        saved = Outcome(*(column[:, -1:] - column[:, :-1] for column in found))
        pareto = pareto_reward(found.stock[:, :-1], found.lost[:, :-1], found.stock[:, -1], found.lost[:, -1])
        saving = saved.cost
        portfolio = saved.stock * traces.prices.stock + saved.stockouts * traces.prices.stockout
    return Rewards(
        rule_reward(days, reference, traces.incumbent[rows], interval, config.alpha, config.gamma),
        pareto, saving, portfolio,
        -_on_curves(traces.copy.curves[traces.chosen[rows]], traces.grid, actions, config.near),
    )  # fmt: skip


def _on_curves(curves: F32, grid: F64, actions: Actions, near: float) -> F64:
    """(B, k) what sampled days cost, or by the slope between what a part of the way from the mean to them costs."""
    mean = actions.mean[:, None]
    at = np.clip(mean + near * (actions.days - mean), grid[0], grid[-1])
    above = np.clip(np.searchsorted(grid, at), 1, len(grid) - 1)
    share = (at - grid[above - 1]) / (grid[above] - grid[above - 1])
    low, high = (np.take_along_axis(curves, index, axis=1).astype(np.float64) for index in (above - 1, above))
    return ((1 - share) * low + share * high) / near


def portfolio_prices(traces: Traces, config: AlignConfig) -> Prices:
    """Prices at which scaling every rival action gains nothing, stock-outs then weighed by `config.service`.

    What is left to gain is moving days between decisions. The average decision's stock costs 1. Where scaling trades nothing, as
    stock is ample or packs are large, both are 0: a price of stock alone would only ask for less.
    """
    stock, stockouts = np.zeros(3), np.zeros(3)
    scales = np.array([1.0 - NUDGE, 1.0, 1.0 + NUDGE])
    for rows in np.array_split(np.arange(traces.size), traces.size // AT_ONCE + 1):
        found = simulated(traces, rows, traces.rival[rows][:, None] * scales, config.horizon)
        stock += found.stock.sum(axis=0)
        stockouts += found.stockouts.sum(axis=0)
    more, avoided = stock[2] - stock[0], stockouts[0] - stockouts[2]
    if not (stock[1] > 0 and more > 0 and avoided > 0):
        return Prices()
    each = traces.size / stock[1]
    return Prices(each, config.service * each * more / avoided)
