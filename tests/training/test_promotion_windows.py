"""Which periods belong to promotions, and policies side by side in them and outside."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.metrics import SeriesTotals
from simulator.panel import F64
from tests.panels import make_panel
from training.promotion_windows import ALL, PROMOTION, ROUTINE, as_rows, promotion_windows


def test_a_promotion_window_is_the_promotion_and_the_review_cycle_behind_it() -> None:
    promotion = np.zeros((2, 12), dtype=np.float32)
    promotion[:, [3, 4]] = 1
    promotion[1, 0] = np.nan
    panel = make_panel(np.ones((2, 12)), promotion=promotion, items={"review_period_days": [3, 1]})
    inside = promotion_windows(panel, range(2, 12))
    assert [np.flatnonzero(row).tolist() for row in inside] == [[1, 2, 3, 4, 5], [1, 2, 3]]


def test_discounts_count_where_asked_for_and_only_below_the_list_price() -> None:
    price = np.full((2, 6), 10.0, dtype=np.float32)
    price[0, 2], price[0, 3], price[1, 4], price[1, 5] = 9.4, 9.6, np.nan, 12.0
    panel = make_panel(np.ones((2, 6)), price=price, items={"review_period_days": [1, 1], "unit_price": [10.0, 10.0]})
    assert not promotion_windows(panel, range(6)).any()
    inside = promotion_windows(panel, range(6), discount=0.05)
    assert [np.flatnonzero(row).tolist() for row in inside] == [[2, 3], []]  # 3 is the review cycle behind


def totals(lost: F64) -> SeriesTotals:
    """Two series that wanted 10 each and cost 1 for each unit lost."""
    columns = dict.fromkeys(SeriesTotals._fields, np.ones(2))
    return SeriesTotals(**columns | {"demand": np.full(2, 10.0), "sales": 10.0 - lost, "stockout_cost": lost})


def test_lost_sales_are_compared_only_where_the_reference_lost_some() -> None:
    some, none = totals(np.array([1.0, 3.0])), totals(np.zeros(2))
    found = {
        "old": {PROMOTION: none, ROUTINE: some, ALL: some},
        "new": {PROMOTION: some, ROUTINE: none, ALL: totals(np.array([1.0, 1.0]))},
    }
    rows = {(row["window"], row["policy"]): row["lost_sales_ratio"] for row in as_rows(found, "old", 0)}
    assert rows[PROMOTION, "old"] is None
    assert rows[PROMOTION, "new"] is None
    assert rows[ROUTINE, "new"] == (0.0, 0.0, 0.0)
    assert rows[ALL, "new"][0] == pytest.approx(0.5)
