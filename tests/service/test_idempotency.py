"""A write that is sent again is done once, and gets the same answer."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.service.conftest import client_of

BODY = {"selling_from": "2019-05-01", "selling_to": "2019-05-20", "mode": "set", "value": 9, "reason": "festival",
        "author": "ann"}  # fmt: skip
PATH = "/v1/overrides"


async def stored(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get(PATH)).raise_for_status().json()["items"]
    return found


async def test_the_same_request_again_gets_the_first_answer(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "night-1"}
    first = await client.post(PATH, json=BODY, headers=key)
    again = await client.post(PATH, json=BODY, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["etag"] == first.headers["etag"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(await stored(client)) == 1
    await client.post(PATH, json=BODY, headers={"Idempotency-Key": "night-2"})
    assert len(await stored(client)) == 2


async def test_another_request_with_the_same_key_is_refused(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "night-1"}
    await client.post(PATH, json=BODY, headers=key)
    other = await client.post(PATH, json={**BODY, "value": 10}, headers=key)
    assert (other.status_code, other.json()["type"]) == (422, "idempotency-key-reused")
    assert [one["value"] for one in await stored(client)] == [9]


async def test_a_refused_request_may_be_mended_and_sent_with_its_key(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "night-1"}
    refused = await client.post(PATH, json={**BODY, "item_id": "unheard-of"}, headers=key)
    assert refused.status_code == 404
    assert (await client.post(PATH, json=BODY, headers=key)).status_code == 201


async def test_keys_of_other_callers_are_other_keys(app: FastAPI, client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "night-1"}
    async with client_of(app, "another") as another:
        first = await client.post(PATH, json=BODY, headers=key)
        second = await another.post(PATH, json=BODY, headers=key)
    assert second.json()["id"] != first.json()["id"]


async def test_sent_ten_times_at_once_it_is_stored_once(client: httpx.AsyncClient) -> None:
    sent = [client.post(PATH, json=BODY, headers={"Idempotency-Key": "storm"}) for _ in range(10)]
    answers = await asyncio.gather(*sent)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert len(await stored(client)) == 1


async def test_a_change_that_is_sent_again_is_not_a_conflict(client: httpx.AsyncClient) -> None:
    """The ETag that the first one was sent with is old by then; the answer comes from the key."""
    made = (await client.post(PATH, json=BODY)).json()
    headers = {"Idempotency-Key": "change", "If-Match": '"1"'}
    first = await client.patch(f"{PATH}/{made['id']}", json={"value": 12}, headers=headers)
    again = await client.patch(f"{PATH}/{made['id']}", json={"value": 12}, headers=headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert again.json()["version"] == 2


async def test_an_empty_or_endless_key_is_refused(client: httpx.AsyncClient) -> None:
    for key in ("", "k" * 256):
        assert (await client.post(PATH, json=BODY, headers={"Idempotency-Key": key})).status_code == 422
    assert await stored(client) == []


async def test_old_keys_are_forgotten_and_new_ones_kept(
    app: FastAPI, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import UTC, datetime, timedelta

    import sqlalchemy as sa

    from service.tables import idempotency_keys

    monkeypatch.setattr("service.idempotency.KEPT_AT_LEAST", 1)
    for key in ("old", "new"):
        await client.post(PATH, json=BODY, headers={"Idempotency-Key": key})
    database = app.state.store.database
    with database.writing() as connection:
        past = datetime.now(UTC) - timedelta(days=8)
        mine = idempotency_keys.c.key == "old"
        connection.execute(sa.update(idempotency_keys).where(mine).values(created_at=past))
    await client.post(PATH, json=BODY, headers={"Idempotency-Key": "newer"})
    with database.reading() as connection:
        assert connection.execute(sa.select(idempotency_keys.c.key)).scalars().all() == ["new", "newer"]
