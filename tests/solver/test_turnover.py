"""The turnover that labels are calibrated to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from simulator.panel import Panel
from simulator.stock import read_inventory
from simulator.tables import DataError
from solver.calibration import real_turnover


def test_turnover_is_stock_over_daily_demand_where_stock_is_known() -> None:
    on_hand = np.array([[10.0, 20.0, np.nan], [np.nan, np.nan, np.nan]])
    demand = np.array([[4.0, 6.0, 99.0], [50.0, 50.0, 50.0]])
    assert real_turnover(on_hand, demand, 1) == pytest.approx(15 / 5)
    assert real_turnover(on_hand, demand, 7) == pytest.approx(21)
    assert real_turnover(on_hand * np.nan, demand, 1) is None


def test_the_inventory_file_is_what_really_stood_there(bakery: Panel, tmp_path: Path) -> None:
    item, place = bakery.items.item_id[3], bakery.items.location_id[3]
    rows = {
        "item_id": [item] * 2,
        "location_id": [place] * 2,
        "date": [bakery.date_of(5), bakery.date_of(9)],
        "on_hand": [7.0, 0.0],
    }
    assert read_inventory(bakery, tmp_path) is None
    pl.DataFrame(rows).write_parquet(tmp_path / "inventory.parquet")
    read = read_inventory(bakery, tmp_path)
    assert read is not None
    assert (read[3, 5], read[3, 9]) == (7, 0)
    assert np.isfinite(read).sum() == 2
    pl.DataFrame(rows | {"on_hand": [7.0, -1.0]}).write_parquet(tmp_path / "inventory.parquet")
    with pytest.raises(DataError, match=r"inventory.parquet, column on_hand, row 2: -1"):
        read_inventory(bakery, tmp_path)
