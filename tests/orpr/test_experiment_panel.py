"""Outcomes by hand, and the periods of an experiment."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from orpr.experiment.panel import NO_INVENTORY, Window, experiment_window, outcomes_of, stock_and_sales
from simulator.panel import F64, Panel
from simulator.stock import read_inventory
from tests.panels import make_panel

START = date(2024, 1, 1)
NAN = np.nan


def stock_file(folder: Path, on_hand: F64, period_days: int = 1) -> Path:
    """An inventory file of one item a row; NaN leaves a row out."""
    rows = [
        {"item_id": f"i{n}", "location_id": "here", "date": START + timedelta(days=period_days * t), "on_hand": units}
        for n, series in enumerate(on_hand) for t, units in enumerate(series) if np.isfinite(units)
    ]  # fmt: skip
    pl.DataFrame(rows).write_csv(folder / "inventory.csv")
    return folder


def values_of(panel: Panel, folder: Path, before: range) -> dict[str, F64]:
    return {one.name: one.values for one in outcomes_of(panel, read_inventory(panel, folder), before, [])[0]}


def test_outcomes_are_what_their_names_say(tmp_path: Path) -> None:
    sold = [[2.0, 4, 6, 1], [0.0, 0, 3, 3], [NAN, 1, 1, 1]]
    in_stock = [[1.0, 1, 0.4, 1], [1.0, NAN, NAN, 1], [1.0, 1, 1, 1]]
    items = {"holding_cost_per_day": [0.5, 1.0, 2.0]}
    panel = make_panel(sold, in_stock=in_stock, items=items)
    folder = stock_file(tmp_path, np.array([[9.0, 6, 0, 3], [4.0, 0, 5, NAN], [NAN, 2, 2, 2]]))
    found = values_of(panel, folder, range(2))
    np.testing.assert_allclose(found["turnover_days"][0], np.array([9, 6, 0, 3]) / 3)
    assert np.isnan(found["turnover_days"][1]).all()  # nothing was sold before the start
    np.testing.assert_allclose(found["turnover_days"][2], [NAN, 2, 2, 2])
    np.testing.assert_allclose(found["holding_cost"], [[4.5, 3, 0, 1.5], [4, 0, 5, NAN], [NAN, 4, 4, 4]])
    # unknown: whether stock was left; before a series began: nobody knows
    np.testing.assert_allclose(found["in_stock_rate"], [[1, 1, 0, 1], [1, 0, 1, 1], [NAN, 1, 1, 1]])
    np.testing.assert_allclose(found["units_sold"], sold)


def test_weekly_outcomes_are_by_the_day(tmp_path: Path) -> None:
    panel = make_panel([[14.0, 28.0, 7.0]], period_days=7)
    on_hand = np.array([[6.0, 3.0, 9.0]])
    found = values_of(panel, stock_file(tmp_path, on_hand, 7), range(2))
    np.testing.assert_allclose(found["turnover_days"], [[2.0, 1.0, 3.0]])
    np.testing.assert_allclose(found["units_sold"], [[2.0, 4.0, 1.0]])
    np.testing.assert_allclose(found["holding_cost"], [[3.0, 1.5, 4.5]])  # 0.5 a unit and day
    stock, sales = stock_and_sales(panel, on_hand)
    np.testing.assert_allclose(stock, [[6.0, 3.0, 9.0]])
    np.testing.assert_allclose(sales, [[2.0, 4.0, 1.0]])


def test_a_stock_out_costs_what_it_hid(tmp_path: Path) -> None:
    sold = np.random.default_rng(0).poisson(20.0, (4, 60)).astype(float)
    in_stock = np.ones((4, 60))
    in_stock[0, 50], sold[0, 50] = 0.5, 10.0
    found = values_of(make_panel(sold, in_stock=in_stock, items={"lost_sale_cost": 3.0}), tmp_path, range(40))
    cost = found["lost_sale_cost"]
    assert cost[0, 50] == pytest.approx(3 * 10, rel=0.25)  # half the day, at 20 a day
    assert np.nansum(cost) == pytest.approx(cost[0, 50])


def test_what_cannot_be_told_is_said_or_refused() -> None:
    panel = make_panel(np.ones((2, 6)))
    told, why = outcomes_of(panel, None, range(3), [])
    assert [one.name for one in told] == ["in_stock_rate", "units_sold"]
    assert why == {"turnover_days": NO_INVENTORY, "holding_cost": NO_INVENTORY,
                   "lost_sale_cost": "the dataset records no time out of stock"}  # fmt: skip
    with pytest.raises(ValueError, match="metric: holding_cost cannot be told: the dataset has no inventory file"):
        outcomes_of(panel, None, range(3), ["holding_cost"])
    unknown = make_panel(np.ones((2, 6)), in_stock=NAN)
    with pytest.raises(ValueError, match="in_stock_rate cannot be told: neither in_stock nor an inventory file"):
        outcomes_of(unknown, None, range(3), ["in_stock_rate"])


def test_the_window_ends_and_settles_where_it_is_told() -> None:
    panel = make_panel(np.ones((1, 40)))
    day = START + timedelta(days=20)
    assert experiment_window(panel, day, None, 14, 0) == Window(range(6, 20), range(20, 40))
    assert experiment_window(panel, day, day + timedelta(days=9), 99, 3) == Window(range(20), range(23, 30))
    weekly = make_panel(np.ones((1, 10)), period_days=7)
    assert experiment_window(weekly, START + timedelta(days=35), None, 28, 8) == Window(range(1, 5), range(7, 10))
