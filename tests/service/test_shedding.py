"""More than the service can do at once: everybody is answered, and afterwards it serves as before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.settings import Settings
from tests.serving import running_service


@pytest.fixture
def app(sqlite_url: str) -> FastAPI:
    """Takes two requests at once."""
    return create_app(Settings(database_url=sqlite_url, max_in_work=2, max_wait_s=0.3, body_wait_s=0.05))


class Gate:
    """A route that answers when it is told to."""

    def __init__(self, app: FastAPI) -> None:
        self.opened, self.entered = asyncio.Event(), asyncio.Semaphore(0)
        app.add_api_route("/slow", self._wait)

    async def _wait(self) -> str:
        self.entered.release()
        await self.opened.wait()
        return "done"


async def test_what_is_too_many_gets_a_503_and_those_in_work_are_served(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    gate = Gate(app)
    inside = [asyncio.create_task(client.get("/slow")) for _ in range(2)]
    for _ in inside:
        await gate.entered.acquire()
    refused = await client.get("/slow")
    assert (refused.status_code, refused.json()["type"]) == (503, "overloaded")
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-request-id"]
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await client.get(path)).status_code == 200
    assert 'orpr_requests_shed_total{reason="overloaded"} 1.0' in (await client.get("/metrics")).text
    gate.opened.set()
    assert [(await one).status_code for one in inside] == [200, 200]
    assert (await client.get("/slow")).status_code == 200


async def test_who_waits_gets_the_place_that_becomes_free(app: FastAPI, client: httpx.AsyncClient) -> None:
    gate = Gate(app)
    inside = [asyncio.create_task(client.get("/slow")) for _ in range(2)]
    for _ in inside:
        await gate.entered.acquire()
    waiting = asyncio.create_task(client.get("/slow"))
    await asyncio.sleep(0.05)
    gate.opened.set()
    assert (await waiting).status_code == 200


async def test_a_place_is_given_back_after_a_failure(app: FastAPI, client: httpx.AsyncClient) -> None:
    async def broken() -> None:
        raise RuntimeError("broken")

    app.add_api_route("/broken", broken)
    for _ in range(3):
        assert (await client.get("/broken")).status_code == 500
    assert (await client.get("/v1/overrides")).status_code == 200


async def test_a_body_that_does_not_arrive_is_given_up(client: httpx.AsyncClient) -> None:
    async def stuck() -> AsyncIterator[bytes]:
        yield b"["
        await asyncio.sleep(5)

    for path in ("/v1/history", "/v1/items"):
        answer = await client.put(path, content=stuck(), headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["type"]) == (408, "request-timeout")


async def test_ten_times_the_load_is_answered_and_the_next_request_served(tmp_path: Path) -> None:
    body = {"items": [{"item_id": "B101", "location_id": "S17", "on_hand": 3}], "record": False}
    most = 4
    limits = httpx.Limits(max_connections=10 * most)
    with running_service(tmp_path, ORPR_MAX_IN_WORK=str(most), ORPR_MAX_WAIT_S="0.02") as service:
        headers = {"X-API-Key": service.key}
        async with httpx.AsyncClient(
            base_url=service.url, headers=headers, trust_env=False, limits=limits, timeout=60
        ) as client:
            burst = [client.post("/v1/recommendations", json=body) for _ in range(10 * most)]
            answers = await asyncio.gather(*burst, *(client.get("/healthz") for _ in range(5)))
            statuses = [answer.status_code for answer in answers]
            assert set(statuses[: 10 * most]) == {200, 503}
            assert set(statuses[10 * most :]) == {200}
            assert (await client.post("/v1/recommendations", json=body)).status_code == 200
