"""A canary decides for its series and for no other, is compared with the champion, and ends by itself where it should."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from service.app import create_app
from service.bundle import BUNDLES, MANIFEST
from service.decision_store import find_decision
from service.decisions import reproduce
from service.rollout import members
from service.settings import Settings
from service.tables import canary_figures, policy_aliases, shadow_decisions
from simulator.panel import Panel
from tests.conftest import CHAMPION, WEEKLY_CHAMPION
from tests.service.conftest import HIGH, LOW, client_of

PATH, ANSWERS = "/v1/policies", "/v1/recommendations"
WHY = {"reason": "passed its gate"}
DAY = date(2019, 4, 26)
TWIN = "twin-17"  # decides as what ships does; the name gives it half of the series
PATIENCE_S = 60


@pytest.fixture
def settings(database_url: str, bundles: Path, tmp_path: Path) -> Settings:
    return Settings(database_url=database_url, bundles=bundles, spool=tmp_path / "spool.db", canary_decisions=12)


async def start(client: httpx.AsyncClient, version: str, share: float = 50) -> dict[str, Any]:
    (await client.post(PATH, json={"version": version})).raise_for_status()
    answer = await client.post(f"{PATH}/{version}/canary", json=WHY | {"share": share})
    told: dict[str, Any] = answer.raise_for_status().json()
    return told


async def ask(
    client: httpx.AsyncClient, chain: Panel, *, day: date = DAY, held: float = 3, record: bool = True
) -> list[dict[str, Any]]:
    items = [item | {"on_hand": held, "open_orders": []} for item in named(chain)]
    answer = await client.post(ANSWERS, json={"as_of": day.isoformat(), "items": items, "record": record})
    told: dict[str, Any] = answer.raise_for_status().json()
    by = {(one["policy_version"], one["policy_alias"]) for one in told["items"]} - {(None, None)}
    assert not by or (told["policy_version"], told["policy_alias"]) in by
    assert len(by) < 2 or told["policy_alias"] == "champion"
    found: list[dict[str, Any]] = told["items"]
    return found


def named(chain: Panel) -> list[dict[str, str]]:
    pairs = zip(chain.items.item_id, chain.items.location_id, strict=True)
    return [{"item_id": item, "location_id": place} for item, place in pairs]


def mine(chain: Panel, version: str, share: float = 50) -> list[bool]:
    return members(version, share, [(one["item_id"], one["location_id"]) for one in named(chain)])


def numbers(items: list[dict[str, Any]]) -> list[Any]:
    return [{k: v for k, v in one["result"].items() if k != "decision_id"} for one in items]


def sample(app: FastAPI, name: str, **labels: str) -> float | None:
    found: float | None = app.state.telemetry.registry.get_sample_value(name, labels)
    return found


def trail(app: FastAPI) -> list[tuple[str, str | None, str, str]]:
    c = policy_aliases.c
    with app.state.store.database.reading() as connection:
        rows = connection.execute(sa.select(c.alias, c.version, c.action, c.by).order_by(c.id))
        return [(row.alias, row.version, row.action, row.by) for row in rows]


def figures(app: FastAPI) -> dict[str, Any]:
    """What has been counted, all of it stored."""
    app.state.canaries.look()
    with app.state.store.database.reading() as connection:
        newest = sa.select(canary_figures).order_by(canary_figures.c.change_id)
        rows = connection.execute(newest).mappings().all()
    return dict(rows[-1]) if rows else {"decisions": 0, "asked": 0}


async def until(done: Callable[[], bool]) -> None:
    """Wait for the champion's thread, which answers when it can."""
    async with asyncio.timeout(PATIENCE_S):
        while not done():
            await asyncio.sleep(0.02)


async def compared(app: FastAPI, decisions: int) -> dict[str, Any]:
    await until(lambda: figures(app)["decisions"] >= decisions)
    return figures(app)


def make_twin(bundles: Path) -> None:
    shutil.copytree(BUNDLES / CHAMPION, bundles / TWIN)
    manifest = json.loads((bundles / TWIN / MANIFEST).read_text()) | {"version": TWIN}
    (bundles / TWIN / MANIFEST).write_text(json.dumps(manifest))


# ----------------------------------------------------------------------------------------------------------- deciding


