"""`orpr ablate`: every variant of a recipe trained and replayed on a window before the test window; JSON, page, picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from orpr.provenance import code_commit, folder_hash
from simulator.canonical import read_panel
from simulator.metrics import paired_ratio
from simulator.panel import test_window
from training.ablations import BASE, Variant, decides, trained, variants_of
from training.backtest import Backtest, Contender, backtest
from training.config import TrainConfig
from training.known import Past
from training.loop import Report
from training.methods import GBM_STRONG, replay_of

Show = Callable[[str, int, int, str], None]  # (stage, step, steps, words)


class Windows(NamedTuple):
    """How a dataset is cut: training, then the judged window, then test days that nothing here reads."""

    test_days: int
    days: int


def run_ablation(
    data: Path, recipe: TrainConfig, seeds: Sequence[int], windows: Windows, weights: Path, show: Show, *, command: str
) -> dict[str, Any]:
    """Train and judge every variant.

    Args:
        data: canonical dataset.
        recipe: the base; its variants change one thing each.
        seeds: each variant is trained with each.
        windows: days at the end that are left alone, and days before them that judge.
        weights: folder of trained weights; what lies there is not trained again.
        show: called after every step.
        command: the command line that asked for this.

    Returns:
        Plain values, as `write_ablation` takes them.

    Raises:
        ValueError: where nothing is left to train on.
    """
    panel = read_panel(data)
    stop = test_window(panel, windows.test_days).start if windows.test_days else panel.last_recorded + 1
    start = test_window(panel, windows.test_days + windows.days).start
    sha256 = folder_hash(data)
    variants = variants_of(recipe)
    contenders, sizes = [], dict[str, int]()
    for number, seed in enumerate(seeds):
        told = _shown(show, variants, number, len(seeds))
        networks = trained(Past(panel, start), variants, seed, weights / sha256[:12], told)
        sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
        contenders += [Contender(v.name, f"{v.name}, seed {seed}", decides(networks[v.name])) for v in variants]
    show("train", len(variants) * len(seeds), len(variants) * len(seeds), "")
    replay = replay_of(panel, range(start, stop))
    found = backtest([replay], contenders, lambda stage, step, steps: show(stage, step, steps, ""))
    return {
        "dataset": panel.name, "config": recipe.name, "first": panel.date_of(start).isoformat(),
        "last": panel.date_of(stop - 1).isoformat(), "trained_before": panel.date_of(start).isoformat(),
        "seeds": list(seeds), "series": panel.series_count, "command": command, "commit": code_commit(),
        "data_sha256": sha256, "variants": _judged(found, variants, sizes),
    }  # fmt: skip


def _shown(show: Show, variants: Sequence[Variant], number: int, seeds: int) -> Callable[[Variant], Report]:
    """One bar over all variants and seeds; its words say which variant stands where."""
    total = len(variants) * seeds

    def of(variant: Variant) -> Report:
        at = number * len(variants) + variants.index(variant)
        return lambda stage, step, steps, _trace: show("train", at, total, f"{variant.name}: {stage} {step}/{steps}")

    return of


def _judged(found: Backtest, variants: Sequence[Variant], sizes: dict[str, int]) -> list[dict[str, Any]]:
    base, gbm = found.totals[BASE].total_cost, found.totals[GBM_STRONG].total_cost
    rows = []
    for variant in variants:
        cost = found.totals[variant.name].total_cost
        runs = [ratio for row, ratio in found.runs.values() if row == variant.name]
        metrics = next(row.metrics for row in found.rows if row.method == variant.name)
        rows.append(
            {"group": variant.group, "name": variant.name, "parameters": sizes[variant.name],
             "against_base": paired_ratio(cost, base, np.random.default_rng(0)),
             "against_gbm_strong": paired_ratio(cost, gbm, np.random.default_rng(0)),
             "turnover_days": metrics.turnover_days, "in_stock_rate": metrics.in_stock_rate,
             "seeds_against_best_pto": runs}
        )  # fmt: skip
    return rows


def write_ablation(result: dict[str, Any], folder: Path) -> list[Path]:
    """The JSON, the page and the picture."""
    from training.pictures import draw_ablation

    folder.mkdir(parents=True, exist_ok=True)
    stem = f"ablation-{result['dataset']}"
    paths = [folder / f"{stem}.json", folder / f"{stem}.md", folder / f"{stem}.png"]
    paths[0].write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    paths[1].write_text(_page(result, paths[0].name, paths[2].name), encoding="utf-8")
    draw_ablation(result, paths[2])
    return paths


def _page(result: dict[str, Any], json_name: str, picture: str) -> str:
    lines = [
        f"# Ablation: {result['dataset']}", "",
        f"What each part of the recipe brings: configuration `{result['config']}` with one thing changed, "
        f"{len(result['seeds'])} seeds, trained before {result['trained_before']}, replayed {result['first']} to "
        f"{result['last']} ({result['series']} series), which is before the test window. Small trainings: compare rows, not "
        "heights. Ratios are of total cost; intervals are paired bootstraps over series, the spread is the standard deviation "
        "over seeds of the cost against the best PTO.", "",
        f"Made by `{result['command']}` at commit `{result['commit'][:12]}`; numbers in [{json_name}]({json_name}).", "",
        f"![cost of each variant against the base]({picture})", "",
        f"| what | variant | parameters | vs {BASE} [95 %] | vs GBM strong [95 %] | turnover days | in stock | spread |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for row in result["variants"]:
        ratios = [f"{a:.3f} [{b:.3f}, {c:.3f}]" for a, b, c in (row["against_base"], row["against_gbm_strong"])]
        cells = (
            row["group"], row["name"], f"{row['parameters']:,}", *ratios, f"{row['turnover_days']:.2f}",
            f"{row['in_stock_rate']:.1%}", f"{np.std(row['seeds_against_best_pto']):.3f}",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
