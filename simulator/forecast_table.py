"""The `forecast` table: the caller's own forecasts, checked, and laid out by series and by when they were made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from simulator.forecasts import LONGEST, Forecasts
from simulator.panel import Panel
from simulator.tables import (
    KEY,
    QUANTITY,
    DataError,
    Problem,
    cast,
    check_columns,
    not_a_quantity,
    offences,
    read_table,
    set_aside_or_raise,
    with_keys,
)  # fmt: skip

FORECAST_COLUMNS = [*KEY, "made_on", "date", "units"]


def with_forecasts(panel: Panel, folder: Path, set_aside: list[Problem] | None = None) -> Panel:
    """The panel with the forecasts of its folder; rows of other series are passed over.

    Args:
        panel: the series to read them for.
        folder: the dataset's.
        set_aside: where given, series with problems are left out and their problems appended here.

    Raises:
        DataError: naming file, column, row and value.
    """
    found = read_table(folder, "forecast")
    if found is None:
        return panel
    file, table = found
    problems: list[Problem] = []
    check_columns(file, table, FORECAST_COLUMNS, FORECAST_COLUMNS)
    table = with_keys(file, table, problems)
    for column in ("made_on", "date"):
        table = cast(file, table, column, pl.Date(), "a date, YYYY-MM-DD", problems)
        problems += offences(file, table, column, pl.col(column).is_null(), "must not be empty")
    table = cast(file, table, "units", pl.Float64(), "a number", problems)
    wrong = pl.col("units").is_null() | not_a_quantity("units")
    problems += offences(file, table, "units", wrong, QUANTITY)
    early = (pl.col("date") <= pl.col("made_on")).fill_null(value=False)
    problems += offences(file, table, "date", early, "must lie after made_on")
    twice = ~pl.struct([*KEY, "made_on", "date"]).is_first_distinct()
    problems += offences(file, table, "date", twice, "this series has this date twice in one forecast")
    bad = set_aside_or_raise(problems, set_aside)
    if bad:
        series = zip(panel.items.item_id, panel.items.location_id, strict=True)
        keep = np.array([n for n, key in enumerate(series) if key not in bad], dtype=np.int64)
        if not len(keep):
            raise DataError(problems)
        panel, table = (
            panel.take(keep),
            table.filter(pl.all_horizontal(pl.col("made_on", "date", "units").is_not_null())),
        )
    return with_forecast_rows(panel, table)


def with_forecast_rows(panel: Panel, table: pl.DataFrame) -> Panel:
    """The panel with the forecasts of checked rows. In a longer period a forecast's dates are added up.

    A forecast is known at the end of the period that contains `made_on`; what it says of that very period is dropped.
    """
    if table.is_empty():
        return panel
    keys = pl.DataFrame(
        {"item_id": panel.items.item_id.tolist(), "location_id": panel.items.location_id.tolist()},
        schema=dict.fromkeys(KEY, pl.String),
    ).with_row_index("n")
    period = [((pl.col(c) - panel.start).dt.total_days() // panel.period_days).alias(c) for c in ("made_on", "date")]
    rows = (
        table.join(keys, on=KEY, how="inner")
        .with_columns(*period)
        .with_columns(step=pl.col("date") - pl.col("made_on") - 1)
        .filter(pl.col("step").is_between(0, LONGEST - 1))
        .group_by("n", "made_on", "step")
        .agg(pl.col("units").sum())
        .sort("n", "made_on", "step")
    )
    if rows.is_empty():
        return panel
    said = np.column_stack([rows["n"].to_numpy(), rows["made_on"].to_numpy()]).astype(np.int64)
    new = np.r_[True, (said[1:] != said[:-1]).any(axis=1)]
    units = np.full((int(new.sum()), int(rows["step"].max()) + 1), np.nan, dtype=np.float32)  # type: ignore[arg-type]
    units[np.cumsum(new) - 1, rows["step"].to_numpy()] = rows["units"].to_numpy()
    return replace(panel, forecasts=Forecasts(said[new, 0], said[new, 1], units))
