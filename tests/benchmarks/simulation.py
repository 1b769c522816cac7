"""Forward simulation and the candidate sweep, by us and by others, on the same demand.

Every contestant's result is compared with the reference rollout (or, in the sweep, with our table) before anything is
timed, so that the work really is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numba
import numpy as np

from orpr.progress import Report
from simulator.ordering import ORDER_UP_TO, OrderRules
from simulator.panel import F64, I64, Bools
from simulator.rollout import Trajectory, World, follow, rollout
from simulator.step import State
from simulator.sweep import replay as compiled
from simulator.sweep import replay_totals, sweep
from tests.benchmarks.peers import peers
from tests.benchmarks.replays import Replay, Totals, plain_numpy, python_loop, random_replay
from tests.benchmarks.rows import OURS, Contestant, Measured, race


class Sizes(NamedTuple):
    """How much each contestant gets to do."""

    periods: int
    replay: int  # series
    python_loop: int  # series, and so on
    stockpyl: int
    or_gym_inventory: int
    sweep: int
    sweep_plain: int
    candidates: int  # 1 to this many days


CHUNK = 200  # series that plain NumPy sweeps at once: about what fits the cache of a core
FULL = Sizes(90, 10_000, 1_000, 20, 100, 70_210, 2_000, 90)
QUICK = Sizes(30, 200, 20, 2, 5, 300, 250, 10)


def simulation(sizes: Sizes, repeats: int, report: Report) -> list[Measured]:
    """Both works."""
    return [*replaying(sizes, repeats, report), *sweeping(sizes, repeats, report)]


def replaying(sizes: Sizes, repeats: int, report: Report) -> list[Measured]:
    """One base-stock rule over every series, by everybody who is installed, on one core."""
    replay = random_replay(sizes.replay, sizes.periods)
    world = replay_world(replay)
    reference = rollout(world, follow(targets_of(replay)))
    few = replay.first(sizes.python_loop)
    contestants = [
        Contestant(OURS, compiled_totals(replay), replay.steps,
                   "compiled `replay_totals`: whole units; stock, lost sales, stock-outs, waste. Its other rules are not in use here."),
        Contestant("orpr, trajectory", compiled_replay(replay), replay.steps,
                   "compiled `replay`: the same, and every period's stock, sales, receipts and orders are kept."),
        Contestant("orpr, NumPy", reference_replay(replay), replay.steps,
                   "the reference `rollout`, step by step: the same, for any policy."),
        Contestant("plain NumPy", lambda: plain_totals(replay), replay.steps,
                   "a loop over periods as a user would write it: base stock only, totals only."),
        Contestant("plain Python", lambda: python_loop(few), few.steps,
                   f"two loops and a deque, {few.series_count:,} of the series."),
        *peers(replay, reference.sales, sizes.stockpyl, sizes.or_gym_inventory),
    ]  # fmt: skip
    work = f"replay of a base-stock rule, {replay.series_count:,} series x {sizes.periods} periods, one core"
    return race(work, "SKU-periods", contestants, repeats, report, agreeing_with(reference))


def agreeing_with(reference: Trajectory) -> Callable[[str, Totals | Trajectory], None]:
    """A check that raises where a contestant's totals are not those of the reference."""
    true = totals_of(reference)

    def agree(who: str, found: Totals | Trajectory) -> None:
        found = totals_of(found) if isinstance(found, Trajectory) else found
        np.testing.assert_allclose(found.held, true.held[found.series], rtol=1e-6, err_msg=who)
        np.testing.assert_allclose(found.lost_sales, true.lost_sales[found.series], rtol=1e-6, atol=1e-6, err_msg=who)

    return agree


def totals_of(record: Trajectory) -> Totals:
    """What a whole trajectory comes to."""
    return Totals(np.arange(len(record.on_hand)), record.on_hand.sum(axis=1), record.lost_sales.sum(axis=1))


def sweeping(sizes: Sizes, repeats: int, report: Report) -> list[Measured]:
    """Every candidate for every series."""
    world, rate = sweep_world(sizes.sweep, sizes.periods)
    days = np.arange(1.0, sizes.candidates + 1)
    few, cores, all_steps = slice(sizes.sweep_plain), numba.get_num_threads(), world.demand.size * len(days)
    table = sweep(world.take(few), rate[few], days, ORDER_UP_TO)

    def agree(who: str, found: tuple[F64, ...]) -> None:
        for mine, theirs in zip(table[:2], found[:2], strict=True):
            np.testing.assert_allclose(theirs[few], mine, rtol=1e-5, atol=1e-5, err_msg=who)

    def one_core_sweep() -> tuple[F64, ...]:
        with one_core():
            return sweep(world, rate, days, ORDER_UP_TO)

    contestants = [
        Contestant(OURS, lambda: sweep(world, rate, days, ORDER_UP_TO), all_steps,
                   f"compiled, {cores} threads; single precision; orders in whole packs, counts stock-outs and waste. Its other rules are not in use here."),
        Contestant("orpr, one core", one_core_sweep, all_steps),
        Contestant("plain NumPy", plain_sweep(world, rate, days, sizes.sweep_plain), sizes.sweep_plain * sizes.periods * len(days),
                   f"one core; the first {sizes.sweep_plain:,} series, {CHUNK} at a time, which is what its arrays like best."),
    ]  # fmt: skip
    work = f"sweep, {sizes.sweep:,} series x {sizes.periods} periods x {len(days)} candidates"
    return race(work, "steps", contestants, repeats, report, agree)


