"""What is wrong with a dataset is said in one line, with exit code 2, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.pipeline.conftest import Orpr

Spoil = Callable[[pl.DataFrame], pl.DataFrame]


def cell(row: int, column: str, value: object) -> Spoil:
    def spoil(table: pl.DataFrame) -> pl.DataFrame:
        values = table[column].to_list()
        values[row] = value
        return table.with_columns(pl.Series(column, values, strict=False))

    return spoil


BAD = [
    ("demand", cell(10, "units_sold", -5.0), ["demand.parquet", "units_sold", "row 11", "-5", "at least 0"]),
    ("demand", lambda t: pl.concat([t[:20], t[21:]]), ["demand.parquet", "date", "row 21", "gap"]),
    ("demand", lambda t: pl.concat([t, t[30:31]]), ["demand.parquet", "date", "twice"]),
    ("items", lambda t: pl.concat([t, t[1:2]]), ["items.parquet", "row 5", "twice"]),
    ("items", cell(2, "lead_time_days", 0), ["items.parquet", "lead_time_days", "row 3", "from 1 to"]),
    ("items", cell(1, "unit_cost", float("nan")), ["items.parquet", "unit_cost", "row 2", "nan", "at least 0"]),
    ("items", cell(1, "holding_cost_per_day", None), ["items.parquet", "holding_cost_per_day", "row 2", "not be empty"]),
    ("demand", lambda t: t.rename({"promotion": "promotoin"}), ["demand.parquet", "promotoin", "is promotion meant?"]),
    ("items", lambda t: t.with_columns(colour=pl.lit("red")), ["items.parquet", "colour", "not known", "shelf_life_days"]),
    ("calendar", cell(0, "date", None), ["calendar.parquet", "date", "row 1", "not be empty"]),
    ("calendar", lambda t: t.with_columns(location_id=pl.lit("S 17")), ["calendar.parquet", "location_id", "S 17", "no item is at"]),
    ("calendar", lambda t: t.rename({"holiday": "vacation"}), ["calendar.parquet", "vacation", "not known"]),
    ("items", lambda t: t.with_columns(order_weekdays=pl.lit("0")), ["order_weekdays", "row 1", "from 1 (Monday)"]),
    ("items", lambda t: t.with_columns(shelf_life_days=pl.lit(0.5)), ["shelf_life_days", "row 1", "0.5", "whole number"]),
    ("items", lambda t: t.with_columns(status=pl.lit("gone")), ["status", "row 1", "gone", "active, phase_out, new"]),
    ("items", lambda t: t.with_columns(min_stock=pl.lit(9.0), max_stock=pl.lit(5.0)), ["max_stock", "less than min_stock"]),
]  # fmt: skip


@pytest.mark.parametrize(("stem", "spoil", "named"), BAD)
def test_one_line_names_file_column_row_and_value(
    orpr: Orpr, data: Path, tmp_path: Path, stem: str, spoil: Spoil, named: list[str]
) -> None:
    path = data / f"{stem}.parquet"
    spoil(pl.read_parquet(path)).write_parquet(path)
    done = orpr("check", "--data", data)
    assert done.returncode == 2, done.stdout
    assert len(done.stderr.strip().splitlines()) == 1
    for part in named:
        assert part in done.stderr


@pytest.mark.parametrize("stem", ["demand", "items", "calendar", "state"])
def test_a_file_of_no_bytes_is_one_line_and_nothing_is_written(
    orpr: Orpr, data: Path, tmp_path: Path, stem: str
) -> None:
    (data / f"{stem}.parquet").write_bytes(b"")
    done = orpr("score", "--data", data, "--policy", "champion", "--out", tmp_path / "out")
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert f"{stem}.parquet" in lines[0]
    assert "cannot be read as Parquet" in lines[0]
    assert not (tmp_path / "out").exists()
