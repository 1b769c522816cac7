"""Hand-made panels, order rules and dataset folders, small enough to reason about."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from simulator.ordering import OrderRules
from simulator.panel import Items, Panel

TEXTS = (
    "item_id", "location_id", "category", "parent_category", "region", "name", "orderable_until", "reference_item_id",
    "status", "order_weekdays", "delivery_weekdays", "uom",
)  # fmt: skip
WHOLE = ("lead_time_days", "review_period_days", "review_offset_days")
DEFAULTS = {
    "lost_sale_cost": 4.0, "holding_cost_per_day": 0.5, "lead_time_days": 2, "review_period_days": 3,
    "review_offset_days": 0, "min_order_qty": 0.0, "order_multiple": 0.0,
}  # fmt: skip


def make_items(count: int, **columns: ArrayLike) -> Items:
    """Items i0, i1, ... at one place; a column may be one value for all of them."""
    made: dict[str, Any] = {}
    for name in (field.name for field in fields(Items)):
        if name in TEXTS:
            default: Any = {"item_id": [f"i{n}" for n in range(count)], "location_id": "here"}.get(name, "")
            dtype: Any = object
        else:
            default, dtype = DEFAULTS.get(name, np.nan), np.int64 if name in WHOLE else np.float64
        made[name] = np.array(np.broadcast_to(np.array(columns.get(name, default), dtype=dtype), (count,)))
    return Items(**made)


def make_panel(
    units_sold: ArrayLike, *, items: dict[str, ArrayLike] | None = None, start: date = date(2024, 1, 1),
    **columns: Any,
) -> Panel:  # fmt: skip
    """A panel of these sales, always in stock, without promotions or calendar unless told.

    Args:
        units_sold: (N, T).
        items: columns of the items table.
        start: first day; the review origin too, unless told.
        columns: any other field of the panel; a history column may be one value for all of it.
    """
    sold = np.array(units_sold, dtype=np.float32)
    unknown: dict[str, Any] = dict.fromkeys(("price", "promotion", "open", "holiday", "school_holiday"), np.nan)
    history = {
        name: np.array(np.broadcast_to(np.float32(columns.pop(name, default)), sold.shape))
        for name, default in {"in_stock": 1.0, **unknown}.items()
    }
    settings: dict[str, Any] = {
        "name": "hand-made", "period_days": 1, "currency": "EUR", "quantity": "continuous", "source": "",
        "review_origin": start, "promotion_known_ahead_days": 0, "price_known_ahead_days": 0,
        "on_hand": np.full(len(sold), np.nan), "open_orders": np.zeros((len(sold), 1)),
    }  # fmt: skip
    return Panel(
        **{**settings, **columns}, start=start, items=make_items(len(sold), **(items or {})), units_sold=sold, **history
    )


def random_panel(rng: np.random.Generator, series: int = 6, periods: int = 120, **columns: Any) -> Panel:
    """Sales with gaps at both ends, stock-outs, promotions, closed days and two categories at two places."""
    shape = (series, periods)
    sold = rng.poisson(rng.uniform(0.2, 8.0, (series, 1)), shape).astype(np.float32)
    stock = np.where(rng.random(shape) < 0.2, rng.random(shape), 1.0)
    sold[rng.random(shape) < 0.05] = np.nan
    sold[0, : periods // 3] = np.nan
    sold[-1] = np.nan  # never seen
    stock[rng.random(shape) < 0.05] = np.nan
    flags = {
        name: np.where(rng.random(shape) < 0.1, np.nan, rng.random(shape) < share)
        for name, share in (("promotion", 0.15), ("open", 0.9), ("holiday", 0.05), ("school_holiday", 0.2))
    }
    items: dict[str, ArrayLike] = {
        "location_id": [f"place {n % 2}" for n in range(series)],
        "category": [f"category {n % 3}" for n in range(series)],
        "lead_time_days": rng.integers(1, 5, series),
        "review_period_days": rng.integers(1, 5, series),
        "review_offset_days": rng.integers(0, 4, series),
        "lost_sale_cost": rng.uniform(1, 9, series),
        "holding_cost_per_day": rng.uniform(0.05, 1, series),
    }
    items |= columns.pop("items", {})
    columns = {"in_stock": stock, "price": rng.uniform(1, 9, shape), **flags, **columns}
    return make_panel(sold, items=items, **columns)


def no_rules(count: int) -> OrderRules:
    """Any quantity may be ordered."""
    return make_rules(count)


def make_rules(count: int, *, rounding: str = "up", **columns: ArrayLike) -> OrderRules:
    """Order rules of which only the named ones bind."""
    free = {"min_order_qty": 0.0, "order_multiple": 0.0, "max_order_qty": np.inf, "min_stock": 0.0, "max_stock": np.inf}
    filled = {
        name: np.array(np.broadcast_to(np.asarray(columns.get(name, default), dtype=np.float64), (count,)))
        for name, default in free.items()
    }
    return OrderRules(**filled, rounding=rounding)


def dataset_tables() -> tuple[dict[str, Any], dict[str, pl.DataFrame]]:
    """Settings and tables of a good dataset: three series, ten days."""
    start = date(2024, 1, 1)
    keys = [("a", "x"), ("b", "x"), ("c", "y")]
    settings = {"name": "tiny", "period_days": 1, "quantity": "discrete", "review_origin": "2024-01-01"}
    demand = pl.DataFrame(
        [
            {
                "item_id": item, "location_id": place, "date": start + timedelta(days=t), "units_sold": float(t + n),
                "in_stock": 1.0, "price": 2.5, "promotion": t == n,
            }
            for n, (item, place) in enumerate(keys) for t in range(10)
        ]
    )  # fmt: skip
    items = pl.DataFrame(
        [
            {"item_id": item, "location_id": place, "category": "bread", "orderable_until": "2024-12-31", **DEFAULTS}
            for item, place in keys
        ]
    )
    calendar = pl.DataFrame(
        {
            "date": [start + timedelta(days=t) for t in range(14)],
            "open": [t % 7 != 6 for t in range(14)],
            "holiday": [t == 0 for t in range(14)],
        }
    )
    state = pl.DataFrame({"item_id": ["a", "b"], "location_id": ["x", "x"], "on_hand": [7.0, 0.0]})
    orders = pl.DataFrame(
        {
            "item_id": ["a", "a"], "location_id": ["x", "x"],
            "arrival_date": [date(2024, 1, 5), date(2024, 1, 13)], "quantity": [3.0, 4.0],
        }
    )  # fmt: skip
    tables = {"demand": demand, "items": items, "calendar": calendar, "state": state, "open_orders": orders}
    return settings, tables


def write_dataset(folder: Path, settings: dict[str, Any], tables: dict[str, pl.DataFrame], suffix: str = "csv") -> Path:
    """Write them as a canonical dataset."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(settings), encoding="utf-8")
    for stem, table in tables.items():
        path = folder / f"{stem}.{suffix}"
        _ = table.write_csv(path) if suffix == "csv" else table.write_parquet(path)
    return folder
