"""The comparison of BENCHMARKS A: every method replays the same demand on the same clock from the same stock.

A method is a table of target stocks made from what could be seen; only the hindsight rows read the window itself and
are marked so. Nothing here knows files, bundles or services: a policy is a function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from simulator.metrics import (
    Metrics,
    SeriesTotals,
    UnitTotals,
    paired_ratio,
    series_totals,
    summarise,
    unit_totals,
    unit_totals_where,
)  # fmt: skip
from simulator.observation import ObservationSpec, Observer
from simulator.ordering import ORDER_UP_TO
from simulator.panel import F64, I64
from simulator.rollout import Trajectory, as_columns, rollout
from simulator.step import State
from simulator.sweep import replay as run_targets
from simulator.sweep import replay_totals
from training.methods import (
    GBM_STRONG,
    REFERENCE,
    Progress,
    Replay,
    method_names,
    method_targets,
    only_judged,
)
from training.segments import Segments, segments_of

# (observer, rows (B,), period t, state of these rows at the end of t) -> (B,) target stock in units
Decide = Callable[[Observer, I64, int, State], F64]
Ratio = tuple[float, float, float]  # of summed costs, with the ends of its paired 95 % interval


class Contender(NamedTuple):
    """One policy to replay. Contenders of one row are runs (seeds) of one recipe; the row is their mean."""

    row: str
    run: str
    decide: Decide


class Row(NamedTuple):
    """One method's results; ratios are total cost against a reference."""

    method: str
    metrics: Metrics
    against_or: float
    against_pto: Ratio
    against_gbm: Ratio


class Backtest(NamedTuple):
    """All methods on one window, or on several one after another."""

    replay: Replay  # the window; of several, the last, which the figures show
    windows: list[range]
    segments: Segments
    best_pto: str  # the cheapest base stock on past sales
    policy: str  # the row that the report is about: the first contender's; "" where there is none
    rows: list[Row]  # cheapest first
    totals: dict[str, SeriesTotals]  # by method
    targets: dict[str, F64]  # (N, T) by method; of a row with several runs, the first run's
    runs: dict[str, tuple[str, float]]  # run -> its row, and its total cost against the best PTO
    seed: int


def backtest(
    replays: Sequence[Replay], contenders: Sequence[Contender], progress: Progress, *, seed: int = 0,
    inventory: F64 | None = None,
) -> Backtest:  # fmt: skip
    """Replay every method over the window, or over each of several from a fresh opening stock.

    Where there are several, what happens before a series' first order can arrive is the same for all methods and comes
    back with every window; it is left out.

    Args:
        replays: the windows of one panel, in order; nothing is trained on them.
        contenders: the policies; those of one row are averaged.
        progress: called as (method, step, steps).
        seed: of the bootstrap and the boosted trees.
        inventory: (N, T) what really stood there, for the label's turnover; the incumbent is replayed where None.

    Raises:
        ValueError: where a contender's row has the name of another method.
    """
    for contender in contenders:
        if contender.row in method_names(replays[0].panel.period_days):
            raise ValueError(f"policy {contender.run}: {contender.row!r} is the name of another method")
    found = [
        _window(
            replay,
            contenders,
            partial(_of_several, progress, step, len(replays)),
            seed,
            inventory,
            after_opening=len(replays) > 1,
        )
        for step, replay in enumerate(replays)
    ]
    last = found[-1]
    totals = {
        name: series_totals(_summed([window.units[name] for window in found]), last.replay.panel.items,
                            last.replay.panel.period_days)
        for name in last.units
    }  # fmt: skip
    rows = _of_rows(totals, contenders)
    base_stocks = [name for name in totals if name.startswith("PTO") and name not in {c.run for c in contenders}]
    best_pto = min(base_stocks, key=lambda name: totals[name].total_cost.sum())
    least = totals[best_pto].total_cost.sum()
    runs = {c.run: (c.row, float(totals[c.run].total_cost.sum() / least)) for c in contenders}
    return Backtest(
        replay=last.replay,
        windows=[replay.periods for replay in replays],
        segments=segments_of(last.replay.panel, replays[0].periods.start),
        best_pto=best_pto,
        policy=contenders[0].row if contenders else "",
        rows=_rows(rows, best_pto, seed),
        totals=rows,
        targets=last.targets,
        runs=runs,
        seed=seed,
    )


