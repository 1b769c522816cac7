"""Short questions are answered on the event loop, but never where something would have to be waited for."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.at_once import WouldWait, at_once, may_wait, once_done
from service.caches import RedisCache
from service.recommender import Recommender
from simulator.panel import Panel

PATH = "/v1/recommendations"


def body(chain: Panel, count: int, **more: Any) -> dict[str, Any]:
    items = chain.items
    asked = [{"item_id": items.item_id[n], "location_id": items.location_id[n], "on_hand": 9.0} for n in range(count)]
    return {"items": asked, "record": False, **more}


@pytest.fixture
def tried(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each try of an answer whether the event loop's thread made it."""
    loops_thread, found = threading.current_thread(), []
    own = Recommender.answer

    def answer(*args: Any) -> Any:
        found.append(threading.current_thread() is loops_thread)
        return own(*args)

    monkeypatch.setattr(Recommender, "answer", answer)
    return found


async def test_what_is_at_hand_is_answered_on_the_loop_and_all_else_elsewhere(
    client: httpx.AsyncClient, chain: Panel, tried: list[bool]
) -> None:
    async def ask(count: int = 1, **more: Any) -> Any:
        tried.clear()
        told = (await client.post(PATH, json=body(chain, count, **more))).raise_for_status().json()["items"]
        return [one | {"feature_age_s": None} for one in told]

    cold = await ask()
    assert tried == [True, False]  # its row has to be read
    assert await ask() == cold
    assert tried == [True]
    await ask(12)
    assert tried == [False]  # many
    assert await ask() == cold
    assert (await ask(record=True))[0]["result"]["decision_id"]
    assert tried == [False]  # remembering writes
    sold = {"item_id": chain.items.item_id[0], "location_id": chain.items.location_id[0], "date": "2019-04-30"}
    (await client.put("/v1/history", json=[sold | {"units_sold": 77, "in_stock": 1}])).raise_for_status()
    await ask()
    assert tried == [True, False]  # the feed made its row old


async def test_one_series_on_its_own_route_and_its_problem(
    client: httpx.AsyncClient, chain: Panel, tried: list[bool]
) -> None:
    item, place = chain.items.item_id[0], chain.items.location_id[0]
    for _ in range(2):
        told = await client.get(f"{PATH}/{place}/{item}", params={"on_hand": 9})
    assert tried == [True, False, True]
    assert told.json()["items"][0]["result"]["on_hand"] == 9
    missing = await client.get(f"{PATH}/{place}/none")
    assert (missing.status_code, missing.json()["type"]) == (404, "series-unknown")


def test_nothing_that_waits_is_begun(app: FastAPI) -> None:
    store, view = app.state.store, app.state.view
    with at_once():
        with pytest.raises(WouldWait), store.database.reading():
            pass
        with pytest.raises(WouldWait), store.database.writing():
            pass
        with pytest.raises(WouldWait):
            view.refresh()
    with store.database.reading():
        assert view.refresh()


def test_redis_is_asked_by_nobody_who_may_not_wait(redis_url: str) -> None:
    cache = RedisCache(redis_url, 1.0, 60)
    cache.put_many({"here": b"row"})
    other = RedisCache(redis_url, 1.0, 60)
    with at_once():
        assert cache.get_many(["here"], bool) == [b"row"]
        with pytest.raises(WouldWait):
            other.get_many(["here"], bool)
    assert other.get_many(["here"], bool) == [b"row"]
    for one in (cache, other):
        one.close()


def test_what_is_left_for_the_end_is_done_once_and_only_where_it_went_well() -> None:
    done: list[str] = []
    once_done(lambda: done.append("now"))
    with suppress(WouldWait), at_once():
        once_done(lambda: done.append("never"))
        may_wait()
    with at_once():
        once_done(lambda: done.append("later"))
        assert done == ["now"]
    assert done == ["now", "later"]
