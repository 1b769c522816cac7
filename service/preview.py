"""What an override would do, before it is stored: the first order that covers its dates, with it and without it.

That order may lie weeks ahead; it is judged by today's stock and forecast, as if it were placed now. So the figures say
how large the decision is, not what will be ordered then.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

import numpy as np

from service.asked import Asked, Stock
from service.decide import Override, Span, matching_override
from service.override_schemas import Preview, SeriesEffect
from service.problems import Problem, ProblemError
from service.recommender import Recommender
from service.schemas import RecommendationItem
from service.series import Series
from service.store import Store
from simulator.observation import beyond_horizon
from simulator.ordering import rules_of
from simulator.panel import Bools, Panel
from simulator.schedule import review_schedule

MOST_SERIES = 5000  # of one preview
SHOWN = 100


class Covering(NamedTuple):
    """The first order that covers some dates: when it is placed, and what it covers."""

    order_date: date
    span: Span


def preview(recommender: Recommender, store: Store, override: Override, limit: float | None) -> Preview:
    """What an override does to every series that it covers.

    Args:
        recommender: answers for the series.
        store: knows which they are.
        override: not stored yet, or a new version of one that is; the comparison is with none.
        limit: money above which it needs a second person, and so does what cannot be judged; None: never.

    Raises:
        ProblemError: 422 where it covers more series than a preview reads, 503 where nothing can be answered.
    """
    series = store.series_of(scope_of(override))
    if len(series) > MOST_SERIES:
        detail = f"the override covers {len(series)} series, a preview reads at most {MOST_SERIES}; narrow its scope"
        raise ProblemError(422, "preview-too-large", "Too many series for a preview", detail)
    day, dataset = recommender.as_of(None), recommender.dataset()
    effects = _effects(recommender, override, series, day)
    known = [e.order_units for e in effects if e.order_units is not None]
    changed = sum(units != 0 for units in known)
    money = sum(e.money or 0.0 for e in effects)
    size = sum(abs(e.money or 0.0) for e in effects)
    currency = dataset.settings.get("currency")
    found = Preview(
        as_of=day, currency=currency, series_in_scope=len(series), series_changed=changed,
        series_unchanged=len(known) - changed, order_units=sum(known), money=money,
        money_moved=size, note="",
        needs_approval=limit is not None and (size > limit or any(e.money is None for e in effects)),
        series=sorted(effects, key=lambda e: -abs(e.order_units or 0.0))[:SHOWN],
    )  # fmt: skip
    return found.model_copy(update={"note": _note(found, len(effects) - len(known))})


def scope_of(override: Override) -> dict[str, str]:
    """The columns that a series has to match."""
    scope = {name: getattr(override, name) for name in ("item_id", "location_id", "category")}
    return {name: value for name, value in scope.items() if value}


def _note(found: Preview, without: int) -> str:
    if not found.series_in_scope - without:
        return "No order that can be foreseen covers these dates."
    if not found.series_changed:
        said = "Alters no rounded order"
    else:
        said = (
            f"Changes {found.series_changed} of {found.series_in_scope - without} orders by {found.order_units:+,.0f} units"
            f", worth {found.money:+,.2f} {found.currency or ''}".rstrip()
        )
    return said + (f"; {without} series have no order to judge." if without else ".")


def covering_orders(panel: Panel, override: Override, as_of: date, horizon: int) -> list[Covering | None]:
    """For each series the first order from `as_of` on that is responsible for one of the override's selling dates."""
    t, days = panel.period_of(as_of), panel.period_days
    schedule = review_schedule(panel, range(t, t + horizon))
    ahead = np.arange(horizon)[None, :]
    first = (ahead + schedule.lead_time) * days  # days after as_of
    last = (ahead + schedule.protection + 1) * days - 1
    covers: Bools = schedule.due & (first <= (override.selling_to - as_of).days)
    covers &= last >= (override.selling_from - as_of).days
    found: list[Covering | None] = []
    for n, k in enumerate(covers.argmax(axis=1)):
        span = as_of + timedelta(days=int(first[n, k])), as_of + timedelta(days=int(last[n, k]))
        found.append(Covering(as_of + timedelta(days=int(k) * days), span) if covers[n, k] else None)
    return found


def _effects(recommender: Recommender, override: Override, series: list[Series], day: date) -> list[SeriesEffect]:
    spec, panel = recommender.rollout().champion.spec, recommender.items(series, day)
    assert panel is not None
    covering = covering_orders(panel, override, day, spec.horizon)
    keys = list(zip(panel.items.item_id, panel.items.location_id, strict=True))
    stock = recommender.stock([RecommendationItem(item_id=item, location_id=place) for item, place in keys], day)
    far = beyond_horizon(panel, spec)
    effects: dict[int, SeriesEffect] = {}
    held: dict[int, Stock] = {}
    for n, (key, order, on_hand) in enumerate(zip(keys, covering, stock, strict=True)):
        problem = on_hand if isinstance(on_hand, Problem) else None
        if order is None or far[n] or problem is not None:
            effects[n] = _without(key, order, problem)
        elif isinstance(on_hand, Stock):
            held[n] = on_hand
    if held:
        rows = list(held)
        rules = rules_of(panel, on=day).take(np.array(rows))
        for part in recommender.ask([keys[n] for n in rows], rules, list(held.values()), day):
            mine = [rows[n] for n in part.rows]
            orders = [order for order in (covering[n] for n in mine) if order is not None]
            stored = [recommender.overrides(panel, n) for n in mine]
            compared = _compared(part.asked, panel, mine, [order.span for order in orders], stored, override)
            for n, order, effect in zip(mine, orders, compared, strict=True):
                effects[n] = effect.model_copy(update={"order_date": order.order_date})
    return [effects[n] for n in range(len(keys))]


def _without(key: Series, order: Covering | None, problem: Problem | None) -> SeriesEffect:
    return SeriesEffect(
        item_id=key[0], location_id=key[1], order_date=order.order_date if order else None, target_units=None,
        order_units=None, money=None, problem=problem,
    )  # fmt: skip


def _compared(
    asked: Asked, panel: Panel, rows: list[int], spans: list[Span], stored: list[list[Override]], override: Override
) -> list[SeriesEffect]:
    others = [[one for one in found if one.id != override.id] for found in stored]
    before = [matching_override(found, span) for found, span in zip(others, spans, strict=True)]
    after = [matching_override([*found, override], span) for found, span in zip(others, spans, strict=True)]
    old, new = asked.order(before, spans), asked.order(after, spans)
    units = new.order.order_quantity - old.order.order_quantity
    target = new.target_stock - old.target_stock
    cost = panel.items.unit_cost[rows]
    items = panel.items
    return [
        SeriesEffect(
            item_id=items.item_id[n], location_id=items.location_id[n], order_date=None, target_units=float(target[k]),
            order_units=float(units[k]), money=float(units[k] * cost[k]) if np.isfinite(cost[k]) else None,
        )
        for k, n in enumerate(rows)
    ]  # fmt: skip
