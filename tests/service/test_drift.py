"""Drift: what is decided is held against what the policy learned from."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import date, timedelta
from math import isnan
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.bundle import BUNDLES
from service.drift import Drift
from service.policy import Policy
from service.settings import Settings
from service.shadow import Remembered
from simulator.histograms import INPUTS, counted, psi, watched_values
from simulator.observation import Observer
from simulator.panel import Panel
from simulator.step import State
from tests.bundles import make_bundle
from tests.scraping import scrape
from tests.service.conftest import client_of

PATH, DAY = "/v1/recommendations", "2019-04-30"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Drift does not look at the database."""
    return sqlite_url


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a handful of decisions is enough."""
    monkeypatch.setattr("service.drift.LEAST", 4)


async def ask(client: httpx.AsyncClient, chain: Panel, **fields: Any) -> list[dict[str, Any]]:
    asked = [
        {"item_id": item, "location_id": place, "open_orders": []} | fields
        for item, place in zip(chain.items.item_id, chain.items.location_id, strict=True)
    ]
    response = await client.post(PATH, json={"items": asked, "as_of": DAY})
    return [one["result"] for one in response.raise_for_status().json()["items"]]


async def test_indices_are_those_of_the_due_decisions_against_the_bundle(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel
) -> None:
    told = await ask(client, chain, on_hand=300)
    due = np.flatnonzero([one["review_due"] for one in told])
    policy = app.state.policies.current()
    t = chain.period_of(date.fromisoformat(DAY))
    seen = Observer(chain, policy.spec).observe(
        due, np.full(len(due), t), State(np.full(len(due), 300.0), np.zeros((len(due), 1)))
    )
    answer = policy.answer(seen)
    values = watched_values(seen, policy.spec, answer.inventory_days, answer.daily_rate, answer.forecast)
    expected = {
        name: psi(policy.histograms.counts[name], counted(values[name], edges))
        for name, edges in policy.histograms.edges.items()
    }  # fmt: skip
    found = await scrape(client)
    assert found.of("orpr_drift_decisions") == len(due)
    assert found.of("orpr_action_psi") == pytest.approx(expected.pop("inventory_days"))
    assert found.by("orpr_input_psi", "input") == pytest.approx(expected)


def remembered(app: FastAPI, chain: Panel, on_hand: float) -> Remembered:
    """A batch as the recommender hands it over."""
    seen: list[Remembered] = []
    app.state.drift.watch = seen.append

    async def once() -> None:
        async with client_of(app, f"k{on_hand}") as client:
            await ask(client, chain, on_hand=on_hand)

    asyncio.run(once())
    return seen[0]


def test_what_moves_is_the_input_that_has_moved(app: FastAPI, chain: Panel) -> None:
    found = []
    for held in (300.0, 1e6):
        drift = Drift(app.state.telemetry)
        drift.watch(remembered(app, chain, held))
        drift.show(app.state.policies.current())
        value = app.state.telemetry.registry.get_sample_value
        found.append({one.name: value("orpr_input_psi", {"input": one.name}) for one in INPUTS})
    usual, full = found
    assert full.pop("days_of_cover") > usual.pop("days_of_cover") + 0.25
    assert full == pytest.approx(usual)


async def test_of_too_few_decisions_there_is_no_index(
    client: httpx.AsyncClient, chain: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(client, chain, on_hand=300)
    monkeypatch.setattr("service.drift.LEAST", 100)
    found = await scrape(client)
    assert found.of("orpr_drift_decisions") > 0
    assert found.by("orpr_input_psi", "input") == {}
    assert isnan(found.of("orpr_action_psi"))


async def test_a_bundle_without_histograms_serves_and_says_once_that_drift_is_not_measured(
    settings: Settings, chain: Panel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = make_bundle(tmp_path, "bare-1", 3.0)
    assert "histograms.json" not in json.loads((bundle / "manifest.json").read_text())["sha256"]
    with caplog.at_level(logging.WARNING):
        made = create_app(settings.model_copy(update={"policy": str(bundle)}))
    try:
        async with client_of(made, "test") as client:
            assert all(one["decision_id"] for one in await ask(client, chain, on_hand=300))
            made.state.aliases.look()
            found = await scrape(client)
        assert found.by("orpr_input_psi", "input") == {}
        assert isnan(found.of("orpr_action_psi"))
        assert found.of("orpr_inventory_days_count") > 0
        said = [record.message for record in caplog.records if "histograms" in record.message]
        assert said == ["policy bare-1 carries no histograms; its drift is not measured"]
    finally:
        made.state.features_cache.close()
        made.state.store.close()


class Days:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = date(2026, 3, 2)

    def __call__(self) -> date:
        return self.now


def test_days_count_for_a_week_and_then_no_more(app: FastAPI, chain: Panel) -> None:
    batch, clock, policy = remembered(app, chain, 300), Days(), app.state.policies.current()
    drift = Drift(app.state.telemetry, clock)

    def decisions() -> float:
        drift.show(policy)
        return app.state.telemetry.registry.get_sample_value("orpr_drift_decisions") or 0.0

    drift.watch(batch)
    once = decisions()
    clock.now += timedelta(days=6)
    drift.watch(batch)
    assert decisions() == 2 * once
    clock.now += timedelta(days=1)
    assert decisions() == once
    drift.watch(batch)
    assert decisions() == 2 * once
    clock.now += timedelta(days=7)
    assert decisions() == 0


def test_another_policy_begins_anew_and_many_decisions_are_counted_at_once(
    app: FastAPI, chain: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, clock = remembered(app, chain, 300), Days()
    drift, value = Drift(app.state.telemetry, clock), app.state.telemetry.registry.get_sample_value
    monkeypatch.setattr("service.drift.AT_ONCE", 20)
    drift.watch(batch)
    assert value("orpr_feature_age_days_count") == 0  # twelve wait
    drift.watch(batch)
    assert value("orpr_feature_age_days_count") == 24
    weekly = Policy(BUNDLES / "weekly-2.1")
    drift.show(weekly)
    assert value("orpr_drift_decisions") == 0
    assert isnan(value("orpr_action_psi") or 0.0)
    drift.show(None)
    assert value("orpr_drift_decisions") == 0
