"""The numbers behind the figures, on a world made so that one knows them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simulator.panel import F64
from simulator.rollout import Trajectory
from tests.panels import make_panel
from training.backtest import Backtest
from training.figures import (
    EPOCH_LABEL,
    around_promotions,
    cycles_over_the_year,
    days_by_segment,
    epoch_days,
    implied_days,
)
from training.methods import OR_LABEL, Replay, replay_of
from training.one_series import DRAWN, of_backtest, one_series
from training.segments import segments_of

DAYS, START, PROMOTED = 400, 300, slice(340, 347)
PTO = "PTO gamma 28"


@pytest.fixture(scope="module")
def promoted() -> Replay:
    """Two series that sell 10 a day and 20 in a week of promotion inside the window; orders daily, lead time 2."""
    sold = np.full((2, DAYS), 10.0)
    promotion = np.zeros((2, DAYS))
    sold[:, PROMOTED], promotion[:, PROMOTED] = 20.0, 1.0
    items: dict[str, Any] = {"lead_time_days": 2, "review_period_days": 1, "unit_price": 1.0}
    return replay_of(make_panel(sold, promotion=promotion, items=items), range(START, DAYS))


def told(replay: Replay, **targets: F64) -> Backtest:
    """A backtest of which the figures need only the targets."""
    shape = replay.world.demand.shape
    filled = {name: np.broadcast_to(target, shape) for name, target in targets.items()}
    return Backtest(
        replay=replay, windows=[replay.periods], segments=segments_of(replay.panel, replay.periods.start), best_pto=PTO, policy="DL", rows=[],
        totals={}, targets=filled, runs={}, seed=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def result(promoted: Replay) -> Backtest:
    return told(promoted, **{"DL": np.array([[30.0], [50.0]]), PTO: np.array([[40.0]]), OR_LABEL: np.array([[20.0]])})


def test_days_are_targets_over_the_daily_rate_where_an_order_is_due(result: Backtest) -> None:
    days = implied_days(result, "DL")
    assert days[:, :30] == pytest.approx(np.broadcast_to([[3.0], [5.0]], (2, 30)))


def test_nothing_is_implied_where_no_order_is_due() -> None:
    items: dict[str, Any] = {"lead_time_days": 1, "review_period_days": 4}
    replay = replay_of(make_panel(np.full((1, 60), 10.0), items=items), range(40, 60))
    known = np.isfinite(implied_days(told(replay, DL=np.array([[30.0]])), "DL"))
    assert known.tolist() == replay.world.review_due.tolist()


def test_segments_show_the_spread_of_days_and_of_days_beyond_the_interval(result: Backtest) -> None:
    figure = days_by_segment(result)
    assert [(s["segment"], s["series"]) for s in figure["segments"]] == [("AX", 2)]
    label = figure["segments"][0]["methods"][OR_LABEL]
    assert label["days"]["p50"] == pytest.approx(2.0, abs=0.01)
    assert label["beyond"]["p50"] == pytest.approx(0.0, abs=0.01)  # lead 2 + review 1 - 1
    assert figure["segments"][0]["methods"]["DL"]["days"]["p90"] == pytest.approx(5.0, rel=0.1)


def test_an_epoch_label_covers_what_will_be_sold_until_the_next_order_arrives(promoted: Replay) -> None:
    series, period, days = epoch_days(promoted, 0)
    rate = promoted.rates.daily_rate[series, period]
    calm = (period > 100) & (period < PROMOTED.start - 3)
    assert days[calm] == pytest.approx(np.full(calm.sum(), 2.0))
    peak = period == PROMOTED.start
    assert (days * rate)[peak] == pytest.approx(
        [30.0, 30.0], rel=0.07
    )  # 40 less 10 that the incumbent had lost by then


def test_stock_is_built_up_before_a_promotion_by_those_who_foresee_it(promoted: Replay, result: Backtest) -> None:
    figure = around_promotions(result, epoch_days(promoted, 0))
    assert figure is not None
    assert (figure["events"], figure["series"]) == (2, 2)
    at = {day: n for n, day in enumerate(figure["days"])}
    assert figure["demand"][at[-1]] == pytest.approx(1.0)
    assert figure["demand"][at[3]] == pytest.approx(2.0)
    assert [figure["promoted_share"][at[day]] for day in (-1, 0, 6, 7)] == [0, 1, 1, 0]
    labels = figure["target_days"][EPOCH_LABEL]
    assert labels[at[-5]] == pytest.approx(2.0, abs=0.1)
    assert labels[at[-1]] == pytest.approx(3.0, abs=0.2)
    assert labels[at[8]] == pytest.approx(2.0, abs=0.2)
    assert figure["target_days"][PTO] == pytest.approx([4.0] * 29)
    assert np.sum(figure["target_shares"], axis=0) == pytest.approx(np.ones(29))


def test_stock_around_promotions_is_that_of_the_replay(promoted: Replay, result: Backtest) -> None:
    figure = around_promotions(result, epoch_days(promoted, 0))
    assert figure is not None
    calm, last = figure["stock_days"][PTO][0], figure["stock_days"][PTO][figure["days"].index(6)]
    assert calm == pytest.approx(2.0)  # target 40 less two days' pipeline of 10
    assert last == pytest.approx(0.0)


def test_without_a_promotion_inside_the_window_there_is_no_figure() -> None:
    replay = replay_of(make_panel(np.full((1, 100), 5.0)), range(60, 100))
    result = told(replay, **{"DL": np.array([[9.0]]), PTO: np.array([[9.0]]), OR_LABEL: np.array([[9.0]])})
    assert around_promotions(result, epoch_days(replay, 0)) is None


def test_years_are_laid_over_each_other_and_the_policy_is_shown_in_the_window_only(
    promoted: Replay, result: Backtest
) -> None:
    figure = cycles_over_the_year(result, epoch_days(promoted, 0))
    assert [len(year["demand_index"]) for year in figure["years"]] == [52, 52]
    before, last = figure["years"]
    assert before["days"]["DL"] == [None] * 52
    shown = [value is not None for value in last["days"]["DL"]]
    assert shown == [False] * 37 + [True] * 15  # 100 days back from the end: 14 weeks and two days
    assert last["demand_index"][0] == pytest.approx(last["demand_index"][20])
    promoted_week = (PROMOTED.start + 3 - (DAYS - 52 * 7)) // 7
    assert last["demand_index"][promoted_week] > 1.4 * last["demand_index"][0]
    assert before["demand_index"][0] is None
    assert before["days"][EPOCH_LABEL][-1] == pytest.approx(2.0, abs=0.1)


def test_one_series_is_the_one_that_fares_as_all_together(promoted: Replay) -> None:
    """Twelve series that lose in the promotion under DL; of those that lose most money, one keeps a tenth of it, one the half
    that all keep together. Only what is lost in promotions counts."""
    sold = np.repeat(promoted.panel.units_sold[:1], 12, axis=0)
    items: dict[str, Any] = {"lead_time_days": 2, "review_period_days": 1, "unit_price": 1.0}
    panel = make_panel(sold, promotion=np.repeat(promoted.panel.promotion[:1], 12, axis=0), items=items)
    panel.items.lost_sale_cost[:2] *= 10
    periods = range(START, DAYS)
    inside = np.zeros((12, len(periods)), dtype=bool)
    inside[:, PROMOTED.start - START : PROMOTED.stop - START] = True

    def record(share: F64) -> Trajectory:
        lost = np.where(inside, 10.0, 3.0) * np.where(inside, share[:, None], 1.0)
        sales = panel.units_sold[:, START:].astype(float) - lost
        return Trajectory(**{name: lost if name == "lost_sales" else sales for name in Trajectory._fields})

    kept = np.full(12, 0.5)
    kept[:2] = 0.1, 0.5
    shown = one_series(panel, periods, {"DL": record(np.ones(12)), "expert": record(kept)}, inside)
    assert shown["series"] == panel.names[1]
    assert len(shown["promoted"]) == DRAWN
    assert sum(shown["promoted"]) == 7
    assert list(shown["policies"]) == ["DL", "expert"]
    assert sum(shown["policies"]["expert"]["lost_sales"]) == pytest.approx(7 * 5.0 + (DRAWN - 7) * 3.0)


def test_one_policy_alone_stands_beside_the_best_base_stock(promoted: Replay) -> None:
    result = told(promoted, **{"DL": np.array([[30.0], [30.0]]), PTO: np.array([[10.0]])})
    shown = of_backtest(result, ["DL", "DL"])
    assert list(shown["policies"]) == [PTO, "DL"]
    lost = {name: sum(model["lost_sales"]) for name, model in shown["policies"].items()}
    assert lost[PTO] > lost["DL"]
