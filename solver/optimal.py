"""Small lost-sales problems solved exactly: oracles that simulators and learned policies are held against.

One item, whole units, independent demand of a known distribution, an order at the end of every period, no fixed cost:
the long-run average cost per period of a base-stock policy, of a capped one, and of the best policy there is. All three
come out of one relative value iteration, whose smallest and largest increments bound the answer from both sides.

The clock is `arrive-sell-count-order` (`simulator/clock.py`). Textbooks let an order placed after the receipt in t
arrive L later; that order is placed one step earlier here, at the end of t - 1, so their L is `lead_time` = L + 1.

It does not know panels, series, inventory days or learned policies, and it is meant for lead times up to about five.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
from scipy.stats import poisson

from simulator.panel import F64, I64

DAMPING = 0.95  # below 1, so that a periodic chain settles too
MOST_ITERATIONS = 20_000
MOST_PLACES = 5_000_000  # entries of the value table; 40 MB


@dataclass(frozen=True)
class LostSales:
    """One item whose unmet demand is lost.

    `lead_time` counts periods on this project's clock and is 2 or more: with 1 no order is ever on its way when the
    next is placed, and the best policy is the newsvendor's.
    """

    holding_cost: float  # currency per unit left at a period's end, > 0
    lost_sale_cost: float  # currency per unit of demand not met, > 0
    lead_time: int  # periods, >= 2
    demand_pmf: tuple[float, ...]  # chance of a demand of 0, 1, 2, ... units in a period

    def __post_init__(self) -> None:
        for name in ("holding_cost", "lost_sale_cost"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        if self.lead_time < 2:
            raise ValueError(f"lead_time must be at least 2 (1 is the newsvendor problem), got {self.lead_time}")
        pmf = np.asarray(self.demand_pmf)
        if not (pmf >= 0).all() or abs(pmf.sum() - 1) > 1e-9:
            raise ValueError(f"demand_pmf must be chances >= 0 that sum to 1, got a sum of {pmf.sum()}")

    @property
    def mean_demand(self) -> float:
        """Units per period."""
        return float(np.arange(len(self.demand_pmf)) @ np.asarray(self.demand_pmf))


class CostBounds(NamedTuple):
    """What the long-run average cost lies between; currency per period."""

    lower: float
    upper: float

    @property
    def cost(self) -> float:
        """The middle."""
        return (self.lower + self.upper) / 2


class StockPolicy(NamedTuple):
    """Order up to `target_stock`, but never more than `max_order_qty` (= `target_stock` where there is no cap)."""

    target_stock: int  # units
    max_order_qty: int  # units
    bounds: CostBounds


class Limits(NamedTuple):
    """The box in which an optimal policy is looked for."""

    position: int  # units on hand and on order, after ordering
    order_quantity: int  # units in one order


class _States(NamedTuple):
    """Every state at a period's end, before ordering; N of them, whole units."""

    available: I64  # (N,) on hand plus what arrives at the start of the next period
    position: I64  # (N,) available plus the orders that arrive later
    place: I64  # (N,) index into the value table
    sold_out: I64  # (N,) index of the next state if all is sold and nothing ordered
    stride: int  # distance in the table between next states whose orders differ by one unit
    places: int


def poisson_pmf(mean: float) -> tuple[float, ...]:
    """Poisson chances of 0, 1, 2, ... units, up to where a tail of less than 1e-15 is left out.

    Raises:
        ValueError: if the mean is not positive and finite.
    """
    if not 0 < mean < np.inf:
        raise ValueError(f"mean must be positive and finite, got {mean}")
    pmf = poisson.pmf(np.arange(int(poisson.isf(1e-15, mean)) + 2), mean)
    return tuple((pmf / pmf.sum()).tolist())


