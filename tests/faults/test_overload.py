"""Ten times what the real service can do, sent whether it answers or not: it sheds with 429 and 503, and serves on afterwards.

`ORPR_FAULT_OVERLOAD_S=30` keeps it up for so long; the suite does for a few seconds.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import polars as pl

from tests.faults.servers import SAMPLE, serving

SECONDS = float(os.environ.get("ORPR_FAULT_OVERLOAD_S", "3"))
MOST = 1000  # requests a second that this test sends at most
RATED_S = 1.5  # how long it is measured what the service can do
Record = Callable[[str, object], None]


class Night:
    """Questions that take the service long, and a client short; no two are the same."""

    def __init__(self) -> None:
        items = pl.read_parquet(SAMPLE / "items.parquet").select("item_id", "location_id").to_dicts()
        body = {"items": [item | {"on_hand": 0.5} for item in items], "record": False, "counterfactuals": True}
        self._body = httpx.Request("POST", "http://x", json=body).read()
        self._asked = 0

    def next(self) -> bytes:
        """The next one."""
        self._asked += 1
        return self._body.replace(b'"on_hand":0.5', b'"on_hand":%d' % self._asked)


async def rated(http: httpx.AsyncClient, night: Night) -> float:
    """Answers a second that four callers get who wait for each."""
    end, answered = time.perf_counter() + RATED_S, 0

    async def call() -> None:
        nonlocal answered
        while time.perf_counter() < end:
            (await http.post("/v1/recommendations", content=night.next())).raise_for_status()
            answered += 1

    began = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(4)))
    return answered / (time.perf_counter() - began)


async def flood(http: httpx.AsyncClient, night: Night, rate: float) -> tuple[Counter[int], Counter[str]]:
    """Statuses and other ends of requests that are sent at a rate, whatever becomes of them."""
    statuses: Counter[int] = Counter()
    others: Counter[str] = Counter()

    async def call() -> None:
        try:
            answer = await http.post("/v1/recommendations", content=night.next())
        except httpx.TransportError as error:
            others[type(error).__name__] += 1
            return
        statuses[answer.status_code] += 1
        if answer.status_code in (429, 503) and "retry-after" not in answer.headers:
            others["no Retry-After"] += 1

    began, calls = time.perf_counter(), []
    for n in range(int(rate * SECONDS)):
        await asyncio.sleep(max(0.0, began + n / rate - time.perf_counter()))
        calls.append(asyncio.create_task(call()))
    await asyncio.gather(*calls)
    return statuses, others


async def test_ten_times_the_rated_load_is_shed_and_the_service_recovers(
    tmp_path: Path, record_testsuite_property: Record
) -> None:
    night, headers = Night(), {"Content-Type": "application/json"}
    limits = {"ORPR_MAX_IN_WORK": "4", "ORPR_MAX_WAIT_S": "0.2", "ORPR_LOG_LEVEL": "error"}
    with serving(tmp_path, **limits) as server:
        async with httpx.AsyncClient(
            base_url=server.url, headers=headers | {"X-API-Key": server.key}, trust_env=False, timeout=60,
            # A connection that the server is about to close, after five seconds without a request, is not used again.
            limits=httpx.Limits(max_connections=None, keepalive_expiry=1.0),
        ) as http:  # fmt: skip
            await http.post("/v1/recommendations", content=night.next())
            able = await rated(http, night)
            assert 10 * able <= MOST, "the question is too easy for this test"
            statuses, others = await flood(http, night, 10 * able)
            again = [(await http.post("/v1/recommendations", content=night.next())).status_code for _ in range(4)]
            after = await rated(http, night)
    sent = sum(statuses.values()) + sum(others.values())
    shed = statuses[429] + statuses[503]
    record_testsuite_property(
        "fault: 10x the rated load",
        f"{sent} requests in {SECONDS:g} s at ten times the {able:.1f} a second that it can do; {statuses[200]} answered, {shed} shed "
        f"with 429 or 503, {sent - statuses[200] - shed} other ends; {after:.1f} a second afterwards",
    )
    assert others == Counter()
    assert statuses.keys() <= {200, 429, 503}
    assert statuses[200] > 0
    assert shed > 0
    assert again == [200] * 4
    assert after > able / 3
