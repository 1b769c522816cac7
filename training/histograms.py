"""The histograms that a bundle carries, to measure drift against: what its policy learned from, and what it says of that.

They are counted over decisions drawn from each dataset's own past, as many of each dataset, before its cut-off: the stock
is what the incumbent's replay left, as in training. Drawn lead times, costs and demand are left out, for no retailer has them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from simulator.contract import OUTPUTS
from simulator.histograms import WATCHED, Histograms, as_told, counted, watched_values
from simulator.observation import FIELDS, Observation, ObservationSpec, Observer, beyond_horizon
from simulator.panel import F32, F64, I64, Panel
from simulator.step import State
from simulator.weeks import by_week
from solver.labels import epochs_of, history_window, label_demand

FILE = "histograms.json"
SERIES, DECISIONS = 1_500, 3_000  # drawn of each dataset, at most
CHUNK = 64


def frozen_histograms(graph: Path, pasts: Sequence[tuple[Observer, int]]) -> Histograms | None:
    """Histograms of what a policy learned from; None where no decision of its past has a known outcome.

    Args:
        graph: the policy's `policy.onnx`.
        pasts: what observes each dataset, and its last period that training read.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    edges = {one.name: np.array(one.edges, dtype=np.float64) for one in WATCHED}
    counts = {one.name: np.zeros(len(one.edges) + 2) for one in WATCHED}
    for observer, last in pasts:
        for name, values in _values(session, observer, last).items():
            counts[name] += counted(values, edges[name])
    return Histograms(edges, counts) if all(count.sum() for count in counts.values()) else None


def _values(session: onnxruntime.InferenceSession, observer: Observer, last: int) -> dict[str, F64]:
    """`WATCHED` of decisions drawn from one dataset."""
    parts = [watched_values(seen, observer.spec, *_answers(session, seen)) for seen in _observations(observer, last)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def _observations(observer: Observer, last: int) -> list[Observation]:
    """Due decisions of the dataset's own calendar up to a period, with the stock that the incumbent left."""
    rng = np.random.default_rng(0)
    count = observer.panel.series_count
    rows: I64 = np.sort(rng.permutation(count)[:SERIES])
    panel, rates = observer.panel.take(rows), observer.rates.take(rows)
    window = history_window(panel, last + 1)
    demand = label_demand(panel, recovered=False, before=last + 1)
    epochs = epochs_of(panel, rates, window, demand=demand)
    near = np.flatnonzero(~beyond_horizon(panel, observer.spec)[epochs.series])
    chosen = np.sort(rng.permutation(near)[:DECISIONS])
    return [
        observer.observe(
            rows[epochs.series[part]], epochs.period[part], State(epochs.on_hand[part], epochs.arriving[part])
        )
        for part in np.array_split(chosen, -(-len(chosen) // CHUNK))
    ] if len(chosen) else []  # fmt: skip


def _answers(session: onnxruntime.InferenceSession, seen: Observation) -> tuple[F32, F32, F32]:
    answers = session.run(None, {field.name: seen[field.name] for field in FIELDS})
    said = dict(zip((name for name, *_ in OUTPUTS), answers, strict=True))
    return said["inventory_days"], said["daily_rate"], said["forecast"]


def write_histograms(folder: Path, frozen: Histograms) -> str:
    """Write them as a bundle's file; its SHA-256."""
    content = (json.dumps(as_told(frozen), indent=1, sort_keys=True) + "\n").encode()
    (folder / FILE).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def freeze(bundle: Path, panels: Sequence[Panel], hashes: Mapping[str, str]) -> int:
    """Count what a bundle's policy learned from, and add the histograms to it; its other files stay as they are, but for
    the manifest, which names the new one.

    Args:
        bundle: its folder.
        panels: every dataset that the manifest names; daily ones are added up by week for a weekly policy.
        hashes: of their files, by name.

    Returns:
        How many decisions were counted.

    Raises:
        ValueError: where the datasets are not those that it was trained on, or hold no decision.
    """
    manifest: dict[str, Any] = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    trained_on = {name: told["sha256"] for name, told in manifest["datasets"].items()}
    if {panel.name: hashes[panel.name] for panel in panels} != trained_on:
        said = ", ".join(f"{name} ({digest[:12]})" for name, digest in trained_on.items())
        raise ValueError(f"data: must be what bundle {bundle.name} was trained on, file by file: {said}")
    pasts = [_past(panel, manifest) for panel in panels]
    frozen = frozen_histograms(bundle / "policy.onnx", pasts)
    if frozen is None:
        raise ValueError("data: no decision before the cut-offs has a known outcome")
    manifest["sha256"][FILE] = write_histograms(bundle, frozen)
    told = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    (bundle / "manifest.json").write_text(told, encoding="utf-8")
    return int(frozen.counts[WATCHED[0].name].sum())


def _past(panel: Panel, manifest: Mapping[str, Any]) -> tuple[Observer, int]:
    """What observes a dataset, and its last period before the cut-off that the manifest names."""
    if manifest["period_days"] != panel.period_days:
        panel = by_week(panel)
    cut_off = date.fromisoformat(manifest["training_cut_offs"][panel.name])
    last = min(panel.period_of(cut_off), panel.last_recorded)
    return Observer(panel, ObservationSpec(panel.period_days)), last