def plain_sweep(world: World, rate: F64, days: F64, series: int) -> Callable[[], tuple[F64, F64]]:
    """The plain NumPy loop over all candidates of the first series, a cache-sized chunk at a time; tables (series, V)."""
    chunks = []
    for start in range(0, series, CHUNK):
        part = world.take(slice(start, min(start + CHUNK, series)))
        target = np.ceil(rate[start : start + len(part.lead_time), :1] * days)
        opening = np.broadcast_to(part.initial.on_hand[:, None], target.shape)
        demand, due = part.demand.T[:, :, None].copy(), part.review_due.T[:, :, None].copy()
        chunks.append((demand, part.lead_time, target, opening, due))

    def run() -> tuple[F64, F64]:
        tables = [plain_numpy(*chunk) for chunk in chunks]
        return np.concatenate([held for held, _ in tables]), np.concatenate([lost for _, lost in tables])

    return run


def compiled_totals(replay: Replay) -> Callable[[], Totals]:
    """Our fastest replay of one rule, on one core."""
    world, targets = replay_world(replay), replay.target_stock

    def run() -> Totals:
        with one_core():
            found = replay_totals(world, targets, ORDER_UP_TO)
        return Totals(replay.all_series, found.stock, found.lost_sales)

    return run


def compiled_replay(replay: Replay) -> Callable[[], Trajectory]:
    """The same with the whole trajectory, into memory that it has had before."""
    world, targets = replay_world(replay), targets_of(replay)
    record = Trajectory(*(np.empty(replay.demand.shape) for _ in Trajectory._fields))

    def run() -> Trajectory:
        with one_core():
            return compiled(world, targets, ORDER_UP_TO, out=record)

    return run


def reference_replay(replay: Replay) -> Callable[[], Trajectory]:
    """Our NumPy replay of any policy."""
    world, targets = replay_world(replay), targets_of(replay)
    return lambda: rollout(world, follow(targets))


def plain_totals(replay: Replay) -> Totals:
    """The plain NumPy loop, handed its demand the way it likes it best."""
    held, lost = plain_numpy(replay.demand_by_period, replay.lead_time, replay.target_stock, replay.target_stock)
    return Totals(replay.all_series, held, lost)


def targets_of(replay: Replay) -> F64:
    """(N, T) units."""
    return np.repeat(replay.target_stock[:, None], replay.demand.shape[1], axis=1)


def replay_world(replay: Replay) -> World:
    """The same replay as a world of ours: a review every period, whole units."""
    return World(replay.demand, np.ones(replay.demand.shape, dtype=bool), replay.lead_time,
                 whole_units(replay.series_count), State(replay.target_stock, empty_pipeline(replay.lead_time)))  # fmt: skip


def sweep_world(series: int, periods: int) -> tuple[World, F64]:
    """Poisson demand at 0.25 to 10 units a day, lead times 1 to 9, reviews every 1 to 7 periods; and its daily rate (N, T)."""
    rng = np.random.default_rng(0)
    rate = np.repeat(rng.integers(1, 41, (series, 1)) / 4, periods, axis=1)
    review = rng.integers(1, 8, series)
    due: Bools = np.arange(periods)[None, :] % review[:, None] == 0
    lead: I64 = rng.integers(1, 10, series)
    demand = rng.poisson(rate).astype(np.float64)
    return World(demand, due, lead, whole_units(series), State(np.full(series, 20.0), empty_pipeline(lead))), rate


def whole_units(series: int) -> OrderRules:
    """Orders in whole units and no other constraint."""
    none, most = np.zeros(series), np.full(series, np.inf)
    return OrderRules(none, none + 1, most, none, most)


def empty_pipeline(lead_time: I64) -> F64:
    """Nothing on order."""
    return np.zeros((len(lead_time), int(lead_time.max())))


@contextmanager
def one_core() -> Iterator[None]:
    """Compiled code on one thread while inside."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(before)
