"""A mixed load of everything that a service is used for, night after night, at a stated rate; for the soak.

A day passes every `DAY_S` seconds: its sales and stock come in, every series is asked about and remembered, and some
outcomes are told. Between, requests of all kinds arrive at random.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import httpx

from tests.benchmarks.service.chain import Chain, question
from tests.benchmarks.service.servers import Server

DAY_S = 30.0
WORKERS = 8
BATCH = 84  # series in a request of the night
KINDS = {  # out of a hundred requests
    "questions about one series": 40, "questions about twenty": 10, "questions asked again": 15, "remembered questions": 8,
    "overrides written": 6, "overrides ended": 6, "outcomes": 6, "lists read": 5, "planner pages": 2, "what-ifs": 1,
    "metrics read": 1,
}  # fmt: skip


class Traffic:
    """Sends; knows what it has written, so that it can end it again."""

    def __init__(self, server: Server, chain: Chain, rate: float, seed: int = 0) -> None:
        self._chain, self._rate, self._draw = chain, rate, random.Random(seed)
        key = server.headers["x-api-key"]
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{server.port}", headers={"X-API-Key": key}, trust_env=False, timeout=60,
            limits=httpx.Limits(max_connections=2 * WORKERS),
        )  # fmt: skip
        self._browser = httpx.Client(base_url=self._http.base_url, trust_env=False, timeout=60)
        assert self._browser.post("/login", data={"key": key}).status_code == 303, "the key opens no planner page"
        self._day, self._numbers = chain.last, 0
        self._overrides: deque[int] = deque()
        self._decisions: deque[str] = deque(maxlen=2000)
        self._asked: deque[dict[str, Any]] = deque(maxlen=50)
        self._lock = threading.Lock()
        self.sent: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._seconds: list[float] = []

    def run(self, seconds: float) -> None:
        """Send for so long; times count from when a request was due."""
        ending = threading.Event()
        nights = threading.Thread(target=self._nights, args=(ending,))
        nights.start()
        try:
            with ThreadPoolExecutor(WORKERS) as pool:
                began = time.monotonic()
                due = began
                while (due := due + self._draw.expovariate(self._rate)) < began + seconds:
                    time.sleep(max(0.0, due - time.monotonic()))
                    kind = self._draw.choices(list(KINDS), list(KINDS.values()))[0]
                    pool.submit(self._timed, kind, due)
        finally:
            ending.set()
            nights.join()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()
        self._browser.close()

    def take_seconds(self) -> list[float]:
        """What every answer took since the last call."""
        with self._lock:
            taken, self._seconds = self._seconds, []
        return taken

    def _timed(self, kind: str, due: float) -> None:
        try:
            answer = self._sender(kind)()
        except Exception as error:  # of whatever kind, it is counted and the load goes on
            self._fail(kind, type(error).__name__)
            return
        if answer is not None:
            self._count(kind, answer)
            with self._lock:
                self._seconds.append(time.monotonic() - due)

    def _sender(self, kind: str) -> Callable[[], httpx.Response | None]:
        return {
            "questions about one series": lambda: self._ask(1), "questions about twenty": lambda: self._ask(20),
            "questions asked again": self._ask_again, "remembered questions": lambda: self._ask(1, record=True),
            "overrides written": self._write, "overrides ended": self._end, "outcomes": self._tell,
            "lists read": self._list, "planner pages": lambda: self._browser.get("/"), "what-ifs": self._what_if,
            "metrics read": lambda: self._http.get("/metrics"),
        }[kind]  # fmt: skip

    def _ask(self, count: int, *, record: bool = False) -> httpx.Response:
        with self._lock:
            self._numbers += 1
            number = self._numbers
        body = question(self._draw.sample(self._chain.series, count), number=number % 1000, record=record)
        self._asked.append(body)
        answer = self._http.post("/v1/recommendations", json=body)
        self._remember(answer)
        return answer

    def _ask_again(self) -> httpx.Response:
        body = self._draw.choice(list(self._asked)) if self._asked else question(self._chain.series[:1])
        return self._http.post("/v1/recommendations", json=body)

    def _remember(self, answer: httpx.Response) -> None:
        for item in answer.json().get("items", []):
            if item["result"] and item["result"]["decision_id"]:
                self._decisions.append(item["result"]["decision_id"])

    def _write(self) -> httpx.Response:
        item, place = self._draw.choice(self._chain.series)
        answer = self._http.post("/v1/overrides", json={
            "item_id": item, "location_id": place, "selling_from": self._day.isoformat(),
            "selling_to": (self._day + timedelta(days=3)).isoformat(), "mode": "at_least", "value": 3, "reason": "soak", "author": "bench",
        })  # fmt: skip
        if answer.status_code == 201:
            self._overrides.append(answer.json()["id"])
        return answer

    def _end(self) -> httpx.Response | None:
        if not self._overrides:
            return None
        return self._http.delete(f"/v1/overrides/{self._overrides.popleft()}", headers={"If-Match": "*"})

    def _tell(self) -> httpx.Response | None:
        if not self._decisions:
            return None
        number, status = self._decisions.popleft(), self._draw.choice(("ordered", "rejected"))
        return self._http.post(f"/v1/decisions/{number}/outcome", json={"status": status})

    def _list(self) -> httpx.Response:
        return self._http.get(f"/v1/{self._draw.choice(('items', 'history', 'inventory', 'decisions', 'overrides'))}")

    def _what_if(self) -> httpx.Response:
        item, place = self._draw.choice(self._chain.series)
        body = {"item_id": item, "location_id": place, "on_hand": 9, "open_orders": []}
        return self._http.post("/v1/what-if", json=body)

    def _nights(self, ending: threading.Event) -> None:
        over = False
        while not over:
            day = self._day + timedelta(days=1)
            for kind, send in (("feeds", self._feed), ("nightly batches", self._ask_everything)):
                try:
                    send(day)
                except Exception as error:  # as above
                    self._fail(kind, type(error).__name__)
            self._day = day
            over = ending.wait(DAY_S)

    def _feed(self, day: date) -> None:
        keys = [{"item_id": item, "location_id": place, "date": day.isoformat()} for item, place in self._chain.series]
        sold = [key | {"units_sold": self._draw.randint(5, 60), "in_stock": 1} for key in keys]
        left = [key | {"on_hand": self._draw.randint(5, 40)} for key in keys]
        for path, rows in (("history", sold), ("inventory", left)):
            self._count("feeds", self._http.put(f"/v1/{path}", json=rows))

    def _ask_everything(self, day: date) -> None:
        series = self._chain.series
        for at in range(0, len(series), BATCH):
            items = [{"item_id": item, "location_id": place} for item, place in series[at : at + BATCH]]
            answer = self._http.post("/v1/recommendations", json={"items": items, "as_of": day.isoformat()})
            self._count("nightly batches", answer)
            self._remember(answer)

    def _count(self, kind: str, answer: httpx.Response) -> None:
        with self._lock:
            self.sent[kind] += 1
        if answer.status_code >= 400:
            self._fail(kind, str(answer.status_code))

    def _fail(self, kind: str, why: str) -> None:
        with self._lock:
            self.failed[f"{kind}: {why}"] += 1
