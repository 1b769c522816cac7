"""What the policy said of some series, and the orders that follow under any overrides."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import numpy as np

from service.decide import Decisions, Override, Span, answer_of, decide, uplift_units
from service.policy import Policy, PolicyAnswer
from simulator.observation import Observation
from simulator.ordering import OrderRules
from simulator.panel import F32, F64

Arrivals = list[tuple[date, float]]


class Stock(NamedTuple):
    """What one answer rests on, units; the last three are what remembered decisions add, see `service.memory`."""

    on_hand: float
    arrivals: Arrivals  # of open orders
    source: str
    reserved: Arrivals  # advised on earlier days, and not among the open orders yet
    shown: Arrivals  # open orders that are today's own
    placed: float  # ordered today and not among the open orders yet

    @property
    def on_order(self) -> float:
        return sum(quantity for _, quantity in self.arrivals)

    @property
    def on_reserve(self) -> float:
        return sum(quantity for _, quantity in self.reserved) + self.placed

    @property
    def coming(self) -> Arrivals:
        """What is on its way besides the order to decide on."""
        return [*self.arrivals, *self.reserved, *((day, -quantity) for day, quantity in self.shown)]


class Asked(NamedTuple):
    """B series and what the policy said of them; `order` makes orders of it."""

    policy: Policy
    day: date
    observation: Observation
    answer: PolicyAnswer
    rate_sources: list[str]
    stock: list[Stock]
    rules: OrderRules

    def order(self, overrides: list[Override | None], spans: list[Span]) -> Decisions:
        """Orders under some overrides, one or none a series, that cover the selling dates `spans`."""
        return decide(
            answer_of(self.answer), np.array([s.on_hand for s in self.stock]),
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
        seen = {name: column[rows] for name, column in self.observation.items()}
        promotion = seen["promotion"].copy()
        ahead = promotion[:, self.policy.spec.history :]
        if not (ahead > 0).any():
            return self.answer.forecast[rows]
        ahead[ahead > 0] = 0.0
        return self.policy.answer(seen | {"promotion": promotion}).forecast
