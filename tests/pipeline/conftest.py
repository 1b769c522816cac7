"""Real files and the real command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

SAMPLE = Path(__file__).parents[2] / "simulator" / "sample"
Orpr = Callable[..., subprocess.CompletedProcess[str]]


def orpr_in(folder: Path) -> Orpr:
    """`orpr`, run in a folder, with a database of its own."""

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from orpr.cli import main; main()", *(str(word) for word in words)]
        environment = {**os.environ, "ORPR_DATABASE_URL": f"sqlite:///{folder}/orpr.db", "COLUMNS": "200"}
        return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)

    return run


@pytest.fixture
def orpr(tmp_path: Path) -> Orpr:
    """Run `orpr` in an empty folder of its own."""
    return orpr_in(tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four series of the sample with stock at its end."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(SAMPLE / "dataset.json", folder)
    items = pl.read_parquet(SAMPLE / "items.parquet").head(4)
    keys = items.select("item_id", "location_id")
    items.write_parquet(folder / "items.parquet")
    pl.read_parquet(SAMPLE / "demand.parquet").join(keys, on=keys.columns, how="semi").write_parquet(
        folder / "demand.parquet"
    )
    pl.read_parquet(SAMPLE / "calendar.parquet").write_parquet(folder / "calendar.parquet")
    keys.with_columns(on_hand=pl.Series([10.0, 0.0, 250.0, 1e5])).write_parquet(folder / "state.parquet")
    return folder


@pytest.fixture
def weekly(tmp_path: Path) -> Path:
    """A small weekly dataset: the first series of the sample summed by weeks."""
    folder = tmp_path / "weekly"
    folder.mkdir()
    settings = json.loads((SAMPLE / "dataset.json").read_text()) | {
        "name": "weekly",
        "period_days": 7,
        "review_origin": "2016-01-02",
    }
    (folder / "dataset.json").write_text(json.dumps(settings))
    items = (
        pl.read_parquet(SAMPLE / "items.parquet")
        .head(6)
        .with_columns(review_period_days=pl.lit(7), lead_time_days=pl.lit(14), review_offset_days=pl.lit(0))
    )
    keys = items.select("item_id", "location_id")
    items.write_parquet(folder / "items.parquet")
    demand = pl.read_parquet(SAMPLE / "demand.parquet").join(keys, on=keys.columns, how="semi").sort("date")
    grouped = demand.group_by_dynamic("date", every="7d", start_by="datapoint", group_by=keys.columns).agg(
        pl.col("units_sold").sum(), pl.col("in_stock").mean(), pl.col("promotion").max(), pl.len().alias("days")
    )
    grouped.filter(pl.col("days") == 7).drop("days").write_parquet(folder / "demand.parquet")
    keys.with_columns(on_hand=pl.lit(100.0)).write_parquet(folder / "state.parquet")
    return folder
