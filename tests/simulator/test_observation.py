"""What a policy may see. The first test is the one that everything else relies on: nothing peeks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.baselines import demand_quantile, incumbent, pto_gamma, pto_normal
from simulator.observation import (
    CODES,
    FIELDS,
    HISTORY_FIELDS,
    ObservationSpec,
    Observer,
    field_shape,
    hash_bucket,
    panel_rates,
    rate_sources,
    visible,
)
from simulator.panel import Panel
from simulator.rollout import opening_stock
from simulator.schedule import review_schedule
from simulator.step import State
from tests.panels import make_panel, random_panel

SEEDS = st.integers(0, 2**32 - 1)
AHEAD = 9  # days for which promotions are known
PRICE_AHEAD = 4
NEVER = ("units_sold", "in_stock")
CALENDAR = ("open", "holiday", "school_holiday")
HISTORY = (*NEVER, "price", "promotion", *CALENDAR)


def known_ahead_panel(seed: int, **columns: object) -> Panel:
    return random_panel(
        np.random.default_rng(seed), promotion_known_ahead_days=AHEAD, price_known_ahead_days=PRICE_AHEAD, **columns
    )


def rewritten(panel: Panel, t: int, rng: np.random.Generator) -> Panel:
    """The panel with everything that FORMAT.md forbids at the end of `t` replaced, some of it by unknown."""
    first = dict.fromkeys(NEVER, t + 1)
    first |= {
        "price": t + 1 + PRICE_AHEAD // panel.period_days, "promotion": t + 1 + AHEAD // panel.period_days,
    }  # fmt: skip
    changed = {}
    for name, start in first.items():
        column = getattr(panel, name).copy()
        drawn = rng.uniform(0, 1, column.shape) if name == "in_stock" else rng.integers(0, 2, column.shape) * 1.0
        drawn = np.where(rng.random(column.shape) < 0.3, np.nan, drawn * (50 if name == "units_sold" else 1))
        column[:, start:] = drawn[:, start:]
        changed[name] = column
    return replace(panel, on_hand=rng.uniform(0, 9, panel.series_count), **changed)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(0, 100), st.sampled_from([1, 7]))
def test_changing_what_may_not_be_read_changes_nothing_at_t(seed: int, t: int, days: int) -> None:
    panel = known_ahead_panel(seed, period_days=days)
    other = rewritten(panel, t, np.random.default_rng(seed + 1))
    spec, rows = ObservationSpec(days), np.arange(panel.series_count)
    at = np.full(len(rows), t)
    for name, column in visible(panel, rows, at, spec).items():
        np.testing.assert_array_equal(column, visible(other, rows, at, spec)[name], err_msg=name)
    for name, column in Observer(panel, spec).observe(rows, at).items():
        np.testing.assert_array_equal(column, Observer(other, spec).observe(rows, at)[name], err_msg=name)
    rates, theirs = panel_rates(panel), panel_rates(other)
    for name, column in rates._asdict().items():
        np.testing.assert_array_equal(column[:, : t + 1], getattr(theirs, name)[:, : t + 1], err_msg=name)
    assert rate_sources(panel, rates, t) == rate_sources(other, theirs, t)
    decided = range(max(t - 2, 0), t + 1)
    for rule in (
        lambda p: pto_normal(p, decided, 14), lambda p: pto_gamma(p, decided, 28), lambda p: incumbent(p, decided),
        lambda p: demand_quantile(p, decided, 0.85, 28), lambda p: opening_stock(p, t + 1),
        lambda p: review_schedule(p, decided).due,
    ):  # fmt: skip
        np.testing.assert_array_equal(rule(panel), rule(other))


@pytest.mark.parametrize(
    ("name", "last"), [("promotion", AHEAD), ("price", PRICE_AHEAD), ("open", 91), ("holiday", 91), ("units_sold", 0)]
)
def test_what_may_be_read_ahead_is_seen_to_the_last_day_and_no_further(name: str, last: int) -> None:
    """The other half of no peeking: what the format allows must really arrive."""
    t, spec = 20, ObservationSpec(1)
    panel = known_ahead_panel(0, promotion=0.0)
    rows, at = np.array([1]), np.array([t])
    before = Observer(panel, spec).observe(rows, at)[name]
    for offset in (0, 1, last, last + 1):
        column = getattr(panel, name).copy()
        if t + offset >= panel.period_count:
            continue
        column[1, t + offset] = 7.0
        after = Observer(replace(panel, **{name: column}), spec).observe(rows, at)[name]
        changed = np.flatnonzero(~((before == after) | (np.isnan(before) & np.isnan(after))).ravel())
        assert changed.tolist() == ([spec.history - 1 + offset] if offset <= last else [])


def test_what_is_known_ahead_in_days_is_rounded_down_to_whole_weeks() -> None:
    panel = known_ahead_panel(0, period_days=7, promotion=1.0, price=2.0)
    spec = ObservationSpec(7)
    seen = visible(panel, np.array([1]), np.array([20]), spec)
    assert np.isfinite(seen["promotion"][0, spec.history :]).sum() == 1  # nine days hold one whole week
    assert np.isfinite(seen["price"][0, spec.history :]).sum() == 0


@pytest.mark.parametrize("days", [1, 7])
def test_an_observation_has_the_fields_shapes_and_types_of_the_contract(days: int) -> None:
    panel, spec = random_panel(np.random.default_rng(0), period_days=days), ObservationSpec(days)
    observation = Observer(panel, spec).observe(np.array([0, 2, 2]), np.array([5, 5, 119]))
    assert list(observation) == [field.name for field in FIELDS]
    for field in FIELDS:
        assert observation[field.name].shape == (3, *field_shape(field, spec)), field.name
        assert observation[field.name].dtype == field.dtype, field.name


def test_history_ends_at_as_of_and_is_padded_in_front() -> None:
    panel, spec = make_panel(np.arange(10.0)[None, :]), ObservationSpec(1)
    observation = Observer(panel, spec).observe(np.array([0]), np.array([4]))
    assert observation["units_sold"][0, -5:].tolist() == [0, 1, 2, 3, 4]
    assert np.isnan(observation["units_sold"][0, :-5]).all()
    assert observation["as_of_day"][0] == panel.start_day + 4


def test_the_observation_of_a_series_does_not_depend_on_how_much_older_history_there_is() -> None:
    """A store that keeps a year and one that keeps three get the same answer; so do the files and the store."""
    panel = random_panel(np.random.default_rng(1), 5, 800)
    panel = replace(panel, units_sold=np.nan_to_num(panel.units_sold))
    names = ("units_sold", "in_stock", "price", "promotion", "open", "holiday", "school_holiday")
    dropped = 800 - 366
    short = replace(
        panel,
        start=panel.start + timedelta(days=dropped),
        **{name: getattr(panel, name)[:, dropped:] for name in names},
    )
    rows, spec = np.arange(5), ObservationSpec(1)
    whole = Observer(panel, spec).observe(rows, np.full(5, 799))
    part = Observer(short, spec).observe(rows, np.full(5, 365))
    for name, column in whole.items():
        np.testing.assert_allclose(column, part[name], rtol=1e-6, err_msg=name)


def test_the_order_of_series_in_a_request_changes_no_observation() -> None:
    panel, spec = random_panel(np.random.default_rng(3)), ObservationSpec(1)
    observer = Observer(panel, spec)
    rows, at = np.array([4, 0, 2]), np.array([90, 30, 60])
    together = observer.observe(rows, at)
    for k in range(3):
        for name, column in observer.observe(rows[[k]], at[[k]]).items():
            np.testing.assert_array_equal(column[0], together[name][k], err_msg=name)


def test_hash_buckets_never_move() -> None:
    """A trained embedding is worth nothing if the next release hashes elsewhere."""
    texts = ("", "roggenbrot", "item_id=i0", "é")
    assert [hash_bucket(text, 1024) for text in texts] == [0, 779, 615, 298]
    assert min(hash_bucket(str(n), 8) for n in range(200)) >= 1
    assert max(hash_bucket(str(n), 8) for n in range(200)) == 7


def test_names_and_codes_are_hashed_by_word_and_by_column() -> None:
    panel = make_panel(
        np.ones((2, 3)), items={"name": ["Rye  BREAD large", ""], "category": "bread", "region": ["bread", ""]}
    )
    observation = Observer(panel, ObservationSpec(1)).observe(np.array([0, 1]), np.array([2, 2]))
    words = [hash_bucket(word, 1024) for word in ("rye", "bread", "large")]
    assert observation["name_tokens"][0].tolist() == [*words, 0, 0, 0, 0, 0]
    assert not observation["name_tokens"][1].any()
    codes = dict(zip(CODES, observation["codes"][0].tolist(), strict=True))
    assert codes["category"] == hash_bucket("category=bread", 1024)
    assert codes["region"] == hash_bucket("region=bread", 1024)
    assert codes["parent_category"] == 0
    assert codes["category"] != codes["region"]


def test_a_policy_for_another_period_is_refused() -> None:
    with pytest.raises(ValueError, match="the policy's period_days is 7, the dataset's is 1"):
        Observer(make_panel(np.ones((1, 3))), ObservationSpec(7))
    with pytest.raises(ValueError, match="period_days must be 1 or 7, got 2"):
        ObservationSpec(2)


def test_before_the_panel_begins_nothing_is_known_of_anything(bakery: Panel) -> None:
    """The peers' mean of period 0 must not leak into a day before it."""
    observation = Observer(bakery, ObservationSpec(1)).observe(np.arange(3), np.full(3, -5))
    assert np.isnan(observation["prior_daily_rate"]).all()
    assert (observation["sales_share"] == 0).all()
    assert np.isnan(observation["units_sold"]).all()


