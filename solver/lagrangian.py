"""Labels for any number of series: the Lagrangian dual for the bulk, HiGHS for the few series that matter.

1. `maximise` climbs the dual of `dual.py`. Its value is a lower bound on the optimum whatever happens next.
2. At the best multipliers almost every series has a clear first choice. `closing.py` fixes those and lets HiGHS choose
   for the rest under what is left of the bounds; the objective it reaches and the lower bound are the certificate.

Nothing here knows where shards are held (`executors.py`) or what the rows mean (`constraints.py`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.panel import F64
from solver.candidates import CandidateTables
from solver.closing import close
from solver.constraints import Family, check_families, lost_sales_bound
from solver.dual import row_starts, shard_of
from solver.exact import least_excess
from solver.executors import Ask, Executor, LocalExecutor
from solver.solution import (
    SLACK,
    LabelInfeasible,
    LabelUnsolved,
    Solution,
    require_reachable,
    shortage,
    solution_of,
)

COLD, WARM, HARDEST = 0.03, 0.005, 0.003  # softness of the first pass from nowhere, from known multipliers, and at last
COOLING = 0.4
MOST_TRIALS = 6  # of one step's length
ENOUGH = 1e-3  # of what an average series costs: a step that promises less is the last
PRECISE = 1e-6  # of a shortage: what is worth a pass
FARTHEST = 1e3
PATIENCE = 3  # steps in a row that gained less
MOST_PASSES = 80


@dataclass(frozen=True)
class Effort:
    """When to stop.

    Attributes:
        gap: relative optimality gap that is good enough.
        time_limit_s: seconds that HiGHS gets in all; then the best choice so far is returned with the gap it has.
    """

    gap: float = 1e-6
    time_limit_s: float = 10.0

    def __post_init__(self) -> None:
        if self.gap < 0 or self.time_limit_s <= 0:
            raise ValueError(f"gap must be at least 0 and time_limit_s above 0, got {self.gap} and {self.time_limit_s}")


class Point(NamedTuple):
    """The dual at some multipliers."""

    multipliers: F64  # (M,)
    value: float  # L(multipliers)
    gradient: F64  # (M,) usage of the first choices minus bounds
    curvature: F64  # (M, M) positive semidefinite: how fast usage falls as multipliers rise


class Climb(NamedTuple):
    """The dual at its best multipliers."""

    multipliers: F64  # (M,)
    value: float  # L(multipliers)
    passes: int


class Lagrangian:
    """Tables spread over an executor once, solved for as many service levels as one likes.

    Each solve starts from the multipliers of the last.
    """

    def __init__(
        self, tables: CandidateTables, families: Sequence[Family] = (), executor: Executor | None = None
    ) -> None:
        """Hold the tables.

        Args:
            tables: stock and loss of every candidate.
            families: bounds besides that on lost sales.
            executor: where the passes run; this process unless told.
        """
        self._tables, self._families = tables, tuple(families)
        every = self._with_bound(0.0)
        check_families(tables.stock_value.shape, every)
        shard = shard_of(tables.stock_value, every)
        self._ask = (executor or LocalExecutor()).scatter(shard)
        self._spread = shard.spread.mean(axis=0)
        self._most = float(tables.stock_value.max(axis=1).sum(dtype=np.float64))
        self._accuracy = ENOUGH / max(len(tables.stock_value), 1)
        self._last: F64 | None = None

    def solve(self, alpha_loss: float, effort: Effort | None = None) -> Solution:
        """The choice of days with the least stock whose lost sales stay under SALE (1 - alpha_loss).

        Args:
            alpha_loss: required share of sales value, 0..1.
            effort: gap and time limit.

        Raises:
            LabelInfeasible: when the bounds cannot hold.
            LabelUnsolved: when the time was too short to find a choice.
        """
        effort = effort or Effort()
        families = self._with_bound(alpha_loss)
        require_reachable(families)
        bounds = np.concatenate([family.bounds for family in families])
        start, softness = (np.zeros(len(bounds)), COLD) if self._last is None else (self._last, WARM)
        climb = maximise(self._ask, bounds, self._units(families, 0), start=start, softness=softness,
                         accuracy=self._accuracy, ceiling=self._most)  # fmt: skip
        if climb.value > self._most * (1 + SLACK):
            self._doubt(families)
            raise LabelInfeasible(f"{', '.join(family.name for family in families)}: cannot hold together")
        closing = close(
            self._ask, self._tables.stock_value, families, climb.multipliers, climb.value, gap=effort.gap,
            deadline=time.monotonic() + effort.time_limit_s, doubt=lambda: self._doubt(families),
        )  # fmt: skip
        if closing.choice is None:
            if closing.bound == np.inf:
                raise least_excess(families, effort.time_limit_s)
            raise LabelUnsolved(f"no choice was found in {effort.time_limit_s:g} s")
        self._last = climb.multipliers
        starts = row_starts(families)
        multipliers = {
            family.name: climb.multipliers[a:][: len(family.bounds)]
            for family, a in zip(families, starts, strict=False)
        }
        return solution_of(self._tables, families, alpha_loss, closing.choice, closing.bound, multipliers, climb.passes)

    def _with_bound(self, alpha_loss: float) -> tuple[Family, ...]:
        return (lost_sales_bound(self._tables, alpha_loss), *self._families)

    def _units(self, families: Sequence[Family], yardstick: int) -> F64:
        """(M,) multipliers at which a row weighs as much as what `yardstick` prices, about."""
        own = [np.full(len(family.bounds), spread) for family, spread in zip(families, self._spread[1:], strict=True)]
        return np.asarray(self._spread[yardstick] / np.concatenate(own))

    def _doubt(self, families: Sequence[Family]) -> None:
        """Raise where the dual proves that families cannot hold together.

        Families join in their order until the dual without the rest rises above anything that stock can cost. By how
        much the last one misses is a dual of its own: its rows are priced between 0 and 1, those of the families
        before it freely, and stock not at all. The multipliers of the first climb, scaled, are its start.
        """
        starts = row_starts(families)
        bounds = np.concatenate([family.bounds for family in families])
        for k in range(1, len(families)):
            rows = slice(starts[k], starts[k + 1])
            top = np.zeros(len(bounds))
            top[: starts[k + 1]] = np.inf
            climb = maximise(self._ask, bounds, self._units(families, 0), start=np.zeros(len(bounds)), softness=COLD,
                             accuracy=self._accuracy, top=top, ceiling=self._most)  # fmt: skip
            if climb.value <= self._most * (1 + SLACK) or climb.multipliers[rows].max() <= 0:
                continue
            top[rows] = 1.0
            start = climb.multipliers / climb.multipliers[rows].max()
            least = maximise(self._ask, bounds, self._units(families, 1 + k), start=start, softness=COLD,
                             accuracy=PRECISE, top=top, yardstick=1 + k)  # fmt: skip
            priced = least.multipliers[rows]
            raise shortage(families[k], np.flatnonzero(priced >= priced.max() * (1 - 1e-6)), least.value, families[:k])


def solve_lagrangian(
    tables: CandidateTables, alpha_loss: float, families: Sequence[Family] = (), *, gap: float = 1e-6,
    time_limit_s: float = 10.0, executor: Executor | None = None,
) -> Solution:  # fmt: skip
    """`Lagrangian` for one service level; arguments and errors are its own."""
    return Lagrangian(tables, families, executor).solve(alpha_loss, Effort(gap, time_limit_s))


def maximise(
    ask: Ask, bounds: F64, units: F64, *, start: F64, softness: float, accuracy: float, top: F64 | None = None,
    ceiling: float = np.inf, yardstick: int = 0,
) -> Climb:  # fmt: skip
    """Climb the dual: Newton steps on its true value and supergradient, with the curvature of its softened form.

    A step that does not raise the dual is shortened to where the tangents at both its ends meet; the climb ends
    where no step promises enough.

    Args:
        ask: the shards.
        bounds: (M,) of all rows.
        units: (M,) magnitude of multipliers that weigh something; steps stay within `FARTHEST` of it.
        start: (M,) multipliers to start from.
        softness: of the first pass; later ones harden to `HARDEST`.
        accuracy: share of the dual's value that is worth a pass.
        top: (M,) largest multipliers; none where None.
        ceiling: ends the climb once the dual is above it.
        yardstick: what is priced; see `Shard.sums`.
    """
    top = np.full(len(bounds), np.inf) if top is None else top
    here = _evaluate(ask, start, bounds, softness, yardstick)
    passes, idle = 1, 0
    while passes < MOST_PASSES and here.value <= ceiling and idle < PATIENCE:
        worth = accuracy * abs(here.value)
        direction = newton_direction(here, top, FARTHEST * (units + here.multipliers))
        promise = float(here.gradient @ direction)
        softness, step, there = max(softness * COOLING, HARDEST), 1.0, here
        for _ in range(MOST_TRIALS if promise > 0 else 0):
            there = _evaluate(ask, np.clip(here.multipliers + step * direction, 0.0, top), bounds, softness, yardstick)
            passes += 1
            slope = float(there.gradient @ direction)
            if there.value > here.value or slope >= promise:
                break
            step = (there.value - here.value - step * slope) / (promise - slope)
        gained = there.value - here.value
        if gained <= 0:
            break
        here = there
        idle = idle + 1 if gained <= worth else 0
        if promise <= worth:
            break
    return Climb(here.multipliers, here.value, passes)


def newton_direction(point: Point, top: F64, farthest: F64) -> F64:
    """(M,) the step to the top of the quadratic model, where multipliers must stay between 0 and `top`.

    Multipliers that the step would push out of their range go to its edge, and the others are stepped anew. Where the
    dual shows hardly any curvature, steps are held to about `farthest`.
    """
    mu, gradient = point.multipliers, point.gradient
    bend = point.curvature + np.diag(1e-9 * np.diag(point.curvature) + np.abs(gradient) / farthest + 1e-300)
    step = np.zeros_like(mu)
    free = ~(((mu <= 0) & (gradient <= 0)) | ((mu >= top) & (gradient >= 0)))
    while free.any():
        inside, edge = np.flatnonzero(free), np.flatnonzero(~free)
        step[inside] = np.linalg.solve(
            bend[np.ix_(inside, inside)], gradient[inside] - bend[np.ix_(inside, edge)] @ step[edge]
        )
        low, high = free & (mu + step < 0), free & (mu + step > top)
        if not (low | high).any():
            break
        step[low], step[high] = -mu[low], (top - mu)[high]
        free &= ~(low | high)
    return step


def _evaluate(ask: Ask, multipliers: F64, bounds: F64, softness: float, yardstick: int) -> Point:
    """One pass over all shards; chunks are added in their order."""
    total = np.concatenate(ask("sums", multipliers, softness, yardstick)).sum(axis=0)
    count = len(bounds)
    return Point(
        multipliers=multipliers,
        value=float(total[0] - multipliers @ bounds),
        gradient=total[1 : 1 + count] - bounds,
        curvature=total[1 + count :].reshape(count, count),
    )
