"""Ten times what the real service can do, sent whether it answers or not: it sheds with 429 and 503, and serves on afterwards.
Where that is more than its key may ask, the key is told so, and others are served meanwhile.

`ORPR_FAULT_OVERLOAD_S=30` keeps it up for so long; the suite does for a few seconds.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import polars as pl

from tests.faults.servers import SAMPLE, Server, serving

SECONDS = float(os.environ.get("ORPR_FAULT_OVERLOAD_S", "3"))
MOST = 1000  # requests a second that this test sends at most
RATED_S = 1.5  # how long it is measured what the service can do
CALLERS = 4  # who ask meanwhile, one question at a time
QUOTA = 40  # questions a minute of one key, where that is tested
SERVED = 30  # questions of another key, during the flood
LIMITS = {"ORPR_MAX_IN_WORK": "4", "ORPR_MAX_WAIT_S": "0.2", "ORPR_LOG_LEVEL": "error"}
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


@asynccontextmanager
async def client(server: Server, key: str) -> AsyncIterator[httpx.AsyncClient]:
    """One that opens as many connections as it likes."""
    async with httpx.AsyncClient(
        base_url=server.url, headers={"Content-Type": "application/json", "X-API-Key": key}, trust_env=False, timeout=60,
        # A connection that the server is about to close, after five seconds without a request, is not used again.
        limits=httpx.Limits(max_connections=None, keepalive_expiry=1.0),
    ) as http:  # fmt: skip
        yield http


async def rated(callers: Sequence[httpx.AsyncClient], night: Night) -> float:
    """Answers a second that some callers get who wait for each."""
    end, answered = time.perf_counter() + RATED_S, 0

    async def call(http: httpx.AsyncClient) -> None:
        nonlocal answered
        while time.perf_counter() < end:
            (await http.post("/v1/recommendations", content=night.next())).raise_for_status()
            answered += 1

    began = time.perf_counter()
    await asyncio.gather(*(call(http) for http in callers))
    able = answered / (time.perf_counter() - began)
    assert 10 * able <= MOST, "the question is too easy for this test"
    return able


def amiss(answer: httpx.Response) -> str:
    """What a refusal lacks; empty where nothing is."""
    wait = answer.headers.get("retry-after", "")
    if answer.status_code in (429, 503) and not wait.isdecimal():
        return "no Retry-After"
    if answer.status_code == 429 and answer.headers.get("ratelimit") != f'"key";r=0;t={wait}':
        return "no RateLimit that says the same"
    return ""


def parsed(said: bytes) -> httpx.Response:
    """An answer from the bytes of a connection; ValueError where it is not whole."""
    head, _, body = said.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    answer = httpx.Response(int(line.split()[1]) if line else 0, headers=[field.split(": ", 1) for field in fields])
    if int(answer.headers.get("content-length", "-1")) != len(body):
        raise ValueError("half an answer")
    return answer


class Flood:
    """Requests that are sent at a rate, whatever becomes of them; each on a connection of its own, by bare sockets, for a client
    that takes long itself would send fewer."""

    def __init__(self, server: Server, night: Night) -> None:
        self._address = urlsplit(server.url).hostname, urlsplit(server.url).port
        self._head = f"POST /v1/recommendations HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {server.key}\r\n"
        self._night = night
        self.statuses: Counter[int] = Counter()
        self.others: Counter[str] = Counter()  # other ends
        self.refused = asyncio.Event()  # that it was over its quota
        self.sending_s = self.lasted_s = 0.0  # until the last was sent, and until the last was answered

    @property
    def sent(self) -> int:
        """Requests."""
        return sum(self.statuses.values()) + sum(self.others.values())

    async def run(self, rate: float, seconds: float = SECONDS) -> None:
        """So many a second."""
        began, calls = time.perf_counter(), []
        for n in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + n / rate - time.perf_counter()))
            calls.append(asyncio.create_task(self._call()))
        self.sending_s += time.perf_counter() - began
        await asyncio.gather(*calls)
        self.lasted_s += time.perf_counter() - began

    async def _call(self) -> None:
        try:
            answer = parsed(await self._said())
        except (OSError, ValueError) as error:
            self.others[type(error).__name__] += 1
            return
        if why := amiss(answer):
            self.others[why] += 1
            return
        self.statuses[answer.status_code] += 1
        if answer.status_code == 429:
            self.refused.set()

    async def _said(self) -> bytes:
        body = self._night.next()
        head = f"{self._head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_connection(*self._address)
            try:
                writer.write(head.encode() + body)
                return await reader.read()
            finally:
                writer.close()


async def test_ten_times_the_rated_load_is_shed_and_the_service_recovers(
    tmp_path: Path, record_testsuite_property: Record
) -> None:
    night = Night()
    with serving(tmp_path, **LIMITS) as server:
        flood = Flood(server, night)
        async with client(server, server.key) as http:
            await http.post("/v1/recommendations", content=night.next())
            able = await rated([http] * CALLERS, night)
            await flood.run(10 * able)
            again = [(await http.post("/v1/recommendations", content=night.next())).status_code for _ in range(4)]
            after = await rated([http] * CALLERS, night)
    statuses = flood.statuses
    shed = statuses[429] + statuses[503]
    record_testsuite_property(
        "fault: 10x the rated load",
        f"{flood.sent} requests at ten times the {able:.1f} a second that it can do, sent in {flood.sending_s:.1f} s; {statuses[200]} "
        f"answered, {shed} shed with 429 or 503, the last of them after {flood.lasted_s:.1f} s, {flood.sent - statuses[200] - shed} "
        f"other ends; {after:.1f} a second afterwards",
    )
    assert flood.others == Counter()
    assert statuses.keys() <= {200, 429, 503}
    assert statuses[200] > 0
    assert shed > 0
    assert again == [200] * 4
    assert after > able / 3


async def served(http: httpx.AsyncClient) -> Counter[int]:
    """How often one question was answered with what; it is sent again after the wait that a 503 names."""
    statuses: Counter[int] = Counter()
    body = {"items": [{"item_id": "B101", "location_id": "S17", "on_hand": 3}], "record": False}
    for _ in range(5):
        answer = await http.post("/v1/recommendations", json=body)
        statuses[answer.status_code] += 1
        if answer.status_code != 503:
            break
        await asyncio.sleep(int(answer.headers["retry-after"]))
    return statuses


async def test_a_key_that_floods_gets_no_more_than_its_quota_and_another_is_served_meanwhile(
    tmp_path: Path, record_testsuite_property: Record
) -> None:
    night, heard, asked = Night(), Counter[int](), 0
    with serving(tmp_path, **LIMITS | {"ORPR_REQUESTS_PER_MINUTE": str(QUOTA)}) as server:
        async with AsyncExitStack() as stack:
            keys = [server.add_key(f"caller {n}") for n in range(CALLERS + 1)]
            *callers, other = [await stack.enter_async_context(client(server, key)) for key in keys]
            flood, able, minute = Flood(server, night), await rated(callers, night), int(time.time() // 60)
            async with asyncio.timeout(60):
                while not flood.refused.is_set():
                    await flood.run(10 * able, RATED_S)
            flooding = asyncio.create_task(flood.run(10 * able))
            while not flooding.done():
                heard += await served(other)
                asked += 1
                await asyncio.sleep(SECONDS / SERVED)
            await flooding
            minutes = int(time.time() // 60) - minute + 1
    record_testsuite_property(
        "fault: 10x the rated load by one key over its quota",
        f"{flood.sent} requests in {flood.sending_s:.1f} s of a key that may send {QUOTA} a minute, in {minutes} by the clock: "
        f"{flood.statuses[200]} answered, {flood.statuses[429]} refused with 429, {flood.statuses[503]} shed with 503, and {asked} "
        f"questions of another key meanwhile; {sum(flood.others.values())} other ends, {asked - heard[200]} of the other key's "
        f"questions without an answer",
    )
    assert flood.others == Counter()
    assert flood.statuses.keys() <= {200, 429, 503}
    assert QUOTA <= flood.statuses[200] <= minutes * QUOTA
    assert flood.statuses[429] > 0
    assert asked == heard[200] > 0
    assert heard.keys() <= {200, 503}