def test_stock_stands_in_its_own_fields_and_what_arrives_late_in_the_last_period() -> None:
    panel, spec = random_panel(np.random.default_rng(5)), ObservationSpec(1)
    pipeline = np.zeros((3, spec.horizon + 5))
    pipeline[0, [0, 90, 92, 95]] = [1.0, 2.0, 4.0, 8.0]
    pipeline[2, 3] = 5.0
    state = State(np.array([7.0, 0.0, np.nan]), pipeline)
    observation = Observer(panel, spec).observe(np.arange(3), np.full(3, 60), state)
    assert observation["on_hand"][:2].tolist() == [7.0, 0.0]
    assert observation["on_order"][0, [0, 89, 90]].tolist() == [1.0, 0.0, 14.0]
    assert not observation["on_order"][1].any()
    assert np.isnan(observation["on_order"][2]).all()  # nothing is told of a series whose stock is unknown
    blind = Observer(panel, spec).observe(np.arange(3), np.full(3, 60))
    assert np.isnan(blind["on_hand"]).all()
    for field in HISTORY_FIELDS:
        np.testing.assert_array_equal(observation[field.name], blind[field.name])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), t=st.integers(-400, 700), days=st.sampled_from([1, 7]))
def test_one_day_of_many_series_is_read_as_many_days_are(seed: int, t: int, days: int) -> None:
    panel = known_ahead_panel(seed, periods=300, period_days=days)
    rows, spec = np.array([1, 0, 1]), ObservationSpec(days)
    together = visible(panel, rows, np.full(3, t), spec)
    mixed = visible(panel, np.r_[rows, 0], np.array([t, t, t, t + 1]), spec)
    for name, column in together.items():
        np.testing.assert_array_equal(column, mixed[name][:3], err_msg=name)
