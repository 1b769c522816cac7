"""The estimators against pyfixest, against refits, and in experiments whose effect is known."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas
import pyfixest
import pytest
from pyfixest.demeaners import MapDemeaner
from scipy.stats import t as t_distribution

from orpr.experiment.effects import (
    absorbed,
    difference_in_differences,
    difference_of_means,
    event_study,
    on_the_treated,
)
from orpr.experiment.measures import Measured, measure, pooled_turnover, whole_locations
from orpr.experiment.placebo import detectable, permutation, placebo_start
from simulator.panel import F64, Bools
from tests.field import Field, field

SERIES, REPEATS, BEFORE, AFTER = 60, 400, 56, 28
TREATED = np.arange(SERIES) < SERIES // 2
LATE = np.arange(BEFORE + AFTER) >= BEFORE


@pytest.fixture(scope="module")
def fields() -> Field:
    """As many series as all repeats take; their mean effect is the truth."""
    return field(np.random.default_rng(5), SERIES * REPEATS, BEFORE, AFTER)


def repeats(fields: Field, *, effect: bool) -> F64:
    """(R, N, T) outcomes, with half of each repeat's series treated, or none."""
    shape = (REPEATS, SERIES, BEFORE + AFTER)
    old, new = fields.old.reshape(shape), fields.new.reshape(shape)
    return np.where((TREATED if effect else np.zeros(SERIES, dtype=bool))[None, :, None], new, old)


def by_bins(values: F64) -> F64:
    return values.reshape(len(values), -1, 7).mean(axis=2)


