"""Two real processes on one database: promotions and rollbacks alternate while both are asked, and nobody notices."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.bundles import make_bundle
from tests.conftest import CHAMPION
from tests.databases import Postgres
from tests.serving import Service, running_service

VERSION = "held-20"
WHY = {"reason": "to and fro"}
PATIENCE_S = 60
CHANGES = 12
ASKING = 4  # threads

Answer = tuple[int, str, list[Any]]


class Pair(NamedTuple):
    """Two processes, and the series that they know."""

    first: Service
    second: Service
    items: list[dict[str, Any]]


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
    shared = {"ORPR_DATABASE_URL": url, "ORPR_BUNDLES": str(folders[2])}
    with (
        running_service(folders[0], small_dataset, **shared) as first,
        running_service(folders[1], small_dataset, **shared) as second,
    ):
        with client_of(first) as client:
            found = client.get("/v1/items").raise_for_status().json()["items"]
            client.post("/v1/policies", json={"version": VERSION}).raise_for_status()
        items = [{"item_id": one["item_id"], "location_id": one["location_id"], "on_hand": 5} for one in found]
        yield Pair(first, second, items)


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
