"""Stock on hand, open and past orders of a panel, read from their files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from simulator.lead_times import LeadTimeHistory
from simulator.panel import F64, I64, Panel
from simulator.tables import (
    KEY,
    QUANTITY,
    DataError,
    Problem,
    cast,
    check_columns,
    not_a_quantity,
    offences,
    read_file,
    read_table,
    set_aside_or_raise,
    with_keys,
)  # fmt: skip

MOST_DAYS_AHEAD = 3650  # an open order that arrives later is a typing error


def with_stock(panel: Panel, folder: Path, *, state: Path | None = None, open_orders: Path | None = None,
               as_of: int | None = None, set_aside: list[Problem] | None = None) -> Panel:  # fmt: skip
    """The panel with `on_hand` and `open_orders` read from their files.

    Args:
        panel: the series to read them for; rows of other series are passed over.
        folder: the dataset's folder, whose `state` and `open_orders` are taken where no other file is named.
        state, open_orders: files that replace them.
        as_of: the period at whose end the stock stood; the last recorded one where None.
        set_aside: where given, series with problems are left out and their problems appended here.

    Raises:
        DataError: naming file, column, row and value.
    """
    t = panel.last_recorded if as_of is None else as_of
    problems: list[Problem] = []
    on_hand = _read_state(_table_of(folder, "state", state), panel, problems)
    arrivals = _read_open_orders(_table_of(folder, "open_orders", open_orders), panel, t, problems)
    filled = replace(panel, on_hand=on_hand, open_orders=arrivals)
    bad = set_aside_or_raise(problems, set_aside)
    if not bad:
        return filled
    series = zip(panel.items.item_id, panel.items.location_id, strict=True)
    keep = np.array([n for n, key in enumerate(series) if key not in bad], dtype=np.int64)
    if not len(keep):
        raise DataError(problems)
    return filled.take(keep)


def _keys(panel: Panel) -> pl.DataFrame:
    """The panel's series and, as `n`, their rows."""
    keys = {"item_id": panel.items.item_id.tolist(), "location_id": panel.items.location_id.tolist()}
    return pl.DataFrame(keys, schema=dict.fromkeys(KEY, pl.String)).with_row_index("n")


def _table_of(folder: Path, stem: str, file: Path | None) -> tuple[str, pl.DataFrame] | None:
    return (file.name, read_file(file)) if file is not None else read_table(folder, stem)


def _with_quantity(file: str, table: pl.DataFrame, column: str, problems: list[Problem]) -> pl.DataFrame:
    table = cast(file, table, column, pl.Float64(), "a number", problems)
    bad = pl.col(column).is_null() | not_a_quantity(column)
    problems += offences(file, table, column, bad, QUANTITY)
    return table


def read_inventory(panel: Panel, folder: Path, file: Path | None = None) -> F64 | None:
    """(N, T) units that really stood there at each period's end, NaN where unknown; None without an inventory file.

    Args:
        panel: the series to read them for; rows of other series are passed over.
        folder: the dataset's folder.
        file: a file that replaces the folder's own.

    Raises:
        DataError: naming file, column, row and value.
    """
    found = _table_of(folder, "inventory", file)
    if found is None:
        return None
    name, table = found
    problems: list[Problem] = []
    check_columns(name, table, [*KEY, "date", "on_hand"])
    table = _with_quantity(name, with_keys(name, table, problems), "on_hand", problems)
    table = cast(name, table, "date", pl.Date(), "a date, YYYY-MM-DD", problems)
    if problems:
        raise DataError(problems)
    table = table.filter(pl.col("date").is_not_null()).join(_keys(panel), on=KEY, how="inner").sort("date")
    t = (table["date"] - panel.start).dt.total_days().to_numpy() // panel.period_days
    inside = (t >= 0) & (t < panel.period_count)
    on_hand = np.full(panel.units_sold.shape, np.nan)
    on_hand[table["n"].to_numpy()[inside], t[inside]] = table["on_hand"].to_numpy()[inside]
    return on_hand


