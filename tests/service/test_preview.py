"""What an override would do, and what an uplift is."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from service.decide import Override, responsible_dates, uplift_units
from simulator.panel import Panel

PREVIEW, OVERRIDES = "/v1/overrides/preview", "/v1/overrides"
FIELDS = {"selling_from": "2019-05-01", "selling_to": "2019-05-20", "mode": "set", "value": 9, "reason": "festival",
          "author": "ann"}  # fmt: skip


def scope(chain: Panel, row: int = 0) -> dict[str, str]:
    return {"item_id": chain.items.item_id[row], "location_id": chain.items.location_id[row]}


async def answer(client: httpx.AsyncClient, chain: Panel, row: int = 0, **query: Any) -> dict[str, Any]:
    place, item = chain.items.location_id[row], chain.items.item_id[row]
    found = await client.get(f"/v1/recommendations/{place}/{item}", params=query)
    result: dict[str, Any] = found.raise_for_status().json()["items"][0]["result"]
    return result


async def test_the_preview_of_an_order_that_is_due_is_what_then_happens(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    before = await answer(client, chain)
    assert before["review_due"]
    body = {**FIELDS, **scope(chain), "value": 12}
    said = (await client.post(PREVIEW, json=body)).raise_for_status().json()
    assert (await client.get(OVERRIDES)).json()["items"] == []
    await client.post(OVERRIDES, json=body)
    after = await answer(client, chain)
    one = said["series"][0]
    assert one["order_date"] == before["order_date"]
    assert one["order_units"] == after["order_quantity"] - before["order_quantity"] != 0
    assert one["target_units"] == pytest.approx(after["target_stock"] - before["target_stock"])
    assert said["money"] == pytest.approx(one["order_units"] * chain.items.unit_cost[0])
    assert (said["series_changed"], said["series_unchanged"]) == (1, 0)
    assert "Changes 1 of 1 orders" in said["note"]


async def test_a_preview_says_when_no_rounded_order_changes(client: httpx.AsyncClient, chain: Panel) -> None:
    said = (await client.post(PREVIEW, json={**FIELDS, **scope(chain), "mode": "at_least", "value": 0})).json()
    assert (said["series_changed"], said["order_units"]) == (0, 0)
    assert said["note"] == "Alters no rounded order."


async def test_a_more_specific_override_wins_in_the_preview_too(client: httpx.AsyncClient, chain: Panel) -> None:
    for row in range(chain.series_count):
        await client.post(OVERRIDES, json={**FIELDS, **scope(chain, row)})
    said = (await client.post(PREVIEW, json={**FIELDS, "category": "bakery", "value": 30})).json()
    assert said["series_in_scope"] == chain.series_count
    assert said["series_changed"] == 0


async def test_a_preview_of_dates_that_lie_ahead_names_the_first_order_for_them(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    ahead = {"selling_from": "2019-05-20", "selling_to": "2019-05-20", "value": 30}
    said = (await client.post(PREVIEW, json={**FIELDS, **scope(chain, 1), **ahead})).json()
    placed = date.fromisoformat(said["series"][0]["order_date"])
    lead, review = chain.items.lead_time_days[1], chain.items.review_period_days[1]
    assert 0 <= (date(2019, 5, 20) - placed).days - lead < review
    past = {"selling_from": "2018-05-20", "selling_to": "2018-05-20"}
    said = (await client.post(PREVIEW, json={**FIELDS, **scope(chain, 1), **past})).json()
    assert said["note"] == "No order that can be foreseen covers these dates."


def test_an_uplift_adds_its_share_of_the_days_that_it_and_the_order_cover() -> None:
    override = Override(1, "", "", "", date(2019, 5, 2), date(2019, 5, 4), "uplift", 50.0, "", "")
    span = (date(2019, 5, 3), date(2019, 5, 9))
    plain = np.array([10.0, 20.0, 30.0, 40.0, 50.0])  # 1 to 5 May
    assert uplift_units(override, span, date(2019, 4, 30), 1, plain, plain) == pytest.approx(0.5 * (30 + 40))
    told = np.array([10.0, 20.0, 36.0, 48.0, 50.0])  # the policy knows a promotion and expects a fifth more
    assert uplift_units(override, span, date(2019, 4, 30), 1, told, plain) == pytest.approx(1.5 * 70 - 84)


def test_an_uplift_in_weekly_data_falls_into_the_week_of_its_dates(chain: Panel) -> None:
    """A week goes by its first day: what is ordered at the end of the week of 29 April comes on 6 May at the earliest."""
    items = replace(chain.items.take(np.array([0])), lead_time_days=np.array([7]), review_period_days=np.array([7]))
    weekly = replace(chain.take(np.array([0])), items=items, period_days=7, start=date(2019, 4, 22))
    as_of, plain = date(2019, 4, 29), np.array([70.0, 140.0])  # the weeks of 6 and 13 May
    (span,) = responsible_dates(weekly, np.array([0]), as_of)
    assert span == (date(2019, 5, 6), date(2019, 5, 12))
    override = Override(1, "", "", "", date(2019, 5, 9), date(2019, 5, 14), "uplift", 50.0, "", "")
    assert uplift_units(override, span, as_of, 7, plain, plain) == pytest.approx(0.5 * 70 * 4 / 7)


async def test_an_uplift_is_put_on_the_target_and_taken_off_by_a_negative_one(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    before = await answer(client, chain)
    stored = (await client.post(OVERRIDES, json={**FIELDS, **scope(chain), "mode": "uplift", "value": 80})).json()
    lifted = await answer(client, chain)
    units = lifted["override"]["units"]
    assert 0 < units < 5 * before["daily_rate"]
    assert lifted["target_stock"] == pytest.approx(before["target_stock"] + units)
    assert lifted["inventory_days"] == before["inventory_days"]
    down = {"value": -40}
    await client.patch(f"{OVERRIDES}/{stored['id']}", json=down, headers={"If-Match": "*"})
    assert (await answer(client, chain))["override"]["units"] == pytest.approx(-units / 2, rel=1e-3)


async def test_an_uplift_on_a_promotion_that_the_policy_knows_is_not_counted_twice(
    client: httpx.AsyncClient, app: FastAPI, chain: Panel
) -> None:
    """Where the policy expects a promotion's demand already, the planner's uplift adds less."""
    import polars as pl

    from service.feed_store import write_history

    as_of, mine = date(2019, 4, 5), scope(chain)
    dates = {"selling_from": "2019-04-06", "selling_to": "2019-04-30"}
    await client.post(OVERRIDES, json={**FIELDS, **mine, **dates, "mode": "uplift", "value": 60})
    ahead = pl.DataFrame({"date": [as_of + timedelta(days=n) for n in range(1, 26)]}).with_columns(
        item_id=pl.lit(mine["item_id"]), location_id=pl.lit(mine["location_id"])
    )
    units: dict[bool, float] = {}
    for known in (False, True):
        with app.state.store.database.writing() as connection:
            write_history(connection, ahead.with_columns(promotion=pl.lit(known)))
        app.state.features_cache.close()
        units[known] = (await answer(client, chain, as_of=as_of, on_hand=5))["override"]["units"]
    assert 0 < units[True] < units[False]
