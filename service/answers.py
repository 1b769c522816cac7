"""Answers as callers read them: a recommendation with its receipt and reasons, or the problem that stands in its way."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from service.asked import Asked, Counterfactual
from service.decide import Decisions, Override, constraints_applied
from service.problems import Problem
from service.receipt import Doubts, reasons, receipt
from service.schemas import AppliedOverride, CounterfactualLine, ItemAnswer, Recommendation, UsedRules
from service.series import Series
from service.terms import Terms
from simulator.ordering import OrderRules

LONG_UNTOLD_DAYS = 7  # days without sales told, above which the answer says so


def recommendations(
    asked: Asked, decisions: Decisions, terms: Terms, others: list[list[Counterfactual]] | None
) -> dict[int, Recommendation]:
    """The answers to B series, by place; without those of which nothing says what they sell.

    Args:
        asked: what the policy said.
        decisions: the orders that follow.
        terms: rules and calendars.
        others: what other circumstances would change, where that was asked for.
    """
    rules = constraints_applied(decisions.order)
    columns, used, doubts = _columns(decisions), _used(asked.rules), _doubts(asked)
    answers: dict[int, Recommendation] = {}
    for n, source in enumerate(asked.rate_sources):
        if source == "none":
            continue
        stock, span, following, due = asked.stock[n], terms.spans[n], terms.following[n], terms.due[n]
        told = {name: column[n] for name, column in columns.items()}
        days, rate, quantity = told["inventory_days"], told["daily_rate"], told["order_quantity_if_due"]
        held = stock.on_hand, stock.on_order, stock.on_reserve
        applied, said = _applied(decisions.overrides[n], float(decisions.added_units[n]))
        answers[n] = Recommendation(
            **told,
            rate_source=source,
            on_hand=held[0],
            on_order=held[1],
            reserved=held[2],
            stock_source=stock.source,
            sold_since_count=stock.sold_since,
            open_orders_source=stock.orders_source,
            lead_time_days=(span[0] - asked.day).days,
            lead_time_source="store (calendar)" if terms.lead_moved[n] else "store",
            review_period_days=(span[1] - span[0]).days + 1,
            review_period_source="store (calendar)" if terms.review_moved[n] else "store",
            order_rules=used[n],
            order_rules_source="store" if terms.own_multiple[n] else "store (whole units)",
            order_quantity=quantity if due else 0.0,
            constraints_applied=rules[n],
            review_due=due,
            order_date=asked.day,
            next_order_date=following,
            expected_receipt_date=span[0],
            covers_until=span[1],
            override=applied,
            source=decisions.source,
            receipt=receipt(decisions, n, *held, stock.sold_since, rules[n], due=due),
            reasons=reasons(days, rate, source, said, rules[n], following, doubts[n], due=due, by=asked.by),
            counterfactuals=None if others is None else [CounterfactualLine(**one._asdict()) for one in others[n]],
        )
    return answers


def _doubts(asked: Asked) -> list[Doubts]:
    """(B,) what is expected, missing or overdue; sales that were never told say nothing."""
    told, days = np.isfinite(asked.seen.field("units_sold")), asked.seen.spec.period_days
    ago = np.argmax(told[:, ::-1], axis=1) * days
    old = told.any(axis=1) & (ago > LONG_UNTOLD_DAYS)
    found = []
    for n, stock in enumerate(asked.stock):
        last = asked.day - timedelta(days=int(ago[n])) if old[n] else None
        overdue = sum(units for arrival, units in stock.arrivals if arrival <= asked.day)
        found.append(Doubts(stock.sold_since, last, overdue))
    return found


def item_answer(
    key: Series, result: Recommendation | None = None, problem: Problem | None = None, age_s: float | None = None,
    by: tuple[str | None, str | None] = (None, None),
) -> ItemAnswer:  # fmt: skip
    """One series' answer; `by` is version and alias of the policy that decided."""
    return ItemAnswer(
        item_id=key[0], location_id=key[1], result=result, problem=problem, policy_version=by[0], policy_alias=by[1],
        feature_age_s=age_s,
    )  # fmt: skip


def _columns(decisions: Decisions) -> dict[str, list[float]]:
    """Fields of the recommendation that stand in arrays, as lists of B."""
    order = decisions.order
    arrays = {
        "inventory_days": decisions.inventory_days,
        "inventory_days_p10": decisions.p10,
        "inventory_days_p90": decisions.p90,
        "policy_days": decisions.policy_days,
        "daily_rate": decisions.daily_rate,
        "target_stock": decisions.target_stock,
        "inventory_position": decisions.inventory_position,
        "raw_order_quantity": order.raw_order_quantity,
        "order_quantity_if_due": order.order_quantity,
    }
    return {name: column.tolist() for name, column in arrays.items()}


def _used(rules: OrderRules) -> list[UsedRules]:
    """The rules of B items as they count."""
    columns = {name: getattr(rules, name) for name in UsedRules.model_fields}
    known = {name: (np.isfinite(column) & (column > 0)).tolist() for name, column in columns.items()}
    values = {name: column.tolist() for name, column in columns.items()}
    rows = [tuple(values[name][n] if known[name][n] else None for name in columns) for n in range(len(rules.min_stock))]
    made = {row: UsedRules(**dict(zip(columns, row, strict=True))) for row in set(rows)}  # many items share theirs
    return [made[row] for row in rows]


def _applied(override: Override | None, units: float) -> tuple[AppliedOverride | None, str | None]:
    """The override that counts, and the sentence for it."""
    if override is None:
        return None, None
    applied = AppliedOverride(
        id=override.id, mode=override.mode, value=override.value, units=units, reason=override.reason,
        author=override.author,
    )  # fmt: skip
    return applied, f"Override {override.id} by {override.author} counts: {override.reason}"


def unknown(key: Series) -> Problem:
    """Nobody has told of the series."""
    detail = f"item_id, location_id: there is no item {key[0]!r} at {key[1]!r}"
    return Problem(type="series-unknown", title="The series is not known", status=404, detail=detail)


def too_far(key: Series) -> Problem:
    """Its order has to last longer than a policy looks ahead."""
    detail = f"lead_time_days: {key[0]} at {key[1]} has to be ordered longer ahead than the policy looks (91 days)"
    return Problem(type="beyond-horizon", title="The lead time is too long", status=422, detail=detail)


def unread(key: Series) -> Problem:
    """The database does not answer."""
    detail = f"what is known of {key[0]} at {key[1]} is not cached, and the database does not answer; ask again soon"
    return Problem(type="series-unavailable", title="The series cannot be read now", status=503, detail=detail)


def other_uom(key: Series, ours: str, theirs: str) -> Problem:
    """A request that counts in other units."""
    detail = f"uom: the request counts in {theirs!r}, {key[0]} at {key[1]} is kept in {ours!r}"
    return Problem(type="uom-mismatch", title="Another unit of measure", status=422, detail=detail)


def no_demand(key: Series) -> Problem:
    """Nothing says what it sells."""
    detail = f"{key[0]} at {key[1]} has no sales, no reference item, no category mean and no expected_daily_demand"
    return Problem(type="demand-unknown", title="Nothing says what it sells", status=422, detail=detail)
