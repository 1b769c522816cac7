"""Under which names the service answers, and whose pages may write."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.auth import COOKIE
from service.keys import Key, Keys, digest_of
from service.settings import Settings
from service.store import Store
from tests.service.conftest import client_of

BODY = {"items": [{"item_id": "B101", "location_id": "S17", "on_hand": 3}], "record": False}
CHANNEL = "/_nicegui_ws/socket.io/?EIO=4&transport=polling"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


async def asked(client: httpx.AsyncClient, **headers: str) -> tuple[int, str | None]:
    """Status of a write under some headers, and the type of its problem."""
    answer = await client.post("/v1/recommendations", json=BODY, headers=headers)
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json().get("type")


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:80", "[::1]:8000", "LocalHost"])
async def test_it_answers_under_the_names_of_this_machine(client: httpx.AsyncClient, host: str) -> None:
    assert await asked(client, host=host) == (200, None)


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "localhost@evil.example", "127.0.0.1.nip.io", "", "localhost:x"]
)
async def test_it_does_not_answer_under_another_name(client: httpx.AsyncClient, host: str) -> None:
    assert await asked(client, host=host) == (400, "host-unknown")


async def test_two_names_are_none(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/recommendations", json=BODY, headers=[("Host", "localhost"), ("Host", "evil.example")]
    )
    assert (answer.status_code, answer.json()["type"]) == (400, "host-unknown")


async def test_the_page_and_the_documents_are_under_known_names_only(client: httpx.AsyncClient) -> None:
    for path in ("/", "/login", "/docs", "/openapi.json", CHANNEL):
        answer = await client.get(path, headers={"Host": "evil.example"})
        assert (answer.status_code, answer.json()["type"]) == (400, "host-unknown"), path


async def test_probes_may_ask_by_address(client: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await client.get(path, headers={"Host": "10.1.2.3:8000"})).status_code == 200


@pytest.fixture
async def named(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The service under a name of its own, with another site that may write."""
    store = Store(settings.database_url)
    Keys(store.database).add("first")
    store.close()
    given = {"transport": "plain", "hosts": ("orpr.example.com",), "origins": ("https://portal.example.com",)}
    app = create_app(settings.model_copy(update=given), "10.0.0.7")
    async with client_of(app, "test") as http:
        yield http
    app.state.store.close()


async def test_it_answers_under_the_names_of_the_setting_and_its_own_address(named: httpx.AsyncClient) -> None:
    for host in ("orpr.example.com", "10.0.0.7:8000", "localhost"):
        assert await asked(named, host=host) == (200, None)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("orpr.example.com", "https://orpr.example.com"),
        ("orpr.example.com:443", "https://orpr.example.com"),
        ("localhost:8000", "http://localhost:8000"),
        ("orpr.example.com", "https://portal.example.com"),
    ],
)
async def test_its_own_pages_and_those_of_the_setting_may_write(
    named: httpx.AsyncClient, host: str, origin: str
) -> None:
    assert await asked(named, host=host, origin=origin) == (200, None)


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "", "http://portal.example.com", "https://orpr.example.com:8443", "file://",
     "https://orpr.example.com.evil.example", "https://orpr.example.com https://evil.example"],
)  # fmt: skip
async def test_pages_of_other_sites_may_not(named: httpx.AsyncClient, origin: str) -> None:
    assert await asked(named, host="orpr.example.com", origin=origin) == (403, "origin-foreign")


async def test_reading_takes_no_origin(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/overrides", headers={"Origin": "https://evil.example"})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


async def test_behind_tls_a_page_that_came_without_it_may_not_write(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"transport": "tls", "hosts": ("orpr.example.com",)}))
    async with client_of(app, "test") as client:
        assert await asked(client, host="orpr.example.com", origin="https://orpr.example.com") == (200, None)
        refused = await asked(client, host="orpr.example.com", origin="http://orpr.example.com")
        assert refused == (403, "origin-foreign")
        entered = await client.post("/login", data={"key": app.state.keys.add("ann")})
        assert "secure" in entered.headers["set-cookie"].lower()
    app.state.store.close()


def key_of(app: FastAPI, key: str) -> Key:
    """A key as the service knows it."""
    app.state.view.refresh()
    found: Key | None = app.state.view.key(digest_of(key))
    assert found is not None
    return found


async def test_what_the_cookie_does_takes_an_origin(app: FastAPI, client: httpx.AsyncClient) -> None:
    key = key_of(app, client.headers["X-API-Key"])
    cookie = {"Cookie": f"{COOKIE}={app.state.sessions.issue(key)}"}
    without = await client.post("/logout", headers=cookie)
    assert (without.status_code, without.json()["type"]) == (403, "origin-missing")
    assert (await client.post("/logout", headers=cookie | {"Origin": "http://localhost"})).status_code == 303
    foreign = await client.post("/logout", headers=cookie | {"Origin": "http://localhost:8000"})
    assert (foreign.status_code, foreign.json()["type"]) == (403, "origin-foreign")
    for method in ("GET", "POST"):
        refused = await client.request(method, CHANNEL, headers=cookie | {"Origin": "https://evil.example"})
        assert (refused.status_code, refused.json()["type"]) == (403, "origin-foreign")


@pytest.mark.parametrize("headers", [{}, {"origin": "https://evil.example"}, {"host": "evil.example"}])
async def test_the_live_channel_opens_for_its_own_page_only(app: FastAPI, headers: dict[str, str]) -> None:
    cookie = app.state.sessions.issue(key_of(app, app.state.keys.add("ann")))
    named = {"host": "localhost", "cookie": f"{COOKIE}={cookie}"} | headers
    scope = {"type": "websocket", "path": "/_nicegui_ws/socket.io/", "query_string": b"EIO=4&transport=websocket",
             "headers": [(name.encode(), value.encode()) for name, value in named.items()]}  # fmt: skip
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
    assert sent[0]["reason"] in ("origin-missing", "origin-foreign", "host-unknown")


async def test_without_the_planner_page_there_is_no_login(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"planner": False}))
    async with client_of(app, "test") as client:
        for path in ("/", "/login", CHANNEL):
            assert (await client.get(path)).status_code == 404
        assert (await client.get("/v1/overrides")).status_code == 200
    app.state.store.close()
