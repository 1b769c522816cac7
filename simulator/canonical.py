"""Reading and checking the canonical dataset: a folder of Parquet or CSV files becomes a `Panel`.

Every rule of the format is checked here, before anything is computed; a broken rule is a `Problem` that names file,
column, row and value. `tables.py` reads the single files, `stock.py` what is on hand and on order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from simulator.demand_table import DEMAND_FLOATS, DEMAND_OPTIONAL, read_demand
from simulator.forecast_table import with_forecasts
from simulator.item_table import MOST_DAYS, items_of, read_items
from simulator.panel import F32, Panel
from simulator.stock import with_stock
from simulator.tables import (
    KEY,
    DataError,
    Problem,
    cast,
    check_columns,
    fail,
    offences,
    read_file,
    read_table,
    set_aside_or_raise,
)  # fmt: skip

__all__ = [
    "KEY", "DataError", "Problem", "assemble", "assemble_days", "cast", "check_columns", "offences", "read_file", "read_panel",
    "with_stock",
]  # fmt: skip

CALENDAR_FLAGS = ["open", "holiday", "school_holiday"]
SUPPLIER_FLAGS = ["order_open", "delivery_open"]
CALENDAR_COLUMNS = ["location_id", "date", *CALENDAR_FLAGS, *SUPPLIER_FLAGS, "temperature", "precipitation"]
MAX_KNOWN_AHEAD = 91  # days past the last record for which promotions and holidays are kept
MOST_PERIOD_DAYS = 366


def _read_settings(folder: Path) -> dict[str, Any]:
    file = "dataset.json"
    try:
        raw = json.loads((folder / file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise fail(file, "-", f"there is no dataset.json in {folder}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise fail(file, "-", f"is not JSON ({error})") from None
    if not isinstance(raw, dict):
        raise fail(file, "-", "must be a JSON object")
    settings: dict[str, Any] = {
        "currency": "", "source": "", "promotion_known_ahead_days": 0, "price_known_ahead_days": 0, **raw,
    }  # fmt: skip
    for key in ("name", "period_days", "quantity", "review_origin"):
        if key not in settings:
            raise fail(file, key, "is missing")
    bounds = {
        "period_days": (1, MOST_PERIOD_DAYS),
        "promotion_known_ahead_days": (0, MOST_DAYS),
        "price_known_ahead_days": (0, MOST_DAYS),
    }
    for key, (least, most) in bounds.items():
        value = settings[key]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise fail(file, key, f"must be a whole number from {least} to {most}", value)
    if settings["quantity"] not in ("discrete", "continuous"):
        raise fail(file, "quantity", "must be discrete or continuous", settings["quantity"])
    try:
        settings["review_origin"] = date.fromisoformat(str(settings["review_origin"]))
    except ValueError:
        raise fail(file, "review_origin", "must be a date, YYYY-MM-DD", settings["review_origin"]) from None
    return settings


def _match_series(file: str, demand: pl.DataFrame, items: pl.DataFrame) -> list[Problem]:
    unknown = demand.select(pl.struct(KEY).is_in(items.select(pl.struct(KEY)).to_series().implode()).not_()).to_series()
    return offences(file, demand, "item_id", unknown, "this series is not in items")


def read_panel(folder: Path | str, *, set_aside: list[Problem] | None = None) -> Panel:
    """Read and check a canonical dataset, stock and open orders included; see `read_history`."""
    return with_stock(read_history(folder, set_aside=set_aside), Path(folder), set_aside=set_aside)


def read_history(folder: Path | str, *, set_aside: list[Problem] | None = None) -> Panel:
    """Read and check a canonical dataset without its stock, for callers that bring their own.

    Args:
        folder: where `dataset.json`, `demand`, `items` and the calendar lie.
        set_aside: where given, series with problems are left out of the panel and their problems appended here,
            instead of the whole dataset being refused.

    Raises:
        DataError: naming file, column, row and value.
    """
    folder = Path(folder)
    settings = _read_settings(folder)
    items, problems = read_items(folder, settings["period_days"])
    demand_file, demand, more = read_demand(folder, settings["period_days"])
    problems += more + _match_series(demand_file, demand, items)
    bad = set_aside_or_raise(problems, set_aside)
    if bad:
        keys = pl.DataFrame(sorted(bad), schema=dict.fromkeys(KEY, pl.String), orient="row")
        items, demand = items.join(keys, on=KEY, how="anti"), demand.join(keys, on=KEY, how="anti")
    if items.is_empty() or demand.is_empty():
        raise DataError(problems)
    panel = assemble(settings, items, demand, _read_calendar(folder, set(items["location_id"])))
    return with_forecasts(panel, folder, set_aside)


def assemble(
    settings: dict[str, Any], items: pl.DataFrame, demand: pl.DataFrame, calendar: pl.DataFrame | None
) -> Panel:
    """Checked tables as a dense panel; stock is still unknown."""
    start, last = _span(demand, calendar)
    periods = (last - start).days // settings["period_days"] + 1
    dense = _dense_demand(items, demand, start, settings["period_days"], periods)
    return _panel(settings, items, calendar, start, dense)


def assemble_days(
    settings: dict[str, Any], items: pl.DataFrame, days: Mapping[str, F32], first: date, begins: date, calendar: pl.DataFrame
) -> Panel:  # fmt: skip
    """Days of N series as a panel; the service comes in here with what it keeps.

    Args:
        settings: the keys of `dataset.json`.
        items: the series.
        days: (N, days) units sold, time in stock, price and promotion from `first` on, NaN where nothing is told; where periods
            are longer than a day at most one day of each tells something.
        first: their first day.
        begins: the panel's, unless something is told earlier.
        calendar: the locations' days.
    """
    told = np.flatnonzero(np.any([np.isfinite(column).any(axis=0) for column in days.values()], axis=0))
    recorded = np.flatnonzero(np.isfinite(days["units_sold"]).any(axis=0))
    start = min(begins, first + timedelta(days=int(told[0]))) if len(told) else begins
    ends = [first + timedelta(days=int(at[-1])) if len(at) else None for at in (told, recorded)]
    last = _last(start, ends[0], ends[1], calendar)
    behind = (start - first).days
    length, periods = settings["period_days"], (last - start).days // settings["period_days"] + 1
    dense = {name: _periods(column[:, behind:], length, periods) for name, column in days.items()}
    return _panel(settings, items, calendar, start, dense)


def _periods(days: F32, length: int, periods: int) -> F32:
    """(N, periods) what is told of each period."""
    wanted = length * periods
    known = days[:, :wanted]
    if known.shape[1] < wanted:
        known = np.pad(known, ((0, 0), (0, wanted - known.shape[1])), constant_values=np.nan)
    if length == 1:
        return known
    folded: F32 = np.fmax.reduce(known.reshape(len(known), periods, length), axis=2)
    return folded


def _panel(
    settings: dict[str, Any], items: pl.DataFrame, calendar: pl.DataFrame | None, start: date, dense: Mapping[str, F32]
) -> Panel:
    period_days = settings["period_days"]
    flags = _dense_calendar(items, calendar, start, period_days, dense["units_sold"].shape[1])
    return Panel(
        name=str(settings["name"]),
        period_days=period_days,
        currency=str(settings["currency"]),
        quantity=settings["quantity"],
        source=str(settings["source"]),
        review_origin=settings["review_origin"],
        promotion_known_ahead_days=settings["promotion_known_ahead_days"],
        price_known_ahead_days=settings["price_known_ahead_days"],
        start=start,
        items=items_of(items),
        units_sold=dense["units_sold"],
        in_stock=dense["in_stock"],
        price=dense["price"],
        promotion=dense["promotion"],
        open=flags["open"],
        holiday=flags["holiday"],
        school_holiday=flags["school_holiday"],
        on_hand=np.full(items.height, np.nan),
        open_orders=np.zeros((items.height, 1)),
        order_open=_where_known(flags.get("order_open")),
        delivery_open=_where_known(flags.get("delivery_open")),
        unit_cost=_where_known(dense.get("unit_cost")),
        # float32 holds every whole number up to 2^24
        oos_mask=np.nan_to_num(dense["oos_mask"], nan=-1.0).astype(np.int32) if "oos_mask" in dense else None,
    )


def _where_known(column: F32 | None) -> F32 | None:
    return column if column is not None and np.isfinite(column).any() else None


def _span(demand: pl.DataFrame, calendar: pl.DataFrame | None) -> tuple[date, date]:
    """First and last day of the panel: the demand's, and as much of the calendar ahead as a policy may read."""
    start, last = demand["date"].min(), demand["date"].max()
    assert isinstance(start, date)
    assert isinstance(last, date)
    recorded = demand.filter(pl.col("units_sold").is_not_null())["date"].max()
    assert recorded is None or isinstance(recorded, date)
    return start, _last(start, last, recorded, calendar)


