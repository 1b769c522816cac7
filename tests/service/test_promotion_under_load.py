"""Two real processes on one database: promotions and rollbacks alternate while both are asked, and nobody notices. A canary
comes and goes, has the same series in both, and both let go of it when a guardrail ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from service.rollout import members
from tests.bundles import make_bundle
from tests.conftest import CHAMPION
from tests.databases import Postgres
from tests.serving import Service, running_service

VERSION = "held-20"
WHY = {"reason": "to and fro"}
PATIENCE_S = 60
CHANGES = 12
ASKING = 4  # threads
DECISIONS = 9  # that end a canary

Answer = tuple[int, str, list[Any]]


class Pair(NamedTuple):
    """Two processes, the series that they know, and the settings that they share."""

    first: Service
    second: Service
    items: list[dict[str, Any]]
    shared: dict[str, str]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, small_dataset: Path
) -> Iterator[Pair]:
    """With what ships in charge, and the other policy registered."""
    root = tmp_path_factory.mktemp("pair")
    folders = [root / name for name in ("first", "second", "bundles")]
    for folder in folders:
        folder.mkdir()
    make_bundle(folders[2], VERSION, 20.0)
    url = f"sqlite:///{root}/both.db"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.new()
    shared = {"ORPR_DATABASE_URL": url, "ORPR_BUNDLES": str(folders[2]), "ORPR_CANARY_DECISIONS": str(DECISIONS)}
    with (
        running_service(folders[0], small_dataset, **shared) as first,
        running_service(folders[1], small_dataset, **shared) as second,
    ):
        with client_of(first) as client:
            found = client.get("/v1/items").raise_for_status().json()["items"]
            client.post("/v1/policies", json={"version": VERSION}).raise_for_status()
        items = [{"item_id": one["item_id"], "location_id": one["location_id"], "on_hand": 5} for one in found]
        yield Pair(first, second, items, shared)


def client_of(service: Service) -> httpx.Client:
    return httpx.Client(base_url=service.url, headers={"X-API-Key": service.key}, trust_env=False, timeout=PATIENCE_S)


def ask(client: httpx.Client, items: list[dict[str, Any]]) -> Answer:
    """Status, the policy that answered, and every result."""
    answer = client.post("/v1/recommendations", json={"items": items, "record": False})
    told = answer.json()
    return answer.status_code, told.get("policy_version", ""), [one["result"] for one in told.get("items", [])]


def until_serving(client: httpx.Client, version: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while client.get("/readyz").json()["policy"]["version"] != version:
        assert time.monotonic() < end, f"{version} was never followed"
        time.sleep(0.05)


def test_no_request_is_dropped_and_each_is_answered_by_one_policy_alone(pair: Pair) -> None:
    answers: list[Answer] = []
    stop = threading.Event()

    def keep_asking(service: Service) -> None:
        with client_of(service) as asking:
            while not stop.is_set():
                answers.append(ask(asking, pair.items))

    with client_of(pair.first) as first, client_of(pair.second) as second:
        alone = {CHAMPION: ask(first, pair.items)}
        threads = [threading.Thread(target=keep_asking, args=(pair[n % 2],)) for n in range(ASKING)]
        for thread in threads:
            thread.start()
        try:
            for n in range(CHANGES):
                path = f"{VERSION}/promote" if n % 2 == 0 else "rollback"
                one = (first, second)[n % 3 % 2]  # either process may take it
                assert one.post(f"/v1/policies/{path}", json=WHY).status_code == 200
            first.post(f"/v1/policies/{VERSION}/promote", json=WHY).raise_for_status()
            until_serving(second, VERSION)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        alone[VERSION] = ask(second, pair.items)
        first.post("/v1/policies/rollback", json=WHY).raise_for_status()
        until_serving(second, CHAMPION)
    assert {status for status, *_ in answers} == {200}
    assert {version for _, version, _ in answers} == {CHAMPION, VERSION}
    assert all(one == alone[one[1]] for one in answers)
    assert alone[CHAMPION][2] != alone[VERSION][2]
    assert all(result is not None for result in alone[CHAMPION][2])


def test_both_processes_follow_a_promotion_and_its_rollback(pair: Pair) -> None:
    with client_of(pair.first) as first, client_of(pair.second) as second:
        first.post(f"/v1/policies/{VERSION}/promote", json=WHY).raise_for_status()
        for client in (first, second):
            until_serving(client, VERSION)
        second.post("/v1/policies/rollback", json=WHY).raise_for_status()
        for client in (second, first):
            until_serving(client, CHAMPION)


def deciders(client: httpx.Client, items: list[dict[str, Any]], **fields: Any) -> list[str]:
    """The alias that decided each series."""
    body = {"items": items, "record": False} | fields
    told = client.post("/v1/recommendations", json=body).raise_for_status().json()
    return [one["policy_alias"] for one in told["items"]]


def until_trying(client: httpx.Client, version: str | None) -> None:
    end = time.monotonic() + PATIENCE_S
    while client.get("/readyz").json()["policy"]["canary"] != version:
        assert time.monotonic() < end, f"the canary {version} was never followed"
        time.sleep(0.05)


def belonging(pair: Pair, share: float) -> list[str]:
    """What each series should be decided by."""
    names = [(one["item_id"], one["location_id"]) for one in pair.items]
    return ["canary" if mine else "champion" for mine in members(VERSION, share, names)]


def start(client: httpx.Client, share: float) -> None:
    client.post(f"/v1/policies/{VERSION}/canary", json=WHY | {"share": share}).raise_for_status()


def test_a_canary_has_the_same_series_in_every_process_and_after_a_restart(
    pair: Pair, tmp_path: Path, small_dataset: Path
) -> None:
    expected = belonging(pair, 50)
    assert set(expected) == {"canary", "champion"}
    with client_of(pair.first) as first, client_of(pair.second) as second:
        start(first, 50)
        until_trying(second, VERSION)
        assert deciders(first, pair.items) == deciders(second, pair.items) == expected
        with running_service(tmp_path, small_dataset, **pair.shared) as started, client_of(started) as third:
            assert deciders(third, pair.items) == expected
        second.delete("/v1/policies/canary").raise_for_status()
        until_trying(first, None)
        assert set(deciders(first, pair.items)) == {"champion"}


def test_a_canary_comes_grows_is_promoted_and_goes_without_a_failed_request(pair: Pair) -> None:
    """Each item is as the policy that it names answers it alone, whatever changes meanwhile."""
    answers: list[list[dict[str, Any]]] = []
    failed: list[int] = []
    stop = threading.Event()

    def keep_asking(service: Service) -> None:
        with client_of(service) as asking:
            while not stop.is_set():
                answer = asking.post("/v1/recommendations", json={"items": pair.items, "record": False})
                if answer.status_code != 200:
                    failed.append(answer.status_code)
                    continue
                answers.append(answer.json()["items"])

    with client_of(pair.first) as first, client_of(pair.second) as second:
        alone = {CHAMPION: ask(first, pair.items)[2]}
        threads = [threading.Thread(target=keep_asking, args=(pair[n % 2],)) for n in range(ASKING)]
        for thread in threads:
            thread.start()
        try:
            for one, other in ((first, second), (second, first)):
                for share in (10, 50):
                    start(one, share)
                    until_trying(other, VERSION)
                one.delete("/v1/policies/canary").raise_for_status()
                start(other, 50)
                until_trying(one, VERSION)
                other.post(f"/v1/policies/{VERSION}/promote", json=WHY).raise_for_status()
                until_serving(one, VERSION)
                alone[VERSION] = ask(other, pair.items)[2]
                one.post("/v1/policies/rollback", json=WHY).raise_for_status()
                until_serving(other, CHAMPION)
                until_trying(other, None)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert failed == []
    seen = {tuple(one["policy_alias"] for one in items) for items in answers}
    assert {tuple(belonging(pair, 50)), ("champion",) * len(pair.items)} <= seen
    assert seen <= {tuple(belonging(pair, share)) for share in (10, 50)} | {("champion",) * len(pair.items)}
    for items in answers:
        for n, one in enumerate(items):
            assert one["result"] == alone[one["policy_version"]][n]


def test_a_guardrail_ends_a_canary_in_both_processes(pair: Pair) -> None:
    share = belonging(pair, 50).count("canary")
    with client_of(pair.first) as first, client_of(pair.second) as second:
        start(first, 50)
        until_trying(second, VERSION)
        for n in range(-(-DECISIONS // (2 * share))):  # neither process has seen enough by itself
            for client, more in ((first, 0), (second, 100)):
                items = [one | {"on_hand": n + more} for one in pair.items]
                deciders(client, items, record=True)
        for client in (first, second):
            until_trying(client, None)
            assert set(deciders(client, pair.items)) == {"champion"}
        state = next(one for one in second.get("/v1/policies").json()["aliases"] if one["alias"] == "canary")
        assert (state["version"], state["changed"]["action"], state["changed"]["by"]) == (None, "guardrail", "orpr")
        assert "target stocks of" in state["changed"]["reason"]
        counts = [
            client.get("/metrics").text.count('rollbacks_total{guardrail="target_stock"} 1.0')
            for client in (first, second)
        ]
        assert sorted(counts) == [0, 1]
