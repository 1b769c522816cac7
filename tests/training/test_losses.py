"""The losses, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from training.loop import schedule
from training.losses import (
    cost_of_days,
    expected_cost,
    kl_to_standard_normal,
    label_likelihood,
    pinball,
    soft_labels,
)  # fmt: skip

CURVES = torch.tensor([[3.0, 1.0, 2.0], [5.0, 5.0, 5.0]])


def test_the_kl_of_a_standard_normal_is_zero_and_of_a_shifted_one_half_its_square() -> None:
    zero = torch.zeros(1, 4)
    assert kl_to_standard_normal(zero, zero).item() == 0
    assert kl_to_standard_normal(zero + 2.0, zero).item() == pytest.approx(4 * 2.0**2 / 2)
    narrow = kl_to_standard_normal(torch.zeros(1, 1), torch.full((1, 1), math.log(0.25)))
    assert narrow.item() == pytest.approx(0.5 * (0.25 - 1 - math.log(0.25)))


def test_a_soft_label_follows_the_curve_and_a_flat_curve_has_no_favourite() -> None:
    labels = soft_labels(CURVES, temperature=0.5)
    expected = [math.exp(-4), 1.0, math.exp(-2)]
    assert labels[0].tolist() == pytest.approx([e / sum(expected) for e in expected])
    assert labels[1].tolist() == pytest.approx([1 / 3] * 3)


def test_the_likelihood_is_the_cross_entropy() -> None:
    logits = torch.log(torch.tensor([[0.2, 0.5, 0.3]]))
    label = torch.tensor([[0.0, 1.0, 0.0]])
    assert label_likelihood(logits, label).item() == pytest.approx(-math.log(0.5))


def test_the_expected_cost_weighs_every_day_by_its_probability() -> None:
    logits = torch.log(torch.tensor([[0.2, 0.5, 0.3]]))
    assert expected_cost(logits, CURVES[:1]).item() == pytest.approx(0.2 * 3 + 0.5 * 1 + 0.3 * 2)


def test_the_cost_between_two_days_is_interpolated_with_the_slope_as_gradient() -> None:
    grid = torch.tensor([0.0, 1.0, 3.0])
    days = torch.tensor([2.0, 0.5], requires_grad=True)
    cost = cost_of_days(days, grid, torch.stack([CURVES[0], CURVES[0]]))
    assert cost.tolist() == pytest.approx([1.5, 2.0])
    cost.sum().backward()  # type: ignore[no-untyped-call]
    assert days.grad is not None
    assert days.grad.tolist() == pytest.approx([0.5, -2.0])


def test_unknown_demand_counts_in_no_quantile_loss() -> None:
    forecast = torch.tensor([[[2.0], [7.0]]])
    demand = torch.tensor([[5.0, float("nan")]])
    assert pinball(forecast, demand, (0.9,)).item() == pytest.approx(0.9 * 3)


def test_demand_known_from_below_punishes_only_quantiles_below_it() -> None:
    forecast = torch.tensor([[[2.0], [7.0]]], requires_grad=True)
    demand, censored = torch.tensor([[5.0, 5.0]]), torch.tensor([[True, True]])
    loss = pinball(forecast, demand, (0.9,), censored)
    assert loss.item() == pytest.approx(0.9 * 3 / 2)
    loss.backward()  # type: ignore[no-untyped-call]
    assert forecast.grad is not None
    assert forecast.grad.flatten().tolist() == pytest.approx([-0.45, 0.0])


def test_quantiles_come_out_right_where_stock_cuts_demand_off() -> None:
    """Drawn demand, sold up to a stock that is drawn too: left out, the days that sold out take the busy ones with them."""
    rng = np.random.default_rng(0)
    demand, stock = rng.gamma(4.0, 1.0, 20_000), rng.uniform(2.0, 9.0, 20_000)
    sold, ended = np.minimum(demand, stock), demand > stock
    levels = (0.25, 0.5, 0.75)
    target = torch.from_numpy(sold).float()[:, None]

    def fitted(values: torch.Tensor, censored: torch.Tensor | None) -> np.ndarray:
        points = torch.full((1, 1, 3), 3.0, requires_grad=True)
        optimiser = torch.optim.Adam([points], lr=0.05)
        for _ in range(300):
            optimiser.zero_grad()
            pinball(points.expand(len(values), 1, 3), values, levels, censored).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return points.detach().numpy().ravel()

    real = np.quantile(demand, levels)
    left_out = fitted(torch.where(torch.from_numpy(ended)[:, None], torch.nan, target), None)
    at_least = fitted(target, torch.from_numpy(ended)[:, None])
    assert (np.abs(at_least - real) < 0.5 * np.abs(left_out - real)).all()


def test_the_loss_of_a_batch_is_the_mean_of_its_halves() -> None:
    curves, logits = torch.rand(8, 5), torch.randn(8, 5)
    whole = expected_cost(logits, curves).mean()
    halves = (expected_cost(logits[:4], curves[:4]).mean() + expected_cost(logits[4:], curves[4:]).mean()) / 2
    assert whole.item() == pytest.approx(halves.item())


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    rates = [schedule(step, 200) for step in range(200)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == 1
    assert rates[-1] < 1e-3
    assert rates[10:] == sorted(rates[10:], reverse=True)
