"""The paper's Table 2 on real promotions: `python -m tests.benchmarks.promotions FOLDER [--data DIR] [--dataset NAME ...]`.

Writes promotions.json, promotions.md and the pictures. A supervised policy (DL) is trained up to some weeks before the judged
window. What happened since is learnt from in three ways, each starting from it: Algorithm 1 with the solver alone, the same
with experts' decisions, and by itself with promotions weighed up and surges drawn. Stores are split by a hash: experts are
stood in for by hindsight on one half, before the judged window; the other half is judged. Nothing reads the judged window.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from orpr.progress import Report, progress_bars
from orpr.provenance import code_commit
from simulator.baselines import incumbent
from simulator.canonical import read_panel
from simulator.metrics import SeriesTotals
from simulator.observation import ObservationSpec
from simulator.panel import F64, I64, Panel
from tests.benchmarks.stand_ins import stand_ins
from training.ablations import decides
from training.backtest import Decide
from training.config import TrainConfig, load_config
from training.dataset import TrainingSet
from training.experts import sift
from training.known import Past
from training.loop import Run
from training.methods import replay_of
from training.model import PolicyNetwork
from training.pictures import draw_trajectories
from training.promotion_windows import Replayed, as_rows, replay_windows
from training.run import named_config, train

DL, GUIDED, EXPERT, AUTONOMOUS, INCUMBENT = "DL", "OR-guided RL", "OR+expert RL", "autonomous", "incumbent"
LABELS = 1000
SUPPLIED = 0.9  # share of the judged window in stock from which a series' sales are its demand
ALL_LABELS = 10_000_000  # more decisions than any dataset has: hindsight looks at all of them


class Case(NamedTuple):
    """A dataset and its three spans, in days before its end: DL learns, then the others, then all are judged."""

    name: str
    learnt: int  # days that only the others may learn from
    judged: int  # days that are judged


class Recipes(NamedTuple):
    """How each policy is made."""

    dl: TrainConfig
    finetune: TrainConfig
    autonomous: TrainConfig


CASES = (Case("freshretail", 14, 28), Case("bakery", 180, 180))


def run_case(panel: Panel, case: Case, recipes: Recipes, seeds: Sequence[int], show: Report) -> dict[str, Any]:
    """Every policy for every seed, and the table of their means."""
    stop = panel.last_recorded + 1
    learn_end = stop - case.judged // panel.period_days
    dl_end = learn_end - case.learnt // panel.period_days
    known = np.array([_knows(place) for place in panel.items.location_id])
    supply = np.nan_to_num(panel.in_stock[:, learn_end:stop], nan=1.0).mean(axis=1)
    judged = np.flatnonzero(~known & (supply >= SUPPLIED))
    replay = replay_of(panel, range(learn_end, stop))._replace(judged=judged)
    table = incumbent(panel, replay.periods)[judged]
    found: list[dict[str, Replayed]] = []
    labels = 0
    for seed in seeds:
        networks, labels = _networks(panel, np.flatnonzero(known), dl_end, learn_end, recipes, seed, show)
        policies: dict[str, Decide] = {INCUMBENT: _following(table, learn_end)}
        policies |= {name: decides(network) for name, network in networks.items()}
        found.append(replay_windows(replay, policies))
    totals = {name: _mean([one[name].totals for one in found]) for name in found[0]}
    return {
        "dataset": case.name, "dl_trained_before": panel.date_of(dl_end).isoformat(),
        "first": panel.date_of(learn_end).isoformat(), "last": panel.date_of(stop - 1).isoformat(),
        "currency": panel.currency, "judged_series": len(judged), "labels": labels, "seeds": list(seeds),
        "rows": as_rows(totals, DL, 0), "example": _example(panel, replay.periods, judged, found[0]),
    }  # fmt: skip


def _knows(place: str) -> bool:
    """Whether the stand-in experts know a store."""
    return hashlib.blake2b(place.encode(), digest_size=1).digest()[0] >= 128


def _networks(
    panel: Panel, known: I64, dl_end: int, learn_end: int, recipes: Recipes, seed: int, show: Report
) -> tuple[dict[str, PolicyNetwork], int]:
    """The policies of one seed, and how many labels the experts gave."""

    def run(name: str) -> Run:
        return Run(seed, lambda stage, step, steps, _trace: show(f"seed {seed}, {name}: {stage}", step, steps, ""))

    def data(recipe: TrainConfig, past: Past) -> TrainingSet:
        return TrainingSet([past], recipe.labels, seed, recipe.loss.money_power)

    def copied() -> PolicyNetwork:
        network = PolicyNetwork(recipes.dl.model, spec, made[DL].grid.tolist())
        network.load_state_dict(made[DL].state_dict())
        return network

    spec, made = ObservationSpec(panel.period_days), dict[str, PolicyNetwork]()
    made[DL] = train(data(recipes.dl, Past(panel, dl_end)), replace(recipes.dl, seed=seed), run(DL)).network
    finetune, autonomous = (replace(recipe, seed=seed) for recipe in (recipes.finetune, recipes.autonomous))
    every = replace(finetune, labels=replace(finetune.labels, samples_per_variant=ALL_LABELS))
    theirs = data(every, Past(panel.take(known), learn_end))
    labels = stand_ins(made[DL], theirs, dl_end, LABELS, np.random.default_rng(seed))
    experts = sift(labels, theirs, finetune.experts)
    recent = data(finetune, Past(panel, learn_end))
    made[GUIDED] = train(recent, finetune, run(GUIDED), copied()).network
    made[EXPERT] = train(recent, finetune, run(EXPERT), copied(), None, experts).network
    made[AUTONOMOUS] = train(data(autonomous, Past(panel, learn_end)), autonomous, run(AUTONOMOUS), copied()).network
    return made, experts.labels.size


def _following(table: F64, start: int) -> Decide:
    return lambda _observer, rows, t, _state: table[rows, t - start]


def _mean(found: Sequence[dict[str, SeriesTotals]]) -> dict[str, SeriesTotals]:
    return {
        window: SeriesTotals(
            *(np.mean(columns, axis=0) for columns in zip(*(one[window] for one in found), strict=True))
        )
        for window in found[0]
    }


def _example(panel: Panel, periods: range, judged: I64, done: dict[str, Replayed]) -> dict[str, Any]:
    """Figure 6: one series under three policies; the one whose promotions cost DL most."""
    lost = done[DL].record.lost_sales
    promoted = np.nan_to_num(panel.promotion[judged][:, periods.start : periods.stop]) > 0
    row = int(((lost * promoted).sum(axis=1) * panel.items.lost_sale_cost[judged]).argmax())
    drawn = {
        name: {
            "stock": done[name].record.on_hand[row].tolist(), "sales": done[name].record.sales[row].tolist(),
            "lost_sales": done[name].record.lost_sales[row].tolist(),
        }
        for name in (DL, GUIDED, EXPERT)
    }  # fmt: skip
    return {
        "series": panel.names[int(judged[row])], "first": panel.date_of(periods.start).isoformat(),
        "promoted": promoted[row].tolist(), "policies": drawn,
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ as a page


def page(result: dict[str, Any]) -> str:
    """The Markdown page."""
    lines = [
        "# Promotions", "",
        f"The paper's Table 2 on real promotions. Made by `{result['command']}` at commit `{result['commit'][:12]}`; numbers in "
        "[promotions.json](promotions.json).", "",
        "DL is a supervised policy trained up to the date given. The others go on from it with what happened until the judged "
        "window: Algorithm 1 with the solver alone, the same with experts' decisions, and by itself, with promotions weighed up and "
        "surges drawn. **The experts are stand-ins**: for each item and week the multiple of DL's days that would have been cheapest in "
        "hindsight for its promoted orders on *other* stores than those judged, before the judged window. Costs and lead times are drawn "
        "(see [the data](../format.md)).", "",
        "A promotion window is a series' promoted periods and the review cycle behind each. Intervals are paired bootstraps over series; "
        "rows are means over seeds.", "",
    ]  # fmt: skip
    for case in result["cases"]:
        lines += [
            f"## {case['dataset']}", "",
            f"DL trained before {case['dl_trained_before']}; judged {case['first']} to {case['last']} on {case['judged_series']} series of "
            f"stores that no expert knows; {case['labels']} labels; seeds {', '.join(map(str, case['seeds']))}; costs in {case['currency']}.",
            "", "| window | policy | turnover days | in stock | holding | stock-out | total cost vs DL [95 %] | lost sales vs DL [95 %] |",
            "|---|---|---:|---:|---:|---:|---:|---:|",
        ]  # fmt: skip
        for row in case["rows"]:
            cost, lost = (_ratio(row[name]) for name in ("total_cost_ratio", "lost_sales_ratio"))
            lines.append(
                f"| {row['window']} | {row['policy']} | {row['turnover_days']:.2f} | {row['in_stock_rate']:.1%} | "
                f"{row['holding_cost']:,.0f} | {row['stockout_cost']:,.0f} | {cost} | {lost} |"
            )
        lines += ["", f"![one series under three policies](promotions-{case['dataset']}.png)", ""]
    return "\n".join(lines)


def _ratio(ratio: Sequence[float] | None) -> str:
    return "DL lost none" if ratio is None else f"{ratio[0]:.3f} [{ratio[1]:.3f}, {ratio[2]:.3f}]"


def main(arguments: Sequence[str]) -> None:
    """Run the cases and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--dataset", action="append", choices=[case.name for case in CASES])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="tiny recipes, to see that it runs")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    size = {"dl": "tiny", "finetune": "finetune", "autonomous": "autonomous"} if given.quick else {}
    names = {"dl": "promotions", "finetune": "finetune", "autonomous": "autonomous"} | size
    recipes = Recipes(**{part: load_config(named_config(name), threads=1) for part, name in names.items()})
    asked = [case for case in CASES if not given.dataset or case.name in given.dataset]
    with progress_bars() as show:
        cases = [
            run_case(read_panel(given.data / case.name), case, recipes, range(given.seeds), show) for case in asked
        ]
    given.folder.mkdir(parents=True, exist_ok=True)
    result = {
        "command": f"python -m tests.benchmarks.promotions {' '.join(arguments)}", "commit": code_commit(), "cases": cases,
    }  # fmt: skip
    for case in cases:
        draw_trajectories(case["example"], given.folder / f"promotions-{case['dataset']}.png")
    (given.folder / "promotions.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (given.folder / "promotions.md").write_text(page(result), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
