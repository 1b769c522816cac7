"""kill -9 of the real service, over and over, while planners write: nothing is lost, nothing is doubled, nothing comes back.

The system of record is SQLite, which dies with the service, or a PostgreSQL that stays up and has to undo what was under way.
`ORPR_FAULT_WRITES=10000` writes so many overrides; the suite writes a few.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.databases import Postgres
from tests.faults.servers import Server, until

FEW = {"sqlite": "60", "postgresql": "30"}  # overrides that the suite writes
NAMES = {"sqlite": "kill -9 during override writes", "postgresql": "kill -9 during override writes, PostgreSQL"}
WRITERS = 3
ITEM = {"item_id": "B101", "location_id": "S17"}
SCOPE = ITEM | {
    "selling_from": "2019-01-01",
    "selling_to": "2019-12-31",
    "mode": "add_units",
    "reason": "r",
    "author": "a",
}


def sent(http: httpx.Client, method: str, path: str, key: str, **parts: Any) -> dict[str, Any]:
    """Send until it is answered."""
    headers = {"Idempotency-Key": key} | parts.pop("headers", {})
    for _ in range(3000):
        try:
            answer = http.request(method, path, headers=headers, **parts)
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        if answer.status_code < 300:
            told: dict[str, Any] = answer.json()
            return told
        assert answer.status_code in (409, 429, 503), answer.text
        time.sleep(0.05)
    raise AssertionError("never answered")


class Told:
    """What planners were told, and may rely on from then on."""

    def __init__(self) -> None:
        self.kept: dict[int, int] = {}  # numbers of overrides by what they were made as
        self.withdrawn: set[int] = set()

    def copy(self) -> Told:
        """What they were told up to now."""
        made = Told()
        made.withdrawn, made.kept = set(self.withdrawn), dict(self.kept)
        return made


class Wrong:
    """What was found otherwise than it was told; each once, however often it was looked at."""

    def __init__(self) -> None:
        self.lost: set[int] = set()
        self.doubled: set[float] = set()
        self.back: set[int] = set()
        self.looks = 0

    def look(self, http: httpx.Client, told: Told) -> dict[int, dict[str, Any]]:
        """At all overrides, and at what an answer follows; returns the overrides by their numbers."""
        found = listed(http)
        values = [one["value"] for one in found.values()]
        self.lost |= {n for n, number in told.kept.items() if found.get(number, {}).get("value") != n + 1}
        self.doubled |= {value for value, times in Counter(values).items() if times > 1}
        self.back |= {number for number in told.withdrawn & found.keys() if found[number]["state"] != "deleted"}
        self.back |= told.withdrawn & {followed(http)}
        self.looks += 1
        return found


def listed(http: httpx.Client) -> dict[int, dict[str, Any]]:
    """Every override by its number, withdrawn ones too."""
    found: dict[int, dict[str, Any]] = {}
    cursor: dict[str, str] = {}
    while True:
        page = http.get("/v1/overrides", params={"limit": 500, **cursor}).raise_for_status().json()
        found |= {one["id"]: one for one in page["items"]}
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


def followed(http: httpx.Client) -> int | None:
    """The override that an answer follows."""
    answer = http.get("/v1/recommendations/S17/B101?on_hand=3").raise_for_status().json()
    override = answer["items"][0]["result"]["override"]
    return None if override is None else int(override["id"])


def write_some(server: Server, first: int, writes: int, told: Told) -> None:
    """Every third one is withdrawn again."""
    with server.client() as http:
        for n in range(first, writes, WRITERS):
            made = sent(http, "POST", "/v1/overrides", f"make-{n}", json=SCOPE | {"value": n + 1})
            told.kept[n] = made["id"]
            if n % 3 == 0:
                sent(http, "DELETE", f"/v1/overrides/{made['id']}", f"end-{n}", headers={"If-Match": "*"})
                told.withdrawn.add(made["id"])


def kill_while_writing(server: Server, writes: int, told: Told, wrong: Wrong) -> None:
    """Until all is written; after each kill what was told before it has to be there."""
    draw, per_kill = random.Random(7), max(10, writes // 50)
    with ThreadPoolExecutor(WRITERS) as pool:
        jobs = [pool.submit(write_some, server, n, writes, told) for n in range(WRITERS)]
        while not all(job.done() for job in jobs):
            enough = len(told.kept) + draw.uniform(0, 2 * per_kill)
            until(lambda: len(told.kept) > enough or all(job.done() for job in jobs), seconds=600)  # noqa: B023 - at once
            before = told.copy()
            server.kill()
            server.start()
            with server.client() as http:
                wrong.look(http, before)
        for job in jobs:
            job.result()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_override_is_lost_doubled_or_back_after_its_end_while_the_service_is_killed(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, record_testsuite_property: Callable[[str, object], None]
) -> None:
    variables: dict[str, str] = {}
    if kind == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        variables["ORPR_DATABASE_URL"] = postgres.new()
    writes = int(os.environ.get("ORPR_FAULT_WRITES", FEW[kind]))
    server, told, wrong = Server(tmp_path, **variables), Told(), Wrong()
    server.start()
    try:
        kill_while_writing(server, writes, told, wrong)
        with server.client() as http:
            found, last = wrong.look(http, told), followed(http)
    finally:
        server.kill()
    record_testsuite_property(
        f"fault: {NAMES[kind]}",
        f"{writes} overrides written and {len(told.withdrawn)} of them withdrawn under {server.kills - 1} kills, all looked at "
        f"{wrong.looks} times; {len(wrong.lost)} lost, {len(wrong.doubled)} doubled, {len(wrong.back)} visible after deletion",
    )
    assert (wrong.lost, wrong.doubled, wrong.back) == (set(), set(), set())
    assert server.kills > 1
    assert {number: found[number]["value"] for number in found} == {number: n + 1.0 for n, number in told.kept.items()}
    assert {number for number, one in found.items() if one["state"] == "deleted"} == told.withdrawn
    assert last == max(set(found) - told.withdrawn)
    assert "Traceback" not in server.log
    assert "unhandled error" not in server.log
