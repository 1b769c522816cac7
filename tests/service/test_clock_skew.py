"""Wall clocks that jump, or differ between processes: only what is about the time of day may notice.

In process, by time-machine: it moves `time.time` and `datetime.now` and leaves the monotonic clock alone, as the kernel does.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import time_machine
from fastapi import FastAPI

from service.auth import SESSION_S, Sessions
from service.idempotency import KEPT_AT_LEAST
from service.keys import digest_of
from service.quotas import KEY
from service.tables import idempotency_keys
from simulator.panel import Panel
from tests.service.conftest import client_of

JUMPS = [timedelta(seconds=-2), timedelta(minutes=-7), timedelta(days=-400), timedelta(hours=13), timedelta(days=3660)]
PATH = "/v1/overrides"
KEYS = 20
OVERRIDE = {"selling_from": "2019-01-01", "selling_to": "2019-12-31", "mode": "set", "reason": "r", "author": "a"}
Record = Callable[[str, object], None]


def at(jump: timedelta) -> time_machine.travel:
    """The clock is off by so much, and goes on."""
    return time_machine.travel(datetime.now(UTC) + jump, tick=True)


@pytest.fixture
def series(chain: Panel) -> dict[str, Any]:
    return {"item_id": chain.items.item_id[0], "location_id": chain.items.location_id[0]}


async def asked(http: httpx.AsyncClient, series: dict[str, Any], **fields: Any) -> dict[str, Any]:
    body = {"items": [series | {"on_hand": 3, "open_orders": []}], "record": False} | fields
    answer = await http.post("/v1/recommendations", json=body)
    found: dict[str, Any] = answer.raise_for_status().json()["items"][0]["result"]
    return found


async def test_of_overrides_written_under_clocks_that_jump_the_last_counts_at_once_and_none_is_done_twice(
    app: FastAPI,
    client: httpx.AsyncClient,
    series: dict[str, Any],
    record_testsuite_property: Record,
) -> None:
    made: dict[str, int] = {}
    wrong = doubled = 0
    for n in range(KEYS):
        key = {"Idempotency-Key": f"k{n}"}
        with at(JUMPS[n % len(JUMPS)]):
            answer = await client.post(PATH, json=series | OVERRIDE | {"value": n + 1}, headers=key)
            made[f"k{n}"] = answer.raise_for_status().json()["id"]
            wrong += (await asked(client, series))["override"]["id"] != made[f"k{n}"]
    for jump in (timedelta(0), *JUMPS):
        with at(jump):
            for n, (key, number) in enumerate(made.items()):
                again = await client.post(
                    PATH, json=series | OVERRIDE | {"value": n + 1}, headers={"Idempotency-Key": key}
                )
                doubled += again.json()["id"] != number
    record_testsuite_property(
        f"fault: clock skew ({app.state.store.database.dialect})",
        f"{KEYS} overrides written and sent again {KEYS * (1 + len(JUMPS))} times while the clock jumped between 400 days back and ten "
        f"years ahead; {doubled} doubled, {wrong} not counted at once",
    )
    assert (wrong, doubled) == (0, 0)
    listed = (await client.get(PATH, params={"limit": 500})).json()["items"]
    assert [one["id"] for one in listed] == list(made.values())


async def test_old_keys_are_forgotten_all_the_same(
    app: FastAPI, client: httpx.AsyncClient, series: dict[str, Any]
) -> None:
    old = datetime.now(UTC) - timedelta(days=8)
    row = {"caller": "x", "digest": "d", "status": 200, "body": "{}", "etag": None}
    with app.state.store.database.writing() as connection:
        rows = [row | {"key": f"o{n}", "created_at": old + timedelta(seconds=n)} for n in range(KEPT_AT_LEAST + 5)]
        connection.execute(sa.insert(idempotency_keys), rows)
    key = {"Idempotency-Key": "new"}
    (await client.post(PATH, json=series | OVERRIDE | {"value": 1}, headers=key)).raise_for_status()
    with app.state.store.database.reading() as connection:
        kept = set(connection.execute(sa.select(idempotency_keys.c.key)).scalars())
    assert kept == {"new", *(f"o{n}" for n in range(6, KEPT_AT_LEAST + 5))}


@pytest.mark.parametrize("jump", JUMPS)
async def test_answers_and_readiness_do_not_ask_the_wall_clock(
    client: httpx.AsyncClient, series: dict[str, Any], jump: timedelta
) -> None:
    plain = await asked(client, series)
    with at(jump):
        assert await asked(client, series) == plain
        first = await asked(client, series, record=True)
        last = await asked(client, series, record=True, counterfactuals=False)
        assert first["decision_id"] == last["decision_id"]
        assert (await client.get("/readyz")).status_code == 200
    assert (await asked(client, series, record=True))["decision_id"] == first["decision_id"]


async def test_a_session_is_good_at_a_process_whose_clock_is_behind(app: FastAPI) -> None:
    digest = digest_of(app.state.keys.add("p"))
    app.state.view.refresh()
    key = app.state.view.key(digest)
    secret = "s" * 32
    one, other = Sessions(secret, app.state.view), Sessions(secret, app.state.view)
    cookie = one.issue(key)
    for behind in (0, 2, 120):
        with at(timedelta(seconds=-behind)):
            assert other.key_of(cookie) == key
    for off in (timedelta(hours=-1), timedelta(seconds=SESSION_S + 5)):
        with at(off):
            assert other.key_of(cookie) is None


async def test_a_quota_is_open_again_after_a_minute_wherever_the_clock_went(app: FastAPI) -> None:
    quotas = app.state.quotas
    used = [quotas.count(KEY, "who", 100).used for _ in range(3)]
    assert used == [100, 200, 300]
    for jump in JUMPS:
        with at(jump):
            standing = quotas.count(KEY, "who", 1)
            assert standing.used <= 301
            assert 0 < standing.reset_s <= 60


async def test_a_clock_that_is_behind_refuses_todays_sales_by_name_and_stores_nothing(
    client: httpx.AsyncClient, series: dict[str, Any]
) -> None:
    today = datetime.now(UTC).date().isoformat()
    row = series | {"date": today, "units_sold": 5, "in_stock": 1}
    with at(timedelta(days=-3)):
        refused = await client.put("/v1/history", json=[row])
        assert (refused.status_code, refused.json()["type"]) == (422, "rows-invalid")
        assert "lies ahead" in refused.json()["detail"]
    params = series | {"from": today}
    assert (await client.get("/v1/history", params=params)).json()["items"] == []


async def test_a_key_comes_to_its_end_by_the_clock_of_who_is_asked(app: FastAPI) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    async with client_of(app, "x") as http:
        http.headers["X-API-Key"] = app.state.keys.add("short", expires_at=soon)
        for jump, status in ((timedelta(0), 200), (timedelta(hours=2), 401), (timedelta(days=-1), 200)):
            with at(jump):
                assert (await http.get(PATH)).status_code == status
