"""Policies from anywhere: what a Python function sees, what it may answer, and how its name is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orpr.policies import contenders_of, load_policy
from simulator.observation import FIELDS, ObservationSpec, Observer
from simulator.panel import F64, Panel
from simulator.schedule import review_schedule
from simulator.step import State
from tests.conftest import CHAMPION
from training.methods import replay_of

ROWS = np.array([3, 0, 5])
T = 1100


@pytest.fixture
def observer(bakery: Panel) -> Observer:
    return Observer(bakery.take(np.arange(8)), ObservationSpec())


def written(folder: Path, body: str) -> str:
    """A policy file whose function `decide` has this body."""
    lines = "\n    ".join(body.splitlines())
    (folder / "mine.py").write_text(f"import numpy as np\nseen_by_it = []\n\ndef decide(seen):\n    {lines}\n")
    return f"{folder}/mine.py:decide"


def target_of(spec: str, observer: Observer, rows: np.ndarray = ROWS) -> F64:
    contender = contenders_of(load_policy(spec, 1))[0]
    state = State(np.full(len(rows), 7.0), np.full((len(rows), 2), 2.5))
    return contender.decide(observer, rows, T, state)


def test_a_function_sees_what_may_be_seen_and_nothing_after_the_day(tmp_path: Path, observer: Observer) -> None:
    spec = written(tmp_path, "seen_by_it.append(seen)\nreturn {'target_stock': np.arange(3.0)}")
    contender = contenders_of(load_policy(spec, 1))[0]
    contender.decide(
        observer, ROWS, T, State(np.array([1.0, 2.0, 3.0]), np.array([[4.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
    )
    seen: dict[str, Any] = contender_globals(contender)["seen_by_it"][0]
    assert set(seen) == {field.name for field in FIELDS} | {"item_id", "location_id"}
    panel = observer.panel
    assert seen["item_id"].tolist() == panel.items.item_id[ROWS].tolist()
    assert (seen["on_hand"].tolist(), seen["on_order"].sum(axis=1).tolist()) == ([1, 2, 3], [4, 0, 2])
    assert seen["on_order"][:, :2].tolist() == [[4, 0], [0, 0], [1, 1]]
    assert seen["units_sold"][:, -1] == pytest.approx(panel.units_sold[ROWS, T])
    assert seen["units_sold"].shape == (3, 364)
    assert np.isnan(seen["price"][:, 364:]).all()
    assert np.isnan(seen["promotion"][:, 364 + 28 :]).all()


def contender_globals(contender: Any) -> dict[str, Any]:
    """The globals of the module that a contender's function was read from."""
    function = next(c.cell_contents for c in contender.decide.__closure__ if callable(c.cell_contents))
    found: dict[str, Any] = function.__globals__
    return found


