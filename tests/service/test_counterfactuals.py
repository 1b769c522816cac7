"""What an answer says another circumstance would change is what the service answers once it is so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.loading import load_panel
from service.settings import Settings
from service.store import Store
from simulator.panel import Panel
from simulator.weeks import by_week
from tests.service.conftest import client_of

PATH = "/v1/recommendations"
DAY = date(2019, 4, 9)  # of all series promotions are known ahead
LAST = date(2019, 4, 30)
STEP_DAYS = 0.25  # of the days that a policy chooses from
PROMOTED = "without the promotions known ahead"


async def ask(client: httpx.AsyncClient, chain: Panel, day: date, *, others: bool = False) -> list[dict[str, Any]]:
    """The results of all series of the chain."""
    named = zip(chain.items.item_id, chain.items.location_id, strict=True)
    items = [{"item_id": item, "location_id": place, "on_hand": 30, "open_orders": []} for item, place in named]
    body = {"as_of": day.isoformat(), "items": items, "record": False, "counterfactuals": others}
    found = (await client.post(PATH, json=body)).raise_for_status().json()["items"]
    assert [one["problem"] for one in found] == [None] * len(items)
    return [one["result"] for one in found]


def told(results: list[dict[str, Any]], change: str) -> list[float | None]:
    """By how much each target would differ; None where the change is no other circumstance."""
    lines = [{line["change"]: line["target_units"] for line in one["counterfactuals"]} for one in results]
    return [one.get(change) for one in lines]


def differences(then: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[Any]:
    """By how much the targets differ."""
    pairs = zip(then, now, strict=True)
    return [pytest.approx(one["target_stock"] - other["target_stock"], rel=1e-6, abs=1e-6) for one, other in pairs]


async def lengthen(client: httpx.AsyncClient, days: int) -> None:
    """Every item's lead time by so many days."""
    rows = (await client.get("/v1/items")).raise_for_status().json()["items"]
    longer = [row | {"lead_time_days": row["lead_time_days"] + days} for row in rows]
    (await client.put("/v1/items", json=longer)).raise_for_status()


async def announce(client: httpx.AsyncClient, chain: Panel, days: list[date], *, promotion: bool) -> None:
    """Say of the first four series whether they will be on promotion."""
    rows = [
        {"item_id": chain.items.item_id[n], "location_id": chain.items.location_id[n], "date": day.isoformat(),
         "units_sold": None, "in_stock": None, "promotion": promotion}
        for n in range(4)
        for day in days
    ]  # fmt: skip
    (await client.put("/v1/history", json=rows)).raise_for_status()


async def test_two_days_more_lead_time_change_the_target_as_was_told(client: httpx.AsyncClient, chain: Panel) -> None:
    now = await ask(client, chain, LAST, others=True)
    said = told(now, "2 days more lead time")
    await lengthen(client, 2)
    then = await ask(client, chain, LAST)
    assert [one["lead_time_days"] for one in then] == [one["lead_time_days"] + 2 for one in now]
    assert said == differences(then, now)
    assert sum(units is not None and units > 1 for units in said) > 6


async def test_what_if_under_two_days_more_lead_time_says_the_same(client: httpx.AsyncClient, chain: Panel) -> None:
    now = await ask(client, chain, LAST, others=True)
    said = told(now, "2 days more lead time")
    for n in (0, 3, 7):
        question = {"item_id": chain.items.item_id[n], "location_id": chain.items.location_id[n], "on_hand": 30,
                    "open_orders": [], "assumptions": {"lead_time_days": now[n]["lead_time_days"] + 2}}  # fmt: skip
        answer = (await client.post("/v1/what-if", json=question)).raise_for_status().json()
        target = answer["policy_days"] * answer["daily_rate"]
        assert said[n] == pytest.approx(target - now[n]["target_stock"], rel=1e-6, abs=1e-6)


async def test_without_the_promotions_that_were_known_the_target_changes_as_was_told(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    """They are taken out of what was told, and the same is asked again."""
    now = await ask(client, chain, DAY, others=True)
    said = told(now, PROMOTED)
    known = {"from": str(DAY + timedelta(days=1)), "to": str(DAY + timedelta(chain.promotion_known_ahead_days))}
    rows = (await client.get("/v1/history", params=known | {"limit": "5000"})).raise_for_status().json()["items"]
    (await client.put("/v1/history", json=[row | {"promotion": False} for row in rows])).raise_for_status()
    then = await ask(client, chain, DAY, others=True)
    assert said == differences(then, now)
    assert sum(units is not None and units < -1 for units in said) > 6
    assert told(then, PROMOTED) == [None] * chain.series_count


async def test_an_announced_promotion_changes_the_target_by_what_its_absence_was_told_to_change(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    days = [LAST + timedelta(days=n) for n in range(1, 10)]
    untold = await ask(client, chain, LAST)
    await announce(client, chain, days, promotion=False)
    without = await ask(client, chain, LAST, others=True)
    assert told(without, PROMOTED) == [None] * chain.series_count
    await announce(client, chain, days, promotion=True)
    promoted = await ask(client, chain, LAST, others=True)
    said = told(promoted, PROMOTED)
    assert said[4:] == [None] * (chain.series_count - 4)
    assert said[:4] == differences(without, promoted)[:4]
    assert all(units is not None and units < -1 for units in said[:4])
    for one, other in zip(untold, without, strict=True):  # nobody has said anything of these days: next to the same
        assert abs(one["target_stock"] - other["target_stock"]) <= STEP_DAYS * one["daily_rate"]


async def test_in_weekly_data_a_day_within_a_week_is_refused(weekly: tuple[httpx.AsyncClient, Panel]) -> None:
    client, weeks = weekly
    monday = weeks.date_of(weeks.last_recorded)
    body = {
        "as_of": str(monday + timedelta(days=6)),
        "items": [{"item_id": "B101", "location_id": "S17", "on_hand": 3}],
    }
    answer = await client.post("/v1/recommendations", json=body)
    assert (answer.status_code, answer.json()["type"]) == (422, "off-grid")
    assert answer.json()["detail"] == f"as_of: {body['as_of']} does not start a 7-day period, as {monday} does"


@pytest.fixture
async def weekly(chain: Panel, tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, Panel]]:
    """A service of the same series by week, and its dataset."""
    settings = Settings(database_url=f"sqlite:///{tmp_path}/weeks.db", spool=tmp_path / "spool.db")
    store, weeks = Store(settings.database_url), by_week(chain)
    load_panel(store, weeks, "weeks", draw_stock=False)
    store.close()
    app = create_app(settings)
    async with client_of(app, "weeks") as client:
        yield client, weeks
    app.state.features_cache.close()
    app.state.store.close()


async def test_in_weekly_data_a_week_more_lead_time_changes_the_target_as_was_told(
    weekly: tuple[httpx.AsyncClient, Panel],
) -> None:
    """Lead times are whole weeks there: two days more would be none or a week."""
    client, weeks = weekly
    day = weeks.date_of(weeks.last_recorded)
    now = await ask(client, weeks, day, others=True)
    said = told(now, "7 days more lead time")
    await lengthen(client, 7)
    then = await ask(client, weeks, day)
    assert [one["lead_time_days"] for one in then] == [one["lead_time_days"] + 7 for one in now]
    assert said == differences(then, now)
    assert sum(units is not None and units > 1 for units in said) > 6
