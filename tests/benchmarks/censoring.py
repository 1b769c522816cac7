"""How well demand is recovered: `python -m tests.benchmarks.censoring FOLDER [DATASET:FIRST:LAST ...]`.

Writes censoring.json and censoring.md. Sales are censored on purpose, by a shelf that runs empty during the day because
the day sells well, and what each estimator makes of the rest is compared with the truth: on drawn demand, on the bakery
sample before its test window, and on the periods FIRST..LAST-1 of any dataset, whose periods from LAST on are not read.
There only series are taken that were fully in stock in 90 % of the periods before LAST.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from simulator.canonical import read_panel
from simulator.censoring import Fit, fit, recover, sold_of
from simulator.panel import F64, Bools, Panel
from simulator.rates import LEAST_STOCK, evidence
from tests.censored import (
    MORNING,
    PROCESSES,
    PROFILE,
    drawn_rates,
    hidden_again,
    hourly,
    morning_stock,
    run_out,
    shelf_panel,
    taken_off,
)

SAMPLE = Path(__file__).parents[2] / "simulator" / "sample"
TEST_DAYS = 180
SEEDS = range(5)
WELL_STOCKED = 0.9
TAKEN_OFF = "taken off"
STEADY = 1e9  # a day shape at which a day's own sales say nothing
Estimate = tuple[F64, Bools]  # (N, T) demand, and where the estimator says that it knows it


def as_sold(panel: Panel) -> Estimate:
    """Raw sales."""
    return np.nan_to_num(panel.units_sold).astype(np.float64), np.isfinite(panel.units_sold)


def scaled(panel: Panel) -> Estimate:
    """Sales over the time in stock, where that is at least 0.3: the rule of the daily rate."""
    found = evidence(panel.units_sold, panel.in_stock, panel.promotion, panel.open)
    return found.demand, found.seen > 0


def scaled_by_hours(panel: Panel) -> Estimate:
    """Sales over the exposure by the fitted hours, where that is at least 0.3."""
    sold = sold_of(panel, fit(panel).hours)
    return sold.units / np.maximum(sold.exposure, LEAST_STOCK), sold.seen & (sold.exposure >= LEAST_STOCK)


def plain_em(panel: Panel) -> Estimate:
    """`recover` with an hour profile from plain EM, which gives a run-out no sale of its own."""
    found = recover(panel, fit(panel, run_outs=False))
    return found.demand, found.known


def with_fit(change: Callable[[Fit], Fit], *, masked: bool = True) -> Callable[[Panel], Estimate]:
    """`recover` with its fit changed, or without the hour mask."""

    def estimate(panel: Panel) -> Estimate:
        given = panel if masked else replace(panel, oos_mask=None)
        found = recover(given, change(fit(given)))
        return found.demand, found.known

    return estimate


ESTIMATORS: dict[str, Callable[[Panel], Estimate]] = {
    "sales": as_sold,
    "sales / time in stock": scaled,
    "sales / exposure": scaled_by_hours,
    "sales + missed share x level": with_fit(lambda found: found._replace(day_shape=STEADY)),
    "recovered, hours by plain EM": plain_em,
    "recovered, no hour mask": with_fit(lambda found: found, masked=False),
    "recovered": with_fit(lambda found: found),
}


def drawn(process: str, day_shape: float, profile: F64, seed: int) -> tuple[Panel, F64]:
    """400 series of 56 days."""
    rng = np.random.default_rng(seed)
    wanted = hourly(rng, drawn_rates(rng, 400, 56), profile, day_shape)
    demand = wanted.sum(axis=2)
    if process == TAKEN_OFF:
        return shelf_panel(taken_off(rng, wanted, profile)), demand
    return shelf_panel(run_out(wanted, morning_stock(rng, demand, process), profile)), demand


def real(panel: Panel, periods: range, process: str, seed: int) -> tuple[Panel, F64]:
    """The well-stocked series of a dataset, sold again."""
    chosen = well_stocked(panel, periods)
    return hidden_again(chosen, np.random.default_rng(seed), periods, process, fit(chosen).sale_size, PROFILE)


def well_stocked(panel: Panel, periods: range) -> Panel:
    """The series whose truth is nearly always known, with nothing to read from `periods.stop` on."""
    units = panel.units_sold.copy()
    units[:, periods.stop :] = np.nan
    full = ((panel.in_stock >= 1) & (units >= 0)).sum(axis=1) >= WELL_STOCKED * periods.stop
    return replace(panel, units_sold=units).take(np.flatnonzero(full))


def chosen_days(panel: Panel, periods: range) -> float:
    """What the days that were really in stock throughout sold over what is expected of them: below 1, as the days that
    ran out were the good ones. So much of a bias is in this truth, not in an estimator."""
    chosen = replace(well_stocked(panel, periods), oos_mask=None)
    rate = recover(chosen, fit(chosen)).rate
    cells = (chosen.in_stock >= 1) & np.isfinite(chosen.units_sold)
    cells[:, : periods.start] = False
    return ratio(chosen.units_sold[cells].sum(), rate[cells].sum())


def scores(panel: Panel, truth: F64) -> dict[str, dict[str, float]]:
    """Each estimator on the censored days that it knows, and on those that all of them know."""
    kept = {name: estimator(panel) for name, estimator in ESTIMATORS.items()}
    told = np.isfinite(truth)
    hidden = told & (panel.in_stock < 1)
    every = told & np.logical_and.reduce([known for _, known in kept.values()])
    found = {}
    for name, (demand, known) in kept.items():
        mine = told & known
        found[name] = {
            "bias": ratio(demand[every].sum(), truth[every].sum()) - 1,
            "error": ratio(np.abs(demand - truth)[every & hidden].sum(), truth[every & hidden].sum()),
            "bias_all": ratio(demand[mine].sum(), truth[mine].sum()) - 1,
            "error_all": ratio(np.abs(demand - truth)[mine & hidden].sum(), truth[mine & hidden].sum()),
            "known": ratio((mine & hidden).sum(), hidden.sum()),
        }
    return found


def ratio(part: float, whole: float) -> float:
    """0 where there is nothing."""
    return float(part / whole) if whole else 0.0


def averaged(draw: Callable[[int], tuple[Panel, F64]]) -> dict[str, Any]:
    """Scores over the seeds: means, and the widest bias."""
    runs, hidden, missed = [], [], []
    for seed in SEEDS:
        panel, truth = draw(seed)
        told = np.isfinite(truth)
        hidden.append(float((panel.in_stock[told] < 1).mean()))
        missed.append(1 - ratio(np.nan_to_num(panel.units_sold)[told].sum(), truth[told].sum()))
        runs.append(scores(panel, truth))
    table = {
        name: {key: float(np.mean([run[name][key] for run in runs])) for key in runs[0][name]} for name in ESTIMATORS
    }
    return {"days_censored": float(np.mean(hidden)), "demand_missed": float(np.mean(missed)), "estimators": table}


def restocked(panel: Panel, periods: range) -> list[dict[str, float]]:
    """A check that needs no truth: days that began empty and were filled up at hour h, for reasons before that day.

    What they sold over what was expected of them is the share of demand after h, by no profile at all.
    """
    assert panel.oos_mask is not None
    units = panel.units_sold.copy()
    units[:, periods.stop :] = np.nan
    panel = replace(panel, units_sold=units)
    found = fit(panel)
    rate, plain = recover(panel, found).rate, fit(panel, run_outs=False).hours
    rows = []
    for hour in range(10, 19):
        days = (panel.oos_mask == (1 << hour) - 1) & np.isfinite(panel.units_sold)
        if days.sum() >= 100:
            share = ratio(panel.units_sold[days].sum(), rate[days].sum())
            rows.append({"hour": hour, "days": int(days.sum()), "sold": share, "profile": float(found.hours[hour:].sum()),
                         "plain": float(plain[hour:].sum())})  # fmt: skip
    return rows


def measured(argument: str) -> dict[str, Any]:
    """A dataset: censored on purpose, how long a recovery of all of it takes, and what restocked days say."""
    folder, first, last = argument.rsplit(":", 2)
    panel, periods = read_panel(folder), range(int(first), int(last))
    began = time.perf_counter()
    whole = fit(panel)
    recover(panel, whole)
    seconds = time.perf_counter() - began
    found: dict[str, Any] = {
        f"{panel.name}, periods {periods.start} to {periods.stop - 1}, {process}": averaged(
            lambda seed, p=process: real(panel, periods, p, seed)  # type: ignore[misc]
        )
        for process in PROCESSES
    }
    for row in found.values():
        row |= {"series": well_stocked(panel, periods).series_count, "chosen": chosen_days(panel, periods)}
    found[f"{panel.name}, whole"] = {
        "series": panel.series_count, "periods": panel.period_count, "seconds": seconds, "sale_size": whole.sale_size,
        "day_shape": whole.day_shape, "run_outs": whole.run_outs,
    }  # fmt: skip
    if panel.oos_mask is not None:
        found[f"{panel.name}, days restocked before period {periods.stop}"] = {"restocked": restocked(panel, periods)}
    return found


def chosen_note(row: dict[str, Any]) -> str:
    """How many series, and how far their truth is itself a choice."""
    if "chosen" not in row:
        return ""
    return (
        f" {row['series']:,} series; the days that are known sold {row['chosen']:.2f} of what is expected of such days."
    )


def page(results: dict[str, Any]) -> list[str]:
    """The results in Markdown."""
    lines = [
        "# Demand behind stock-outs", "",
        "Made by `python -m tests.benchmarks.censoring docs/results`, with `DATASET:FIRST:LAST` for datasets that are not in this",
        f"tree; means over {len(SEEDS)} seeds. Demand that is known is sold from a shelf that runs empty during the day; tight: the",
        "same stock every morning; loose: a guess; reviewed: filled up every third day; taken off: no run-out at all, the shelf is",
        "cleared at an hour drawn beforehand. Bias is of total demand, error the sum of absolute errors over demand on censored",
        "days; first on the days that every estimator knows, then on all that it knows itself, with their share of the censored",
        "days. *sales / time in stock* is the rule of the daily rate; *exposure* weighs hours by the fitted profile; *level* knows",
        "weekdays and promotions; *recovered* is `simulator/censoring.py`. Real days keep their totals; the hours in which they",
        "were wanted are drawn. A real truth is chosen: it is known on days that did not run out, which were not the best ones,",
        "and an estimator without bias comes out above it.", "",
    ]  # fmt: skip
    for name, row in results.items():
        if "estimators" in row:
            lines += [f"## {name}", "", f"{row['days_censored']:.0%} of the days censored, {row['demand_missed']:.1%} of "
                      f"demand not sold.{chosen_note(row)}", "", "| estimator | bias | error | own bias | own error | known |",
                      "|---|---:|---:|---:|---:|---:|"]  # fmt: skip
            for estimator, s in row["estimators"].items():
                lines.append(f"| {estimator} | {s['bias']:+.1%} | {s['error']:.3f} | {s['bias_all']:+.1%} "
                             f"| {s['error_all']:.3f} | {s['known']:.0%} |")  # fmt: skip
        elif "restocked" in row:
            lines += [f"## {name}", "", "Days that began empty and were filled up at an hour: what they sold over what was expected "
                      "of them, and", "the share of demand after that hour by two profiles.", "",
                      "| hour | days | sold / expected | profile | profile by plain EM |", "|---:|---:|---:|---:|---:|"]  # fmt: skip
            lines += [f"| {r['hour']} | {r['days']:,} | {r['sold']:.2f} | {r['profile']:.2f} | {r['plain']:.2f} |"
                      for r in row["restocked"]]  # fmt: skip
        else:
            lines += [f"## {name}", "", f"{row['series']:,} series x {row['periods']:,} periods fitted and recovered in "
                      f"{row['seconds']:.1f} s. One sale is {row['sale_size']:.3g} units, the shape of the days "
                      f"{row['day_shape']:.1f}; stock-outs are taken for {'sold' if row['run_outs'] else 'cleared'} out."]  # fmt: skip
        lines.append("")
    return lines[:-1]


def main(folder: Path, datasets: list[str]) -> None:
    """Measure and write."""
    results: dict[str, Any] = {}
    for profile_name, profile in (("two peaks", PROFILE), ("mornings", MORNING)):
        for day_shape in (3.0, 8.0):
            for process in (*PROCESSES, TAKEN_OFF):
                results[f"drawn, {profile_name}, day shape {day_shape:.0f}, {process}"] = averaged(
                    lambda seed, a=(process, day_shape, profile): drawn(*a, seed)  # type: ignore[misc]
                )
    sample = read_panel(SAMPLE)
    last = sample.last_recorded + 1 - TEST_DAYS
    results |= measured(f"{SAMPLE}:{last - TEST_DAYS}:{last}")
    for argument in datasets:
        results |= measured(argument)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "censoring.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    lines = page(results)
    (folder / "censoring.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
