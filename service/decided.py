"""A stored decision read back: the stock, the rules, the override and the dates that it rested on. Rows in, values out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np

from service.asked import Stock
from service.decide import Override, Span
from simulator.ordering import OrderRules

Told = dict[str, Any]  # `inputs` of a decision, as `service.memory` wrote them


def stock_then(inputs: Told) -> Stock:
    """What it had."""
    reserved, shown = _arrivals(inputs["reserved"]), _arrivals(inputs["shown"])
    arrivals = _arrivals(inputs["open_orders"])
    return Stock(inputs["on_hand"], arrivals, "request", reserved, shown, inputs["placed"], [])


def rules_then(inputs: Sequence[Told]) -> OrderRules:
    """The rules of N decisions, which round alike."""
    told = [one["rules"] for one in inputs]
    columns = {
        name: np.array([_rule(one[name]) for one in told]) for name in told[0] if name != "rounding"
    }  # fmt: skip
    return OrderRules(**columns, rounding=told[0]["rounding"])


def override_then(inputs: Told) -> Override | None:
    """The override that it followed, as it stood then."""
    told = inputs["override"]
    if told is None:
        return None
    dates = {name: date.fromisoformat(told[name]) for name in ("selling_from", "selling_to")}
    return Override(**(told | dates))


def span_then(inputs: Told) -> Span:
    """First and last selling date that its order was responsible for."""
    first, last = (date.fromisoformat(day) for day in inputs["span"])
    return first, last


def _arrivals(told: list[list[Any]]) -> list[tuple[date, float]]:
    return [(date.fromisoformat(day), float(units)) for day, units in told]


def _rule(value: Any) -> bool | float:
    return value if isinstance(value, bool) else np.inf if value is None else float(value)
