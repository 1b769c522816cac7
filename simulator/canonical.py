"""Reading and checking the canonical dataset: a folder of Parquet or CSV files becomes a `Panel`.

The only module of the simulator that touches files. Every rule of the format is checked here, before anything is
computed; a broken rule is a `Problem` that names file, column, row and value. Rows count from 1, the header excluded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from simulator.panel import F32, F64, I64, Items, Panel

KEY = ["item_id", "location_id"]
DEMAND_FLOATS = ["units_sold", "in_stock", "price", "promotion"]
CALENDAR_FLAGS = ["open", "holiday", "school_holiday"]
ITEM_TEXTS = ["category", "parent_category", "region", "name", "orderable_until", "reference_item_id"]
ITEM_WHOLE = ["lead_time_days", "review_period_days", "review_offset_days"]
ITEM_REQUIRED = [*KEY, "lost_sale_cost", "holding_cost_per_day", *ITEM_WHOLE, "min_order_qty", "order_multiple"]
ITEM_FLOATS = [
    "unit_price", "unit_cost", "lost_sale_cost", "holding_cost_per_day", "min_order_qty", "order_multiple",
    "max_order_qty", "min_stock", "max_stock", "expected_daily_demand", "expected_turnover_days",
]  # fmt: skip
MAX_KNOWN_AHEAD = 91  # days past the last record for which promotions and holidays are kept


@dataclass(frozen=True)
class Problem:
    """One broken rule. `series` is set where setting that series aside would mend the dataset."""

    file: str
    column: str
    row: int | None
    value: str
    message: str
    series: tuple[str, str] | None = None

    def __str__(self) -> str:
        row = "" if self.row is None else f", row {self.row}"
        value = "" if self.value == "" else f": {self.value}"
        return f"{self.file}, column {self.column}{row}{value}: {self.message}"


class DataError(ValueError):
    """The dataset breaks its format. `problems` holds what was found; the text is the first of them in one line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(f"{self.problems[0]}{more}")


def _fail(file: str, column: str, message: str, value: object = "") -> DataError:
    return DataError([Problem(file, column, None, str(value), message)])


def read_table(folder: Path, stem: str, *, required: bool) -> tuple[str, pl.DataFrame] | None:
    """The table `stem`.parquet or `stem`.csv with its file name; None where it is absent and may be."""
    for suffix, reader in ((".parquet", pl.read_parquet), (".csv", _read_csv)):
        path = folder / f"{stem}{suffix}"
        if path.exists():
            return path.name, read_file(path, reader)
    if required:
        raise _fail(f"{stem}.parquet", "-", f"there is no {stem}.parquet or {stem}.csv in {folder}")
    return None


def _read_csv(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema=False)


def read_file(path: Path, reader: Callable[[Path], pl.DataFrame] | None = None) -> pl.DataFrame:
    """One Parquet or CSV file; whatever the library finds wrong with it becomes one clear line."""
    chosen = reader or (_read_csv if path.suffix == ".csv" else pl.read_parquet)
    try:
        return chosen(path)
    except FileNotFoundError:
        raise _fail(path.name, "-", f"there is no file {path}") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        kind = "CSV" if path.suffix == ".csv" else "Parquet"
        raise _fail(path.name, "-", f"cannot be read as {kind} ({str(error).splitlines()[0]})") from None


def check_columns(file: str, table: pl.DataFrame, columns: Sequence[str]) -> None:
    """Every column must be there."""
    for column in columns:
        if column not in table.columns:
            raise _fail(file, column, f"the column is missing; the file has {', '.join(table.columns)}")


def cast(file: str, table: pl.DataFrame, column: str, dtype: pl.DataType, what: str) -> pl.DataFrame:
    """The table with one column cast; a value that cannot be is named by row."""
    before = table[column]
    if before.dtype == dtype:
        return table
    if dtype == pl.Boolean and before.dtype == pl.String:
        after = before.str.to_lowercase().replace_strict(
            {"true": True, "1": True, "false": False, "0": False, "": None}, default=None, return_dtype=pl.Boolean
        )
    elif dtype == pl.Date and before.dtype == pl.String:
        after = before.str.to_date("%Y-%m-%d", strict=False)
    elif before.dtype == pl.String and dtype != pl.String:
        after = before.replace("", None).cast(dtype, strict=False)
    else:
        try:
            after = before.cast(dtype, strict=False)
        except pl.exceptions.PolarsError:
            raise _fail(file, column, f"must be {what}", before.dtype) from None
    lost = (after.is_null() & before.is_not_null() & (before.cast(pl.String, strict=False) != "")).arg_true()
    if len(lost):
        row = int(lost[0])
        raise DataError([Problem(file, column, row + 1, repr(before[row]), f"must be {what}", _series_at(table, row))])
    return table.with_columns(after.alias(column))


