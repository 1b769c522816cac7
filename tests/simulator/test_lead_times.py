"""Lead times drawn from what orders took."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from simulator.canonical import DataError
from simulator.lead_times import LeadTimeHistory, draw_lead_times
from simulator.rollout import follow, replay_world, rollout
from simulator.stock import read_orders
from tests.panels import make_panel, no_rules


def history(series: list[int], days: list[int], lead: list[float]) -> LeadTimeHistory:
    return LeadTimeHistory(np.array(series), np.array(days), np.array(lead))


PANEL = make_panel(
    np.ones((4, 60)), start=date(1970, 1, 1), items={"lead_time_days": [2, 4, 4, 3], "category": ["a", "a", "b", "c"]}
)


def test_a_series_with_many_orders_draws_from_its_own_and_keeps_their_shares() -> None:
    past = history([0] * 10, list(range(10)), [2] * 5 + [6] * 5)
    drawn = draw_lead_times(PANEL, past, range(20, 60), np.random.default_rng(0))
    assert set(drawn[0]) == {2, 6}
    assert 8 < (drawn[0] == 6).sum() < 32


def test_a_series_with_few_orders_draws_from_its_category_relative_to_its_plan() -> None:
    past = history([0] * 10 + [3] * 2, list(range(12)), [4] * 10 + [3] * 2)
    drawn = draw_lead_times(PANEL, past, range(20, 60), np.random.default_rng(0))
    assert (drawn[1] == 8).all()  # its category took twice as long as planned
    assert set(drawn[2]) == {4, 8}  # nothing of its category: all orders
    assert (drawn[3] == 3).all()


def test_waits_for_delivery_days_are_not_counted_twice() -> None:
    panel = make_panel(
        np.ones((1, 60)), start=date(1970, 1, 1),
        items={"lead_time_days": 1, "order_weekdays": "2", "delivery_weekdays": "1", "review_period_days": 7},
    )  # fmt: skip
    past = history([0] * 10, list(range(10)), [6] * 10)  # a day on the way, five until Monday
    assert (draw_lead_times(panel, past, range(20, 60), np.random.default_rng(0)) == 6).all()


def test_orders_of_the_window_itself_are_not_drawn_from() -> None:
    past = history([0] * 9 + [0] * 9, [*range(9), *range(30, 39)], [2] * 9 + [9] * 9)
    assert (draw_lead_times(PANEL, past, range(20, 60), np.random.default_rng(0))[0] == 2).all()
    assert (draw_lead_times(PANEL, past, range(20), np.random.default_rng(0))[0] == 2).all()  # none yet: as planned


def test_drawn_lead_times_let_orders_cross_in_a_replay() -> None:
    past = history([0] * 10, list(range(10)), [1] * 5 + [8] * 5)
    lead = draw_lead_times(PANEL, past, range(20, 60), np.random.default_rng(1))
    world = replay_world(PANEL, range(20, 60), no_rules(4))._replace(lead_time=lead)
    record = rollout(world, follow(np.full((4, 40), 30.0)))
    arrival = np.flatnonzero(world.review_due[0]) + lead[0, world.review_due[0]]
    assert (np.diff(arrival) < 0).any()
    expected = np.bincount(arrival, record.order_quantity[0, world.review_due[0]], 60)[:40]
    np.testing.assert_allclose(record.received[0], expected)


def orders(tmp_path: Path, **columns: object) -> Path:
    rows = {"item_id": ["i0", "i0"], "location_id": ["here"] * 2, "order_date": [date(1970, 1, 3)] * 2,
            "receipt_date": [date(1970, 1, 8), None], "quantity": [3.0, 4.0], **columns}  # fmt: skip
    pl.DataFrame(rows).write_parquet(tmp_path / "orders.parquet")
    return tmp_path


def test_received_orders_are_read_and_open_ones_left_out(tmp_path: Path) -> None:
    assert read_orders(PANEL, tmp_path) is None
    found = read_orders(PANEL, orders(tmp_path))
    assert found is not None
    assert [column.tolist() for column in found] == [[0], [2], [5.0]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"receipt_date": [date(1970, 1, 3), None]}, "orders.parquet, column receipt_date, row 1: 1970-01-03: must lie after"),
        ({"quantity": [-1.0, 2.0]}, "orders.parquet, column quantity, row 1: -1.0: must be a number of at least 0"),
        ({"order_date": [None, date(1970, 1, 3)]}, "orders.parquet, column order_date, row 1: must not be empty"),
    ],
)  # fmt: skip
def test_bad_orders_are_refused_with_their_place(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_orders(PANEL, orders(tmp_path, **columns))


def test_the_draws_differ_between_orders_of_one_day_of_different_series() -> None:
    past = history([0] * 10, list(range(10)), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    drawn = draw_lead_times(PANEL, past, range(20, 60), np.random.default_rng(0))
    assert (drawn[0] * 2 != drawn[1]).any()
    assert timedelta(days=int(drawn.max())) <= timedelta(days=20)
