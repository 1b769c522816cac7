"""Stock counted during the day, units of measure, and what an answer says of where it comes from."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from service.counted import days_left
from service.settings import Hours, Settings
from simulator.panel import Panel

PATH, DAY = "/v1/recommendations", date(2019, 4, 30)
HOURS = Hours(8, 20)


async def asked(client: httpx.AsyncClient, chain: Panel, **body: Any) -> dict[str, Any]:
    item = {"item_id": chain.items.item_id[0], "location_id": chain.items.location_id[0], "on_hand": 500.0}
    sent = {"items": [item | body.pop("item", {})], "record": False} | body
    answer: dict[str, Any] = (await client.post(PATH, json=sent)).raise_for_status().json()
    return answer | answer["items"][0]


@pytest.mark.parametrize(
    ("at", "left"),
    [("2019-04-30T06:30", 1.0), ("2019-04-30T14:00", 0.5), ("2019-04-30T23:00", 0.0), ("2019-04-30T17:00+02:00", 0.25)],
)
def test_what_is_left_of_a_day_is_counted_in_selling_hours(at: str, left: float) -> None:
    assert days_left(datetime.fromisoformat(at), DAY, 1, HOURS) == left


def test_in_a_week_the_days_after_the_count_are_left_too() -> None:
    assert days_left(datetime(2019, 5, 2, 14), DAY, 7, HOURS) == 4.5  # noqa: DTZ001 - a location's own clock


async def test_stock_counted_at_noon_is_less_by_what_half_a_day_sells(client: httpx.AsyncClient, chain: Panel) -> None:
    evening = (await asked(client, chain))["result"]
    noon = (await asked(client, chain, inventory_as_of="2019-04-30T14:00:00"))["result"]
    assert noon["sold_since_count"] == pytest.approx(evening["daily_rate"] / 2, rel=1e-4)
    assert noon["on_hand"] == pytest.approx(500 - noon["sold_since_count"])
    assert noon["inventory_position"] == pytest.approx(noon["on_hand"] + noon["on_order"] + noon["reserved"])
    lines = {line["what"]: line["units"] for line in noon["receipt"]}
    assert lines["counted"] == -500
    assert sum(lines.values()) == pytest.approx(noon["order_quantity"])
    assert any("expected to sell before the order" in said for said in noon["reasons"])


async def test_more_than_was_counted_is_never_sold(client: httpx.AsyncClient, chain: Panel) -> None:
    found = await asked(client, chain, inventory_as_of="2019-04-30T08:00:00", item={"on_hand": 1.0})
    assert (found["result"]["on_hand"], found["result"]["sold_since_count"]) == (0.0, 1.0)


@pytest.mark.parametrize("at", ["2019-04-29T23:59:00", "2019-05-01T00:00:00"])
async def test_a_count_of_another_day_is_a_problem(client: httpx.AsyncClient, chain: Panel, at: str) -> None:
    found = await asked(client, chain, inventory_as_of=at)
    assert found["problem"]["type"] == "stock-over-age"
    assert "inventory_as_of" in found["problem"]["detail"]


@pytest.mark.parametrize("at", [1556600000, "2019-04-30", "noon", "2019-04-31T10:00:00", "2019-04-30T10:00:00+99:00"])
async def test_a_count_at_no_moment_is_refused(client: httpx.AsyncClient, chain: Panel, at: object) -> None:
    item = {"item_id": chain.items.item_id[0], "location_id": chain.items.location_id[0], "on_hand": 1}
    answer = await client.post(PATH, json={"items": [item], "inventory_as_of": at})
    assert answer.status_code == 422
    assert "inventory_as_of" in answer.json()["detail"]


async def test_an_item_that_is_kept_in_another_unit_is_a_problem(client: httpx.AsyncClient, chain: Panel) -> None:
    assert (await asked(client, chain, uom="EA"))["result"]  # the sample says nothing of units
    place = {"location_id": chain.items.location_id[0], "item_id": chain.items.item_id[0]}
    page = (await client.get("/v1/items", params={"location_id": place["location_id"]})).json()["items"]
    row = next(one for one in page if one["item_id"] == place["item_id"])
    (await client.put("/v1/items", json=[row | {"uom": "CS"}])).raise_for_status()
    refused = await asked(client, chain, uom="EA")
    assert refused["problem"]["type"] == "uom-mismatch"
    assert "'EA'" in refused["problem"]["detail"]
    assert "'CS'" in refused["problem"]["detail"]
    taken = await asked(client, chain, uom="CS")
    assert taken["result"]
    assert taken["uom"] == "CS"


async def test_an_answer_says_where_its_inputs_come_from(client: httpx.AsyncClient, chain: Panel) -> None:
    orders = [{"arrival_date": "2019-05-02", "quantity": 5}]
    found = await asked(client, chain, item={"open_orders": orders})
    result = found["result"]
    assert found["policy_alias"] == "champion"
    assert (result["stock_source"], result["open_orders_source"]) == ("request", "request")
    assert 0 <= found["feature_age_s"] < 60
    assert result["lead_time_days"] == (date.fromisoformat(result["expected_receipt_date"]) - DAY).days
    assert result["order_rules"]["order_multiple"] == 1  # whole units, as the dataset says
    assert result["order_rules"]["max_order_qty"] is None
    assert (result["lead_time_source"], result["review_period_source"]) == ("store", "store")
    assert result["order_rules_source"] == "store (whole units)"
    plain = await asked(client, chain)
    assert plain["result"]["open_orders_source"] == "store"


@pytest.mark.parametrize("hours", ["20-8", "8", "8-25", "early-late"])
def test_hours_that_are_none_are_refused(hours: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORPR_SELLING_HOURS", hours)
    with pytest.raises(ValidationError, match="selling_hours"):
        Settings()
    monkeypatch.setenv("ORPR_SELLING_HOURS", "0-24")
    assert Settings().selling_hours == Hours(0, 24)
