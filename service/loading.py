"""A canonical dataset into the store, so that a service can answer from it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import numpy as np

from service.store import Store
from simulator.item_table import ITEM_FLOATS, ITEM_TEXTS, ITEM_WHOLE
from simulator.panel import Items, Panel
from simulator.rollout import opening_stock

ATTRIBUTES = (*ITEM_TEXTS, *ITEM_FLOATS, *ITEM_WHOLE)


def load_panel(store: Store, panel: Panel, fingerprint: str, *, draw_stock: bool) -> None:
    """Replace the store's dataset by a panel.

    Args:
        panel: validated data.
        fingerprint: of its files.
        draw_stock: where the dataset has no stock, draw the protocol's opening stock and mark it as drawn.
    """
    settings = {
        name: getattr(panel, name)
        for name in ("name", "period_days", "currency", "quantity", "source", "promotion_known_ahead_days",
                     "price_known_ahead_days")
    } | {"review_origin": panel.review_origin.isoformat()}  # fmt: skip
    tables: dict[str, Iterable[dict[str, Any]]] = {
        "items": item_rows(panel.items),
        "history": _history(panel),
        "calendar": _calendar(panel),
        "inventory": _inventory(panel, draw_stock=draw_stock),
        "open_orders": _open_orders(panel),
        "forecasts": _forecasts(panel),
    }
    store.replace_dataset(settings, fingerprint, tables)


def _plain(value: Any) -> Any:
    """A JSON value; NaN and empty text become null."""
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else (value or None)


def _keys(panel: Panel) -> list[tuple[str, str]]:
    return list(zip(panel.items.item_id, panel.items.location_id, strict=True))


def item_rows(items: Items) -> list[dict[str, Any]]:
    """Items as the store keeps them."""
    columns = {name: getattr(items, name) for name in ATTRIBUTES}
    return [
        {
            "item_id": item, "location_id": place, "category": columns["category"][n],
            "attributes": json.dumps({name: _plain(column[n]) for name, column in columns.items()}),
        }
        for n, (item, place) in enumerate(zip(items.item_id, items.location_id, strict=True))
    ]  # fmt: skip


def _history(panel: Panel) -> Iterable[dict[str, Any]]:
    dates = [panel.date_of(t) for t in range(panel.period_count)]
    for n, (item, place) in enumerate(_keys(panel)):
        known = np.isfinite([panel.units_sold[n], panel.promotion[n], panel.in_stock[n], panel.price[n]]).any(axis=0)
        for t in np.flatnonzero(known):
            promotion = panel.promotion[n, t]
            yield {
                "item_id": item, "location_id": place, "date": dates[t],
                "units_sold": _plain(panel.units_sold[n, t]), "in_stock": _plain(panel.in_stock[n, t]),
                "price": _plain(panel.price[n, t]), "promotion": bool(promotion) if np.isfinite(promotion) else None,
            }  # fmt: skip


def _calendar(panel: Panel) -> Iterable[dict[str, Any]]:
    dates = [panel.date_of(t) for t in range(panel.period_count)]
    places: dict[str, int] = {}
    for n, place in enumerate(panel.items.location_id):
        places.setdefault(place, n)
    names = ("open", "holiday", "school_holiday", "order_open", "delivery_open")
    flags = {name: getattr(panel, name) for name in names if getattr(panel, name) is not None}
    missing = dict.fromkeys(set(names) - set(flags))
    for place, n in places.items():
        for t, day in enumerate(dates):
            row = {name: _plain(c[n, t]) for name, c in flags.items()}  # a share where a period is longer than a day
            if any(value is not None for value in row.values()):
                yield {"location_id": place, "date": day, **row, **missing}


def _inventory(panel: Panel, *, draw_stock: bool) -> list[dict[str, Any]]:
    last = panel.last_recorded
    drawn = np.isnan(panel.on_hand) & draw_stock
    on_hand = np.where(drawn, opening_stock(panel, last + 1) * 0.6, panel.on_hand)
    if panel.discrete:
        on_hand = np.where(drawn, np.round(on_hand), on_hand)
    return [
        {
            "item_id": item, "location_id": place, "date": panel.date_of(last), "on_hand": float(on_hand[n]),
            "drawn": bool(drawn[n]),
        }
        for n, (item, place) in enumerate(_keys(panel))
        if np.isfinite(on_hand[n])
    ]  # fmt: skip


def _forecasts(panel: Panel) -> Iterable[dict[str, Any]]:
    if panel.forecasts is None:
        return
    keys = _keys(panel)
    for n, made, units in zip(*panel.forecasts, strict=True):
        item, place = keys[n]
        for step in np.flatnonzero(np.isfinite(units)):
            yield {
                "item_id": item, "location_id": place, "made_on": panel.date_of(int(made)),
                "date": panel.date_of(int(made + 1 + step)), "units": float(units[step]),
            }  # fmt: skip


def _open_orders(panel: Panel) -> list[dict[str, Any]]:
    last = panel.date_of(panel.last_recorded)
    return [
        {
            "item_id": item, "location_id": place,
            "arrival_date": last + timedelta(days=(int(j) + 1) * panel.period_days),
            "quantity": float(panel.open_orders[n, j]),
        }
        for n, (item, place) in enumerate(_keys(panel))
        for j in np.flatnonzero(panel.open_orders[n])
    ]  # fmt: skip
