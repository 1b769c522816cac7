"""What the stages learn from: decisions of panels' past, their cost curves and the demand that followed.

Everything of a panel ends before its `end`: a decision is taken in only if its responsible periods do, and future
demand is cut there. The observations come from `simulator.observation`, the one code path that backtest and service
use too; the stock in them is what a drawn base stock's replay left, so that the policy meets all kinds of states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from simulator.observation import FIELDS, ObservationSpec, Observer, beyond_horizon
from simulator.ordering import inventory_days_grid
from simulator.panel import F32, F64, I64, Bools, Panel
from simulator.schedule import lead_and_review
from simulator.step import State
from solver.curves import Epochs
from solver.labels import (
    LabelHistory,
    cost_curves,
    epochs_from,
    history_window,
    replayed_history,
    with_offset,
)
from training.config import IN_STOCK, RECOVERED, LabelConfig
from training.drawn_demand import lumpy
from training.known import Known, Past, known_of, supplied
from training.loop import Batches
from training.surges import surging

DRAWN_REVIEWS = (1, 1, 2, 2, 3, 7)
USUAL_RATIOS, WIDE_LOGITS = (0.75, 0.97), (0.4, 5.3)  # half of the drawn series each; the second is 0.6 to 0.995
STOCK_SPREAD, DAY_SPREAD = 0.3, 0.1  # of the drawn base stocks around the incumbent's, in logs
Progress = Callable[[int, int], None]


class Batch(NamedTuple):
    """B decisions."""

    fields: tuple[torch.Tensor, ...]
    curves: torch.Tensor  # (B, V) cost in days of lost sales
    weight: torch.Tensor  # (B,) mean 1
    demand: torch.Tensor  # (B, H) units of the periods ahead, NaN where unknown
    scale: torch.Tensor  # (B,) units a period
    censored: torch.Tensor  # (B, H) where `demand` was at least that


@dataclass(frozen=True)
class Copy:
    """One copy of a dataset: the real one, or one with drawn lead times, reviews and costs."""

    source: Known  # of the copy's own series
    observer: Observer
    series: I64  # (E,)
    period: I64  # (E,)
    on_hand: F32  # (E,) units
    arriving: F32  # (E, L) units
    curves: F32  # (E, V)
    weight: F32  # (E,)
    incumbent_days: F32  # (E,) days
    targets: F64  # (N, T) units, the incumbent's from period `first` on
    first: int


class TrainingSet:
    """All decisions to learn from, and batches of them."""

    def __init__(
        self, pasts: Sequence[Past], config: LabelConfig, seed: int, money_power: float, progress: Progress | None = None
    ) -> None:  # fmt: skip
        rng = np.random.default_rng(seed)
        lengths = {past.panel.period_days for past in pasts}
        if len(lengths) != 1:
            raise ValueError(f"datasets that are learnt from together must have one period_days, got {sorted(lengths)}")
        self.spec = ObservationSpec(lengths.pop())
        self.grid = inventory_days_grid()
        self.known = [known_of(past, config) for past in pasts]
        # What part of the usual number of decisions and stretches is taken from each of `known`.
        self.shares = [1.0] * len(pasts)
        if config.lumpy_share > 0:
            self.known += [known_of(Past(lumpy(*past, rng), past.end), config) for past in pasts]
            self.shares += [config.lumpy_share] * len(pasts)
        if config.surge_share > 0:
            promoted = [past for past in pasts if (np.nan_to_num(past.panel.promotion[:, : past.end]) > 0).any()]
            self.known += [known_of(Past(surging(*past, rng), past.end), config) for past in promoted]
            self.shares += [config.surge_share] * len(promoted)
        if config.recovered_share > 0:
            completed = [known_of(past, replace(config, demand=RECOVERED, forecast=RECOVERED)) for past in pasts]
            # Where shelves never ran empty, they would be the same decisions again.
            told = [new for old, new in zip(self.known, completed, strict=False) if (new.demand > old.demand).any()]
            self.known += told
            self.shares += [config.recovered_share] * len(told)
        self.copies: list[Copy] = []
        total = len(self.known) * (1 + config.drawn_variants)
        for known, part_of in zip(self.known, self.shares, strict=True):
            most = max(1, round(part_of * config.samples_per_variant))
            for drawn in range(1 + config.drawn_variants):
                part = known.take(_some_series(known, most, rng))
                variant = draw_variant(part.panel, rng) if drawn else part.panel
                self.copies.append(self._copy(replace(part, panel=variant), config, most, rng, money_power))
                if progress is not None:
                    progress(len(self.copies), total)
        for known in self.known:
            mine = [copy for copy in self.copies if copy.source.panel.name == known.panel.name]
            if not any(len(copy.series) for copy in mine):
                message = f"no decision before period {known.end} has a known outcome to learn from"
                hint = (
                    f'; labels.demand = "{RECOVERED}" takes those with stock-outs too'
                    if config.demand == IN_STOCK
                    else ""
                )
                raise ValueError(f"{known.panel.name}: {message}{hint}")

    @property
    def size(self) -> int:
        return sum(len(copy.series) for copy in self.copies)

    def _copy(
        self, source: Known, config: LabelConfig, samples: int, rng: np.random.Generator, money_power: float
    ) -> Copy:
        """Every period becomes a decision: the review calendar is shifted through its whole cycle."""
        variant = source.panel
        window = history_window(variant, source.end)
        shifts = range(0, int(variant.items.review_period_days.max()), variant.period_days)
        share = samples / max(_usable(source, window), 1)
        history = replayed_history(variant, source.rates, window, demand=(source.demand, source.known))
        parts: list[Epochs] = []
        curves: list[F32] = []
        for shift in shifts:
            epochs = epochs_from(with_offset(variant, shift), window, _drawn_stock(history, rng))
            # A series reviewed every day is seen in each shift; keep its share of one pass.
            repeat = len(shifts) / variant.review_periods[epochs.series]
            keep = rng.random(len(epochs.series)) < np.minimum(share, 1.0) / repeat
            keep &= ~beyond_horizon(variant, self.spec)[epochs.series]
            lead, review = lead_and_review(variant, epochs.series, epochs.period)
            keep &= supplied(source, epochs.series, epochs.period + 1, epochs.period + lead + review)
            epochs = epochs._replace(**{k: v[keep] for k, v in epochs._asdict().items()})
            now = history.target_stock[epochs.series, epochs.period - window.start]
            epochs = epochs._replace(incumbent_days=now / epochs.daily_rate)
            priced = free(epochs) if config.free_position else epochs
            unit = epochs.daily_rate * variant.items.lost_sale_cost[epochs.series]
            cost = cost_curves(variant, priced, self.grid) / np.maximum(unit, 1e-9)[:, None]
            curves.append(cost.astype(np.float32))
            parts.append(epochs)
        rows = np.concatenate([part.series for part in parts])
        periods = np.concatenate([part.period for part in parts])
        worth = source.rates.daily_rate[rows, periods] * variant.items.lost_sale_cost[rows]
        weight = worth**money_power * np.where(promoted_orders(variant, rows, periods), config.promotion_weight, 1.0)
        wide = max(part.arriving.shape[1] for part in parts)
        arriving = [np.pad(part.arriving, ((0, 0), (0, wide - part.arriving.shape[1]))) for part in parts]
        return Copy(
            source, Observer(variant, self.spec, source.rates), rows, periods,
            np.concatenate([part.on_hand for part in parts]).astype(np.float32),
            np.concatenate(arriving).astype(np.float32), np.concatenate(curves),
            (weight / max(weight.mean(), 1e-12)).astype(np.float32) if len(weight) else weight.astype(np.float32),
            incumbent_days=np.concatenate([part.incumbent_days for part in parts]).astype(np.float32),
            targets=history.target_stock, first=window.start,
        )  # fmt: skip

    def batches(self, batch_size: int) -> Batches:
        """Passes in random order; a batch holds decisions of one copy."""
        parts = [max(1, len(copy.series) // batch_size) if len(copy.series) else 0 for copy in self.copies]

        def order(rng: np.random.Generator) -> list[tuple[Copy, I64]]:
            plan = [
                (copy, chosen)
                for copy, count in zip(self.copies, parts, strict=True) if count
                for chosen in np.array_split(rng.permutation(len(copy.series)), count)
            ]  # fmt: skip
            return [plan[index] for index in rng.permutation(len(plan))]

        return Batches(sum(parts), order)

    def batch(self, copy: Copy, chosen: I64) -> Batch:
        """The decisions `chosen` of one copy."""
        rows, periods, source = copy.series[chosen], copy.period[chosen], copy.source
        observation = copy.observer.observe(rows, periods, State(copy.on_hand[chosen], copy.arriving[chosen]))
        ahead = periods[:, None] + 1 + np.arange(self.spec.horizon)
        count = source.panel.period_count
        each = rows[:, None], np.minimum(ahead, count - 1)
        future = np.where(ahead < count, source.future[each], np.float32(np.nan))
        scale = source.rates.daily_rate[rows, periods] * self.spec.period_days
        return Batch(
            fields=tuple(torch.from_numpy(observation[field.name]) for field in FIELDS),
            curves=torch.from_numpy(copy.curves[chosen]),
            weight=torch.from_numpy(copy.weight[chosen]),
            demand=torch.from_numpy(future),
            scale=torch.from_numpy(scale.astype(np.float32)),
            censored=torch.from_numpy(source.censored[each]),
        )


def promoted_orders(panel: Panel, series: I64, period: I64) -> Bools:
    """(E,) whether a period that the order is responsible for is promoted."""
    promoted = np.pad(np.cumsum(np.nan_to_num(panel.promotion) > 0, axis=1), ((0, 0), (1, 0)))
    lead, review = lead_and_review(panel, series, period)
    stop = np.minimum(period + lead + review, panel.period_count)
    return np.asarray(promoted[series, stop] > promoted[series, np.minimum(period + lead, stop)])


def _usable(source: Known, window: range) -> int:
    """How many decisions of a window have a known outcome whose sales count: one a series and period at most."""
    panel = source.panel
    last = panel.lead_periods + panel.review_periods
    rows, periods = np.divmod(np.arange(panel.series_count * len(window)), len(window))
    periods += window.start
    inside = periods + last[rows] <= window.stop
    rows, periods = rows[inside], periods[inside]
    return int(supplied(source, rows, periods + 1, periods + last[rows]).sum())


def _some_series(known: Known, samples: int, rng: np.random.Generator) -> I64:
    """Rows to copy: all of them, or so many that each still gives a handful of decisions."""
    count = known.panel.series_count
    most = max(samples // 5, 1)
    return np.arange(count) if count <= most else np.sort(rng.permutation(count)[:most])


def _drawn_stock(history: LabelHistory, rng: np.random.Generator) -> LabelHistory:
    """The same history under a base stock that is drawn around the incumbent's, for other states to learn from."""
    shape = history.target_stock.shape
    usual, daily = rng.normal(0.0, STOCK_SPREAD, (shape[0], 1)), rng.normal(0.0, DAY_SPREAD, shape)
    return history._replace(target_stock=history.target_stock * np.exp(usual + daily))


def free(epochs: Epochs) -> Epochs:
    """The epochs as if nothing stood in the position, so that every target orders and every curve has a slope."""
    lift = epochs.inventory_position
    return epochs._replace(
        inventory_position=np.zeros_like(lift), stock_before_arrival=epochs.stock_before_arrival - lift
    )


def draw_variant(panel: Panel, rng: np.random.Generator) -> Panel:
    """The same demand with other lead times, review periods and critical ratios, so that the policy learns what they
    do instead of which store has which."""
    items, count, days = panel.items, panel.series_count, panel.period_days
    lead = rng.permutation(items.lead_time_days) if rng.random() < 0.5 else rng.integers(1, 11, count) * days
    review = rng.choice(DRAWN_REVIEWS, count) * days if days == 1 else items.review_period_days
    wide = 1 / (1 + np.exp(-rng.uniform(*WIDE_LOGITS, count)))
    ratio = np.where(rng.random(count) < 0.5, rng.uniform(*USUAL_RATIOS, count), wide)
    holding = items.lost_sale_cost * (1 - ratio) / ratio / np.maximum(review, 1)
    return replace(
        panel,
        items=replace(items, lead_time_days=lead, review_period_days=review, holding_cost_per_day=holding),
    )