def _last(start: date, told: date | None, recorded: date | None, calendar: pl.DataFrame | None) -> date:
    last = told or start
    latest = None if calendar is None else calendar["date"].max()
    if recorded is not None and isinstance(latest, date):
        last = max(last, min(recorded + timedelta(days=MAX_KNOWN_AHEAD), latest))
    return last


def _dense_demand(
    items: pl.DataFrame, demand: pl.DataFrame, start: date, period_days: int, periods: int
) -> dict[str, F32]:
    rows = demand.join(items.select(KEY).with_row_index("series"), on=KEY, how="inner")
    series = rows["series"].to_numpy()
    wanted = [*DEMAND_FLOATS, *(c for c in DEMAND_OPTIONAL if c in rows.columns)]
    known = [column for column in wanted if column in rows.columns]
    period = (pl.col("date") - start).dt.total_days() // period_days
    values = rows.select(period.alias("t"), pl.col(known).cast(pl.Float32).fill_null(np.nan))
    dense = {column: np.full((items.height, periods), np.nan, dtype=np.float32) for column in wanted}
    for column in known:
        dense[column][series, values["t"].to_numpy()] = values[column].to_numpy()
    return dense


def _read_calendar(folder: Path, places: set[str]) -> pl.DataFrame | None:
    found = read_table(folder, "calendar")
    if found is None:
        return None
    return check_calendar(*found, places)


