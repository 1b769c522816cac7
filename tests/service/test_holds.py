"""The money breaker and the kill switch: what is abnormal or stopped is not given out, and one call lets it pass."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.keys import ERP
from service.settings import Settings
from simulator.panel import Panel
from tests.service.conftest import client_of

PATH = "/v1/recommendations"
DAY = date(2019, 4, 30)  # the last recorded one


def batch(chain: Panel, day: date = DAY, **fields: Any) -> dict[str, Any]:
    items = [
        {"item_id": item, "location_id": place, "open_orders": []} | fields
        for item, place in zip(chain.items.item_id, chain.items.location_id, strict=True)
    ]
    return {"items": items, "as_of": day.isoformat()}


async def ask(client: httpx.AsyncClient, body: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.post(PATH, json=body)).raise_for_status().json()["items"]
    return found


def kinds(items: list[dict[str, Any]]) -> set[str]:
    return {one["problem"]["type"] if one["problem"] else "decided" for one in items}


async def remembered(client: httpx.AsyncClient) -> int:
    return len((await client.get("/v1/decisions", params={"limit": 500})).json()["items"])


async def test_a_night_with_no_stock_anywhere_is_held_until_it_is_released(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    held = await ask(client, batch(chain, on_hand=0))
    assert kinds(held) == {"order-held"}
    assert held[0]["problem"]["status"] == 409
    assert await remembered(client) == 0
    (hold,) = (await client.get("/v1/holds", params={"state": "held"})).json()["items"]
    assert (hold["location_id"], hold["category"], hold["order_date"]) == ("", "", DAY.isoformat())
    whole = next(one for one in hold["findings"] if one["whole_batch"])
    assert (whole["measure"], whole["feed"]) == ("zero_stock", "inventory")
    assert f"/v1/holds/{hold['id']}/release" in held[0]["problem"]["detail"]
    again = await ask(client, batch(chain, on_hand=0))
    assert again == held
    for entry in (await client.get("/v1/holds", params={"state": "held"})).json()["items"]:
        told = await client.post(
            f"/v1/holds/{entry['id']}/release", json={"version": entry["version"], "reason": "all sold out on purpose"}
        )
        assert told.json() | {"released_at": None} == entry | {
            "state": "released", "released_by": "test", "reason": "all sold out on purpose",
        }  # fmt: skip
    passed = await ask(client, batch(chain, on_hand=0))
    assert kinds(passed) == {"decided"}
    assert await remembered(client) == len(passed)


async def test_a_hold_of_a_past_day_waits_for_nobody(client: httpx.AsyncClient, app: FastAPI, chain: Panel) -> None:
    """The feed was mended and the batch asked again: nobody releases the hold, and it must not hide the next one."""
    await ask(client, batch(chain, on_hand=0))
    app.state.view.refresh()
    assert app.state.view.holds_open > 0
    sold = {
        "item_id": chain.items.item_id[0],
        "location_id": chain.items.location_id[0],
        "units_sold": 3.0,
        "in_stock": 1.0,
    }
    for later, still in ((1, True), (2, False)):  # one location's sales of the next day end nothing
        told = [sold | {"date": str(DAY + timedelta(days=later))}]
        (await client.put("/v1/history", json=told)).raise_for_status()
        app.state.view.refresh()
        assert (app.state.view.holds_open > 0) == still
    assert len((await client.get("/v1/holds", params={"state": "held"})).json()["items"]) > 0  # kept to be looked at
    await ask(client, batch(chain, DAY + timedelta(days=2), on_hand=0))
    app.state.view.refresh()
    assert app.state.view.holds_open > 0


async def test_what_is_not_to_be_remembered_is_answered_and_not_held(client: httpx.AsyncClient, chain: Panel) -> None:
    assert kinds(await ask(client, batch(chain, on_hand=0) | {"record": False})) == {"decided"}
    assert (await client.get("/v1/holds")).json()["items"] == []


@pytest.fixture
def small(settings: Settings) -> Iterator[FastAPI]:
    """A service that holds what costs more than a little at one location."""
    made = create_app(settings.model_copy(update={"hold_location_money": 100_000.0}))
    yield made
    made.state.store.close()


async def test_only_the_location_that_is_too_dear_is_held(small: FastAPI, chain: Panel) -> None:
    async with client_of(small, "erp") as client:
        body = batch(chain, on_hand=1)
        dear = chain.items.location_id[0]
        item = {"item_id": chain.items.item_id[0], "location_id": dear}
        override = item | {"selling_from": "2019-05-01", "selling_to": "2019-06-30", "reason": "r", "author": "a"}
        await client.post("/v1/overrides", json=override | {"mode": "add_units", "value": 1_000_000})
        found = await ask(client, body)
        for one in found:
            assert (one["problem"] is not None) == (one["location_id"] == dear)
        (hold,) = (await client.get("/v1/holds")).json()["items"]
        assert hold["location_id"] == dear
        assert hold["findings"][0]["measure"] == "order_value"
        assert hold["findings"][0]["value"] > hold["findings"][0]["limit"] == 100_000


async def test_a_night_that_is_asked_in_parts_has_the_limit_of_one_that_is_asked_at_once(
    client: httpx.AsyncClient, settings: Settings, chain: Panel
) -> None:
    """Every series but one of a location alone costs less than the limit; the last one takes the sum above it."""
    item, place = chain.items.item_id[0], chain.items.location_id[0]
    (row,) = (await client.get("/v1/items", params={"location_id": place})).json()["items"]
    row |= {"review_period_days": 1, "review_offset_days": 0, "order_weekdays": None, "delivery_weekdays": None,
            "unit_cost": 2.0}  # fmt: skip
    names = [item, "B-new", "B-newer"]
    rows = [row, *(row | {"item_id": name, "expected_daily_demand": 60.0} for name in names[1:])]
    (await client.put("/v1/items", json=rows)).raise_for_status()
    fair = {"selling_from": "2019-05-01", "selling_to": "2019-06-30", "reason": "r", "author": "a"}
    await client.post("/v1/overrides", json=fair | {"location_id": place, "mode": "set", "value": 9})
    one = {"location_id": place, "on_hand": 0, "open_orders": []}
    parts = [{"items": [one | {"item_id": name}], "as_of": DAY.isoformat()} for name in names]
    costs = [
        2.0 * (await ask(client, part | {"record": False}))[0]["result"]["order_quantity"] for part in parts
    ]  # fmt: skip
    assert min(costs) > 2
    limited = create_app(settings.model_copy(update={"hold_location_money": sum(costs) - 1}))
    async with client_of(limited, "erp") as erp:
        for part in parts[:-1]:
            assert kinds(await ask(erp, part)) == {"decided"}
        assert kinds(await ask(erp, parts[0])) == {"decided"}  # asked again it counts once
        held = (await ask(erp, parts[-1]))[0]
        assert held["problem"]["type"] == "order-held"
        assert "given out earlier" in held["problem"]["detail"]
        (hold,) = (await erp.get("/v1/holds")).json()["items"]
        assert hold["findings"][0]["value"] == pytest.approx(sum(costs))
        ordered = (await ask(erp, parts[0]))[0]["result"]["decision_id"]
        await erp.post(f"/v1/decisions/{ordered}/outcome", json={"status": "ordered"})
        assert kinds(await ask(erp, parts[-1])) == {"order-held"}
        await erp.post(f"/v1/holds/{hold['id']}/release", json={"version": hold["version"], "reason": "a feast"})
        assert kinds(await ask(erp, parts[-1])) == {"decided"}
        await erp.post(f"/v1/decisions/{ordered}/outcome", json={"status": "rejected"})
    limited.state.store.close()


async def test_a_release_lets_pass_what_it_has_seen_and_no_more(small: FastAPI, chain: Panel) -> None:
    async with client_of(small, "erp") as client:
        item = {"item_id": chain.items.item_id[0], "location_id": chain.items.location_id[0]}
        override = item | {"selling_from": "2019-05-01", "selling_to": "2019-06-30", "reason": "r", "author": "a"}
        for units, expected in ((1_000_000, "order-held"), (1_000_000, "decided"), (3_000_000, "order-held")):
            await client.post("/v1/overrides", json=override | {"mode": "add_units", "value": units})
            found = await ask(client, {"as_of": DAY.isoformat(), "items": [item | {"on_hand": 1, "open_orders": []}]})
            assert kinds(found) == {expected}
            for hold in (await client.get("/v1/holds", params={"state": "held"})).json()["items"]:
                await client.post(
                    f"/v1/holds/{hold['id']}/release", json={"version": hold["version"], "reason": "fair"}
                )


async def test_orders_that_grow_beyond_the_last_ones_are_held(client: httpx.AsyncClient, chain: Panel) -> None:
    known = (await client.get("/v1/items")).json()["items"]
    daily = {"review_period_days": 1, "review_offset_days": 0, "order_weekdays": None, "delivery_weekdays": None}
    (await client.put("/v1/items", json=[row | daily for row in known])).raise_for_status()
    assert kinds(await ask(client, batch(chain, on_hand=1))) == {"decided"}
    due = DAY + timedelta(days=1)
    assert kinds(await ask(client, batch(chain, due, on_hand=1) | {"record": False})) == {"decided"}
    every = {"selling_from": "2019-05-01", "selling_to": "2019-06-30", "reason": "r", "author": "a"}
    await client.post("/v1/overrides", json=every | {"mode": "add_units", "value": 1_000_000})
    found = await ask(client, batch(chain, due, on_hand=1))
    assert "order-held" in kinds(found)
    holds = (await client.get("/v1/holds")).json()["items"]
    assert "order_growth" in {finding["measure"] for hold in holds for finding in hold["findings"]}


async def test_a_stop_keeps_orders_of_a_location_or_category_back_until_it_ends(
    client: httpx.AsyncClient, app: FastAPI, settings: Settings, chain: Panel
) -> None:
    place, category = chain.items.location_id[0], chain.items.category[0]
    made = (await client.post("/v1/stops", json={"location_id": place, "category": category, "reason": "count"})).json()
    other = create_app(settings)
    async with client_of(other, "elsewhere") as elsewhere:
        for http in (client, elsewhere):
            for record in (True, False):
                for one in await ask(http, batch(chain, on_hand=5) | {"record": record}):
                    row = list(zip(chain.items.item_id, chain.items.location_id, strict=True)).index(
                        (one["item_id"], one["location_id"])
                    )
                    shut = one["location_id"] == place and chain.items.category[row] == category
                    assert (one["problem"] is not None) == shut
                    if shut:
                        assert one["problem"]["type"] == "orders-stopped"
                        assert "count" in one["problem"]["detail"]
        ended = (await client.delete(f"/v1/stops/{made['id']}")).json()
        assert ended["ended_by"] == "test"
        app.state.view.refresh()
        assert kinds(await ask(client, batch(chain, on_hand=5))) == {"decided"}
    other.state.store.close()
    assert (await client.get("/v1/stops")).json()["items"] == []
    assert [one["id"] for one in (await client.get("/v1/stops", params={"ended": True})).json()["items"]] == [
        made["id"]
    ]


async def test_a_stop_of_a_category_keeps_its_orders_back_at_every_location_until_it_ends(
    client: httpx.AsyncClient, app: FastAPI, chain: Panel
) -> None:
    known = (await client.get("/v1/items")).json()["items"]
    cakes = {row["location_id"] for row in known[::3]}
    changed = [row | {"category": "cake"} for row in known if row["location_id"] in cakes]
    (await client.put("/v1/items", json=changed)).raise_for_status()
    assert kinds(await ask(client, batch(chain, on_hand=5) | {"record": False})) == {"decided"}
    made = (await client.post("/v1/stops", json={"category": "cake", "reason": "recalled"})).json()
    assert (made["location_id"], made["category"]) == ("", "cake")
    assert 1 < len(cakes) < len(known)
    for record in (False, True):
        found = await ask(client, batch(chain, on_hand=5) | {"record": record})
        assert {one["location_id"] for one in found if one["problem"]} == cakes
        assert kinds(found) == {"decided", "orders-stopped"}
        assert all("recalled" in one["problem"]["detail"] for one in found if one["problem"])
    assert await remembered(client) == len(known) - len(cakes)
    for row in known[:2]:
        one = await client.get(f"{PATH}/{row['location_id']}/{row['item_id']}", params={"on_hand": 5})
        assert one.status_code == (409 if row["location_id"] in cakes else 200)
    (await client.delete(f"/v1/stops/{made['id']}")).raise_for_status()
    app.state.view.refresh()
    assert kinds(await ask(client, batch(chain, on_hand=5))) == {"decided"}


async def test_stopping_and_releasing_take_the_scope_ops(app: FastAPI) -> None:
    async with client_of(app, "erp", [ERP]) as client:
        assert (await client.post("/v1/stops", json={"reason": "r"})).status_code == 403
        assert (await client.post("/v1/holds/1/release", json={"version": 1, "reason": "r"})).status_code == 403
        assert (await client.get("/v1/stops")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/holds/77/release", {"version": 1, "reason": "r"}, 404),
        ("POST", "/v1/stops", {"location_id": "S-none", "reason": "r"}, 404),
        ("POST", "/v1/holds/77/release", {"reason": ""}, 422),
        ("DELETE", "/v1/stops/77", None, 404),
        ("POST", "/v1/stops", {"location": "S1", "reason": "r"}, 422),
        ("GET", "/v1/holds?cursor=x", None, 422),
    ],
)
async def test_a_bad_request_is_a_problem_document(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    answer = await client.request(method, path, json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