def _of_rows(totals: dict[str, SeriesTotals], contenders: Sequence[Contender]) -> dict[str, SeriesTotals]:
    """Totals by row: of methods as they are, of contenders the mean of their row's runs."""
    runs = {contender.run for contender in contenders}
    rows = {name: found for name, found in totals.items() if name not in runs}
    for row in dict.fromkeys(contender.row for contender in contenders):
        several = [totals[contender.run] for contender in contenders if contender.row == row]
        rows[row] = SeriesTotals(*(np.mean(columns, axis=0) for columns in zip(*several, strict=True)))
    return rows


class _Window(NamedTuple):
    """What one window gave."""

    replay: Replay  # of the judged series
    units: dict[str, UnitTotals]  # by method and by run
    targets: dict[str, F64]  # by method and by row


def _window(
    replay: Replay, contenders: Sequence[Contender], progress: Progress, seed: int, inventory: F64 | None,
    *, after_opening: bool,
) -> _Window:  # fmt: skip
    """Every method and every run over one window."""
    targets = method_targets(replay, progress, seed, inventory)
    replay = only_judged(replay)
    units = {method: replay_totals(replay.world, target, ORDER_UP_TO) for method, target in targets.items()}
    observer = Observer(replay.panel, ObservationSpec(replay.panel.period_days), replay.rates)
    for step, contender in enumerate(contenders):
        if contender.run in units:
            raise ValueError(f"policy {contender.run!r} has the name of another method or run")
        record, target = replay_contender(replay, observer, contender.decide)
        units[contender.run] = unit_totals(record)
        targets.setdefault(contender.row, target)
        progress("policy", step + 1, len(contenders))
    if after_opening:
        opening = _opening(replay)
        units = {name: _without(total, opening) for name, total in units.items()}
    return _Window(replay, units, targets)


def _opening(replay: Replay) -> UnitTotals:
    """What happens to each series before its first order can arrive, whatever the method."""
    world = replay.world
    count = world.demand.shape[1]
    arrival = np.where(world.review_due, np.arange(count) + as_columns(world.lead_time), count)
    first = np.minimum(arrival.min(axis=1, initial=count), count)
    record = run_targets(world, np.zeros(world.demand.shape), ORDER_UP_TO)
    return unit_totals_where(record, np.arange(count)[None, :] < first[:, None])


def _without(units: UnitTotals, opening: UnitTotals) -> UnitTotals:
    rest = {name: whole - getattr(opening, name) for name, whole in units._asdict().items()}
    return UnitTotals(**rest)


def _summed(units: Sequence[UnitTotals]) -> UnitTotals:
    return UnitTotals(**{name: np.sum([getattr(one, name) for one in units], axis=0) for name in UnitTotals._fields})


def _of_several(progress: Progress, number: int, count: int, stage: str, step: int, steps: int) -> None:
    progress(stage, step, steps) if count == 1 else progress(f"{stage}, window {number + 1} of {count}", step, steps)


def replay_contender(replay: Replay, observer: Observer, decide: Decide) -> tuple[Trajectory, F64]:
    """What happens under a policy, and its target stocks (N, T); 0 where no review is due."""
    world, start = replay.world, replay.periods.start
    targets = np.zeros(world.demand.shape)

    def policy(t: int, state: State) -> F64:
        rows = np.flatnonzero(world.review_due[:, t])
        targets[rows, t] = decide(observer, rows, start + t, State(state.on_hand[rows], state.pipeline[rows]))
        return targets[:, t]

    return rollout(world, policy), targets


def cost_ratio(totals: dict[str, SeriesTotals], method: str, reference: str, seed: int) -> Ratio:
    """Total cost of a method against another one's."""
    rng = np.random.default_rng(seed)
    return paired_ratio(totals[method].total_cost, totals[reference].total_cost, rng)


def _rows(totals: dict[str, SeriesTotals], best_pto: str, seed: int) -> list[Row]:
    rows = [
        Row(
            method,
            summarise(total),
            float(total.total_cost.sum() / totals[REFERENCE].total_cost.sum()),
            cost_ratio(totals, method, best_pto, seed),
            cost_ratio(totals, method, GBM_STRONG, seed),
        )
        for method, total in totals.items()
    ]
    return sorted(rows, key=lambda row: row.metrics.total_cost)
