"""What each part of the recipe brings: the same small recipe with one thing changed, some seeds each, on a window that is
neither trained on nor tested on.

Everything after the supervised stages (RLOO, replays) starts from the supervised policy of the same seed. Weights are
kept in a folder, so that a run that was broken off goes on with the next variant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from simulator.observation import FIELDS, Observer
from simulator.panel import F64, I64
from simulator.step import State
from training.backtest import Decide
from training.checkpoint import load_weights, save_weights
from training.config import RECOVERED, STREAMS, LabelConfig, TrainConfig
from training.dataset import TrainingSet
from training.known import Past
from training.loop import Report, Run
from training.model import PolicyNetwork
from training.run import config_hash, train

BASE = "DL"
SIZES = {"0.1 M": 28, "0.9 M": 104, "4 M": 232}  # parameters -> width
OMEGAS, BETAS = (0.0, 0.5, 1.0), (0.0, 0.05, 0.2)
READ_AT_ONCE = 1024


class Variant(NamedTuple):
    """One recipe."""

    group: str
    name: str
    config: TrainConfig
    after: bool = False  # starts from the base's policy


def variants_of(base: TrainConfig) -> list[Variant]:
    """The base first, then the paper's checklist and what was added to it.

    Raises:
        ValueError: where the base has no alignment or no replays to vary.
    """
    for name in ("align", "rollout"):
        if not getattr(base, name).epochs:
            raise ValueError(f"{name}.epochs must be above 0 in a configuration to ablate, got 0")

    def only(**stages: Any) -> TrainConfig:
        quiet = {name: replace(getattr(base, name), epochs=0.0) for name in ("align", "rollout") if name not in stages}
        return replace(base, **(quiet | stages))

    def without(stage: str) -> TrainConfig:
        return only(**{stage: replace(getattr(base, stage), epochs=0.0)})

    def aligned(**changes: Any) -> TrainConfig:
        joint = replace(base.joint, epochs=0.0)
        return only(align=replace(base.align, **changes), joint=joint)

    loss, labels = base.loss, base.labels
    made = [Variant("supervised", BASE, only())]
    made += [Variant("stages", f"without the {stage} stage", without(stage)) for stage in ("forecast", "head", "joint")]
    made += [
        Variant("stages", "joint stage on labels, as the paper", only(loss=replace(loss, joint="label"))),
        Variant("stages", "forecast monitored only, as the paper", only(loss=replace(loss, forecast=0.0))),
    ]
    made += [
        Variant("streams", f"without {stream}", only(model=replace(base.model, left_out=stream))) for stream in STREAMS
    ]
    made += [
        Variant("labels", f"labels on {words}", only(labels=replace(labels, demand=demand)))
        for words, demand in (("recovered demand", RECOVERED), ("sales as they were", "sales"))
    ]
    made += [Variant("size", name, only(model=replace(base.model, width=width))) for name, width in SIZES.items()]
    made += [
        Variant("RLOO", f"DL+RL, omega {omega:g}, beta {beta:g}", aligned(omega=omega, beta=beta), after=True)
        for omega, beta in [(omega, base.align.beta) for omega in OMEGAS]
        + [(base.align.omega, beta) for beta in BETAS if beta != base.align.beta]
    ]
    portfolio = aligned(omega=0.0, pareto=0.0, portfolio=1.0, compare_with="policy")
    made.append(Variant("RLOO", "DL+RL, the portfolio's reward", portfolio, after=True))
    replays = only(rollout=base.rollout, joint=replace(base.joint, epochs=0.0))
    return [*made, Variant("replays", "DL+replays", replays, after=True)]


def trained(
    past: Past, variants: Sequence[Variant], seed: int, folder: Path, report: Callable[[Variant], Report]
) -> dict[str, PolicyNetwork]:
    """Every variant's network for one seed; those whose weights lie in `folder` are read from there.

    Args:
        past: the dataset and where its training ends.
        variants: the base first.
        seed: of all of them.
        folder: made where it is missing; a file a variant, named after its configuration and the data's end.
        report: what is called after every step of a variant.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known: tuple[LabelConfig, TrainingSet] | None = None
    networks: dict[str, PolicyNetwork] = {}
    for variant in variants:
        config = replace(variant.config, seed=seed)
        if known is None or known[0] != config.labels:
            known = config.labels, TrainingSet([past], config.labels, seed, config.loss.money_power)
        data = known[1]
        file = folder / f"{past.panel.name}-{past.end}-{config_hash(config)[:16]}.npz"
        network = PolicyNetwork(config.model, data.spec, data.grid.tolist())
        if file.is_file():
            load_weights(network, file)
        else:
            start = None
            if variant.after:
                network.load_state_dict(networks[BASE].state_dict())
                start = network
            network = train(data, config, Run(seed, report(variant)), start).network
            save_weights(network, file.with_suffix(".part.npz"))
            file.with_suffix(".part.npz").replace(file)
        network.eval()
        networks[variant.name] = network
    return networks


def decides(network: PolicyNetwork) -> Decide:
    """A network as a backtest replays it."""

    def decide(observer: Observer, rows: I64, t: int, state: State) -> F64:
        targets = np.empty(len(rows))
        for at in range(0, len(rows), READ_AT_ONCE):
            part = slice(at, at + READ_AT_ONCE)
            now = State(state.on_hand[part], state.pipeline[part])
            seen = observer.observe(rows[part], np.full(len(rows[part]), t), now)
            with torch.no_grad():
                output, _ = network(*(torch.from_numpy(seen[field.name]) for field in FIELDS))
            targets[part] = (output.inventory_days * output.daily_rate).numpy()
        return targets

    return decide
