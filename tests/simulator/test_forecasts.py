"""The caller's own forecasts: what a file may hold, and what is read of them at which time."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from simulator.canonical import read_panel
from simulator.forecast_table import with_forecast_rows
from simulator.forecasts import Forecasts
from simulator.observation import ObservationSpec, Observer
from simulator.panel import Panel
from simulator.tables import DataError, Problem
from tests.panels import make_panel

START = date(2024, 1, 1)


def rows(*said: tuple[str, int, int, float]) -> pl.DataFrame:
    """(item, made on day, for day, units), days counted from the panel's start."""
    return pl.DataFrame(
        [(item, "here", START + timedelta(days=made), START + timedelta(days=day), units) for item, made, day, units in said],
        schema={"item_id": pl.String, "location_id": pl.String, "made_on": pl.Date, "date": pl.Date, "units": pl.Float64},
        orient="row",
    )  # fmt: skip


@pytest.fixture
def panel() -> Panel:
    return make_panel(np.ones((3, 40)), items={"location_id": "here"})


def seen(panel: Panel, row: int, t: int) -> np.ndarray:
    found: np.ndarray = Observer(panel, ObservationSpec(panel.period_days)).observe(np.array([row]), np.array([t]))[
        "own_forecast"
    ][0]
    return found


def test_a_decision_reads_the_newest_forecast_made_by_its_day(panel: Panel) -> None:
    said = with_forecast_rows(
        panel, rows(("i1", 10, 11, 1.0), ("i1", 10, 12, 2.0), ("i1", 10, 14, 4.0), ("i1", 12, 13, 9.0))
    )
    assert np.isnan(seen(said, 1, 9)).all()
    np.testing.assert_array_equal(seen(said, 1, 10)[:5], [1, 2, np.nan, 4, np.nan])
    np.testing.assert_array_equal(seen(said, 1, 11)[:4], [2, np.nan, 4, np.nan])
    np.testing.assert_array_equal(seen(said, 1, 12)[:3], [9, np.nan, np.nan])
    assert np.isnan(seen(said, 1, 13)).all()
    assert np.isnan(seen(said, 0, 12)).all()
    assert np.isnan(seen(said, 2, 12)).all()


def test_reading_agrees_with_a_search_by_hand_also_after_taking_rows() -> None:
    rng = np.random.default_rng(0)
    keys = sorted({(int(n), int(t)) for n, t in zip(rng.integers(0, 6, 40), rng.integers(-3, 30, 40), strict=True)})
    units = rng.random((len(keys), 8)).astype(np.float32)
    whole = Forecasts(np.array([n for n, _ in keys]), np.array([t for _, t in keys]), units)
    taken = np.array([4, 1, 1, 5, 0])
    part = whole.take(taken)
    asked, when = rng.integers(0, len(taken), 200), rng.integers(-5, 45, 200)
    answer = part.ahead(asked, when, 5)
    for row, t, got in zip(asked, when, answer, strict=True):
        made = [(m, k) for k, (n, m) in enumerate(keys) if n == taken[row] and m <= t]
        expected = np.full(5, np.nan)
        if made:
            last, k = max(made)
            rest = units[k, t - last :][:5]
            expected[: len(rest)] = rest
        np.testing.assert_array_equal(got, expected.astype(np.float32))


def test_weeks_add_up_their_days() -> None:
    weekly = make_panel(np.ones((1, 10)), items={"location_id": "here"}, period_days=7)
    said = with_forecast_rows(weekly, rows(*(("i0", 15, day, 1.5) for day in range(16, 35))))
    assert np.isnan(seen(said, 0, 1)).all()
    np.testing.assert_allclose(seen(said, 0, 2)[:2], [10.5, 10.5])


def test_the_file_is_read_and_its_problems_are_named(small_dataset: Path, tmp_path: Path) -> None:
    for file in small_dataset.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    plain = read_panel(tmp_path)
    assert plain.forecasts is None
    item, place, day = plain.items.item_id[2], plain.items.location_id[2], plain.date_of(500)
    table = pl.DataFrame(
        {"item_id": item, "location_id": place, "made_on": day, "date": [day + timedelta(days=k) for k in (1, 2)],
         "units": [3.0, 4.0]}
    )  # fmt: skip
    table.write_parquet(tmp_path / "forecast.parquet")
    np.testing.assert_array_equal(seen(read_panel(tmp_path), 2, 500)[:3], [3, 4, np.nan])
    broken: dict[str, tuple[pl.Expr, str]] = {
        "units": (
            pl.lit(-1.0).alias("units"),
            r"forecast.csv, column units, row 1: -1.0: must be a number of at least 0",
        ),
        "date": (pl.col("made_on").alias("date"), r"forecast.csv, column date, row 1: .*: must lie after made_on"),
        "twice": (pl.col("date").first(), r"forecast.csv, column date, row 2: .*twice"),
    }
    (tmp_path / "forecast.parquet").unlink()
    for change, message in broken.values():
        table.with_columns(change).write_csv(tmp_path / "forecast.csv")
        with pytest.raises(DataError, match=message):
            read_panel(tmp_path)
    aside: list[Problem] = []
    assert read_panel(tmp_path, set_aside=aside).series_count == plain.series_count - 1
    assert aside[0].series == (item, place)