def optimal_cost(problem: LostSales, gap: float = 1e-6, margin: int = 0) -> CostBounds:
    """The least long-run average cost of any policy, by relative value iteration.

    Args:
        problem: costs, demand and lead time.
        gap: currency per period; iteration stops when the bounds are this close.
        margin: units by which to widen the box of `limits` in both directions, to see that it does not bind.

    Returns:
        Bounds on the optimum within the box. The upper one holds without the box too: its policies are policies.

    Raises:
        ValueError: if `gap` is not reached, or the value table would grow beyond MOST_PLACES.

    Source: the bounds are Odoni's (1969, Operations Research 17), see Puterman, Markov Decision Processes, 8.5.
    """
    box = limits(problem)
    states = _states(problem.lead_time, box.position + margin, box.order_quantity + margin)
    most = np.minimum(box.position + margin - states.position, box.order_quantity + margin)
    return _relative_values(problem, states, np.zeros_like(most), most, gap, np.inf)


def limits(problem: LostSales) -> Limits:
    """How much stock and how large an order can be worth having.

    The k-th unit of an order sells on arrival only if that period's demand reaches k, and the n-th unit of the position
    only if the demand of `lead_time` periods reaches n: both are cut at a newsvendor's quantile, generously, a missing
    unit counting the lost sale and `lead_time` - 1 periods of holding. That an optimal policy needs only a compact set
    of states is known (Zipkin 2008, Operations Research 56(5)); that this box contains it is checked by widening the
    box (`margin`), not proved.
    """
    pmf = np.asarray(problem.demand_pmf)
    missing = problem.lost_sale_cost + problem.holding_cost * (problem.lead_time - 1)
    ratio = missing / (missing + problem.holding_cost)
    covered = pmf
    for _ in range(problem.lead_time - 1):
        covered = np.convolve(covered, pmf)
    return Limits(*(int(np.searchsorted(np.cumsum(chances), ratio)) for chances in (covered, pmf)))


def policy_cost(
    problem: LostSales, target_stock: int, max_order_qty: int | None = None, gap: float = 1e-6
) -> CostBounds:
    """The long-run average cost of ordering min(max_order_qty, target_stock - position) at the end of every period.

    Args:
        problem: costs, demand and lead time.
        target_stock: units, >= 0; on hand and on order after ordering.
        max_order_qty: units, >= 0; None is a base-stock policy without a cap.
        gap: currency per period; iteration stops when the bounds are this close.

    Raises:
        ValueError: for a negative number of units, or as `optimal_cost` does.
    """
    most = target_stock if max_order_qty is None else max_order_qty
    for name, units in (("target_stock", target_stock), ("max_order_qty", most)):
        if units < 0:
            raise ValueError(f"{name} must be at least 0, got {units}")
    return _policy_bounds(problem, target_stock, most, gap, np.inf)


def best_base_stock(problem: LostSales, gap: float = 1e-6) -> StockPolicy:
    """The cheapest base-stock policy of all: targets above the range searched cost more in holding alone."""
    mean = problem.mean_demand
    never_ordering = problem.lost_sale_cost * mean
    most = int(problem.lead_time * mean + never_ordering / problem.holding_cost) + 1
    return _cheapest(problem, ((target, target) for target in range(most + 1)), gap)


def best_capped_base_stock(problem: LostSales, gap: float = 1e-6) -> StockPolicy:
    """The cheapest pair of target and cap with targets up to the position of `limits`; every pair is looked at.

    Source: Xin (2021), Understanding the performance of capped base-stock policies in lost-sales inventory models,
    Operations Research 69.
    """
    targets = reversed(
        range(limits(problem).position + 1)
    )  # from above: the small ones are dear and then dropped early
    pairs = ((target, most) for target in targets for most in range(min(target, 1), target + 1))
    return _cheapest(problem, pairs, gap)


def _cheapest(problem: LostSales, pairs: Iterable[tuple[int, int]], gap: float) -> StockPolicy:
    """The cheapest (target, cap); a pair is dropped as soon as its lower bound exceeds the best upper one."""
    best = StockPolicy(0, 0, CostBounds(np.inf, np.inf))
    for target, most in pairs:
        if _floor(problem, target, most) <= best.bounds.upper:
            bounds = _policy_bounds(problem, target, most, gap, best.bounds.upper)
            if bounds.upper < best.bounds.upper:
                best = StockPolicy(target, most, bounds)
    return best


