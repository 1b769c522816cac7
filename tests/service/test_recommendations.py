"""The recommendation routes, over the real store, policy and app."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from service.bundle import resolve_bundle
from service.policy import Policy
from simulator.observation import Observer
from simulator.panel import Panel
from simulator.step import State

PATH = "/v1/recommendations"


def requested(chain: Panel, rows: range, **more: Any) -> list[dict[str, Any]]:
    items = chain.items
    return [{"item_id": items.item_id[n], "location_id": items.location_id[n], **more} for n in rows]


async def test_the_route_answers_what_the_policy_says_of_the_panel(client: httpx.AsyncClient, chain: Panel) -> None:
    """Rows from SQL and observations from files take one code path, so the answers agree to the last digit shown."""
    body = {"items": requested(chain, range(12), on_hand=50.0)}
    answers = (await client.post(PATH, json=body)).raise_for_status().json()["items"]
    policy = Policy(resolve_bundle("champion", 1))
    rows = np.arange(12)
    observer, at = Observer(chain, policy.spec), np.full(12, chain.last_recorded)
    expected = policy.answer(observer.observe(rows, at, State(np.full(12, 50.0), np.zeros((12, 1)))))
    assert [a["result"]["inventory_days"] for a in answers] == expected.inventory_days.tolist()
    assert [a["result"]["daily_rate"] for a in answers] == pytest.approx(expected.daily_rate.tolist(), rel=1e-5)


async def test_the_policy_sees_the_stock_and_when_open_orders_arrive(client: httpx.AsyncClient, chain: Panel) -> None:
    """Overdue orders count as arriving tomorrow, those beyond the horizon in its last period."""
    arrivals = [{"arrival_date": day, "quantity": 40} for day in ("2019-04-01", "2019-05-02", "2021-01-01")]
    body = {"items": requested(chain, range(6), on_hand=7.0, open_orders=arrivals)}
    answers = (await client.post(PATH, json=body)).raise_for_status().json()["items"]
    policy = Policy(resolve_bundle("champion", 1))
    pipeline = np.zeros((6, policy.spec.horizon))
    pipeline[:, [0, 1, -1]] = 40.0
    observer, at = Observer(chain, policy.spec), np.full(6, chain.last_recorded)
    seeing = policy.answer(observer.observe(np.arange(6), at, State(np.full(6, 7.0), pipeline)))
    blind = policy.answer(observer.observe(np.arange(6), at))
    found = [a["result"]["inventory_days"] for a in answers]
    assert found == seeing.inventory_days.tolist()
    assert found != blind.inventory_days.tolist()


async def test_an_answer_adds_up_from_days_to_order(client: httpx.AsyncClient, chain: Panel) -> None:
    body = {
        "items": requested(chain, range(3), on_hand=10.0, open_orders=[{"arrival_date": "2019-05-02", "quantity": 5}])
    }
    for answer in (await client.post(PATH, json=body)).json()["items"]:
        r = answer["result"]
        assert r["target_stock"] == pytest.approx(r["inventory_days"] * r["daily_rate"])
        assert r["inventory_position"] == 15
        assert r["raw_order_quantity"] == pytest.approx(max(0, r["target_stock"] - 15))
        assert r["order_quantity_if_due"] == np.ceil(r["raw_order_quantity"] - 1e-4)
        assert r["order_quantity"] == (r["order_quantity_if_due"] if r["review_due"] else 0)
        assert r["inventory_days_p10"] <= r["inventory_days_p90"]
        assert sum(line["units"] for line in r["receipt"]) == pytest.approx(r["order_quantity"], abs=1e-6)


async def test_answers_keep_the_order_of_the_request_and_a_bad_item_spoils_no_other(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    items = requested(chain, range(2), on_hand=1.0)
    body = {"items": [items[1], {"item_id": "nothing", "location_id": "nowhere", "on_hand": 1.0}, items[0]]}
    answers = (await client.post(PATH, json=body)).json()["items"]
    assert [a["item_id"] for a in answers] == [items[1]["item_id"], "nothing", items[0]["item_id"]]
    assert [a["problem"]["type"] if a["problem"] else None for a in answers] == [None, "series-unknown", None]
    assert [a["result"] is None for a in answers] == [False, True, False]


async def test_the_same_series_may_be_asked_twice_with_other_stock(client: httpx.AsyncClient, chain: Panel) -> None:
    items = [{**requested(chain, range(1))[0], "on_hand": held} for held in (0.0, 1e6)]
    low, high = (await client.post(PATH, json={"items": items, "record": False})).json()["items"]
    assert low["result"]["order_quantity"] > 0
    assert high["result"]["order_quantity"] == 0


async def test_stock_that_is_not_of_the_as_of_day_is_a_problem_and_never_a_guess(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    body = {"as_of": "2019-04-29", "items": requested(chain, range(1))}
    answer = (await client.post(PATH, json=body)).json()["items"][0]
    assert answer["problem"]["type"] == "stock-missing"
    assert "2019-04-30" in answer["problem"]["detail"]


async def test_drawn_stock_is_said_to_be_drawn(client: httpx.AsyncClient, chain: Panel) -> None:
    items = chain.items
    answer = (await client.get(f"{PATH}/{items.location_id[0]}/{items.item_id[0]}")).json()["items"][0]
    assert answer["result"]["stock_source"] == "store (drawn)"


async def test_later_history_changes_no_answer_for_an_earlier_day(
    client: httpx.AsyncClient, chain: Panel, app: Any
) -> None:
    """No peeking, through the whole service: sales after as_of are wiped from the store, the answer stays."""
    import polars as pl

    from service.feed_store import write_history

    body = {"as_of": "2019-03-31", "items": requested(chain, range(4), on_hand=20.0)}
    before = [one["result"] for one in (await client.post(PATH, json=body)).json()["items"]]
    app.state.features_cache.close()
    with app.state.store.database.writing() as connection:
        later = app.state.store.sales(app.state.store.all_series(), date(2019, 4, 1), date(2019, 6, 30))
        wrong = later.with_columns(units_sold=pl.lit(9999.0), in_stock=pl.lit(1.0))
        assert write_history(connection, wrong) > 300
    assert [one["result"] for one in (await client.post(PATH, json=body)).json()["items"]] == before


async def test_an_answer_says_what_it_rests_on_that_may_be_wrong(client: httpx.AsyncClient, chain: Panel) -> None:
    """Orders that should have come, and sales that nobody has told of for long, as where a location's feed has stopped."""
    key = {"item_id": chain.items.item_id[0], "location_id": chain.items.location_id[0]}
    late = [{"arrival_date": "2019-04-28", "quantity": 120}, {"arrival_date": "2019-05-02", "quantity": 7}]
    overdue, untold = (
        "120 of the units on order are overdue, and count as still to come.",
        "Its last sales were told for ",
    )
    body = {"items": [key | {"on_hand": 5, "open_orders": late}], "record": False}
    (fresh,) = (await client.post(PATH, json=body)).raise_for_status().json()["items"]
    assert overdue in fresh["result"]["reasons"]
    assert fresh["result"]["on_order"] == 127
    assert not any(said.startswith(untold) for said in fresh["result"]["reasons"])
    nothing = [key | {"date": f"2019-04-{day}", "units_sold": None, "in_stock": None} for day in range(20, 31)]
    (await client.put("/v1/history", json=nothing)).raise_for_status()
    (old,) = (await client.post(PATH, json=body | {"as_of": "2019-04-30"})).raise_for_status().json()["items"]
    assert f"{untold}2019-04-19." in old["result"]["reasons"]