async def test_it_decides_its_series_and_no_other_is_touched(client: httpx.AsyncClient, chain: Panel) -> None:
    alone = await ask(client, chain, record=False)
    assert {(one["policy_version"], one["policy_alias"]) for one in alone} == {(CHAMPION, "champion")}
    told = await start(client, HIGH)
    assert (told["alias"], told["version"], told["share"], told["changed"]["action"]) == ("canary", HIGH, 50, "canary")
    found, belongs = await ask(client, chain), mine(chain, HIGH)
    assert 0 < sum(belongs) < len(belongs)
    for one, canary, before, result in zip(found, belongs, numbers(alone), numbers(found), strict=True):
        who = (HIGH, "canary") if canary else (CHAMPION, "champion")
        assert (one["policy_version"], one["policy_alias"]) == who
        assert (result["inventory_days"] == 20.0) is canary
        assert (result == before) is not canary
        stored = (await client.get(f"/v1/decisions/{one['result']['decision_id']}")).json()
        assert stored["policy_version"] == who[0]
    again = await ask(client, chain)
    assert [one["result"]["decision_id"] for one in again] == [one["result"]["decision_id"] for one in found]
    ended = (await client.delete(f"{PATH}/canary", params={"reason": "seen enough"})).raise_for_status().json()
    assert (ended["version"], ended["before"], ended["share"]) == (None, HIGH, None)
    assert numbers(await ask(client, chain, record=False)) == numbers(alone)


async def test_what_it_decides_is_what_it_decides_as_champion(client: httpx.AsyncClient, chain: Panel) -> None:
    """With overrides, and in all that rests on a decision: one series, what-if, preview."""
    override = {"selling_from": DAY.isoformat(), "selling_to": "2019-05-30", "mode": "uplift", "value": 40,
                "reason": "festival", "author": "ann"}  # fmt: skip
    (await client.post("/v1/overrides", json=override)).raise_for_status()
    await start(client, HIGH)
    found = await ask(client, chain, record=False)
    belongs = mine(chain, HIGH)
    one = named(chain)[belongs.index(True)]
    path = f"{ANSWERS}/{one['location_id']}/{one['item_id']}"
    single = (await client.get(path, params={"on_hand": 3})).raise_for_status().json()
    assert (single["policy_version"], single["policy_alias"]) == (HIGH, "canary")
    what_if = (await client.post("/v1/what-if", json=one)).raise_for_status().json()
    assert what_if["policy_version"] == HIGH
    seen = (await client.post("/v1/overrides/preview", json=override)).raise_for_status().json()
    (await client.post(f"{PATH}/{HIGH}/promote", json=WHY)).raise_for_status()
    decided = await ask(client, chain, record=False)
    for canary, before, after in zip(belongs, numbers(found), numbers(decided), strict=True):
        assert (before == after) is canary
    promoted = (await client.post("/v1/overrides/preview", json=override)).raise_for_status().json()
    effects = [{(e["item_id"], e["location_id"]): e for e in told["series"]} for told in (seen, promoted)]
    for canary, name in zip(belongs, named(chain), strict=True):
        key = name["item_id"], name["location_id"]
        assert (effects[0][key] == effects[1][key]) or not canary


async def test_what_it_advised_counts_as_on_order(client: httpx.AsyncClient, chain: Panel) -> None:
    await start(client, HIGH)
    first = await ask(client, chain)
    following = await ask(client, chain, day=DAY + timedelta(days=1))
    advised = 0
    for canary, one, other in zip(mine(chain, HIGH), first, following, strict=True):
        before, after = one["result"], other["result"]
        if canary and before["order_quantity"] and before["expected_receipt_date"] > str(DAY + timedelta(days=1)):
            assert after["reserved"] == before["order_quantity"]
            advised += 1
    assert advised


async def test_its_decisions_can_be_made_again_and_lie_beside_the_champion_s(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel
) -> None:
    alone = await ask(client, chain, record=False)
    await start(client, HIGH)
    found = await ask(client, chain)
    await compared(app, sum(mine(chain, HIGH)))
    trial = app.state.policies.rollout().canary.policy
    with app.state.store.database.reading() as connection:
        kept = {row["decision_id"]: row for row in connection.execute(sa.select(shadow_decisions)).mappings()}
        for canary, one, before in zip(mine(chain, HIGH), found, alone, strict=True):
            number = one["result"]["decision_id"]
            assert (number in kept) is canary
            if canary:
                row = find_decision(connection, number)
                assert row is not None
                then, again = reproduce(row, trial)
                assert again == pytest.approx(then)
                assert kept[number]["version"] == CHAMPION
                assert kept[number]["target_stock"] == pytest.approx(before["result"]["target_stock"])
                assert kept[number]["order_quantity"] == before["result"]["order_quantity"]


