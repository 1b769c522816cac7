"""A planner's override counts in the next answer, for the orders that cover its selling dates."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.override_store import active_overrides
from service.settings import Settings
from simulator.panel import Panel

FIELDS = {"selling_from": "2019-05-01", "selling_to": "2019-05-20", "mode": "set", "value": 9, "reason": "festival",
          "author": "ann"}  # fmt: skip


async def days(client: httpx.AsyncClient, chain: Panel, row: int = 0) -> dict[str, Any]:
    items = chain.items
    path = f"/v1/recommendations/{items.location_id[row]}/{items.item_id[row]}?on_hand=5"
    result: dict[str, Any] = (await client.get(path)).raise_for_status().json()["items"][0]["result"]
    return result


def scope(chain: Panel, row: int = 0) -> dict[str, str]:
    return {"item_id": chain.items.item_id[row], "location_id": chain.items.location_id[row]}


async def test_an_override_takes_effect_at_once(client: httpx.AsyncClient, chain: Panel) -> None:
    before = await days(client, chain)
    created = await client.post("/v1/overrides", json={**FIELDS, **scope(chain)})
    assert created.status_code == 201
    assert created.json()["series_in_scope"] == 1
    after = await days(client, chain)
    assert after["inventory_days"] == 9
    assert after["policy_days"] == before["inventory_days"]
    assert after["override"]["id"] == created.json()["id"]
    assert after["target_stock"] == pytest.approx(9 * after["daily_rate"])


async def test_an_override_survives_the_process(client: httpx.AsyncClient, chain: Panel, settings: Settings) -> None:
    await client.post("/v1/overrides", json={**FIELDS, **scope(chain)})
    second: FastAPI = create_app(settings)
    key = second.state.keys.add("again")
    transport = httpx.ASGITransport(app=second)
    async with httpx.AsyncClient(transport=transport, base_url="http://t", headers={"X-API-Key": key}) as other:
        assert (await days(other, chain))["inventory_days"] == 9
    second.state.store.close()


async def test_an_override_for_other_selling_dates_changes_nothing(client: httpx.AsyncClient, chain: Panel) -> None:
    before = await days(client, chain)
    late = {"selling_from": "2019-08-01", "selling_to": "2019-08-02"}
    await client.post("/v1/overrides", json={**FIELDS, **scope(chain), **late})
    assert await days(client, chain) == before


async def test_the_dates_are_selling_dates_not_order_dates(client: httpx.AsyncClient, chain: Panel) -> None:
    """The order of 30 April covers the days from its receipt on; an override for the day before is not for it."""
    first = (await days(client, chain))["expected_receipt_date"]
    until = (await days(client, chain))["covers_until"]
    one_day = {"selling_from": until, "selling_to": until}
    await client.post("/v1/overrides", json={**FIELDS, **scope(chain), **one_day})
    assert (await days(client, chain))["inventory_days"] == 9
    earlier = {"selling_from": "2019-05-01", "selling_to": "2019-05-01", "value": 30}
    assert first > "2019-05-01"
    await client.post("/v1/overrides", json={**FIELDS, **scope(chain), **earlier})
    assert (await days(client, chain))["inventory_days"] == 9


async def test_the_most_specific_override_wins_then_the_newest(client: httpx.AsyncClient, chain: Panel) -> None:
    item, place = scope(chain)["item_id"], scope(chain)["location_id"]
    await client.post("/v1/overrides", json={**FIELDS, **scope(chain), "value": 7})
    await client.post("/v1/overrides", json={**FIELDS, **scope(chain), "value": 8})
    for wider in ({"item_id": item}, {"location_id": place}, {"category": "bakery"}, {}):
        await client.post("/v1/overrides", json={**FIELDS, **wider, "value": 20})
    assert (await days(client, chain))["inventory_days"] == 8


async def test_at_least_lifts_but_never_lowers_and_add_units_adds(client: httpx.AsyncClient, chain: Panel) -> None:
    base = await days(client, chain)
    await client.post("/v1/overrides", json={**FIELDS, **scope(chain), "mode": "at_least", "value": 0.5})
    assert (await days(client, chain))["inventory_days"] == base["inventory_days"]
    await client.post("/v1/overrides", json={**FIELDS, **scope(chain), "mode": "at_least", "value": 60})
    assert (await days(client, chain))["inventory_days"] == 60
    await client.post("/v1/overrides", json={**FIELDS, **scope(chain), "mode": "add_units", "value": 40})
    assert (await days(client, chain))["target_stock"] == pytest.approx(base["target_stock"] + 40)


@pytest.mark.parametrize(
    ("change", "status", "named"),
    [
        ({"selling_to": "2019-04-01"}, 422, "selling_to"),
        ({"value": -1}, 422, "value"),
        ({"value": 400}, 422, "365"),
        ({"mode": "double"}, 422, "mode"),
        ({"reason": ""}, 422, "reason"),
        ({"item_id": "B101", "category": "bakery"}, 422, "category"),
        ({"item_id": "unheard-of"}, 404, "unheard-of"),
        ({"item_id": ""}, 422, "item_id"),
    ],
)
async def test_a_bad_override_is_refused_and_nothing_is_stored(
    client: httpx.AsyncClient, app: FastAPI, change: dict[str, Any], status: int, named: str
) -> None:
    response = await client.post("/v1/overrides", json={**FIELDS, **change})
    assert response.status_code == status
    assert named in response.json()["detail"]
    with app.state.store.database.reading() as connection:
        assert active_overrides(connection) == []
