"""A remembered answer can be read back as it was given, whatever has changed since, and made again figure by figure."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from service.decision_store import find_decision
from service.decisions import reproduce
from service.schemas import Recommendation
from service.tables import decisions
from simulator.panel import Panel

PATH, DECISIONS = "/v1/recommendations", "/v1/decisions"
DAY = date(2019, 4, 26)
RULES = {"min_order_qty": 2000, "order_multiple": 24, "max_order_qty": None}
DATES = {"selling_from": "2019-04-20", "selling_to": "2019-06-20", "reason": "festival", "author": "ann"}
SINCE = ("lead_time_source", "review_period_source", "order_rules_source")  # not in earlier answers
Asked = list[dict[str, Any]]


@pytest.fixture
async def asked(client: httpx.AsyncClient, chain: Panel) -> Asked:
    """The items of one answer: under an override, under rules, with open orders, due and not due."""
    key = {"item_id": chain.items.item_id[0], "location_id": chain.items.location_id[0]}
    (await client.post("/v1/overrides", json=key | DATES | {"mode": "uplift", "value": 30})).raise_for_status()
    (row,) = (await client.get("/v1/items", params=key)).json()["items"]
    (await client.put("/v1/items", json=[row | RULES])).raise_for_status()
    named = zip(chain.items.item_id, chain.items.location_id, strict=True)
    coming = [{"arrival_date": "2019-04-28", "quantity": 7.5}]
    items = [
        {"item_id": item, "location_id": place, "on_hand": 3 + n, "open_orders": coming[: n % 2]}
        for n, (item, place) in enumerate(named)
    ]
    body = {"as_of": DAY.isoformat(), "items": items, "counterfactuals": True, "client_ref": "night"}
    found: Asked = (await client.post(PATH, json=body)).raise_for_status().json()["items"]
    assert {one["result"]["review_due"] for one in found} == {True, False}
    assert found[0]["result"]["override"]["mode"] == "uplift"
    assert found[0]["result"]["constraints_applied"] == ["min_order_qty", "order_multiple"]
    return found


async def read(client: httpx.AsyncClient, one: dict[str, Any]) -> dict[str, Any]:
    answer = await client.get(f"{DECISIONS}/{one['result']['decision_id']}")
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


async def test_an_answer_is_read_back_in_full_as_it_was_given(client: httpx.AsyncClient, asked: Asked) -> None:
    for one in asked:
        found, result = await read(client, one), one["result"]
        assert found["answer"] == result
        assert list(found["answer"]) == list(result)
        assert (found["id"], found["policy_version"]) == (result["decision_id"], one["policy_version"])
        for name in ("order_date", "expected_receipt_date", "order_quantity"):
            assert found[name] == result[name], name
        assert {name: found[name] for name in ("item_id", "location_id", "client_ref", "made_for", "status")} == {
            "item_id": one["item_id"], "location_id": one["location_id"], "client_ref": "night", "made_for": "test",
            "status": "open",
        }  # fmt: skip


async def test_it_stays_so_when_all_that_it_rested_on_has_changed(
    client: httpx.AsyncClient, chain: Panel, asked: Asked
) -> None:
    (override,) = (await client.get("/v1/overrides")).json()["items"]
    (await client.delete(f"/v1/overrides/{override['id']}", headers={"If-Match": "*"})).raise_for_status()
    rows = (await client.get("/v1/items")).json()["items"]
    changed = [row | {"lead_time_days": row["lead_time_days"] + 1, "order_multiple": 7} for row in rows]
    (await client.put("/v1/items", json=changed)).raise_for_status()
    key = {"item_id": chain.items.item_id[0], "location_id": chain.items.location_id[0]}
    late = [key | {"date": f"2019-04-{day:02}", "units_sold": 1, "in_stock": 1} for day in range(1, 27)]
    (await client.put("/v1/history", json=late)).raise_for_status()
    told = await client.post(
        f"{DECISIONS}/{asked[0]['result']['decision_id']}/outcome", json={"status": "changed", "quantity": 5}
    )
    assert told.raise_for_status().json()["answer"] == asked[0]["result"]
    for one in asked:
        assert (await read(client, one))["answer"] == one["result"]


async def test_every_figure_comes_out_again(app: FastAPI, asked: Asked) -> None:
    for one in asked:
        result = one["result"]
        with app.state.store.database.reading() as connection:
            row = find_decision(connection, result["decision_id"])
        assert row is not None
        then, again = reproduce(row, app.state.policies.current())
        assert again == pytest.approx(then)
        assert then["constraints_applied"] == ", ".join(result["constraints_applied"])
        assert {name: result[name] for name in then if name != "constraints_applied"} == {
            name: value for name, value in then.items() if name != "constraints_applied"
        }


async def test_rules_are_said_to_be_the_items_or_whole_units_where_it_names_no_multiple(asked: Asked) -> None:
    said = [one["result"]["order_rules_source"] for one in asked]
    assert said == ["store"] + ["store (whole units)"] * (len(asked) - 1)
    assert asked[0]["result"]["order_rules"]["order_multiple"] == RULES["order_multiple"]


async def test_an_answer_from_before_it_told_its_sources_can_be_read_and_made_again(
    client: httpx.AsyncClient, app: FastAPI, asked: Asked
) -> None:
    result = asked[0]["result"]
    number = result["decision_id"]
    old = {name: value for name, value in result.items() if name not in SINCE}
    with app.state.store.database.writing() as connection:
        mine = decisions.c.id == number
        connection.execute(sa.update(decisions).where(mine).values(answer=json.dumps(old | {"decision_id": None})))
        row = find_decision(connection, number)
    assert row is not None
    found = (await read(client, asked[0]))["answer"]
    assert found == old
    assert Recommendation.model_validate(found).model_dump(mode="json") == result | dict.fromkeys(SINCE)
    then, again = reproduce(row, app.state.policies.current())
    assert again == pytest.approx(then)