async def test_a_shadow_beside_it_sees_all_decisions(app: FastAPI, client: httpx.AsyncClient, chain: Panel) -> None:
    await start(client, HIGH)
    (await client.post(PATH, json={"version": LOW})).raise_for_status()
    (await client.post(f"{PATH}/{LOW}/shadow", json=WHY)).raise_for_status()
    await ask(client, chain)
    canary = sum(mine(chain, HIGH))

    def kept() -> list[str]:
        with app.state.store.database.reading() as connection:
            return list(connection.execute(sa.select(shadow_decisions.c.version)).scalars())

    await until(lambda: len(kept()) == 12 + canary)
    assert kept().count(LOW) == 12
    assert kept().count(CHAMPION) == canary


async def test_a_batch_is_judged_as_a_whole(settings: Settings, chain: Panel) -> None:
    """Neither part costs more than the limit, both do."""
    spending = create_app(settings)
    async with client_of(spending, "first") as client:
        await start(client, HIGH)
        found = await ask(client, chain, record=False)
    spending.state.store.close()
    belongs = mine(chain, HIGH)
    worth = np.nan_to_num(chain.items.unit_cost) * [one["result"]["order_quantity"] for one in found]
    parts = worth[np.array(belongs)].sum(), worth[~np.array(belongs)].sum()
    assert min(parts) > 0
    limit = (max(parts) + sum(parts)) / 2
    careful = create_app(settings.model_copy(update={"hold_batch_money": limit}))
    async with client_of(careful, "second") as client:
        items = await ask(client, chain)
        held = [one for one in items if one["problem"] is not None]
        assert {(one["problem"]["type"], one["policy_version"]) for one in held} == {("order-held", None)}
        assert "The whole batch" in held[0]["problem"]["detail"]
        kept = {one["result"]["decision_id"] for one in items if one["result"] is not None}
        assert {one["id"] for one in (await client.get("/v1/decisions")).json()["items"]} == kept
    careful.state.shadow.close()
    careful.state.store.close()


async def test_its_decisions_do_not_count_as_drift_of_the_champion(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel
) -> None:
    await start(client, HIGH)
    due = 0
    for held in (3, 4, 5):
        found = await ask(client, chain, held=held)
        due += sum(one["result"]["review_due"] for one in found if one["policy_alias"] == "champion")
    app.state.gauges.exposition()
    assert due > 0
    assert sample(app, "orpr_drift_decisions") == due


# ----------------------------------------------------------------------------------------------------- changing it


async def test_other_processes_follow_and_a_pinned_one_does_not(
    client: httpx.AsyncClient, settings: Settings, chain: Panel
) -> None:
    other, pinned = create_app(settings), create_app(settings.model_copy(update={"policy": CHAMPION}))
    await start(client, HIGH)
    here = await ask(client, chain, record=False)
    for app, alias in ((other, "canary"), (pinned, None)):
        app.state.aliases.look()
        async with client_of(app, "other") as there:
            found = await ask(there, chain, record=False)
            assert (numbers(found) == numbers(here)) is (app is other)
            assert {one["policy_alias"] for one in found} == ({alias, "champion"} if alias else {None})
            told = (await there.get("/readyz")).json()["policy"]
            assert told["canary"] == (HIGH if alias else None)
    (await client.delete(f"{PATH}/canary")).raise_for_status()
    other.state.aliases.look()
    async with client_of(other, "other") as there:
        assert {one["policy_alias"] for one in await ask(there, chain, record=False)} == {"champion"}
    for app in (other, pinned):
        app.state.store.close()


async def test_another_share_keeps_the_policy_that_is_loaded_and_its_series(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel
) -> None:
    await start(client, HIGH, 50)
    loaded = app.state.policies.rollout().canary.policy
    told = await start(client, HIGH, 12.5)
    assert told["share"] == 12.5
    assert sample(app, "orpr_canary_share", version=HIGH) == 12.5
    (await client.post(PATH, json={"version": LOW})).raise_for_status()
    fewer = [one["policy_alias"] == "canary" for one in await ask(client, chain, record=False)]
    assert fewer == mine(chain, HIGH, 12.5)
    assert not any(now and not before for now, before in zip(fewer, mine(chain, HIGH), strict=True))
    assert app.state.policies.rollout().canary.policy.version == loaded.version


