"""A real Valkey killed, stopped, black-holed and started anew under a real service: no error, no wrong answer, little delay.

`ORPR_FAULT_READS=2000` asks so often in each state; the suite asks a few times.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest

from tests.faults.proxy import Mode, Proxy, running_proxy
from tests.faults.servers import Server, Valkey, running_valkey, serving, until

READS = int(os.environ.get("ORPR_FAULT_READS", "500"))
SLOWER_S = 0.060  # than the healthy p99, at most
STORES = ["S17", "S20", "S21", "S22", "S24", "S26", "S27", "S28", "S29", "S3", "S31", "S33"]
Record = Callable[[str, object], None]


class Site(NamedTuple):
    """A service whose Valkey stands behind a proxy."""

    server: Server
    valkey: Valkey
    proxy: Proxy
    http: httpx.Client


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_valkey() as valkey, running_proxy(("127.0.0.1", valkey.port)) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        with serving(tmp_path_factory.mktemp("site"), ORPR_REDIS_URL=url) as server, server.client() as http:
            yield Site(server, valkey, proxy, http)


def body(turn: int) -> dict[str, Any]:
    """Two series; other ones at every turn."""
    items = [
        {"item_id": "B101", "location_id": STORES[(turn + step) % len(STORES)], "on_hand": turn} for step in (0, 7)
    ]
    return {"items": items, "record": False}


def told(answer: httpx.Response) -> list[dict[str, Any]]:
    """The answers but for how old their rows are: one that was read anew is younger."""
    found: list[dict[str, Any]] = answer.json()["items"]
    return [one | {"feature_age_s": None} for one in found]


class Reads:
    """Asks over and over, and keeps what was wrong and how long each answer took."""

    def __init__(self, http: httpx.Client, right: dict[int, Any]) -> None:
        self._http, self._right = http, right
        self.seconds: list[float] = []
        self.errors = self.wrong = 0

    def ask(self) -> None:
        """Once."""
        turn = len(self.seconds) % len(self._right)
        began = time.perf_counter()
        try:
            answer = self._http.post("/v1/recommendations", json=body(turn))
        except httpx.TransportError:
            self.errors += 1
            return
        finally:
            self.seconds.append(time.perf_counter() - began)
        if answer.status_code != 200:
            self.errors += 1
        elif told(answer) != self._right[turn]:
            self.wrong += 1

    @property
    def p99(self) -> float:
        """Seconds."""
        return float(np.quantile(self.seconds, 0.99))


def healthy(site: Site) -> tuple[dict[int, Any], Reads]:
    """The right answers, and how long they take while Valkey is well."""
    until(lambda: is_used(site))
    right = {n: told(site.http.post("/v1/recommendations", json=body(n))) for n in range(len(STORES))}
    reads = Reads(site.http, right)
    for _ in range(READS):
        reads.ask()
    assert (reads.errors, reads.wrong) == (0, 0)
    return right, reads


def cache_count(site: Site, name: str) -> float:
    found = re.search(rf"^orpr_feature_cache_{name} (\S+)$", site.http.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def is_used(site: Site) -> bool:
    """Whether Valkey is asked again, and answers."""
    return "\norpr_redis_up 1.0\n" in site.http.get("/metrics").text


def kill(site: Site) -> None:
    site.valkey.kill()


def stop(site: Site) -> None:
    os.kill(site.valkey.pid, signal.SIGSTOP)


def swallow(site: Site) -> None:
    site.proxy.set(Mode.FROZEN)


@pytest.mark.parametrize(
    ("fault", "name", "day"),
    [(kill, "killed", "2019-04-29"), (stop, "stopped (SIGSTOP)", "2019-04-28"), (swallow, "black-holed", "2019-04-27")],
)
def test_without_valkey_every_question_has_its_answer_in_time(
    site: Site, fault: Callable[[Site], None], name: str, day: str, record_testsuite_property: Record
) -> None:
    right, before = healthy(site)
    pid, tripped = site.valkey.pid, cache_count(site, "errors")
    fault(site)
    without = Reads(site.http, right)
    fresh = body(0) | {"as_of": day}  # rows that the process does not have: only for them Valkey is asked
    try:
        assert site.http.post("/v1/recommendations", json=fresh).status_code == 200
        for _ in range(READS):
            without.ask()
        tripped = cache_count(site, "errors") - tripped
    finally:
        if fault is kill:
            site.valkey.start()
        elif fault is stop:
            os.kill(pid, signal.SIGCONT)
        site.proxy.set(Mode.OPEN)
    slower = without.p99 - before.p99
    record_testsuite_property(
        f"fault: Redis {name}",
        f"{READS} questions without it; {without.errors} errors, {without.wrong} wrong answers, "
        f"p99 {1000 * slower:+.1f} ms against {1000 * before.p99:.1f} ms with it",
    )
    assert tripped > 0
    assert (without.errors, without.wrong) == (0, 0)
    assert slower <= SLOWER_S
    until(lambda: is_used(site))


def test_a_valkey_that_dies_and_comes_back_in_the_middle_of_reads_changes_no_answer(
    site: Site, record_testsuite_property: Record
) -> None:
    """Killed at any moment, and replies cut in the middle, while four clients read."""
    right, _ = healthy(site)
    ended, restarts = threading.Event(), 0
    clients = [site.server.client() for _ in range(4)]
    readers = [Reads(http, right) for http in clients]

    def read(reads: Reads) -> None:
        while not ended.is_set():
            reads.ask()

    threads = [threading.Thread(target=read, args=(reads,)) for reads in readers]
    for thread in threads:
        thread.start()
    try:
        while sum(len(reads.seconds) for reads in readers) < 2 * READS or restarts < 3:
            site.proxy.set(Mode.TORN)
            time.sleep(0.1)
            site.valkey.kill()
            site.proxy.set(Mode.OPEN)
            time.sleep(0.3)
            site.valkey.start()
            restarts += 1
            time.sleep(2.2)  # until it is asked again
    finally:
        ended.set()
        for thread, http in zip(threads, clients, strict=True):
            thread.join()
            http.close()
    asked = sum(len(reads.seconds) for reads in readers)
    errors, wrong = sum(reads.errors for reads in readers), sum(reads.wrong for reads in readers)
    record_testsuite_property(
        "fault: Redis restarted mid-read",
        f"{asked} questions of 4 clients under {restarts} kills and restarts; {errors} errors, {wrong} wrong answers",
    )
    assert (errors, wrong) == (0, 0)
    until(lambda: is_used(site))
