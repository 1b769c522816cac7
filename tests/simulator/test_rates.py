"""The daily rate: one definition, on a window as on a whole panel, and what it is made from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.observation import ObservationSpec, visible
from simulator.panel import Panel
from simulator.rates import YEAR_DAYS, Rates, daily_rate, evidence, group_codes, panel_rates, rate_sources
from tests.panels import make_panel, random_panel

SEEDS = st.integers(0, 2**32 - 1)


def rate_on_windows(panel: Panel, t: int) -> np.ndarray:
    """The rate of every series at the end of `t`, from the arrays that a policy's graph gets."""
    rows = np.arange(panel.series_count)
    spec = ObservationSpec(panel.period_days)
    seen = visible(panel, rows, np.full(len(rows), t), spec)
    prior = panel_rates(panel).prior_daily_rate[:, t].astype(np.float32)
    history = spec.history
    return np.asarray(
        daily_rate(
            seen["units_sold"], seen["in_stock"], seen["promotion"][:, :history], seen["open"][:, :history], prior,
            panel.period_days,
        )
    )  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(SEEDS, st.sampled_from([1, 7]))
def test_the_rate_of_a_window_equals_the_rate_of_the_panel_at_every_period(seed: int, days: int) -> None:
    """Training scales by the one, the exported graph computes the other."""
    periods = YEAR_DAYS // days + 40  # so that old periods leave the window
    panel = random_panel(np.random.default_rng(seed), 5, periods, period_days=days)
    rates = panel_rates(panel).daily_rate
    for t in [0, 1, 27, 28, 29, *range(50, periods, 17), periods - 1]:
        np.testing.assert_allclose(rate_on_windows(panel, t), rates[:, t], rtol=1e-5, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from([1, 7]), st.data())
def test_some_periods_have_the_rates_that_all_of_them_have(seed: int, days: int, data: st.DataObject) -> None:
    count = YEAR_DAYS // days + 40
    panel = random_panel(np.random.default_rng(seed), 6, count, period_days=days)
    begin = data.draw(st.integers(0, count - 1))
    end = data.draw(st.integers(begin + 1, count))
    for name, whole, some in zip(Rates._fields, panel_rates(panel), panel_rates(panel, range(begin, end)), strict=True):
        np.testing.assert_allclose(some[:, begin:end], whole[:, begin:end], rtol=1e-9, atol=1e-9, err_msg=name)
        others = np.delete(some, np.s_[begin:end], axis=1)
        assert not others.any() if name == "has_history" else np.isnan(others).all()


def test_the_rate_is_the_same_on_torch_tensors() -> None:
    rng = np.random.default_rng(2)
    panel = random_panel(rng, 8, YEAR_DAYS)
    prior = np.where(rng.random(8) < 0.5, np.nan, 2.0)
    arrays = (panel.units_sold, panel.in_stock, panel.promotion, panel.open, prior.astype(np.float32))
    here = daily_rate(*arrays, 1)
    there = daily_rate(*(torch.from_numpy(array) for array in arrays), 1)
    np.testing.assert_allclose(here, there.numpy(), rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_the_rate_is_positive_wherever_a_sale_fell_in_the_last_364_days(seed: int) -> None:
    """Whatever else was wrong on that day: hardly in stock, closed, promoted."""
    rng = np.random.default_rng(seed)
    shape = (4, 500)
    sold = np.where(rng.random(shape) < 0.004, 1.0, np.where(rng.random(shape) < 0.3, np.nan, 0.0))
    panel = make_panel(
        sold, in_stock=rng.choice([0.0, 0.2, 0.5, 1.0, np.nan], shape), promotion=rng.choice([0.0, 1.0, np.nan], shape),
        open=rng.choice([0.0, 1.0, np.nan], shape),
    )  # fmt: skip
    rate = panel_rates(panel).daily_rate
    assert np.isfinite(rate).all()
    for n in range(4):
        for t in range(0, 500, 7):
            if (sold[n, max(0, t - 363) : t + 1] > 0).any():
                assert rate[n, t] > 0


def test_the_rate_of_steady_sales_is_what_is_sold_a_day() -> None:
    np.testing.assert_allclose(panel_rates(make_panel(np.full((1, 400), 3.0))).daily_rate[0, 60:], 3.0, rtol=1e-5)
    weekly = panel_rates(make_panel(np.full((1, 60), 14.0), period_days=7))
    np.testing.assert_allclose(weekly.daily_rate[0, 30:], 2.0, rtol=1e-5)


def test_the_rate_by_hand_follows_the_recent_mean_shrunk_by_a_week_toward_the_year() -> None:
    sold = np.concatenate([np.full(336, 1.0), np.full(28, 5.0)])[None, :]
    panel = make_panel(sold)
    year = (336 + 28 * 5) / 364
    own = (364 * year + 7 * year) / 371  # the only series: its category's mean is its own
    assert panel_rates(panel).daily_rate[0, -1] == pytest.approx((28 * 5 + 7 * own) / 35, rel=1e-5)


def test_time_out_of_stock_is_no_low_demand() -> None:
    """Half in stock: sales count double. Hardly in stock, or closed: the day says nothing."""
    sold, stock, opened = np.full((3, 120), 4.0), np.ones((3, 120)), np.ones((3, 120))
    sold[0, ::2], stock[0, ::2] = 2.0, 0.5
    sold[1, ::2], stock[1, ::2] = 0.0, 0.1
    sold[2, 6::7], opened[2, 6::7] = 0.0, 0.0
    panel = make_panel(sold, in_stock=stock, open=opened)
    np.testing.assert_allclose(panel_rates(panel).daily_rate[:, -1], 4.0, rtol=1e-5)


@pytest.mark.parametrize(("factor", "every"), [(3.0, 7), (5.0, 7), (3.0, 4)])
def test_promotions_hardly_move_the_rate(factor: float, every: int) -> None:
    """A promoted day weighs a twentieth of another; without that the rate would rise by (factor - 1) / every."""
    sold, promoted = np.full((1, 364), 4.0), np.zeros((1, 364))
    sold[0, ::every], promoted[0, ::every] = 4.0 * factor, 1.0
    rate = panel_rates(make_panel(sold, promotion=promoted)).daily_rate[0, -1]
    assert 4.0 <= rate < 4.0 * 1.05


def test_a_series_that_only_ever_sold_on_promotion_still_has_a_rate() -> None:
    rate = panel_rates(make_panel(np.full((1, 60), 2.0), promotion=1.0)).daily_rate
    assert rate[0, -1] == pytest.approx(2.0, rel=1e-5)


def test_evidence_corrects_and_weighs_each_period() -> None:
    found = evidence(
        np.array([4.0, 4.0, 4.0, 4.0, np.nan, 4.0, 4.0]), np.array([1.0, 0.96, 0.5, 0.29, 1.0, 1.0, np.nan]),
        np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0, np.nan]), np.array([1.0, np.nan, 1.0, 1.0, 1.0, 1.0, 0.0]),
    )  # fmt: skip
    np.testing.assert_allclose(found.demand, [4, 4, 8, 0, 0, 4, 0])
    np.testing.assert_allclose(found.seen, [1, 1, 0.5, 0, 0, 1, 0])
    np.testing.assert_allclose(found.weight, [1, 1, 0.5, 0, 0, 0.05, 0])


