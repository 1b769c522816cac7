"""A real PostgreSQL that is cut off or frozen: answers go on, decisions wait on disk, nothing is lost or done twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.keys import Keys
from service.settings import Settings
from service.store import Store
from simulator.panel import Panel
from tests.bundles import make_bundle
from tests.databases import Postgres
from tests.faults.conftest import Behind, back, gone, served, socket_of, through
from tests.faults.proxy import Mode, running_proxy
from tests.faults.servers import until

PATH = "/v1/recommendations"
DAY = date(2019, 4, 30)  # the last recorded one
Item = Callable[..., dict[str, Any]]
OVERRIDE = {
    "selling_from": "2019-01-01",
    "selling_to": "2019-12-31",
    "mode": "set",
    "value": 33,
    "reason": "r",
    "author": "a",
}


def asked(behind: Behind, *items: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    answer = behind.http.post(PATH, json={"items": list(items)} | fields)
    found: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
    return found


@pytest.mark.parametrize("mode", [Mode.CLOSED, Mode.FROZEN])
def test_answers_go_on_and_their_decisions_are_stored_later(behind: Behind, item: Item, mode: Mode) -> None:
    behind.http.post("/v1/overrides", json=item() | OVERRIDE).raise_for_status()
    day, one = DAY.isoformat(), item(on_hand=0, open_orders=[])
    before = asked(behind, one, as_of=day, record=False)[0]["result"]
    gone(behind, mode)
    first = asked(behind, one, as_of=day)[0]["result"]
    again = asked(behind, one, as_of=day)[0]["result"]
    assert first == again
    assert first | {"decision_id": None} == before
    assert first["override"]["value"] == 33
    assert behind.http.post("/v1/overrides", json=item() | OVERRIDE).status_code == 503
    assert behind.http.get(f"/v1/decisions/{first['decision_id']}").status_code == 503
    back(behind)
    stored = behind.http.get(f"/v1/decisions/{first['decision_id']}").raise_for_status().json()
    assert stored["answer"]["order_quantity"] == first["order_quantity"]
    assert len(behind.http.get("/v1/decisions").json()["items"]) == 1
    assert len(behind.http.get("/v1/overrides").json()["items"]) == 1


def test_what_was_advised_without_the_database_is_not_advised_again(behind: Behind, item: Item) -> None:
    one = item(7, on_hand=0, open_orders=[])
    days = [DAY + timedelta(days=n) for n in range(4)]
    known = [asked(behind, one, as_of=day.isoformat(), record=False)[0]["result"] for day in days]
    due = next(n for n, told in enumerate(known) if told["review_due"])
    today, after = days[due].isoformat(), days[due + 1].isoformat()
    for day in (today, after):  # of one series the process keeps rows of the days that were asked for last
        asked(behind, one, as_of=day, record=False)
    gone(behind, Mode.CLOSED)
    advised = asked(behind, one, as_of=today)[0]["result"]
    assert advised["order_quantity"] > 0
    assert asked(behind, one, as_of=after, record=False)[0]["result"]["reserved"] == advised["order_quantity"]
    back(behind)
    assert asked(behind, one, as_of=after, record=False)[0]["result"]["reserved"] == advised["order_quantity"]


def test_of_two_answers_for_one_order_that_were_given_without_the_database_the_last_counts(
    behind: Behind, item: Item
) -> None:
    asked(behind, item(on_hand=0), as_of=DAY.isoformat(), record=False)
    gone(behind, Mode.CLOSED)
    for on_hand in (0, 50):
        asked(behind, item(on_hand=on_hand, open_orders=[]), as_of=DAY.isoformat())
    back(behind)
    listed = behind.http.get("/v1/decisions").json()["items"]
    assert [one["status"] for one in listed] == ["superseded", "open"]
    assert [behind.http.get(f"/v1/decisions/{one['id']}").json()["inputs"]["on_hand"] for one in listed] == [0, 50]


def test_the_outcome_of_a_decision_that_still_waits_on_disk_is_to_be_told_in_a_moment(
    behind: Behind, item: Item
) -> None:
    asked(behind, item(on_hand=0), as_of=DAY.isoformat(), record=False)
    gone(behind, Mode.CLOSED)
    decision = asked(behind, item(on_hand=0), as_of=DAY.isoformat())[0]["result"]["decision_id"]
    behind.app.state.following.repeating.stop()  # it would store what waits at once
    behind.proxy.set(Mode.OPEN)
    until(lambda: not behind.app.state.store.database.down)
    path, body = f"/v1/decisions/{decision}/outcome", {"status": "ordered"}
    refused = behind.http.post(path, json=body)
    assert (refused.status_code, refused.json()["type"]) == (503, "store-unavailable")
    assert refused.headers["retry-after"] == "2"
    behind.app.state.following.repeating.start()
    back(behind)
    assert behind.http.post(path, json=body).raise_for_status().json()["status"] == "ordered"


def test_a_key_that_nobody_knows_may_be_new_while_the_database_is_away(behind: Behind) -> None:
    unknown = {"X-API-Key": "orpr_made_a_moment_ago"}
    assert behind.http.get("/v1/stops", headers=unknown).status_code == 401
    gone(behind, Mode.CLOSED)
    refused = behind.http.get("/v1/stops", headers=unknown)
    assert (refused.json()["type"], refused.headers["retry-after"]) == ("store-unavailable", "2")
    assert behind.http.get("/v1/stops", headers={"X-API-Key": ""}).status_code == 401
    back(behind)
    assert behind.http.get("/v1/stops", headers=unknown).status_code == 401


def test_it_stays_ready_and_says_that_the_database_is_away(behind: Behind) -> None:
    assert behind.http.get("/readyz").json()["store"] == "ok"
    gone(behind, Mode.CLOSED)
    said = behind.http.get("/readyz")
    assert said.status_code == 200
    assert "does not answer" in said.json()["store"]
    back(behind)
    assert behind.http.get("/readyz").json()["store"] == "ok"


def test_a_process_that_starts_without_the_database_is_not_ready_until_it_answers(
    postgres: Postgres, loaded_database: str, item: Item, tmp_path: Path
) -> None:
    url = postgres.new(loaded_database)
    store = Store(url)
    key = Keys(store.database).add("test")
    store.close()
    with running_proxy(socket_of(url)) as proxy:
        proxy.set(Mode.CLOSED)
        app = create_app(Settings(database_url=through(url, proxy), spool=tmp_path / "spool.db", planner=False))
        with served(app) as base, httpx.Client(base_url=base, headers={"X-API-Key": key}, trust_env=False) as http:
            early = Behind(app, http, proxy)
            refused = http.get("/readyz")
            assert refused.status_code == 503
            assert "nothing is known yet" in refused.json()["store"]
            proxy.set(Mode.OPEN)
            until(lambda: http.get("/readyz").status_code == 200)
            assert asked(early, item(on_hand=3), record=False)[0]["result"] is not None


@pytest.mark.parametrize("mode", [Mode.CLOSED, Mode.FROZEN])
def test_a_canary_goes_on_and_what_its_guardrails_count_is_stored_later(
    postgres: Postgres, loaded_database: str, chain: Panel, item: Item, tmp_path: Path, mode: Mode
) -> None:
    version = make_bundle(tmp_path / "bundles", "held-20", 20.0).name
    url = postgres.new(loaded_database)
    items = [item(row, on_hand=3, open_orders=[]) for row in range(chain.series_count)]
    with running_proxy(socket_of(url)) as proxy:
        settings = Settings(
            database_url=through(url, proxy), spool=tmp_path / "spool.db", planner=False, bundles=tmp_path / "bundles"
        )
        app = create_app(settings)
        key = app.state.keys.add("test")
        with served(app) as base, httpx.Client(base_url=base, headers={"X-API-Key": key}, trust_env=False) as http:
            http.timeout = httpx.Timeout(60)
            behind = Behind(app, http, proxy)
            http.post("/v1/policies", json={"version": version}).raise_for_status()
            begun = {"share": 50, "reason": "to try"}
            http.post(f"/v1/policies/{version}/canary", json=begun).raise_for_status()
            before = asked(behind, *items, as_of=DAY.isoformat(), record=False)
            assert {one["policy_alias"] for one in before} == {"canary", "champion"}
            gone(behind, mode)
            first, again = (asked(behind, *items, as_of=DAY.isoformat()) for _ in range(2))
            assert [one["result"] for one in first] == [one["result"] for one in again]
            assert [one["policy_alias"] for one in first] == [one["policy_alias"] for one in before]
            assert http.get("/readyz").json()["policy"]["canary"] == version
            back(behind)
            for one in first:
                stored = http.get(f"/v1/decisions/{one['result']['decision_id']}").raise_for_status().json()
                assert stored["policy_version"] == one["policy_version"]
            share = sum(one["policy_alias"] == "canary" for one in first)

            def failures() -> dict[str, Any]:
                told = http.get(f"/v1/policies/{version}").json()["canary"]["guardrails"]
                return next(one for one in told if one["guardrail"] == "failures")

            until(lambda: failures()["counted"] == 3 * share)
            assert failures()["value"] == 0


def test_a_writing_that_the_fault_interrupts_is_whole_or_not_there(
    behind: Behind, item: Item, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """Overrides are written one after the other while connections are cut over and over; each is sent until it is taken."""
    ended = threading.Event()
    cuts = 0

    def disturb() -> None:
        nonlocal cuts
        while not ended.wait(0.1):
            cuts += 1
            behind.proxy.set(Mode.CLOSED)
            ended.wait(0.02)
            behind.proxy.set(Mode.OPEN)

    thread = threading.Thread(target=disturb)
    thread.start()
    made = set()
    try:
        for n in range(40):
            for _ in range(200):
                body = item() | OVERRIDE | {"value": n + 1}
                answer = behind.http.post("/v1/overrides", json=body, headers={"Idempotency-Key": f"k{n}"})
                if answer.status_code == 201:
                    break
                assert answer.status_code == 503
                time.sleep(0.05)
            made.add(answer.json()["id"])
    finally:
        ended.set()
        thread.join()
        behind.proxy.set(Mode.OPEN)
    back(behind)
    listed = behind.http.get("/v1/overrides", params={"limit": 500}).json()["items"]
    values = [one["value"] for one in listed]
    lost, doubled = len({n + 1.0 for n in range(40)} - set(values)), len(values) - len(set(values))
    record_testsuite_property(
        "fault: PostgreSQL cut off during override writes",
        f"40 written under {cuts} cuts; {lost} lost, {doubled} doubled",
    )
    assert sorted(values) == [n + 1 for n in range(40)]
    assert {one["id"] for one in listed} == made
