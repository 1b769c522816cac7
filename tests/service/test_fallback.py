"""Where the policy in charge fails a base stock decides: real bundles that break at run time on series with a great stock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from service.app import create_app
from service.decision_store import find_decision
from service.decisions import reproduce
from service.settings import Settings
from service.tables import decisions as decisions_table
from simulator.baselines import pto_gamma
from simulator.panel import Panel
from tests.bundles import make_bundle, make_failing
from tests.service.conftest import HIGH, client_of

GREAT = 1e6  # units on hand above which the bundles fail
RECOMMENDATIONS = "/v1/recommendations"


@pytest.fixture(params=["raise", "nan"])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def failing(settings: Settings, tmp_path: Path, how: str) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    bundle = make_bundle(tmp_path / "failing", HIGH)
    make_failing(bundle, GREAT, how)
    app = create_app(settings.model_copy(update={"policy": str(bundle)}))
    async with client_of(app, "test") as http:
        yield app, http
    app.state.shadow.close()
    app.state.features_cache.close()
    app.state.store.close()


def question(chain: Panel, great: set[int], **more: Any) -> dict[str, Any]:
    items = [
        {"item_id": item, "location_id": place, "on_hand": 2 * GREAT if n in great else 1.0}
        for n, (item, place) in enumerate(zip(chain.items.item_id, chain.items.location_id, strict=True))
    ]
    return {"items": items} | more


def target(chain: Panel) -> np.ndarray:
    t = chain.last_recorded
    return pto_gamma(chain, range(t, t + 1), 28)[:, 0]


async def test_every_series_has_an_answer_and_the_base_stock_is_the_benchmark_s(
    failing: tuple[FastAPI, httpx.AsyncClient], chain: Panel, how: str
) -> None:
    _, client = failing
    items = (await client.post(RECOMMENDATIONS, json=question(chain, {3, 7}))).raise_for_status().json()["items"]
    assert [one["problem"] for one in items] == [None] * 12
    instead = {n for n, one in enumerate(items) if one["result"]["source"] == "baseline"}
    assert instead == ({3, 7} if how == "nan" else set(range(12)))  # one series breaks the whole run
    for n in instead:
        result = items[n]["result"]
        assert result["target_stock"] == pytest.approx(target(chain)[n], rel=1e-4)
        assert any("The policy failed" in reason for reason in result["reasons"])
        assert items[n]["policy_version"] == HIGH  # who should have decided
    assert {one["result"]["policy_days"] for n, one in enumerate(items) if n not in instead} <= {20.0}


async def test_such_a_decision_is_remembered_and_can_be_made_again(
    failing: tuple[FastAPI, httpx.AsyncClient], chain: Panel
) -> None:
    app, client = failing
    items = (await client.post(RECOMMENDATIONS, json=question(chain, {3}))).raise_for_status().json()["items"]
    number = items[3]["result"]["decision_id"]
    with app.state.store.database.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(decisions_table)).scalar() == 12
        row = find_decision(connection, number)
    assert row is not None
    then, again = reproduce(row, app.state.policies.rollout().champion)
    assert again == pytest.approx(then)
    assert then["target_stock"] == pytest.approx(float(target(chain)[3]), rel=1e-4)


async def test_it_is_counted_and_logged_once_a_request(
    failing: tuple[FastAPI, httpx.AsyncClient], chain: Panel, caplog: pytest.LogCaptureFixture
) -> None:
    app, client = failing
    (await client.post(RECOMMENDATIONS, json=question(chain, {3}, record=False))).raise_for_status()
    counted = app.state.telemetry.registry.get_sample_value(
        "orpr_input_sources_total", {"input": "days", "source": "baseline"}
    )
    assert counted in (1, 12)
    assert sum("a base stock decides" in line.getMessage() for line in caplog.records) == 1


async def test_what_if_and_counterfactuals_rest_on_the_base_stock_too(
    failing: tuple[FastAPI, httpx.AsyncClient], chain: Panel
) -> None:
    _, client = failing
    asked = question(chain, set(range(12)), record=False, counterfactuals=True)
    items = (await client.post(RECOMMENDATIONS, json=asked)).raise_for_status().json()["items"]
    more = [one["result"]["counterfactuals"][0] for one in items]
    assert {one["change"] for one in more} == {"2 days more lead time"}
    assert sum(one["target_units"] > 0 for one in more) >= 11
    one = asked["items"][0]
    told = (
        (await client.post("/v1/what-if", json=one | {"assumptions": {"lead_time_days": 5}})).raise_for_status().json()
    )
    assert told["policy_version"] == HIGH


async def test_the_overrides_of_planners_count_as_ever(
    failing: tuple[FastAPI, httpx.AsyncClient], chain: Panel
) -> None:
    _, client = failing
    asked = question(chain, set(range(12)), record=False)
    plain = (await client.post(RECOMMENDATIONS, json=asked)).raise_for_status().json()["items"][0]["result"]
    override = {
        "item_id": chain.items.item_id[0], "location_id": chain.items.location_id[0], "mode": "set", "value": 9,
        "selling_from": plain["expected_receipt_date"], "selling_to": plain["covers_until"], "reason": "fair", "author": "ann",
    }  # fmt: skip
    (await client.post("/v1/overrides", json=override)).raise_for_status()
    result = (await client.post(RECOMMENDATIONS, json=asked)).raise_for_status().json()["items"][0]["result"]
    assert (result["inventory_days"], result["source"]) == (9.0, "baseline")
    assert result["policy_days"] == plain["inventory_days"]
