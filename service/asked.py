"""What the policy said of some series, and the orders that follow under any overrides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple

import numpy as np

from service.decide import BASELINE, POLICY, Decisions, Override, Span, answer_of, decide, uplift_units
from service.fallback import base_stock
from service.policy import Policy, PolicyAnswer
from service.rows import Seen, source_of
from simulator.observation import ObservationSpec
from simulator.ordering import OrderRules
from simulator.panel import F32, F64, Bools
from simulator.step import State
from simulator.stock import arrival_slots

Arrivals = list[tuple[date, float]]
MORE_LEAD_DAYS = 2  # in weekly data a week, for lead times are whole periods


class Counterfactual(NamedTuple):
    """What another circumstance would change."""

    change: str
    target_units: float


class Stock(NamedTuple):
    """What one answer rests on, units; the last four are what remembered decisions say, see `service.memory`."""

    on_hand: float
    arrivals: Arrivals  # of open orders
    source: str
    reserved: Arrivals  # advised on earlier days, and not among the open orders yet
    shown: Arrivals  # open orders that are today's own
    placed: float  # ordered today and not among the open orders yet
    seen: list[str]  # decisions whose orders have shown up, by number
    orders_source: str = "store"
    days_left: float = 0.0  # selling days between the count and the end of the as-of period
    sold_since: float = 0.0  # units expected to sell after the count; `on_hand` is without them

    def less(self, units: float) -> Stock:
        """The same after some more have been sold, as far as there are any."""
        sold = min(self.on_hand, units)
        return self._replace(on_hand=self.on_hand - sold, sold_since=sold)

    @property
    def on_order(self) -> float:
        return sum([quantity for _, quantity in self.arrivals]) if self.arrivals else 0.0

    @property
    def on_reserve(self) -> float:
        return sum([quantity for _, quantity in self.reserved]) + self.placed if self.reserved else self.placed

    @property
    def coming(self) -> Arrivals:
        """What is on its way besides the order to decide on."""
        return [*self.arrivals, *self.reserved, *((day, -quantity) for day, quantity in self.shown)]


class Sight(NamedTuple):
    """B series as a policy is about to see them."""

    day: date
    seen: Seen
    stock: list[Stock]
    rules: OrderRules
    ages_s: list[float]  # of the feature rows

    def take(self, rows: Sequence[int]) -> Sight:
        """The same for some of them."""
        rules = self.rules.take(np.array(rows, dtype=np.int64))
        return Sight(
            self.day, self.seen.take(rows), [self.stock[n] for n in rows], rules, [self.ages_s[n] for n in rows]
        )

    def ask(self, policy: Policy) -> Asked:
        """What a policy says of them."""
        return self._asked(policy, policy.answer_to(self.seen), POLICY)

    def instead_of(self, policy: Policy) -> Asked:
        """What a base stock says of them, where the policy fails."""
        return self._asked(policy, base_stock(self.seen), BASELINE)

    def _asked(self, policy: Policy, answer: PolicyAnswer, by: str) -> Asked:
        sources = list(map(source_of, self.seen.blobs))
        return Asked(policy, self.day, self.seen, answer, sources, self.stock, self.rules, self.ages_s, by)


def state_of(stock: list[Stock], day: date, spec: ObservationSpec) -> State:
    """The stock as the simulator keeps it; arrivals beyond the horizon stand in one more column."""
    pipeline = np.zeros((len(stock), spec.horizon + 1))
    coming = [(n, (arrival - day).days, units) for n, one in enumerate(stock) for arrival, units in one.coming]
    if coming:
        rows, days, units = (np.array(column) for column in zip(*coming, strict=True))
        np.add.at(pipeline, (rows, np.minimum(arrival_slots(days, spec.period_days), spec.horizon)), units)
    return State(np.array([one.on_hand for one in stock]), np.maximum(pipeline, 0.0))


@dataclass(frozen=True)
class Asked:
    """B series and what the policy said of them; `order` makes orders of it."""

    policy: Policy
    day: date
    seen: Seen
    answer: PolicyAnswer
    rate_sources: list[str]
    stock: list[Stock]
    rules: OrderRules
    ages_s: list[float]  # of the feature rows
    by: str  # who decides: the policy, or a base stock in its place

    def take(self, rows: Sequence[int]) -> Asked:
        """The same for some of the series."""
        return replace(
            self, seen=self.seen.take(rows), answer=PolicyAnswer(*(column[list(rows)] for column in self.answer)),
            rate_sources=[self.rate_sources[n] for n in rows], stock=[self.stock[n] for n in rows],
            rules=self.rules.take(np.array(rows, dtype=np.int64)), ages_s=[self.ages_s[n] for n in rows],
        )  # fmt: skip

    def order(self, overrides: list[Override | None], spans: list[Span]) -> Decisions:
        """Orders under some overrides, one or none a series, that cover the selling dates `spans`."""
        return decide(
            answer_of(self.answer, self.by), np.array([s.on_hand for s in self.stock]),
            np.array([s.on_order + s.on_reserve for s in self.stock]), self.rules, self.policy.ordering_mode, overrides,
            self._uplifts(overrides, spans),
        )  # fmt: skip

    def _uplifts(self, overrides: list[Override | None], spans: list[Span]) -> F64:
        units = np.zeros(len(self.stock))
        lifted = [n for n, override in enumerate(overrides) if override is not None and override.mode == "uplift"]
        if not lifted:
            return units
        told, plain = self.answer.forecast[lifted].mean(axis=2), self._without_promotions(lifted).mean(axis=2)
        for n, expected, without in zip(lifted, told, plain, strict=True):
            override, days = overrides[n], self.policy.period_days
            assert override is not None
            units[n] = uplift_units(override, spans[n], self.day, days, expected, without)
        return units

    def _without_promotions(self, rows: list[int]) -> F32:
        """(B, H, Q) the forecasts of some series if no promotion were known from here on."""
        if not self.promoted[rows].any():
            return self.answer.forecast[rows]
        return self.say(_unpromoted(self.seen.take(rows), self.policy.spec.history)).forecast

    def say(self, seen: Seen) -> PolicyAnswer:
        """What who decides says under other circumstances."""
        return base_stock(seen) if self.by == BASELINE else self.policy.answer_to(seen)

    @property
    def promoted(self) -> Bools:
        """(B,) whether a promotion is known ahead."""
        return np.asarray((self.seen.field("promotion")[:, self.policy.spec.history :] > 0).any(axis=1))

    def counterfactuals(self) -> list[list[Counterfactual]]:
        """For each series by how much the policy's target would differ under other circumstances."""
        days, more = self.seen.field("lead_time_days"), max(MORE_LEAD_DAYS, self.policy.period_days)
        change = self._change(self.seen.but(lead_time_days=(days + more).astype(days.dtype)))
        found = [[Counterfactual(f"{more} days more lead time", float(units))] for units in change]
        promoted = self.promoted
        if promoted.any():
            change = self._change(_unpromoted(self.seen, self.policy.spec.history))
            for n in np.flatnonzero(promoted):
                found[n].append(Counterfactual("without the promotions known ahead", float(change[n])))
        return found

    def _change(self, seen: Seen) -> F64:
        other = self.say(seen)
        then = other.inventory_days.astype(np.float64) * other.daily_rate
        return np.asarray(then - self.answer.inventory_days.astype(np.float64) * self.answer.daily_rate)


def _unpromoted(seen: Seen, history: int) -> Seen:
    """The same if no promotion were known after the as-of day."""
    promotion = seen.field("promotion").copy()
    ahead = promotion[:, history:]
    ahead[ahead > 0] = 0.0
    return seen.but(promotion=promotion)
