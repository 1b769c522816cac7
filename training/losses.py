"""What the stages minimise. Pure functions on tensors; no data, no model, no optimiser."""

from __future__ import annotations

import torch
from torch import Tensor


def pinball(
    forecast: Tensor, demand: Tensor, quantiles: tuple[float, ...], censored: Tensor | None = None
) -> Tensor:  # fmt: skip
    """Mean quantile loss where demand is known.

    Where it is only known from below, a quantile above that pays nothing, as in Powell's censored regression (1986).

    Args:
        forecast: (B, H, Q).
        demand: (B, H), NaN where unknown.
        quantiles: Q levels.
        censored: (B, H) where demand was at least that; nowhere if None.
    """
    known = ~torch.isnan(demand)
    target = torch.where(known, demand, torch.zeros_like(demand))[..., None]
    level = torch.tensor(quantiles, dtype=forecast.dtype, device=forecast.device)
    error = target - forecast
    if censored is not None:
        error = torch.where(censored[..., None], error.clamp(min=0.0), error)
    loss = torch.maximum(level * error, (level - 1) * error).mean(dim=-1)
    return (loss * known).sum() / known.sum().clamp(min=1)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """(B,) KL divergence of N(mean, exp(log_variance)) from N(0, I), summed over the latent's dimensions."""
    return 0.5 * (mean**2 + torch.exp(log_variance) - 1.0 - log_variance).sum(dim=-1)


def soft_labels(curves: Tensor, temperature: float) -> Tensor:
    """(B, V) distribution over days from the whole cost curve: exp(-(cost - least) / temperature), normalised.

    A flat stretch of the curve gets equal shares: where several days are equally good, none is the label.
    """
    return torch.softmax(-(curves - curves.min(dim=-1, keepdim=True).values) / temperature, dim=-1)


def label_likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """(B,) minus the log-likelihood of a soft label: the ELBO's first part."""
    return -(labels * torch.log_softmax(logits, dim=-1)).sum(dim=-1)


def expected_cost(logits: Tensor, curves: Tensor) -> Tensor:
    """(B,) sum over days of probability x cost: exact over all actions, without sampling."""
    return (torch.softmax(logits, dim=-1) * curves).sum(dim=-1)


def cost_of_days(days: Tensor, grid: Tensor, curves: Tensor) -> Tensor:
    """(B,) cost of a day between grid points, interpolated linearly, with a gradient in `days`."""
    upper = torch.searchsorted(grid, days.detach().contiguous()).clamp(1, len(grid) - 1)
    low, high = grid[upper - 1], grid[upper]
    share = (days - low) / (high - low)
    left = curves.gather(1, (upper - 1)[:, None])[:, 0]
    right = curves.gather(1, upper[:, None])[:, 0]
    return left + share * (right - left)
