"""The labeler against HiGHS alone and plain NumPy; `python -m tests.benchmarks.labels FOLDER` writes labels.json and .md.

The page holds what each solver reached on the same tables: objective, lower bound, gap, seconds. It takes some minutes,
nearly all of them HiGHS alone on 5,319 series; `--quick` leaves that out. `labels` is the part that `speed.py` times.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from orpr.progress import Report, progress_bars
from simulator.ordering import ORDER_UP_TO
from simulator.panel import I64, Strings
from simulator.rollout import World
from simulator.step import State
from simulator.sweep import sweep
from solver.candidates import CandidateTables
from solver.constraints import Family, location_capacity
from solver.exact import solve_exact
from solver.lagrangian import Effort, Lagrangian
from solver.solution import Solution
from tests.benchmarks.rows import OURS, Contestant, Measured, machine, race
from tests.benchmarks.simulation import whole_units

ALPHA = 0.95  # service level
SNACKS = 70_210  # series: the category that the paper's authors speak of
MIDDLE = 5_319
SMALL = 500
PLACES = 20  # locations; every second one has a capacity
TIGHT = 0.95  # of the stock that it would hold without one
GAP = 1e-6
HIGHS_SECONDS = 900.0


class Sizes(NamedTuple):
    """Series that each contestant labels."""

    ours: int
    highs: int
    periods: int = 90
    candidates: int = 90


FULL, QUICK = Sizes(SNACKS, SMALL), Sizes(600, 60, 60, 20)


def drawn_tables(series: int, periods: int, candidates: int) -> CandidateTables:
    """Tables of drawn demand: lognormal means, negative binomial days, lead times 1 to 9, reviews every 1 to 7 periods."""
    rng = np.random.default_rng(0)
    mean = rng.lognormal(0.5, 1.2, series)
    demand = rng.negative_binomial(1.5, 1.5 / (1.5 + mean[:, None]), (series, periods)).astype(np.float64)
    review, lead = rng.integers(1, 8, series), rng.integers(1, 10, series)
    due = np.arange(periods)[None, :] % review[:, None] == 0
    opening = State(np.ceil(mean * (lead + review)), np.zeros((series, 1)))
    days = np.arange(1.0, candidates + 1)
    rate = np.repeat(mean[:, None], periods, axis=1)
    table = sweep(World(demand, due, lead, whole_units(series), opening), rate, days, ORDER_UP_TO)
    cost = rng.lognormal(1.0, 1.0, series)[:, None]
    price = cost * rng.uniform(1.1, 1.5, (series, 1))
    return CandidateTables(
        days=days, stock_value=cost * table.stock, loss_value=price * table.lost_sales, stock_units=table.stock,
        stockout_periods=table.stockout_periods, total_cost=cost * table.stock + price * table.lost_sales,
        demand_units=demand.sum(axis=1), sale_value=price[:, 0] * demand.sum(axis=1), periods=periods,
    )  # fmt: skip


def first(tables: CandidateTables, series: int) -> CandidateTables:
    """The tables of the first series."""
    cut: dict[str, Any] = tables._asdict()
    cut |= {k: v[:series] for k, v in cut.items() if isinstance(v, np.ndarray) and k != "days"}
    return CandidateTables(**cut)


def capacities(tables: CandidateTables) -> list[Family]:
    """A capacity for every second location, below the stock that the labels would hold there without."""
    series = len(tables.demand_units)
    places: Strings = np.array([f"place {n % PLACES}" for n in range(series)], dtype=object)
    free = Lagrangian(tables).solve(ALPHA).choice
    held = tables.stock_units[np.arange(series), free] / tables.periods
    wanted = {place: TIGHT * float(held[places == place].sum()) for place in sorted(set(places))[::2]}
    return [location_capacity(tables, places, wanted)]


def by_dual(tables: CandidateTables, families: Sequence[Family] = ()) -> Callable[[], Solution]:
    """Ours, from the tables on."""
    return lambda: Lagrangian(tables, families).solve(ALPHA, Effort(gap=GAP))


def by_highs(tables: CandidateTables, families: Sequence[Family] = ()) -> Callable[[], Solution]:
    """HiGHS alone through PuLP, to the same gap."""
    return lambda: solve_exact(tables, ALPHA, families, gap=GAP, time_limit_s=HIGHS_SECONDS)


def by_numpy(tables: CandidateTables) -> Callable[[], I64]:
    """One multiplier by halving, as a user would write it: one bound only, no certificate, nothing closed."""
    allowed = float(tables.sale_value.sum()) * (1 - ALPHA)
    every = np.arange(len(tables.demand_units))

    def run() -> I64:
        low, high = 0.0, 1e6
        choice = tables.loss_value.argmin(axis=1)
        while high - low > 1e-7 * high:
            middle = (low + high) / 2
            tried = (tables.stock_value + middle * tables.loss_value).argmin(axis=1)
            if float(tables.loss_value[every, tried].sum(dtype=np.float64)) <= allowed:
                high, choice = middle, tried
            else:
                low = middle
        return np.asarray(choice)

    return run


def labels(sizes: Sizes, repeats: int, report: Report) -> list[Measured]:
    """The race: one bound, and eleven."""
    tables = drawn_tables(sizes.ours, sizes.periods, sizes.candidates)
    few = first(tables, sizes.highs)
    bounds, few_bounds = capacities(tables), capacities(few)
    smaller = f"the first {sizes.highs:,} series, to the same gap."
    one = [
        Contestant(OURS, by_dual(tables), sizes.ours, f"Lagrangian dual, closed by HiGHS; certified gap at most {GAP:g}."),
        Contestant("plain NumPy", by_numpy(tables), sizes.ours, "one multiplier by halving; no certificate, nothing closed."),
        Contestant("HiGHS alone", by_highs(few), sizes.highs, f"through PuLP; {smaller}"),
    ]  # fmt: skip
    several = [
        Contestant(OURS, by_dual(tables, bounds), sizes.ours, f"the same with {PLACES // 2} capacities."),
        Contestant("HiGHS alone", by_highs(few, few_bounds), sizes.highs, f"through PuLP; {smaller}"),
    ]

    def agree(who: str, found: Solution | I64) -> None:
        if isinstance(found, Solution):
            assert found.gap <= GAP, f"{who}: gap {found.gap}"

    size = f"{sizes.ours:,} series x {sizes.candidates} candidates"
    return [
        *race(f"labels, {size}, one bound", "series", one, repeats, report, agree),
        *race(f"labels, {size}, {PLACES // 2 + 1} bounds", "series", several, repeats, report, agree),
    ]


class Reached(NamedTuple):
    """What a solver reached on some tables."""

    series: int
    bounds: int
    solver: str
    objective: float
    lower_bound: float
    gap: float
    seconds: float


def reached(solver: str, run: Callable[[], Solution], series: int, bounds: int) -> Reached:
    """One solve; a first one in the same process has compiled what there is to compile."""
    began = time.perf_counter()
    found = run()
    return Reached(series, bounds, solver, found.stock_value, found.bound, found.gap, time.perf_counter() - began)


def compare(report: Report, *, quick: bool) -> list[Reached]:
    """Ours and HiGHS on the same tables, and ours alone where HiGHS would take hours."""
    whole = drawn_tables(*((600, 60, 20) if quick else (SNACKS, 90, 90)))
    sizes = (60,) if quick else (SMALL, MIDDLE)
    by_dual(first(whole, 50))()
    found = []
    for step, size in enumerate((*sizes, len(whole.demand_units))):
        tables = first(whole, size)
        report("labels", step, len(sizes) + 1, f"{size:,} series")
        for families in ([], capacities(tables)):
            bounds = 1 + sum(len(family.bounds) for family in families)
            found.append(reached("orpr", by_dual(tables, families), size, bounds))
            if size in sizes:
                found.append(reached("HiGHS alone", by_highs(tables, families), size, bounds))
    report("labels", len(sizes) + 1, len(sizes) + 1, "")
    return found


def page(rows: list[Reached], where: dict[str, Any]) -> str:
    """The table, and how far the two are apart."""
    lines = [
        "# Labels: objective, bound and gap", "",
        f"Made by `python -m tests.benchmarks.labels docs/results` on {where['cores']} cores ({where['processor']}), "
        f"{where['busy']:.1f} other processes running when it began. Drawn tables; service level {ALPHA:.0%}; "
        f"with {PLACES // 2 + 1} bounds, every second of {PLACES} locations may hold {TIGHT:.0%} of what it would without. Both were "
        f"asked for a relative gap of {GAP:g}; seconds are from the tables on, once.", "",
        "| series | bounds | solver | objective | lower bound | gap | seconds | objective vs HiGHS |",
        "|---:|---:|---|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    others = {(row.series, row.bounds): row.objective for row in rows if row.solver != "orpr"}
    for row in rows:
        other = others.get((row.series, row.bounds))
        apart = "" if other is None or row.solver != "orpr" else f"{row.objective / other - 1:+.1e}"
        lines.append(
            f"| {row.series:,} | {row.bounds} | {row.solver} | {row.objective:,.2f} | {row.lower_bound:,.2f} | {row.gap:.1e} | "
            f"{row.seconds:.2f} | {apart} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the results go")
    parser.add_argument("--quick", action="store_true", help="only see that everything runs")
    asked = parser.parse_args(arguments)
    where = machine()
    with progress_bars() as report:
        rows = compare(report, quick=asked.quick)
    asked.folder.mkdir(parents=True, exist_ok=True)
    values = {"machine": where, "rows": [row._asdict() for row in rows]}
    (asked.folder / "labels.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    (asked.folder / "labels.md").write_text(page(rows, where), encoding="utf-8")
    sys.stdout.write(page(rows, where))


if __name__ == "__main__":
    main()
