"""Drawn, slow and lumpy demand."""

from __future__ import annotations

import numpy as np

from simulator.panel import Panel
from training.drawn_demand import lumpy

END = 1035


def test_whole_units_where_sales_were_known_and_nothing_from_the_end_on(bakery: Panel) -> None:
    drawn = lumpy(bakery, END, np.random.default_rng(0))
    units = drawn.units_sold[:, :END]
    known = ~np.isnan(bakery.units_sold[:, :END])
    np.testing.assert_array_equal(~np.isnan(units), known)
    np.testing.assert_array_equal(units[known], np.round(units[known]))
    assert np.isnan(drawn.units_sold[:, END:]).all()
    assert (units[(bakery.open[:, :END] == 0) & known] == 0).all()
    assert drawn.discrete


def test_series_are_slow_and_their_sizes_spread(bakery: Panel) -> None:
    units = lumpy(bakery, END, np.random.default_rng(1)).units_sold[:, :END]
    quiet = np.nanmean(units == 0, axis=1)
    assert np.quantile(quiet, 0.1) < 0.5
    assert np.quantile(quiet, 0.9) > 0.85


def test_what_sells_more_in_truth_sells_more_in_the_draw(bakery: Panel) -> None:
    """The mean of many draws over the days of the week follows the chain's own."""
    rng = np.random.default_rng(2)
    days = slice(END - 364, END)
    real = np.nanmean((bakery.units_sold / np.nanmean(bakery.units_sold, axis=1, keepdims=True))[:, days], axis=0)
    draws = [lumpy(bakery, END, rng).units_sold[:, :END] for _ in range(20)]
    mean = np.mean([np.nanmean(one / np.nanmean(one, axis=1, keepdims=True), axis=0) for one in draws], axis=0)
    week = [np.nanmean(values.reshape(52, 7), axis=0) for values in (real, mean[days])]
    assert np.corrcoef(*week)[0, 1] > 0.9
