"""Metrics at `/metrics`: each moves when the thing happens that it is named for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date
from math import inf, isnan
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from service.app import create_app
from service.settings import Settings
from service.telemetry import STAGES, Distribution
from simulator.panel import Panel
from tests.scraping import Scrape, scrape
from tests.service.conftest import client_of
from tests.service.test_spool import row

PATH = "/v1/recommendations"
DAY = "2019-04-30"  # the last recorded one


@pytest.fixture
def other(settings: Settings) -> Iterator[FastAPI]:
    """A second process' app over the same database."""
    made = create_app(settings)
    yield made
    made.state.store.close()


def items(chain: Panel, **fields: Any) -> list[dict[str, Any]]:
    return [
        {"item_id": item, "location_id": place} | fields
        for item, place in zip(chain.items.item_id, chain.items.location_id, strict=True)
    ]


async def ask(client: httpx.AsyncClient, asked: list[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:
    response = await client.post(PATH, json={"items": asked} | fields)
    found: list[dict[str, Any]] = response.raise_for_status().json()["items"]
    return found


def counts(found: Scrape, before: Scrape, stage: str) -> int:
    name = "orpr_stage_seconds_count"
    return int(found.of(name, stage=stage) - before.of(name, stage=stage))


@pytest.mark.parametrize("count", [1, 12])
async def test_each_stage_is_timed_once_a_request(client: httpx.AsyncClient, chain: Panel, count: int) -> None:
    """Also of a short question that was tried at once and had to be handed over, for its row was not there."""
    before = await scrape(client)
    await ask(client, items(chain)[:count], record=False)
    asked = await scrape(client)
    assert {stage: counts(asked, before, stage) for stage in STAGES} == {
        "known": 1, "features": 1, "network": 1, "orders": 1, "json": 1, "breaker": 0, "remember": 0,
    }  # fmt: skip
    await ask(client, items(chain))
    remembered = await scrape(client)
    assert {counts(remembered, asked, stage) for stage in STAGES} == {1}
    whole = remembered.of("orpr_request_seconds_sum", route=PATH)
    assert 0 < sum(remembered.of("orpr_stage_seconds_sum", stage=stage) for stage in STAGES) < whole


async def test_sources_of_inputs_are_counted_by_series(client: httpx.AsyncClient, chain: Panel) -> None:
    asked = items(chain)
    asked[0]["on_hand"] = 5
    await ask(client, [*asked, {"item_id": "nothing", "location_id": "nowhere"}], record=False)
    await ask(client, items(chain), record=False, as_of="2019-04-26")  # no stock is stored for that day
    found = await scrape(client)

    def of(name: str, source: str) -> float:
        return found.of("orpr_input_sources_total", input=name, source=source)

    assert (of("stock", "request"), of("stock", "store (drawn)"), of("stock", "none")) == (1, 11, 12)
    assert (of("rate", "history"), of("history", "store"), of("days", "policy")) == (12, 12, 12)
    assert of("history", "last good copy") == of("days", "override") == 0
    decided = {name: found.of("orpr_decisions_total", outcome=name) for name in ("decided", "stock-missing")}
    assert decided == {"decided": 12, "stock-missing": 12}
    assert found.of("orpr_decisions_total", outcome="series-unknown") == 1


async def test_an_answer_without_the_database_rests_on_the_last_good_copy(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel
) -> None:
    await ask(client, items(chain), record=False)
    assert (await scrape(client)).of("orpr_store_up") == 1
    app.state.store.database.rest()  # as after a connection that failed
    await ask(client, items(chain), record=False)
    found = await scrape(client)
    assert found.of("orpr_store_up") == 0
    assert found.of("orpr_input_sources_total", input="history", source="last good copy") == 12
    assert found.of("orpr_view_age_seconds") > 0


async def test_an_override_counts_and_its_way_to_other_processes_is_timed(
    app: FastAPI, other: FastAPI, client: httpx.AsyncClient, chain: Panel
) -> None:
    body = items(chain)[0] | {"selling_from": "2019-01-01", "selling_to": "2019-12-31", "mode": "set", "value": 9,
                              "reason": "r", "author": "a"}  # fmt: skip
    (await client.post("/v1/overrides", json=body)).raise_for_status()
    await asyncio.sleep(0.3)
    async with client_of(other, "there") as there:
        other.state.following.step()
        found = await scrape(there)
        assert found.of("orpr_override_propagation_seconds_count") == 1
        assert 0.3 <= found.of("orpr_override_propagation_seconds_sum") < 60
        assert found.of("orpr_changes_applied_total", kind="overrides") == 1
        await ask(there, items(chain), record=False)
        assert (await scrape(there)).of("orpr_input_sources_total", input="days", source="override") == 1
    mine = await scrape(client)
    assert mine.of("orpr_overrides_written_total") == 1


async def test_the_age_of_the_view_begins_anew_with_each_reading(app: FastAPI, client: httpx.AsyncClient) -> None:
    app.state.view.refresh()
    await asyncio.sleep(0.2)
    aged = (await scrape(client)).of("orpr_view_age_seconds")
    app.state.view.refresh()
    assert (await scrape(client)).of("orpr_view_age_seconds") < aged
    app.state.view.as_of = None
    assert (await scrape(client)).of("orpr_view_age_seconds") == inf


async def test_outcomes_are_counted_once_however_often_they_are_sent(client: httpx.AsyncClient, chain: Panel) -> None:
    made = [one["result"]["decision_id"] for one in await ask(client, items(chain))]
    told = [{"status": "ordered"}, {"status": "ordered"}, {"status": "changed", "quantity": 3}, {"status": "rejected"}]
    for decision, body in zip(made, told, strict=False):
        for _ in range(2):
            headers = {"Idempotency-Key": decision}
            (await client.post(f"/v1/decisions/{decision}/outcome", json=body, headers=headers)).raise_for_status()
    assert (await client.post("/v1/decisions/none/outcome", json=told[0])).status_code == 404
    assert (await scrape(client)).by("orpr_outcomes_total", "outcome") == {"ordered": 2, "changed": 1, "rejected": 1}


async def test_connections_of_the_database_are_shown(app: FastAPI, client: httpx.AsyncClient) -> None:
    pool = "orpr_pool_connections"
    with app.state.store.database.reading(), app.state.store.database.reading():
        held = await scrape(client)
    after = await scrape(client)
    assert held.of(pool, pool="database", state="in_use") == 2
    assert after.of(pool, pool="database", state="in_use") == 0
    assert after.of(pool, pool="database", state="idle") >= 2
    assert after.of("orpr_pool_connections_most", pool="database") == 60
    assert isnan(after.of("orpr_redis_up"))


@pytest.mark.parametrize("up", [True, False])
async def test_redis_is_up_or_down_and_its_connections_are_shown(
    settings: Settings, redis_url: str, chain: Panel, *, up: bool
) -> None:
    made = create_app(settings.model_copy(update={"redis_url": redis_url if up else "redis://127.0.0.1:9/0"}))
    try:
        async with client_of(made, "test") as client:
            assert (await scrape(client)).of("orpr_redis_up") == up  # also where no question was asked yet
            await ask(client, items(chain), record=False)
            found = await scrape(client)
        assert found.of("orpr_redis_up") == up
        assert found.of("orpr_pool_connections_most", pool="redis") > 0
        assert found.of("orpr_pool_connections", pool="redis", state="idle") > 0  # also where it could not be opened
        assert found.of("orpr_pool_connections", pool="redis", state="in_use") == 0
        assert (found.of("orpr_feature_cache_errors") > 0) == (not up)
    finally:
        await made.state.counts.close()
        made.state.features_cache.close()
        made.state.store.close()


async def test_what_waits_on_disk_is_shown_until_it_is_stored(app: FastAPI, client: httpx.AsyncClient) -> None:
    app.state.spool.put([row("a"), row("b", 1)], [])
    assert (await scrape(client)).of("orpr_spool_waiting") == 3  # two decisions, and what was seen
    app.state.following.step()
    found = await scrape(client)
    assert (found.of("orpr_spool_waiting"), found.of("orpr_spool_refused")) == (0, 0)


async def test_what_the_database_refuses_is_shown(settings: Settings, client: httpx.AsyncClient, app: FastAPI) -> None:
    if not settings.database_url.startswith("postgresql"):
        pytest.skip("SQLite takes any text")
    app.state.spool.put([row("bad", client_ref="\x00")], [])
    app.state.following.step()
    app.state.following.step()
    assert (await scrape(client)).of("orpr_spool_refused") == 1


async def test_holds_and_stops_are_shown_until_they_end(
    app: FastAPI, other: FastAPI, client: httpx.AsyncClient, chain: Panel
) -> None:
    async with client_of(other, "there") as there:

        async def shown() -> tuple[float, float]:
            other.state.view.refresh()
            found = await scrape(there)
            return found.of("orpr_holds_open"), found.of("orpr_stops_in_force")

        assert await shown() == (0, 0)
        await ask(client, items(chain, on_hand=0))  # nothing on hand anywhere: abnormal
        held = (await client.get("/v1/holds")).json()["items"]
        assert await shown() == (len(held), 0)
        assert held
        stop = (await client.post("/v1/stops", json={"location_id": "S17", "reason": "fire"})).raise_for_status().json()
        assert await shown() == (len(held), 1)
        for one in held:
            body = {"version": one["version"], "reason": "so it is"}
            (await client.post(f"/v1/holds/{one['id']}/release", json=body)).raise_for_status()
        (await client.delete(f"/v1/stops/{stop['id']}")).raise_for_status()
        assert await shown() == (0, 0)


async def test_the_days_answered_and_the_age_of_history_are_distributions(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    told = [one["result"] for one in await ask(client, items(chain, on_hand=50))]
    due = [one["inventory_days"] for one in told if one["review_due"]]
    found = await scrape(client)
    assert 0 < found.of("orpr_inventory_days_count") == len(due) < len(told)
    assert found.of("orpr_inventory_days_sum") == pytest.approx(sum(due))
    assert found.of("orpr_feature_age_days_bucket", le="0.0") == len(told)  # sales are known up to as_of
    last = date.fromisoformat(DAY)
    await ask(client, items(chain, on_hand=50), as_of=last.replace(month=5, day=3).isoformat())
    found = await scrape(client)
    assert found.of("orpr_feature_age_days_bucket", le="2.0") == len(told)
    assert found.of("orpr_feature_age_days_bucket", le="3.0") == 2 * len(told)
    await ask(client, items(chain, on_hand=60), record=False)
    assert (await scrape(client)).of("orpr_feature_age_days_count") == 2 * len(told)  # a question is no decision


def test_a_bucket_holds_its_upper_edge() -> None:
    registry = CollectorRegistry()
    shown = Distribution("x", "X.", (0, 1, 2), registry)
    shown.add(np.array([0.0, 0.5, 1.0, 2.0, 9.0]))
    found = {le: registry.get_sample_value("x_bucket", {"le": le}) for le in ("0.0", "1.0", "2.0", "+Inf")}
    assert found == {"0.0": 1, "1.0": 3, "2.0": 4, "+Inf": 5}
    assert (registry.get_sample_value("x_count"), registry.get_sample_value("x_sum")) == (5, 12.5)


async def test_answers_stand_where_they_cannot_be_watched(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_remembered: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(app.state.drift, "watch", failing)
    told = await ask(client, items(chain, on_hand=50))
    assert all(one["result"]["decision_id"] for one in told)
