"""A policy that experts' decisions have taught, for the row DL+RL+expert of a backtest:

`python -m tests.benchmarks.expert_policy --data DIR --test-days N --from BUNDLE --out BUNDLE`.

The experts are the stand-ins of `promotions.py`: they know half of the stores, and nothing from the test window on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orpr.learning import reporter
from orpr.progress import progress_bars
from orpr.provenance import code_commit, folder_hash
from service.bundle import resolve_bundle
from simulator.canonical import read_panel
from simulator.observation import ObservationSpec
from simulator.panel import test_window
from tests.benchmarks.promotions import CASES, experts_of
from training.config import load_config
from training.run import Dataset, named_config, network_of, train_bundle


def main(arguments: Sequence[str]) -> None:
    """Train it and write its bundle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--test-days", type=int, required=True)
    parser.add_argument("--from", dest="start_from", required=True, help="a bundle that has not seen the test window")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", default="finetune-all", help="a shipped recipe or a TOML file")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    panel = read_panel(given.data)
    spans = {case.name: case.learnt for case in CASES}
    if panel.name not in spans:
        parser.error(f"--data: there are stand-ins for {' and '.join(spans)}, not for {panel.name}")
    end = test_window(panel, given.test_days).start
    base = resolve_bundle(given.start_from, panel.period_days)
    recipe = replace(load_config(named_config(given.config), threads=1), seed=given.seed)
    network = network_of(base, ObservationSpec(panel.period_days))
    experts = experts_of(network, panel, end - spans[panel.name] // panel.period_days, end, recipe)
    dataset = Dataset(panel, end, folder_hash(given.data))
    command = " ".join(["python -m tests.benchmarks.expert_policy", *arguments])
    with progress_bars() as show:
        report, _close = reporter(show, None)
        train_bundle(
            [dataset], recipe, given.out, commit=code_commit(), command=command, report=report, start_from=base,
            experts=lambda _decisions: experts, rests_on="stand-ins",
        )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
