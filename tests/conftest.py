"""What several test modules share: the bakery sample, read once, and one backtest of a part of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

import simulator
from orpr.evaluation import Evaluation, run_backtest
from service.bundle import resolve_bundle
from simulator.canonical import read_panel
from simulator.panel import Panel
from training.report import write_report

assert simulator.__file__ is not None
SAMPLE = Path(simulator.__file__).parent / "sample"
CHAMPION = resolve_bundle("champion", 1).name  # the version of the shipped policy
WEEKLY_CHAMPION = resolve_bundle("champion", 7).name
RULE = '''
import numpy as np

def half_more(seen, factor=1.5):
    """Half more than the protection interval at the mean of the last four weeks."""
    sold = np.nan_to_num(seen["units_sold"][:, -28:]).mean(axis=1)
    return {"inventory_days": factor * (seen["lead_time_days"] + seen["review_period_days"] - 1), "daily_rate": sold}

def double(seen):
    return half_more(seen, 2.0)
'''


@pytest.fixture(scope="session")
def bakery() -> Panel:
    """The dataset that comes with the package."""
    return read_panel(SAMPLE)


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight series of the sample, of all three products, as a folder."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "dataset.json").write_bytes((SAMPLE / "dataset.json").read_bytes())
    items = pl.read_parquet(SAMPLE / "items.parquet").gather_every(11)
    keys = items.select("item_id", "location_id")
    items.write_parquet(folder / "items.parquet")
    demand = pl.read_parquet(SAMPLE / "demand.parquet")
    demand.join(keys, on=keys.columns, how="semi").write_parquet(folder / "demand.parquet")
    (folder / "calendar.parquet").write_bytes((SAMPLE / "calendar.parquet").read_bytes())
    return folder


class Told(NamedTuple):
    """One backtest, and the folder that its report was written to."""

    evaluation: Evaluation
    report: Path


@pytest.fixture(scope="session")
def told(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """The shipped policy and two runs of a rule in Python on 90 days of the small dataset, as given and with drawn packs."""
    folder = tmp_path_factory.mktemp("told")
    (folder / "rule.py").write_text(RULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.gbm.TREES", 3)  # 500 of them take a minute, and no test looks at these rows
        done = run_backtest(
            small_dataset, ["champion", *(f"cycles={folder}/rule.py:{name}" for name in ("half_more", "double"))], 90, 0,
            lambda *_: None, command="orpr backtest --as-typed", scenarios=["packs"],
        )  # fmt: skip
    write_report(done.result, done.replayed, folder / "report")
    return Told(done, folder / "report")
