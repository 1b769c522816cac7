"""Experts' decisions as labels: which of them are fit to learn from, and how much each weighs.

A label is one order that a planner or a buyer decided otherwise, with what the policy saw then. Bad labels are named and
left out; the rest weigh by what their author's earlier decisions earned, by their age, and by what came of them.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from simulator.observation import Observation, ObservationSpec
from simulator.panel import F32, F64, I64, Bools, Strings
from training.config import ALL, ExpertConfig
from training.dataset import TrainingSet

REJECTED = "rejected"  # an order that the buyer did not place
LEAST_CHANGE = 0.25  # days; a label nearer to the policy's own number says neither more nor less
LEAST_COST = 0.05  # days of lost sales; below it costs are not compared


class Labels(NamedTuple):
    """E decisions of experts."""

    item_id: Strings
    location_id: Strings
    author: Strings
    outcome: Strings  # what was told of the order; "" where nothing was
    order_day: I64  # (E,) days since 1970-01-01
    expert_days: F64  # (E,) what stood in the end
    policy_days: F64  # (E,) the policy's own
    settled_money: F64  # (E,) what it earned against the policy's own number; NaN where that is not known
    observation: Observation  # (E, ...) what the policy saw, its stock included
    ordered_more: F64 | None = None  # (E,) units ordered beyond the policy's own advice; NaN or None: not told
    override_days: F64 | None = None  # (E,) what the followed override came to; NaN or None: none, or not told

    @property
    def size(self) -> int:
        return len(self.expert_days)

    def take(self, rows: I64) -> Labels:
        """Some of them."""
        columns = {name: column[rows] for name, column in self._asdict().items() if isinstance(column, np.ndarray)}
        return Labels(**columns, observation={name: column[rows] for name, column in self.observation.items()})


class Finding(NamedTuple):
    """Why a label is left out."""

    row: int  # of the labels as they came
    reason: str  # contradictory, stale, absurd, rejected, unclear, routine
    detail: str


class Sifted(NamedTuple):
    """Labels to learn from, and the others."""

    labels: Labels
    weight: F32  # (E,) mean 1 but for what the authors' decisions earned, so that experts who err are heard less
    findings: list[Finding]


def sift(labels: Labels, data: TrainingSet, config: ExpertConfig, moves: str = ALL) -> Sifted:
    """Leave out what would teach wrongly, and weigh the rest.

    Args:
        labels: as they came.
        data: the same dataset's own decisions, whose cost curves tell what is absurd.
        config: bounds and half-lives.
        moves: which orders will learn, see `AlignConfig`.

    Raises:
        ValueError: where none is left; the first reasons are named.
    """
    found: dict[int, Finding] = {}
    looks = [_rejected, _stale, _unclear, _contradictory, _absurd(data)]
    if moves != ALL:
        looks.append(_routine(data.spec))
    for look in looks:
        for row, reason, detail in look(labels, config):
            found.setdefault(row, Finding(row, reason, detail))
    kept = np.setdiff1d(np.arange(labels.size), np.array(sorted(found), dtype=np.int64))
    if not len(kept):
        reasons = "; ".join(finding.detail for finding in list(found.values())[:3])
        raise ValueError(f"overrides: none of {labels.size} labels can be learnt from: {reasons or 'there are none'}")
    left = labels.take(kept)
    recency = _recency(left, config)
    earned = _author_factor(labels)[kept] * np.where(left.settled_money < 0, config.lost_weight, 1.0)
    weight = recency / recency.mean() * earned
    return Sifted(left, weight.astype(np.float32), [found[row] for row in sorted(found)])


Look = Callable[[Labels, ExpertConfig], list[Finding]]


def _rejected(labels: Labels, _config: ExpertConfig) -> list[Finding]:
    rows = np.flatnonzero(labels.outcome == REJECTED).tolist()
    return [Finding(n, "rejected", f"{_name(labels, n)}: the order was rejected") for n in rows]


def _stale(labels: Labels, config: ExpertConfig) -> list[Finding]:
    age = labels.order_day.max(initial=0) - labels.order_day
    return [
        Finding(n, "stale", f"{_name(labels, n)}: {age[n]} days older than the newest label")
        for n in np.flatnonzero(age > config.stale_days).tolist()
    ]


def _unclear(labels: Labels, _config: ExpertConfig) -> list[Finding]:
    """Labels of orders that a rule of the item had changed: less was ordered than advised, but more than the policy's own
    days come to, or the other way round. Whether the buyer means the policy or the rule nobody can say."""
    if labels.ordered_more is None:
        return []
    more, change = labels.ordered_more, labels.expert_days - labels.policy_days
    return [
        Finding(n, "unclear", f"{_name(labels, n)}: {change[n]:+.3g} days by an order of {more[n]:+.4g} units")
        for n in np.flatnonzero(more * change < 0).tolist()
    ]


def _contradictory(labels: Labels, _config: ExpertConfig) -> list[Finding]:
    """Orders about which two experts disagree, one asking for more than the policy and one for less: the override that was
    followed and who ordered, or two labels of one series whose orders cover the same days."""
    sign = _direction(labels.expert_days - labels.policy_days)
    first = labels.order_day + labels.observation["lead_time_days"]
    end = first + labels.observation["review_period_days"]
    order = np.lexsort((labels.order_day, labels.location_id, labels.item_id))
    found = _ordered_against_the_override(labels, sign)
    for a, b in pairwise(order.tolist()):
        same = labels.item_id[a] == labels.item_id[b] and labels.location_id[a] == labels.location_id[b]
        if same and first[b] < end[a] and first[a] < end[b] and sign[a] * sign[b] < 0:
            for n, other in ((a, b), (b, a)):
                wish = "more" if sign[n] > 0 else "less"
                detail = f"{_name(labels, n)}: asks for {wish} than the policy, {labels.author[other]} for the opposite"
                found.append(Finding(n, "contradictory", f"{detail} for the same days"))
    return found


def _ordered_against_the_override(labels: Labels, sign: F64) -> list[Finding]:
    if labels.override_days is None:
        return []
    asked = _direction(np.nan_to_num(labels.override_days - labels.policy_days))
    return [
        Finding(
            n, "contradictory",
            f"{_name(labels, n)}: {'more' if sign[n] > 0 else 'less'} than the policy's was ordered, and the override asked for the opposite",
        )
        for n in np.flatnonzero(asked * sign < 0).tolist()
    ]  # fmt: skip


def _direction(change: F64) -> F64:
    """1 for more, -1 for less, 0 where it is no change to speak of."""
    return np.where(np.abs(change) >= LEAST_CHANGE, np.sign(change), 0.0)


def _absurd(data: TrainingSet) -> Look:
    """Labels far off the bottom of their series' usual cost curve, even if demand were a surge.

    A curve is in days of lost sales against days of stock, so demand that is a few times the usual moves it right by as much.
    """
    usual, overall = _usual_curves(data)

    def look(labels: Labels, config: ExpertConfig) -> list[Finding]:
        found = []
        for n in range(labels.size):
            curve = usual.get((str(labels.item_id[n]), str(labels.location_id[n])), overall)
            asked, policy = labels.expert_days[n], labels.policy_days[n]
            felt = max(asked / config.surge, min(asked, policy)) if asked > policy else asked
            cost, least = np.interp([felt, policy], data.grid, curve)
            if cost > config.absurd * max(least, LEAST_COST):
                detail = f"{asked:g} days where the policy says {policy:g} cost {cost / max(least, LEAST_COST):.1f} times as much"
                found.append(Finding(n, "absurd", f"{_name(labels, n)}: {detail} on the series' usual curve"))
        return found

    return look


def _routine(spec: ObservationSpec) -> Look:
    """Labels of orders before which the policy knew of no promotion: it will not know the next time either."""

    def look(labels: Labels, _config: ExpertConfig) -> list[Finding]:
        seen, ahead = labels.observation, np.arange(1, spec.horizon + 1)[None, :]
        lead, review = (seen[name][:, None] / spec.period_days for name in ("lead_time_days", "review_period_days"))
        runs = (np.nan_to_num(seen["promotion"][:, spec.history :]) > 0) & (ahead >= lead) & (ahead < lead + review)
        return [
            Finding(n, "routine", f"{_name(labels, n)}: no promotion was known for the days that it covers")
            for n in np.flatnonzero(~runs.any(axis=1)).tolist()
        ]

    return look


def _usual_curves(data: TrainingSet) -> tuple[dict[tuple[str, str], F64], F64]:
    """The mean cost curve of each series' own decisions, and that of all."""
    first = data.copies[0]  # the real one; the others have drawn costs
    items = first.source.panel.items
    usual: dict[tuple[str, str], F64] = {}
    order = np.argsort(first.series, kind="stable")
    rows, begins = np.unique(first.series[order], return_index=True)
    for row, part in zip(rows, np.split(order, begins[1:]), strict=True):
        usual[str(items.item_id[row]), str(items.location_id[row])] = first.curves[part].mean(axis=0, dtype=np.float64)
    return usual, np.asarray(first.curves.mean(axis=0, dtype=np.float64))


def _author_factor(labels: Labels) -> F64:
    """(E,) 0 to 2: the share of an author's settled decisions that earned something; 1 where none is settled. What is not
    learnt from, such as an absurd number, counts too, but for orders that were never placed."""
    known = np.isfinite(labels.settled_money) & (labels.outcome != REJECTED)
    factor = np.ones(labels.size)
    for author in np.unique(labels.author):
        mine: Bools = labels.author == author
        earned = np.sign(labels.settled_money[mine & known])
        factor[mine] = 2 * (1 + (0.5 * (earned + 1)).sum()) / (2 + len(earned))
    return factor


def _recency(labels: Labels, config: ExpertConfig) -> F64:
    age = labels.order_day.max() - labels.order_day
    return np.asarray(0.5 ** (age / config.half_life_days))


def _name(labels: Labels, row: int) -> str:
    day = np.datetime64(int(labels.order_day[row]), "D")
    return f"{labels.item_id[row]} at {labels.location_id[row]}, order of {day}, by {labels.author[row]}"
