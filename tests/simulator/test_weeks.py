"""Daily data by the week."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from simulator.panel import Panel
from simulator.weeks import by_week


@pytest.fixture
def weekly(bakery: Panel) -> Panel:
    return by_week(bakery)


def test_weeks_begin_on_mondays_and_add_up(bakery: Panel, weekly: Panel) -> None:
    assert weekly.start.weekday() == 0
    assert weekly.period_days == 7
    for week in (0, 50, 100):
        first = bakery.period_of(weekly.date_of(week))
        days = slice(first, first + 7)
        np.testing.assert_allclose(weekly.units_sold[:, week], np.nansum(bakery.units_sold[:, days], axis=1), rtol=1e-5)
        np.testing.assert_array_equal(weekly.promotion[:, week], np.nanmax(bakery.promotion[:, days], axis=1))


def test_a_series_keeps_its_critical_ratio(bakery: Panel, weekly: Panel) -> None:
    def ratio(panel: Panel) -> np.ndarray:
        items = panel.items
        return items.lost_sale_cost / (items.lost_sale_cost + items.holding_cost_per_day * items.review_period_days)

    np.testing.assert_allclose(ratio(weekly), ratio(bakery))
    np.testing.assert_array_equal(weekly.lead_periods, -(-bakery.items.lead_time_days // 7))


def test_a_week_is_known_for_the_share_of_it_that_was_seen(bakery: Panel) -> None:
    sold, start = bakery.units_sold.copy(), -bakery.start.weekday() % 7
    sold[0, start : start + 3] = np.nan  # Monday to Wednesday of the first week
    sold[1, start : start + 7] = np.nan
    weekly = by_week(replace(bakery, units_sold=sold, open=np.ones_like(bakery.open), in_stock=np.ones_like(sold)))
    assert weekly.in_stock[0, 0] == pytest.approx(4 / 7)
    assert weekly.units_sold[0, 0] == pytest.approx(sold[0, start + 3 : start + 7].sum(), rel=1e-5)
    assert np.isnan(weekly.units_sold[1, 0])
    assert np.isnan(weekly.in_stock[1, 0])


def test_the_week_in_which_records_end_is_unknown(bakery: Panel, weekly: Panel) -> None:
    last = bakery.last_recorded
    for dropped in range(1, 8):
        shorter = bakery.units_sold.copy()
        shorter[:, last + 1 - dropped :] = np.nan
        cut = by_week(replace(bakery, units_sold=shorter))
        end = cut.date_of(cut.last_recorded) + timedelta(days=7)
        assert end <= bakery.date_of(last + 1 - dropped)
        np.testing.assert_array_equal(
            cut.units_sold[:, : cut.last_recorded + 1], weekly.units_sold[:, : cut.last_recorded + 1]
        )


def test_weekly_data_are_not_added_up_again(weekly: Panel) -> None:
    with pytest.raises(ValueError, match="only daily data can be added up by week, period_days is 7"):
        by_week(weekly)
