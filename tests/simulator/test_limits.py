"""Limits of locations, read and checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from simulator.canonical import DataError
from simulator.stock import read_limits
from tests.panels import make_panel

PANEL = make_panel(np.ones((3, 5)), items={"location_id": ["a", "a", "b"]})


def limits(folder: Path, **columns: object) -> Path:
    pl.DataFrame(columns).write_csv(folder / "limits.csv")
    return folder


def test_limits_are_read_by_location_and_empty_cells_are_no_limit(tmp_path: Path) -> None:
    assert read_limits(PANEL, tmp_path) is None
    found = read_limits(PANEL, limits(tmp_path, location_id=["a", "b"], volume=[10.5, None], budget=[None, 0.0]))
    assert found is not None
    assert found.volume == {"a": 10.5}
    assert found.budget == {"b": 0.0}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"location_id": ["a", "c"], "volume": [1, 2]}, "limits.csv, column location_id, row 2: 'c': no item is there"),
        ({"location_id": ["a", None], "volume": [1, 2]}, "limits.csv, column location_id, row 2: must not be empty"),
        ({"location_id": ["a", "a"], "volume": [1, 2]}, "column location_id, row 2: 'a': the location stands here twice"),
        ({"location_id": ["a"], "budget": [-3]}, "limits.csv, column budget, row 1: -3.0: must be a number of at least 0"),
        ({"location_id": ["a"], "budget": ["much"]}, "limits.csv, column budget, row 1: 'much': must be a number"),
        ({"location_id": ["a"], "volumes": [3]}, "column volumes: the column is not known; is volume meant?"),
        ({"place": ["a"]}, "column location_id: the column is missing"),
    ],
)  # fmt: skip
def test_bad_limits_are_refused_with_their_place(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_limits(PANEL, limits(tmp_path, **columns))
