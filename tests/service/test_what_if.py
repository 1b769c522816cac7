"""What if: the same decision as a recommendation's, priced beside others, under assumptions; and nothing is stored."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from service.tables import metadata
from service.what_if import demand_factors
from service.what_if_schemas import DemandChange
from simulator.panel import Panel

PATH, RECOMMENDATIONS = "/v1/what-if", "/v1/recommendations"
DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"
SLOW = 7  # the series with a lead time of nine days, reviewed every other day
DATES = {"selling_from": "2019-05-01", "selling_to": "2019-05-31"}
OVERRIDE = {**DATES, "reason": "festival", "author": "ann"}


def item(chain: Panel, row: int = 0, **fields: Any) -> dict[str, Any]:
    return {"item_id": chain.items.item_id[row], "location_id": chain.items.location_id[row]} | fields


async def what_if(client: httpx.AsyncClient, question: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = (await client.post(PATH, json=question)).raise_for_status().json()
    return told


async def recommended(client: httpx.AsyncClient, one: dict[str, Any], **fields: Any) -> dict[str, Any]:
    body = {"items": [one], "record": False} | fields
    result: dict[str, Any] = (await client.post(RECOMMENDATIONS, json=body)).json()["items"][0]["result"]
    return result


def at(told: dict[str, Any], days: float) -> dict[str, Any]:
    """The point of the curve at these days."""
    return next(point for point in told["curve"] if point["inventory_days"] == days)


@pytest.mark.parametrize("row", [0, 3, SLOW])
async def test_without_days_it_is_the_decision_that_is_recommended(
    client: httpx.AsyncClient, chain: Panel, row: int
) -> None:
    one = item(chain, row, on_hand=55, open_orders=[{"arrival_date": "2019-05-01", "quantity": 7}])
    told, result = await what_if(client, one), await recommended(client, one)
    assert told["inventory_days"] == told["policy_days"] == result["inventory_days"]
    assert told["order_quantity"] == result["order_quantity_if_due"] == at(told, told["policy_days"])["order_quantity"]
    for field in ("daily_rate", "inventory_position", "review_due", "expected_receipt_date", "covers_until"):
        assert told[field] == result[field], field
    assert told["override_id"] is None


@pytest.mark.parametrize("change", [{"mode": "set", "value": 9}, {"mode": "add_units", "value": 333}])
async def test_an_override_is_in_the_days_that_are_projected(
    client: httpx.AsyncClient, chain: Panel, change: dict[str, Any]
) -> None:
    before = await what_if(client, item(chain))
    made = (await client.post("/v1/overrides", json=item(chain) | OVERRIDE | change)).json()
    told, result = await what_if(client, item(chain)), await recommended(client, item(chain))
    assert told["override_id"] == made["id"]
    assert told["order_quantity"] == result["order_quantity_if_due"] != before["order_quantity"]
    assert told["policy_days"] == before["policy_days"] != told["inventory_days"]


async def test_the_curve_names_the_cheapest_days_and_what_the_policys_cost_beyond_them(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    told = await what_if(client, item(chain, on_hand=0, open_orders=[]))
    curve = told["curve"]
    days, total = [point["inventory_days"] for point in curve], [point["total_cost"] for point in curve]
    assert days == sorted(days)
    assert {0.0, 0.25, told["policy_days"]} <= set(days)
    assert days[-1] >= 2 * told["policy_days"] - 1
    best = at(told, told["cheapest_days"])
    assert best["total_cost"] == min(total) < total[0]
    assert told["policy_above_cheapest"] == pytest.approx(at(told, told["policy_days"])["total_cost"] - min(total))
    for point in curve:
        parts = point["holding_cost"] + point["stockout_cost"] + point["waste_cost"]
        assert point["total_cost"] == pytest.approx(parts)
        assert point["stockout_cost"] == pytest.approx(point["lost_units"] * chain.items.lost_sale_cost[0])


async def test_days_of_ones_own_are_priced_beside_the_policys(client: httpx.AsyncClient, chain: Panel) -> None:
    told = await what_if(client, item(chain, inventory_days=6.1, days=[2, 40, 2]))
    assert [p["inventory_days"] for p in told["curve"]] == sorted({2, 6.1, 40, told["policy_days"]})
    assert told["order_quantity"] == at(told, 6.1)["order_quantity"]
    await client.post("/v1/overrides", json=item(chain) | OVERRIDE | {"mode": "set", "value": 6.1})
    assert (await recommended(client, item(chain)))["order_quantity"] == told["order_quantity"]


async def test_stock_is_projected_to_the_last_date_that_the_order_covers(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    told = await what_if(
        client, item(chain, SLOW, on_hand=20, open_orders=[{"arrival_date": "2019-05-03", "quantity": 9}])
    )
    periods = told["projection"]
    first = date.fromisoformat(told["as_of"]) + timedelta(days=1)
    last = date.fromisoformat(told["covers_until"])
    assert [p["date"] for p in periods] == [str(first + timedelta(days=n)) for n in range((last - first).days + 1)]
    received = {p["date"]: p["received"] for p in periods if p["received"]}
    assert received == {"2019-05-03": 9, told["expected_receipt_date"]: told["order_quantity"]}
    for period in periods:
        assert 0 <= period["on_hand_p10"] <= period["on_hand_p50"] <= period["on_hand_p90"]
    assert any(p["on_hand_p10"] < p["on_hand_p50"] < p["on_hand_p90"] for p in periods)
    responsible = [p for p in periods if p["date"] >= told["expected_receipt_date"]]
    lost = at(told, told["inventory_days"])["lost_units"]
    assert sum(p["lost_units"] for p in responsible) == pytest.approx(lost)


async def test_what_was_ordered_today_is_still_on_its_way(client: httpx.AsyncClient, chain: Panel) -> None:
    one = item(chain, on_hand=30, open_orders=[])
    before = await what_if(client, one)
    made = (await client.post(RECOMMENDATIONS, json={"items": [one]})).json()["items"][0]["result"]
    assert made["order_quantity"] > 0
    await client.post(f"/v1/decisions/{made['decision_id']}/outcome", json={"status": "ordered"})
    after = await what_if(client, one)
    assert after["order_quantity"] == 0
    assert after["projection"] == before["projection"]


async def test_what_was_advised_before_and_not_rejected_is_on_its_way(client: httpx.AsyncClient, chain: Panel) -> None:
    one = item(chain, SLOW, on_hand=0, open_orders=[])
    made = await recommended(client, one, as_of="2019-04-26", record=True)
    assert made["order_quantity"] > 0
    told = await what_if(client, one | {"as_of": "2019-04-27"})
    assert told["inventory_position"] == made["order_quantity"]
    received = {period["date"]: period["received"] for period in told["projection"]}
    assert received[made["expected_receipt_date"]] == made["order_quantity"]


async def test_another_lead_time_is_answered_as_if_it_stood_in_the_items(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    one = item(chain, on_hand=55, open_orders=[])
    assumed = await what_if(client, one | {"assumptions": {"lead_time_days": 8}})
    known = await what_if(client, one)
    assert assumed["lead_time_days"] == 8 != known["lead_time_days"]
    assert assumed["policy_days"] > known["policy_days"]
    stored = (await client.get("/v1/items", params=item(chain))).json()["items"][0]
    changed = {name: value for name, value in stored.items() if value is not None and name != "recorded_at"}
    (await client.put("/v1/items", json=[changed | {"lead_time_days": 8}])).raise_for_status()
    assert (assumed["lead_time_source"], known["lead_time_source"]) == ("request", "store")
    assert await what_if(client, one) == assumed | {"lead_time_source": "store"}


async def test_demand_that_differs_costs_stock_outs_and_leaves_the_policy_alone(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    one = item(chain, on_hand=55, open_orders=[])
    plain = await what_if(client, one)
    found = {}
    for per_cent in (-100, 100):
        changes = {"demand": [DATES | {"per_cent": per_cent}]}
        found[per_cent] = await what_if(client, one | {"assumptions": changes})
        assert found[per_cent]["policy_days"] == plain["policy_days"]
        assert found[per_cent]["order_quantity"] == plain["order_quantity"]
    lost = {per_cent: at(told, told["policy_days"])["lost_units"] for per_cent, told in found.items()}
    assert lost[-100] == 0 < at(plain, plain["policy_days"])["lost_units"] < lost[100]
    assert found[-100]["projection"][-1]["on_hand_p10"] == 55 + plain["order_quantity"]
    assert found[100]["cheapest_days"] > plain["cheapest_days"] > found[-100]["cheapest_days"] == 0


def test_changes_of_demand_count_on_their_dates_and_are_multiplied() -> None:
    def change(first: int, last: int, per_cent: float) -> DemandChange:
        return DemandChange(selling_from=date(2019, 5, first), selling_to=date(2019, 5, last), per_cent=per_cent)

    changes, as_of = [change(2, 3, 50), change(3, 9, -50)], date(2019, 4, 30)
    assert demand_factors(changes, as_of, 1, 4).tolist() == [1, 1.5, 0.75, 0.5]
    assert demand_factors([change(7, 8, 70)], as_of, 7, 2) == pytest.approx([1.2, 1])


async def test_nothing_is_stored(client: httpx.AsyncClient, app: FastAPI, chain: Panel) -> None:
    def everything() -> dict[str, list[Any]]:
        with app.state.store.database.reading() as connection:
            return {name: list(connection.execute(sa.select(table))) for name, table in metadata.tables.items()}

    before = everything()
    await what_if(
        client, item(chain, inventory_days=9, assumptions={"lead_time_days": 2, "demand": [DATES | {"per_cent": 9}]})
    )
    assert everything() == before


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"inventory_days": -1}, "inventory_days"),
        ({"days": []}, "days"),
        ({"days": [3, 400]}, "days"),
        ({"on_hand": -3}, "on_hand"),
        ({"on_hand": 1, "quantity": 3}, "quantity"),
        ({"assumptions": {"lead_time_days": 0}}, "assumptions.lead_time_days"),
        ({"assumptions": {"lead_time_days": 300}}, "assumptions.lead_time_days"),
        ({"assumptions": {"demand": [DATES | {"per_cent": -101}]}}, "assumptions.demand.per_cent"),
        ({"assumptions": {"demand": [{**DATES, "selling_to": "2019-04-30", "per_cent": 1}]}}, "assumptions.demand"),
    ],
)  # fmt: skip
async def test_bad_input_is_refused_by_its_name(
    client: httpx.AsyncClient, chain: Panel, fields: dict[str, Any], named: str
) -> None:
    refused = await client.post(PATH, json=item(chain) | fields)
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["errors"][0]["field"] == named


async def test_what_cannot_be_recommended_cannot_be_asked_either(client: httpx.AsyncClient, chain: Panel) -> None:
    for question, status, kind in (
        ({"item_id": "nobody", "location_id": "S17", "on_hand": 1}, 404, "series-unknown"),
        (item(chain, as_of="2019-04-20"), 422, "stock-missing"),
        (item(chain, as_of="1999-01-01", on_hand=1), 422, "before-history"),
    ):
        refused = await client.post(PATH, json=question)
        assert (refused.status_code, refused.json()["type"]) == (status, kind)
    del client.headers["X-API-Key"]
    assert (await client.post(PATH, json=item(chain))).status_code == 401


async def test_every_field_of_the_question_and_its_answer_has_words_for_it(client: httpx.AsyncClient) -> None:
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    for name in ("WhatIfRequest", "Assumptions", "DemandChange", "PricedDays", "ProjectedPeriod", "WhatIfResponse"):
        for field, spec in schemas[name]["properties"].items():
            assert "description" in spec or "examples" in spec or "$ref" in str(spec) or "format" in spec, (name, field)


async def test_the_example_of_the_documents_holds(client: httpx.AsyncClient) -> None:
    """Figures are those of the whole sample, this is part of it: the rate of one series rests on its peers a little."""
    parts = DOCUMENT.read_text(encoding="utf-8").split("## What if")[1].split("```json")[1:]
    question, shown = (json.loads(part.split("```")[0]) for part in parts)
    told = await what_if(client, question)
    assert told["currency"] == shown["currency"]
    for field in ("policy_days", "inventory_days", "cheapest_days", "order_quantity", "policy_above_cheapest"):
        assert told[field] == pytest.approx(shown[field], rel=0.01 if field != "policy_above_cheapest" else 1), field
    for point in shown["curve"]:
        assert {field: at(told, point["inventory_days"])[field] for field in point} == pytest.approx(point, rel=0.05)
    for period in shown["projection"]:
        found = next(p for p in told["projection"] if p["date"] == period["date"])
        assert {field: found[field] for field in period if field != "date"} == pytest.approx(
            {field: value for field, value in period.items() if field != "date"}, rel=0.05
        )
