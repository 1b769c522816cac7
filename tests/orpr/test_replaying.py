"""`orpr replay`: a decision of the service, made again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa

from orpr.replaying import replay_decision
from service.app import create_app
from service.bundle import BundleRefused
from service.loading import load_panel
from service.rollout import members
from service.settings import Settings
from service.store import Store
from service.tables import decisions
from simulator.canonical import read_panel
from tests.bundles import make_bundle

SAMPLE = Path(__file__).parents[2] / "simulator" / "sample"
FIGURES: dict[str, float | list[str]] = {  # of an answer, and what none of them is
    "inventory_days": 77.0, "inventory_days_p10": 77.0, "inventory_days_p90": 77.0, "policy_days": 77.0,
    "daily_rate": 0.123, "target_stock": 1.5, "inventory_position": 1.5, "raw_order_quantity": 1.5,
    "order_quantity_if_due": 1.0, "order_quantity": 1.0, "constraints_applied": ["max_stock"],
}  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(database_url=f"sqlite:///{tmp_path}/orpr.db")
    store = Store(made.database_url)
    load_panel(store, read_panel(SAMPLE).take(np.arange(3)), "sample", draw_stock=True)
    store.close()
    return made


async def decided(settings: Settings) -> str:
    app = create_app(settings)
    key = app.state.keys.add("test")
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost", headers={"X-API-Key": key}
    ) as client:
        body = {"items": [{"item_id": "B101", "location_id": "S17", "on_hand": 3}]}
        found = (await client.post("/v1/recommendations", json=body)).raise_for_status().json()
    app.state.store.close()
    return str(found["items"][0]["result"]["decision_id"])


async def test_a_decision_is_made_again_and_printed(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    replay_decision(settings, await decided(settings))
    said = capsys.readouterr()
    assert "B101 at S17" in said.out + said.err
    assert "target_stock" in said.out + said.err


def stored(settings: Settings, decision: str, column: str) -> str:
    store = Store(settings.database_url)
    with store.database.reading() as connection:
        found = connection.scalar(sa.select(decisions.c[column]).where(decisions.c.id == decision))
    store.close()
    return str(found)


def change(settings: Settings, decision: str, column: str, **fields: Any) -> None:
    """Change some of what is stored of a decision."""
    told = json.loads(stored(settings, decision, column))
    assert set(fields) <= set(told)
    store = Store(settings.database_url)
    with store.database.writing() as connection:
        changed = sa.update(decisions).where(decisions.c.id == decision)
        connection.execute(changed.values({column: json.dumps(told | fields)}))
    store.close()


@pytest.mark.parametrize("name", FIGURES)
async def test_a_figure_that_is_another_now_is_named(settings: Settings, name: str) -> None:
    decision = await decided(settings)
    change(settings, decision, "answer", **{name: FIGURES[name]})
    with pytest.raises(RuntimeError, match=f"differs now in {name}$"):
        replay_decision(settings, decision)


async def test_every_figure_of_an_answer_is_compared_but_those_that_it_rests_on(settings: Settings) -> None:
    """What is not compared is taken from what the decision saw."""
    answer = json.loads(stored(settings, await decided(settings), "answer"))
    numbers = {name for name, value in answer.items() if isinstance(value, float | int) and not isinstance(value, bool)}
    seen = {"on_hand", "on_order", "reserved", "sold_since_count", "lead_time_days", "review_period_days"}
    assert numbers - seen == {name for name, wrong in FIGURES.items() if isinstance(wrong, float)}


async def test_stock_and_rules_that_are_others_now_are_noticed(settings: Settings) -> None:
    decision = await decided(settings)
    inputs = json.loads(stored(settings, decision, "inputs"))
    change(settings, decision, "inputs", on_hand=inputs["on_hand"] + 1)
    with pytest.raises(RuntimeError, match="in inventory_position, raw_order_quantity, order_quantity_if_due, order_q"):
        replay_decision(settings, decision)
    change(settings, decision, "inputs", **(inputs | {"rules": inputs["rules"] | {"min_order_qty": 5000.0}}))
    with pytest.raises(RuntimeError, match=r"in order_quantity_if_due, order_quantity, constraints_applied$"):
        replay_decision(settings, decision)
    change(settings, decision, "inputs", **inputs)
    replay_decision(settings, decision)


@pytest.mark.parametrize("alias", ["champion", "canary"])
async def test_a_decision_of_another_policy_is_made_again_while_its_bundle_is_what_was_registered(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], alias: str
) -> None:
    """Whether it was promoted, or decides for a share of the series."""
    assert members("held-20", 50, [("B101", "S17")]) == [True]
    bundle = make_bundle(tmp_path / "bundles", "held-20", 20.0)
    settings = settings.model_copy(update={"bundles": bundle.parent})
    app = create_app(settings)
    connecting = app.state.store.database.writing
    changes = [
        lambda: app.state.promotions.registering("held-20", "test"),
        lambda: (
            app.state.promotions.trying("held-20", 50, "to try", "test")
            if alias == "canary"
            else app.state.promotions.promoting("held-20", "better", "test")
        ),
    ]
    for prepare in changes:
        act = prepare()
        with connecting() as connection:
            act(connection)
    app.state.store.close()
    decision = await decided(settings)
    replay_decision(settings, decision)
    assert "policy held-20" in "".join(capsys.readouterr())
    (bundle / "manifest.json").write_text((bundle / "manifest.json").read_text() + " ")
    with pytest.raises(BundleRefused, match="registered"):
        replay_decision(settings, decision)


def test_an_unknown_decision_is_named(settings: Settings) -> None:
    with pytest.raises(ValueError, match="d-none"):
        replay_decision(settings, "d-none")