async def test_questions_of_any_size_are_the_same_few_statements(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel
) -> None:
    """Each connection keeps what the database planned for its latest statements: were they spelt otherwise for each number of
    series, that memory would grow for hours."""
    said: set[str] = set()
    engine = app.state.store.database.engine
    sa.event.listen(engine, "before_cursor_execute", lambda *told: said.add(told[2]))
    series = list(zip(chain.items.item_id, chain.items.location_id, strict=True))
    known = 0
    for day, count in enumerate((2, 3, 12, 1, 4, 7, 11)):
        as_of = str(date(2019, 4, 20) + timedelta(days=day))
        for on_hand in (1, 2):  # the second answer takes the first one's place
            stock = {"on_hand": on_hand, "open_orders": []}
            items = [{"item_id": item, "location_id": place} | stock for item, place in series[:count]]
            (await client.post(PATH, json={"items": items, "as_of": as_of})).raise_for_status()
        known = known if day > 1 else len(said)
    assert len(said) == known


async def test_one_unknown_series_is_a_404_on_its_own_route(client: httpx.AsyncClient) -> None:
    response = await client.get(f"{PATH}/nowhere/nothing")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert "nothing" in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"items": []}, "body.items"),
        ({"items": [{"item_id": "B101"}]}, "location_id"),
        ({"items": [{"item_id": "B101", "location_id": "S17", "on_hand": -3}]}, "-3"),
        ({"items": [{"item_id": "B101", "location_id": "S17", "stock": 3}]}, "stock"),
        ({"as_of": "yesterday", "items": [{"item_id": "B101", "location_id": "S17"}]}, "as_of"),
    ],
)
async def test_a_bad_request_names_the_field_and_its_value(
    client: httpx.AsyncClient, body: dict[str, Any], named: str
) -> None:
    response = await client.post(PATH, json=body)
    assert response.status_code == 422
    assert named in response.json()["detail"]


async def test_more_than_five_thousand_series_are_refused(client: httpx.AsyncClient) -> None:
    items = [{"item_id": "B101", "location_id": "S17", "on_hand": 1}] * 5001
    response = await client.post(PATH, json={"items": items})
    assert response.status_code == 422
    assert "5000" in response.json()["detail"]


@pytest.mark.parametrize("day", ["0001-01-01", "2015-12-20", "2015-06-01"])
async def test_a_day_before_the_history_is_refused(client: httpx.AsyncClient, chain: Panel, day: str) -> None:
    response = await client.post(PATH, json={"as_of": day, "items": requested(chain, range(1), on_hand=1)})
    assert response.status_code == 422
    assert response.json()["type"] == "before-history"


