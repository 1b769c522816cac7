"""What is watched for drift: counted by hand, and how far two histograms lie apart."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from simulator.histograms import ACTION, NEEDED, WATCHED, Histograms, as_told, counted, psi, read_told, watched_values
from simulator.observation import ObservationSpec, Observer
from simulator.panel import Panel
from simulator.step import State

SPEC = ObservationSpec(1)


def test_a_bin_holds_from_its_edge_to_below_the_next_and_unknown_stands_last() -> None:
    found = counted(np.array([-1.0, 0.0, 0.5, 1.0, 1.0, 7.0, np.nan]), np.array([0.0, 1.0, 2.0]))
    assert found.tolist() == [1, 2, 2, 1, 1]


def test_psi_is_nothing_for_the_same_shares_and_grows_with_what_moves() -> None:
    base = np.array([100, 200, 700])
    assert psi(base, base) == 0
    assert psi(base, base * 1000) == pytest.approx(0, abs=1e-3)
    nearer, further = psi(base, np.array([150, 200, 650])), psi(base, np.array([500, 300, 200]))
    assert 0 < nearer < 0.1
    assert 0.25 < further < np.inf
    assert psi(base, np.array([0, 0, 1000])) < np.inf


def test_psi_by_hand() -> None:
    """Half a decision in each of the two bins besides: shares of 2/3 and 1/3 against 1/3 and 2/3."""
    assert psi(np.array([1.5, 0.5]), np.array([0.5, 1.5])) == pytest.approx(2 / 3 * np.log(2))


def test_watched_values_of_the_bakery_are_what_its_panel_says(bakery: Panel) -> None:
    rows, t = np.array([0, 40, 83]), 900
    observer = Observer(bakery, SPEC)
    seen = observer.observe(rows, np.full(3, t), State(np.array([0.0, 30.0, 50.0]), np.array([[6.0, 4.0]] * 3)))
    rate = observer.rates.daily_rate[rows, t].astype(np.float32)
    needed = {name: seen[name] for name in NEEDED}
    ahead = np.repeat(rate[:, None, None], SPEC.horizon, axis=1).repeat(5, axis=2) * np.float32(2)
    found = watched_values(needed, SPEC, np.float32([1, 2, 3]), rate, ahead)
    assert list(found) == [one.name for one in WATCHED]
    assert all(value.shape == (3,) for value in found.values())
    sold = bakery.units_sold[rows, t - 27 : t + 1]
    np.testing.assert_allclose(found["daily_sales"], np.nanmean(sold, axis=1), rtol=1e-6)
    quarter = bakery.units_sold[rows, t - 90 : t + 1]
    np.testing.assert_allclose(found["zero_share"], (quarter == 0).sum(axis=1) / np.isfinite(quarter).sum(axis=1))
    np.testing.assert_allclose(found["days_of_cover"], (np.array([0, 30, 50]) + 10) / rate, rtol=1e-6)
    np.testing.assert_allclose(found["forecast_change"], 2, rtol=1e-6)
    items = bakery.items
    lost, holding = items.lost_sale_cost[rows], items.holding_cost_per_day[rows] * seen["review_period_days"]
    np.testing.assert_allclose(found["critical_ratio"], lost / (lost + holding), rtol=1e-6)
    assert found[ACTION.name].tolist() == [1, 2, 3]


def test_what_is_unknown_is_unknown_and_nothing_warns(bakery: Panel) -> None:
    observer = Observer(bakery, SPEC)
    seen = observer.observe(np.array([0]), np.array([-5]))  # before anything was recorded, without stock
    none = np.zeros(1, dtype=np.float32)
    found = watched_values(seen, SPEC, none, none, np.zeros((1, SPEC.horizon, 5), dtype=np.float32))
    unknown = {name for name, value in found.items() if np.isnan(value[0])}
    assert unknown >= {"daily_sales", "sales_change", "zero_share", "days_of_cover", "forecast_change"}


def frozen() -> Histograms:
    edges = {one.name: np.array(one.edges, dtype=float) for one in WATCHED}
    return Histograms(edges, {name: np.arange(len(found) + 2.0) for name, found in edges.items()})


def test_histograms_come_back_from_json_as_they_were() -> None:
    again = read_told(json.loads(json.dumps(as_told(frozen()))))
    for one in WATCHED:
        np.testing.assert_array_equal(again.edges[one.name], one.edges)
        np.testing.assert_array_equal(again.counts[one.name], frozen().counts[one.name])


@pytest.mark.parametrize(
    "change",
    [{"edges": [2, 1]}, {"edges": []}, {"edges": "1"}, {"counts": [1, 2]}, {"counts": None}, {"unknown": None},
     {"unknown": -1}, {"unknown": float("nan")}, {"unknown": 10**400}, {"unknown": True}, {"counts": [[1]]}],
)  # fmt: skip
def test_what_is_no_histogram_is_refused(change: dict[str, Any]) -> None:
    told: dict[str, Any] = json.loads(json.dumps(as_told(frozen())))
    told["lead_time_days"] |= change
    with pytest.raises(ValueError, match=r"lead_time_days|numbers|finite"):
        read_told(told)


@pytest.mark.parametrize("told", [None, [], {}, {"lead_time_days": []}])
def test_a_file_that_lacks_one_is_refused(told: object) -> None:
    with pytest.raises(ValueError, match="there is no histogram of daily_sales"):
        read_told(told)