def _series_at(table: pl.DataFrame, row: int) -> tuple[str, str] | None:
    if all(column in table.columns for column in KEY):
        return str(table["item_id"][row]), str(table["location_id"][row])
    return None


def offences(file: str, table: pl.DataFrame, column: str, bad: pl.Expr, message: str) -> list[Problem]:
    """A problem for the first offending row of every series."""
    marked = table.with_row_index("row").filter(bad)
    if all(key in table.columns for key in KEY):
        marked = marked.unique(KEY, keep="first", maintain_order=True)
    return [
        Problem(file, column, int(row["row"]) + 1, str(row[column]), message, _key_of(row))
        for row in marked.iter_rows(named=True)
    ]


def _key_of(row: dict[str, Any]) -> tuple[str, str] | None:
    return (row["item_id"], row["location_id"]) if "item_id" in row and "location_id" in row else None


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / "dataset.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _fail("dataset.json", "-", f"there is no dataset.json in {folder}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _fail("dataset.json", "-", f"is not JSON ({error})") from None
    if not isinstance(raw, dict):
        raise _fail("dataset.json", "-", "must be a JSON object")
    settings: dict[str, Any] = {
        "currency": "", "source": "", "promotion_known_ahead_days": 0, "price_known_ahead_days": 0, **raw,
    }  # fmt: skip
    for key in ("name", "period_days", "quantity", "review_origin"):
        if key not in settings:
            raise _fail("dataset.json", key, "is missing")
    for key, least in (("period_days", 1), ("promotion_known_ahead_days", 0), ("price_known_ahead_days", 0)):
        value = settings[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise _fail("dataset.json", key, f"must be a whole number of at least {least}", value)
    if settings["quantity"] not in ("discrete", "continuous"):
        raise _fail("dataset.json", "quantity", "must be discrete or continuous", settings["quantity"])
    try:
        settings["review_origin"] = date.fromisoformat(str(settings["review_origin"]))
    except ValueError:
        raise _fail("dataset.json", "review_origin", "must be a date, YYYY-MM-DD", settings["review_origin"]) from None
    return settings


def _read_items(folder: Path) -> tuple[pl.DataFrame, list[Problem]]:
    found = read_table(folder, "items", required=True)
    assert found is not None
    file, table = found
    check_columns(file, table, ITEM_REQUIRED)
    for column in KEY:
        table = cast(file, table, column, pl.String(), "text")
    for column in ITEM_TEXTS:
        if column in table.columns:
            table = cast(file, table, column, pl.String(), "text")
    problems: list[Problem] = []
    for column in [c for c in ITEM_FLOATS if c in table.columns]:
        table = cast(file, table, column, pl.Float64(), "a number")
        bad = pl.col(column).is_not_null() & ~(pl.col(column).is_finite() & (pl.col(column) >= 0))
        problems += offences(file, table, column, bad, "must be a number of at least 0")
    for column in ITEM_WHOLE:
        table = cast(file, table, column, pl.Float64(), "a whole number")
        least = 0 if column == "review_offset_days" else 1
        bad = pl.col(column).is_null() | (pl.col(column) < least) | (pl.col(column) != pl.col(column).round())
        problems += offences(file, table, column, bad, f"must be a whole number of at least {least}")
    for column in ("lost_sale_cost", "holding_cost_per_day"):
        problems += offences(file, table, column, pl.col(column).is_null(), "must not be empty")
    for column in KEY:
        bad = pl.col(column).is_null() | (pl.col(column) == "")
        problems += offences(file, table, column, bad, "must not be empty")
    problems += offences(file, table, "item_id", pl.struct(KEY).is_duplicated(), "the series stands here twice")
    return table, problems


def _read_demand(folder: Path, period_days: int) -> tuple[str, pl.DataFrame, list[Problem]]:
    found = read_table(folder, "demand", required=True)
    assert found is not None
    file, table = found
    check_columns(file, table, [*KEY, "date", "units_sold", "in_stock"])
    if table.is_empty():
        raise _fail(file, "units_sold", "the file has no rows")
    for column in KEY:
        table = cast(file, table, column, pl.String(), "text")
    table = cast(file, table, "date", pl.Date(), "a date, YYYY-MM-DD")
    for column in ("units_sold", "in_stock", "price"):
        if column in table.columns:
            table = cast(file, table, column, pl.Float32(), "a number")
    if "promotion" in table.columns:
        table = cast(file, table, "promotion", pl.Boolean(), "true or false")
    sold, stock = pl.col("units_sold"), pl.col("in_stock")
    problems = offences(file, table, "date", pl.col("date").is_null(), "must not be empty")
    problems += offences(
        file, table, "units_sold", sold.is_not_null() & ~(sold.is_finite() & (sold >= 0)),
        "must be a number of at least 0",
    )  # fmt: skip
    problems += offences(
        file, table, "in_stock", stock.is_not_null() & ~stock.is_between(0, 1), "must lie between 0 and 1"
    )
    if "price" in table.columns:
        price = pl.col("price")
        bad = price.is_not_null() & ~(price.is_finite() & (price >= 0))
        problems += offences(file, table, "price", bad, "must be a number of at least 0")
    problems += offences(
        file, table, "date", pl.struct([*KEY, "date"]).is_duplicated(), "this series has this date twice"
    )
    first = table["date"].min()
    grid = ((pl.col("date") - pl.lit(first)).dt.total_days() % period_days) != 0
    problems += offences(file, table, "date", grid, f"is not a whole number of {period_days}-day periods after {first}")
    step = (pl.col("date") - pl.col("date").shift(1).over(KEY, order_by="date")).dt.total_days()
    problems += offences(
        file, table, "date", (step > period_days).fill_null(value=False),
        "follows a gap: a series has a row for every period between its first and its last",
    )  # fmt: skip
    return file, table, problems


def _match_series(demand_file: str, demand: pl.DataFrame, items: pl.DataFrame) -> list[Problem]:
    keys = demand.select(KEY).with_row_index("row").unique(KEY, keep="first", maintain_order=True)
    orphans = keys.join(items.select(KEY), on=KEY, how="anti")
    message = "this series is not in items"
    return [
        Problem(demand_file, "item_id", int(r["row"]) + 1, r["item_id"], message, (r["item_id"], r["location_id"]))
        for r in orphans.iter_rows(named=True)
    ]


def read_panel(folder: Path | str, *, set_aside: list[Problem] | None = None) -> Panel:
    """Read and check a canonical dataset.

    Args:
        folder: where `dataset.json`, `demand`, `items` and the optional files lie.
        set_aside: where given, series with problems are left out of the panel and their problems appended here,
            instead of the whole dataset being refused.

    Raises:
        DataError: naming file, column, row and value.
    """
    folder = Path(folder)
    settings = _read_settings(folder)
    items, problems = _read_items(folder)
    demand_file, demand, more = _read_demand(folder, settings["period_days"])
    problems += more + _match_series(demand_file, demand, items)
    if problems:
        items, demand = _without(problems, set_aside, items, demand)
    return assemble(folder, settings, items, demand)


def _without(
    problems: list[Problem], set_aside: list[Problem] | None, items: pl.DataFrame, demand: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    if set_aside is None or any(problem.series is None for problem in problems):
        raise DataError(sorted(problems, key=lambda problem: problem.series is not None))
    set_aside += problems
    bad = sorted({problem.series for problem in problems if problem.series is not None})
    keys = pl.DataFrame(
        {"item_id": [b[0] for b in bad], "location_id": [b[1] for b in bad]}, schema=dict.fromkeys(KEY, pl.String)
    )
    items, demand = items.join(keys, on=KEY, how="anti"), demand.join(keys, on=KEY, how="anti")
    if items.is_empty() or demand.is_empty():
        raise DataError(problems)
    return items, demand


def _items_of(table: pl.DataFrame) -> Items:
    columns: dict[str, Any] = {}
    for column in [*KEY, *ITEM_TEXTS]:
        texts = table[column].fill_null("").to_list() if column in table.columns else [""] * table.height
        columns[column] = np.array(texts, dtype=object)
    for column in ITEM_FLOATS:
        known = column in table.columns
        columns[column] = (
            table[column].cast(pl.Float64).fill_null(np.nan).to_numpy().copy()
            if known
            else np.full(table.height, np.nan)
        )
    for column in ITEM_WHOLE:
        columns[column] = table[column].cast(pl.Int64).to_numpy().copy()
    return Items(**columns)


def assemble(folder: Path, settings: dict[str, Any], items: pl.DataFrame, demand: pl.DataFrame) -> Panel:
    """Checked tables as a dense panel; reads the optional calendar, state and open orders beside them."""
    period_days = settings["period_days"]
    start: date = demand["date"].min()  # type: ignore[assignment]
    recorded = demand.filter(pl.col("units_sold").is_not_null())["date"].max()
    calendar = _read_calendar(folder)
    last: date = demand["date"].max()  # type: ignore[assignment]
    if calendar is not None and recorded is not None:
        horizon = recorded.toordinal() + MAX_KNOWN_AHEAD  # type: ignore[union-attr]
        latest: date = calendar["date"].max()  # type: ignore[assignment]
        last = max(last, date.fromordinal(min(horizon, latest.toordinal())))
    periods = (last - start).days // period_days + 1
    dense = _dense_demand(items, demand, start, period_days, periods)
    flags = _dense_calendar(items, calendar, start, period_days, periods)
    panel = Panel(
        **{key: settings[key] for key in (
            "name", "period_days", "currency", "quantity", "source", "review_origin",
            "promotion_known_ahead_days", "price_known_ahead_days",
        )},
        start=start, items=_items_of(items), **dense, **flags,
        on_hand=np.full(items.height, np.nan), open_orders=np.zeros((items.height, 1)),
    )  # fmt: skip
    return with_stock(panel, folder)


def _dense_demand(
    items: pl.DataFrame, demand: pl.DataFrame, start: date, period_days: int, periods: int
) -> dict[str, F32]:
    rows = demand.join(items.select(KEY).with_row_index("series"), on=KEY, how="inner")
    series = rows["series"].to_numpy()
    period = (rows["date"] - start).dt.total_days().to_numpy() // period_days
    dense = {}
    for column in DEMAND_FLOATS:
        array = np.full((items.height, periods), np.nan, dtype=np.float32)
        if column in rows.columns:
            array[series, period] = rows[column].cast(pl.Float32).fill_null(np.nan).to_numpy()
        dense[column] = array
    return dense


def _read_calendar(folder: Path) -> pl.DataFrame | None:
    found = read_table(folder, "calendar", required=False)
    if found is None:
        return None
    file, table = found
    check_columns(file, table, ["date"])
    table = cast(file, table, "date", pl.Date(), "a date, YYYY-MM-DD")
    for column in [c for c in CALENDAR_FLAGS if c in table.columns]:
        table = cast(file, table, column, pl.Boolean(), "true or false")
    if "location_id" in table.columns:
        table = cast(file, table, "location_id", pl.String(), "text")
    return table


def _dense_calendar(
    items: pl.DataFrame, calendar: pl.DataFrame | None, start: date, period_days: int, periods: int
) -> dict[str, F32]:
    """Flags per series and period; in a longer period a flag is the share of its days that carry it."""
    shape = (items.height, periods)
    flags = {column: np.full(shape, np.nan, dtype=np.float32) for column in CALENDAR_FLAGS}
    if calendar is None:
        return flags
    if "location_id" not in calendar.columns:
        calendar = items.select("location_id").unique().join(calendar, how="cross")
    period = (pl.col("date") - start).dt.total_days() // period_days
    inside = calendar.with_columns(period.alias("t")).filter(pl.col("t").is_between(0, periods - 1))
    places = items.select("location_id").unique(maintain_order=True).with_row_index("place")
    row_place = items.join(places, on="location_id", how="left", maintain_order="left")["place"].to_numpy()
    for column in [c for c in CALENDAR_FLAGS if c in calendar.columns]:
        mean = (
            inside.group_by("location_id", "t")
            .agg(pl.col(column).cast(pl.Float32).mean())
            .join(places, on="location_id")
        )
        by_place = np.full((places.height, periods), np.nan, dtype=np.float32)
        by_place[mean["place"].to_numpy(), mean["t"].to_numpy()] = mean[column].fill_null(np.nan).to_numpy()
        flags[column] = by_place[row_place]
    return flags


def with_stock(panel: Panel, folder: Path, *, state: Path | None = None, open_orders: Path | None = None,
               as_of: int | None = None) -> Panel:  # fmt: skip
    """The panel with `on_hand` and `open_orders` read from their files.

    Args:
        panel: the series to read them for.
        folder: the dataset's folder, whose `state` and `open_orders` are taken where no other file is named.
        state, open_orders: files that replace them.
        as_of: the period at whose end the stock stood; the last recorded one where None.
    """
    index = {key: n for n, key in enumerate(zip(panel.items.item_id, panel.items.location_id, strict=True))}
    t = panel.last_recorded if as_of is None else as_of
    on_hand = _read_state(folder, state, index, panel.series_count)
    arrivals = _read_open_orders(folder, open_orders, index, panel, t)
    return replace(panel, on_hand=on_hand, open_orders=arrivals)


def _table_of(folder: Path, stem: str, file: Path | None) -> tuple[str, pl.DataFrame] | None:
    return (file.name, read_file(file)) if file is not None else read_table(folder, stem, required=False)


def _numbers(file: str, table: pl.DataFrame, column: str) -> pl.DataFrame:
    table = cast(file, table, column, pl.Float64(), "a number")
    bad = pl.col(column).is_null() | ~(pl.col(column).is_finite() & (pl.col(column) >= 0))
    problems = offences(file, table, column, bad, "must be a number of at least 0")
    if problems:
        raise DataError(problems)
    return table


def _read_state(folder: Path, file: Path | None, index: dict[tuple[str, str], int], count: int) -> F64:
    on_hand = np.full(count, np.nan)
    found = _table_of(folder, "state", file)
    if found is None:
        return on_hand
    name, table = found
    check_columns(name, table, [*KEY, "on_hand"])
    for column in KEY:
        table = cast(name, table, column, pl.String(), "text")
    table = _numbers(name, table, "on_hand")
    twice = offences(name, table, "item_id", pl.struct(KEY).is_duplicated(), "the series stands here twice")
    if twice:
        raise DataError(twice)
    for row in table.iter_rows(named=True):
        n = index.get((row["item_id"], row["location_id"]))
        if n is not None:
            on_hand[n] = row["on_hand"]
    return on_hand


def _read_open_orders(folder: Path, file: Path | None, index: dict[tuple[str, str], int], panel: Panel, t: int) -> F64:
    found = _table_of(folder, "open_orders", file)
    longest = int(panel.lead_periods.max(initial=1))
    if found is None:
        return np.zeros((panel.series_count, longest))
    name, table = found
    check_columns(name, table, [*KEY, "arrival_date", "quantity"])
    for column in KEY:
        table = cast(name, table, column, pl.String(), "text")
    table = _numbers(name, cast(name, table, "arrival_date", pl.Date(), "a date, YYYY-MM-DD"), "quantity")
    empty = offences(name, table, "arrival_date", pl.col("arrival_date").is_null(), "must not be empty")
    if empty:
        raise DataError(empty)
    # Sold from the start of the arrival date: in a longer period, from the first period that starts on or after it.
    days = (table["arrival_date"] - panel.start).dt.total_days().to_numpy()
    slot: I64 = np.maximum(-(-days // panel.period_days) - (t + 1), 0)  # an overdue order arrives next period
    arrivals = np.zeros((panel.series_count, max(longest, int(slot.max(initial=0)) + 1)))
    for row, column in zip(table.iter_rows(named=True), slot, strict=True):
        n = index.get((row["item_id"], row["location_id"]))
        if n is not None:
            arrivals[n, column] += row["quantity"]
    return arrivals
