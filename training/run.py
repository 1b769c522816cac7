"""label -> pretrain -> export in one go: what `orpr train` does."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from simulator.observation import ObservationSpec, Observer
from simulator.ordering import inventory_days_grid
from simulator.panel import Panel
from training.checkpoint import load_weights, save_weights
from training.config import ModelConfig, TrainConfig
from training.dataset import TrainingSet
from training.export import ParityError, check_destination, export_bundle
from training.model import PolicyNetwork
from training.pretrain import Progress, Trained, adapt, pretrain

CONFIGS = Path(__file__).parent / "configs"


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
    panel: Panel, config: TrainConfig, end: int, out: Path, *, commit: str, data_hash: str, command: str,
    progress: Progress, start_from: Path | None = None,
) -> Trained:  # fmt: skip
    """Train a policy on everything before period `end` and write its bundle.

    Args:
        panel: the dataset.
        config: the recipe. With `start_from`, its network size is the old bundle's.
        end: first period that training must not read.
        out: the bundle's folder; its name is the version.
        commit, data_hash, command: provenance; the command line as it was typed.
        progress: called as (stage, step, steps, loss).
        start_from: a bundle whose weights are adapted instead of starting anew.
    """
    check_destination(out)
    data = TrainingSet(
        panel, config.labels, end, config.seed, config.loss.money_power,
        lambda done, total: progress("label", done, total, float("nan")),
    )  # fmt: skip
    if start_from is None:
        trained = pretrain(data, config, progress)
    else:
        trained = adapt(_network_of(start_from, data.spec), data, config, progress)
    config = replace(config, model=trained.network.config)  # an adapted network keeps its own size
    cut_off = panel.date_of(end - 1).isoformat()
    if start_from is not None:  # what the old weights have seen, the new ones have
        cut_off = max(cut_off, _manifest_of(start_from)["training_cut_off"])
    manifest: dict[str, Any] = {
        "dataset": panel.name,
        "period_days": panel.period_days,
        "data_sha256": data_hash,
        "config": config.as_dict(),
        "config_sha256": config_hash(config),
        "training_cut_off": cut_off,
        "commit": commit,
        "command": command,
        "adapted_from": start_from.name if start_from else None,
        "parameters": sum(parameter.numel() for parameter in trained.network.parameters()),
        "decisions": data.size,
    }
    observer = Observer(panel, data.spec, data.rates)
    rescue = out.with_name(f"{out.name}.weights.npz")
    out.parent.mkdir(parents=True, exist_ok=True)
    save_weights(trained.network, rescue)
    progress("export", 0, 1, float("nan"))
    try:
        export_bundle(trained.network, observer, end - 1, out, manifest, {"losses": trained.losses})
    except ParityError as error:
        raise ParityError(f"{error}; the trained weights are kept in {rescue}") from error
    rescue.unlink()
    progress("export", 1, 1, float("nan"))
    return trained


def export_again(bundle: Path, panel: Panel, out: Path, *, commit: str) -> None:
    """Write a bundle's weights as a new bundle, with the graph that the code makes now.

    Args:
        bundle: where the weights come from; its provenance is kept.
        panel: the dataset it was trained on, for the golden cases.
        out: the new bundle's folder.
        commit: of the code that exports; the manifest keeps the commit that trained beside it.
    """
    manifest = _manifest_of(bundle)
    spec = ObservationSpec(panel.period_days)
    network = _network_of(bundle, spec)
    kept = {k: v for k, v in manifest.items() if k not in ("version", "contract_id", "sha256")}
    kept |= {"period_days": panel.period_days, "export_commit": commit}
    report = json.loads((bundle / "report.json").read_text(encoding="utf-8"))
    last = panel.period_of(date.fromisoformat(manifest["training_cut_off"]))
    export_bundle(network, Observer(panel, spec), min(last, panel.last_recorded), out, kept, report)


def config_hash(config: TrainConfig) -> str:
    """SHA-256 of a configuration."""
    return hashlib.sha256(json.dumps(config.as_dict(), sort_keys=True).encode()).hexdigest()


def _manifest_of(bundle: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    return manifest


def _network_of(bundle: Path, spec: ObservationSpec) -> PolicyNetwork:
    network = PolicyNetwork(
        ModelConfig(**_manifest_of(bundle)["config"]["model"]), spec, inventory_days_grid().tolist()
    )
    load_weights(network, bundle / "weights.npz")
    return network