async def test_a_lead_time_beyond_the_horizon_is_a_problem_and_never_a_zero_order(
    client: httpx.AsyncClient, chain: Panel, app: Any
) -> None:
    from dataclasses import replace

    from service.loading import load_panel

    items = replace(chain.items, lead_time_days=chain.items.lead_time_days * 0 + 92)
    load_panel(app.state.store, replace(chain, items=items), "far", draw_stock=True)
    answer = (await client.post(PATH, json={"items": requested(chain, range(1), on_hand=0)})).json()["items"][0]
    assert answer["problem"]["type"] == "beyond-horizon"


async def test_a_history_that_is_too_old_is_refused(client: httpx.AsyncClient, chain: Panel) -> None:
    response = await client.post(PATH, json={"as_of": "2020-01-01", "items": requested(chain, range(1), on_hand=1)})
    assert response.status_code == 422
    assert response.json()["type"] == "history-too-old"


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "orpr_wrong"}, {"Authorization": "Bearer nonsense"}])
async def test_no_decision_without_a_valid_key(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    del client.headers["X-API-Key"]
    response = await client.get(f"{PATH}/S17/B101", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"


async def test_the_key_also_works_as_a_bearer_token(client: httpx.AsyncClient, chain: Panel) -> None:
    key = client.headers.pop("X-API-Key")
    path = f"{PATH}/{chain.items.location_id[0]}/{chain.items.item_id[0]}"
    assert (await client.get(path, headers={"Authorization": f"Bearer {key}"})).status_code == 200


async def test_ops_see_readiness_and_metrics_without_a_key(client: httpx.AsyncClient, chain: Panel) -> None:
    await client.post(PATH, json={"items": requested(chain, range(2), on_hand=1)})
    del client.headers["X-API-Key"]
    assert (await client.get("/healthz")).json() == {"status": "alive"}
    ready = (await client.get("/readyz")).json()
    assert ready["ready"] is True
    text = (await client.get("/metrics")).text
    assert 'orpr_decisions_total{outcome="decided"} 2.0' in text
    assert f'orpr_policy_info{{version="{ready["policy"]["version"]}"}} 1.0' in text


async def test_every_request_field_of_the_api_has_words_for_it(client: httpx.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()
    for name in ("RecommendationItem", "RecommendationRequest", "Recommendation", "OverrideRequest"):
        for field, spec in schema["components"]["schemas"][name]["properties"].items():
            assert "description" in spec or "examples" in spec or "$ref" in str(spec), f"{name}.{field}"


async def test_a_receipt_adds_up_under_overrides_rules_and_too_much_stock(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    """And its sentences name what counted."""
    scope = {"location_id": chain.items.location_id[0], "item_id": chain.items.item_id[0]}
    dates = {"selling_from": "2019-04-20", "selling_to": "2019-05-20", "reason": "festival", "author": "ann"}
    rules = {"lost_sale_cost": 2.0, "holding_cost_per_day": 0.01, "lead_time_days": 3, "review_period_days": 1,
             "review_offset_days": 0, "min_order_qty": 30, "order_multiple": 25, "category": "bakery"}  # fmt: skip
    await client.put("/v1/items", json=[scope | rules])
    for mode, value in (("add_units", 33), ("uplift", -100), ("set", 0.5)):
        await client.post("/v1/overrides", json={**scope, **dates, "mode": mode, "value": value})
        for on_hand in (0, 1e5):
            body = {"items": [scope | {"on_hand": on_hand, "open_orders": []}], "record": False}
            result = (await client.post(PATH, json=body)).json()["items"][0]["result"]
            total = sum(line["units"] for line in result["receipt"])
            assert total == pytest.approx(result["order_quantity"], abs=1e-6), result["receipt"]
            assert any("festival" in sentence for sentence in result["reasons"])
            assert result["counterfactuals"] is None


async def test_counterfactuals_say_what_another_lead_time_or_no_promotion_would_change(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    body = {"as_of": "2019-03-20", "items": requested(chain, range(6), on_hand=2000.0), "record": False}
    plain = (await client.post(PATH, json=body)).json()["items"]
    told = (await client.post(PATH, json=body | {"counterfactuals": True})).json()["items"]
    assert [one["result"] | {"counterfactuals": None} for one in told] == [one["result"] for one in plain]
    longer = [one["result"]["counterfactuals"][0] for one in told]
    assert {one["change"] for one in longer} == {"2 days more lead time"}
    assert sum(one["target_units"] > 0 for one in longer) >= 5
    t, ahead = chain.period_of(date(2019, 3, 20)), chain.promotion_known_ahead_days
    promoted = (chain.promotion[:6, t + 1 : t + 1 + ahead] > 0).any(axis=1)
    assert [len(one["result"]["counterfactuals"]) == 2 for one in told] == promoted.tolist()
    assert promoted.any()
