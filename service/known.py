"""What is known of some series on one day, besides their history: items, and the stock that an answer may rest on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from service.asked import Stock
from service.datasets import Dataset
from service.memory import Memory, outstanding
from service.problems import Problem
from service.schemas import RecommendationItem
from service.series import Series
from service.store import Store
from service.terms import items_panel
from service.view import View
from simulator.panel import Panel


def known_items(store: Store, dataset: Dataset, series: list[Series], day: date) -> Panel | None:
    """Items without history, in the order of `series`; None where none of them is known."""
    wanted = pl.DataFrame(series, schema=["item_id", "location_id"], orient="row", strict=False)
    items = store.items_at(sorted({place for _, place in series}))
    found = wanted.join(items, on=["item_id", "location_id"], how="inner", maintain_order="left")
    return None if found.is_empty() else items_panel(store, dataset, found, day)


def known_stock(
    view: View, memory: Memory, requested: Sequence[RecommendationItem], day: date, days_left: float | None = 0.0
) -> list[Stock | Problem]:
    """What each answer may rest on: what the request says, else what is stored for that day; and what was advised before
    and not confirmed yet.

    Args:
        view: what is stored.
        memory: what was advised.
        requested: the series, and what their request says.
        day: as-of day.
        days_left: selling days between the request's counts and the end of the period; None: they are of another one.
    """
    advised = memory.advised(sorted({(item.item_id, item.location_id) for item in requested}), day)
    found: list[Stock | Problem] = []
    for item in requested:
        key = (item.item_id, item.location_id)
        arrivals, told = view.orders(key), "store"
        if item.open_orders is not None:
            arrivals, told = [(order.arrival_date, order.quantity) for order in item.open_orders], "request"
        counted = outstanding(advised.get(key, []), arrivals, day)
        stored = view.stock(key)
        if item.on_hand is not None and days_left is not None:
            found.append(Stock(item.on_hand, arrivals, "request", *counted, told, days_left))
        elif item.on_hand is not None:
            detail = f"inventory_as_of: on_hand of {item.item_id} at {item.location_id} was not counted in the period of {day}"
            found.append(Problem(type="stock-over-age", title="The stock is of another day", status=422, detail=detail))
        elif stored is not None and stored.day == day:
            source = "store (drawn)" if stored.drawn else "store"
            found.append(Stock(stored.on_hand, arrivals, source, *counted, told))
        else:
            known = "none is stored" if stored is None else f"the stored stock is of {stored.day}"
            detail = f"on_hand: not given for {item.item_id} at {item.location_id} at the end of {day}, and {known}"
            found.append(Problem(type="stock-missing", title="No stock is known", status=422, detail=detail))
    return found
