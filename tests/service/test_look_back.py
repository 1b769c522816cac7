"""Look back: what the service replays is what the simulator replays of the same days under the same policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from service.loading import load_panel
from service.look_back_schemas import LookedBack
from service.policy import Policy
from service.settings import Settings
from simulator.observation import ObservationSpec, Observer
from simulator.ordering import rules_of
from simulator.panel import Panel
from simulator.rollout import replay_world, rollout
from simulator.step import State
from tests.conftest import CHAMPION
from tests.service.conftest import HIGH

BUNDLE = Path(__file__).parents[2] / "service" / "bundles" / CHAMPION
PERIODS = 30
PATH = "/v1/look-back"


@pytest.fixture
def settings(database_url: str, bundles: Path) -> Settings:
    return Settings(database_url=database_url, bundles=bundles)


def path_of(chain: Panel, row: int) -> str:
    return f"{PATH}/{chain.items.location_id[row]}/{chain.items.item_id[row]}"


async def looked_back(client: httpx.AsyncClient, chain: Panel, row: int, **params: Any) -> LookedBack:
    answer = await client.get(path_of(chain, row), params={"periods": PERIODS} | params)
    return LookedBack.model_validate(answer.raise_for_status().json())


@pytest.mark.parametrize(("row", "silent"), [(0, 0), (7, 0), (0, 45)])
async def test_the_champion_s_replay_is_that_of_the_simulator(
    client: httpx.AsyncClient, app: FastAPI, chain: Panel, row: int, silent: int
) -> None:
    """Also of a series whose sales ended `silent` days before those of the others."""
    if silent:
        chain = chain.take(np.arange(12))
        ended = chain.last_recorded + 1 - silent
        for column in (chain.units_sold, chain.in_stock, chain.promotion, chain.price):
            column[row, ended:] = np.nan
        load_panel(app.state.store, chain, "shorter", draw_stock=True)
        app.state.features_cache.close()
    told = await looked_back(client, chain, row)
    champion = next(one for one in told.policies if one.alias == "champion")
    assert champion.version == CHAMPION
    one = chain.take(np.array([row]))
    stop = one.last_recorded + 1
    window = range(stop - PERIODS, stop)
    observer, policy = Observer(chain, ObservationSpec(1)), Policy(BUNDLE)
    rate = observer.rates.daily_rate[[row], window.start : window.stop]
    world = replay_world(one, window, rules_of(one), daily_rate=rate)

    def target(s: int, state: State) -> np.ndarray:
        seen = observer.observe(np.array([row]), np.array([window.start + s]), State(state.on_hand, state.pipeline))
        answer = policy.answer(seen)
        return answer.inventory_days.astype(np.float64) * answer.daily_rate

    record = rollout(world, target)
    np.testing.assert_allclose([period.sales for period in champion.periods], record.sales[0])
    np.testing.assert_allclose([period.on_hand for period in champion.periods], record.on_hand[0])
    np.testing.assert_allclose([period.ordered for period in champion.periods], record.order_quantity[0])
    assert champion.lost_units == pytest.approx(record.lost_sales.sum())
    np.testing.assert_allclose(told.demand, np.nan_to_num(one.units_sold[0, window.start : window.stop]))
    assert told.last == chain.date_of(window.stop - 1)
    assert told.promoted == (np.nan_to_num(one.promotion[0, window.start : window.stop]) > 0).tolist()


async def test_every_loaded_policy_and_the_incumbent_begin_alike_and_meet_the_same_demand(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    await client.post("/v1/policies", json={"version": HIGH})
    (await client.post(f"/v1/policies/{HIGH}/shadow", json={"reason": "to see"})).raise_for_status()
    told = await looked_back(client, chain, 0)
    assert [one.alias for one in told.policies] == ["incumbent", "champion", "shadow"]
    shadow = told.policies[-1]
    assert shadow.version == HIGH
    for one in told.policies:
        sold = np.array([period.sales + period.lost_units for period in one.periods])
        np.testing.assert_allclose(sold, told.demand)
    assert len({one.periods[0].on_hand for one in told.policies}) == 1  # nobody's order has arrived yet
    assert shadow.turnover_days > max(one.turnover_days for one in told.policies[:-1])  # it holds twenty days


@pytest.mark.parametrize(
    ("path", "params", "status", "kind"),
    [
        ("S17/nothing", {}, 404, "series-unknown"),
        ("S17/B101", {"periods": 0}, 422, "request-invalid"),
        ("S17/B101", {"as_of": "2010-01-01"}, 422, "before-history"),
        ("S17/B101", {"as_of": "tomorrow"}, 422, "request-invalid"),
    ],
)
async def test_what_cannot_be_looked_back_on_says_why(
    client: httpx.AsyncClient, path: str, params: dict[str, Any], status: int, kind: str
) -> None:
    answer = await client.get(f"{PATH}/{path}", params=params)
    assert answer.status_code == status
    assert answer.json()["type"].endswith(kind)


async def test_a_series_of_which_nothing_is_recorded_says_so(client: httpx.AsyncClient, chain: Panel) -> None:
    place = str(chain.items.location_id[0])
    (known, *_) = (await client.get("/v1/items", params={"location_id": place})).json()["items"]
    (await client.put("/v1/items", json=[known | {"item_id": "new"}])).raise_for_status()
    answer = await client.get(f"{PATH}/{place}/new")
    assert answer.status_code == 422
    assert answer.json()["type"].endswith("nothing-recorded")
    assert "no sales of new" in answer.json()["detail"]
