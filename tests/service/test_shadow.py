"""A policy in the shadow: what it would have decided is kept, and no answer changes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from service.policy import Policy
from service.registry import Policies
from service.settings import Settings
from service.tables import policy_aliases, shadow_decisions
from simulator.panel import Panel
from tests.conftest import CHAMPION
from tests.service.conftest import HIGH, LOW

PATH, ANSWERS = "/v1/policies", "/v1/recommendations"
WHY = {"reason": "to see"}
DAY = "2019-04-26"
PATIENCE_S = 30


@pytest.fixture
def settings(database_url: str, bundles: Path) -> Settings:
    return Settings(database_url=database_url, bundles=bundles)


async def shadow(client: httpx.AsyncClient, version: str) -> dict[str, Any]:
    (await client.post(PATH, json={"version": version})).raise_for_status()
    answer = await client.post(f"{PATH}/{version}/shadow", json=WHY)
    told: dict[str, Any] = answer.raise_for_status().json()
    return told


async def ask(client: httpx.AsyncClient, chain: Panel, *, record: bool = True, held: float = 3) -> dict[str, Any]:
    items = [
        {"item_id": item, "location_id": place, "on_hand": held, "open_orders": []}
        for item, place in zip(chain.items.item_id, chain.items.location_id, strict=True)
    ]
    answer = await client.post(ANSWERS, json={"as_of": DAY, "items": items, "record": record})
    told: dict[str, Any] = answer.raise_for_status().json()
    return told


def kept(app: FastAPI) -> dict[str, dict[str, Any]]:
    with app.state.store.database.reading() as connection:
        rows = connection.execute(sa.select(shadow_decisions)).mappings().all()
    return {row["decision_id"]: dict(row) for row in rows}


def sample(app: FastAPI, name: str, **labels: str) -> float:
    return app.state.telemetry.registry.get_sample_value(name, labels) or 0.0


async def until(done: Callable[[], bool]) -> None:
    """Wait for the shadow, which answers when it can."""
    async with asyncio.timeout(PATIENCE_S):
        while not done():
            await asyncio.sleep(0.02)


def numbers(told: dict[str, Any]) -> list[Any]:
    return [{k: v for k, v in one["result"].items() if k != "decision_id"} for one in told["items"]]


async def test_a_shadow_changes_no_answer(app: FastAPI, client: httpx.AsyncClient, chain: Panel) -> None:
    alone = await ask(client, chain, record=False)
    told = await shadow(client, HIGH)
    assert (told["alias"], told["version"], told["changed"]["action"]) == ("shadow", HIGH, "shadow")
    watched = await ask(client, chain)
    assert watched["policy_version"] == CHAMPION
    assert numbers(watched) == numbers(alone)
    await until(lambda: len(kept(app)) == 12)


async def test_what_it_would_have_ordered_is_what_it_answers_as_champion(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel
) -> None:
    """The same stock, rules and overrides count for it; only its days are its own."""
    override = {"location_id": chain.items.location_id[2], "item_id": chain.items.item_id[2], "selling_from": DAY,
                "selling_to": "2019-05-30", "mode": "add_units", "value": 9, "reason": "festival", "author": "ann"}  # fmt: skip
    (await client.post("/v1/overrides", json=override)).raise_for_status()
    await shadow(client, HIGH)
    watched = await ask(client, chain)
    await until(lambda: len(kept(app)) == 12)
    (await client.post(f"{PATH}/{HIGH}/promote", json=WHY)).raise_for_status()
    decided = await ask(client, chain, record=False)
    found = kept(app)
    for one, own in zip(watched["items"], decided["items"], strict=True):
        row = found[one["result"]["decision_id"]]
        assert row["version"] == HIGH
        assert row["inventory_days"] == own["result"]["policy_days"] == 20.0
        assert row["target_stock"] == pytest.approx(own["result"]["target_stock"])
        assert row["order_quantity"] == own["result"]["order_quantity"]
    assert sum(row["order_quantity"] for row in found.values()) > 0


async def test_each_decision_is_compared_once(app: FastAPI, client: httpx.AsyncClient, chain: Panel) -> None:
    await shadow(client, HIGH)
    for _ in range(2):
        told = await ask(client, chain)
    await until(lambda: sample(app, "orpr_shadow_days_difference_count", version=HIGH) >= 12)
    due = sum(one["result"]["review_due"] for one in told["items"])
    await ask(client, chain, held=1e6)  # other decisions: nothing is ordered, whoever decides
    await until(lambda: sample(app, "orpr_shadow_days_difference_count", version=HIGH) >= 24)
    assert sample(app, "orpr_shadow_days_difference_count", version=HIGH) == 24
    orders = {
        change: sample(app, "orpr_shadow_orders_total", version=HIGH, change=change)
        for change in ("more", "less", "same")
    }
    assert orders == {"more": due, "less": 0, "same": due}
    assert due > 0


async def test_what_is_not_remembered_is_not_shadowed(app: FastAPI, client: httpx.AsyncClient, chain: Panel) -> None:
    await shadow(client, HIGH)
    await ask(client, chain, record=False, held=5)
    await ask(client, chain)
    await until(lambda: sample(app, "orpr_shadow_days_difference_count", version=HIGH) > 0)
    assert len(kept(app)) == 12


async def test_a_shadow_that_was_ended_decides_no_more(app: FastAPI, client: httpx.AsyncClient, chain: Panel) -> None:
    await shadow(client, HIGH)
    ended = await client.delete(f"{PATH}/shadow", params={"reason": "seen enough"})
    told = ended.raise_for_status().json()
    assert (told["version"], told["before"], told["changed"]["reason"]) == (None, HIGH, "seen enough")
    await ask(client, chain)
    await shadow(client, LOW)
    await ask(client, chain, held=4)
    await until(lambda: len(kept(app)) == 12)
    assert {row["version"] for row in kept(app).values()} == {LOW}
    with app.state.store.database.reading() as connection:
        versions = connection.execute(sa.select(policy_aliases.c.version).order_by(policy_aliases.c.id)).scalars().all()
    assert versions == [HIGH, None, LOW]


async def test_when_too_much_waits_shadow_work_is_dropped_and_counted(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shadow hangs in its first batch; the second waits, the third has no place, and all are answered."""
    monkeypatch.setattr("service.shadow.MOST_WAITING", 12)
    await shadow(client, HIGH)
    policies: Policies = app.state.policies
    policy = policies.shadow()
    assert policy is not None
    go_on, begun, own = threading.Event(), threading.Event(), policy.answer_to

    def hanging(seen: Any) -> Any:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return own(seen)

    monkeypatch.setattr(policy, "answer_to", hanging)
    try:
        await ask(client, chain, held=1)
        await asyncio.to_thread(begun.wait, PATIENCE_S)
        for held in (2, 3):
            assert (await ask(client, chain, held=held))["policy_version"] == CHAMPION
        assert sample(app, "orpr_shadow_dropped_total") == 12
    finally:
        go_on.set()
    await until(lambda: len(kept(app)) == 24)


