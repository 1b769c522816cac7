"""DirectBackprop: the gradient of what a whole replay costs, through `step` and every decision in it.

An epoch's curve prices one order after somebody else's replay. Here the policy lives with the stock that its own orders
leave, and pays for all of it. What `read` found is kept fixed, so each decision is read once; the small half that
looks at the stock is run over and over. See Madeka et al. 2022 and Alvo et al. 2023 for the idea.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from simulator.observation import Observer, beyond_horizon
from simulator.panel import I64, Bools, Panel
from simulator.step import State, advance, place_order
from solver.labels import history_window
from training.config import RolloutConfig
from training.dataset import TrainingSet, draw_variant
from training.known import Known, supplied
from training.loop import Batches, Run, Trace, run_stage
from training.model import Context, PolicyNetwork

CHOSEN_BY = (
    "lead_time_days", "review_period_days", "lost_sale_cost", "holding_cost_per_day", "sales_share",
    "expected_turnover_days",
)  # fmt: skip
READ_AT_ONCE = 1024
TRIES = 8  # starts drawn for a stretch; the first whose sales count is taken


class Episodes(NamedTuple):
    """E stretches of T periods, with what the policy read before each decision in them."""

    demand: Tensor  # (E, T) units
    counted: Tensor  # (E, T) 1 where costs count: periods that some order of the stretch is responsible for
    decision: Tensor  # (E, T) row of the context, -1 where no order is placed
    on_hand: Tensor  # (E,) units before the first period
    pipeline: Tensor  # (E, L) units
    lead_periods: Tensor  # (E,)
    multiple: Tensor  # (E,) units, 0 without
    held: Tensor  # (E,) share of the lost-sale cost that holding a unit for a period costs
    weight: Tensor  # (E,) of a period's cost in days of lost sales; mean 1
    numbers: dict[str, Tensor]  # of each decision
    context: Context  # of each decision

    def take(self, rows: Tensor) -> Episodes:
        """Some stretches; the contexts are shared."""
        cut = {name: getattr(self, name)[rows] for name in self._fields if name not in ("numbers", "context")}
        return self._replace(**cut)


def episodes_of(
    network: PolicyNetwork, data: TrainingSet, config: RolloutConfig, money_power: float, rng: np.random.Generator,
    progress: Callable[[int, int], None],
) -> list[Episodes]:  # fmt: skip
    """Stretches of every dataset that is long enough, under its own lead times and costs and under drawn ones."""
    made = []
    least = config.least_stretches * config.periods
    sources = [
        (known, share)
        for known, share in zip(data.known, data.shares, strict=True)
        if len(history_window(known.panel, known.end)) >= least
    ]
    plan = [(known, share, drawn) for known, share in sources for drawn in range(config.variants)]
    for step, (known, share, drawn) in enumerate(plan):
        rows = np.sort(rng.integers(0, known.panel.series_count, max(1, round(share * config.episodes))))
        part = known.take(rows)
        variant = draw_variant(part.panel, rng) if drawn else part.panel
        made.append(_episodes(network, data, part, variant, config.periods, money_power, rng))
        progress(step + 1, len(plan))
    return made


def _episodes(
    network: PolicyNetwork, data: TrainingSet, part: Known, variant: Panel, periods: int, money_power: float,
    rng: np.random.Generator,
) -> Episodes:  # fmt: skip
    window = history_window(variant, part.end)
    length = min(periods, len(window))
    each = np.arange(variant.series_count)
    tries = window.start + rng.integers(0, len(window) - length + 1, (TRIES, variant.series_count))
    start = tries[np.argmax([supplied(part, each, one, one + length) for one in tries], axis=0), each]
    at = start[:, None] + np.arange(length)  # (E, T) periods of the panel
    lead, review = variant.lead_periods, variant.review_periods
    # Each row of `part` is drawn by itself, so one review calendar per row is as good as any.
    due = (at - start[:, None] + rng.integers(0, review)[:, None]) % review[:, None] == 0
    rate = np.maximum(part.rates.daily_rate[each, start] * variant.period_days, 1e-6)
    known = part.known[each[:, None], at]
    known &= supplied(part, each, start, start + length)[:, None]  # a stretch out of supply is replayed and not counted
    demand = np.where(known, part.demand[each[:, None], at], rate[:, None])
    due &= ~beyond_horizon(variant, data.spec)[:, None]
    rows, columns = np.nonzero(due)
    decision = np.full(due.shape, -1)
    decision[rows, columns] = np.arange(len(rows))
    numbers, context = _read(network, Observer(variant, data.spec, part.rates), rows, at[rows, columns])
    size = np.maximum(rate, demand.mean(axis=1))
    lost = variant.items.lost_sale_cost
    weight = (size * lost) ** money_power
    opening = size * (lead + review) * rng.uniform(0.3, 1.7, len(size))
    return Episodes(
        demand=_tensor(demand), counted=_tensor(_counted(due, lead) & known), decision=torch.from_numpy(decision),
        on_hand=_tensor(opening), pipeline=torch.zeros(len(size), int(lead.max())), lead_periods=torch.from_numpy(lead),
        multiple=_tensor(np.where(variant.items.order_multiple > 0, variant.items.order_multiple, variant.discrete)),
        held=_tensor(variant.items.holding_cost_per_day * variant.period_days / lost),
        weight=_tensor(weight / max(weight.mean(), 1e-12) / size), numbers=numbers, context=context,
    )  # fmt: skip


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _counted(due: Bools, lead: I64) -> Bools:
    """(E, T) the periods from the first order's arrival to the last one's: each belongs to one whole cycle."""
    periods = np.arange(due.shape[1])[None, :]
    arrivals = np.where(due, periods + lead[:, None], -1)
    inside = np.where(arrivals <= due.shape[1], arrivals, -1)
    first = np.where(arrivals >= 0, arrivals, due.shape[1]).min(axis=1)
    return np.asarray((periods >= first[:, None]) & (periods < inside.max(axis=1)[:, None]))


def _read(
    network: PolicyNetwork, observer: Observer, rows: I64, periods: I64
) -> tuple[dict[str, Tensor], Context]:  # fmt: skip
    """What the large half finds at each decision, and the numbers that the small half reads besides."""
    network.eval()
    numbers: list[list[Tensor]] = []
    contexts: list[Context] = []
    with torch.no_grad():
        for at in range(0, len(rows), READ_AT_ONCE):
            seen = observer.observe(rows[at : at + READ_AT_ONCE], periods[at : at + READ_AT_ONCE])
            x = {name: torch.from_numpy(seen[name]) for name in seen}
            contexts.append(network.read(x))
            numbers.append([x[name] for name in CHOSEN_BY])
    columns = [torch.cat(column) for column in zip(*numbers, strict=True)]
    whole = Context(*(torch.cat(column) for column in zip(*contexts, strict=True)))
    return dict(zip(CHOSEN_BY, columns, strict=True)), whole


def replay_cost(network: PolicyNetwork, episodes: Episodes) -> Tensor:
    """(E,) mean cost of a counted period, in days of lost sales times the weight, with a gradient in the decisions."""
    state = State(episodes.on_hand, episodes.pipeline)
    horizon, costs = network.spec.horizon, []
    for t in range(episodes.demand.shape[1]):
        state, outcome = advance(state, episodes.demand[:, t])
        costs.append((outcome.on_hand * episodes.held + outcome.lost_sales) * episodes.counted[:, t])
        rows = torch.nonzero(episodes.decision[:, t] >= 0)[:, 0]
        if not len(rows):
            continue
        which = episodes.decision[rows, t]
        position = state.inventory_position[rows]
        x = {name: column[which] for name, column in episodes.numbers.items()}
        pipeline = state.pipeline[rows]
        x |= {"on_hand": state.on_hand[rows], "on_order": nn.functional.pad(pipeline, (0, horizon - pipeline.shape[1]))}
        context = Context(*(column[which] for column in episodes.context))
        target = network.choose(x, context).days * context.rate
        order = _whole(torch.clamp(target - position, min=0.0), episodes.multiple[rows])
        placed = torch.zeros_like(state.on_hand).index_put((rows,), order)
        state = place_order(state, placed, episodes.lead_periods)
    total = torch.stack(costs, dim=1).sum(dim=1)
    return episodes.weight * total / episodes.counted.sum(dim=1).clamp(min=1.0)


def _whole(order: Tensor, multiple: Tensor) -> Tensor:
    """Packs, rounded up; the gradient passes as if nothing had been rounded."""
    safe = torch.where(multiple > 0, multiple, torch.ones_like(multiple))
    packed = torch.where(multiple > 0, torch.ceil(order / safe - 1e-4) * safe, order)
    return order + (packed - order).detach()


def choosing_parameters(network: PolicyNetwork) -> list[nn.Parameter]:
    """What the small half learns with."""
    parts = (
        network.service_embed, network.share_embed, network.signal_again, network.stock_embed, network.objective_encoder,
        network.weigh, network.fuse, network.decision_head, network.to_logits,
    )  # fmt: skip
    whole = [*parts] if network.promotion_head is None else [*parts, network.promotion_head]
    return [parameter for part in whole for parameter in part.parameters()]


def backprop(network: PolicyNetwork, data: Sequence[Episodes], config: RolloutConfig, run: Run) -> None:
    """Train the small half on replays; the large half stays as it is."""
    parts = [max(1, len(episodes.demand) // config.batch_size) for episodes in data]

    def order(rng: np.random.Generator) -> list[tuple[Episodes, Tensor]]:
        plan = [
            (episodes, torch.from_numpy(chosen))
            for episodes, count in zip(data, parts, strict=True)
            for chosen in np.array_split(rng.permutation(len(episodes.demand)), count)
        ]
        return [plan[index] for index in rng.permutation(len(plan))]

    def step_of(item: tuple[Episodes, Tensor]) -> tuple[Tensor, Trace]:
        episodes, chosen = item
        return replay_cost(network, episodes.take(chosen)).mean(), {}

    network.train()
    run_stage(network, "rollout", choosing_parameters(network), config, Batches(sum(parts), order), step_of, run)
    network.eval()
