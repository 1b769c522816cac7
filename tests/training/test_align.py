"""RLOO: rewards and the leave-one-out step by hand, the simulation against the reference replay, the stop."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from simulator.ordering import constrain, raw_order_quantity, rules_of
from simulator.rollout import World, rollout
from simulator.step import State
from training.align import align, leave_one_out, rloo_loss, traces_of
from training.config import AlignConfig
from training.dataset import TrainingSet
from training.loop import Run
from training.model import PolicyNetwork
from training.rewards import Actions, Prices, pareto_reward, portfolio_prices, rewards, rule_reward, simulated

SHORT = AlignConfig(epochs=1.0, samples=2000, batch_size=64, learning_rate=2e-3, horizon=21)


def run_of(seed: int = 0) -> Run:
    return Run(seed, lambda *_: None)


# Squared errors are in protection intervals of 4 days: (10 - 6) / 4 = 1, weighed 2 where the change goes the wrong way.
@pytest.mark.parametrize(
    ("days", "reference", "incumbent", "gamma", "expected"),
    [
        (10.0, 6.0, 5.0, 0.0, -1.0),  # both say more
        (10.0, 6.0, 8.0, 0.0, -2.0),  # more, where less was right
        (10.0, 6.0, 8.0, 1.0, -2.0 * (1 - np.exp(-2.0))),
        (10.0, 6.0, 5.0, 2.0, -((1 - np.exp(-1.0)) ** 2)),
        (6.0, 6.0, 8.0, 1.0, 0.0),
        (8.0, 6.0, 8.0, 0.0, -0.25),  # no change has no sign and contradicts nobody
        (8.2, 6.0, 8.0, 0.0, -((2.2 / 4) ** 2)),  # nor has one below a quarter of a day
    ],
)
def test_the_rule_reward_by_hand(
    days: float, reference: float, incumbent: float, gamma: float, expected: float
) -> None:
    reward = rule_reward(
        np.array([[days]]), np.array([reference]), np.array([incumbent]), np.array([4.0]), alpha=2.0, gamma=gamma
    )
    assert reward[0, 0] == pytest.approx(expected)


def test_a_sample_dominates_where_nothing_is_worse_and_something_better() -> None:
    stock = np.array([[90.0, 100.0, 110.0, 90.0, 100.0]])
    lost = np.array([[5.0, 4.0, 5.0, 6.0, 5.0]])
    assert pareto_reward(stock, lost, np.array([100.0]), np.array([5.0])).tolist() == [[1, 1, -1, 0, 0]]


def test_a_row_of_rloo_by_hand() -> None:
    """Rewards 1, 0, 2: the others' means are 1, 1.5, 0.5, so the advantages are 0, -1.5, 1.5."""
    reward = torch.tensor([[1.0, 0.0, 2.0]])
    torch.testing.assert_close(leave_one_out(reward), torch.tensor([[0.0, -1.5, 1.5]]))
    logits = torch.zeros(1, 3, requires_grad=True)
    loss = rloo_loss(torch.log_softmax(logits, dim=1), reward, torch.ones(1))
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == pytest.approx(0.0)  # log 1/3 times advantages that sum to nothing
    torch.testing.assert_close(logits.grad, torch.tensor([[0.0, 0.5, -0.5]]))


def test_equal_rewards_teach_nothing() -> None:
    """Pareto rewards tie often; divided by their deviation they would explode."""
    assert not leave_one_out(torch.full((4, 6), -1.0)).any()