async def test_a_shadow_that_fails_touches_no_answer(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = await ask(client, chain, record=False)
    await shadow(client, HIGH)
    policy = app.state.policies.shadow()

    def failing(_seen: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(policy, "answer_to", failing)
    assert numbers(await ask(client, chain)) == numbers(alone)
    await until(lambda: sample(app, "orpr_shadow_dropped_total") == 12)
    monkeypatch.undo()
    await ask(client, chain, held=4)
    await until(lambda: len(kept(app)) == 12)


async def test_where_its_decisions_cannot_be_stored_answers_go_on(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel
) -> None:
    await shadow(client, HIGH)
    with app.state.store.database.writing() as connection:
        connection.execute(sa.text("DROP TABLE shadow_decisions"))
    await ask(client, chain)
    await until(lambda: sample(app, "orpr_shadow_dropped_total") == 12)


async def test_the_champion_is_no_shadow_of_itself(app: FastAPI, client: httpx.AsyncClient, chain: Panel) -> None:
    await shadow(client, HIGH)
    (await client.post(f"{PATH}/{HIGH}/promote", json=WHY)).raise_for_status()
    await ask(client, chain)
    (await client.post(f"{PATH}/rollback", json=WHY)).raise_for_status()
    await ask(client, chain, held=4)
    await until(lambda: sample(app, "orpr_shadow_days_difference_count", version=HIGH) > 0)
    assert len(kept(app)) == 12


async def test_a_shadow_of_another_process_is_followed_and_readiness_names_it(
    app: FastAPI, client: httpx.AsyncClient, bundles: Path
) -> None:
    await shadow(client, LOW)
    assert (await client.get("/readyz")).json()["policy"]["shadow"] == LOW
    assert isinstance(app.state.policies.shadow(), Policy)
    (await client.post(PATH, json={"version": HIGH})).raise_for_status()
    (bundles / HIGH / "policy.onnx").write_bytes(b"")
    refused = await client.post(f"{PATH}/{HIGH}/shadow", json=WHY)
    assert (refused.status_code, refused.json()["type"]) == (409, "policy-refused")
    assert app.state.policies.shadow().version == LOW
