"""The planner page's sentences. Pure text from answers; no arithmetic beyond counting days and rounding for show."""

from __future__ import annotations

from datetime import date, timedelta

from pydantic import ValidationError

from service.decide import Override
from service.look_back_schemas import LookedBack
from service.override_schemas import StoredOverride
from service.planner.readings import Detail, Overview
from service.receipt import RULES
from service.schemas import AppliedOverride, Recommendation
from service.settlement_schemas import Settlement
from service.what_if_schemas import WhatIfResponse

URGENCY = (
    "Most urgent first: reviews that are due, then the lowest days of cover in the inventory position (on hand and on "
    "order) for the recommended days."
)
_FIELDS = {
    "selling_from": "From: give the first selling date.",
    "selling_to": "To: give the last selling date.",
    "mode": "Mode: choose one of the four.",
    "value": "Value: give a number of 0 or more; an uplift may go down to -100.",
    "reason": "Reason: say why, in 1 to 500 characters.",
    "author": "Author: say who decides, in 1 to 100 characters.",
}


def number(value: float) -> str:
    """Units or days for reading: whole where they are, else up to two decimals."""
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def units(value: float) -> str:
    """A quantity with its unit."""
    rounded = round(value) if value >= 100 else round(value, 1)
    return f"{number(rounded)} unit{'' if rounded == 1 else 's'}"


def day(value: date) -> str:
    """A date with its weekday."""
    return f"{value:%a} {value.day} {value:%b %Y}"


def drawn_note(overview: Overview) -> str:
    """Which of the numbers are drawn and not observed."""
    note = f"Data: {overview.source}."
    if overview.drawn_stock:
        note += f" Stock on hand is drawn, not counted, for {overview.drawn_stock} of {len(overview.rows)} series."
    return note


def looked_back(told: LookedBack) -> str:
    """What the last weeks would have been like, one clause a policy."""
    clauses = [
        f"{one.alias} {one.turnover_days:.1f} days of stock, {units(one.lost_units)} lost, {told.currency} {one.total_cost:,.2f}"
        for one in told.policies
    ]
    understated = " The shelf ran empty at times, so demand was higher than shown." if told.demand_understated else ""
    return f"Replayed from the same stock: {'; '.join(clauses)}.{understated}"


def action(detail: Detail) -> str:
    """What to order and when it arrives, in one sentence."""
    result, (item, place) = detail.answer.result, detail.series
    if result is None or detail.look is None:
        problem = detail.answer.problem
        return f"No recommendation for {item} at {place}: {problem.detail if problem else 'no reason is known'}."
    if not result.review_due:
        following = result.next_order_date
        when = f"the next review is on {day(following)}" if following else "no review lies ahead"
        return (
            f"Order nothing for {item} at {place} today: {when}. Were it due today, the order would be "
            f"{units(result.order_quantity_if_due)}."
        )
    if result.order_quantity == 0:
        return f"Order nothing for {item} at {place}: what is on hand and on order covers the target."
    last = result.covers_until
    lasts = f" and have to last until {day(last)}" if last > result.expected_receipt_date else ""
    return (
        f"Order {units(result.order_quantity)} of {item} for {place} at the end of {day(result.order_date)}; they are "
        f"sold from {day(result.expected_receipt_date)}{lasts}."
    )


def reason(result: Recommendation) -> str:
    """Why: days, rate, position, rules."""
    spread = f"{number(result.inventory_days_p10)} to {number(result.inventory_days_p90)}"
    if result.override and result.override.mode in ("set", "at_least"):
        why = f"Why: the override makes it {number(result.inventory_days)} days of stock, lead time included"
    else:
        who = "the policy" if result.source == "policy" else "the base-stock rule"
        why = f"Why: {who} wants {number(result.inventory_days)} days of stock, lead time included (10–90 %: {spread})"
    added = ""
    if result.override and result.override.mode in ("add_units", "uplift"):
        added = f" plus the override's {units(result.override.units)}"
    remembered = f", {number(round(result.reserved, 1))} advised before" if result.reserved else ""
    why += (
        f". At {units(result.daily_rate)} a day{added} that is a target of {units(result.target_stock)}; the position "
        f"is {units(result.inventory_position)} ({number(round(result.on_hand, 1))} on hand, "
        f"{number(round(result.on_order, 1))} on order{remembered})."
    )
    rules = [RULES.get(name, name) for name in result.constraints_applied]
    if rules:
        why += f" Adjusted to {' and '.join(rules)}."
    return why