async def test_promoted_it_is_the_champion_and_ends_and_a_rollback_does_not_bring_it_back(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel
) -> None:
    await start(client, HIGH)
    told = (await client.post(f"{PATH}/{HIGH}/promote", json=WHY)).raise_for_status().json()
    assert (told["alias"], told["version"], told["before"]) == ("champion", HIGH, CHAMPION)
    assert trail(app) == [
        ("canary", HIGH, "canary", "test"), ("champion", HIGH, "promote", "test"), ("canary", None, "promote", "test"),
    ]  # fmt: skip
    found = await ask(client, chain, record=False)
    assert {(one["policy_version"], one["policy_alias"]) for one in found} == {(HIGH, "champion")}
    assert sample(app, "orpr_canary_share", version=HIGH) is None
    (await client.post(f"{PATH}/rollback", json=WHY)).raise_for_status()
    assert {one["policy_alias"] for one in await ask(client, chain, record=False)} == {"champion"}
    listed = (await client.get(PATH)).json()
    assert (listed["serving"], listed["canary"]) == (CHAMPION, None)


async def test_what_cannot_be_a_canary_is_refused_and_nothing_changes(
    app: FastAPI, client: httpx.AsyncClient, bundles: Path
) -> None:
    for version in (HIGH, WEEKLY_CHAMPION, CHAMPION):
        (await client.post(PATH, json={"version": version})).raise_for_status()
    (bundles / HIGH / "policy.onnx").write_bytes(b"")
    for version, status, kind in [
        ("nobody", 404, "policy-unknown"), (LOW, 409, "policy-not-registered"), (WEEKLY_CHAMPION, 409, "policy-period"),
        (CHAMPION, 409, "policy-in-charge"), (HIGH, 409, "policy-refused"),
    ]:  # fmt: skip
        refused = await client.post(f"{PATH}/{version}/canary", json=WHY | {"share": 10})
        assert (refused.status_code, refused.json()["type"]) == (status, kind)
        assert version in refused.json()["detail"]
    bad = [{}, WHY, {"share": 10}, *(WHY | {"share": share} for share in (0, 0.9, 50.1, 100, -1, "10", True, None))]
    for body in bad:
        assert (await client.post(f"{PATH}/{CHAMPION}/canary", json=body)).status_code == 422, body
    assert trail(app) == []


async def test_while_the_database_does_not_answer_it_stays_and_its_figures_wait(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel
) -> None:
    await start(client, LOW)
    await ask(client, chain)
    await compared(app, sum(mine(chain, LOW)))
    database = app.state.store.database
    for table in ("policy_aliases", "canary_figures"):
        with database.writing() as connection:
            connection.execute(sa.text(f"ALTER TABLE {table} RENAME TO {table}_away"))
    app.state.aliases.look()
    found = await ask(client, chain, record=False)
    assert [one["policy_alias"] == "canary" for one in found] == mine(chain, LOW)
    app.state.canaries.look()
    for table in ("policy_aliases", "canary_figures"):
        with database.writing() as connection:
            connection.execute(sa.text(f"ALTER TABLE {table}_away RENAME TO {table}"))
    assert figures(app)["asked"] == 2 * sum(mine(chain, LOW))


# --------------------------------------------------------------------------------------------------------- guardrails