def _floor(problem: LostSales, target: int, most: int) -> float:
    """A cost no policy of this target and cap can beat.

    Sales of `lead_time` periods come out of the target, and a period's sales out of its order. Without a cap the
    position is the target after every order, so the stock left is at least the target less `lead_time` demands.
    """
    mean, lead = problem.mean_demand, problem.lead_time
    lost = max(mean - min(most, target / lead), 0.0)
    held = max(target - lead * mean, 0.0) if most >= target else 0.0
    return problem.lost_sale_cost * lost + problem.holding_cost * held


def _policy_bounds(problem: LostSales, target: int, most: int, gap: float, above: float) -> CostBounds:
    """Bounds on one policy's cost: value iteration in which each state has a single order to choose from."""
    states = _states(problem.lead_time, target, min(most, target))
    order = np.minimum(target - states.position, most)
    return _relative_values(problem, states, order, order, gap, above)


def _states(lead_time: int, position: int, order_quantity: int) -> _States:
    """All states with at most `position` units in sight and no order above `order_quantity`."""
    shape = (position + 1,) + (order_quantity + 1,) * (lead_time - 2)
    places = int(np.prod([float(length) for length in shape]))
    if places > MOST_PLACES:
        raise ValueError(f"lead_time {lead_time} with {position} units needs {places} values, limit {MOST_PLACES}")
    units = np.indices(shape).reshape(len(shape), -1)
    units = units[:, units.sum(axis=0) <= position]  # (lead_time - 1, N)
    strides = np.cumprod((1, *shape[:-1]))  # available runs fastest: the successors over demand lie side by side
    return _States(
        available=np.ascontiguousarray(units[0]),
        position=units.sum(axis=0),
        place=strides @ units,
        sold_out=strides[:-1] @ units[1:],  # one period on, every order has moved up a place
        stride=int(strides[-1]),
        places=places,
    )


def _one_period(problem: LostSales, position: int) -> tuple[F64, F64]:
    """Chances (X, X) that `x` available units leave `y`, and the expected cost (X,) of the period."""
    units = np.arange(position + 1)
    pmf = np.zeros(position + 1)
    known = min(len(problem.demand_pmf), position + 1)
    pmf[:known] = problem.demand_pmf[:known]
    sold = units[:, None] - units[None, :]
    leaves = np.where(sold >= 0, pmf[np.maximum(sold, 0)], 0.0)
    leaves[:, 0] = 1 - leaves[:, 1:].sum(axis=1)
    left = leaves @ units
    return leaves, problem.holding_cost * left + problem.lost_sale_cost * (problem.mean_demand - (units - left))


@numba.njit(fastmath={"reassoc"})  # type: ignore[untyped-decorator]
def _improve(value, available, sold_out, least, most, stride, leaves, cost, improved):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    # Everything sold leaves the next state at `first`, y units left the one y places on.
    for n in range(available.shape[0]):
        x = available[n]
        best = np.inf
        for order in range(least[n], most[n] + 1):
            first = sold_out[n] + order * stride
            later = 0.0
            for y in range(x + 1):
                later += leaves[x, y] * value[first + y]
            best = min(best, later)
        improved[n] = cost[x] + best


def _relative_values(
    problem: LostSales, states: _States, least: I64, most: I64, gap: float, above: float
) -> CostBounds:
    """Value iteration until the bounds are `gap` apart, or until the lower one exceeds `above`.

    Whatever the values, the smallest and the largest of one improvement's increments bound the average cost of the
    best choice of orders between `least` and `most`, so the result needs no faith in convergence.
    """
    if not gap > 0:
        raise ValueError(f"gap must be positive, got {gap}")
    leaves, cost = _one_period(problem, int(states.position.max()))
    value = np.zeros(states.places)
    improved = np.empty(len(states.place))
    for _ in range(MOST_ITERATIONS):
        _improve(value, states.available, states.sold_out, least, most, states.stride, leaves, cost, improved)
        increment = improved - value[states.place]
        bounds = CostBounds(float(increment.min()), float(increment.max()))
        if bounds.upper - bounds.lower <= gap or bounds.lower > above:
            return bounds
        value[states.place] += DAMPING * (increment - increment[0])
    raise ValueError(f"gap {gap} not reached in {MOST_ITERATIONS} iterations, bounds {bounds.lower} to {bounds.upper}")
