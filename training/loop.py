"""One stage of training: steps, learning rate, checkpoints, what is logged.

Everything random in a step follows from (seed, stage, step), so a run that is taken up again from any checkpoint goes
the way it would have gone. Checkpoints are plain arrays; nothing is pickled.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from training.config import StageConfig

STAGES = ("forecast", "head", "joint", "align", "rollout")
Trace = dict[str, float]  # what one step logs; "loss" is always there
Report = Callable[[str, int, int, Trace], None]  # (stage, step, steps, trace)
CLIP = 1.0


class Batches(NamedTuple):
    """A stage's work: how many batches a pass has, and each pass in a drawn order."""

    per_pass: int
    order: Callable[[np.random.Generator], Sequence[Any]]  # the batches of one pass, `per_pass` of them


@dataclass
class Run:
    """A training run: where it stands, and what it tells while it goes on."""

    seed: int
    report: Report
    checkpoint: Path | None = None  # file to write every `every_s` seconds and to take up again from
    fingerprint: str = ""  # of everything that the run depends on; a checkpoint of another run is left alone
    every_s: float = 60.0
    losses: dict[str, list[float]] = field(default_factory=dict)  # stage -> loss of each step so far
    traces: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # stage -> what else each step logged
    anchor: dict[str, Tensor] = field(default_factory=dict)  # the weights that an alignment is held to

    def rng(self, stage: str, number: int) -> np.random.Generator:
        """The generator of one pass of a stage, or of its preparation (number -1)."""
        return np.random.default_rng([self.seed, STAGES.index(stage), number + 1])

    def log(self, stage: str, trace: Trace) -> None:
        """Keep what a step logged."""
        self.losses.setdefault(stage, []).append(trace["loss"])
        for name, value in trace.items():
            self.traces.setdefault(stage, {}).setdefault(name, []).append(value)


def run_stage(
    network: nn.Module, stage: str, parameters: Sequence[nn.Parameter], config: StageConfig, batches: Batches,
    step_of: Callable[[Any], tuple[Tensor, Trace]], run: Run, stop: Callable[[Trace], str] | None = None,
    rates: Mapping[nn.Parameter, float] | None = None,
) -> str:  # fmt: skip
    """AdamW with warm-up and cosine over `config.epochs` passes; parameters not named stay as they are.

    Args:
        network: trained in place.
        stage: one of `STAGES`.
        parameters: what learns.
        config: passes, learning rate, weight decay.
        batches: the stage's work.
        step_of: loss and log of one batch.
        run: where losses go and checkpoints come from.
        stop: says why to stop at a step, "" to go on; the step is then not taken.
        rates: learning rates of parameters that have their own.

    Returns:
        Why the stage ended before its last step; "" where it did not.
    """
    _let_learn(network, parameters)
    steps = max(1, math.ceil(config.epochs * batches.per_pass)) if config.epochs else 0
    optimiser = _optimiser(parameters, config, rates or {})
    losses = run.losses.setdefault(stage, [])
    if losses and run.checkpoint is not None:
        _restore_optimiser(optimiser, parameters, run.checkpoint)
    saved, pass_number, order = time.monotonic(), -1, list[Any]()
    while len(losses) < steps:
        step = len(losses)
        if step // batches.per_pass != pass_number:
            pass_number = step // batches.per_pass
            order = list(batches.order(run.rng(stage, pass_number)))
        torch.manual_seed(np.random.SeedSequence([run.seed, STAGES.index(stage), step]).generate_state(1)[0])
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * schedule(step, steps)
        loss, trace = step_of(order[step % batches.per_pass])
        trace = {"loss": float(loss.detach())} | trace
        reason = stop(trace) if stop is not None else ""
        if reason:
            return f"{reason} at step {step + 1} of {steps}"
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, CLIP)
        optimiser.step()
        run.log(stage, trace)
        run.report(stage, len(losses), steps, trace)
        if run.checkpoint is not None and (time.monotonic() - saved > run.every_s or len(losses) == steps):
            save(network, parameters, optimiser, run)
            saved = time.monotonic()
    return ""


def _let_learn(network: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
    """These alone."""
    for parameter in network.parameters():
        parameter.requires_grad = False
    for parameter in parameters:
        parameter.requires_grad = True


def _optimiser(
    parameters: Sequence[nn.Parameter], config: StageConfig, rates: Mapping[nn.Parameter, float]
) -> torch.optim.Optimizer:  # fmt: skip
    """AdamW with a group of parameters for each learning rate; its `peak` is what the schedule takes a share of."""
    peaks = [rates.get(parameter, config.learning_rate) for parameter in parameters]
    groups = [
        {"params": [parameter for parameter, own in zip(parameters, peaks, strict=True) if own == peak], "peak": peak}
        for peak in dict.fromkeys(peaks)
    ]
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay)


def schedule(step: int, steps: int) -> float:
    """Share of the peak learning rate: linear warm-up over 5 %, then a cosine to zero."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def twentieths(values: Sequence[float]) -> list[float]:
    """The mean of each twentieth of a log."""
    return [float(np.mean(part)) for part in np.array_split(values, min(20, len(values)))] if len(values) else []


# ---------------------------------------------------------------------------------------------------------- checkpoints


def save(network: nn.Module, parameters: Sequence[nn.Parameter], optimiser: torch.optim.Optimizer, run: Run) -> None:
    """Weights, moments and logs; the file is replaced whole, so that a crash leaves the one before."""
    assert run.checkpoint is not None
    arrays = {f"weight.{name}": value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    for index, parameter in enumerate(parameters):
        for name, value in optimiser.state[parameter].items():
            arrays[f"moment.{index}.{name}"] = value.cpu().numpy()
    arrays |= {f"anchor.{name}": value.cpu().numpy() for name, value in run.anchor.items()}
    log = {"fingerprint": run.fingerprint, "losses": run.losses, "traces": run.traces}
    arrays["log"] = np.frombuffer(json.dumps(log).encode(), dtype=np.uint8)
    part = run.checkpoint.with_suffix(".part.npz")
    np.savez(part, **arrays)  # type: ignore[arg-type]
    part.replace(run.checkpoint)


def resume(network: nn.Module, run: Run) -> bool:
    """Put a run back to where its checkpoint stands; False where there is none, or it is of another run."""
    if run.checkpoint is None or not run.checkpoint.is_file():
        return False
    with np.load(run.checkpoint, allow_pickle=False) as saved:
        log = json.loads(saved["log"].tobytes())
        if log["fingerprint"] != run.fingerprint:
            return False
        network.load_state_dict(_named(saved, "weight."))
        run.anchor = _named(saved, "anchor.")
    run.losses, run.traces = log["losses"], log["traces"]
    return True


def _named(saved: Any, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): torch.from_numpy(saved[name]) for name in saved.files if name.startswith(prefix)}


def _restore_optimiser(
    optimiser: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], checkpoint: Path
) -> None:  # fmt: skip
    """The moments that belong to the checkpoint's stage; a stage that has just begun has none."""
    with np.load(checkpoint, allow_pickle=False) as saved:
        for index, parameter in enumerate(parameters):
            names = [name for name in saved.files if name.startswith(f"moment.{index}.")]
            if names:
                optimiser.state[parameter] = {name.rsplit(".", 1)[1]: torch.from_numpy(saved[name]) for name in names}
