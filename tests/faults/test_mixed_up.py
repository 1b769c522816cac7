"""No answer belongs to another request: many callers with questions of their own, of whom some hang up half way.

`ORPR_FAULT_QUESTIONS=5000` asks so many; the suite asks fewer.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.faults.proxy import Mode, running_proxy
from tests.faults.servers import Server, running_valkey, serving

QUESTIONS = int(os.environ.get("ORPR_FAULT_QUESTIONS", "400"))
CALLERS = 8
STORES = ["S17", "S20", "S21", "S22", "S24", "S26", "S27", "S28"]
Record = Callable[[str, object], None]


class Count:
    """What happened."""

    def __init__(self) -> None:
        self.answered = self.cancelled = self.dropped = 0
        self.wrong: list[str] = []


def question(n: int) -> dict[str, Any]:
    """Two series with a stock that no other question names."""
    picked = [(STORES[n % 8], "B101"), (STORES[(n // 8 + n + 3) % 8], "B109")]
    items = [
        {"item_id": item, "location_id": place, "on_hand": float(2 * n + step), "open_orders": []}
        for step, (place, item) in enumerate(picked)
    ]
    return {"items": items, "record": n % 4 == 0, "client_ref": f"n-{n}"}


def is_right(n: int, answer: httpx.Response) -> bool:
    """Whether an answer is that to question n."""
    if answer.status_code != 200 or answer.headers["x-request-id"] != f"q-{n}":
        return False
    told = answer.json()["items"]
    return len(told) == 2 and all(
        one["result"] is not None
        and (one["item_id"], one["location_id"], one["result"]["on_hand"])
        == (asked["item_id"], asked["location_id"], asked["on_hand"])
        for one, asked in zip(told, question(n)["items"], strict=True)
    )


async def ask(http: httpx.AsyncClient, n: int, count: Count, draw: random.Random) -> None:
    """One question; every third caller has no patience, and leaves its connection in the middle of the answer."""
    call = http.post("/v1/recommendations", json=question(n), headers={"X-Request-ID": f"q-{n}"})
    try:
        answer = await asyncio.wait_for(call, draw.uniform(0.001, 0.03) if n % 3 == 0 else None)
    except TimeoutError:
        count.cancelled += 1
        return
    count.answered += 1
    if not is_right(n, answer):
        count.wrong.append(f"{n}: {answer.text[:300]}")


def drop(server: Server, n: int, draw: random.Random) -> None:
    """Send a part of a question, or all of it, and hang up."""
    body = httpx.Request("POST", "http://x", json=question(n)).read()
    parts = urlsplit(server.url)
    head = (
        f"POST /v1/recommendations HTTP/1.1\r\nHost: {parts.netloc}\r\nX-API-Key: {server.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    sent = head.encode() + body
    with socket.create_connection((parts.hostname or "", parts.port or 80)) as caller:
        caller.sendall(sent[: draw.randrange(len(head) // 2, len(sent) + 1)])


async def test_every_answer_is_that_to_its_own_question(tmp_path: Path, record_testsuite_property: Record) -> None:
    """The cache tears its replies now and then, so that its connections are left in the middle of one, too."""
    count, draw = Count(), random.Random(7)
    with running_valkey() as valkey, running_proxy(("127.0.0.1", valkey.port)) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        with serving(tmp_path, ORPR_REDIS_URL=url, ORPR_MAX_WAIT_S="30", ORPR_LOG_LEVEL="error") as server:
            numbers = iter(range(QUESTIONS))
            key = {"X-API-Key": server.key}

            async def caller(http: httpx.AsyncClient) -> None:
                for n in numbers:
                    if n % 40 in (0, 30):
                        proxy.set(Mode.TORN if n % 40 else Mode.OPEN)
                    if n % 7 == 0:
                        await asyncio.to_thread(drop, server, n, draw)
                        count.dropped += 1
                    await ask(http, n, count, draw)

            async with httpx.AsyncClient(base_url=server.url, headers=key, trust_env=False, timeout=60) as http:
                await asyncio.gather(*(caller(http) for _ in range(CALLERS)))
                count.answered += 1
                last = await http.post(
                    "/v1/recommendations", json=question(QUESTIONS), headers={"X-Request-ID": f"q-{QUESTIONS}"}
                )
                assert is_right(QUESTIONS, last)
    record_testsuite_property(
        "fault: connections dropped half way",
        f"{QUESTIONS + 1} questions of {CALLERS} callers at once, {count.cancelled} given up half way, {count.dropped} connections "
        f"dropped besides; of {count.answered} answers {len(count.wrong)} wrong or another request's",
    )
    assert count.wrong == []
    assert count.cancelled > 0
    assert count.answered > QUESTIONS / 3
