"""RLOO, Algorithm 1 of the ORPR paper: sampled days, rewarded by a rule and by the simulator, against the mean of the
other samples.

Where the paper leaves room, this is what is done. Its line 18 descends J; J is maximised here. Rewards belong to
samples, not to batches, or the leave-one-out baseline would cancel them. Squared errors are taken in protection
intervals, as in days they dwarf +1 and -1. Delta is the change against the incumbent's days, so its sign says "order
more" or "less"; changes below a grid step have no sign and contradict nobody. z stays at its mean, so that log pi is that of
the distribution which is deployed, exactly. Advantages are not divided by their deviation: the Pareto reward ties often.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from simulator.observation import FIELDS
from simulator.panel import F64, I64, Bools
from solver.labels import best_days
from training.backprop import choosing_parameters
from training.config import ALL, BOTH, PROMOTED, AlignConfig
from training.dataset import Copy, TrainingSet, promoted_orders
from training.experts import Sifted
from training.known import supplied
from training.loop import Batches, Run, Trace, run_stage
from training.model import Context, PolicyNetwork
from training.rewards import AT_ONCE, Actions, Advice, Prices, Traces, portfolio_prices, rewards, rule_reward

TRACES = (
    "reward",
    "rule",
    "pareto",
    "saving",
    "portfolio",
    "curve",
    "dominates",
    "dominated",
    "expert",
    "kl",
    "entropy",
)


def traces_of(network: PolicyNetwork, data: TrainingSet, config: AlignConfig, rng: np.random.Generator) -> list[Traces]:
    """Decisions whose outcome is known as far as the reward asks for it, an equal number from each copy."""
    made = []
    for copy in data.copies:
        able = _known_throughout(copy, config.horizon) if config.simulates else np.ones(len(copy.series), dtype=bool)
        if config.moves == PROMOTED:
            able &= promoted_orders(copy.source.panel, copy.series, copy.period)
        chosen = np.sort(rng.permutation(np.flatnonzero(able))[: config.samples // len(data.copies)])
        if len(chosen):
            made.append(_traces(network, data, copy, chosen))
    if not made:
        wanted = f"has its cycle within {config.horizon} known periods in stock" if config.simulates else "is left"
        kind = "promoted decision" if config.moves == PROMOTED else "decision"
        raise ValueError(f"{'align.horizon' if config.simulates else 'align.moves'}: no {kind} {wanted}")
    return made


def _known_throughout(copy: Copy, horizon: int) -> Bools:
    """(E,) whether what the simulator replays after a decision is known, and covers its cycle.

    An empty shelf's sales would reward holding less.
    """
    source, panel = copy.source, copy.source.panel
    cycle = (panel.lead_periods + panel.review_periods)[copy.series]
    last = np.minimum(copy.period + 1 + horizon, source.end)
    inside = (copy.period + horizon < source.end) & (cycle <= horizon)
    return np.asarray(inside & supplied(source, copy.series, copy.period + 1, last))


def _traces(network: PolicyNetwork, data: TrainingSet, copy: Copy, chosen: I64) -> Traces:
    parts = np.array_split(chosen, -(-len(chosen) // AT_ONCE))
    context, x = _read(network, (data.batch(copy, part).fields for part in parts))
    return Traces(
        copy, chosen, context, x, best_days(copy.curves[chosen], data.grid),
        copy.incumbent_days[chosen].astype(np.float64), np.empty(0), Prices(), data.grid,
    )  # fmt: skip


def advice_of(network: PolicyNetwork, experts: Sifted) -> Advice:
    """Experts' decisions with what the network reads before each."""
    labels, seen = experts.labels, experts.labels.observation
    parts = np.array_split(np.arange(labels.size), -(-labels.size // AT_ONCE))
    context, x = _read(network, (tuple(torch.from_numpy(seen[field.name][part]) for field in FIELDS) for part in parts))
    days = network.spec.period_days
    interval = (seen["lead_time_days"] + seen["review_period_days"]).astype(np.float64) - days
    most = float(
        network.grid.max()
    )  # nobody can decide more; counted as asked for, one such label would drown its batch
    reference = np.minimum(labels.expert_days, most)
    return Advice(context, x, reference, labels.policy_days, np.maximum(interval, days), experts.weight)


def _read(network: PolicyNetwork, batches: Iterable[tuple[Tensor, ...]]) -> tuple[Context, dict[str, Tensor]]:
    """What the large half makes of some decisions, and what the small half reads besides."""
    network.eval()
    contexts: list[Context] = []
    parts: list[dict[str, Tensor]] = []
    with torch.no_grad():
        for fields in batches:
            x = {field.name: column for field, column in zip(FIELDS, fields, strict=True)}
            contexts.append(network.read(x))
            parts.append({name: x[name] for name in CHOSEN_FIELDS})
    whole = Context(*(torch.cat(column) for column in zip(*contexts, strict=True)))
    return whole, {name: torch.cat([part[name] for part in parts]) for name in CHOSEN_FIELDS}


CHOSEN_FIELDS = (
    "lead_time_days", "review_period_days", "lost_sale_cost", "holding_cost_per_day", "sales_share",
    "expected_turnover_days", "on_hand", "on_order",
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ algorithm


def leave_one_out(reward: Tensor) -> Tensor:
    """(B, k) each sample's reward above the mean of the others'."""
    count = reward.shape[1]
    return (reward - reward.mean(dim=1, keepdim=True)) * (count / (count - 1))


def rloo_loss(log_probability: Tensor, reward: Tensor, weight: Tensor) -> Tensor:
    """Minus J: minimising it raises the probability of samples that did better than their siblings.

    Args:
        log_probability: (B, k) log pi of each sample, with a gradient.
        reward: (B, k), the KL part included; no gradient is taken through it.
        weight: (B,) of the decisions, mean 1.
    """
    return -(weight[:, None] * leave_one_out(reward.detach()) * log_probability).mean()


def align(
    network: PolicyNetwork, data: TrainingSet, config: AlignConfig, run: Run, advice: Advice | None = None
) -> str:  # fmt: skip
    """Algorithm 1 from the network as it stands, which is also the reference that the KL part holds it to.

    Args:
        network: trained in place; only its small half learns, or of it the head for promoted orders (`config.moves`).
        data: decisions of the past.
        config: the recipe.
        run: its seed draws the decisions, their order and the samples; it logs `TRACES`.
        advice: decisions of experts; `config.expert_share` of the batches are theirs, however few there are.

    Returns:
        Why it stopped before its last step; "" where it ran to the end.
    """
    network.eval()  # no dropout, z at its mean: the ratio to the reference is that of the deployed distributions
    traces = traces_of(network, data, config, run.rng("align", -1))
    advised = [] if advice is None or config.expert_share == 0 else [advice]
    found = _anchored(network, [*traces, *advised], run)
    before = [log_policy for log_policy, _ in found]
    traces = [
        part._replace(rival=part.reference if config.compare_with == "label" else days)
        for part, (_, days) in zip(traces, found, strict=False)
    ]
    if config.simulates and config.portfolio:
        traces = [part._replace(prices=portfolio_prices(part, config)) for part in traces]
    parts = [max(1, part.size // config.batch_size) for part in traces]
    told: list[Traces | Advice] = [*traces, *advised]
    parts += [max(1, round(config.expert_share / (1 - config.expert_share) * sum(parts))) for _ in advised]

    def order(rng: np.random.Generator) -> list[tuple[int, I64]]:
        plan = [
            (part, np.sort(rows))
            for part, count in enumerate(parts)
            for rows in _batches(told[part].size, count, config.batch_size, rng)
        ]
        return [plan[index] for index in rng.permutation(len(plan))]

    def step_of(item: tuple[int, I64]) -> tuple[Tensor, Trace]:
        part, rows = item
        return _step(network, told[part], rows, before[part][rows], config)

    def stop(trace: Trace) -> str:
        return f"KL {trace['kl']:.3f} above {config.kl_limit}" if trace["kl"] > config.kl_limit else ""

    head = [] if config.moves == ALL or network.promotion_head is None else list(network.promotion_head.parameters())
    parameters = head if config.moves == PROMOTED else choosing_parameters(network)
    rates = dict.fromkeys(head, config.promotion_rate)
    return run_stage(network, "align", parameters, config, Batches(sum(parts), order), step_of, run, stop, rates)


def _anchored(network: PolicyNetwork, told: Sequence[Traces | Advice], run: Run) -> list[tuple[Tensor, F64]]:
    """`_before` of each part, by the weights that the alignment began with, also where it is taken up again half-way."""
    now = {name: value.clone() for name, value in network.state_dict().items()}
    run.anchor = run.anchor or now
    network.load_state_dict(run.anchor)
    found = [_before(network, part) for part in told]
    network.load_state_dict(now)
    return found


def _batches(size: int, count: int, batch_size: int, rng: np.random.Generator) -> list[I64]:
    """`count` batches of `size` decisions; where these are too few to fill them, they come round again."""
    rounds = max(1, -(-count * min(batch_size, size) // size))
    return np.array_split(np.concatenate([rng.permutation(size) for _ in range(rounds)]), count)


def _before(network: PolicyNetwork, traces: Traces | Advice) -> tuple[Tensor, F64]:
    """(M, V) log pi and (M,) days of the network before alignment."""
    with torch.no_grad():
        logits = torch.cat([_logits(network, traces, rows) for rows in np.array_split(
            np.arange(traces.size), traces.size // AT_ONCE + 1)])  # fmt: skip
        policy = torch.log_softmax(logits, dim=-1)
        return policy, (policy.exp() * network.grid).sum(dim=-1).double().numpy()


def _logits(network: PolicyNetwork, traces: Traces | Advice, rows: I64) -> Tensor:
    index = torch.from_numpy(rows)
    context = Context(*(column[index] for column in traces.context))
    return network.choose({name: column[index] for name, column in traces.x.items()}, context).logits


def _logits_apart(network: PolicyNetwork, traces: Traces | Advice, rows: I64) -> Tensor:
    """The same, but what promoted orders teach stays in the head for these, and what the others teach never gets there.

    Otherwise the two pull at each other: where experts raise promoted orders, the solver takes them down again by the small half, and
    routine orders with them.
    """
    assert network.promotion_head is not None
    head = {*network.promotion_head.parameters()}
    small = [parameter for parameter in choosing_parameters(network) if parameter not in head]
    promoted = traces.context.promoted[torch.from_numpy(rows)] > 0
    logits = torch.empty(len(rows), len(network.grid))
    for part, learns in ((promoted, False), (~promoted, True)):
        if part.any():
            for parameter in small:
                parameter.requires_grad = learns
            logits[part] = _logits(network, traces, rows[part.numpy()])
    for parameter in small:
        parameter.requires_grad = True
    return logits


def _step(
    network: PolicyNetwork, traces: Traces | Advice, rows: I64, before: Tensor, config: AlignConfig
) -> tuple[Tensor, dict[str, float]]:
    """The loss of one batch, and what there is to watch."""
    logits = _logits_apart if config.moves == BOTH else _logits
    policy = torch.log_softmax(logits(network, traces, rows), dim=-1)
    sampled = torch.multinomial(policy.detach().exp(), config.samples_per_state, replacement=True)
    chosen = policy.gather(1, sampled)
    ratio = (chosen - before.gather(1, sampled)).detach()
    days = network.grid.numpy()[sampled.numpy()].astype(np.float64)
    if isinstance(traces, Advice):
        total, trace = _advised(traces, rows, days, config)
    else:
        mean = (policy.detach().exp() * network.grid).sum(dim=-1).double().numpy()
        total, trace = _guided(traces, rows, Actions(days, mean), config)
    reward = torch.from_numpy(total.astype(np.float32)) - config.beta * ratio
    weight = torch.from_numpy(traces.weight_of(rows))
    trace |= {
        "reward": float(total.mean()),
        "kl": float((policy.exp() * (policy - before)).sum(dim=1).mean().detach()),
        "entropy": float(-(policy.exp() * policy).sum(dim=1).mean().detach()),
    }  # fmt: skip
    return rloo_loss(chosen, reward, weight), trace


def _guided(traces: Traces, rows: I64, actions: Actions, config: AlignConfig) -> tuple[F64, Trace]:
    """(B, k) rewards by the label and the simulator, and what to log of them."""
    parts = rewards(traces, rows, actions, config)
    simulation = config.pareto * parts.pareto + config.saving * parts.saving
    simulation += config.portfolio * parts.portfolio + config.curve * parts.curve
    means = {name: float(column.mean()) for name, column in parts._asdict().items()}
    shares = {"dominates": float((parts.pareto > 0).mean()), "dominated": float((parts.pareto < 0).mean())}
    return config.omega * parts.rule + (1.0 - config.omega) * simulation, means | shares


def _advised(advice: Advice, rows: I64, days: F64, config: AlignConfig) -> tuple[F64, Trace]:
    """(B, k) rewards by the experts' days, and what to log of them."""
    rule = rule_reward(
        days, advice.reference[rows], advice.incumbent[rows], advice.interval[rows], config.alpha, config.gamma
    )
    return config.expert * rule, {"expert": float(rule.mean())}
