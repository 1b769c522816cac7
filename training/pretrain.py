"""The three stages of section 3.1.2: forecast, decision head on a frozen encoder, everything on the decision loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from training.config import LossConfig, StageConfig, TrainConfig
from training.dataset import Batch, TrainingSet
from training.losses import (
    cost_of_days,
    expected_cost,
    kl_to_standard_normal,
    label_likelihood,
    pinball,
    soft_labels,
)  # fmt: skip
from training.model import QUANTILES, Context, Latent, PolicyNetwork, named

Progress = Callable[[str, int, int, float], None]  # (stage, step, steps, loss)
LossFunction = Callable[[Latent, Batch], Tensor]


class Trained(NamedTuple):
    """A network and how its losses went."""

    network: PolicyNetwork
    losses: dict[str, list[float]]  # stage -> mean loss of each twentieth of its steps


def pretrain(data: TrainingSet, config: TrainConfig, progress: Progress) -> Trained:
    """Train a policy from nothing.

    Args:
        data: decisions to learn from.
        config: sizes, stages and loss weights.
        progress: called after every step.
    """
    _seed(config)
    network = PolicyNetwork(config.model, data.spec, data.grid.tolist())
    return _run(network, data, config, progress, ("forecast", "head", "joint"))


def adapt(network: PolicyNetwork, data: TrainingSet, config: TrainConfig, progress: Progress) -> Trained:
    """Carry a trained network over to other data: the joint stage only."""
    _seed(config)
    return _run(network, data, config, progress, ("joint",))


def _seed(config: TrainConfig) -> None:
    """torch draws its initial weights, dropout and latent samples from its one global generator."""
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)


def _run(
    network: PolicyNetwork, data: TrainingSet, config: TrainConfig, progress: Progress, names: tuple[str, ...]
) -> Trained:
    rng = np.random.default_rng(config.seed)
    heads = [*network.decision_head.parameters(), *network.to_logits.parameters()]
    everything = list(network.parameters())
    stages: dict[str, tuple[StageConfig, list[nn.Parameter], LossFunction]] = {
        "forecast": (config.forecast, everything, forecast_loss),
        "head": (config.head, heads, lambda latent, batch: label_loss(latent, batch, config.loss)),
        "joint": (
            config.joint,
            everything,
            lambda latent, batch: decision_loss(latent, batch, network.grid, config.loss),
        ),
    }
    losses = {}
    for name in names:
        stage, parameters, loss = stages[name]
        losses[name] = run_stage(
            network, parameters, loss, data, stage, rng, partial(progress, name), mixed=config.mixed_precision
        )
    network.eval()
    return Trained(network, losses)


def run_stage(
    network: PolicyNetwork, parameters: list[nn.Parameter], loss_of: LossFunction, data: TrainingSet,
    stage: StageConfig, rng: np.random.Generator, progress: Callable[[int, int, float], None], *, mixed: bool,
) -> list[float]:  # fmt: skip
    """AdamW with warm-up and cosine over `stage.epochs` passes; parameters not named stay as they are."""
    for parameter in network.parameters():
        parameter.requires_grad = False
    for parameter in parameters:
        parameter.requires_grad = True
    steps = max(1, math.ceil(stage.epochs * data.size / stage.batch_size)) if stage.epochs else 0
    optimiser = torch.optim.AdamW(parameters, lr=stage.learning_rate, weight_decay=stage.weight_decay)
    network.train()
    history: list[float] = []
    step = 0
    while step < steps:
        for batch in data.batches(stage.batch_size, rng):
            for group in optimiser.param_groups:
                group["lr"] = stage.learning_rate * schedule(step, steps)
            loss = loss_of(think(network, batch.fields, mixed=mixed), batch)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            history.append(float(loss.detach()))
            step += 1
            progress(step, steps, history[-1])
            if step == steps:
                break
    return [float(np.mean(part)) for part in np.array_split(history, min(20, len(history)))] if history else []


def schedule(step: int, steps: int) -> float:
    """Share of the peak learning rate: linear warm-up over 5 %, then a cosine to zero."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def think(network: PolicyNetwork, fields: tuple[Tensor, ...], *, mixed: bool) -> Latent:
    """`forward` without the read-out; where `mixed`, the products of the large half run in bfloat16."""
    x = named(fields)
    with torch.autocast(fields[0].device.type, torch.bfloat16, enabled=mixed):
        context = network.read(x)
    return network.choose(x, Context(*(column.float() for column in context)))


def forecast_loss(latent: Latent, batch: Batch) -> Tensor:
    """Stage 1: quantile loss of demand in rates, so that no series drowns another."""
    demand = (batch.demand / batch.scale.clamp(min=1e-6)[:, None]).clamp(max=30.0)
    return pinball(latent.scaled_forecast, demand, QUANTILES)


def label_loss(latent: Latent, batch: Batch, config: LossConfig) -> Tensor:
    """Stage 2: the negative ELBO of the soft OR labels."""
    labels = soft_labels(batch.curves, config.label_temperature)
    kl = kl_to_standard_normal(latent.mean, latent.log_variance)
    return (batch.weight * (label_likelihood(latent.logits, labels) + config.kl * kl)).mean()


def decision_loss(latent: Latent, batch: Batch, grid: Tensor, config: LossConfig) -> Tensor:
    """Stage 3: cost expected over all days, and cost of the day read out, from the same curves.

    The forecast's loss stays in. Left out, the decision bends the forecast to its own ends (the median drifts to 1.7
    times demand), and the service shows that forecast to planners.
    """
    cost = expected_cost(latent.logits, batch.curves)
    read = cost_of_days(latent.days, grid, batch.curves)
    kl = kl_to_standard_normal(latent.mean, latent.log_variance)
    decision = (batch.weight * (cost + config.readout * read + config.kl * kl)).mean()
    return decision + config.forecast * forecast_loss(latent, batch)