def overridden(override: AppliedOverride, policy_days: float) -> str:
    """Which override counts and what the policy would have said."""
    return (
        f"Override {override.id} by {override.author}: {effect(override.mode, override.value)}, because "
        f"“{override.reason}”. Without it: {number(policy_days)} days."
    )


def planned(override: Override) -> str:
    """One stored override in a list."""
    return (
        f"No. {override.id}: {effect(override.mode, override.value)}, selling {override.selling_from} to "
        f"{override.selling_to}, by {override.author}: {override.reason}"
    )


def earned(told: Settlement, period_days: int) -> str:
    """What an override earned or cost against the policy's own number."""
    if told.state == "nothing_ordered":
        return "No order followed it."
    if told.settled == 0:
        return "Its orders cannot be judged yet."
    sold = round(told.saved_units, 1)
    sales = f"{units(abs(sold))} {'more' if sold > 0 else 'fewer'} sold" if sold else "as much sold"
    stock = round(told.stock_periods * period_days, 1)
    held = f", {number(abs(stock))} unit-days {'more' if stock > 0 else 'less'} in stock" if stock else ""
    so_far = " so far" if told.state == "partly" else ""
    verb = "earned" if told.money >= 0 else "cost"
    least = " Something ran out or was not recorded meanwhile, so demand may have been higher."
    return (
        f"By replay it {verb} {number(abs(told.money))} {told.currency}{so_far} against the policy's own number: "
        f"{sales}{held}.{least if told.demand_understated else ''}"
    )


def effect(mode: str, value: float) -> str:
    """What an override does."""
    if mode == "uplift":
        return f"{value:+g} % demand"
    if mode == "set":
        return f"set {number(value)} days"
    return f"at least {number(value)} days" if mode == "at_least" else f"add {units(value)}"


def stored(override: StoredOverride, result: Recommendation | None) -> str:
    """What a new override did to the present order."""
    if override.state == "pending":
        return f"Override {override.id} is stored and waits for the approval of a second person."
    if result is None or result.override is None or result.override.id != override.id:
        covered = f" Today's order covers {result.expected_receipt_date} to {result.covers_until}." if result else ""
        return f"Override {override.id} is stored; it does not change today's order.{covered}"
    return f"Override {override.id} is stored: {number(result.inventory_days)} days, order {units(result.order_quantity_if_due)}."


def shortage(detail: Detail) -> str:
    """The first day on which the median forecast finds no stock; empty where it always does."""
    if detail.projection is None or detail.look is None:
        return ""
    short = [t for t, lost in enumerate(detail.projection.lost_sales) if lost >= 0.5]
    if not short:
        return ""
    first = detail.as_of + timedelta(days=(short[0] + 1) * detail.look.period_days)
    return f"At the median forecast stock runs out on {day(first)}."


def dearness(costs: WhatIfResponse) -> str:
    """Which days the forecast makes the cheapest, and how far the advised ones are from them."""
    cost = {point.inventory_days: point.total_cost for point in costs.curve}
    best = f"By the forecast {number(costs.cheapest_days)} days cost least"
    more = cost[costs.inventory_days] - cost[costs.cheapest_days]
    if more < 0.005:
        return f"{best}, and those advised as little."
    return f"{best}; those advised cost {number(more)} {costs.currency} more than {number(cost[costs.cheapest_days])}."


def plain_errors(error: ValidationError) -> str:
    """Why an override cannot be stored, in the words of the form's labels."""
    sentences = []
    for part in error.errors():
        if part["loc"] and part["loc"][0] in _FIELDS:
            sentences.append(_FIELDS[str(part["loc"][0])])
        else:
            text = part["msg"].removeprefix("Value error, ").replace("selling_to", "To").replace("selling_from", "From")
            sentences.append(f"{text[0].upper()}{text[1:]}.")
    return " ".join(dict.fromkeys(sentences))
