"""The three stages of section 3.1.2: forecast, decision head on a frozen encoder, everything on the decision loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from simulator.panel import I64
from training.config import LossConfig, StageConfig, TrainConfig
from training.dataset import Batch, Copy, TrainingSet
from training.loop import Run, Trace, run_stage
from training.losses import (
    cost_of_days,
    expected_cost,
    kl_to_standard_normal,
    label_likelihood,
    pinball,
    soft_labels,
)  # fmt: skip
from training.model import QUANTILES, Context, Latent, PolicyNetwork, named

LossFunction = Callable[[Latent, Batch], Tensor]


def pretrain(network: PolicyNetwork, data: TrainingSet, config: TrainConfig, run: Run) -> None:
    """All three stages from nothing.

    Args:
        network: freshly made; trained in place.
        data: decisions to learn from.
        config: sizes, stages and loss weights.
        run: where it stands; stages that it has done already are passed over.
    """
    heads = [*network.decision_head.parameters(), *network.to_logits.parameters()]
    everything = list(network.parameters())
    _learn(network, "forecast", everything, config.forecast, forecast_loss, data, config, run)
    _learn(network, "head", heads, config.head, partial(label_loss, config=config.loss), data, config, run)
    adapt(network, data, config, run)


def adapt(network: PolicyNetwork, data: TrainingSet, config: TrainConfig, run: Run) -> None:
    """The joint stage only: what a trained network needs to be carried over to other data."""
    loss = partial(decision_loss, grid=network.grid, config=config.loss)
    _learn(network, "joint", list(network.parameters()), config.joint, loss, data, config, run)


def _learn(
    network: PolicyNetwork, stage: str, parameters: list[nn.Parameter], settings: StageConfig, loss_of: LossFunction,
    data: TrainingSet, config: TrainConfig, run: Run,
) -> None:  # fmt: skip
    def step_of(item: tuple[Copy, I64]) -> tuple[Tensor, Trace]:
        batch = data.batch(*item)
        return loss_of(think(network, batch.fields, mixed=config.mixed_precision), batch), {}

    network.train()
    run_stage(network, stage, parameters, settings, data.batches(settings.batch_size), step_of, run)
    network.eval()


def think(network: PolicyNetwork, fields: tuple[Tensor, ...], *, mixed: bool) -> Latent:
    """`forward` without the read-out; where `mixed`, the products of the large half run in bfloat16."""
    x = named(fields)
    with torch.autocast(fields[0].device.type, torch.bfloat16, enabled=mixed):
        context = network.read(x)
    return network.choose(x, Context(*(column.float() for column in context)))


def forecast_loss(latent: Latent, batch: Batch) -> Tensor:
    """Stage 1: quantile loss of demand in rates, so that no series drowns another."""
    demand = (batch.demand / batch.scale.clamp(min=1e-6)[:, None]).clamp(max=30.0)
    return pinball(latent.scaled_forecast, demand, QUANTILES, batch.censored)


def label_loss(latent: Latent, batch: Batch, config: LossConfig) -> Tensor:
    """Stage 2: the negative ELBO of the soft OR labels."""
    labels = soft_labels(batch.curves, config.label_temperature)
    kl = kl_to_standard_normal(latent.mean, latent.log_variance)
    return (batch.weight * (label_likelihood(latent.logits, labels) + config.kl * kl)).mean()


def decision_loss(latent: Latent, batch: Batch, grid: Tensor, config: LossConfig) -> Tensor:
    """Stage 3: cost expected over all days, and cost of the day read out, from the same curves; or the labels again.

    The forecast's loss stays in. Left out, the decision bends the forecast to its own ends (the median drifts to 1.7
    times demand), and the service shows that forecast to planners.
    """
    forecast = config.forecast * forecast_loss(latent, batch)
    if config.joint == "label":
        return label_loss(latent, batch, config) + forecast
    cost = expected_cost(latent.logits, batch.curves)
    read = cost_of_days(latent.days, grid, batch.curves)
    kl = kl_to_standard_normal(latent.mean, latent.log_variance)
    return (batch.weight * (cost + config.readout * read + config.kl * kl)).mean() + forecast
