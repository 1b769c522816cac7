"""Policies registered, promoted and rolled back: what holds decides at once and everywhere, what does not is refused."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from service.app import create_app
from service.bundle import BUNDLES, FILES, GOLDEN, GRAPH
from service.settings import Settings
from service.tables import datasets, policies, policy_aliases
from simulator.panel import Panel
from tests.bundles import make_bundle, rehash
from tests.conftest import CHAMPION, WEEKLY_CHAMPION
from tests.service.conftest import HIGH, LOW, client_of

PATH = "/v1/policies"
WHY = {"reason": "cheaper in the backtest"}


@pytest.fixture
def settings(database_url: str, bundles: Path) -> Settings:
    return Settings(database_url=database_url, bundles=bundles)


@pytest.fixture
def another(app: FastAPI, settings: Settings) -> Iterator[FastAPI]:
    """A second process over the same database, as far as policies go."""
    made = create_app(settings)
    yield made
    made.state.store.close()


async def register(client: httpx.AsyncClient, *versions: str) -> None:
    for version in versions:
        (await client.post(PATH, json={"version": version})).raise_for_status()


async def promote(client: httpx.AsyncClient, version: str, **headers: str) -> dict[str, Any]:
    answer = await client.post(f"{PATH}/{version}/promote", json=WHY, headers=headers)
    told: dict[str, Any] = answer.raise_for_status().json()
    return told


async def deciding(client: httpx.AsyncClient, chain: Panel) -> tuple[str, float]:
    """The version that answers, and for how many days."""
    one = {"item_id": chain.items.item_id[0], "location_id": chain.items.location_id[0], "on_hand": 3}
    answer = await client.post("/v1/recommendations", json={"items": [one], "record": False})
    told = answer.raise_for_status().json()
    return told["policy_version"], told["items"][0]["result"]["inventory_days"]


async def readiness(client: httpx.AsyncClient) -> dict[str, Any]:
    told: dict[str, Any] = (await client.get("/readyz")).json()["policy"]
    return told


def spoil(bundle: Path, name: str = GRAPH) -> None:
    """Change one byte, and tell the manifest."""
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    rehash(bundle)


async def test_without_a_promotion_what_ships_decides(client: httpx.AsyncClient, chain: Panel) -> None:
    told = (await client.get(PATH)).raise_for_status().json()
    assert (told["period_days"], told["serving"], told["pinned"], told["refused"]) == (1, CHAMPION, False, None)
    assert [(alias["alias"], alias["version"], alias["before"]) for alias in told["aliases"]] == [
        ("champion", CHAMPION, None), ("canary", None, None), ("shadow", None, None),
    ]  # fmt: skip
    listed = {one["version"]: one for one in told["items"]}
    assert set(listed) == {CHAMPION, WEEKLY_CHAMPION, LOW, HIGH}
    shipped = listed[CHAMPION]
    assert (shipped["shipped"], shipped["registered"], shipped["aliases"]) == (True, False, ["champion"])
    assert set(shipped["sha256"]) == set(FILES)
    assert shipped["metrics"]["training_cut_offs"]["bakery"] == "2018-11-01"
    assert shipped["metrics"]["last_losses"]["joint"] > 0
    assert (await deciding(client, chain))[0] == CHAMPION


async def test_a_promoted_policy_decides_from_the_next_request_on(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel
) -> None:
    await register(client, HIGH)
    told = await promote(client, HIGH)
    assert (told["version"], told["before"]) == (HIGH, CHAMPION)
    assert (told["changed"]["action"], told["changed"]["by"], told["changed"]["reason"]) == (
        "promote",
        "test",
        WHY["reason"],
    )
    assert await deciding(client, chain) == (HIGH, 20.0)
    assert (await readiness(client))["version"] == HIGH
    sample = app.state.telemetry.registry.get_sample_value
    assert sample("orpr_policy_info", {"version": HIGH}) == 1
    assert sample("orpr_policy_info", {"version": CHAMPION}) is None
    assert sample("orpr_policy_changes_total") == 1
    detail = (await client.get(f"{PATH}/{HIGH}")).json()
    assert (detail["aliases"], [change["action"] for change in detail["changes"]]) == (["champion"], ["promote"])


async def test_a_rollback_leads_to_the_one_before_and_not_back_again(client: httpx.AsyncClient, chain: Panel) -> None:
    await register(client, LOW, HIGH)
    await promote(client, LOW)
    await promote(client, HIGH)
    found = []
    for _ in range(2):
        told = (await client.post(f"{PATH}/rollback", json=WHY)).raise_for_status().json()
        found.append((told["version"], told["before"], (await deciding(client, chain))[0]))
    assert found == [(LOW, CHAMPION, LOW), (CHAMPION, None, CHAMPION)]
    refused = await client.post(f"{PATH}/rollback", json=WHY)
    assert (refused.status_code, refused.json()["type"]) == (409, "no-policy-before")
    await promote(client, HIGH)
    told = (await client.post(f"{PATH}/rollback", json=WHY)).json()
    assert told["version"] == CHAMPION


async def test_rollbacks_at_the_same_moment_go_back_once_each_or_are_refused(client: httpx.AsyncClient) -> None:
    await register(client, LOW, HIGH)
    for version in (LOW, HIGH, LOW, HIGH):
        await promote(client, version)
    answers = await asyncio.gather(*(client.post(f"{PATH}/rollback", json=WHY) for _ in range(6)))
    done = [one.json()["version"] for one in answers if one.status_code == 200]
    assert done
    assert {one.json()["type"] for one in answers if one.status_code != 200} <= {"policy-changed", "no-policy-before"}
    assert sorted(done) == sorted([LOW, HIGH, LOW, CHAMPION][: len(done)])
    told = (await client.get(PATH)).json()
    assert told["serving"] == told["aliases"][0]["version"] == [HIGH, LOW, HIGH, LOW, CHAMPION][len(done)]


async def test_every_change_stays_with_who_made_it_and_why(app: FastAPI, client: httpx.AsyncClient) -> None:
    await register(client, HIGH)
    await promote(client, HIGH)
    async with client_of(app, "night-shift", ["ops"]) as other:
        (await other.post(f"{PATH}/rollback", json={"reason": "too much stock"})).raise_for_status()
    with app.state.store.database.reading() as connection:
        rows = connection.execute(sa.select(policy_aliases).order_by(policy_aliases.c.id)).mappings().all()
    assert [(r["action"], r["version"], r["by"], r["reason"]) for r in rows] == [
        ("promote", HIGH, "test", WHY["reason"]), ("rollback", None, "night-shift", "too much stock"),
    ]  # fmt: skip
    changed = (await client.get(PATH)).json()["aliases"][0]["changed"]
    assert (changed["action"], changed["by"]) == ("rollback", "night-shift")


async def test_a_registration_pins_the_hashes_and_is_done_once(app: FastAPI, client: httpx.AsyncClient) -> None:
    first = await client.post(PATH, json={"version": HIGH})
    again = await client.post(PATH, json={"version": HIGH})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert (first.json()["registered_by"], first.json()["shipped"]) == ("test", False)
    with app.state.store.database.reading() as connection:
        row = connection.execute(sa.select(policies)).mappings().one()
    assert first.json()["sha256"][GRAPH] == row["graph_sha256"]


async def test_other_files_under_a_registered_version_are_refused(client: httpx.AsyncClient, bundles: Path) -> None:
    """They hold by themselves; but they are not what was registered."""
    await register(client, HIGH)
    shutil.rmtree(bundles / HIGH)
    make_bundle(bundles, HIGH, 25.0)
    for path, body in ((PATH, {"version": HIGH}), (f"{PATH}/{HIGH}/promote", WHY), (f"{PATH}/{HIGH}/shadow", WHY)):
        refused = await client.post(path, json=body)
        assert refused.status_code == 409, path
        assert HIGH in refused.json()["detail"]


@pytest.mark.parametrize("name", FILES)
async def test_a_file_changed_after_registration_is_refused_and_the_old_policy_stays(
    app: FastAPI, client: httpx.AsyncClient, bundles: Path, chain: Panel, name: str
) -> None:
    await register(client, LOW, HIGH)
    await promote(client, LOW)
    (bundles / HIGH / name).write_bytes((bundles / HIGH / name).read_bytes() + b" ")
    refused = await client.post(f"{PATH}/{HIGH}/promote", json=WHY)
    assert (refused.status_code, refused.json()["type"]) == (409, "policy-refused")
    assert name in refused.json()["detail"]
    assert await deciding(client, chain) == (LOW, 3.0)
    told = await readiness(client)
    assert told["version"] == LOW
    assert name in told["refused"]
    assert app.state.telemetry.registry.get_sample_value("orpr_policy_refused_total", {"reason": "hash"}) == 1
    assert (await client.get(PATH)).json()["aliases"][0]["version"] == LOW


async def test_a_process_that_cannot_load_the_champion_keeps_its_own_and_says_so(
    client: httpx.AsyncClient, another: FastAPI, bundles: Path, chain: Panel
) -> None:
    await register(client, HIGH)
    await promote(client, HIGH)
    spoil(bundles / HIGH)
    another.state.aliases.look()
    async with client_of(another, "other") as other:
        assert (await deciding(other, chain))[0] == CHAMPION
        ready = await other.get("/readyz")
        assert ready.status_code == 200
        assert "not the file that was registered" in ready.json()["policy"]["refused"]
        await other.post(f"{PATH}/rollback", json=WHY)
        assert (await readiness(other))["refused"] is None


async def test_a_process_that_starts_with_a_spoilt_champion_answers_nothing(
    client: httpx.AsyncClient, settings: Settings, bundles: Path, chain: Panel
) -> None:
    await register(client, HIGH)
    await promote(client, HIGH)
    spoil(bundles / HIGH)
    started = create_app(settings)
    async with client_of(started, "other") as other:
        ready = await other.get("/readyz")
        assert (ready.status_code, ready.json()["policy"]["version"]) == (503, None)
        one = {"item_id": chain.items.item_id[0], "location_id": chain.items.location_id[0], "on_hand": 3}
        answer = await other.post("/v1/recommendations", json={"items": [one]})
        assert (answer.status_code, answer.json()["type"]) == (503, "no-policy")
        (await other.post(f"{PATH}/rollback", json=WHY)).raise_for_status()
        assert (await deciding(other, chain))[0] == CHAMPION
    started.state.store.close()


async def test_another_process_follows(client: httpx.AsyncClient, another: FastAPI, chain: Panel) -> None:
    async with client_of(another, "other") as other:
        await register(client, HIGH)
        await promote(client, HIGH)
        another.state.aliases.look()
        assert await deciding(other, chain) == (HIGH, 20.0)
        await client.post(f"{PATH}/rollback", json=WHY)
        another.state.aliases.look()
        assert (await deciding(other, chain))[0] == CHAMPION


async def test_a_mended_bundle_is_taken_up_when_it_is_tried_again(
    client: httpx.AsyncClient, another: FastAPI, bundles: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await register(client, HIGH)
    await promote(client, HIGH)
    spoil(bundles / HIGH)
    another.state.aliases.look()
    shutil.copytree(made / HIGH, bundles / HIGH, dirs_exist_ok=True)
    another.state.aliases.look()
    assert another.state.policies.current().version == CHAMPION  # not yet
    monkeypatch.setattr("service.aliases.AGAIN_S", 0.0)
    another.state.aliases.look()
    assert another.state.policies.status() == {"version": HIGH, "canary": None, "shadow": None, "refused": None}


async def test_while_the_aliases_cannot_be_read_the_policy_in_charge_stays(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel
) -> None:
    await register(client, HIGH)
    await promote(client, HIGH)
    database = app.state.store.database
    with database.writing() as connection:
        connection.execute(sa.text("ALTER TABLE policy_aliases RENAME TO away"))
    app.state.aliases.look()
    assert await deciding(client, chain) == (HIGH, 20.0)
    with database.writing() as connection:
        connection.execute(sa.text("DELETE FROM away"))
        connection.execute(sa.text("ALTER TABLE away RENAME TO policy_aliases"))
    app.state.aliases.look()
    assert (await deciding(client, chain))[0] == CHAMPION


async def test_with_data_of_another_period_length_its_champion_decides(app: FastAPI) -> None:
    with app.state.store.database.writing() as connection:
        connection.execute(sa.update(datasets).values(settings='{"period_days": 7}'))
    app.state.aliases.look()
    assert app.state.policies.current().version == WEEKLY_CHAMPION


async def test_a_pinned_process_keeps_its_bundle_whoever_is_promoted(
    client: httpx.AsyncClient, settings: Settings, bundles: Path, chain: Panel
) -> None:
    pinned = create_app(settings.model_copy(update={"policy": str(bundles / LOW)}))
    await register(client, HIGH)
    await promote(client, HIGH)
    pinned.state.aliases.look()
    async with client_of(pinned, "other") as other:
        assert await deciding(other, chain) == (LOW, 3.0)
        told = (await other.get(PATH)).json()
        assert (told["pinned"], told["serving"], told["aliases"][0]["version"]) == (True, LOW, HIGH)
    pinned.state.store.close()


async def test_what_cannot_be_promoted_is_refused_and_nothing_changes(client: httpx.AsyncClient) -> None:
    await register(client, WEEKLY_CHAMPION, CHAMPION)
    cases = [("nobody", 404, "policy-unknown"), (LOW, 409, "policy-not-registered"),
             (WEEKLY_CHAMPION, 409, "policy-period"), (CHAMPION, 409, "policy-in-charge")]  # fmt: skip
    for version, status, kind in cases:
        refused = await client.post(f"{PATH}/{version}/promote", json=WHY)
        assert (refused.status_code, refused.json()["type"]) == (status, kind)
        assert version in refused.json()["detail"]
    told = (await client.get(PATH)).json()
    assert (told["serving"], told["aliases"][0]["changed"]) == (CHAMPION, None)


async def test_a_version_is_a_name_and_never_a_path(client: httpx.AsyncClient) -> None:
    for version in ("..", "../bundles", "/etc", "a/b", "", " held-3", "held-3\n", "x" * 101, "held\0"):
        assert (await client.post(PATH, json={"version": version})).status_code == 422, version
    for path in ("..%2Fbundles", "held-3%0A", "%2e%2e%2fbundles"):
        assert (await client.get(f"{PATH}/{path}")).status_code in (404, 422), path


async def test_a_link_does_not_lead_out_of_the_folder(client: httpx.AsyncClient, bundles: Path, made: Path) -> None:
    shutil.rmtree(bundles / LOW)
    (bundles / LOW).symlink_to(made / LOW)
    assert (await client.post(PATH, json={"version": LOW})).status_code == 404
    assert (await client.get(f"{PATH}/{LOW}")).status_code == 404


async def test_a_bundle_under_another_name_than_its_own_is_refused(client: httpx.AsyncClient, bundles: Path) -> None:
    (bundles / LOW).rename(bundles / "renamed")
    refused = await client.post(PATH, json={"version": "renamed"})
    assert (refused.status_code, refused.json()["type"]) == (409, "policy-refused")
    assert LOW in refused.json()["detail"]


async def test_a_bundle_that_does_not_hold_is_not_registered(client: httpx.AsyncClient, bundles: Path) -> None:
    spoil(bundles / LOW, GOLDEN)
    refused = await client.post(PATH, json={"version": LOW})
    assert (refused.status_code, refused.json()["type"]) == (409, "policy-refused")
    assert "parity" in refused.json()["detail"]
    assert {one["version"] for one in (await client.get(PATH)).json()["items"] if one["registered"]} == set()


async def test_a_promotion_that_is_sent_again_is_one(app: FastAPI, client: httpx.AsyncClient) -> None:
    await register(client, LOW, HIGH)
    key = {"Idempotency-Key": "release-7"}
    first = await promote(client, HIGH, **key)
    await promote(client, LOW)
    again = await client.post(f"{PATH}/{HIGH}/promote", json=WHY, headers=key)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first
    assert app.state.policies.current().version == LOW
    other = await client.post(f"{PATH}/{HIGH}/promote", json={"reason": "another"}, headers=key)
    assert (other.status_code, other.json()["type"]) == (422, "idempotency-key-reused")


async def test_a_change_takes_a_reason(client: httpx.AsyncClient) -> None:
    await register(client, HIGH)
    for path in (f"{HIGH}/promote", "rollback", f"{HIGH}/shadow"):
        for body in ({}, {"reason": ""}, {"reason": "x" * 501}):
            assert (await client.post(f"{PATH}/{path}", json=body)).status_code == 422


async def test_a_folder_with_strangers_in_it_is_listed_without_them(client: httpx.AsyncClient, bundles: Path) -> None:
    (bundles / "notes.txt").write_text("not a bundle")
    (bundles / "empty").mkdir()
    (bundles / "circle").symlink_to(bundles / "circle")
    (bundles / "odd").mkdir()
    (bundles / "odd" / "manifest.json").write_text(
        '{"version": 1, "contract_id": "\\ud800", "sha256": NaN, "metrics": {"a": 1e999}}'
    )
    listed = {one["version"]: one for one in (await client.get(PATH)).raise_for_status().json()["items"]}
    assert set(listed) == {CHAMPION, WEEKLY_CHAMPION, LOW, HIGH, "odd"}
    assert (listed["odd"]["contract_id"], listed["odd"]["sha256"], listed["odd"]["metrics"]) == (None, None, None)
    assert (await client.post(PATH, json={"version": "odd"})).status_code == 409
    assert (await client.post(PATH, json={"version": "circle"})).status_code == 404


async def test_bundles_broken_at_random_are_refused_over_http(
    app: FastAPI, client: httpx.AsyncClient, bundles: Path, chain: Panel
) -> None:
    before = await deciding(client, chain)
    random = Random(3)
    for n in range(12):
        bundle = Path(shutil.copytree(bundles / HIGH, bundles / f"broken-{n}"))
        content = bytearray((bundle / FILES[n % 3]).read_bytes())
        for _ in range(20):
            content[random.randrange(len(content))] = random.randrange(256)
        (bundle / FILES[n % 3]).write_bytes(content)
        refused = await client.post(PATH, json={"version": bundle.name})
        assert (refused.status_code, refused.json()["type"]) == (409, "policy-refused")
        assert (await client.get(f"{PATH}/{bundle.name}")).status_code == 200
    assert len((await client.get(PATH)).raise_for_status().json()["items"]) == 16
    assert await deciding(client, chain) == before
    assert app.state.policies.ready


def test_what_ships_is_what_an_installation_without_a_folder_has(database_url: str) -> None:
    app = create_app(Settings(database_url=database_url))
    assert app.state.aliases.folders == [BUNDLES]
    app.state.store.close()
