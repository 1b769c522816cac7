"""A trained network becomes a policy bundle: graph, contract, golden cases, histograms, manifest, report.

The bundle is all that serving ever sees. It is written beside its destination and moved there whole, after the
exported graph has answered the golden cases as the network does.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from simulator.contract import CONTEXT, OUTPUTS, contract_id, interface
from simulator.observation import FIELDS, Observation, Observer
from simulator.panel import I64
from simulator.step import State
from training.checkpoint import save_weights
from training.histograms import frozen_histograms, write_histograms
from training.model import QUANTILES, Context, PolicyNetwork, named

PARITY = 1e-4  # of 1 + the largest magnitude in the decision's output
GOLDEN_CASES = 48


class ParityError(ValueError):
    """The exported graph does not answer as the network does."""


def check_destination(out: Path) -> None:
    """A bundle may replace a bundle or fill an empty place, and nothing else.

    Raises:
        ValueError: when `out` holds anything but a bundle.
    """
    if not out.name:
        raise ValueError(f"out must name a folder, got {str(out)!r}")
    if out.exists() and not (out / "manifest.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"out: {out} exists and is no policy bundle; nothing was written")


class _Answers(nn.Module):
    """The network without what only training needs; after its answers the context, which a graph can be cut at."""

    def __init__(self, network: PolicyNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, *fields: Tensor) -> tuple[Tensor, ...]:
        x = named(fields)
        read = [part.flatten(1) if part.dim() > 1 else part[:, None] for part in self.network.read(x)]
        table = torch.cat(read, dim=1)
        rate, sales, attributes, signals, forecast, promoted = torch.split(
            table, [part.shape[1] for part in read], dim=1
        )
        forecast = forecast.reshape(-1, self.network.spec.horizon, len(QUANTILES))
        context = Context(rate[:, 0], sales, attributes, signals, forecast, promoted[:, 0])
        return *self.network.answer(context, self.network.choose(x, context)), table


class Case(NamedTuple):
    """A dataset that golden cases may come from."""

    observer: Observer
    last: int  # last period


def golden_cases(case: Case, count: int) -> tuple[I64, Observation]:
    """Rows and observations: spread over the series, on history and before any, with stock and (one in eight) without."""
    observer, last = case
    count = min(count, observer.panel.series_count * 4)
    rng = np.random.default_rng(0)
    rows = np.linspace(0, observer.panel.series_count - 1, count).astype(np.int64)
    periods = np.linspace(0, last, count).astype(np.int64)[rng.permutation(count)]
    rate, lead = observer.rates.daily_rate[rows, periods], observer.panel.lead_periods[rows]
    slots = np.arange(int(lead.max(initial=1)))[None, :]
    on_order = np.where(slots < lead[:, None] - 1, rate[:, None] * rng.uniform(0.0, 2.0, (count, slots.shape[1])), 0.0)
    on_hand = np.where(np.arange(count) % 8 == 7, np.nan, rate * rng.uniform(0.0, 6.0, count))
    on_order[np.isnan(on_hand)] = np.nan
    return rows, observer.observe(rows, periods, State(on_hand, on_order))


def export_bundle(
    network: PolicyNetwork, cases: Sequence[Case], out: Path, manifest: dict[str, Any], report: dict[str, Any]
) -> None:
    """Write the bundle.

    Args:
        network: the trained policy.
        cases: the datasets that golden cases are made from, in equal parts.
        out: folder to make; its name is the policy's version. An existing bundle there is replaced.
        manifest: provenance that is written beside hashes and contract id; `training_cut_offs` and `commit` also enter
            the contract, and the histograms are those of its `datasets`.
        report: metrics and curves of the training run.

    Raises:
        ParityError: when graph and network differ by more than 1e-4 on a golden case; nothing is written.
    """
    check_destination(out)
    network.eval()
    made = [golden_cases(case, GOLDEN_CASES // len(cases)) for case in cases]
    observation = {name: np.concatenate([seen[name] for _, seen in made]) for name in made[0][1]}
    contract = interface(network.spec.period_days) | {
        "version": out.name, "training_cut_offs": manifest["training_cut_offs"], "commit": manifest["commit"],
    }  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        write_graph(network, observation, contract, staging / "policy.onnx")
        expected = network_answers(network, observation)
        check_parity(staging / "policy.onnx", observation, expected)
        texts = {
            f"text.{name}": np.array(
                [str(text) for case, (rows, _) in zip(cases, made, strict=True)
                 for text in getattr(case.observer.panel.items, name)[rows]]
            )
            for name in ("item_id", "location_id", "category", "parent_category", "region", "name")
        }  # fmt: skip
        golden = {f"input.{name}": value for name, value in observation.items()} | texts
        golden |= {f"output.{name}": value for name, value in expected.items()}
        np.savez_compressed(staging / "golden.npz", **golden)  # type: ignore[arg-type]
        save_weights(network, staging / "weights.npz")
        _write_json(staging / "report.json", report)
        own = [case for case in cases if case.observer.panel.name in manifest.get("datasets", ())]  # no drawn demand
        histograms = frozen_histograms(staging / "policy.onnx", own)
        if histograms is not None:
            write_histograms(staging, histograms)
        files = {path.name: sha256_of(path) for path in sorted(staging.iterdir())}
        _write_json(
            staging / "manifest.json",
            {"version": out.name, "contract_id": contract_id(contract), "sha256": files, **manifest},
        )
        staging.chmod(0o755)
        shutil.rmtree(out, ignore_errors=True)
        staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_graph(network: PolicyNetwork, observation: Observation, contract: dict[str, Any], path: Path) -> None:
    """Export to ONNX with a dynamic batch axis and the contract in its metadata."""
    fields = tuple(torch.from_numpy(observation[field.name]) for field in FIELDS)
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(value=False)  # the fused encoder kernel has no ONNX counterpart
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns about its own internals
            program = torch.onnx.export(
                _Answers(network), fields, dynamo=True, verbose=False,
                input_names=[field.name for field in FIELDS], output_names=[*(name for name, *_ in OUTPUTS), CONTEXT],
                dynamic_shapes=(tuple({0: torch.export.Dim("batch", min=1, max=65536)} for _ in FIELDS),),
            )  # fmt: skip
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    assert program is not None
    model = program.model_proto
    model.graph.value_info.append(model.graph.output.pop())  # the context is no answer; it keeps its name
    del model.metadata_props[:]
    for node in model.graph.node:  # the exporter notes source lines, and with them this machine's paths
        del node.metadata_props[:]
        node.doc_string = ""
    for function in model.functions:
        del function.metadata_props[:]
        for node in function.node:
            del node.metadata_props[:]
            node.doc_string = ""
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer]:
        del value.metadata_props[:]
    onnx.helper.set_model_props(model, {"contract": json.dumps(contract, sort_keys=True)})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def network_answers(network: PolicyNetwork, observation: Observation) -> dict[str, np.ndarray]:
    """What the network answers, by output name."""
    with torch.no_grad():
        output, _ = network(*(torch.from_numpy(observation[field.name]) for field in FIELDS))
    return {name: value.numpy() for name, value in zip((name for name, *_ in OUTPUTS), output, strict=True)}


def check_parity(path: Path, observation: Observation, expected: dict[str, np.ndarray]) -> float:
    """The largest difference between the graph's answers and `expected`, relative to 1 + the decision's largest value.

    `inventory_days` is a grid value: where the distribution's mean lies halfway between two, the last bit decides.
    It is compared through what it is read from, the logits.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    answers = dict(zip((name for name, *_ in OUTPUTS), session.run(None, dict(observation)), strict=True))
    worst = 0.0
    for name in ("daily_rate", "logits", "forecast"):
        size = np.abs(expected[name]).reshape(len(expected[name]), -1).max(axis=1)
        gap = np.abs(answers[name] - expected[name]).reshape(len(size), -1)
        difference = gap / (1 + size)[:, None]
        if not np.isfinite(difference).all() or difference.max() > PARITY:
            raise ParityError(
                f"{name} differs by {np.nanmax(difference):.2e} on a golden case, allowed is {PARITY:.0e}"
            )
        worst = max(worst, float(difference.max()))
    return worst


def sha256_of(path: Path) -> str:
    """Hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
