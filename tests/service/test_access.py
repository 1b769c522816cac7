"""Who may do what: scopes, ends, revocation, sessions; and what every request gets: a number and a limit."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.auth import COOKIE
from service.settings import Settings
from service.tables import api_keys
from tests.service.conftest import client_of

OVERRIDE = {"selling_from": "2019-05-01", "selling_to": "2019-05-20", "mode": "set", "value": 9, "reason": "festival",
            "author": "ann"}  # fmt: skip
WRITES = [
    ("POST", "/v1/recommendations", {"items": [{"item_id": "B101", "location_id": "S17", "on_hand": 3}]}, "erp"),
    ("POST", "/v1/decisions/none/outcome", {"status": "ordered"}, "erp"),
    ("PUT", "/v1/items", [], "erp"),
    ("PUT", "/v1/history", [], "erp"),
    ("PUT", "/v1/inventory", [], "erp"),
    ("PUT", "/v1/open-orders", [], "erp"),
    ("PUT", "/v1/calendar", [], "erp"),
    ("POST", "/v1/overrides", OVERRIDE, "planner"),
    ("POST", "/v1/overrides/bulk", {"overrides": [OVERRIDE]}, "planner"),
    ("PATCH", "/v1/overrides/1", {"value": 3}, "planner"),
    ("DELETE", "/v1/overrides/1", None, "planner"),
    ("POST", "/v1/overrides/1/approval", None, "planner"),
    ("POST", "/v1/policies", {"version": "nobody"}, "ops"),
    ("POST", "/v1/policies/nobody/promote", {"reason": "better"}, "ops"),
    ("POST", "/v1/policies/nobody/shadow", {"reason": "to see"}, "ops"),
    ("POST", "/v1/policies/rollback", {"reason": "worse"}, "ops"),
    ("DELETE", "/v1/policies/shadow", None, "ops"),
    ("POST", "/v1/policies/nobody/canary", {"share": 10, "reason": "to try"}, "ops"),
    ("DELETE", "/v1/policies/canary", None, "ops"),
    ("POST", "/v1/holds/7/release", {"version": 1, "reason": "right"}, "ops"),
    ("POST", "/v1/stops", {"reason": "stock take"}, "ops"),
    ("DELETE", "/v1/stops/8", None, "ops"),
]
NAMES = {
    "1": "/{override_id}", "7": "/{hold_id}", "8": "/{stop_id}", "none": "/{decision_id}", "nobody": "/{version}",
}  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "scope"), WRITES)
async def test_a_write_takes_a_key_with_its_scope(
    app: FastAPI, method: str, path: str, body: object, scope: str
) -> None:
    other = {"erp": "planner", "planner": "ops", "ops": "erp"}[scope]
    async with client_of(app, "without", [other]) as without, client_of(app, "with", [scope]) as client:
        refused = await without.request(method, path, json=body)
        assert (refused.status_code, refused.json()["type"]) == (403, "scope-missing")
        assert scope in refused.json()["detail"]
        assert (await client.request(method, path, json=body)).status_code not in (401, 403)


def test_every_write_of_the_api_is_in_the_list_above(app: FastAPI) -> None:
    listed = {
        (method, re.sub("/(1|7|8|none|nobody)(?=/|$)", lambda found: NAMES[found[1]], path))
        for method, path, *_ in WRITES
    }
    paths = app.openapi()["paths"]
    writes = {
        (method.upper(), path) for path, routes in paths.items() for method in routes if path.startswith("/v1") and method != "get"
    }  # fmt: skip
    assert writes - listed == {("POST", "/v1/overrides/preview"), ("POST", "/v1/what-if")}  # store nothing


async def test_whoever_may_do_nothing_may_still_read(app: FastAPI) -> None:
    async with client_of(app, "reader", []) as reader:
        for path in (
            "overrides",
            "decisions",
            "items",
            "history?limit=1",
            "inventory",
            "open-orders",
            "calendar",
            "policies",
        ):
            assert (await reader.get(f"/v1/{path}")).status_code == 200
        body = {"items": [{"item_id": "B101", "location_id": "S17", "on_hand": 3}], "record": False}
        assert (await reader.post("/v1/recommendations", json=body)).status_code == 200


async def test_a_key_that_is_revoked_or_at_its_end_is_no_key(app: FastAPI, client: httpx.AsyncClient) -> None:
    import sqlalchemy as sa

    assert (await client.get("/v1/overrides")).status_code == 200
    assert app.state.keys.revoke("test") == 1
    assert app.state.keys.revoke("test") == 0
    refused = await client.get("/v1/overrides")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    key = app.state.keys.add("short", expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert app.state.keys.is_good(key)
    with app.state.store.database.writing() as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(sa.update(api_keys).where(api_keys.c.name == "short").values(expires_at=past))
    assert not app.state.keys.is_good(key)
    assert {one["name"] for one in app.state.keys.all()} == {"test", "short"}
    assert all("digest" not in one for one in app.state.keys.all())


async def test_a_session_ends_with_its_key(app: FastAPI) -> None:
    key = app.state.keys.add("ann", ["planner"])
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost", headers={"Origin": "http://localhost"}
    ) as browser:
        entered = await browser.post("/login", data={"key": key})
        assert entered.status_code == 303
        cookie = entered.cookies[COOKIE]
        assert app.state.sessions.key_of(cookie).name == "ann"
        app.state.keys.revoke("ann")
        assert app.state.sessions.key_of(cookie) is None
        assert app.state.sessions.key_of(cookie[:-2] + "xx") is None
        erp = app.state.keys.add("erp", ["erp"])
        assert (await browser.post("/login", data={"key": erp})).status_code == 401


def test_a_key_with_a_scope_that_is_none_is_not_made(app: FastAPI) -> None:
    with pytest.raises(ValueError, match="root"):
        app.state.keys.add("mallory", ["root"])
    with pytest.raises(ValueError, match="ahead"):
        app.state.keys.add("late", expires_at=datetime.now(UTC))


@pytest.fixture
async def narrow(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings.model_copy(update={"max_body_bytes": 1000}))
    async with client_of(app, "test") as http:
        yield http
    app.state.store.close()


async def test_a_body_that_is_too_long_is_a_problem_document(narrow: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    for path, method in (("/v1/overrides", "POST"), ("/v1/history", "PUT"), ("/v1/recommendations", "POST")):
        for content in (b" " * 5000, endless()):
            refused = await narrow.request(method, path, content=content, headers={"Content-Type": "application/json"})
            assert refused.status_code == 413, path
            assert refused.headers["content-type"] == "application/problem+json"
            assert "1,000 bytes" in refused.json()["detail"]


async def test_every_answer_carries_the_number_of_its_request(client: httpx.AsyncClient) -> None:
    given = await client.get("/v1/overrides", headers={"X-Request-ID": "erp-4711.a"})
    assert given.headers["x-request-id"] == "erp-4711.a"
    drawn = [(await client.get(path)).headers["x-request-id"] for path in ("/v1/overrides", "/nowhere", "/healthz")]
    assert len(set(drawn)) == 3
    for harmful in ("a b", "x" * 101, 'a"b'):
        assert (await client.get("/healthz", headers={"X-Request-ID": harmful})).headers["x-request-id"] != harmful


async def test_a_bug_is_a_problem_document_with_the_number_and_nothing_of_its_cause(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    def broken() -> None:
        raise RuntimeError("a secret")

    app.add_api_route("/broken", broken)
    answer = await client.get("/broken", headers={"X-Request-ID": "erp-1"})
    assert (answer.status_code, answer.json()["type"]) == (500, "internal-error")
    assert answer.headers["x-request-id"] == "erp-1"
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
