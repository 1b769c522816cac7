"""How long one round of learning from planners takes: `python -m tests.benchmarks.finetuning FOLDER [--data DIR ...]`.

`orpr finetune` as a planner's crontab runs it, on a thousand decisions of stand-ins, with the seconds of each of its stages and
the most memory that it held; beside it in the same run, a replay of the gate's series under the champion alone. Writes
finetuning.json and finetuning.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from orpr.finetuning import run_finetuning
from orpr.progress import progress_bars
from orpr.provenance import code_commit
from service.bundle import resolve_bundle
from simulator.canonical import read_panel
from simulator.observation import ObservationSpec
from simulator.panel import Panel, test_window
from tests.benchmarks.promotions import ALL_LABELS, CASES
from tests.benchmarks.rows import machine
from tests.benchmarks.stand_ins import stand_ins
from tests.expert_files import write_labels
from training.ablations import decides
from training.config import RECOVERED, TrainConfig, load_config
from training.dataset import TrainingSet
from training.gate import held_out
from training.known import Past
from training.methods import replay_of
from training.model import PolicyNetwork
from training.promotion_windows import replay_windows
from training.run import named_config, network_of

LABELS = 1000
LIBRARIES = ("numpy", "torch", "onnxruntime")
QUICK = {"labels": {"samples_per_variant": 2000}, "align": {"samples": 600, "batch_size": 64}}


def measure(data: Path, start_from: str, recipe: TrainConfig, overrides: Path) -> dict[str, Any]:
    """One round on one dataset, in a process of its own so that the memory is its own; JSON values."""
    stages: Counter[str] = Counter()
    panel = read_panel(data)
    began = last = time.perf_counter()
    with progress_bars() as show:

        def timed(stage: str, step: int, steps: int, words: str) -> None:
            nonlocal last
            now = time.perf_counter()
            stages[stage] += now - last
            last = now
            show(f"{panel.name}: {stage}", step, steps, words)

        done = run_finetuning(
            data, overrides, overrides.with_suffix(""), recipe, timed, command="tests.benchmarks.finetuning",
            start_from=start_from,
        )  # fmt: skip
    seconds = time.perf_counter() - began
    champion = _champion(start_from, panel)
    return {
        "dataset": panel.name, "series": panel.series_count, "learnt": done.learnt, "verdict": done.gate["verdict"],
        "recipe": recipe.name, "threads": recipe.threads, "seconds": seconds, "stages": dict(stages),
        "replay_seconds": _seconds(lambda: _replay(panel, champion, recipe)),
        "peak_mb": _peak_mb(),
    }  # fmt: skip


def _peak_mb() -> float:
    """The most memory of this process; not `ru_maxrss`, which a new process takes over from the one that started it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM")


def _champion(start_from: str, panel: Panel) -> PolicyNetwork:
    return network_of(resolve_bundle(start_from, panel.period_days), ObservationSpec(panel.period_days))


def labels_of(data: Path, start_from: str, recipe: TrainConfig, count: int, path: Path) -> int:
    """Write what stand-ins would have asked for in place of the champion's days lately; how many decisions these are."""
    panel = read_panel(data)
    end = panel.last_recorded + 1
    learnt = {case.name: case.learnt for case in CASES}.get(panel.name, end)
    hindsight = replace(recipe.labels, samples_per_variant=ALL_LABELS, demand=RECOVERED)
    known = TrainingSet([Past(panel, end)], hindsight, recipe.seed, recipe.loss.money_power)
    since = max(0, end - learnt // panel.period_days)
    told = stand_ins(_champion(start_from, panel), known, since, count, np.random.default_rng(recipe.seed))
    write_labels(told, path)
    return told.size


def _replay(panel: Panel, champion: PolicyNetwork, recipe: TrainConfig) -> None:
    window = test_window(panel, recipe.gate.days)
    judged = replay_of(panel, window)._replace(judged=held_out(panel, recipe.gate, recipe.seed))
    replay_windows(judged, {"champion": decides(champion)})


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def page(result: dict[str, Any]) -> str:
    """The page, from the numbers alone."""
    where = result["machine"]
    libraries = ", ".join(f"{name} {number}" for name, number in where["libraries"].items())
    lines = [
        "# Fine-tuning", "",
        f"`orpr finetune` on stand-ins' decisions, from label file to bundle with the gate's verdict. Made by `{result['command']}` at commit "
        f"`{result['commit'][:12]}` on {where['cores']} cores ({where['processor']}), Python {where['python']}; {libraries}. "
        f"{where['busy']:.1f} other processes were running when it began. Absolute times move with the machine; the last column is the time "
        "against a replay of the gate's series under the champion alone, in the same run. Numbers in [finetuning.json](finetuning.json).", "",
        "| dataset | series | labels | learnt from | recipe | threads | minutes | most memory, MB | against one replay |",
        "|---|---:|---:|---:|---|---:|---:|---:|---:|",
    ]  # fmt: skip
    lines += [
        f"| {case['dataset']} | {case['series']:,} | {case['asked']:,} | {case['learnt']:,} | {case['recipe']} | {case['threads']} | "
        f"{case['seconds'] / 60:.1f} | {case['peak_mb']:,.0f} | {case['seconds'] / case['replay_seconds']:.1f} |"
        for case in result["cases"]
    ]
    lines += [
        "",
        "Seconds by stage, each up to when it was reported done:",
        "",
        "| dataset | stage | seconds |",
        "|---|---|---:|",
    ]
    for case in result["cases"]:
        lines += [f"| {case['dataset']} | {stage} | {spent:.0f} |" for stage, spent in case["stages"].items()]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--data", type=Path, action="append", help="a canonical dataset; the bakery sample where none is named"
    )
    parser.add_argument("--from", dest="start_from", default="champion", help="the champion: bundle, version or alias")
    parser.add_argument("--labels", type=int, default=LABELS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="only see that it runs; its numbers say nothing")
    given = parser.parse_args(arguments)
    recipe = load_config(named_config("finetune"), threads=given.threads)
    if given.quick:
        small = {name: replace(getattr(recipe, name), **changes) for name, changes in QUICK.items()}
        recipe = replace(recipe, labels=small["labels"], align=small["align"])
    where = machine(LIBRARIES)
    cases = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, data in enumerate(given.data or [Path("simulator/sample")]):
            path = Path(scratch) / f"{number}.parquet"
            asked = labels_of(data, given.start_from, recipe, given.labels, path)
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                cases.append(alone.submit(measure, data, given.start_from, recipe, path).result() | {"asked": asked})
    command = " ".join(["python -m tests.benchmarks.finetuning", *arguments])
    result = {"commit": code_commit(), "command": command, "machine": where, "cases": cases}
    given.folder.mkdir(parents=True, exist_ok=True)
    (given.folder / "finetuning.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (given.folder / "finetuning.md").write_text(page(result), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
