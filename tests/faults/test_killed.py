"""kill -9 of the real service, over and over, while planners write: nothing is lost, nothing is doubled, nothing comes back.

`ORPR_FAULT_WRITES=10000` writes so many overrides; the suite writes a few.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from tests.faults.servers import Server

WRITES = int(os.environ.get("ORPR_FAULT_WRITES", "60"))
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


def write_some(url: str, key: str, first: int, kept: dict[int, int], withdrawn: set[int]) -> None:
    """Every third one is withdrawn again."""
    with httpx.Client(base_url=url, headers={"X-API-Key": key}, trust_env=False, timeout=20) as http:
        for n in range(first, WRITES, WRITERS):
            made = sent(http, "POST", "/v1/overrides", f"make-{n}", json=SCOPE | {"value": n + 1})
            kept[n] = made["id"]
            if n % 3 == 0:
                sent(http, "DELETE", f"/v1/overrides/{made['id']}", f"end-{n}", headers={"If-Match": "*"})
                withdrawn.add(made["id"])


def test_no_override_is_lost_doubled_or_back_after_its_end_while_the_service_is_killed(
    tmp_path: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    server, ended = Server(tmp_path), threading.Event()
    kept: dict[int, int] = {}
    withdrawn: set[int] = set()
    server.start()
    with ThreadPoolExecutor(WRITERS) as pool:
        jobs = [pool.submit(write_some, server.url, server.key, n, kept, withdrawn) for n in range(WRITERS)]
        draw = random.Random(7)
        while not all(job.done() for job in jobs):
            ended.wait(draw.uniform(0.2, 0.8 if WRITES < 1000 else 4.0))
            server.kill()
            server.start()
        for job in jobs:
            job.result()
    with httpx.Client(base_url=server.url, headers={"X-API-Key": server.key}, trust_env=False, timeout=20) as http:
        listed: dict[int, dict[str, Any]] = {}
        cursor: dict[str, str] = {}
        while True:
            page = http.get("/v1/overrides", params={"limit": 500, **cursor}).raise_for_status().json()
            listed |= {one["id"]: one for one in page["items"]}
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        told = http.get("/v1/recommendations/S17/B101?on_hand=3").raise_for_status().json()
    server.kill()
    values = [one["value"] for one in listed.values()]
    lost, doubled = len(kept.keys() - {int(v) - 1 for v in values}), len(values) - len(set(values))
    back = sum(listed[number]["state"] != "deleted" for number in withdrawn & listed.keys())
    record_testsuite_property(
        "fault: kill -9 during override writes",
        f"{WRITES} overrides written and {len(withdrawn)} of them withdrawn under {server.kills} kills; "
        f"{lost} lost, {doubled} doubled, {back} visible after deletion",
    )
    assert (lost, doubled, back) == (0, 0, 0)
    assert server.kills > 1
    assert {number: listed[number]["value"] for number in listed} == {number: n + 1.0 for n, number in kept.items()}
    assert {number for number, one in listed.items() if one["state"] == "deleted"} == withdrawn
    assert told["items"][0]["result"]["override"]["id"] == max(set(listed) - withdrawn)
    assert "Traceback" not in server.log
    assert "unhandled error" not in server.log