def check_calendar(file: str, table: pl.DataFrame, places: set[str]) -> pl.DataFrame:
    """A calendar with its columns cast.

    Args:
        file: where it comes from, for messages.
        table: as it was read.
        places: locations of which it must name one; empty: any.

    Raises:
        DataError: naming file, column, row and value.
    """
    check_columns(file, table, ["date"], CALENDAR_COLUMNS)
    table = cast(file, table, "date", pl.Date(), "a date, YYYY-MM-DD")
    empty = offences(file, table, "date", pl.col("date").is_null(), "must not be empty")
    if empty:
        raise DataError(empty)
    for column in [c for c in (*CALENDAR_FLAGS, *SUPPLIER_FLAGS) if c in table.columns]:
        table = cast(file, table, column, pl.Boolean(), "true or false")
    if "location_id" in table.columns:
        table = cast(file, table, "location_id", pl.String(), "text")
        if places and table.height and not table["location_id"].is_in(sorted(places)).any():
            raise fail(file, "location_id", "no item is at any of these locations", table["location_id"][0])
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
    known = [c for c in (*CALENDAR_FLAGS, *SUPPLIER_FLAGS) if c in calendar.columns]
    mean = (
        inside.group_by("location_id", "t")
        .agg(pl.col(known).cast(pl.Float32).mean().fill_null(np.nan))
        .join(places, on="location_id")
    )
    for column in known:
        by_place = np.full((places.height, periods), np.nan, dtype=np.float32)
        by_place[mean["place"].to_numpy(), mean["t"].to_numpy()] = mean[column].to_numpy()
        flags[column] = by_place[row_place]
    return flags
