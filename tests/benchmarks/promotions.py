"""The paper's Table 2 on real promotions: `python -m tests.benchmarks.promotions FOLDER [--data DIR] [--dataset NAME ...]`.

Writes promotions.json, promotions.md and the pictures. A supervised policy (DL) is trained up to some weeks before the judged
window. What happened since is learnt from in three ways, each starting from it: Algorithm 1 with the solver alone, the same
with experts' decisions, and by itself with surges drawn. Stores are split by a hash: experts are stood in for by
hindsight on one half, before the judged window; the other half is judged. Nothing reads the judged window.
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
from tests.benchmarks.promotions_page import AUTONOMOUS, DL, EVERYWHERE, EXPERT, GUIDED, INCUMBENT, page
from tests.benchmarks.stand_ins import stand_ins
from training.ablations import decides
from training.backtest import Decide
from training.config import RECOVERED, TrainConfig, load_config
from training.dataset import TrainingSet
from training.experts import Sifted, sift
from training.known import Past
from training.loop import Run
from training.methods import Replay, only_judged, replay_of
from training.model import PolicyNetwork
from training.one_series import one_series
from training.pictures import draw_trajectories
from training.promotion_windows import Replayed, as_rows, promoted_periods, replay_windows
from training.run import manifest_of, named_config, network_of, train

LABELS = 1000
SUPPLIED = 0.9  # share of the judged window in stock from which a series' sales are its demand
MOST_JUDGED = 5000  # series of each table, drawn
DISCOUNT = 0.05  # a price so much below list makes a day one of promotion, whether it is flagged or not
ALL_LABELS = 10_000_000  # more decisions than any dataset has: hindsight looks at all of them


class Case(NamedTuple):
    """A dataset and its three spans, in days before its end: DL learns, then the others, then all are judged."""

    name: str
    learnt: int  # days that only the others may learn from
    judged: int  # days that are judged


class Recipes(NamedTuple):
    """How each policy is made."""

    dl: TrainConfig | Path  # a recipe for each dataset alone, or a bundle
    finetune: TrainConfig
    everywhere: TrainConfig  # the same, but routine orders learn too
    autonomous: TrainConfig


CASES = (Case("freshretail", 14, 28), Case("bakery", 180, 180))


def run_case(panel: Panel, case: Case, recipes: Recipes, seeds: Sequence[int], show: Report) -> dict[str, Any]:
    """DL once, everything else for every seed, and the tables of their means: on sales as they were, and on recovered demand."""
    stop = panel.last_recorded + 1
    learn_end = stop - case.judged // panel.period_days
    dl_end = learn_end - case.learnt // panel.period_days
    known = np.array([_knows(place) for place in panel.items.location_id])
    supply = np.nan_to_num(panel.in_stock[:, learn_end:stop], nan=1.0).mean(axis=1)
    worlds = {"sales": ~known & (supply >= SUPPLIED), "recovered": ~known}
    replays = {
        demand: replay_of(panel, range(learn_end, stop), demand)._replace(judged=_some(np.flatnonzero(judged)))
        for demand, judged in worlds.items()
    }
    if np.array_equal(*(replay.world.demand for replay in replays.values())):
        del replays["recovered"]  # the dataset says nothing of stock-outs
    dl = _supervised(panel, dl_end, recipes.dl, show)
    found: dict[str, list[dict[str, Replayed]]] = {demand: [] for demand in replays}
    labels = 0
    for seed in seeds:
        networks, labels = _networks(dl, panel, dl_end, learn_end, recipes, seed, show)
        for demand, replay in replays.items():
            assert replay.judged is not None
            table = incumbent(panel, replay.periods)[replay.judged]
            policies: dict[str, Decide] = {INCUMBENT: _following(table, learn_end)}
            policies |= {name: decides(network) for name, network in networks.items()}
            found[demand].append(replay_windows(replay, policies, DISCOUNT))
            show(f"seed {seed}: replayed", len(found[demand]), len(seeds), demand)
    shown = list(replays)[-1]
    tables = {
        demand: {
            "series": len(replays[demand].judged),  # type: ignore[arg-type]
            "rows": as_rows({name: _mean([one[name].totals for one in done]) for name in done[0]}, DL, 0),
        }
        for demand, done in found.items()
    }
    return {
        "dataset": case.name, "dl": _in_words(recipes.dl), "dl_trained_before": panel.date_of(dl_end).isoformat(),
        "first": panel.date_of(learn_end).isoformat(), "last": panel.date_of(stop - 1).isoformat(),
        "currency": panel.currency, "labels": labels, "seeds": list(seeds), "tables": tables,
        "example": _example(replays[shown], found[shown][0]),
    }  # fmt: skip


def _some(rows: I64) -> I64:
    """At most `MOST_JUDGED` of them, the same ones always."""
    return rows if len(rows) <= MOST_JUDGED else np.sort(np.random.default_rng(0).permutation(rows)[:MOST_JUDGED])


def _supervised(panel: Panel, end: int, dl: TrainConfig | Path, show: Report) -> PolicyNetwork:
    """DL.

    Raises:
        ValueError: where a bundle has seen more than it may.
    """
    if isinstance(dl, Path):
        seen = manifest_of(dl)["training_cut_offs"].get(panel.name, "")
        if seen >= panel.date_of(end).isoformat():
            raise ValueError(
                f"dl: {dl} learnt from {panel.name} up to {seen}; here DL ends before {panel.date_of(end)}"
            )
        return network_of(dl, ObservationSpec(panel.period_days))
    data = TrainingSet([Past(panel, end)], dl.labels, dl.seed, dl.loss.money_power)
    report = Run(dl.seed, lambda stage, step, steps, _trace: show(f"{DL}: {stage}", step, steps, ""))
    return train(data, dl, report).network


def _in_words(dl: TrainConfig | Path) -> str:
    """What DL is."""
    if isinstance(dl, Path):
        manifest = manifest_of(dl)
        before = ", ".join(f"{name} up to {day}" for name, day in sorted(manifest["training_cut_offs"].items()))
        return f"{dl} (recipe {manifest['config']['name']}; {before})"
    return f"recipe {dl.name} on this dataset alone"


def _knows(place: str) -> bool:
    """Whether the stand-in experts know a store."""
    return hashlib.blake2b(place.encode(), digest_size=1).digest()[0] >= 128


def experts_of(dl: PolicyNetwork, panel: Panel, since: int, end: int, finetune: TrainConfig) -> Sifted:
    """Decisions of stand-ins who know half of the stores, placed from period `since` on, their outcomes known before `end`."""
    known = np.flatnonzero([_knows(place) for place in panel.items.location_id])
    # Planners know what a full shelf would have sold.
    hindsight = replace(finetune.labels, samples_per_variant=ALL_LABELS, demand=RECOVERED)
    theirs = TrainingSet([Past(panel.take(known), end)], hindsight, finetune.seed, finetune.loss.money_power)
    told = stand_ins(dl, theirs, since, LABELS, np.random.default_rng(finetune.seed))
    return sift(told, theirs, finetune.experts, finetune.align.moves)


def _networks(
    dl: PolicyNetwork, panel: Panel, dl_end: int, learn_end: int, recipes: Recipes, seed: int, show: Report
) -> tuple[dict[str, PolicyNetwork], int]:  # fmt: skip
    """The policies of one seed, and how many labels the experts gave."""

    def trained(name: str, data: TrainingSet, recipe: TrainConfig, experts: Sifted | None = None) -> PolicyNetwork:
        copied = PolicyNetwork(dl.config, dl.spec, dl.grid.tolist())
        copied.load_state_dict(dl.state_dict())
        report = Run(seed, lambda stage, step, steps, _trace: show(f"seed {seed}, {name}: {stage}", step, steps, ""))
        return train(data, recipe, report, copied, None, experts).network

    def data(past: Past, recipe: TrainConfig) -> TrainingSet:
        return TrainingSet([past], recipe.labels, seed, recipe.loss.money_power)

    finetune, everywhere, autonomous = (
        replace(recipe, seed=seed) for recipe in (recipes.finetune, recipes.everywhere, recipes.autonomous)
    )
    experts = experts_of(dl, panel, dl_end, learn_end, finetune)
    recent = data(Past(panel, learn_end), finetune)
    made = {
        DL: dl, GUIDED: trained(GUIDED, recent, finetune), EXPERT: trained(EXPERT, recent, finetune, experts),
        EVERYWHERE: trained(EVERYWHERE, data(Past(panel, learn_end), everywhere), everywhere, experts),
        AUTONOMOUS: trained(AUTONOMOUS, data(Past(panel, learn_end), autonomous), autonomous),
    }  # fmt: skip
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


def _example(replay: Replay, done: dict[str, Replayed]) -> dict[str, Any]:
    """Figure 6."""
    panel = only_judged(replay).panel
    promoted = promoted_periods(panel, DISCOUNT)[:, replay.window]
    return one_series(panel, replay.periods, {name: done[name].record for name in (DL, GUIDED, EXPERT)}, promoted)


def main(arguments: Sequence[str]) -> None:
    """Run the cases and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--dataset", action="append", choices=[case.name for case in CASES])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--dl", type=Path, help="a bundle as DL, in place of the recipe `promotions` on each dataset alone"
    )
    parser.add_argument("--quick", action="store_true", help="tiny recipes, to see that it runs")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    names = ("tiny" if given.quick else "promotions", "finetune", "finetune-all", "autonomous")
    dl, *others = (load_config(named_config(name), threads=1) for name in names)
    recipes = Recipes(given.dl or dl, *others)
    asked = [case for case in CASES if not given.dataset or case.name in given.dataset]
    with progress_bars() as show:
        cases = [
            run_case(read_panel(given.data / case.name), case, recipes, range(given.seeds), show) for case in asked
        ]
    command = " ".join(["python -m tests.benchmarks.promotions docs/results", *_options(given)])
    write([case | {"command": command, "commit": code_commit()} for case in cases], given.folder)


def _options(given: argparse.Namespace) -> list[str]:
    named = [word for name in given.dataset or () for word in ("--dataset", name)]
    named += ["--dl", str(given.dl)] if given.dl else []
    return [*named, "--seeds", str(given.seeds), *(["--quick"] if given.quick else [])]


def write(cases: Sequence[dict[str, Any]], folder: Path) -> None:
    """Numbers, page and pictures; cases of other datasets that lie in the folder stay."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = folder / "promotions.json"
    before = json.loads(numbers.read_text(encoding="utf-8"))["cases"] if numbers.is_file() else []
    kept = {case["dataset"]: case for case in [*before, *cases]}
    result = {"cases": [kept[case.name] for case in CASES if case.name in kept]}
    for case in cases:
        draw_trajectories(case["example"], folder / f"promotions-{case['dataset']}.png")
    numbers.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (folder / "promotions.md").write_text(page(result["cases"]), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
