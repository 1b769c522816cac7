"""From a policy's answer to an order: stock position, override, target, constraints.

Pure arithmetic and rules on arrays; no store, no HTTP, no clock. `orpr score` and the routes share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np

from service.policy import PolicyAnswer
from simulator.ordering import CONSTRAINTS, Order, OrderRules, constrain, raw_order_quantity
from simulator.panel import F64, I64, Panel
from simulator.schedule import lead_and_review

Span = tuple[date, date]  # first and last selling date
POLICY, BASELINE = "policy", "baseline"  # who decides


@dataclass(frozen=True)
class Override:
    """A planner's decision for selling dates; empty scope fields mean all."""

    id: int
    item_id: str
    location_id: str
    category: str
    selling_from: date
    selling_to: date
    mode: str  # set | at_least | add_units | uplift
    value: float  # days for set and at_least, units for add_units, % of expected demand for uplift
    reason: str
    author: str

    @property
    def specificity(self) -> int:
        """Item beats category, location beats none: 4 item, 2 category, +1 location."""
        return 4 * bool(self.item_id) + 2 * bool(self.category) + bool(self.location_id)


class Decisions(NamedTuple):
    """B answers, before they are put into words."""

    inventory_days: F64  # (B,) days, overrides included
    policy_days: F64  # (B,) days, without overrides
    p10: F64
    p90: F64
    daily_rate: F64  # (B,) units a day
    target_stock: F64  # (B,) units
    inventory_position: F64  # (B,) units
    added_units: F64  # (B,) units that overrides put on the target
    order: Order
    overrides: list[Override | None]
    source: str


class Answer(NamedTuple):
    """What decides, whoever made it; all (B,)."""

    inventory_days: F64
    p10: F64
    p90: F64
    daily_rate: F64
    source: str


def answer_of(answer: PolicyAnswer, by: str = POLICY) -> Answer:
    """The days and rates of a policy, or of who decided in its place."""
    return Answer(
        inventory_days=answer.inventory_days.astype(np.float64),
        p10=answer.inventory_days_p10.astype(np.float64),
        p90=answer.inventory_days_p90.astype(np.float64),
        daily_rate=answer.daily_rate.astype(np.float64),
        source=by,
    )


def responsible_dates(panel: Panel, rows: I64, as_of: date) -> list[Span]:
    """First and last selling date that the order placed at the end of the period `as_of` decides, for each of `rows`; a period
    goes by its first day."""
    days = panel.period_days
    lead, review = lead_and_review(panel, rows, np.full(len(rows), panel.period_of(as_of)))
    first = [as_of + timedelta(days=int(periods) * days) for periods in lead]
    return [(day, day + timedelta(days=int(r) * days - 1)) for day, r in zip(first, review, strict=True)]


def matching_override(overrides: list[Override], span: Span) -> Override | None:
    """Of those that cover a series the most specific one for the dates that its order covers; among equals the newest."""
    if not overrides:
        return None
    first, last = span
    found = [o for o in overrides if o.selling_from <= last and first <= o.selling_to]
    return max(found, key=lambda o: (o.specificity, o.id), default=None)


def decide(
    answer: Answer, on_hand: F64, on_order: F64, rules: OrderRules, ordering_mode: str,
    overrides: list[Override | None], uplifts: F64,
) -> Decisions:  # fmt: skip
    """Turn days into orders.

    Args:
        answer: what the policy says.
        on_hand, on_order: (B,) units.
        rules: the B items' constraints.
        ordering_mode: the policy's.
        overrides: the one that applies to each, or None.
        uplifts: (B,) units, see `uplift_units`; 0 where the override is of another mode.
    """
    days = answer.inventory_days.copy()
    extra = uplifts.copy()
    for n, override in enumerate(overrides):
        if override is None:
            continue
        if override.mode == "set":
            days[n] = override.value
        elif override.mode == "at_least":
            days[n] = max(days[n], override.value)
        elif override.mode == "add_units":
            extra[n] = override.value
    target = np.maximum(days * answer.daily_rate + extra, 0.0)
    position = on_hand + on_order
    raw = raw_order_quantity(target, position, ordering_mode)
    return Decisions(
        days, answer.inventory_days, answer.p10, answer.p90, answer.daily_rate, target, position, extra,
        constrain(raw, position, rules, answer.daily_rate), overrides, answer.source,
    )  # fmt: skip


def uplift_units(
    override: Override, span: Span, as_of: date, period_days: int, expected: F64, plain: F64
) -> float:  # fmt: skip
    """Units that an uplift puts on the target of the order that covers `span`.

    Demand on the override's dates is taken to be the plain one and so many per cent on top. Where the policy knows a
    promotion on them its forecast has a lift already; that one is replaced, so nothing is counted twice.

    Args:
        override: of mode `uplift`.
        span: first and last selling date that the order is responsible for.
        as_of: the first day of the period at whose end it is placed.
        period_days: length of a period.
        expected: (H,) units the policy expects in each period after `as_of`.
        plain: (H,) the same where no promotion were known.
    """
    units = 0.0
    for t, (told, without) in enumerate(zip(expected, plain, strict=True)):
        first = as_of + timedelta(days=(t + 1) * period_days)
        last = first + timedelta(days=period_days - 1)
        days = (min(last, span[1], override.selling_to) - max(first, span[0], override.selling_from)).days + 1
        if days > 0:
            units += (without * (1 + override.value / 100) - told) * days / period_days
    return units


def constraints_applied(order: Order) -> list[list[str]]:
    """For each of B orders the names of the item rules that changed its quantity."""
    names: list[list[str]] = [[] for _ in range(len(order.order_quantity))]
    for flag, name in CONSTRAINTS.items():
        for row in np.flatnonzero(getattr(order, flag)):
            names[row].append(name)
    return names