def test_days_times_our_rate_or_the_given_one_or_the_target_itself(tmp_path: Path, observer: Observer) -> None:
    rate = observer.rates.daily_rate[ROWS, T]
    assert target_of(written(tmp_path, "return {'inventory_days': [1, 2, 3]}"), observer) == pytest.approx(
        rate * [1, 2, 3]
    )
    given = written(tmp_path, "return {'inventory_days': [1, 2, 3], 'daily_rate': [10, 10, 0]}")
    assert target_of(given, observer).tolist() == [10, 20, 0]
    both = written(tmp_path, "return {'inventory_days': [1, 2, 3], 'target_stock': np.array([5, 6, 7])}")
    assert target_of(both, observer).tolist() == [5, 6, 7]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return {'inventory_days': [1, 2]}", r"inventory_days must have shape \(3,\), got \(2,\)"),
        ("return {'inventory_days': 4.0}", r"inventory_days must have shape \(3,\), got \(\)"),
        ("return {'target_stock': [1, np.nan, 3]}", r"target_stock must be finite and at least 0, got nan for \w+@\w+"),
        ("return {'inventory_days': [1, 2, -0.5]}", "inventory_days must be finite and at least 0, got -0.5"),
        ("return {'inventory_days': [1, 2, 3], 'daily_rate': [1, np.inf, 1]}", "daily_rate must be finite"),
        ("return {'inventory_days': ['a', 'b', 'c']}", "inventory_days must be numbers"),
        ("return {'inventory_days': [1, 2, 3], 'qty': [1, 2, 3]}", "the answer may hold .*, got qty"),
        ("return {'daily_rate': [1, 2, 3]}", "a dict with inventory_days or target_stock"),
        ("return [1, 2, 3]", "a dict with inventory_days or target_stock"),
        ("return None", "a dict with inventory_days or target_stock"),
    ],
)
def test_a_bad_answer_is_one_line_that_names_policy_day_and_field(
    tmp_path: Path, observer: Observer, body: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        target_of(written(tmp_path, body), observer)
    assert "mine.py:decide on 2019-01-06" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_inside_the_function_names_the_day(tmp_path: Path, observer: Observer) -> None:
    with pytest.raises(RuntimeError, match=r"mine.py:decide failed on 2019-01-06: KeyError: 'tomorrow'"):
        target_of(written(tmp_path, "return seen['tomorrow']"), observer)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("nowhere.py:decide", "nowhere.py cannot be imported .*no such file"),
        ("no.such.module:decide", "no.such.module cannot be imported"),
        ("math:decide", "math has no function 'decide'"),
        ("math:pi", "math has no function 'pi'"),
    ],
)
def test_a_function_that_is_not_there_is_refused(spec: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load_policy(spec, 1)


def test_rows_are_named_by_the_user_else_by_what_they_are(tmp_path: Path) -> None:
    spec = written(tmp_path, "return {}")
    assert load_policy("champion", 1)[:2] == ("DL", CHAMPION)
    assert load_policy("DL+RL=champion", 1)[:2] == ("DL+RL", CHAMPION)
    assert load_policy(spec, 1)[:2] == ("mine.py:decide", spec)
    assert load_policy(f"mine={spec}", 1)[:2] == ("mine", spec)
    assert load_policy("http://127.0.0.1:1/?a=b", 1).row == "http://127.0.0.1:1"


def test_a_bundle_answers_as_its_graph_does_and_brings_the_base_stock_on_its_forecast(observer: Observer) -> None:
    own, on_forecast = contenders_of(load_policy("champion", 1))
    assert (own.row, on_forecast.row) == ("DL", "PTO gamma, DL forecast")
    state = State(np.zeros(3), np.zeros((3, 2)))
    policy = load_policy("champion", 1).loaded
    answer = policy.answer(observer.observe(ROWS, np.full(3, T), state))  # type: ignore[union-attr]
    assert own.decide(observer, ROWS, T, state) == pytest.approx(answer.inventory_days * answer.daily_rate)
    middle = answer.forecast[:, :, 2]
    interval = review_schedule(observer.panel, range(T, T + 1)).protection[ROWS, 0]
    expected = [middle[n, : interval[n]].sum() for n in range(3)]
    ratio = on_forecast.decide(observer, ROWS, T, state) / expected
    assert ((ratio > 1.0) & (ratio < 2.5)).all()


def test_the_stock_that_a_function_sees_is_the_replay_s(tmp_path: Path, bakery: Panel) -> None:
    """A rule that orders only on an empty shelf sells less than one that looks at nothing."""
    from training.backtest import replay_contender

    replay = replay_of(bakery.take(np.arange(4)), range(1100, 1150))
    observer = Observer(replay.panel, ObservationSpec(), replay.rates)
    steady = contenders_of(
        load_policy(written(tmp_path, "return {'target_stock': np.full(len(seen['on_hand']), 500.0)}"), 1)
    )[0]
    record, targets = replay_contender(replay, observer, steady.decide)
    assert (targets[replay.world.review_due] == 500).all()
    assert (targets[~replay.world.review_due] == 0).all()
    waiting = "return {'target_stock': np.where(seen['on_hand'] + seen['on_order'].sum(axis=1) < 1, 500.0, 0.0)}"
    late = contenders_of(load_policy(written(tmp_path, waiting), 1))[0]
    other, _ = replay_contender(replay, observer, late.decide)
    assert other.sales.sum() < 0.8 * record.sales.sum()
