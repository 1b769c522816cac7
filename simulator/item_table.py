"""The items table of a dataset: read, checked, and as arrays.

What the columns mean stands in docs/format.md and in `panel.Items`; `canonical.py` reads the rest of a dataset.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from simulator.panel import Items
from simulator.tables import (
    KEY,
    QUANTITY,
    Problem,
    cast,
    check_columns,
    not_a_quantity,
    offences,
    read_required,
    with_keys,
)  # fmt: skip

ITEM_TEXTS = [
    "category", "parent_category", "region", "name", "orderable_until", "reference_item_id", "status",
    "order_weekdays", "delivery_weekdays", "uom",
]  # fmt: skip
ITEM_WHOLE = ["lead_time_days", "review_period_days", "review_offset_days"]
ITEM_REQUIRED = [*KEY, "lost_sale_cost", "holding_cost_per_day", *ITEM_WHOLE, "min_order_qty", "order_multiple"]
ITEM_FLOATS = [
    "unit_price", "unit_cost", "lost_sale_cost", "holding_cost_per_day", "min_order_qty", "order_multiple",
    "max_order_qty", "min_stock", "max_stock", "expected_daily_demand", "expected_turnover_days", "shelf_life_days",
    "unit_volume", "order_cutoff_days",
]  # fmt: skip
NEVER = "9999-12-31"  # what ERP systems write where a date has no end
STATUSES = ("active", "phase_out", "new")
MOST_DAYS = 3650  # of a lead time or a review period; more is a typing error


def read_items(folder: Path, period_days: int) -> tuple[pl.DataFrame, list[Problem]]:
    """The items table of a dataset's folder, checked; see `check_items`."""
    file, table = read_required(folder, "items")
    return check_items(file, table, period_days)


def check_items(file: str, table: pl.DataFrame, period_days: int) -> tuple[pl.DataFrame, list[Problem]]:
    """An items table with its columns cast.

    Args:
        file: where it comes from, for messages.
        table: as it was read.
        period_days: order weekdays and cut-offs are for daily periods only.

    Returns:
        The table and what is wrong with its rows.

    Raises:
        DataError: where a column is missing, not known or of a wrong type.
    """
    check_columns(file, table, ITEM_REQUIRED, [*KEY, *ITEM_TEXTS, *ITEM_FLOATS, *ITEM_WHOLE])
    problems: list[Problem] = []
    table = with_keys(file, table, problems)
    for column in [c for c in ITEM_TEXTS if c in table.columns]:
        table = cast(file, table, column, pl.String(), "text", problems)
    if "orderable_until" in table.columns:
        never = pl.col("orderable_until").cast(pl.String) == NEVER
        table = table.with_columns(pl.when(never).then(None).otherwise("orderable_until").alias("orderable_until"))
        table = cast(file, table, "orderable_until", pl.Date(), "a date, YYYY-MM-DD", problems)
        table = cast(file, table, "orderable_until", pl.String(), "text")
    for column in [c for c in ITEM_FLOATS if c in table.columns]:
        table = cast(file, table, column, pl.Float64(), "a number", problems)
        problems += offences(file, table, column, not_a_quantity(column), QUANTITY)
    for column in ITEM_WHOLE:
        table = cast(file, table, column, pl.Float64(), "a whole number", problems)
        least = 0 if column == "review_offset_days" else 1
        value = pl.col(column)
        bad = value.is_null() | ~value.is_between(least, MOST_DAYS) | (value != value.round())
        problems += offences(file, table, column, bad, f"must be a whole number from {least} to {MOST_DAYS}")
    for column in ("lost_sale_cost", "holding_cost_per_day"):
        problems += offences(file, table, column, pl.col(column).is_null(), "must not be empty")
    problems += _check_rules(file, table, period_days)
    twice = ~pl.struct(KEY).is_first_distinct()
    problems += offences(file, table, "item_id", twice, "the series stands here twice")
    return table, problems


def _check_rules(file: str, table: pl.DataFrame, period_days: int) -> list[Problem]:
    """The rules on ordering: their values, and that they fit each other."""
    problems: list[Problem] = []

    def check(column: str, bad: pl.Expr, message: str) -> None:
        if column in table.columns:
            problems.extend(
                offences(file, table, column, (bad & pl.col(column).is_not_null()).fill_null(value=False), message)
            )

    check("status", ~pl.col("status").is_in(["", *STATUSES]), f"must be one of {', '.join(STATUSES)}")
    life = pl.col("shelf_life_days")
    check(
        "shelf_life_days",
        (life < 1) | (life > MOST_DAYS) | (life != life.round()),
        f"must be a whole number from 1 to {MOST_DAYS}",
    )
    cutoff = pl.col("order_cutoff_days")
    check(
        "order_cutoff_days",
        (cutoff > MOST_DAYS) | (cutoff != cutoff.round()),
        f"must be a whole number from 0 to {MOST_DAYS}",
    )
    for column in ("order_weekdays", "delivery_weekdays"):
        days = pl.col(column)
        check(column, ~days.str.contains(r"^[1-7]*$"), "must be digits from 1 (Monday) to 7 (Sunday)")
        if period_days > 1:
            check(column, days != "", "must be empty where periods are longer than a day")
    if "min_stock" in table.columns and "max_stock" in table.columns:
        check("max_stock", pl.col("max_stock") < pl.col("min_stock"), "is less than min_stock")
    return problems


def items_of(table: pl.DataFrame) -> Items:
    """A checked table as arrays; columns that it lacks are unknown."""
    texts, floats = ([c for c in names if c in table.columns] for names in ((*KEY, *ITEM_TEXTS), ITEM_FLOATS))
    whole = list(ITEM_WHOLE)
    known = table.select(  # all at once: polars takes about as long for one column
        pl.col(texts).fill_null(""), pl.col(floats).cast(pl.Float64).fill_null(np.nan), pl.col(whole).cast(pl.Int64)
    )
    columns: dict[str, Any] = {name: np.array(known[name].to_list(), dtype=object) for name in texts}
    columns |= {name: known[name].to_numpy().copy() for name in (*floats, *whole)}
    for name in set(ITEM_TEXTS) - set(texts):
        columns[name] = np.array([""] * table.height, dtype=object)
    for name in set(ITEM_FLOATS) - set(floats):
        columns[name] = np.full(table.height, np.nan)
    return Items(**columns)