def newcomer(**items: object) -> Panel:
    """Series 0 is new; 1 sells 3 of the same category elsewhere, 2 sells 5 beside it in the category, 3 sells 9."""
    sold = np.array([[np.nan] * 60, [3.0] * 60, [5.0] * 60, [9.0] * 60])
    columns = {
        "location_id": ["here", "there", "here", "here"], "category": ["bread", "bread", "bread", "cake"],
        "reference_item_id": ["i3", "", "", ""], "expected_daily_demand": [1.5, np.nan, np.nan, np.nan], **items,
    }  # fmt: skip
    return make_panel(sold, items=columns)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("items", "rate", "source"),
    [
        ({}, 9.0, "reference_item"),
        ({"reference_item_id": ["i1", "", "", ""]}, 5.0, "category"),  # that item is at another place
        ({"reference_item_id": ""}, 5.0, "category"),
        ({"reference_item_id": "", "location_id": ["new", "there", "here", "here"]}, 4.0, "category"),
        ({"reference_item_id": "", "category": ["tea", "bread", "bread", "cake"]}, 1.5, "expected_daily_demand"),
        (
            {"reference_item_id": "", "category": ["tea", "bread", "bread", "cake"], "expected_daily_demand": np.nan},
            0.0, "none",
        ),
    ],
)  # fmt: skip
def test_without_history_the_rate_is_the_references_then_the_categorys_then_the_expected(
    items: dict[str, object], rate: float, source: str
) -> None:
    panel = newcomer(**items)
    rates = panel_rates(panel)
    assert rates.daily_rate[0, -1] == pytest.approx(rate, rel=1e-5)
    assert rate_sources(panel, rates, 59) == [source, "history", "history", "history"]


def test_what_a_series_sold_itself_soon_outweighs_where_it_came_from() -> None:
    panel = newcomer()
    sold = panel.units_sold.copy()
    sold[0, 30:] = 2.0
    rates = panel_rates(replace(panel, units_sold=sold))
    assert rates.daily_rate[0, 29] == pytest.approx(9.0, rel=1e-5)
    assert 2.0 < rates.daily_rate[0, 44] < 3.2
    assert 2.0 < rates.daily_rate[0, 59] < rates.daily_rate[0, 44]


def test_a_reference_stays_the_prior_while_the_item_begins_to_sell() -> None:
    panel = newcomer()
    sold = panel.units_sold.copy()
    sold[0, 30:] = 2.0
    rates = panel_rates(replace(panel, units_sold=sold))
    assert rates.prior_daily_rate[0, 36] == pytest.approx(9.0)
    # The recent mean, then the year's, each against 7 days' weight.
    assert rates.daily_rate[0, 36] == pytest.approx(0.75 * 2.0 + 0.25 * 9.0)


def test_the_sales_share_is_of_the_category_at_the_location() -> None:
    panel = make_panel(
        np.array([[1.0] * 40, [3.0] * 40, [9.0] * 40]),
        items={"category": "bread", "location_id": ["here", "here", "there"]},
    )
    np.testing.assert_allclose(panel_rates(panel).sales_share[:, -1], [0.25, 0.75, 1.0])


def test_equal_texts_get_equal_codes() -> None:
    codes = group_codes(["b", "a", "b", ""])
    assert codes[0] == codes[2]
    assert len(set(codes.tolist())) == 3
    assert codes.max() == 2
