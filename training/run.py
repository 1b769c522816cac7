"""label -> pretrain -> align -> export in one go: what `orpr train` does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from simulator.observation import ObservationSpec, Observer
from simulator.ordering import inventory_days_grid
from simulator.panel import Panel
from training.align import align
from training.backprop import backprop, episodes_of
from training.checkpoint import load_weights, save_weights
from training.config import ModelConfig, TrainConfig
from training.dataset import Past, TrainingSet
from training.export import Case, ParityError, check_destination, export_bundle
from training.model import PolicyNetwork
from training.pretrain import adapt, pretrain

CONFIGS = Path(__file__).parent / "configs"
Progress = Callable[[str, int, int, float], None]  # (stage, step, steps, loss)


class Dataset(NamedTuple):
    """One dataset to learn from."""

    panel: Panel
    end: int  # first period that training must not read
    sha256: str  # of its files


class Result(NamedTuple):
    """A network and how its training went."""

    network: PolicyNetwork
    losses: dict[str, list[float]]  # stage -> mean loss of each twentieth of its steps
    alignment: dict[str, Any]  # what RLOO logged, in twentieths; empty where it was not run


def named_config(name: str) -> Path:
    """The TOML file of a shipped configuration, or the file of that path.

    Raises:
        ValueError: when there is neither.
    """
    for path in (CONFIGS / f"{name}.toml", Path(name)):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.toml")))
    raise ValueError(f"config must be a TOML file or one of {known}, got {name!r}")


def train_bundle(
    datasets: Sequence[Dataset], config: TrainConfig, out: Path, *, commit: str, command: str, progress: Progress,
    start_from: Path | None = None,
) -> Result:  # fmt: skip
    """Train a policy on everything before each dataset's end and write its bundle.

    Args:
        datasets: what to learn from, together.
        config: the recipe. With `start_from`, its network size is the old bundle's.
        out: the bundle's folder; its name is the version.
        commit, command: provenance; the command line as it was typed.
        progress: called as (stage, step, steps, loss).
        start_from: a bundle whose weights are adapted instead of starting anew.
    """
    check_destination(out)
    data = TrainingSet(
        [Past(dataset.panel, dataset.end) for dataset in datasets], config.labels, config.seed, config.loss.money_power,
        lambda done, total: progress("label", done, total, float("nan")),
    )  # fmt: skip
    trained = train(data, config, progress, None if start_from is None else network_of(start_from, data.spec))
    config = replace(config, model=trained.network.config)  # an adapted network keeps its own size
    cut_offs = {d.panel.name: d.panel.date_of(d.end - 1).isoformat() for d in datasets}
    if start_from is not None:  # what the old weights have seen, the new ones have
        for name, day in manifest_of(start_from)["training_cut_offs"].items():
            cut_offs[name] = max(day, cut_offs.get(name, day))
    manifest: dict[str, Any] = {
        "datasets": {d.panel.name: {"sha256": d.sha256, "source": d.panel.source} for d in datasets},
        "period_days": data.spec.period_days,
        "config": config.as_dict(),
        "config_sha256": config_hash(config),
        "training_cut_offs": cut_offs,
        "commit": commit,
        "command": command,
        "adapted_from": start_from.name if start_from else None,
        "parameters": sum(parameter.numel() for parameter in trained.network.parameters()),
        "decisions": data.size,
    }
    cases = [Case(Observer(known.panel, data.spec, known.rates), known.end - 1) for known in data.known]
    rescue = out.with_name(f"{out.name}.weights.npz")
    out.parent.mkdir(parents=True, exist_ok=True)
    save_weights(trained.network, rescue)
    progress("export", 0, 1, float("nan"))
    try:
        export_bundle(trained.network, cases, out, manifest, {"losses": trained.losses, "alignment": trained.alignment})
    except ParityError as error:
        raise ParityError(f"{error}; the trained weights are kept in {rescue}") from error
    rescue.unlink()
    progress("export", 1, 1, float("nan"))
    return trained


def train(data: TrainingSet, config: TrainConfig, progress: Progress, start: PolicyNetwork | None = None) -> Result:
    """All stages of a recipe: forecast, head and joint from nothing, joint only from `start`; then RLOO and replays."""
    done = pretrain(data, config, progress) if start is None else adapt(start, data, config, progress)
    network, losses, alignment = done.network, dict(done.losses), {}
    rng = np.random.default_rng([config.seed, 1])
    if config.align.epochs:
        found = align(
            network, data, config.align, rng,
            lambda step, steps, trace: progress("align", step, steps, -trace["reward"]),
        )  # fmt: skip
        alignment = {"stopped": found.stopped, "steps": len(found.steps)} | {
            name: [float(np.mean(part)) for part in np.array_split([s[name] for s in found.steps], 20) if len(part)]
            for name in (found.steps[0] if found.steps else ())
        }
    if config.rollout.epochs:
        episodes = episodes_of(
            network, data, config.rollout, config.loss.money_power, rng,
            lambda step, steps: progress("read", step, steps, float("nan")),
        )  # fmt: skip
        losses["rollout"] = backprop(network, episodes, config.rollout, rng, partial(progress, "rollout"))
    network.eval()
    for parameter in network.parameters():
        parameter.requires_grad = True
    return Result(network, losses, alignment)


def export_again(bundle: Path, panel: Panel, out: Path, *, commit: str) -> None:
    """Write a bundle's weights as a new bundle, with the graph that the code makes now.

    Args:
        bundle: where the weights come from; its provenance is kept.
        panel: a dataset it was trained on, for the golden cases.
        out: the new bundle's folder.
        commit: of the code that exports; the manifest keeps the commit that trained beside it.

    Raises:
        ValueError: where the bundle was not trained on a dataset of that name.
    """
    manifest = manifest_of(bundle)
    cut_off = manifest["training_cut_offs"].get(panel.name)
    if cut_off is None:
        raise ValueError(f"bundle {bundle.name} was not trained on {panel.name}")
    spec = ObservationSpec(panel.period_days)
    network = network_of(bundle, spec)
    kept = {k: v for k, v in manifest.items() if k not in ("version", "contract_id", "sha256")}
    kept |= {"period_days": panel.period_days, "export_commit": commit}
    report = json.loads((bundle / "report.json").read_text(encoding="utf-8"))
    last = min(panel.period_of(date.fromisoformat(cut_off)), panel.last_recorded)
    export_bundle(network, [Case(Observer(panel, spec), last)], out, kept, report)


def config_hash(config: TrainConfig) -> str:
    """SHA-256 of a configuration."""
    return hashlib.sha256(json.dumps(config.as_dict(), sort_keys=True).encode()).hexdigest()


def manifest_of(bundle: Path) -> dict[str, Any]:
    """A bundle's manifest."""
    manifest: dict[str, Any] = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    return manifest


def network_of(bundle: Path, spec: ObservationSpec) -> PolicyNetwork:
    """A bundle's weights as a network.

    Raises:
        ValueError: where the weights are those of another network.
    """
    network = PolicyNetwork(ModelConfig(**manifest_of(bundle)["config"]["model"]), spec, inventory_days_grid().tolist())
    load_weights(network, bundle / "weights.npz")
    return network
