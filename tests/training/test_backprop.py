"""DirectBackprop: the differentiable replay is the simulator's replay, and its gradient is the slope of the cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from solver.labels import history_window
from training.backprop import Episodes, backprop, choosing_parameters, episodes_of, replay_cost
from training.config import RolloutConfig
from training.dataset import TrainingSet
from training.loop import Run
from training.model import PolicyNetwork

SMALL = RolloutConfig(epochs=6.0, episodes=96, variants=2, periods=42, batch_size=32, learning_rate=2e-3)


@pytest.fixture
def episodes(network: PolicyNetwork, training_set: TrainingSet) -> list[Episodes]:
    return episodes_of(network, training_set, SMALL, 0.5, np.random.default_rng(0), lambda *_: None)


def test_a_stretch_costs_what_a_replay_by_hand_costs(network: PolicyNetwork, episodes: list[Episodes]) -> None:
    """One series, period by period, with plain numbers."""
    network.eval()
    one = episodes[0].take(torch.tensor([5]))
    with torch.no_grad():
        cost = float(replay_cost(network, one))
        stock, lead = float(one.on_hand[0]), int(one.lead_periods[0])
        coming = [0.0] * (one.demand.shape[1] + lead + 1)
        total = 0.0
        for t in range(one.demand.shape[1]):
            stock += coming[t]
            sold = min(stock, float(one.demand[0, t]))
            lost, stock = float(one.demand[0, t]) - sold, stock - sold
            total += float(one.counted[0, t]) * (stock * float(one.held[0]) + lost)
            row = int(one.decision[0, t])
            if row < 0:
                continue
            context = type(one.context)(*(column[[row]] for column in one.context))
            x = {name: column[[row]] for name, column in one.numbers.items()}
            ahead = torch.zeros(1, network.spec.horizon)
            for j in range(min(lead, network.spec.horizon)):
                ahead[0, j] = coming[t + 1 + j]
            latent = network.choose(x | {"on_hand": torch.tensor([stock]), "on_order": ahead}, context)
            missing = max(float(latent.days * context.rate) - stock - sum(coming[t + 1 :]), 0.0)
            coming[t + lead] += float(np.ceil(missing - 1e-4))
    assert cost == pytest.approx(total * float(one.weight[0]) / float(one.counted.sum()), rel=1e-3)


def test_costs_count_from_the_first_arrival_to_the_last_and_only_known_demand(episodes: list[Episodes]) -> None:
    for part in episodes:
        for row in range(len(part.demand)):
            due = np.flatnonzero(part.decision[row].numpy() >= 0)
            arrivals = due + int(part.lead_periods[row])
            counted = np.flatnonzero(part.counted[row].numpy())
            if len(counted):
                assert counted.min() >= arrivals.min()
                assert counted.max() < arrivals[arrivals <= part.demand.shape[1]].max()


def test_no_stretch_reaches_the_cut_off(training_set: TrainingSet, network: PolicyNetwork) -> None:
    """What comes after the end is replaced; every stretch stays as it was."""
    known = training_set.known[0]
    later = known.demand.copy()
    later[:, known.end :] = 1e6
    changed = TrainingSet.__new__(TrainingSet)
    changed.__dict__ |= training_set.__dict__ | {"known": [replace(known, demand=later)]}
    for data in (training_set, changed):
        made = episodes_of(network, data, SMALL, 0.5, np.random.default_rng(3), lambda *_: None)
        assert float(made[0].demand.max()) < 1e5


def test_a_history_of_too_few_stretches_is_not_replayed(training_set: TrainingSet, network: PolicyNetwork) -> None:
    known = training_set.known[0]
    stretches = len(history_window(known.panel, known.end)) / SMALL.periods
    for least, replayed in ((stretches, True), (stretches + 0.1, False)):
        config = replace(SMALL, least_stretches=least)
        made = episodes_of(network, training_set, config, 0.5, np.random.default_rng(0), lambda *_: None)
        assert bool(made) is replayed


def test_replays_get_cheaper_and_only_the_small_half_moves(network: PolicyNetwork, episodes: list[Episodes]) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.eval()
    with torch.no_grad():
        first = float(torch.cat([replay_cost(network, part) for part in episodes]).mean())
    backprop(network, episodes, SMALL, Run(0, lambda *_: None))
    with torch.no_grad():
        last = float(torch.cat([replay_cost(network, part) for part in episodes]).mean())
    assert last < first
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert len(moved) <= len(choosing_parameters(network))
    assert not {name for name in moved if name.startswith(("sales", "past", "future", "attribute", "forecast"))}


def test_the_gradient_is_the_slope_of_the_cost(network: PolicyNetwork, episodes: list[Episodes]) -> None:
    """In a continuous dataset, where no pack hides the slope: against a finite difference along the gradient."""
    network.eval()
    part = episodes[0]._replace(multiple=torch.zeros_like(episodes[0].multiple))
    for parameter in network.parameters():
        parameter.requires_grad = False
    bias = network.to_logits.bias
    bias.requires_grad = True
    (gradient,) = torch.autograd.grad(replay_cost(network, part).mean(), bias)
    slope, direction = float(gradient.norm()), gradient / gradient.norm()
    costs = []
    with torch.no_grad():
        for step in (-2e-3, 4e-3):
            bias += step * direction
            costs.append(float(replay_cost(network, part).double().mean()))
        bias -= 2e-3 * direction
    assert (costs[1] - costs[0]) / 4e-3 == pytest.approx(slope, rel=0.05)
