"""ABC by value, XYZ by steadiness, both from the past only."""

from __future__ import annotations

import numpy as np
import pytest

from tests.panels import make_panel
from training.segments import segments_of


def weeks(*values: float) -> np.ndarray:
    """Daily sales of these weekly totals."""
    return np.repeat(np.array(values) / 7, 7)


def test_the_largest_series_make_a_and_the_smallest_c() -> None:
    sold = np.stack([weeks(*[v] * 10) for v in (70, 20, 6, 4)])
    found = segments_of(make_panel(sold, items={"unit_price": 1.0}), 70)
    assert [name[0] for name in found.name] == ["A", "A", "B", "C"]
    assert found.value.tolist() == pytest.approx([700, 200, 60, 40], rel=1e-5)


def test_value_is_at_price_else_cost_else_the_cost_of_a_lost_sale() -> None:
    sold = np.stack([weeks(7, 7)] * 3)
    items = {"unit_price": [5.0, np.nan, np.nan], "unit_cost": [9.0, 3.0, np.nan], "lost_sale_cost": 2.0}
    assert segments_of(make_panel(sold, items=items), 14).value.tolist() == pytest.approx([70, 42, 28])


def test_steady_demand_is_x_and_lumpy_demand_z() -> None:
    sold = np.stack([weeks(10, 11, 9, 10), weeks(2, 18, 2, 18), weeks(0, 0, 40, 0), weeks(0, 0, 0, 0)])
    found = segments_of(make_panel(sold), 28)
    assert [name[1] for name in found.name] == ["X", "Y", "Z", "Z"]
    assert found.variation[0] == pytest.approx(np.std([10, 11, 9, 10], ddof=1) / 10, rel=1e-4)
    assert np.isinf(found.variation[3])


def test_nothing_from_the_window_on_counts_and_unknown_weeks_are_left_out() -> None:
    sold = np.stack([weeks(10, 10, 10, 500), weeks(1, 1, 1, 900)])
    sold[0, 3] = np.nan
    found = segments_of(make_panel(sold, items={"unit_price": 1.0}), 21)
    assert list(found.name) == ["AX", "BX"]
    assert found.variation[0] == pytest.approx(0, abs=1e-6)
    assert found.value[0] == pytest.approx(30 - 10 / 7, rel=1e-5)


def test_a_week_is_one_period_where_periods_are_weeks() -> None:
    found = segments_of(make_panel([[2, 18, 2, 18]], period_days=7), 4)
    assert found.variation[0] == pytest.approx(np.std([2, 18, 2, 18], ddof=1) / 10)
