"""Overrides over their life: seen, changed, approved, withdrawn, listed; nobody's change is lost."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.settings import Settings
from simulator.panel import Panel
from tests.service.conftest import client_of

FIELDS = {"selling_from": "2019-05-01", "selling_to": "2019-05-20", "mode": "set", "value": 9, "reason": "festival",
          "author": "ann"}  # fmt: skip
PATH = "/v1/overrides"


def scope(chain: Panel, row: int = 0) -> dict[str, str]:
    return {"item_id": chain.items.item_id[row], "location_id": chain.items.location_id[row]}


async def days(client: httpx.AsyncClient, chain: Panel, row: int = 0) -> dict[str, Any]:
    place, item = chain.items.location_id[row], chain.items.item_id[row]
    found = (await client.get(f"/v1/recommendations/{place}/{item}?on_hand=5")).raise_for_status().json()
    result: dict[str, Any] = found["items"][0]["result"]
    return result


async def created(client: httpx.AsyncClient, chain: Panel, **changes: Any) -> dict[str, Any]:
    answer = await client.post(PATH, json={**FIELDS, **scope(chain), **changes})
    assert answer.status_code == 201, answer.text
    assert answer.headers["etag"] == '"1"'
    body: dict[str, Any] = answer.json()
    return body


async def test_what_is_stored_can_be_read_back(client: httpx.AsyncClient, chain: Panel) -> None:
    stored = await created(client, chain, promotion_id="MAY19")
    assert stored["state"] == "active"
    assert stored["changed_by"] == "test"
    found = await client.get(f"{PATH}/{stored['id']}")
    assert found.json() == stored
    assert found.headers["etag"] == '"1"'
    assert (await client.get(f"{PATH}/{stored['id'] + 1}")).status_code == 404


async def test_a_change_counts_at_once_and_every_version_is_kept(client: httpx.AsyncClient, chain: Panel) -> None:
    stored = await created(client, chain)
    changed = await client.patch(f"{PATH}/{stored['id']}", json={"value": 12}, headers={"If-Match": '"1"'})
    assert changed.status_code == 200
    assert changed.headers["etag"] == '"2"'
    assert changed.json()["value"] == 12
    assert changed.json()["reason"] == "festival"
    assert (await days(client, chain))["inventory_days"] == 12
    removed = await client.delete(f"{PATH}/{stored['id']}", headers={"If-Match": '"2"'})
    assert removed.json()["state"] == "deleted"
    assert (await days(client, chain))["override"] is None
    history = (await client.get(f"{PATH}/{stored['id']}/history")).json()
    assert [(v["version"], v["action"], v["by"]) for v in history] == [
        (1, "created", "test"), (2, "changed", "test"), (3, "deleted", "test"),
    ]  # fmt: skip
    assert [v["fields"]["value"] for v in history] == [9, 12, 12]
    assert (await client.delete(f"{PATH}/{stored['id']}", headers={"If-Match": "*"})).status_code == 404


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_change_of_a_version_that_is_not_the_newest_is_refused(
    client: httpx.AsyncClient, chain: Panel, method: str
) -> None:
    stored = await created(client, chain)
    body = {"value": 12} if method == "PATCH" else None
    path = f"{PATH}/{stored['id']}"
    assert (await client.request(method, path, json=body)).status_code == 428
    await client.patch(path, json={"value": 10}, headers={"If-Match": '"1"'})
    late = await client.request(method, path, json=body, headers={"If-Match": '"1"'})
    assert late.status_code == 412
    assert '"2"' in late.json()["detail"]
    assert (await days(client, chain))["inventory_days"] == 10
    assert (await client.request(method, path, json=body, headers={"If-Match": "*"})).status_code == 200


async def test_a_change_that_makes_no_sense_is_refused(client: httpx.AsyncClient, chain: Panel) -> None:
    stored = await created(client, chain)
    for change, named in (
        ({"selling_to": "2019-04-01"}, "selling_to"),
        ({"value": 400}, "365"),
        ({"item_id": "B102"}, "item_id"),
        ({"mode": "set", "value": -1}, "at least 0"),
    ):
        answer = await client.patch(f"{PATH}/{stored['id']}", json=change, headers={"If-Match": "*"})
        assert answer.status_code == 422
        assert named in answer.text
    assert (await client.get(f"{PATH}/{stored['id']}")).json() == stored


async def test_many_are_stored_together_or_none(client: httpx.AsyncClient, chain: Panel) -> None:
    good = [{**FIELDS, **scope(chain, row)} for row in range(3)]
    bad = [*good, {**FIELDS, "item_id": "unheard-of"}]
    refused = await client.post(f"{PATH}/bulk", json={"overrides": bad})
    assert refused.status_code == 404
    assert refused.json()["errors"] == [{"row": 3, "field": "scope", "detail": "no series has item_id 'unheard-of'"}]
    wrong = await client.post(f"{PATH}/bulk", json={"overrides": [good[0], {**good[1], "value": "many"}]})
    assert wrong.status_code == 422
    assert [(e["row"], e["field"]) for e in wrong.json()["errors"]] == [(1, "overrides.value")]
    assert (await client.get(PATH)).json()["items"] == []
    answer = await client.post(f"{PATH}/bulk", json={"overrides": good})
    assert answer.status_code == 201
    assert [one["location_id"] for one in answer.json()["items"]] == list(chain.items.location_id[:3])
    assert (await days(client, chain, 2))["inventory_days"] == 9


async def test_a_list_is_read_page_by_page_and_by_filter(client: httpx.AsyncClient, chain: Panel) -> None:
    made = [await created(client, chain, **scope(chain, row), value=row) for row in range(5)]
    await client.delete(f"{PATH}/{made[1]['id']}", headers={"If-Match": "*"})
    found: list[int] = []
    cursor: str | None = None
    pages = 0
    while cursor is not None or not pages:
        query = {"limit": "2", "state": "active"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(PATH, params=query)).raise_for_status().json()
        found += [one["id"] for one in page["items"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert found == [one["id"] for one in made if one["id"] != made[1]["id"]]
    assert pages == 2
    by_place = (await client.get(PATH, params={"location_id": made[3]["location_id"]})).json()["items"]
    assert [one["id"] for one in by_place] == [made[3]["id"]]
    assert (await client.get(PATH, params={"selling_on": "2019-06-01"})).json()["items"] == []
    assert (await client.get(PATH, params={"cursor": "no such"})).status_code == 422


async def test_above_the_limit_a_second_person_approves(settings: Settings, chain: Panel) -> None:
    app = create_app(settings.model_copy(update={"approval_money": 50.0}))
    try:
        async with client_of(app, "ann") as ann, client_of(app, "bob") as bob:
            small = await created(ann, chain, mode="add_units", value=1)
            assert small["state"] == "active"
            large = await created(ann, chain, value=60)
            assert large["state"] == "pending"
            assert (await days(ann, chain))["inventory_days"] != 60
            path = f"{PATH}/{large['id']}/approval"
            own = await ann.post(path, headers={"If-Match": '"1"'})
            assert (own.status_code, own.json()["type"]) == (403, "second-person-needed")
            assert (await bob.post(path)).status_code == 428
            approved = await bob.post(path, headers={"If-Match": '"1"'})
            assert approved.json()["state"] == "active"
            assert (await days(ann, chain))["inventory_days"] == 60
            assert (await bob.post(path, headers={"If-Match": '"2"'})).status_code == 409
            worded = await ann.patch(f"{PATH}/{large['id']}", json={"reason": "May Day"}, headers={"If-Match": '"2"'})
            assert worded.json()["state"] == "active"  # it does what was approved
            grown = await ann.patch(f"{PATH}/{large['id']}", json={"value": 90}, headers={"If-Match": '"3"'})
            assert grown.json()["state"] == "pending"
            assert (await days(ann, chain))["override"]["id"] == small["id"]
    finally:
        app.state.store.close()


async def test_no_way_around_the_second_person(settings: Settings, chain: Panel) -> None:
    """Not in small steps, not in many parts, not by a friend's typo, not where the effect is unknown."""
    app = create_app(settings.model_copy(update={"approval_money": 3000.0}))
    try:
        async with client_of(app, "ann") as ann, client_of(app, "bob") as bob:
            small = await created(ann, chain, mode="add_units", value=50)
            assert small["state"] == "active"
            states = []
            for value in range(100, 2001, 100):
                step = {"value": value}
                changed = await ann.patch(f"{PATH}/{small['id']}", json=step, headers={"If-Match": "*"})
                states.append(changed.json()["state"])
            assert states[0] == "active"
            assert states[-1] == "pending"
            await bob.patch(f"{PATH}/{small['id']}", json={"reason": "a festival"}, headers={"If-Match": "*"})
            for who in (ann, bob):
                own = await who.post(f"{PATH}/{small['id']}/approval", headers={"If-Match": "*"})
                assert own.status_code == 403
            parts = [{**FIELDS, **scope(chain, row), "mode": "add_units", "value": 50} for row in range(1, 12)]
            for some, state in ((parts[:1], "active"), (parts[1:], "pending")):
                bulk = await ann.post(f"{PATH}/bulk", json={"overrides": some})
                assert {one["state"] for one in bulk.json()["items"]} == {state}
            far = {"selling_from": "2019-12-01", "selling_to": "2019-12-05", "mode": "add_units", "value": 1e9}
            assert (await created(ann, chain, **far))["state"] == "pending"
    finally:
        app.state.store.close()


async def test_many_changes_at_once_all_come_through(client: httpx.AsyncClient, chain: Panel) -> None:
    import asyncio

    body = {"overrides": [{**FIELDS, **scope(chain)}] * 24}
    made = (await client.post(f"{PATH}/bulk", json=body)).json()["items"]
    gone = await asyncio.gather(
        *(client.delete(f"{PATH}/{one['id']}", headers={"If-Match": "*"}) for one in made)
    )  # fmt: skip
    assert {answer.status_code for answer in gone} == {200}


async def test_overrides_survive_a_new_dataset(client: httpx.AsyncClient, app: FastAPI, chain: Panel) -> None:
    from service.loading import load_panel

    stored = await created(client, chain)
    load_panel(app.state.store, chain, "the same again", draw_stock=True)
    assert (await client.get(f"{PATH}/{stored['id']}")).json() == stored
    assert (await days(client, chain))["inventory_days"] == 9
