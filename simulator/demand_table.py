"""The demand table of a dataset: read and checked.

What the columns mean stands in docs/format.md; `canonical.py` reads the rest of a dataset.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from simulator.hours import EVERY_HOUR
from simulator.tables import (
    KEY,
    QUANTITY,
    Problem,
    cast,
    check_columns,
    fail,
    not_a_quantity,
    offences,
    read_required,
    with_keys,
)  # fmt: skip

DEMAND_FLOATS = ["units_sold", "in_stock", "price", "promotion"]
DEMAND_OPTIONAL = ["unit_cost", "oos_mask"]  # in the panel only where the dataset has them
DEMAND_COLUMNS = [*KEY, "date", *DEMAND_FLOATS, *DEMAND_OPTIONAL, "traffic"]


def read_demand(folder: Path, period_days: int) -> tuple[str, pl.DataFrame, list[Problem]]:
    """The demand table of a dataset's folder, checked; its file name, the table and what is wrong with its rows."""
    file, table = read_required(folder, "demand")
    if table.is_empty():
        raise fail(file, "units_sold", "the file has no rows")
    table, problems = check_demand(file, table, period_days)
    return file, table, problems + _check_gaps(file, table, period_days)


def check_demand(file: str, table: pl.DataFrame, period_days: int) -> tuple[pl.DataFrame, list[Problem]]:
    """A demand table with its columns cast; gaps between its rows are nothing wrong here.

    Args:
        file: where it comes from, for messages.
        table: as it was read.
        period_days: of the dataset.

    Returns:
        The table and what is wrong with its rows.

    Raises:
        DataError: where a column is missing, not known or of a wrong type.
    """
    check_columns(file, table, [*KEY, "date", "units_sold", "in_stock"], DEMAND_COLUMNS)
    problems: list[Problem] = []
    table = with_keys(file, table, problems)
    table = cast(file, table, "date", pl.Date(), "a date, YYYY-MM-DD", problems)
    numbers = [c for c in ("units_sold", "in_stock", "price", "unit_cost") if c in table.columns]
    for column in numbers:
        table = cast(file, table, column, pl.Float64(), "a number", problems)
    if "promotion" in table.columns:
        table = cast(file, table, "promotion", pl.Boolean(), "true or false", problems)
    stock = pl.col("in_stock")
    outside = stock.is_not_null() & ~stock.is_between(0, 1)
    problems += offences(file, table, "units_sold", not_a_quantity("units_sold"), QUANTITY)
    problems += offences(file, table, "in_stock", outside, "must lie between 0 and 1")
    for column in [c for c in ("price", "unit_cost") if c in table.columns]:
        problems += offences(file, table, column, not_a_quantity(column), QUANTITY)
    table, more = _check_mask(file, table.with_columns(pl.col(numbers).cast(pl.Float32)), period_days)
    return table, problems + more + _check_dates(file, table, period_days)


def _check_mask(file: str, table: pl.DataFrame, period_days: int) -> tuple[pl.DataFrame, list[Problem]]:
    """Hours out of stock are the bits of a whole number, and belong to days."""
    if "oos_mask" not in table.columns:
        return table, []
    if period_days != 1:
        raise fail(file, "oos_mask", "hours belong to days, so it takes period_days of 1", period_days)
    problems: list[Problem] = []
    table = cast(file, table, "oos_mask", pl.Float64(), "a whole number", problems)
    mask = pl.col("oos_mask")
    bad = mask.is_not_null() & (~mask.is_between(0, EVERY_HOUR) | (mask != mask.round()))
    return table, problems + offences(file, table, "oos_mask", bad, f"must be a whole number from 0 to {EVERY_HOUR}")


def _check_dates(file: str, table: pl.DataFrame, period_days: int) -> list[Problem]:
    """Known, plausible, once per series, and on the grid that most rows share."""
    day = pl.col("date")
    problems = offences(file, table, "date", day.is_null(), "must not be empty")
    twice = day.is_not_null() & ~pl.struct([*KEY, "date"]).is_first_distinct()
    problems += offences(file, table, "date", twice, "this series has this date twice")
    phase = table["date"].cast(pl.Int32) % period_days
    usual = phase.drop_nulls().mode().min()
    if usual is not None:
        problems += offences(
            file, table, "date", (phase != usual).fill_null(value=False),
            f"does not start a {period_days}-day period as most other dates do",
        )  # fmt: skip
    return problems


def _check_gaps(file: str, table: pl.DataFrame, period_days: int) -> list[Problem]:
    day = pl.col("date")
    step = (day - day.shift(1).over(KEY, order_by="date")).dt.total_days()
    return offences(
        file, table, "date", (step > period_days).fill_null(value=False),
        "follows a gap: a series has a row for every period between its first and its last",
    )  # fmt: skip
