"""Every write that takes an Idempotency-Key is done once, however often it is sent, and is answered alike each time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from service.settings import Settings
from service.tables import metadata
from simulator.panel import Panel
from tests.service.conftest import HIGH, LOW, client_of

OVERRIDES, POLICIES, STOPS = "/v1/overrides", "/v1/policies", "/v1/stops"
OVERRIDE = {"selling_from": "2019-05-01", "selling_to": "2019-05-20", "mode": "set", "value": 60, "reason": "festival",
            "author": "ann"}  # fmt: skip
WHY, WHY_NOT = {"reason": "seen enough"}, {"reason": "on second thoughts"}
DAY = "2019-04-30"
Tables = dict[str, list[str]]


class Sent(NamedTuple):
    """A request."""

    path: str
    body: Any = None
    if_match: str | None = None


class World(NamedTuple):
    """A service with two policies that may be registered, and where large overrides wait for a second person."""

    bob: httpx.AsyncClient  # sends what is tried
    ann: httpx.AsyncClient  # who was there before
    item: dict[str, str]
    everything: list[dict[str, str]]


Two = tuple[Sent, Sent]  # a write, and another one of its kind


async def told(client: httpx.AsyncClient, path: str, body: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await client.post(path, json=body)).raise_for_status().json()
    return found


async def an_override(_world: World) -> Two:
    return Sent(OVERRIDES, OVERRIDE), Sent(OVERRIDES, OVERRIDE | {"value": 61})


async def overrides(_world: World) -> Two:
    path = f"{OVERRIDES}/bulk"
    return Sent(path, {"overrides": [OVERRIDE, OVERRIDE]}), Sent(path, {"overrides": [OVERRIDE]})


async def a_change(world: World) -> Two:
    path = f"{OVERRIDES}/{(await told(world.ann, OVERRIDES, OVERRIDE))['id']}"
    return Sent(path, {"value": 50}, '"1"'), Sent(path, {"value": 51}, '"1"')


async def an_approval(world: World) -> Two:
    made = await told(world.ann, OVERRIDES, OVERRIDE)
    assert made["state"] == "pending"
    path = f"{OVERRIDES}/{made['id']}/approval"
    return Sent(path, None, '"1"'), Sent(path, None, "*")


async def a_withdrawal(world: World) -> Two:
    path = f"{OVERRIDES}/{(await told(world.ann, OVERRIDES, OVERRIDE))['id']}"
    return Sent(path, None, '"1"'), Sent(path, None, "*")


async def an_outcome(world: World) -> Two:
    body = {"as_of": DAY, "items": [world.item | {"on_hand": 3, "open_orders": []}]}
    decision = (await told(world.bob, "/v1/recommendations", body))["items"][0]["result"]["decision_id"]
    path = f"/v1/decisions/{decision}/outcome"
    return Sent(path, {"status": "ordered"}), Sent(path, {"status": "rejected"})


async def a_release(world: World) -> Two:
    nothing_left = [one | {"on_hand": 0, "open_orders": []} for one in world.everything]
    await told(world.bob, "/v1/recommendations", {"as_of": DAY, "items": nothing_left})
    hold = (await world.bob.get("/v1/holds", params={"state": "held"})).json()["items"][0]
    path, seen = f"/v1/holds/{hold['id']}/release", {"version": hold["version"]}
    return Sent(path, seen | WHY), Sent(path, seen | WHY_NOT)


async def a_stop(_world: World) -> Two:
    return Sent(STOPS, {"category": "bakery"} | WHY), Sent(STOPS, {"category": "bakery"} | WHY_NOT)


async def the_end_of_a_stop(world: World) -> Two:
    one, other = [(await told(world.ann, STOPS, {"category": "bakery"} | WHY))["id"] for _ in range(2)]
    return Sent(f"{STOPS}/{one}"), Sent(f"{STOPS}/{other}")


async def a_registration(_world: World) -> Two:
    return Sent(POLICIES, {"version": LOW}), Sent(POLICIES, {"version": HIGH})


def of_a_policy(what: str, **fields: Any) -> Callable[[World], Awaitable[Two]]:
    async def made(world: World) -> Two:
        await told(world.ann, POLICIES, {"version": LOW})
        path = f"{POLICIES}/{LOW}/{what}"
        return Sent(path, WHY | fields), Sent(path, WHY_NOT | fields)

    return made


async def a_rollback(world: World) -> Two:
    for version in (LOW, HIGH):
        await told(world.ann, POLICIES, {"version": version})
        await told(world.ann, f"{POLICIES}/{version}/promote", WHY)
    return Sent(f"{POLICIES}/rollback", WHY), Sent(f"{POLICIES}/rollback", WHY_NOT)


def the_end_of(alias: str, **fields: Any) -> Callable[[World], Awaitable[Two]]:
    async def made(world: World) -> Two:
        await told(world.ann, POLICIES, {"version": LOW})
        await told(world.ann, f"{POLICIES}/{LOW}/{alias}", WHY | fields)
        path = f"{POLICIES}/{alias}"
        return Sent(f"{path}?reason=enough"), Sent(f"{path}?reason=more")

    return made


def feed(name: str, key: str, **fields: Any) -> Callable[[World], Awaitable[Two]]:
    """A row of the first series, or of its location, and the same with 1 more of its last field."""

    async def made(world: World) -> Two:
        row = world.item | fields if key == "series" else {"location_id": world.item["location_id"]} | fields
        last = list(row)[-1]
        return Sent(f"/v1/{name}", [row]), Sent(f"/v1/{name}", [row | {last: 1 - row[last]}])

    return made


ITEM = {"item_id": "new", "lost_sale_cost": 2.0, "holding_cost_per_day": 0.01, "lead_time_days": 2,
        "review_period_days": 1, "review_offset_days": 0, "min_order_qty": 0, "order_multiple": 0}  # fmt: skip
CASES: dict[str, tuple[Callable[[World], Awaitable[Two]], str, int]] = {  # the table that it writes, and rows added
    "POST /v1/overrides": (an_override, "override_versions", 1),
    "POST /v1/overrides/bulk": (overrides, "override_versions", 2),
    "PATCH /v1/overrides/{override_id}": (a_change, "override_versions", 1),
    "POST /v1/overrides/{override_id}/approval": (an_approval, "override_versions", 1),
    "DELETE /v1/overrides/{override_id}": (a_withdrawal, "override_versions", 1),
    "POST /v1/decisions/{decision_id}/outcome": (an_outcome, "decision_outcomes", 1),
    "POST /v1/holds/{hold_id}/release": (a_release, "holds", 0),
    "POST /v1/stops": (a_stop, "stops", 1),
    "DELETE /v1/stops/{stop_id}": (the_end_of_a_stop, "stops", 0),
    "POST /v1/policies": (a_registration, "policies", 1),
    "POST /v1/policies/{version}/promote": (of_a_policy("promote"), "policy_aliases", 1),
    "POST /v1/policies/{version}/shadow": (of_a_policy("shadow"), "policy_aliases", 1),
    "POST /v1/policies/{version}/canary": (of_a_policy("canary", share=10), "policy_aliases", 1),
    "POST /v1/policies/rollback": (a_rollback, "policy_aliases", 1),
    "DELETE /v1/policies/shadow": (the_end_of("shadow"), "policy_aliases", 1),
    "DELETE /v1/policies/canary": (the_end_of("canary", share=10), "policy_aliases", 1),
    "PUT /v1/items": (feed("items", "series", **ITEM), "items", 1),
    "PUT /v1/history": (feed("history", "series", date=DAY, units_sold=0.5, in_stock=1), "history", 0),
    "PUT /v1/inventory": (feed("inventory", "series", date=DAY, on_hand=0.25), "inventory", 0),
    "PUT /v1/open-orders": (feed("open-orders", "series", arrival_date="2019-05-02", quantity=0.25), "open_orders", 1),
    "PUT /v1/calendar": (feed("calendar", "location", date="2019-12-24", holiday=1), "calendar", 1),
}


@pytest.fixture
def settings(database_url: str, bundles: Path, tmp_path: Path) -> Settings:
    return Settings(database_url=database_url, bundles=bundles, spool=tmp_path / "spool.db", approval_money=1.0)


@pytest.fixture
async def world(app: FastAPI, chain: Panel) -> AsyncIterator[World]:
    named = zip(chain.items.item_id, chain.items.location_id, strict=True)
    everything = [{"item_id": item, "location_id": place} for item, place in named]
    async with client_of(app, "bob") as bob, client_of(app, "ann") as ann:
        yield World(bob, ann, everything[0], everything)


def stored(app: FastAPI) -> Tables:
    """All that is in the database but the answers by key."""
    tables = [table for table in metadata.sorted_tables if table.name != "idempotency_keys"]
    with app.state.store.database.reading() as connection:
        return {table.name: sorted(map(repr, connection.execute(sa.select(table)))) for table in tables}


async def send(client: httpx.AsyncClient, method: str, sent: Sent, key: str) -> httpx.Response:
    headers = {"Idempotency-Key": key} | ({} if sent.if_match is None else {"If-Match": sent.if_match})
    return await client.request(method, sent.path, json=sent.body, headers=headers)


@pytest.mark.parametrize("operation", CASES)
async def test_a_write_that_is_sent_again_is_done_once(app: FastAPI, world: World, operation: str) -> None:
    prepare, table, added = CASES[operation]
    method = operation.split(maxsplit=1)[0]
    write, another = await prepare(world)
    before = stored(app)
    first = (await send(world.bob, method, write, "again")).raise_for_status()
    after = stored(app)
    assert len(after[table]) - len(before[table]) == added
    assert after[table] != before[table]
    assert "idempotency-replayed" not in first.headers
    for _ in range(2):
        again = await send(world.bob, method, write, "again")
        assert (again.status_code, again.json()) == (first.status_code, first.json())
        assert again.headers["idempotency-replayed"] == "true"
        assert again.headers.get("etag") == first.headers.get("etag")
    refused = await send(world.bob, method, another, "again")
    assert (refused.status_code, refused.json()["type"]) == (422, "idempotency-key-reused")
    assert stored(app) == after


def test_every_write_that_takes_a_key_is_tried(app: FastAPI) -> None:
    taking = {
        f"{method.upper()} {path}"
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
        if any(one["name"] == "Idempotency-Key" for one in operation.get("parameters", []))
    }
    assert taking == set(CASES)