@pytest.fixture(scope="module")
def ragged() -> tuple[F64, Bools, Bools]:
    """(N, T) with gaps, (N,) treated, (T,) after."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(30, 20)).cumsum(axis=1) + rng.normal(size=(30, 1)) + rng.normal(size=20)
    values[rng.random(values.shape) < 0.2] = np.nan
    return values, np.arange(30) % 3 == 0, np.arange(20) >= 12


def fixest(formula: str, values: F64, treated: Bools, after: Bools, cluster: str = "series", **columns: Any) -> Any:
    known = np.isfinite(values)
    series, period = np.nonzero(known)
    table = pandas.DataFrame(
        {
            "y": values[known], "series": series, "period": period, "treated": treated[series].astype(float),
            "on": (treated[:, None] & after[None, :])[known].astype(float),
            **{name: column[known] for name, column in columns.items()},
        }
    )  # fmt: skip
    # its effects are taken out step by step, ours at once: by default it stops earlier than the tolerance below
    return pyfixest.feols(formula, table, vcov={"CRV1": cluster}, demeaner=MapDemeaner(fixef_tol=1e-13))


@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")  # pyfixest 0.60 under pandas 3.1
def test_difference_in_differences_and_its_clustered_error_are_those_of_pyfixest(
    ragged: tuple[F64, Bools, Bools],
) -> None:
    values, treated, after = ragged
    ours, theirs = difference_in_differences(*ragged), fixest("y ~ on | series + period", *ragged)
    low, high = theirs.confint().loc["on"]
    np.testing.assert_allclose(
        ours[:5], [theirs.coef()["on"], theirs.se()["on"], low, high, theirs.pvalue()["on"]], rtol=1e-7
    )
    assert (ours.clusters, ours.observations) == (30, int(np.isfinite(values).sum()))
    pair = np.arange(30) // 2
    wide = np.broadcast_to(pair[:, None], values.shape)
    theirs = fixest("y ~ on | series + period", *ragged, cluster="pair", pair=wide)
    ours = difference_in_differences(values, treated, after, clusters=pair)
    np.testing.assert_allclose(ours[:2], [theirs.coef()["on"], theirs.se()["on"]], rtol=1e-8)


@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")
def test_means_event_study_and_instrument_are_those_of_pyfixest(ragged: tuple[F64, Bools, Bools]) -> None:
    values, treated, after = ragged
    theirs = fixest("y ~ treated", *ragged)
    np.testing.assert_allclose(
        difference_of_means(values, treated)[:2], [theirs.coef()["treated"], theirs.se()["treated"]]
    )

    theirs = fixest("y ~ i(period, treated, ref=11) | series + period", *ragged)
    ours = event_study(values, treated, 11, np.arange(11))
    shown = [k for k in range(20) if k != 11]
    np.testing.assert_allclose(ours.effect[shown], theirs.coef().to_numpy(), rtol=1e-8)
    np.testing.assert_allclose(ours.high[shown], theirs.confint().iloc[:, 1].to_numpy(), rtol=1e-8)
    assert ours.effect[11] == 0.0

    exposed = treated ^ (np.arange(30) % 7 == 0)  # some of either group do not keep to it
    taken = (exposed[:, None] & after[None, :]).astype(float)
    theirs = fixest("y ~ 1 | series + period | taken ~ on", *ragged, taken=taken)
    found = on_the_treated(values, treated, exposed, after)
    np.testing.assert_allclose(found[:2], [theirs.coef()["taken"], theirs.se()["taken"]], rtol=1e-8)


def test_intervals_cover_the_planted_effect_as_often_as_they_say(fields: Field) -> None:
    truth = float((fields.new - fields.old)[:, LATE].mean())
    assert truth < -0.8  # days: there is something to find
    found = [difference_in_differences(values, TREATED, LATE) for values in repeats(fields, effect=True)]
    assert np.mean([one.effect for one in found]) == pytest.approx(truth, abs=0.03)
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert 0.92 <= covered <= 0.98
    assert np.mean([one.std_error for one in found]) == pytest.approx(np.std([one.effect for one in found]), rel=0.12)


def test_without_clusters_the_same_intervals_would_cover_far_less(fields: Field) -> None:
    truth = float((fields.new - fields.old)[:, LATE].mean())
    covered = []
    for values in repeats(fields, effect=True)[:100]:
        known = np.isfinite(values)
        outcome, design = absorbed(values, known), absorbed(TREATED[:, None] * LATE * 1.0, known)
        effect = (outcome * design).sum() / (design**2).sum()
        error = np.sqrt(((outcome - effect * design) ** 2).mean() / (design**2).sum())
        covered.append(abs(effect - truth) <= 1.96 * error)
    assert np.mean(covered) < 0.8


def test_leads_are_rejected_at_the_nominal_rate_without_a_trend_and_nearly_always_with_one(fields: Field) -> None:
    flat = [by_bins(values) for values in repeats(fields, effect=True)]
    leads = np.arange(7)
    p = np.array([event_study(values, TREATED, 7, leads).lead_p for values in flat])
    assert 0.02 <= (p < 0.05).mean() <= 0.085
    slope = 0.3 * np.arange(12) * TREATED[:, None]  # days a week
    p = np.array([event_study(values + slope, TREATED, 7, leads).lead_p for values in flat[:150]])
    assert (p < 0.05).mean() > 0.8


def test_many_leads_of_few_series_are_not_rejected_by_their_number() -> None:
    rng, treated, p = np.random.default_rng(0), np.arange(20) < 10, []
    for _ in range(400):
        values = 0.3 * rng.normal(size=(20, 9)).cumsum(axis=1) + rng.normal(size=(20, 9))
        p.append(event_study(values, treated, 7, np.arange(7)).lead_p)
    assert 0.01 <= np.mean(np.array(p) < 0.05) <= 0.08  # the plain Wald test rejects every fifth time


def test_a_made_up_start_shows_nothing_where_there_is_nothing_and_a_step_where_there_is_one(fields: Field) -> None:
    values = repeats(fields, effect=False)[:, :, :BEFORE]
    rejected = np.mean([placebo_start(one, TREATED, 28).p_value < 0.05 for one in values])
    assert 0.02 <= rejected <= 0.085
    step = TREATED[:, None] * (np.arange(BEFORE) >= 28) * 1.5
    assert np.mean([placebo_start(one + step, TREATED, 28).p_value < 0.05 for one in values[:50]]) > 0.8


def test_permutation_counts_what_a_refit_of_every_labelling_counts(ragged: tuple[F64, Bools, Bools]) -> None:
    values, _, after = ragged
    values = values[:8]
    pair = np.arange(8) // 2
    effects = []
    for swaps in product((False, True), repeat=4):
        treated = (np.arange(8) % 2 == 0) ^ np.array(swaps)[pair]
        effects.append(difference_in_differences(values, treated, after).effect)
    exact = np.mean(np.abs(effects) >= abs(effects[0]) * (1 - 1e-9))
    found = permutation(values, np.arange(8) % 2 == 0, after, pair, 4000, np.random.default_rng(0))
    assert found.p_value == pytest.approx(exact, abs=0.03)


def test_permutation_is_fair_without_an_effect_and_finds_a_large_one(fields: Field) -> None:
    rng, pair = np.random.default_rng(1), np.arange(SERIES) % 30
    none = [permutation(v, TREATED, LATE, pair, 99, rng).p_value for v in repeats(fields, effect=False)[:200]]
    assert 0.01 <= np.mean(np.array(none) <= 0.05) <= 0.10
    assert 0.42 <= np.mean(none) <= 0.58
    real = [permutation(v, TREATED, LATE, None, 99, rng).p_value for v in repeats(fields, effect=True)[:30]]
    assert np.mean(np.array(real) <= 0.05) > 0.8


def test_the_detectable_effect_is_found_four_times_in_five(fields: Field) -> None:
    found = 0
    values = repeats(fields, effect=False)[:200]
    for one in values:
        planted = detectable(one, TREATED, AFTER, 1).effect
        found += difference_in_differences(one + planted * TREATED[:, None] * LATE, TREATED, LATE).p_value < 0.05
    assert 0.70 <= found / len(values) <= 0.90  # demand that wanders spreads a little after what the past shows
    with pytest.raises(ValueError, match="60 days of experiment need 120 days of history for their power, got 84"):
        detectable(values[0], TREATED, 60, 1)


def test_half_taken_treatment_is_scaled_up_to_those_who_took_it(fields: Field) -> None:
    truth = float((fields.new - fields.old)[:, LATE].mean())
    old, new = (part.reshape(REPEATS, SERIES, -1) for part in (fields.old, fields.new))
    exposed = TREATED & (np.arange(SERIES) % 2 == 0)
    values = np.where(exposed[None, :, None], new, old)[:200]
    found = [on_the_treated(one, TREATED, exposed, LATE) for one in values]
    assert np.mean([one.effect for one in found]) == pytest.approx(truth, abs=0.06)
    assert 0.90 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.99
    assigned = np.mean([difference_in_differences(one, TREATED, LATE).effect for one in values])
    assert assigned == pytest.approx(truth / 2, abs=0.06)
    with pytest.raises(ValueError, match="as many control as treated"):
        on_the_treated(values[0], TREATED, np.ones(SERIES, dtype=bool), LATE)


def test_a_series_without_observations_on_one_side_goes_with_its_pair(fields: Field) -> None:
    values = repeats(fields, effect=True)[0].copy()
    values[3, BEFORE:] = np.nan
    values[40, 5] = np.nan  # one gap is no reason
    pair = np.arange(SERIES) % 30
    rng = np.random.default_rng(0)
    found = measure(
        Measured(values, TREATED, pair, BEFORE), bin_periods=7, gap=0, permutations=19, rng=rng, exposed=None
    )
    assert (found["series"], found["left_out"]) == (SERIES - 2, 2)
    rest = np.setdiff1d(np.arange(SERIES), [3, 33])
    assert found["did"]["effect"] == difference_in_differences(values[rest], TREATED[rest], LATE).effect
    assert found["means"]["treated"]["before"] == pytest.approx(np.nanmean(values[rest][TREATED[rest], :BEFORE]))


def test_bins_that_a_group_was_not_seen_in_are_left_out_of_the_event_study(fields: Field) -> None:
    values = repeats(fields, effect=True)[0].copy()
    values[:, :21] = np.nan  # stock was counted from the fourth week on
    values[TREATED, 28:35] = np.nan
    values[:, BEFORE + 14 : BEFORE + 21] = np.nan
    rng = np.random.default_rng(0)
    study = measure(
        Measured(values, TREATED, None, BEFORE), bin_periods=7, gap=5, permutations=19, rng=rng, exposed=None
    )["event_study"]  # fmt: skip
    assert study["offsets"] == [-35, -21, -14, -7, 5, 12, 26]
    assert study["before"] == 4
    assert study["lead_degrees"] == (3, SERIES - 4)
    assert study["control"][-1] == pytest.approx(values[~TREATED, BEFORE + 21 :].mean())
    assert study["effect"][4] == pytest.approx(
        (values[TREATED, 56:63].mean() - values[~TREATED, 56:63].mean())
        - (values[TREATED, 49:56].mean() - values[~TREATED, 49:56].mean()), abs=0.1,
    )  # fmt: skip


def test_few_series_or_a_constant_outcome_are_refused_in_words() -> None:
    values = np.random.default_rng(0).normal(size=(3, 10))
    with pytest.raises(ValueError, match="1 treated series can be measured, at least 2"):
        difference_in_differences(values, np.array([True, False, False]), np.arange(10) > 5)
    rng = np.random.default_rng(0)
    flat = Measured(np.ones((8, 20)), np.arange(8) < 4, None, 10)
    with pytest.raises(ValueError, match="the same for every series"):
        measure(flat, bin_periods=2, gap=0, permutations=9, rng=rng, exposed=None)


def test_more_leads_than_series_can_bear_give_no_test() -> None:
    values = np.random.default_rng(0).normal(size=(6, 12))
    assert np.isnan(event_study(values, np.arange(6) < 3, 9, np.arange(9)).lead_p)


def test_pooled_turnover_is_stock_over_sales_of_the_phase_and_its_interval_covers(fields: Field) -> None:
    stock, sales = np.array([[4.0, 2.0], [8.0, 8.0], [6.0, 6.0], [2.0, 2.0]]), np.array([[2.0, 2.0], [1.0, 3.0]] * 2)
    treated, rng = np.array([True, False, True, False]), np.random.default_rng(0)
    found = pooled_turnover(stock, sales, treated, None, 1, rng)
    assert (found["treated_before"], found["control_before"]) == (10 / 4, 10 / 2)
    assert (found["treated_after"], found["control_after"]) == (8 / 4, 10 / 6)
    assert found["did"]["effect"] == pytest.approx((2 - 2.5) - (10 / 6 - 5))
    assert found["difference_after_relative"] == pytest.approx(2 / (10 / 6) - 1)
    truth = float((fields.new - fields.old)[:, LATE].mean())
    ones = np.ones((SERIES, BEFORE + AFTER))
    covered = [
        found["did"]["low"] <= truth <= found["did"]["high"]
        for values in repeats(fields, effect=True)[:150]
        for found in [pooled_turnover(values, ones, TREATED, None, BEFORE, rng)]
    ]
    assert 0.88 <= np.mean(covered) <= 0.99


def test_intervals_widen_with_fewer_clusters(ragged: tuple[F64, Bools, Bools]) -> None:
    values, treated, after = ragged
    found = difference_in_differences(values, treated, after, clusters=np.arange(30) // 6)
    assert found.clusters == 5
    assert found.high - found.effect == pytest.approx(t_distribution.ppf(0.975, 4) * found.std_error)


def test_where_whole_locations_are_treated_their_bad_weeks_are_no_effect() -> None:
    """Twenty locations of ten series and no effect at all: by series a third of such experiments would find one."""
    rng, location = np.random.default_rng(3), np.repeat(np.arange(20), 10)
    treated, after = location < 10, np.arange(12) >= 6
    found, by_series, drawn, pooled, leads, power = [], [], [], [], [], []
    for _ in range(300):
        phase = rng.normal(size=(20, 2)).repeat(6, axis=1)  # how a location does before and after
        values = 5 + rng.normal(size=(200, 12)) + 0.4 * phase[location]
        outcome = Measured(values, treated, None, 6, location)
        told = measure(outcome, bin_periods=2, gap=0, permutations=49, rng=rng, exposed=None)
        assert told["clustered_by"] == "location"
        found.append(told["did"]["p_value"] < 0.05)
        drawn.append(told["permutation"]["p_value"] <= 0.05)
        leads.append(told["event_study"]["lead_p"] < 0.05)
        by_series.append(difference_in_differences(values, treated, after).p_value < 0.05)
        interval = pooled_turnover(values, np.ones((200, 12)), treated, None, 6, rng, clusters=outcome.clusters)["did"]
        pooled.append(not interval["low"] <= 0 <= interval["high"])
        power.append(detectable(values, treated, 3, 1, clusters=location).clusters)
    assert np.mean(by_series) > 0.25
    assert max(np.mean(found), np.mean(drawn), np.mean(leads)) <= 0.085
    assert np.mean(pooled) <= 0.12  # twenty are few for a bootstrap
    assert set(power) == {20}


def test_series_count_for_themselves_where_a_location_has_both_groups() -> None:
    location = np.array([0, 0, 1, 1])
    assert whole_locations(np.array([True, False, True, False]), location) is None
    assert whole_locations(np.array([True, True, False, False]), location) is location
    assert whole_locations(np.array([True, True, False, False]), np.arange(4)) is None  # as many clusters as series
    values = np.random.default_rng(0).normal(size=(4, 8))
    one_each = Measured(values, np.array([True, True, False, False]), None, 4, location)
    with pytest.raises(
        ValueError, match="all treated series lie in 1 cluster, such as a location, at least 2 are needed"
    ):
        measure(one_each, bin_periods=2, gap=0, permutations=9, rng=np.random.default_rng(0), exposed=None)
