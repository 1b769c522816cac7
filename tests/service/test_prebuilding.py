"""Rows built ahead: after a feed, of the locations that it was for, once among processes that share a cache."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest

from service.caches import MOST_OF_SERIES, Cache, MemoryCache, RedisCache
from service.datasets import bump_revisions
from service.features import FeatureRows
from service.prebuilding import Prebuilding
from service.settings import Settings
from service.store import Store

DAY = date(2019, 4, 30)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store(settings.database_url)
    yield opened
    opened.close()


def process(store: Store, cache: Cache) -> tuple[FeatureRows, Prebuilding]:
    """As a process of its own has them."""
    features = FeatureRows(store, cache, store.dataset)
    return features, Prebuilding(features, cache, store, store.dataset)


def test_who_asks_after_it_finds_every_row(store: Store) -> None:
    features, prebuilding = process(store, MemoryCache())
    prebuilding.step(0)
    assert prebuilding.built == len(store.all_series())
    features.rows(store.all_series(), DAY)
    assert (features.hits, features.misses) == (len(store.all_series()), 0)


def test_after_a_feed_only_its_locations_are_built_anew(store: Store) -> None:
    features, prebuilding = process(store, MemoryCache())
    prebuilding.step(0)
    built, series = prebuilding.built, store.all_series()
    place = series[0][1]
    with store.database.writing() as connection:
        bump_revisions(connection, [place])
    prebuilding.step(0)
    assert prebuilding.built - built == sum(one == place for _, one in series)
    features.rows(series, DAY)
    assert features.misses == 0


def test_nothing_is_built_while_feeds_come_in(store: Store) -> None:
    _, prebuilding = process(store, MemoryCache())
    prebuilding.step(60)
    assert prebuilding.built == 0


def test_of_two_processes_with_one_redis_one_builds(store: Store, redis_url: str) -> None:
    first, second = (process(store, RedisCache(redis_url, 1.0, 60)) for _ in range(2))
    first[1].step(0)
    second[1].step(0)
    assert (first[1].built, second[1].built) == (len(store.all_series()), 0)
    second[0].rows(store.all_series(), DAY)
    assert second[0].misses == 0


def test_a_cache_that_is_too_small_for_all_is_left_to_what_is_asked(store: Store) -> None:
    _, prebuilding = process(store, MemoryCache(most_rows=3))
    prebuilding.step(0)
    assert prebuilding.built == 0


def test_rows_from_before_a_feed_do_not_pile_up(store: Store) -> None:
    cache = MemoryCache()
    features, prebuilding = process(store, cache)
    series = store.all_series()
    for _ in range(6):
        prebuilding.step(0)
        with store.database.writing() as connection:
            bump_revisions(connection, {place for _, place in series})
    assert prebuilding.built == 6 * len(series)
    assert cache.held == MOST_OF_SERIES * len(series)
    prebuilding.step(0)
    features.rows(series, DAY)
    assert features.misses == 0
