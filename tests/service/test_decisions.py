"""Order memory: what was advised is never advised twice, and every answer can be had again."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from service.decision_store import find_decision
from service.decisions import reproduce
from service.memory import Advised, outstanding
from simulator.panel import Panel

PATH, DECISIONS = "/v1/recommendations", "/v1/decisions"
DAY = date(2019, 4, 26)
SLOW = 7  # the series with a lead time of nine days, reviewed every other day


def item(chain: Panel, row: int = SLOW, **fields: Any) -> dict[str, Any]:
    return {"item_id": chain.items.item_id[row], "location_id": chain.items.location_id[row]} | fields


async def asked(client: httpx.AsyncClient, one: dict[str, Any], day: date = DAY, **fields: Any) -> dict[str, Any]:
    body = {"as_of": day.isoformat(), "items": [{"on_hand": 3, "open_orders": []} | one]} | fields
    found = (await client.post(PATH, json=body)).raise_for_status().json()["items"][0]
    assert found["problem"] is None
    result: dict[str, Any] = found["result"]
    return result


async def tell(client: httpx.AsyncClient, decision: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"{DECISIONS}/{decision}/outcome", json=body)
    told: dict[str, Any] = answer.raise_for_status().json()
    return told


def due_day(chain: Panel, row: int = SLOW) -> date:
    """An order day of the series, late enough for a full history."""
    from simulator.schedule import review_schedule

    t = chain.period_of(DAY)
    due = review_schedule(chain, range(t - 10, t + 1)).due[row]
    return chain.date_of(t - 10 + int(np.flatnonzero(due)[-1]))


async def test_the_same_question_again_has_the_same_answer_and_the_same_decision(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    day = due_day(chain)
    first = await asked(client, item(chain), day)
    again = await asked(client, item(chain), day)
    assert first["decision_id"] == again["decision_id"] is not None
    assert first == again
    assert first["order_quantity"] > 0
    listed = (await client.get(DECISIONS)).json()["items"]
    assert [one["id"] for one in listed] == [first["decision_id"]]


async def test_what_was_advised_counts_on_the_next_day_until_it_is_rejected(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    day = due_day(chain)
    first = await asked(client, item(chain), day)
    later = await asked(client, item(chain), day + timedelta(days=1), record=False)
    assert later["reserved"] == first["order_quantity"]
    assert later["inventory_position"] == pytest.approx(3 + first["order_quantity"])
    told = await tell(client, first["decision_id"], status="rejected", note="no money")
    assert (told["status"], told["outcomes"][0]["note"]) == ("rejected", "no money")
    assert (await asked(client, item(chain), day + timedelta(days=1), record=False))["reserved"] == 0


async def test_an_order_that_shows_up_counts_once(client: httpx.AsyncClient, chain: Panel) -> None:
    """It is not confirmed, its date is another, part of it is missing: the rest is still expected."""
    day = due_day(chain)
    first = await asked(client, item(chain), day)
    quantity = first["order_quantity"]
    arrival = date.fromisoformat(first["expected_receipt_date"]) + timedelta(days=1)
    shown = item(chain, open_orders=[{"arrival_date": arrival.isoformat(), "quantity": quantity}])
    later = await asked(client, shown, day + timedelta(days=1), record=False)
    assert (later["on_order"], later["reserved"]) == (quantity, 0)
    part = item(chain, open_orders=[{"arrival_date": arrival.isoformat(), "quantity": quantity / 4}])
    later = await asked(client, part, day + timedelta(days=1), record=False)
    assert later["on_order"] + later["reserved"] == pytest.approx(quantity)


async def test_orders_that_were_there_before_do_not_hide_what_was_advised(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    day = due_day(chain)
    arrival = (day + timedelta(days=3)).isoformat()
    old = item(chain, open_orders=[{"arrival_date": arrival, "quantity": 4}])
    first = await asked(client, old, day)
    later = await asked(client, old, day + timedelta(days=1), record=False)
    assert (later["on_order"], later["reserved"]) == (4, first["order_quantity"])
    after = await asked(client, item(chain), day + timedelta(days=4), record=False)  # the old order has come
    assert after["reserved"] == first["order_quantity"]


async def test_what_was_ordered_counts_at_once_and_a_changed_quantity_counts_as_changed(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    day = due_day(chain)
    first = await asked(client, item(chain), day)
    await tell(client, first["decision_id"], status="ordered")
    again = await asked(client, item(chain), day)
    assert again["reserved"] == first["order_quantity"]
    assert again["order_quantity"] == 0
    assert again["decision_id"] != first["decision_id"]
    told = await tell(client, first["decision_id"], status="changed", quantity=2)
    assert [(one["status"], one["quantity"]) for one in told["outcomes"]] == [("ordered", None), ("changed", 2)]
    assert (await asked(client, item(chain), day, record=False))["reserved"] == 2


async def test_asked_again_on_the_same_day_an_order_that_shows_up_is_the_one_that_was_advised(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    """With an outcome or without: nothing more is to be bought."""
    day = due_day(chain)
    first = await asked(client, item(chain), day)
    arrival = {"arrival_date": first["expected_receipt_date"], "quantity": first["order_quantity"]}
    shown = item(chain, open_orders=[arrival])
    again = await asked(client, shown, day, record=False)
    assert (again["on_order"], again["reserved"]) == (first["order_quantity"], 0)
    assert again["order_quantity"] == 0
    assert again["target_stock"] == pytest.approx(first["target_stock"])
    await tell(client, first["decision_id"], status="ordered")
    assert (await asked(client, shown, day, record=False)) == again


def test_an_open_order_that_only_moved_is_not_taken_for_the_advised_one() -> None:
    day = date(2019, 4, 2)
    one = Advised("d-1", date(2019, 4, 1), date(2019, 4, 9), 50.0, "open", [(date(2019, 4, 4), 20.0)])
    moved = [(date(2019, 4, 6), 20.0)]
    assert outstanding([one], moved, day).reserved == [(date(2019, 4, 9), 50.0)]
    more = [(date(2019, 4, 6), 20.0), (date(2019, 4, 10), 30.0)]
    assert outstanding([one], more, day).reserved == [(date(2019, 4, 9), 20.0)]
    two = [one, one._replace(id="d-2", order_date=day, status="ordered", quantity=7.0, seen=moved)]
    assert outstanding(two, more, day) == ([(date(2019, 4, 9), 50.0)], [(date(2019, 4, 10), 30.0)], 0.0, [])
    overdue = one._replace(seen=[(day, 20.0)])
    assert outstanding([overdue], [(date(2019, 4, 5), 20.0)], day).reserved == [(date(2019, 4, 9), 50.0)]
    assert outstanding([overdue], [(date(2019, 4, 5), 50.0)], day).reserved == []
    alike = one._replace(
        seen=[(day, 50.0)]
    )  # what was overdue has come, and what was advised stands among the open orders
    assert outstanding([alike], [(date(2019, 4, 9), 50.0)], day) == ([], [], 0.0, ["d-1"])
    assert outstanding([alike], [(date(2019, 4, 5), 50.0)], day).reserved == [(date(2019, 4, 9), 50.0)]


async def test_a_newer_answer_for_the_same_order_takes_the_place_of_the_older(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    day = due_day(chain)
    first = await asked(client, item(chain), day)
    second = await asked(client, item(chain, on_hand=1), day)
    states = {one["id"]: one["status"] for one in (await client.get(DECISIONS)).json()["items"]}
    assert states == {first["decision_id"]: "superseded", second["decision_id"]: "open"}
    assert (await asked(client, item(chain), day))["decision_id"] == first["decision_id"]
    states = {one["id"]: one["status"] for one in (await client.get(DECISIONS)).json()["items"]}
    assert states == {first["decision_id"]: "open", second["decision_id"]: "superseded"}
    await tell(client, second["decision_id"], status="ordered")  # the caller went with the second one after all
    later = await asked(client, item(chain), day + timedelta(days=1), record=False)
    assert later["reserved"] == second["order_quantity"]


async def test_a_draft_that_is_thrown_away_takes_no_newer_answer_with_it(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    day = due_day(chain)
    first = await asked(client, item(chain), day)
    second = await asked(client, item(chain, on_hand=1), day)
    await tell(client, first["decision_id"], status="rejected")
    states = {one["id"]: one["status"] for one in (await client.get(DECISIONS)).json()["items"]}
    assert states == {first["decision_id"]: "rejected", second["decision_id"]: "open"}
    later = await asked(client, item(chain), day + timedelta(days=1), record=False)
    assert later["reserved"] == second["order_quantity"]


async def test_a_decision_ends_when_its_goods_should_have_come_or_it_is_too_old(
    client: httpx.AsyncClient, app: FastAPI, chain: Panel
) -> None:
    row, day = 0, due_day(chain, 0)
    first = await asked(client, item(chain, row), day)
    receipt = date.fromisoformat(first["expected_receipt_date"])
    assert (await asked(client, item(chain, row), receipt - timedelta(days=1), record=False))["reserved"] > 0
    assert (await asked(client, item(chain, row), receipt, record=False))["reserved"] == 0
    slow = await asked(client, item(chain), due_day(chain))
    assert slow["order_quantity"] > 0
    expired = due_day(chain) + timedelta(days=8)
    assert date.fromisoformat(slow["expected_receipt_date"]) > expired
    assert (await asked(client, item(chain), expired, record=False))["reserved"] == 0


async def test_an_order_that_is_not_due_is_nothing_and_names_the_next_order_day(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    day = due_day(chain) + timedelta(days=1)
    found = await asked(client, item(chain), day)
    assert not found["review_due"]
    assert found["order_quantity"] == 0
    assert found["order_quantity_if_due"] > 0
    assert found["next_order_date"] == (due_day(chain) + timedelta(days=2)).isoformat()


async def test_a_question_that_is_not_to_be_remembered_leaves_nothing(client: httpx.AsyncClient, chain: Panel) -> None:
    found = await asked(client, item(chain), record=False)
    assert found["decision_id"] is None
    place, name = chain.items.location_id[0], chain.items.item_id[0]
    await client.get(f"{PATH}/{place}/{name}?on_hand=5")
    assert (await client.get(DECISIONS)).json()["items"] == []


async def test_a_series_is_remembered_once_a_request(client: httpx.AsyncClient, chain: Panel) -> None:
    body = {"items": [item(chain, on_hand=1), item(chain, 0, on_hand=1), item(chain, on_hand=1)]}
    answer = await client.post(PATH, json=body)
    assert (answer.status_code, answer.json()["type"]) == (422, "series-twice")
    assert [one["row"] for one in answer.json()["errors"]] == [2]
    assert (await client.post(PATH, json=body | {"record": False})).status_code == 200


async def test_decisions_are_listed_page_by_page(client: httpx.AsyncClient, chain: Panel) -> None:
    for row in range(5):
        await asked(client, item(chain, row), client_ref=f"run {row}")
    found: list[str] = []
    cursor: str | None = None
    while cursor is not None or not found:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(DECISIONS, params=query)).raise_for_status().json()
        found += [one["client_ref"] for one in page["items"]]
        cursor = page["next_cursor"]
    assert sorted(found) == [f"run {row}" for row in range(5)]
    one = (await client.get(DECISIONS, params={"client_ref": "run 3"})).json()["items"]
    assert [found["location_id"] for found in one] == [chain.items.location_id[3]]
    assert (await client.get(DECISIONS, params={"cursor": "WzFd"})).status_code == 422


async def test_a_decision_can_be_made_again_from_what_it_saw(
    client: httpx.AsyncClient, app: FastAPI, chain: Panel
) -> None:
    """Also after the history was corrected and the override withdrawn."""
    import polars as pl

    from service.feed_store import write_history

    dates = {"selling_from": "2019-04-20", "selling_to": "2019-05-20", "reason": "festival", "author": "ann"}
    scope = {"item_id": chain.items.item_id[0], "location_id": chain.items.location_id[0]}
    made = await client.post("/v1/overrides", json={**scope, **dates, "mode": "uplift", "value": 30})
    coming = [{"arrival_date": "2019-04-28", "quantity": 7.5}]
    ids = [(await asked(client, item(chain, row, open_orders=coming)))["decision_id"] for row in range(3)]
    await client.delete(f"/v1/overrides/{made.json()['id']}", headers={"If-Match": "*"})
    store = app.state.store
    with store.database.writing() as connection:
        sold = store.sales(store.all_series(), date(2019, 1, 1), date(2019, 4, 30))
        assert write_history(connection, sold.with_columns(units_sold=pl.lit(1.0))) > 1000
    for number, decision in enumerate(ids):
        with store.database.reading() as connection:
            row = find_decision(connection, decision)
        assert row is not None
        then, again = reproduce(row, app.state.policies.current())
        assert again == pytest.approx(then)
        assert (row["inputs"].find("uplift") > 0) is (number == 0)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"status": "changed"}, "quantity"),
        ({"status": "ordered", "quantity": 3}, "quantity"),
        ({"status": "lost"}, "status"),
        ({"status": "changed", "quantity": -1}, "quantity"),
    ],
)
async def test_a_bad_outcome_is_refused(
    client: httpx.AsyncClient, chain: Panel, body: dict[str, Any], named: str
) -> None:
    decision = (await asked(client, item(chain)))["decision_id"]
    answer = await client.post(f"{DECISIONS}/{decision}/outcome", json=body)
    assert answer.status_code == 422
    assert named in answer.text
    assert (await client.get(f"{DECISIONS}/{decision}")).json()["outcomes"] == []
    assert (await client.post(f"{DECISIONS}/none/outcome", json={"status": "ordered"})).status_code == 404


async def test_what_has_shown_up_and_come_early_is_not_expected_again(client: httpx.AsyncClient, chain: Panel) -> None:
    day = due_day(chain)
    first = await asked(client, item(chain), day)
    early = [{"arrival_date": (day + timedelta(days=3)).isoformat(), "quantity": first["order_quantity"]}]
    seen = await asked(client, item(chain, open_orders=early), day + timedelta(days=1))
    assert (seen["on_order"], seen["reserved"]) == (first["order_quantity"], 0)
    assert (await client.get(f"{DECISIONS}/{first['decision_id']}")).json()["status"] == "seen"
    part = [{"arrival_date": (day + timedelta(days=3)).isoformat(), "quantity": 1}]
    for shown in (early, part, []):
        later = await asked(client, item(chain, on_hand=500, open_orders=shown), day + timedelta(days=4), record=False)
        assert later["reserved"] == 0


async def test_what_was_ordered_counts_beyond_the_expiry_until_it_should_have_come(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    day = due_day(chain)
    first = await asked(client, item(chain), day)
    await tell(client, first["decision_id"], status="ordered")
    late = day + timedelta(days=8)
    assert date.fromisoformat(first["expected_receipt_date"]) > late
    assert (await asked(client, item(chain), late, record=False))["reserved"] == first["order_quantity"]


async def test_asked_a_third_time_on_the_same_day_the_answer_stays(client: httpx.AsyncClient, chain: Panel) -> None:
    day = due_day(chain)
    first = await asked(client, item(chain), day)
    arrival = {"arrival_date": first["expected_receipt_date"], "quantity": first["order_quantity"]}
    shown = item(chain, open_orders=[arrival])
    again = [await asked(client, shown, day) for _ in range(3)]
    assert again[0]["order_quantity"] == 0
    assert again[0] == again[1] == again[2]


async def test_two_who_ask_at_once_leave_one_open_decision(client: httpx.AsyncClient, chain: Panel) -> None:
    day = due_day(chain)
    await asyncio.gather(*(asked(client, item(chain, on_hand=n), day) for n in range(6)))
    states = [one["status"] for one in (await client.get(DECISIONS)).json()["items"]]
    assert states.count("open") == 1


async def test_telling_outcomes_and_asking_at_once_never_wait_for_each_other(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    day = due_day(chain)
    first = await asked(client, item(chain), day)

    async def tell_and_ask(n: int) -> None:
        await asyncio.gather(
            tell(client, first["decision_id"], status="changed", quantity=n), asked(client, item(chain, on_hand=n), day)
        )

    await asyncio.gather(*(tell_and_ask(n) for n in range(8)))
    assert len((await client.get(f"{DECISIONS}/{first['decision_id']}")).json()["outcomes"]) == 8


async def test_an_order_that_has_shown_up_is_known_as_such_beyond_the_expiry(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel
) -> None:
    day, late = due_day(chain), due_day(chain) + timedelta(days=8)
    first = await asked(client, item(chain), day)
    assert date.fromisoformat(first["expected_receipt_date"]) > late
    arrival = {"arrival_date": first["expected_receipt_date"], "quantity": first["order_quantity"]}
    await asked(client, item(chain, open_orders=[arrival]), day + timedelta(days=2))
    series = chain.items.item_id[SLOW], chain.items.location_id[SLOW]
    app.state.view.refresh()
    known = app.state.memory.advised([series], late)[series]
    assert (first["decision_id"], "seen") in [(one.id, one.status) for one in known]
