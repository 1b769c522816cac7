"""Demand censored on purpose and recovered; what must not change, and what must not be read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import gamma, poisson

from simulator.censoring import REPLAYED, Fit, Recovered, fit, recover, replayed_demand
from simulator.hours import EVERY_HOUR, first_profile, hour_exposure
from simulator.panel import F64, Panel
from simulator.rates import evidence
from simulator.surroundings import RateParams
from tests.censored import (
    MORNING,
    PROCESSES,
    PROFILE,
    Shelf,
    drawn_rates,
    hourly,
    morning_stock,
    run_out,
    shelf_panel,
    taken_off,
)
from tests.panels import make_panel, random_panel

SEEDS = st.integers(0, 2**32 - 1)


def censored(process: str, day_shape: float = 6.0, seed: int = 0, series: int = 400,
             profile: F64 = PROFILE) -> tuple[F64, Shelf]:  # fmt: skip
    """(N, T) demand, and what a shelf let through of it."""
    rng = np.random.default_rng(seed)
    wanted = hourly(rng, drawn_rates(rng, series, 56), profile, day_shape)
    demand = wanted.sum(axis=2)
    return demand, run_out(wanted, morning_stock(rng, demand, process), profile)


def recovered(panel: Panel) -> Recovered:
    return recover(panel, fit(panel))


def bias(found: F64, demand: F64) -> float:
    return float(found.sum() / demand.sum() - 1)


def error(found: F64, demand: F64) -> float:
    return float(np.abs(found - demand).sum() / demand.sum())


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("day_shape", [3.0, 8.0, np.inf])
def test_demand_that_ran_a_shelf_empty_is_recovered(process: str, day_shape: float) -> None:
    """Total demand within 3 %, where sales miss 5 to 25 %; the hidden days nearer than sales and than scaled sales."""
    demand, shelf = censored(process, day_shape)
    panel = shelf_panel(shelf)
    found = recovered(panel)
    assert bias(shelf.sales, demand) < -0.04
    assert abs(bias(found.demand[found.known], demand[found.known])) < 0.03
    scaled = evidence(panel.units_sold, panel.in_stock, panel.promotion, panel.open)
    hidden = (shelf.sales < demand) & (scaled.seen > 0) & found.known
    assert error(found.demand[hidden], demand[hidden]) < 0.7 * error(shelf.sales[hidden], demand[hidden])
    assert error(found.demand[hidden], demand[hidden]) < 0.8 * error(scaled.demand[hidden], demand[hidden])


def test_hours_tell_more_than_their_number_where_the_day_is_uneven() -> None:
    demand, shelf = censored("loose", profile=MORNING)
    by_hour, by_share = recovered(shelf_panel(shelf)), recovered(shelf_panel(shelf, masked=False))
    hidden = (shelf.sales < demand) & by_hour.known & by_share.known
    assert error(by_hour.demand[hidden], demand[hidden]) < 0.8 * error(by_share.demand[hidden], demand[hidden])
    assert abs(bias(by_hour.demand, demand)) < 0.5 * abs(bias(by_share.demand, demand))


def test_the_hour_profile_is_found_behind_run_outs_and_lost_without_the_last_sale() -> None:
    """Plain EM takes the hours after a run-out for hours without demand, and sees ever less of them."""
    _, shelf = censored("tight")
    found, plain = fit(shelf_panel(shelf)), fit(shelf_panel(shelf), run_outs=False)
    assert found.run_outs
    assert np.abs(found.hours - PROFILE).sum() / 2 < 0.1
    assert PROFILE[15:].sum() > 0.35
    assert found.hours[15:].sum() > 0.33
    assert plain.hours[15:].sum() < 0.1


def test_a_shelf_cleared_whatever_it_sold_is_not_taken_for_sold_out() -> None:
    rng = np.random.default_rng(0)
    wanted = hourly(rng, drawn_rates(rng, 400, 56), PROFILE, 6.0)
    shelf, demand = taken_off(rng, wanted, PROFILE), wanted.sum(axis=2)
    panel = shelf_panel(shelf)
    assert not fit(panel).run_outs
    assert abs(bias(recovered(panel).demand, demand)) < 0.02
    assert bias(recover(panel, fit(panel, run_outs=True)).demand, demand) > 0.1  # what it is good for


def test_the_spread_of_days_is_found_although_the_best_days_are_cut_off() -> None:
    for day_shape in (3.0, 6.0):
        demand, shelf = censored("tight", day_shape, series=800)
        assert fit(shelf_panel(shelf)).day_shape == pytest.approx(day_shape, rel=0.4)
        cut = replace(shelf_panel(shelf), oos_mask=None, in_stock=np.ones(demand.shape, dtype=np.float32))
        assert fit(cut).day_shape > 1.8 * day_shape  # what sales alone would say


def test_a_partly_hidden_day_gets_the_posterior_mean_of_its_demand() -> None:
    """Against sums over a fine grid of day factors: the gamma prior times the Poisson likelihood of what was sold."""
    sold, exposure, found = 5.0, 0.4, Fit(1.0, 4.0, first_profile())
    units, stock = np.full((1, 200), 7.0), np.ones((1, 200))
    units[0, 100], stock[0, 100] = sold, exposure
    result = recover(make_panel(units, in_stock=stock, quantity="discrete"), found)
    rate = result.rate[0, 100]
    factor = (np.arange(200_000) + 0.5) / 20_000
    weight = gamma.pdf(factor, 4.0, scale=1 / 4.0) * poisson.pmf(sold, factor * rate * exposure)
    expected = sold + (1 - exposure) * rate * (factor * weight).sum() / weight.sum()
    assert rate == pytest.approx(7.0, rel=0.05)
    assert result.demand[0, 100] == pytest.approx(expected, rel=1e-4)


def test_a_day_flagged_empty_that_sold_all_the_same_wanted_at_least_that() -> None:
    """As with a flag that says how the day ended. Against sums over a fine grid of demands."""
    found = Fit(1.0, 4.0, first_profile())
    units, stock = np.full((2, 200), 7.0), np.ones((2, 200))
    units[:, 100], stock[:, 100] = [9.0, 400.0], 0.0
    result = recover(make_panel(units, in_stock=stock, quantity="discrete"), found)
    rate = result.rate[0, 100]
    variance = rate + rate**2 / 4.0
    demand = (np.arange(400_000) + 0.5) / 2_000
    weight = gamma.pdf(demand, rate**2 / variance, scale=variance / rate) * (demand >= 9)
    assert result.demand[0, 100] == pytest.approx((demand * weight).sum() / weight.sum(), rel=1e-3)
    assert 400.0 <= result.demand[1, 100] < 440.0


@pytest.mark.parametrize("masked", [True, False])
def test_days_in_stock_throughout_keep_their_sales_and_are_known(masked: bool) -> None:
    rng = np.random.default_rng(0)
    sold = rng.poisson(3.0, (5, 60)).astype(np.float32)
    mask = np.zeros(sold.shape, dtype=np.int32) if masked else None
    panel = make_panel(sold, oos_mask=mask, promotion=rng.random(sold.shape) < 0.2)
    for which in REPLAYED:
        demand, known = replayed_demand(panel, which)
        np.testing.assert_array_equal(demand, sold)
        assert known.all()


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from([1, 7]), st.booleans(), st.sampled_from(["discrete", "continuous"]))
def test_recovered_demand_is_finite_and_never_below_sales(seed: int, days: int, masked: bool, quantity: str) -> None:
    rng = np.random.default_rng(seed)
    panel = random_panel(rng, 5, 50, period_days=days, quantity=quantity)
    if masked:
        drawn = rng.integers(-1, EVERY_HOUR + 1, panel.units_sold.shape).astype(np.int32)
        panel = replace(panel, oos_mask=np.where(rng.random(drawn.shape) < 0.5, 0, drawn))
    sales, known = replayed_demand(panel, "sales")
    demand, also = replayed_demand(panel, "recovered")
    np.testing.assert_array_equal(known, also)
    np.testing.assert_array_equal(sales, np.nan_to_num(panel.units_sold))
    assert np.isfinite(demand).all()
    assert (demand >= sales).all()
    assert not known[np.isnan(panel.units_sold)].any()
    np.testing.assert_array_equal(demand[~known], sales[~known])
    closed = (panel.open == 0) & np.isfinite(panel.units_sold)
    assert known[closed].all()
    np.testing.assert_array_equal(demand[closed], sales[closed])


def test_a_day_without_stock_gets_its_weekday_and_its_promotion() -> None:
    rng = np.random.default_rng(0)
    weekday = np.tile([1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 2.0], 12)
    promoted = rng.random((40, 84)) < 0.2
    wanted = rng.poisson(8.0 * weekday * np.where(promoted, 1.5, 1.0)).astype(np.float32)
    stock = np.where(rng.random(wanted.shape) < 0.1, 0.0, 1.0)
    panel = make_panel(wanted * stock, in_stock=stock, promotion=promoted, quantity="discrete")
    demand, known = replayed_demand(panel, "recovered")
    assert known.mean() > 0.99
    for day, share in ((0, 1.0), (5, 3.0)):
        for promotion in (0, 1):
            cells = known & (stock == 0) & (np.arange(84) % 7 == day) & (promoted == promotion)
            assert demand[cells].mean() == pytest.approx(8.0 * share * (1.5 if promotion else 1.0), rel=0.1)


def test_a_stock_out_that_nothing_near_tells_about_is_unknown() -> None:
    """Nor is a product wanted before it is first there; a missing row never was known."""
    sold, stock = np.full((1, 120), 5.0), np.ones((1, 120))
    sold[0, :10] = stock[0, :10] = 0.0  # not yet launched
    sold[0, 40:43] = stock[0, 40:43] = 0.0  # a few days
    sold[0, 60:100] = stock[0, 60:100] = 0.0  # very many
    sold[0, 110] = np.nan
    demand, known = replayed_demand(make_panel(sold, in_stock=stock), "recovered")
    np.testing.assert_allclose(demand[0, 40:43], 5.0, rtol=0.01)
    assert known[0, 10:60].all()
    assert not known[0, :10].any()
    assert not known[0, 75:85].any()
    assert not known[0, 110]


def test_a_series_hardly_in_stock_leans_on_its_category() -> None:
    """Why a series alone need not be recovered as it is among others."""
    stock = np.ones((21, 40))
    stock[20, 4:] = 0.0
    sold = np.where(stock > 0, np.repeat([4.0, 40.0], [10, 11])[:, None], 0.0)
    sold[20, :4] = 20.0
    slow, fast = ["a"] * 10 + ["b"] * 10 + ["a"], ["a"] * 10 + ["b"] * 11
    low, high = (recovered(make_panel(sold, in_stock=stock, items={"category": c})).rate[20, 6] for c in (slow, fast))
    assert 4 < low < 18
    assert 22 < high < 40


def test_the_order_of_the_series_changes_nothing() -> None:
    _, shelf = censored("loose", series=60)
    panel, order = shelf_panel(shelf), np.random.default_rng(0).permutation(60)
    one, other = recovered(panel), recovered(panel.take(order))
    np.testing.assert_allclose(other.demand, one.demand[order], rtol=1e-8)


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.integers(20, 48))
def test_causal_recovery_reads_nothing_ahead(seed: int, t: int) -> None:
    """Whatever happens after t, and it does change what hindsight says."""
    rng = np.random.default_rng(seed)
    _, shelf = censored("loose", seed=seed, series=12)
    panel = replace(shelf_panel(shelf), promotion=(rng.random(shelf.sales.shape) < 0.2).astype(np.float32))
    found = fit(panel)
    later = {}
    for name in ("units_sold", "in_stock", "promotion", "oos_mask"):
        column = getattr(panel, name).copy()
        column[:, t + 1 :] = rng.integers(0, 2, column[:, t + 1 :].shape)
        later[name] = column
    other = replace(panel, **later)
    one, two = (recover(p, found, causal=True) for p in (panel, other))
    for name, column in one._asdict().items():
        np.testing.assert_array_equal(column[:, : t + 1], getattr(two, name)[:, : t + 1], err_msg=name)
    hindsight, changed = (recover(p, found).demand[:, : t + 1] for p in (panel, other))
    assert not np.array_equal(hindsight, changed)


def test_causal_recovery_is_near_what_hindsight_says() -> None:
    demand, shelf = censored("loose")
    panel = shelf_panel(shelf)
    found = recover(panel, fit(panel), causal=True)
    settled = np.broadcast_to(np.arange(56) >= 28, demand.shape) & found.known
    assert abs(bias(found.demand[settled], demand[settled])) < 0.03


def test_nothing_is_read_from_where_the_reader_must_stop() -> None:
    _, shelf = censored("tight", series=20)
    panel = shelf_panel(shelf)
    later = {}
    for name in ("units_sold", "in_stock", "promotion", "oos_mask"):
        later[name] = getattr(panel, name).copy()
        later[name][:, 40:] = 1
    demand, known = replayed_demand(panel, "recovered", before=40)
    other, also = replayed_demand(replace(panel, **later), "recovered", before=40)
    np.testing.assert_array_equal(demand, other)
    np.testing.assert_array_equal(known, also)
    assert not known[:, 40:].any()
    assert not np.array_equal(demand[:, :40], replayed_demand(panel, "recovered")[0][:, :40])


def test_the_unit_of_measure_makes_no_difference() -> None:
    _, shelf = censored("loose", series=60)
    one, other = (recovered(shelf_panel(shelf, unit=unit, quantity="continuous")) for unit in (1.0, 0.125))
    np.testing.assert_allclose(other.demand, one.demand * 0.125, rtol=1e-6)
    np.testing.assert_allclose(other.exposure, one.exposure, rtol=1e-6)


def test_a_week_without_stock_gets_the_level_of_the_weeks_around_it() -> None:
    sold, stock = np.full((3, 40), 20.0), np.ones((3, 40))
    sold[:, 12] = stock[:, 12] = 0.0
    demand, known = replayed_demand(make_panel(sold, in_stock=stock, period_days=7, quantity="discrete"), "recovered")
    np.testing.assert_allclose(demand[:, 12], 20.0, rtol=0.02)
    assert known.all()


def test_an_hour_counts_for_what_sells_in_it() -> None:
    mask = np.array([[0, EVERY_HOUR, 1 << 8, (1 << 8) | (1 << 20), -1]], dtype=np.int32)
    exposure = hour_exposure(mask, PROFILE)[0]
    np.testing.assert_allclose(exposure[:4], [1, 0, 1 - PROFILE[8], 1 - PROFILE[8] - PROFILE[20]], atol=1e-12)
    panel = make_panel(np.ones((1, 5)), in_stock=0.25, oos_mask=mask)
    found = recover(panel, Fit(1.0, 5.0, PROFILE))
    assert found.exposure[0, 4] == 0.25  # the mask is unknown there


def test_only_the_two_words_are_understood() -> None:
    with pytest.raises(ValueError, match="which must be one of sales, recovered, got raw"):
        replayed_demand(make_panel(np.ones((1, 9))), "raw")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="level_days must be above 0, got 0"):
        RateParams(level_days=0)
