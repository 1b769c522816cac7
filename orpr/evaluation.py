"""`orpr backtest`: bundles and a dataset in, the table of every method as plain values out."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from orpr.provenance import code_commit, folder_hash
from service.policy import Policy, resolve_bundle
from simulator.canonical import read_panel
from simulator.observation import Observer
from simulator.panel import F64, I64, test_window
from simulator.stock import read_inventory
from training.backtest import Decide, as_json, backtest


def run_backtest(
    data: Path, policies: list[str], test_days: int, seed: int, progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Replay all methods on the last `test_days` of a dataset.

    Raises:
        ValueError: when a policy was trained on part of the window.
    """
    panel = read_panel(data)
    window = test_window(panel, test_days)
    bundles = [resolve_bundle(name, panel.period_days) for name in policies]
    loaded = {bundle.name: Policy(bundle) for bundle in bundles}
    for policy in loaded.values():
        cut_off = date.fromisoformat(policy.contract["training_cut_off"])
        if cut_off >= panel.date_of(window.start):
            raise ValueError(
                f"policy {policy.version} was trained up to {cut_off}, the window starts on {panel.date_of(window.start)}"
            )
    decides = {name: deciding(policy) for name, policy in loaded.items()}
    result = backtest(panel, window, decides, progress, seed=seed, inventory=read_inventory(panel, data))
    where = data.name if data.name != "sample" else "simulator/sample"
    shown = " ".join(f"--policy {f'runs/{Path(name).name}' if Path(name).is_dir() else name}" for name in policies)
    return as_json(result, panel) | {
        "currency": panel.currency,
        "source": panel.source,
        "command": f"orpr backtest --data {where} --test-days {test_days} --seed {seed} {shown}",
        "commit": code_commit(),
        "data_sha256": folder_hash(data),
        "runs": {name: _run_of(bundle, test_days) for name, bundle in zip(loaded, bundles, strict=True)},
    }


def deciding(policy: Policy) -> Decide:
    """A verified bundle as a function from observation to target stock."""

    def decide(observer: Observer, rows: I64, periods: I64) -> F64:
        answer = policy.answer(observer.observe(rows, periods))
        target: F64 = answer.inventory_days.astype(np.float64) * answer.daily_rate
        return target

    return decide


def _run_of(bundle: Path, test_days: int) -> dict[str, Any]:
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    seed, config = manifest["config"]["seed"], manifest["config"]["name"]
    return {
        "seed": seed, "config": config, "commit": manifest["commit"], "parameters": manifest["parameters"],
        "command": f"orpr train --data simulator/sample --out runs/{bundle.name} --config {config} --test-days {test_days} --seed {seed}",
    }  # fmt: skip
