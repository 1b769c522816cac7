"""Order days, closed days, shelf lives and last order dates reach the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.app import create_app
from service.keys import Keys
from service.loading import load_panel
from service.settings import Settings
from service.store import Store
from simulator.panel import Panel
from simulator.schedule import review_schedule

PATH = "/v1/recommendations"


@pytest.fixture
def calendars(chain: Panel) -> Panel:
    """Four series with rules of their own; the last recorded day, 2019-04-30, is a Tuesday."""
    panel = chain.take(np.arange(4))
    items = replace(
        panel.items,
        lead_time_days=np.array([2, 2, 2, 2]), review_period_days=np.array([1, 1, 1, 1]),
        order_weekdays=np.array(["24", "", "", ""], dtype=object),
        delivery_weekdays=np.array(["5", "", "", ""], dtype=object),
        orderable_until=np.array(["", "", "", "2019-04-29"], dtype=object),
        shelf_life_days=np.array([np.nan, np.nan, 1.0, np.nan]),
    )  # fmt: skip
    closed = np.ones_like(panel.units_sold)
    later = np.ones((4, 40), dtype=np.float32)
    later[:, :2] = 0  # nothing is received on the first two days of May
    wide = {
        name: np.concatenate([getattr(panel, name), np.full((4, 40), np.nan, np.float32)], axis=1)
        for name in ("units_sold", "in_stock", "price", "promotion", "open", "holiday", "school_holiday")
    }
    return replace(panel, items=items, delivery_open=np.concatenate([closed, later], axis=1), **wide)


@pytest.fixture
async def http(calendars: Panel, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/calendars.db")
    store = Store(settings.database_url)
    load_panel(store, calendars, "calendars", draw_stock=False)
    key = Keys(store.database).add("test")
    store.close()
    app = create_app(settings)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost", headers={"X-API-Key": key}
    ) as client:
        yield client
    app.state.features_cache.close()
    app.state.store.close()


async def answers(http: httpx.AsyncClient, panel: Panel, on_hand: float = 0.0) -> list[dict[str, Any]]:
    items = panel.items
    wanted = [
        {"item_id": items.item_id[n], "location_id": items.location_id[n], "on_hand": on_hand}
        for n in range(panel.series_count)
    ]
    body = (await http.post(PATH, json={"items": wanted})).raise_for_status().json()
    return [answer["result"] for answer in body["items"]]


async def test_receipt_and_coverage_follow_the_calendars(http: httpx.AsyncClient, calendars: Panel) -> None:
    t = calendars.last_recorded
    schedule = review_schedule(calendars, range(t, t + 1))
    for n, answer in enumerate(await answers(http, calendars)):
        receipt = calendars.date_of(t) + timedelta(days=int(schedule.lead_time[n, 0]))
        assert answer["expected_receipt_date"] == receipt.isoformat()
        covers = calendars.date_of(t) + timedelta(days=int(schedule.protection[n, 0]))
        assert answer["covers_until"] == covers.isoformat()
        assert answer["review_due"] == bool(schedule.due[n, 0])
    first, other = (await answers(http, calendars))[:2]
    assert first["expected_receipt_date"] == "2019-05-03"  # a Friday
    assert first["covers_until"] == "2019-05-09"  # Thursday's order comes the Friday after
    assert other["review_due"] is False  # tomorrow's order comes no later
    assert other["expected_receipt_date"] == "2019-05-03"  # two days on, were they not closed


async def test_an_answer_says_where_calendars_make_another_of_the_items_own_days(
    http: httpx.AsyncClient, calendars: Panel
) -> None:
    """The first is ordered and received on some weekdays only; to the others nothing comes until 3 May, and then every day."""
    found = await answers(http, calendars)
    own = calendars.items
    for n, answer in enumerate(found):
        lead, review = answer["lead_time_days"], answer["review_period_days"]
        moved = lead != own.lead_time_days[n], review != own.review_period_days[n]
        assert moved == (True, n == 0)
        assert answer["lead_time_source"] == "store (calendar)"
        assert answer["review_period_source"] == ("store (calendar)" if moved[1] else "store")


@pytest.mark.parametrize(("assumed", "said"), [(None, "store (calendar)"), (2, "request (calendar)"), (10, "request")])
async def test_what_if_says_where_its_lead_time_comes_from(
    http: httpx.AsyncClient, calendars: Panel, assumed: int | None, said: str
) -> None:
    question = {"item_id": calendars.items.item_id[1], "location_id": calendars.items.location_id[1], "on_hand": 0,
                "assumptions": {"lead_time_days": assumed}}  # fmt: skip
    told = (await http.post("/v1/what-if", json=question)).raise_for_status().json()
    assert (told["lead_time_source"], told["lead_time_days"]) == (said, assumed if said == "request" else 3)


async def test_what_if_follows_the_same_calendars_and_rules(http: httpx.AsyncClient, calendars: Panel) -> None:
    for n, answer in enumerate(await answers(http, calendars)):
        question = {"item_id": calendars.items.item_id[n], "location_id": calendars.items.location_id[n], "on_hand": 0}
        told = (await http.post("/v1/what-if", json=question)).raise_for_status().json()
        assert told["order_quantity"] == answer["order_quantity_if_due"]
        for field in ("expected_receipt_date", "covers_until", "review_due"):
            assert told[field] == answer[field], field
        assert told["projection"][-1]["date"] == answer["covers_until"]
        assert any(point["waste_cost"] > 0 for point in told["curve"]) == (n == 2)  # which keeps for a day only


async def test_an_item_past_its_last_order_date_is_not_ordered_and_says_so(
    http: httpx.AsyncClient, calendars: Panel
) -> None:
    answer = (await answers(http, calendars))[3]
    assert answer["raw_order_quantity"] > 0
    assert answer["order_quantity"] == 0
    assert "orderable_until" in answer["constraints_applied"]
    assert answer["review_due"] is False


async def test_no_more_is_ordered_than_sells_within_the_shelf_life(http: httpx.AsyncClient, calendars: Panel) -> None:
    answer = (await answers(http, calendars))[2]
    most = answer["daily_rate"] * (2 + 1 - 1)
    if answer["raw_order_quantity"] > most:
        assert "shelf_life_days" in answer["constraints_applied"]
    assert answer["order_quantity"] <= np.ceil(most)
