"""What the store knows of some series on one day, besides their history: rules, calendars, stock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from service.asked import Stock
from service.memory import Memory, outstanding
from service.problems import Problem
from service.schemas import RecommendationItem
from service.store import Series, Store
from simulator.canonical import assemble
from simulator.panel import Panel

CLOSED_DAYS_AROUND = 182  # days before and after as_of in which suppliers' closed days may move its order or receipt


def known_items(store: Store, series: list[Series], day: date) -> Panel | None:
    """Items without history: what rules and calendars need; None where none of the series is known."""
    settings = store.settings()
    assert settings is not None
    frames = store.frames(series, day, day)
    if frames["items"].is_empty():
        return None
    demand, around = frames["demand"].clear(), timedelta(days=CLOSED_DAYS_AROUND // 7 * 7)
    closed = store.closed_days(sorted({place for _, place in series}), day - around, day + around)
    span = [day] if closed.is_empty() else [day - around, day + around]
    blank = {**dict.fromkeys(demand.columns), "item_id": "", "location_id": ""}
    empty = pl.DataFrame([{**blank, "date": end} for end in span], schema=demand.schema)
    origin = date.fromisoformat(settings["review_origin"])
    return assemble(settings | {"review_origin": origin}, frames["items"], empty, closed)


def known_stock(
    store: Store, memory: Memory, requested: Sequence[RecommendationItem], day: date
) -> list[Stock | Problem]:
    """What each answer may rest on: what the request says, else what is stored for that day; and what was advised before
    and not confirmed yet."""
    keys = sorted({(item.item_id, item.location_id) for item in requested})
    stored, orders = store.stock(keys), store.orders(keys)
    advised = memory.advised(keys, day)
    found: list[Stock | Problem] = []
    for item in requested:
        key = (item.item_id, item.location_id)
        arrivals = orders.get(key, [])
        if item.open_orders is not None:
            arrivals = [(order.arrival_date, order.quantity) for order in item.open_orders]
        counted = outstanding(advised.get(key, []), arrivals, day)
        if item.on_hand is not None:
            found.append(Stock(item.on_hand, arrivals, "request", *counted))
        elif key in stored and stored[key][0] == day:
            found.append(Stock(stored[key][1], arrivals, "store (drawn)" if stored[key][2] else "store", *counted))
        else:
            known = f"the stored stock is of {stored[key][0]}" if key in stored else "none is stored"
            detail = f"on_hand: not given for {item.item_id} at {item.location_id} at the end of {day}, and {known}"
            found.append(Problem(type="stock-missing", title="No stock is known", status=422, detail=detail))
    return found