async def test_one_that_holds_far_more_ends_by_itself_and_the_trail_says_why(
    app: FastAPI, client: httpx.AsyncClient, settings: Settings, chain: Panel
) -> None:
    other = create_app(settings)
    await start(client, HIGH)
    other.state.aliases.look()
    belongs = mine(chain, HIGH)
    for n in range(-(-12 // sum(belongs))):
        assert {one["policy_alias"] for one in await ask(client, chain, held=n + 1)} == {"canary", "champion"}
    with_it = (await client.get(PATH)).json()["canary"]
    assert (with_it["version"], with_it["share"], with_it["compared_with"]) == (HIGH, 50, CHAMPION)
    await compared(app, 12)
    assert trail(app)[-1] == ("canary", None, "guardrail", "orpr")
    told = (await client.get(PATH)).json()
    state = next(one for one in told["aliases"] if one["alias"] == "canary")
    reason = state["changed"]["reason"]
    assert (told["canary"], state["version"], state["before"]) == (None, None, HIGH)
    assert reason.startswith("target_stock: target stocks of")
    assert "times; 0.67 to 1.5 times is normal" in reason
    assert sample(app, "orpr_canary_rollbacks_total", guardrail="target_stock") == 1
    assert sample(app, "orpr_canary_share", version=HIGH) is None
    assert {one["policy_alias"] for one in await ask(client, chain, record=False)} == {"champion"}
    other.state.aliases.look()
    async with client_of(other, "other") as there:
        assert {one["policy_alias"] for one in await ask(there, chain, record=False)} == {"champion"}
    other.state.store.close()
    again = await start(client, HIGH)  # by a person; its figures begin anew
    assert again["version"] == HIGH
    assert [rail["counted"] for rail in (await client.get(PATH)).json()["canary"]["guardrails"]] == [0, 0, 0, 0]
    changes = (await client.get(f"{PATH}/{HIGH}")).json()["changes"]  # why it ended stays told
    assert [(one["action"], one["version"]) for one in changes] == [
        ("canary", HIGH),
        ("guardrail", None),
        ("canary", HIGH),
    ]
    assert changes[1]["reason"] == reason


async def test_one_like_the_champion_goes_on_and_each_series_first_order_counts_once(
    app: FastAPI, client: httpx.AsyncClient, bundles: Path, chain: Panel
) -> None:
    make_twin(bundles)
    await start(client, TWIN)
    belongs = mine(chain, TWIN)
    first: dict[int, float] = {}
    for n in range(3):
        found = await ask(client, chain, held=n + 1)
        for row, one in enumerate(found):
            if belongs[row] and one["result"]["review_due"]:
                first.setdefault(row, one["result"]["order_quantity"])
    counted = await compared(app, 3 * sum(belongs))
    assert (counted["decisions"], counted["asked"], counted["failed"]) == (3 * sum(belongs), 3 * sum(belongs), 0)
    assert counted["target_value"] == pytest.approx(counted["champion_target_value"])
    assert counted["orders"] == len(first) > 0
    cost = np.nan_to_num(chain.items.unit_cost, nan=float(np.nanmedian(chain.items.unit_cost)))
    assert counted["order_value"] == pytest.approx(sum(units * cost[row] for row, units in first.items()))
    assert counted["order_value"] == pytest.approx(counted["champion_order_value"])
    await ask(client, chain, held=3)  # the same decisions again
    await until(lambda: not app.state.shadow._waiting and app.state.shadow._thread is None)
    assert figures(app)["decisions"] == 3 * sum(belongs)
    rails = {one["guardrail"]: one for one in (await client.get(f"{PATH}/{TWIN}")).json()["canary"]["guardrails"]}
    assert rails["target_stock"]["value"] == pytest.approx(1.0)
    assert (rails["target_stock"]["counted"], rails["target_stock"]["needed"]) == (3 * sum(belongs), 12)
    assert trail(app)[-1][2] == "canary"
    assert sample(app, "orpr_canary_figure", guardrail="target_stock") == pytest.approx(1.0)


async def test_with_another_share_figures_begin_anew_but_no_series_has_a_second_first_order(
    app: FastAPI, client: httpx.AsyncClient, bundles: Path, chain: Panel
) -> None:
    """Its second order begins from the stock that the canary has left it."""
    make_twin(bundles)
    await start(client, TWIN, 25)
    few, many = mine(chain, TWIN, 25), mine(chain, TWIN, 50)
    assert 0 < sum(few) < sum(many)
    due = [one["result"]["review_due"] for one in await ask(client, chain)]
    counted = await compared(app, sum(few))
    assert (counted["decisions"], counted["orders"]) == (sum(few), sum(np.array(few) & due))
    await start(client, TWIN, 50)
    await ask(client, chain, held=4)
    counted = await compared(app, sum(many))
    assert (counted["decisions"], counted["orders"]) == (sum(many), sum(np.array(many) & ~np.array(few) & due))
    (await client.delete(f"{PATH}/canary")).raise_for_status()
    await start(client, TWIN, 50)
    await ask(client, chain, held=5)
    assert (await compared(app, sum(many)))["orders"] == sum(np.array(many) & due)


async def test_one_that_fails_is_stood_in_for_by_the_champion_and_ends(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = await ask(client, chain, record=False)
    await start(client, LOW)
    policy = app.state.policies.rollout().canary.policy

    def failing(_seen: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(policy, "answer_to", failing)
    share = sum(mine(chain, LOW))
    for _ in range(-(-12 // share)):
        found = await ask(client, chain, record=False)
        assert numbers(found) == numbers(alone)
        assert {one["policy_alias"] for one in found} == {"champion"}
    failed = sample(app, "orpr_canary_failed_total")
    assert failed is not None
    assert failed >= 12
    app.state.canaries.look()
    assert trail(app)[-1] == ("canary", None, "guardrail", "orpr")
    reason = (await client.get(f"{PATH}")).json()["aliases"][1]["changed"]["reason"]
    assert reason == f"failures: it failed at {failed:.0f} of {failed:.0f} series, 100.0%; at most 1.0% may"


async def test_where_it_answers_no_number_the_champion_decides_that_series_alone(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start(client, LOW)
    policy = app.state.policies.rollout().canary.policy
    own = policy.answer_to

    def spoilt(seen: Any) -> Any:
        answer = own(seen)
        days = answer.inventory_days.copy()
        days[0] = np.nan
        return answer._replace(inventory_days=days)

    monkeypatch.setattr(policy, "answer_to", spoilt)
    found, belongs = await ask(client, chain), mine(chain, LOW)
    assert all(one["problem"] is None for one in found)
    canary = [one["policy_alias"] == "canary" for one in found]
    assert sum(canary) == sum(belongs) - 1
    assert not canary[belongs.index(True)]
    counted = await compared(app, sum(canary))
    assert (counted["asked"], counted["failed"]) == (sum(belongs), 1)


async def test_one_whose_network_is_slow_ends(
    app: FastAPI, client: httpx.AsyncClient, bundles: Path, chain: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_twin(bundles)
    await start(client, TWIN)
    policy = app.state.policies.rollout().canary.policy
    own = policy._answered

    def slow(*args: Any) -> Any:
        time.sleep(0.3)
        return own(*args)

    monkeypatch.setattr(policy, "_answered", slow)
    for n in range(10):
        await ask(client, chain, held=n + 1)
    await until(lambda: bool(figures(app)) and trail(app)[-1][2] == "guardrail")
    reason = (await client.get(PATH)).json()["aliases"][1]["changed"]["reason"]
    assert reason.startswith("latency: ")
    assert "runs of its network" in reason
    assert sample(app, "orpr_canary_rollbacks_total", guardrail="latency") == 1


async def test_one_that_is_as_fast_goes_on(
    app: FastAPI, client: httpx.AsyncClient, bundles: Path, chain: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both networks are run to be timed: what they said in the request is not repeated."""
    make_twin(bundles)
    await start(client, TWIN)
    rollout, ran = app.state.policies.rollout(), []
    for name, policy in (("canary", rollout.canary.policy), ("champion", rollout.champion)):
        own = policy._answered

        def counted(*args: Any, own: Any = own, name: str = name) -> Any:
            ran.append(name)
            return own(*args)

        monkeypatch.setattr(policy, "_answered", counted)
    for n in range(10):
        await ask(client, chain, held=n + 1, record=False)  # asked before, as a planner may
        await ask(client, chain, held=n + 1)
    await until(lambda: all(ran.count(name) >= 3 * 10 for name in ("canary", "champion")))  # asked twice, timed once
    app.state.canaries.look()
    assert trail(app)[-1][2] != "guardrail"


async def test_two_processes_that_judge_at_once_end_it_once(
    app: FastAPI, client: httpx.AsyncClient, settings: Settings, chain: Panel
) -> None:
    other = create_app(settings)
    await start(client, HIGH)
    other.state.aliases.look()
    async with client_of(other, "other") as there:
        for n in range(-(-12 // sum(mine(chain, HIGH)))):
            await asyncio.gather(ask(client, chain, held=n + 1), ask(there, chain, held=n + 50))
    for one in (app, other):
        await until(lambda one=one: one.state.shadow._thread is None)
    await asyncio.gather(*(asyncio.to_thread(one.state.canaries.look) for one in (app, other)))
    assert [action for *_, action, _ in trail(app)] == ["canary", "guardrail"]
    other.state.store.close()


async def test_figures_against_an_earlier_champion_end_nothing(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel
) -> None:
    await start(client, HIGH)
    for n in range(-(-12 // sum(mine(chain, HIGH)))):
        await ask(client, chain, held=n + 1)
    await until(lambda: app.state.shadow._thread is None)
    (await client.post(PATH, json={"version": LOW})).raise_for_status()
    (await client.post(f"{PATH}/{LOW}/promote", json=WHY)).raise_for_status()
    app.state.canaries.look()
    assert trail(app)[-1][:3] == ("champion", LOW, "promote")
    told = (await client.get(PATH)).json()["canary"]
    assert (told["version"], told["compared_with"]) == (HIGH, LOW)
    assert told["guardrails"][0]["counted"] == 0