def read_orders(panel: Panel, folder: Path) -> LeadTimeHistory | None:
    """The lead times of orders that were received; None without an orders file. Open orders say nothing yet.

    Raises:
        DataError: naming file, column, row and value.
    """
    found = read_table(folder, "orders")
    if found is None:
        return None
    file, table = found
    columns = [*KEY, "order_date", "receipt_date", "quantity"]
    problems: list[Problem] = []
    check_columns(file, table, columns)
    table = _with_quantity(file, with_keys(file, table, problems), "quantity", problems)
    for column in ("order_date", "receipt_date"):
        table = cast(file, table, column, pl.Date(), "a date, YYYY-MM-DD", problems)
    problems += offences(file, table, "order_date", pl.col("order_date").is_null(), "must not be empty")
    early = (pl.col("receipt_date") <= pl.col("order_date")).fill_null(value=False)
    problems += offences(file, table, "receipt_date", early, "must lie after order_date")
    if problems:
        raise DataError(problems)
    table = table.filter(pl.col("receipt_date").is_not_null()).join(_keys(panel), on=KEY, how="inner")
    days = (table["receipt_date"] - table["order_date"]).dt.total_days()
    return LeadTimeHistory(
        table["n"].to_numpy().astype(np.int64), table["order_date"].cast(pl.Int32).to_numpy().astype(np.int64),
        days.cast(pl.Float64).to_numpy(),
    )  # fmt: skip


class Limits(NamedTuple):
    """What locations can take, by location; only those that have a limit."""

    volume: dict[str, float]
    budget: dict[str, float]  # currency


def read_limits(panel: Panel, folder: Path) -> Limits | None:
    """The locations' limits; None without a limits file.

    Raises:
        DataError: naming file, column, row and value.
    """
    found = read_table(folder, "limits")
    if found is None:
        return None
    file, table = found
    check_columns(file, table, ["location_id"], ["location_id", "volume", "budget"])
    problems: list[Problem] = []
    table = cast(file, table, "location_id", pl.String(), "text")
    place = pl.col("location_id")
    problems += offences(file, table, "location_id", place.is_null(), "must not be empty")
    problems += offences(file, table, "location_id", ~place.is_in(sorted(set(panel.items.location_id))),
                         "no item is there")  # fmt: skip
    problems += offences(file, table, "location_id", ~place.is_first_distinct(), "the location stands here twice")
    limits: dict[str, dict[str, float]] = {"volume": {}, "budget": {}}
    for column in [c for c in limits if c in table.columns]:
        table = cast(file, table, column, pl.Float64(), "a number", problems)
        problems += offences(file, table, column, not_a_quantity(column), QUANTITY)
        limits[column] = dict(table.filter(pl.col(column).is_not_null()).select("location_id", column).iter_rows())
    if problems:
        raise DataError(problems)
    return Limits(**limits)


def _read_state(found: tuple[str, pl.DataFrame] | None, panel: Panel, problems: list[Problem]) -> F64:
    on_hand = np.full(panel.series_count, np.nan)
    if found is None:
        return on_hand
    file, table = found
    check_columns(file, table, [*KEY, "on_hand"])
    table = _with_quantity(file, with_keys(file, table, problems), "on_hand", problems)
    twice = ~pl.struct(KEY).is_first_distinct()
    problems += offences(file, table, "item_id", twice, "the series stands here twice")
    table = table.join(_keys(panel), on=KEY, how="inner")
    on_hand[table["n"].to_numpy()] = table["on_hand"].fill_null(np.nan).to_numpy()
    return on_hand


def arrival_slots(days: I64, period_days: int) -> I64:
    """Column of the pipeline for arrivals `days` after the first day of the as-of period.

    Goods are sold from the start of the arrival date: in a longer period, from the first period that starts on or after it. An
    overdue order arrives next period.
    """
    return np.asarray(np.maximum(-(-days // period_days) - 1, 0))


def _read_open_orders(found: tuple[str, pl.DataFrame] | None, panel: Panel, t: int, problems: list[Problem]) -> F64:
    longest = int(panel.lead_periods.max(initial=1))
    if found is None:
        return np.zeros((panel.series_count, longest))
    file, table = found
    check_columns(file, table, [*KEY, "arrival_date", "quantity"])
    table = _with_quantity(file, with_keys(file, table, problems), "quantity", problems)
    table = cast(file, table, "arrival_date", pl.Date(), "a date, YYYY-MM-DD", problems)
    arrival = pl.col("arrival_date")
    problems += offences(file, table, "arrival_date", arrival.is_null(), "must not be empty")
    late = (arrival - pl.lit(panel.date_of(t))).dt.total_days() > MOST_DAYS_AHEAD
    problems += offences(file, table, "arrival_date", late, f"lies more than {MOST_DAYS_AHEAD} days ahead")
    table = table.filter(arrival.is_not_null() & ~late & pl.col("quantity").is_not_null())
    table = table.join(_keys(panel), on=KEY, how="inner", maintain_order="left")
    slot = arrival_slots((table["arrival_date"] - panel.date_of(t)).dt.total_days().to_numpy(), panel.period_days)
    arrivals = np.zeros((panel.series_count, max(longest, int(slot.max(initial=0)) + 1)))
    np.add.at(arrivals, (table["n"].to_numpy(), slot), table["quantity"].to_numpy())
    return arrivals
