"""Why this quantity: lines that add up from days to order, and sentences that a buyer can read. Pure arithmetic and words."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from service.decide import BASELINE, Decisions
from service.schemas import ReceiptLine

RULES = {
    "min_order_qty": "the minimum order", "order_multiple": "whole packs or units", "max_order_qty": "the maximum order",
    "min_stock": "the display minimum", "max_stock": "the shelf's capacity", "shelf_life_days": "the shelf life",
    "orderable_until": "the last order date",
}  # fmt: skip


def receipt(
    decisions: Decisions,
    n: int,
    on_hand: float,
    on_order: float,
    reserved: float,
    sold_since: float,
    rules: list[str],
    *,
    due: bool,
) -> list[ReceiptLine]:
    """Lines whose units add up to the order quantity.

    Args:
        decisions: B orders.
        n: which of them.
        on_hand, on_order, reserved: units in its position.
        sold_since: units that were counted but are expected to sell before the order is placed; not in `on_hand`.
        rules: what changed the quantity.
        due: whether it may be ordered today.
    """
    order = decisions.order
    raw, quantity = float(order.raw_order_quantity[n]), float(order.order_quantity[n])
    base, added = float(decisions.inventory_days[n] * decisions.daily_rate[n]), float(decisions.added_units[n])
    target = float(decisions.target_stock[n])
    lines = [
        ReceiptLine(what=f"{decisions.inventory_days[n]:g} days at {decisions.daily_rate[n]:,.4g} units", units=base)
    ]
    lines += _line("the override adds", added)
    lines += _line("a target below 0 counts as 0", target - base - added)
    lines += _line("counted", -(on_hand + sold_since)) if sold_since else _line("on hand", -on_hand)
    lines += _line("expected to sell after the count", sold_since)
    for what, units in (("on order", on_order), ("advised before, not on order yet", reserved)):
        lines += _line(what, -units)
    lines += _line("more than the target: nothing is taken back", raw - (target - on_hand - on_order - reserved))
    lines += _line(" and ".join(RULES.get(rule, rule) for rule in rules) or "rules", quantity - raw)
    return lines if due else lines + _line("no order is due", -quantity)


def _line(what: str, units: float) -> list[ReceiptLine]:
    return [ReceiptLine(what=what, units=units)] if units else []


class Doubts(NamedTuple):
    """What an answer rests on that may be otherwise."""

    sold_since: float  # units expected to sell between the count and the order
    last_sales: date | None  # the last day whose sales were told, where that is long ago
    overdue: float  # units on order that should be there by now


def reasons(
    days: float,
    rate: float,
    source: str,
    override: str | None,
    rules: list[str],
    following: date | None,
    doubts: Doubts,
    *,
    due: bool,
    by: str,
) -> list[str]:
    """The same in sentences.

    Args:
        days: inventory days that count.
        rate: units a day.
        source: where the rate comes from.
        override: who overrode the policy and why; None: nobody.
        rules: what changed the quantity.
        following: the next order day, if one is known.
        doubts: what it rests on that may be otherwise.
        due: whether an order is due.
        by: who decided.
    """
    said = [f"The target is {days:g} days of stock at {rate:,.4g} units a day."]
    if by == BASELINE:
        said.append("The policy failed: a base stock for the demand of the last weeks decided in its place.")
    if source != "history":
        said.append(f"It has too little history of its own: the rate comes from {source.replace('_', ' ')}.")
    if doubts.last_sales is not None:
        said.append(f"Its last sales were told for {doubts.last_sales}.")
    if doubts.overdue:
        said.append(f"{doubts.overdue:,.4g} of the units on order are overdue, and count as still to come.")
    if doubts.sold_since:
        said.append(f"{doubts.sold_since:,.4g} of the units counted are expected to sell before the order is placed.")
    if override is not None:
        said.append(override)
    if rules:
        said.append(f"The quantity was changed by {' and '.join(RULES.get(rule, rule) for rule in rules)}.")
    if not due:
        said.append(f"No order is due; the next order day is {following}." if following else "No order day lies ahead.")
    return said
