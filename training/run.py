"""label -> pretrain -> align -> export in one go: what `orpr train` does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import torch

from simulator.observation import ObservationSpec, Observer
from simulator.ordering import inventory_days_grid
from simulator.panel import Panel
from training.align import advice_of, align
from training.backprop import backprop, episodes_of
from training.checkpoint import load_weights, save_weights
from training.config import ALL, ModelConfig, TrainConfig
from training.dataset import TrainingSet
from training.experts import Sifted
from training.export import Case, ParityError, check_destination, export_bundle
from training.known import Past
from training.loop import Report, Run, resume, twentieths
from training.model import PolicyNetwork
from training.pretrain import adapt, pretrain

CONFIGS = Path(__file__).parent / "configs"


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


Choose = Callable[[TrainingSet], Sifted]
Judge = Callable[[PolicyNetwork, TrainingSet], dict[str, Any]]  # -> what the manifest says of it


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
    datasets: Sequence[Dataset], config: TrainConfig, out: Path, *, commit: str, command: str, report: Report,
    start_from: Path | None = None, also_dl: bool = False, experts: Choose | None = None, judge: Judge | None = None,
    rests_on: str = "",
) -> Result:  # fmt: skip
    """Train a policy on everything before each dataset's end and write its bundle.

    A run that was broken off goes on from its checkpoint beside `out` when it is started again as it was.

    Args:
        datasets: what to learn from, together.
        config: the recipe. With `start_from`, its network size is the old bundle's.
        out: the bundle's folder; its name is the version.
        commit, command: provenance; the command line as it was typed.
        report: called as (stage, step, steps, what the step logged).
        start_from: a bundle whose weights are adapted instead of starting anew.
        also_dl: write `out`-dl too, the policy after its supervised stages.
        experts: chooses experts' decisions for the alignment to learn from besides.
        judge: says what the trained network is worth before it is written, for the manifest.
        rests_on: names what else the weights follow from; a checkpoint of another is left alone.
    """
    dl = out.with_name(f"{out.name}-dl")
    for folder in (out, dl) if also_dl else (out,):
        check_destination(folder)
    data = TrainingSet(
        [Past(dataset.panel, dataset.end) for dataset in datasets], config.labels, config.seed, config.loss.money_power,
        lambda done, total: report("label", done, total, {}),
    )  # fmt: skip
    checkpoint = out.with_name(f"{out.name}.checkpoint.npz")
    out.parent.mkdir(parents=True, exist_ok=True)
    depends_on = [
        config_hash(config),
        *(f"{d.panel.name} {d.end} {d.sha256}" for d in datasets),
        str(start_from),
        rests_on,
    ]
    run = Run(config.seed, report, checkpoint, hashlib.sha256("\n".join(depends_on).encode()).hexdigest())
    provenance = _provenance(datasets, start_from) | {"commit": commit, "command": command, "decisions": data.size}

    def write(result: Result, folder: Path, recipe: TrainConfig) -> None:
        recipe = replace(recipe, model=result.network.config)  # an adapted network keeps its own size
        report("export", 0, 1, {})
        _write(result, data, folder, provenance | {"config": recipe.as_dict(), "config_sha256": config_hash(recipe)})
        report("export", 1, 1, {})

    def after_dl(result: Result) -> None:
        write(
            result,
            dl,
            replace(config, align=replace(config.align, epochs=0.0), rollout=replace(config.rollout, epochs=0.0)),
        )

    start = None if start_from is None else network_of(start_from, data.spec)
    chosen = None if experts is None else experts(data)
    trained = train(data, config, run, start, after_dl if also_dl else None, chosen)
    if judge is not None:
        provenance |= judge(trained.network, data)
    write(trained, out, config)
    checkpoint.unlink(missing_ok=True)
    return trained


def _provenance(datasets: Sequence[Dataset], start_from: Path | None) -> dict[str, Any]:
    """What the manifest says of where the weights come from."""
    cut_offs = {d.panel.name: d.panel.date_of(d.end - 1).isoformat() for d in datasets}
    if start_from is not None:  # what the old weights have seen, the new ones have
        for name, day in manifest_of(start_from)["training_cut_offs"].items():
            cut_offs[name] = max(day, cut_offs.get(name, day))
    return {
        "datasets": {d.panel.name: {"sha256": d.sha256, "source": d.panel.source} for d in datasets},
        "period_days": datasets[0].panel.period_days,
        "training_cut_offs": cut_offs,
        "adapted_from": start_from.name if start_from else None,
    }


def _write(result: Result, data: TrainingSet, out: Path, manifest: dict[str, Any]) -> None:
    """Export the bundle; where the graph is refused, the weights are kept beside it."""
    manifest |= {"parameters": sum(parameter.numel() for parameter in result.network.parameters())}
    cases = [Case(Observer(known.panel, data.spec, known.rates), known.end - 1) for known in data.known]
    rescue = out.with_name(f"{out.name}.weights.npz")
    save_weights(result.network, rescue)
    try:
        export_bundle(result.network, cases, out, manifest, {"losses": result.losses, "alignment": result.alignment})
    except ParityError as error:
        raise ParityError(f"{error}; the trained weights are kept in {rescue}") from error
    rescue.unlink()


def train(
    data: TrainingSet, config: TrainConfig, run: Run, start: PolicyNetwork | None = None,
    after_dl: Callable[[Result], None] | None = None, experts: Sifted | None = None,
) -> Result:  # fmt: skip
    """All stages of a recipe: forecast, head and joint from nothing, joint only from `start`; then RLOO and replays.

    torch draws initial weights from its one global generator, so the seed is set here, and again before each step.

    Args:
        data: decisions to learn from.
        config: the recipe.
        run: where it stands; a checkpoint is taken up.
        start: a network to adapt, trained in place.
        after_dl: called when the supervised stages are over.
        experts: decisions that the alignment learns from besides its own.
    """
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    network = PolicyNetwork(config.model, data.spec, data.grid.tolist()) if start is None else start
    if config.align.moves != ALL and config.align.epochs:
        network.add_promotion_head()
    resume(network, run)
    (pretrain if start is None else adapt)(network, data, config, run)
    if after_dl is not None and not {"align", "rollout"} & run.losses.keys():
        after_dl(_result(network, run, ""))
    advice = None if experts is None else advice_of(network, experts)
    stopped = align(network, data, config.align, run, advice) if config.align.epochs else ""
    if config.rollout.epochs:
        episodes = episodes_of(
            network, data, config.rollout, config.loss.money_power, run.rng("rollout", -1),
            lambda step, steps: run.report("read", step, steps, {}),
        )  # fmt: skip
        if episodes:
            backprop(network, episodes, config.rollout, run)
    for parameter in network.parameters():
        parameter.requires_grad = True
    return _result(network, run, stopped)


def _result(network: PolicyNetwork, run: Run, stopped: str) -> Result:
    network.eval()
    losses = {stage: twentieths(values) for stage, values in run.losses.items()}
    alignment: dict[str, Any] = {name: twentieths(values) for name, values in run.traces.get("align", {}).items()}
    if alignment:
        alignment |= {"stopped": stopped, "steps": len(run.losses["align"])}
    return Result(network, losses, alignment)


def export_again(bundle: Path, panels: Sequence[Panel], out: Path, *, commit: str) -> None:
    """Write a bundle's weights as a new bundle, with the graph that the code makes now.

    Args:
        bundle: where the weights come from; its provenance is kept.
        panels: datasets it was trained on, for the golden cases.
        out: the new bundle's folder.
        commit: of the code that exports; the manifest keeps the commit that trained beside it.

    Raises:
        ValueError: where the bundle was not trained on a dataset of one's name.
    """
    manifest = manifest_of(bundle)
    spec = ObservationSpec(panels[0].period_days)
    cases = []
    for panel in panels:
        cut_off = manifest["training_cut_offs"].get(panel.name)
        if cut_off is None:
            raise ValueError(f"bundle {bundle.name} was not trained on {panel.name}")
        last = min(panel.period_of(date.fromisoformat(cut_off)), panel.last_recorded)
        cases.append(Case(Observer(panel, spec), last))
    network = network_of(bundle, spec)
    kept = {k: v for k, v in manifest.items() if k not in ("version", "contract_id", "sha256")}
    kept |= {"period_days": spec.period_days, "export_commit": commit}
    report = json.loads((bundle / "report.json").read_text(encoding="utf-8"))
    export_bundle(network, cases, out, kept, report)


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
    return network.eval()  # z at its mean and no dropout until somebody trains it
