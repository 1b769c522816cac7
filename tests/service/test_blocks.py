"""History in blocks: always what its rows say, however they came, and read as a dataset's files are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.blocks import DAYS, FIELDS, Days, number_of, unpacked
from service.feed_store import write_history
from service.feeds import Feeds
from service.store import Store
from service.tables import history_blocks
from simulator.canonical import assemble, assemble_days
from simulator.panel import EPOCH, Panel

FIRST, LAST = date(2018, 3, 1), date(2019, 7, 1)
SETTINGS: dict[str, Any] = {
    "name": "n", "currency": "EUR", "source": "", "quantity": "discrete", "promotion_known_ahead_days": 0,
    "price_known_ahead_days": 0, "review_origin": date(2018, 1, 1),
}  # fmt: skip


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store(database_url)
    yield opened
    opened.close()


def from_rows(store: Store, series: list[tuple[str, str]]) -> Days:
    """The same days, from the table's rows one by one."""
    index = {key: n for n, key in enumerate(series)}
    dense = np.full((len(FIELDS), len(series), (LAST - FIRST).days + 1), np.nan, dtype=np.float32)
    for item, place, day, *values in store.sales(series, FIRST, LAST).iter_rows():
        told = [np.nan if value is None else value for value in values]
        dense[:, index[item, place], (day - FIRST).days] = told
    return Days(*dense)


def same(left: Days, right: Days) -> bool:
    return all(np.array_equal(*columns, equal_nan=True) for columns in zip(left, right, strict=True))


def test_the_blocks_of_a_loaded_dataset_are_its_rows(store: Store) -> None:
    series = store.all_series()
    told = store.days(series, FIRST, LAST)
    assert same(told, from_rows(store, series))
    assert np.isfinite(told.units_sold).any(axis=1).all()
    backwards = store.days(series[::-1], FIRST, LAST)
    np.testing.assert_array_equal(backwards.units_sold[::-1], told.units_sold)


def test_days_without_a_block_are_unknown(store: Store) -> None:
    told = store.days([("unheard-of", "nowhere"), store.all_series()[0]], date(1999, 1, 1), date(1999, 12, 31))
    assert all(column.shape == (2, 365) and np.isnan(column).all() for column in told)


@pytest.mark.parametrize("day", [EPOCH, EPOCH - timedelta(days=1), date(2019, 4, 30), date(1960, 2, 29)])
def test_a_day_is_at_its_place_in_its_block(day: date) -> None:
    number, at = number_of(day)
    assert EPOCH + timedelta(days=number * DAYS + at) == day
    block = np.full((len(FIELDS), DAYS), np.nan, dtype="<f4")
    block[:, at] = [1, 2, 3, 4]
    rows = [("P", "I", number, block.tobytes())]
    around = unpacked(rows, [("I", "P")], day - timedelta(days=200), day + timedelta(days=200))
    for value, column in enumerate(around, 1):
        assert np.flatnonzero(np.isfinite(column[0])).tolist() == [200]
        assert column[0, 200] == value


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_fed_the_blocks_stay_what_the_rows_say(store: Store, data: st.DataObject) -> None:
    """Late, corrected and partial rows, some with nothing known in them, over the edges of blocks."""
    series = store.all_series()[:3]
    days = st.integers(0, (LAST - FIRST).days).map(lambda n: FIRST + timedelta(days=n))
    for _ in range(data.draw(st.integers(1, 3))):
        told = data.draw(st.lists(st.sampled_from(FIELDS), min_size=1, unique=True))
        keys = data.draw(st.lists(st.tuples(st.sampled_from(series), days), min_size=1, max_size=12, unique=True))
        rows = [
            {"item_id": item, "location_id": place, "date": day}
            | {field: data.draw(st.none() | st.sampled_from([0.0, 0.1, 7.0])) for field in told if field != "promotion"}
            | ({"promotion": data.draw(st.none() | st.booleans())} if "promotion" in told else {})
            for (item, place), day in keys
        ]
        with store.database.writing() as connection:
            kinds = {field: pl.Boolean if field == "promotion" else pl.Float64 for field in told}
            write_history(connection, pl.DataFrame(rows, schema_overrides=kinds))
    assert same(store.days(series, FIRST, LAST), from_rows(store, series))


def test_feeds_of_one_series_side_by_side_lose_no_day(store: Store) -> None:
    (item, place), days = store.all_series()[0], [date(2019, 3, 1) + timedelta(days=n) for n in range(24)]
    feeds, failed = Feeds(store), []

    def feed(mine: list[date]) -> None:
        try:
            for day in mine:
                row = f'[{{"item_id": "{item}", "location_id": "{place}", "date": "{day}", "units_sold": {day.day + 500}, "in_stock": 1}}]'
                act = feeds.history(row.encode(), "application/json")
                with store.database.writing() as connection:
                    act(connection)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=feed, args=(days[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    told = store.days([(item, place)], days[0], days[-1]).units_sold[0]
    assert told.tolist() == [day.day + 500 for day in days]


def test_a_database_from_before_the_blocks_gets_those_that_loading_writes(store: Store) -> None:
    def blocks() -> dict[tuple[Any, ...], bytes]:
        with store.database.reading() as connection:
            return {tuple(key): packed for *key, packed in connection.execute(sa.select(history_blocks))}

    before = blocks()
    store.database.migrate("0013")
    store.database.migrate()
    assert blocks() == before
    assert len(before) > 100


@pytest.mark.parametrize("length", [1, 7])
def test_days_become_the_panel_that_their_rows_become(chain: Panel, store: Store, length: int) -> None:
    series = store.all_series()
    first = date(2018, 4, 30)
    demand = store.sales(series, first, LAST)
    if length == 7:  # what starts a week stands for it
        demand = demand.filter((pl.col("date") - first).dt.total_days() % 7 == 0)
    days = store.days(series, first, LAST)
    if length == 7:
        held = np.arange(days.units_sold.shape[1]) % 7 == 0
        days = Days(*(np.where(held, column, np.float32(np.nan)) for column in days))
    calendar = store.calendar_days(sorted({place for _, place in series}), first, LAST)
    told = SETTINGS | {"period_days": length}
    left = assemble_days(told, store.items_of(series), days._asdict(), first, first, calendar)
    right = assemble(told, store.items_of(series), demand, calendar)
    assert left.period_count == right.period_count > 50
    for name in (*FIELDS, "open", "holiday", "school_holiday"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
    assert left.start == right.start