def test_a_batch_split_in_two_gives_the_mean_of_both_losses() -> None:
    generator = torch.Generator().manual_seed(0)
    logs, reward = torch.rand(8, 4, generator=generator), torch.rand(8, 4, generator=generator)
    weight = torch.rand(8, generator=generator)
    halves = [rloo_loss(logs[part], reward[part], weight[part]) for part in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close(rloo_loss(logs, reward, weight), (halves[0] + halves[1]) / 2)


def test_the_simulation_of_a_sample_is_the_reference_replay(training_set: TrainingSet, network: PolicyNetwork) -> None:
    """Order, arrival, later reviews and costs, one decision at a time through `rollout`."""
    traces = traces_of(network, training_set, SHORT, np.random.default_rng(0))[0]
    copy, panel = traces.copy, traces.copy.source.panel
    rows, days = np.array([3, 40, 200]), np.array([[0.0, 3.0, 9.0]] * 3)
    found = simulated(traces, rows, days, SHORT.horizon)
    for b, row in enumerate(traces.chosen[rows]):
        n, t = int(copy.series[row]), int(copy.period[row])
        lead, review = int(panel.lead_periods[n]), int(panel.review_periods[n])
        length = SHORT.horizon
        ahead = np.arange(t + 1, t + 1 + length)
        for j, v in enumerate(days[b]):
            rules = rules_of(panel).take(np.array([n]))
            pipeline = np.zeros((1, max(lead, copy.arriving.shape[1])))
            pipeline[0, : copy.arriving.shape[1]] = copy.arriving[row]
            on_hand = np.array([float(copy.on_hand[row])])
            position = on_hand + pipeline.sum(axis=1)
            raw = raw_order_quantity(np.array([v * copy.source.rates.daily_rate[n, t]]), position, "order_up_to")
            pipeline[0, lead - 1] += constrain(raw, position, rules).order_quantity[0]
            due = (np.arange(1, length + 1) % review == 0)[None, :]
            world = World(copy.source.demand[[n]][:, ahead], due, np.array([lead]), rules, State(on_hand, pipeline))
            targets = copy.targets[n, ahead - copy.first]
            record = rollout(world, lambda s, _state, targets=targets: targets[s : s + 1])  # type: ignore[misc]
            assert found.stock[b, j] == pytest.approx(record.on_hand.sum(), rel=1e-6)
            assert found.lost[b, j] == pytest.approx(record.lost_sales.sum(), rel=1e-6, abs=1e-6)
            assert found.stockouts[b, j] == (record.lost_sales > 1e-6).sum()
    assert (np.diff(found.lost, axis=1) <= 1e-6).all()
    assert (found.cost > 0).all()


def test_at_the_portfolio_s_prices_scaling_every_action_gains_nothing(
    training_set: TrainingSet, network: PolicyNetwork
) -> None:
    traces = traces_of(network, training_set, SHORT, np.random.default_rng(0))[0]
    traces = traces._replace(rival=traces.incumbent)
    fair = replace(SHORT, portfolio=1.0, service=1.0)
    traces = traces._replace(prices=portfolio_prices(traces, fair))
    every = np.arange(traces.size)
    days = traces.rival[:, None] * np.array([0.95, 1.0, 1.05])
    scaled = rewards(traces, every, Actions(days, traces.rival), fair).portfolio.sum(axis=0)
    assert scaled[1] == 0.0
    assert scaled[0] == pytest.approx(scaled[2], abs=1e-9)
    usual = simulated(traces, every, traces.rival[:, None], SHORT.horizon)
    assert usual.stock.sum() * traces.prices.stock == pytest.approx(traces.size)
    assert usual.stockouts.any()
    assert portfolio_prices(traces, replace(fair, service=0.5)).stockout == traces.prices.stockout / 2


def test_where_scaling_trades_nothing_the_portfolio_has_no_prices(
    training_set: TrainingSet, network: PolicyNetwork
) -> None:
    """A price of stock alone would only ask for less."""
    traces = traces_of(network, training_set, SHORT, np.random.default_rng(0))[0]
    ample = traces._replace(rival=np.full(traces.size, 90.0))
    assert portfolio_prices(ample, replace(SHORT, portfolio=1.0)) == Prices()


def test_only_supplied_horizons_are_replayed(training_set: TrainingSet, network: PolicyNetwork) -> None:
    first = training_set.copies[0]
    in_stock = np.ones(first.source.demand.shape)
    in_stock[:, 600:640] = 0.0
    supply = np.pad(np.cumsum(in_stock, axis=1), ((0, 0), (1, 0)))
    patchy = copy(training_set)
    patchy.copies = [replace(first, source=replace(first.source, supply=supply, supply_periods=0))]
    traces = traces_of(network, patchy, SHORT, np.random.default_rng(0))[0]
    period = first.period[traces.chosen]
    shares = [in_stock[0, t + 1 : t + 1 + SHORT.horizon].mean() for t in period]
    assert min(shares) >= 0.9
    assert ((first.period >= 600) & (first.period < 638)).any()
    assert (period >= 640).any() and (period < 600).any()  # noqa: PT018 - both sides of the gap


def test_where_nothing_is_simulated_the_last_decisions_are_told_too(
    training_set: TrainingSet, network: PolicyNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order's own curve is known once its cycle is, a horizon's length before what follows in the simulator."""
    first = replace(training_set.copies[0])
    alone = copy(training_set)
    alone.copies = [first]
    cycle = (first.source.panel.lead_periods + first.source.panel.review_periods)[first.series]
    every = replace(SHORT, samples=10 * len(first.series))
    (whole,) = traces_of(network, alone, every, np.random.default_rng(0))
    assert first.period[whole.chosen].max() < first.source.end - SHORT.horizon
    plain = replace(every, omega=0.0, pareto=0.0, curve=1.0)
    (traces,) = traces_of(network, alone, plain, np.random.default_rng(0))
    assert len(traces.chosen) == len(first.period)
    assert (first.period + cycle).max() == first.source.end
    monkeypatch.setattr("training.rewards.simulated", None)  # would fail if it were called
    rows = np.arange(3)
    actions = Actions(np.full((3, 2), 4.0), np.full(3, 4.0))
    found = rewards(traces._replace(rival=traces.incumbent), rows, actions, plain)
    assert found.curve.all()
    assert not np.concatenate([found.pareto, found.saving, found.portfolio]).any()
    by_rule = replace(SHORT, omega=1.0, portfolio=1.0, kl_limit=100.0)  # a weight of nothing simulates nothing either
    assert align(network, alone, by_rule, run_of()) == ""


@pytest.mark.parametrize("reward", [{"saving": 1.0}, {"pareto": 0.0, "portfolio": 1.0, "compare_with": "policy"}])
def test_alignment_raises_what_it_rewards(
    training_set: TrainingSet, network: PolicyNetwork, reward: dict[str, Any]
) -> None:
    run = run_of()
    config = replace(SHORT, epochs=6.0, omega=0.0, beta=0.0, kl_limit=100.0, **reward)
    assert align(network, training_set, config, run) == ""
    earned = run.traces["align"]["reward"]
    assert np.mean(earned[-20:]) > np.mean(earned[:20])
    assert run.traces["align"]["kl"][-1] > 0


def test_alignment_stops_when_the_kl_spikes(training_set: TrainingSet, network: PolicyNetwork) -> None:
    run = run_of()
    stopped = align(network, training_set, replace(SHORT, learning_rate=0.05, kl_limit=0.05, epochs=5.0), run)
    assert stopped.startswith("KL ")
    assert all(kl <= 0.05 for kl in run.traces["align"]["kl"])


def test_a_strong_pull_to_the_reference_holds_the_policy(training_set: TrainingSet, network: PolicyNetwork) -> None:
    ends = []
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for beta in (0.0, 5.0):
        network.load_state_dict(before)
        run = run_of()
        align(network, training_set, replace(SHORT, beta=beta, epochs=4.0, kl_limit=100.0), run)
        ends.append(np.mean(run.traces["align"]["kl"][-10:]))
    assert ends[1] < 0.5 * ends[0]


def test_the_same_seed_aligns_to_the_same_weights(training_set: TrainingSet, network: PolicyNetwork) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = []
    for _ in range(2):
        network.load_state_dict(before)
        align(network, training_set, SHORT, run_of(7))
        found.append({name: value.clone() for name, value in network.state_dict().items()})
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    moved = {name for name, value in before.items() if not torch.equal(value, found[0][name])}
    assert moved
    assert not {name for name in moved if name.startswith(("sales", "past", "future", "attribute", "forecast"))}


@pytest.mark.parametrize(
    ("change", "named"),
    [({"samples_per_state": 1}, "samples_per_state"), ({"omega": 1.5}, "omega"), ({"alpha": 1.0}, "alpha"),
     ({"beta": -0.1}, "beta"), ({"kl_limit": 0.0}, "kl_limit"), ({"horizon": 0}, "horizon")],
)  # fmt: skip
def test_a_bad_alignment_fails_before_anything_is_trained(change: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        replace(AlignConfig(), **change)  # type: ignore[arg-type]


def test_a_horizon_that_no_history_holds_is_refused(training_set: TrainingSet, network: PolicyNetwork) -> None:
    with pytest.raises(ValueError, match=r"align\.horizon"):
        align(network, training_set, replace(SHORT, horizon=2000), run_of())
