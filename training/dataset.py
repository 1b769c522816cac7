"""What the stages learn from: decisions of a panel's past, their cost curves and the demand that followed.

Everything ends before `end`: a decision is taken in only if its responsible periods do, and future demand is cut
there. The observations come from `simulator.observation`, the one code path that backtest and service use too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from simulator.observation import FIELDS, ObservationSpec, Observer, beyond_horizon, evidence, panel_rates
from simulator.ordering import inventory_days_grid
from simulator.panel import F32, I64, Panel
from solver.labels import cost_curves, epochs_of, history_window, label_demand, with_offset
from training.config import LabelConfig

DRAWN_REVIEWS = (1, 1, 2, 2, 3, 7)
DRAWN_RATIOS = (0.7, 0.95)


class Batch(NamedTuple):
    """B decisions."""

    fields: tuple[torch.Tensor, ...]
    curves: torch.Tensor  # (B, V) cost in days of lost sales
    weight: torch.Tensor  # (B,) mean 1
    demand: torch.Tensor  # (B, H) units of the periods ahead, NaN where unknown
    scale: torch.Tensor  # (B,) units a period


@dataclass(frozen=True)
class Copy:
    """One copy of the dataset: the real one, or one with drawn lead times, reviews and costs."""

    observer: Observer
    series: I64  # (E,)
    period: I64  # (E,)
    curves: F32  # (E, V)
    weight: F32  # (E,)


class TrainingSet:
    """All decisions to learn from, and batches of them."""

    def __init__(
        self, panel: Panel, config: LabelConfig, end: int, seed: int, money_power: float,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:  # fmt: skip
        rng = np.random.default_rng(seed)
        self.panel, self.end = panel, end
        self.spec = ObservationSpec(panel.period_days)
        self.grid = inventory_days_grid()
        self.rates = panel_rates(panel)
        found = evidence(panel.units_sold, panel.in_stock, panel.promotion * 0, panel.open)
        self._future = np.where(found.seen >= 0.999, found.demand, np.nan).astype(np.float32)
        self._future[:, end:] = np.nan
        self._replayed = label_demand(panel, recovered=config.recovered_demand, before=end)
        variants = [panel] + [draw_variant(panel, rng) for _ in range(config.drawn_variants)]
        self.copies: list[Copy] = []
        for done, variant in enumerate(variants, 1):
            self.copies.append(self._copy(variant, config, rng, money_power))
            if progress is not None:
                progress(done, len(variants))
        if not any(len(copy.series) for copy in self.copies):
            raise ValueError(f"{panel.name}: no decision before period {end} has a known outcome to learn from")

    @property
    def size(self) -> int:
        return sum(len(copy.series) for copy in self.copies)

    def _copy(self, variant: Panel, config: LabelConfig, rng: np.random.Generator, money_power: float) -> Copy:
        """Every period becomes a decision: the review calendar is shifted through its whole cycle."""
        window = history_window(variant, self.end)
        series, period, curves = [], [], []
        shifts = range(0, int(variant.items.review_period_days.max()), variant.period_days)
        share = config.samples_per_variant / max(variant.series_count * len(window), 1)
        for shift in shifts:
            epochs = epochs_of(with_offset(variant, shift), self.rates, window, demand=self._replayed)
            # A series reviewed every day is seen in each shift; keep its share of one pass.
            repeat = len(shifts) / variant.review_periods[epochs.series]
            keep = rng.random(len(epochs.series)) < np.minimum(share, 1.0) / repeat
            keep &= ~beyond_horizon(variant, self.spec)[epochs.series]
            epochs = epochs._replace(**{k: v[keep] for k, v in epochs._asdict().items()})
            if config.free_position:
                lift = epochs.inventory_position  # nothing in the position: every target orders
                epochs = epochs._replace(
                    inventory_position=np.zeros_like(lift),
                    stock_before_arrival=epochs.stock_before_arrival - lift,
                )
            costs = cost_curves(variant, epochs, self.grid)
            unit = epochs.daily_rate * variant.items.lost_sale_cost[epochs.series]
            series.append(epochs.series)
            period.append(epochs.period)
            curves.append((costs / np.maximum(unit, 1e-9)[:, None]).astype(np.float32))
        rows, periods = np.concatenate(series), np.concatenate(period)
        worth = self.rates.daily_rate[rows, periods] * variant.items.lost_sale_cost[rows]
        weight = worth**money_power
        return Copy(
            Observer(variant, self.spec, self.rates), rows, periods, np.concatenate(curves),
            (weight / max(weight.mean(), 1e-12)).astype(np.float32) if len(weight) else weight.astype(np.float32),
        )  # fmt: skip

    def batches(self, batch_size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """One pass in random order; a batch holds decisions of one copy."""
        plan = [
            (copy, chosen)
            for copy in self.copies
            for chosen in np.array_split(rng.permutation(len(copy.series)), max(1, len(copy.series) // batch_size))
            if len(chosen)
        ]
        for index in rng.permutation(len(plan)):
            yield self.batch(*plan[index])

    def batch(self, copy: Copy, chosen: I64) -> Batch:
        """The decisions `chosen` of one copy."""
        rows, periods = copy.series[chosen], copy.period[chosen]
        observation = copy.observer.observe(rows, periods)
        ahead = periods[:, None] + 1 + np.arange(self.spec.horizon)
        inside = ahead < self.panel.period_count
        future = self._future[rows[:, None], np.minimum(ahead, self.panel.period_count - 1)]
        scale = self.rates.daily_rate[rows, periods] * self.spec.period_days
        return Batch(
            fields=tuple(torch.from_numpy(observation[field.name]) for field in FIELDS),
            curves=torch.from_numpy(copy.curves[chosen]),
            weight=torch.from_numpy(copy.weight[chosen]),
            demand=torch.from_numpy(np.where(inside, future, np.float32(np.nan))),
            scale=torch.from_numpy(scale.astype(np.float32)),
        )


def draw_variant(panel: Panel, rng: np.random.Generator) -> Panel:
    """The same demand with other lead times, review periods and critical ratios, so that the policy learns what they
    do instead of which store has which."""
    items, count, days = panel.items, panel.series_count, panel.period_days
    lead = rng.permutation(items.lead_time_days) if rng.random() < 0.5 else rng.integers(1, 11, count) * days
    review = rng.choice(DRAWN_REVIEWS, count) * days if days == 1 else items.review_period_days
    ratio = rng.uniform(*DRAWN_RATIOS, count)
    holding = items.lost_sale_cost * (1 - ratio) / ratio / np.maximum(review, 1)
    return replace(
        panel,
        items=replace(items, lead_time_days=lead, review_period_days=review, holding_cost_per_day=holding),
    )
