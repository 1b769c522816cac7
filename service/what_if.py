"""What if: the cost of one order over its number of days, and the stock that chosen days would leave.

The order is the one that would be placed now. Its costs are counted as in the labels that the policy learned from: over the
periods that it is responsible for, under the item's real rules, with what is on its way, but on demand as it is forecast
(`service.demand_paths`) in place of demand as it was. Nothing is stored, and nothing here decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np

from service.asked import Asked
from service.decide import Decisions, Override, Span, matching_override, responsible_dates
from service.demand_paths import PATHS, demand_paths
from service.problems import Problem, ProblemError, RowError
from service.projection import Curve, Supply, UnitCosts, arrivals, orders, price, project
from service.recommender import Recommender
from service.what_if_schemas import (
    DemandChange,
    LeadTimeSource,
    PricedDays,
    ProjectedPeriod,
    WhatIfRequest,
    WhatIfResponse,
)
from simulator.metrics import LEAST_LOST, waste_cost
from simulator.ordering import rules_of
from simulator.panel import F64, Panel
from simulator.schedule import lead_and_review, review_schedule

ROW = np.array([0])  # of the series in a panel that holds no other
BAND = (0.1, 0.5, 0.9)
LEAD_TIME_SOURCES: dict[tuple[bool, bool], LeadTimeSource] = {  # by whether one is assumed, and whether calendars move it
    (False, False): "store", (False, True): "store (calendar)",
    (True, False): "request", (True, True): "request (calendar)",
}  # fmt: skip


class Situation(NamedTuple):
    """One series at the end of as_of, under the assumptions."""

    panel: Panel  # of this series only
    asked: Asked
    override: Override | None  # that counts
    decisions: Decisions
    span: Span  # selling dates that the order is responsible for
    supply: Supply
    lead_time_source: LeadTimeSource
    demand: F64  # (S, T) units along S paths, up to the end of the span
    review_due: bool


def what_if(recommender: Recommender, question: WhatIfRequest) -> WhatIfResponse:
    """Price some numbers of days, and project the stock of one of them.

    Args:
        recommender: knows rules, stock, overrides, forecast and the policy's answer.
        question: the series, the days and the assumptions.

    Raises:
        ProblemError: 404 where the series is not known, 422 where it cannot be answered, 503 without a dataset or policy.
    """
    answer = recommender.answer([question], question.as_of)
    problem = answer.items[0].problem
    if problem is not None:
        raise ProblemError(problem.status, problem.type, problem.title, problem.detail, problem.errors)
    found = _situation(recommender, question, answer.as_of)
    policy_days = float(found.decisions.policy_days[0])
    chosen = _advised_days(found.decisions) if question.inventory_days is None else question.inventory_days
    usual = question.days or _usual_days(found, max(policy_days, chosen))
    days = np.unique([policy_days, chosen, *usual])
    return _told(found, answer.as_of, days, policy_days, chosen)


def demand_factors(changes: Sequence[DemandChange], as_of: date, period_days: int, periods: int) -> F64:
    """(T,) what the forecast of each period after `as_of` is multiplied by; in a longer period by the share of its days."""
    factors = np.ones((periods, period_days))
    for n, day in np.ndindex(*factors.shape):
        selling = as_of + timedelta(days=(n + 1) * period_days + day)
        for change in changes:
            if change.selling_from <= selling <= change.selling_to:
                factors[n, day] *= 1 + change.per_cent / 100
    return np.asarray(factors.mean(axis=1))


def _situation(recommender: Recommender, question: WhatIfRequest, day: date) -> Situation:
    """What the answer rests on, read and decided anew under the assumptions."""
    assumed = question.assumptions
    asked, panel = _asked(recommender, question, day)
    t = panel.period_of(day)
    lead, review = (int(periods[0]) for periods in lead_and_review(panel, ROW, np.array([t])))
    periods, forecast = lead + review - 1, asked.answer.forecast[0]
    if periods > len(forecast):
        detail = (
            f"lead_time_days: the order would have to last {periods} periods, the forecast ends after {len(forecast)}"
        )
        errors = [RowError(field="assumptions.lead_time_days", detail=f"got {assumed.lead_time_days}")]
        raise ProblemError(422, "beyond-horizon", "The lead time is too long", detail, errors)
    span = responsible_dates(panel, ROW, day)[0]
    override = matching_override(recommender.overrides(panel, 0), span)
    factors = demand_factors(assumed.demand, day, panel.period_days, periods)
    stock = asked.stock[0]
    coming = [*stock.arrivals, *stock.reserved, (span[0], stock.placed)]
    return Situation(
        panel=panel,
        asked=asked,
        override=override,
        decisions=asked.order([override], [span]),
        span=span,
        supply=Supply(
            stock.on_hand, arrivals(coming, day, panel.period_days, periods), lead, int(panel.shelf_life_periods[0])
        ),
        lead_time_source=LEAD_TIME_SOURCES[assumed.lead_time_days is not None, lead != int(panel.lead_periods[0])],
        demand=demand_paths(forecast[:periods] * factors[:, None], whole=panel.discrete),
        review_due=bool(review_schedule(panel, range(t, t + 1)).due[0, 0]),
    )


def _asked(recommender: Recommender, question: WhatIfRequest, day: date) -> tuple[Asked, Panel]:
    """What the policy says of a series that is known to have an answer, under another lead time where one is assumed."""
    series = (question.item_id, question.location_id)
    panel, stock = recommender.items([series], day), recommender.stock([question], day)[0]
    assert panel is not None
    assert not isinstance(stock, Problem)
    lead_time = question.assumptions.lead_time_days
    if lead_time is None:
        return recommender.ask([series], rules_of(panel, on=day), [stock], day)[0].asked, panel
    panel = replace(panel, items=replace(panel.items, lead_time_days=np.array([lead_time])))
    asked = recommender.ask([series], rules_of(panel, on=day), [stock], day)[0].asked
    lead, review = lead_and_review(panel, ROW, np.array([panel.period_of(day)]))
    seen = asked.seen.but(
        lead_time_days=(lead * panel.period_days).astype(np.float32),
        review_period_days=(review * panel.period_days).astype(np.float32),
    )
    return replace(asked, seen=seen, answer=asked.say(seen)), panel


def _advised_days(decisions: Decisions) -> float:
    """The days of the recommendation; units that an override adds count as days."""
    added, rate = float(decisions.added_units[0]), float(decisions.daily_rate[0])
    if added and rate > 0:
        return float(decisions.target_stock[0]) / rate
    return float(decisions.inventory_days[0])


def _usual_days(found: Situation, largest: float) -> list[float]:
    """Days that the policy chooses from, up to twice what the order has to last for, or twice the `largest` of interest."""
    cycle = (len(found.supply.arriving) + 1) * found.panel.period_days
    grid: list[float] = found.asked.policy.contract["grid"]
    return [days for days in grid if days <= 2 * max(cycle, largest)]


def _told(found: Situation, as_of: date, days: F64, policy_days: float, chosen: float) -> WhatIfResponse:
    decisions, panel = found.decisions, found.panel
    quantities = _quantities(found, days)
    curve = price(found.supply, quantities, found.demand, _unit_costs(panel))
    total = curve.total_cost
    at_policy, at_chosen = np.searchsorted(days, [policy_days, chosen])
    return WhatIfResponse(
        as_of=as_of,
        policy_version=found.asked.policy.version,
        currency=panel.currency,
        review_due=found.review_due,
        lead_time_days=found.supply.lead_periods * panel.period_days,
        lead_time_source=found.lead_time_source,
        expected_receipt_date=found.span[0],
        covers_until=found.span[1],
        daily_rate=decisions.daily_rate[0],
        inventory_position=decisions.inventory_position[0],
        policy_days=policy_days,
        override_id=None if found.override is None else found.override.id,
        inventory_days=chosen,
        order_quantity=quantities[at_chosen],
        cheapest_days=days[np.argmin(total)],
        policy_above_cheapest=total[at_policy] - total.min(),
        paths=PATHS,
        curve=_priced(days, quantities, curve),
        projection=_projected(found, float(quantities[at_chosen]), as_of),
    )


def _quantities(found: Situation, days: F64) -> F64:
    decisions, asked = found.decisions, found.asked
    rate, position = float(decisions.daily_rate[0]), float(decisions.inventory_position[0])
    return orders(days, rate, position, asked.rules, asked.policy.ordering_mode)


def _unit_costs(panel: Panel) -> UnitCosts:
    items = panel.items
    holding = items.holding_cost_per_day[0] * panel.period_days
    return UnitCosts(float(holding), float(items.lost_sale_cost[0]), float(waste_cost(items)[0]))


def _priced(days: F64, quantities: F64, curve: Curve) -> list[PricedDays]:
    return [
        PricedDays(
            inventory_days=days[n],
            order_quantity=quantities[n],
            holding_cost=curve.holding_cost[n],
            stockout_cost=curve.stockout_cost[n],
            waste_cost=curve.waste_cost[n],
            total_cost=curve.total_cost[n],
            lost_units=curve.lost_sales[n],
            stockout_probability=curve.stockout_probability[n],
        )
        for n in range(len(days))
    ]


def _projected(found: Situation, order_quantity: float, as_of: date) -> list[ProjectedPeriod]:
    record = project(found.supply, order_quantity, found.demand)
    low, middle, high = np.quantile(record.on_hand, BAND, axis=0)
    lost, short = record.lost_sales.mean(axis=0), (record.lost_sales > LEAST_LOST).mean(axis=0)
    return [
        ProjectedPeriod(
            date=as_of + timedelta(days=(n + 1) * found.panel.period_days),
            received=record.received[0, n],
            on_hand_p10=low[n],
            on_hand_p50=middle[n],
            on_hand_p90=high[n],
            lost_units=lost[n],
            stockout_probability=short[n],
        )
        for n in range(len(low))
    ]
