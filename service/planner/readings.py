"""What the planner page shows, read from the service: every series by urgency, and one series in depth.

These functions block on SQL and ONNX Runtime; the page calls them in a thread. They decide nothing: days, rates and
quantities are the recommender's, the projection is `service.projection`, prices are `service.what_if`.
"""

from __future__ import annotations

import json
from datetime import date
from typing import Any, NamedTuple

from starlette.datastructures import State

from service.decide import Override
from service.look_back import look_back
from service.look_back_schemas import LookedBack
from service.problems import ProblemError
from service.projection import Projection, Supply, arrivals, project
from service.recommender import Look, Recommender
from service.schemas import ItemAnswer, Recommendation, RecommendationItem
from service.series import Series
from service.settlement_schemas import Settlement
from service.settlements import Settlements
from service.store import Store
from service.what_if import what_if
from service.what_if_schemas import WhatIfRequest, WhatIfResponse

MOST_SERIES = 5000  # as many as one request may name
PAST_DAYS = 56
MOST_PAST = 5  # overrides that have ended, the newest
MEDIAN = 2  # place of the median among the forecast's quantiles

_SIGNS = {"set": "set {:g}", "at_least": "≥ {:g}", "add_units": "+{:g}", "uplift": "{:+g} %"}

Row = dict[str, Any]


class Overview(NamedTuple):
    """Every series, most urgent first, and what the answers rest on."""

    as_of: date
    policy_version: str
    source: str  # the dataset's own words on where it comes from
    dataset: str
    rows: list[Row]
    drawn_stock: int  # rows whose stock was drawn and not counted
    left_out: int  # series beyond the most that the page shows


class Detail(NamedTuple):
    """One series: the answer, what it rests on, and what stock would do."""

    series: Series
    as_of: date
    answer: ItemAnswer
    look: Look | None  # None where the answer is a problem
    projection: Projection | None
    costs: WhatIfResponse | None  # of other days than the advised ones, too
    past: list[tuple[Override, Settlement]]  # overrides that have ended, newest first, and what each earned here


def key_of(series: Series) -> str:
    """A series as one text, for row ids."""
    return json.dumps(series)


def series_of(key: str) -> Series:
    """The inverse of `key_of`."""
    item_id, location_id = json.loads(key)
    return item_id, location_id


def read_overview(services: State) -> Overview:
    """Answer every series and sort by urgency: due reviews first, then least stock for what it should hold.

    Raises:
        ProblemError: when nothing can be answered at all.
    """
    store: Store = services.store
    recommender: Recommender = services.recommender
    series = store.all_series()
    shown = series[:MOST_SERIES]
    items = [RecommendationItem(item_id=item, location_id=place) for item, place in shown]
    response = recommender.answer(items, None)
    settings = recommender.dataset().settings
    rows = [_row(answer) for answer in sorted(response.items, key=_urgency)]
    return Overview(
        as_of=response.as_of,
        policy_version=response.policy_version,
        source=str(settings.get("source") or "not stated"),
        dataset=str(settings.get("name") or ""),
        rows=rows,
        drawn_stock=sum(a.result is not None and a.result.stock_source == "store (drawn)" for a in response.items),
        left_out=len(series) - len(shown),
    )


def days_of_cover(result: Recommendation) -> float | None:
    """Days that the inventory position lasts at the daily rate; None where nothing sells."""
    return result.inventory_position / result.daily_rate if result.daily_rate > 0 else None


def _urgency(answer: ItemAnswer) -> tuple[int, bool, float, str, str]:
    """Problems last; cover as a share of the target, which is the recommended days plus any added units."""
    result = answer.result
    if result is None:
        return 1, True, 0.0, answer.item_id, answer.location_id
    share = result.inventory_position / result.target_stock if result.target_stock > 0 else float("inf")
    return 0, not result.review_due, share, answer.item_id, answer.location_id


def _row(answer: ItemAnswer) -> Row:
    row: Row = {
        "id": key_of((answer.item_id, answer.location_id)), "item": answer.item_id, "location": answer.location_id,
        "cover": None, "days": None, "range": "", "order": None, "receipt": "", "review": "", "override": "",
        "chosen": False,
    }  # fmt: skip
    result = answer.result
    if result is None:
        return row | {"review": answer.problem.title if answer.problem else ""}
    return row | {
        "cover": days_of_cover(result), "days": result.inventory_days,
        "range": f"{result.inventory_days_p10:g} – {result.inventory_days_p90:g}",
        "order": result.order_quantity_if_due, "receipt": result.expected_receipt_date.isoformat(),
        "review": "due" if result.review_due else "not due",
        "override": _SIGNS[result.override.mode].format(result.override.value) if result.override else "",
    }  # fmt: skip


def read_detail(services: State, series: Series) -> Detail:
    """Answer one series, project its stock until the order that is due next stops being responsible, and price other days.

    Raises:
        ProblemError: when nothing can be answered at all.
    """
    recommender: Recommender = services.recommender
    response = recommender.answer([RecommendationItem(item_id=series[0], location_id=series[1])], None)
    answer, day = response.items[0], response.as_of
    result = answer.result
    if result is None:
        return Detail(series, day, answer, None, None, None, [])
    look = recommender.look(series, day)
    periods = min(((result.covers_until - day).days) // look.period_days, len(look.forecast))
    coming = arrivals(look.open_orders, day, look.period_days, periods)
    supply = Supply(result.on_hand, coming, look.lead_periods)
    along = project(supply, result.order_quantity, look.forecast[None, :periods, MEDIAN].astype(float))
    projection = Projection(*(column[0] for column in along))
    return Detail(series, day, answer, look, projection, _costs(services, series, day), _past(services, series, look))


def read_back(services: State, series: Series) -> LookedBack:
    """The last eight weeks of one series under each loaded policy.

    Raises:
        ProblemError: where there is nothing to look back on.
    """
    recommender: Recommender = services.recommender
    periods = max(PAST_DAYS // recommender.dataset().period_days, 1)
    return look_back(recommender, services.features, services.policies.shadow, series, None, periods)


def _past(services: State, series: Series, look: Look) -> list[tuple[Override, Settlement]]:
    settlements: Settlements = services.settlements
    newest = sorted(look.past, key=lambda one: (one.selling_to, one.id), reverse=True)[:MOST_PAST]
    return [(one, settlements.of_override(one.id, series)) for one in newest]


def _costs(services: State, series: Series, day: date) -> WhatIfResponse | None:
    """Prices of other days; None where the order would have to last longer than the forecast."""
    question = WhatIfRequest(item_id=series[0], location_id=series[1], as_of=day)
    try:
        return what_if(services.recommender, question)
    except ProblemError:
        return None
