"""A real Valkey killed, stopped, black-holed and started anew under a real service: no error, no wrong answer, little delay.

Most questions find their rows in the process itself; one in ten is about rows that it does not have, so that Valkey is asked.
`ORPR_FAULT_READS=2000` asks so often in each state; the suite asks a few times.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date, timedelta
from itertools import count
from typing import Any, NamedTuple

import httpx
import numpy as np
import polars as pl
import pytest
import redis

from tests.faults.proxy import Mode, Proxy, running_proxy
from tests.faults.servers import SAMPLE, Server, Valkey, running_valkey, serving, until

READS = int(os.environ.get("ORPR_FAULT_READS", "500"))
SLOWER_S = 0.060  # than the healthy p99, at most
NEW_EVERY = 10  # one question of so many is about rows that the process does not have
TRIES = 2  # how often Valkey is tried without an answer at the least: once more after it was left alone
STORES = ["S17", "S20", "S21", "S22", "S24", "S26", "S27", "S28", "S29", "S3", "S31", "S33"]
PLACES = pl.read_parquet(SAMPLE / "items.parquet")["location_id"].unique().sort().to_list()
DAY = date(2019, 4, 26)
Record = Callable[[str, object], None]


class Site(NamedTuple):
    """A service whose Valkey stands behind a proxy."""

    server: Server
    valkey: Valkey
    proxy: Proxy
    http: httpx.Client
    numbers: Iterator[int]  # of questions about rows that nobody has asked for


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_valkey() as valkey, running_proxy(("127.0.0.1", valkey.port)) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        with serving(tmp_path_factory.mktemp("site"), ORPR_REDIS_URL=url) as server, server.client() as http:
            yield Site(server, valkey, proxy, http, count())


def body(turn: int) -> dict[str, Any]:
    """Two series; other ones at every turn."""
    items = [
        {"item_id": "B101", "location_id": STORES[(turn + step) % len(STORES)], "on_hand": turn} for step in (0, 7)
    ]
    return {"items": items, "record": False}


def new_body(number: int) -> dict[str, Any]:
    """Two series of other items on a day that no other number names."""
    place, day = PLACES[number % len(PLACES)], DAY - timedelta(days=number // len(PLACES))
    items = [{"item_id": item, "location_id": place, "on_hand": number % 50} for item in ("B109", "B110")]
    return {"items": items, "as_of": day.isoformat(), "record": False}


def told(answer: httpx.Response) -> list[dict[str, Any]]:
    """The answers but for how old their rows are: one that was read anew is younger."""
    found: list[dict[str, Any]] = answer.json()["items"]
    return [one | {"feature_age_s": None} for one in found]


class Reads:
    """Asks over and over, and keeps what was wrong and how long each answer took."""

    def __init__(self, site: Site, http: httpx.Client, right: dict[int, Any]) -> None:
        self._numbers, self._http, self._right = site.numbers, http, right
        self.seconds: list[float] = []
        self.new: dict[int, Any] = {}  # answers about rows that nobody had, by number
        self.errors = self.wrong = 0

    def ask(self) -> None:
        """Once."""
        turn = len(self.seconds) % len(self._right)
        number = next(self._numbers) if len(self.seconds) % NEW_EVERY == 0 else None
        asked = body(turn) if number is None else new_body(number)
        began = time.perf_counter()
        try:
            answer = self._http.post("/v1/recommendations", json=asked)
        except httpx.TransportError:
            self.errors += 1
            return
        finally:
            self.seconds.append(time.perf_counter() - began)
        if answer.status_code != 200:
            self.errors += 1
        elif number is not None:
            self.new[number] = told(answer)
        elif told(answer) != self._right[turn]:
            self.wrong += 1

    def ask_until(self, enough: Callable[[], bool]) -> None:
        """As often as the tests do, and on until something has happened."""
        for _ in range(READS):
            self.ask()

        def asked() -> bool:
            for _ in range(0 if enough() else NEW_EVERY):
                self.ask()
            return enough()

        until(asked)

    def ask_again(self) -> None:
        """What was asked about new rows, to see whether the answers are the same now."""
        for number, before in self.new.items():
            answer = self._http.post("/v1/recommendations", json=new_body(number)).raise_for_status()
            self.wrong += told(answer) != before

    @property
    def p99(self) -> float:
        """Seconds."""
        return float(np.quantile(self.seconds, 0.99))


def healthy(site: Site) -> tuple[dict[int, Any], Reads]:
    """The right answers, and how long they take while Valkey is well."""
    until(lambda: is_used(site))
    right = {n: told(site.http.post("/v1/recommendations", json=body(n))) for n in range(len(STORES))}
    reads, before = Reads(site, site.http, right), asked_for_rows(site)
    reads.ask_until(lambda: asked_for_rows(site) - before >= READS // NEW_EVERY)  # a busy machine is too slow at times
    assert (reads.errors, reads.wrong) == (0, 0)
    return right, reads


def asked_for_rows(site: Site) -> int:
    """How often Valkey was asked for rows since it started."""
    with redis.Redis(port=site.valkey.port) as client:
        return int(client.info("commandstats").get("cmdstat_mget", {}).get("calls", 0))


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


@pytest.mark.parametrize(("fault", "name"), [(kill, "killed"), (stop, "stopped (SIGSTOP)"), (swallow, "black-holed")])
def test_without_valkey_every_question_has_its_answer_in_time(
    site: Site, fault: Callable[[Site], None], name: str, record_testsuite_property: Record
) -> None:
    right, before = healthy(site)
    pid, tripped = site.valkey.pid, cache_count(site, "errors")
    without = Reads(site, site.http, right)
    fault(site)
    try:
        without.ask_until(lambda: cache_count(site, "errors") - tripped >= TRIES)
        tries = int(cache_count(site, "errors") - tripped)
    finally:
        if fault is kill:
            site.valkey.start()
        elif fault is stop:
            os.kill(pid, signal.SIGCONT)
        site.proxy.set(Mode.OPEN)
    until(lambda: is_used(site))
    for reads in (before, without):
        reads.ask_again()
    slower = without.p99 - before.p99
    record_testsuite_property(
        f"fault: Redis {name}",
        f"{len(without.seconds)} questions without it, {len(without.new)} of them about rows that the process did not have, for "
        f"which it was tried {tries} times; {without.errors} errors, {without.wrong + before.wrong} wrong answers, "
        f"p99 {1000 * slower:+.1f} ms against {1000 * before.p99:.1f} ms with it, the slowest {1000 * max(without.seconds):.0f} ms "
        f"against {1000 * max(before.seconds):.0f} ms",
    )
    assert (without.errors, without.wrong, before.wrong) == (0, 0, 0)
    assert slower <= SLOWER_S


def disturb(site: Site, readers: list[Reads]) -> int:
    """Cut a reply, kill Valkey and start it again, over and over until so many questions were asked; how often."""
    restarts = 0
    while sum(len(reads.seconds) for reads in readers) < 2 * READS or restarts < 3:
        seen = cache_count(site, "errors")
        site.proxy.set(Mode.TORN)
        time.sleep(0.1)
        site.valkey.kill()
        site.proxy.set(Mode.OPEN)
        until(lambda: cache_count(site, "errors") > seen)  # noqa: B023 - at once
        site.valkey.start()
        restarts += 1
        until(lambda: is_used(site))
    return restarts


def test_a_valkey_that_dies_and_comes_back_in_the_middle_of_reads_changes_no_answer(
    site: Site, record_testsuite_property: Record
) -> None:
    """Killed at any moment, and replies cut in the middle, while four clients read."""
    right, _ = healthy(site)
    with ExitStack() as stack:
        readers = [Reads(site, stack.enter_context(site.server.client()), right) for _ in range(4)]
        ended, tripped = threading.Event(), cache_count(site, "errors")

        def read(reads: Reads) -> None:
            while not ended.is_set():
                reads.ask()

        threads = [threading.Thread(target=read, args=(reads,)) for reads in readers]
        for thread in threads:
            thread.start()
        try:
            restarts = disturb(site, readers)
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        tries = int(cache_count(site, "errors") - tripped)
        for reads in readers:
            reads.ask_again()
    asked, new = sum(len(reads.seconds) for reads in readers), sum(len(reads.new) for reads in readers)
    errors, wrong = sum(reads.errors for reads in readers), sum(reads.wrong for reads in readers)
    record_testsuite_property(
        "fault: Redis restarted mid-read",
        f"{asked} questions of 4 clients under {restarts} kills and restarts, {new} of them about rows that the process did not have, "
        f"for which it was tried {tries} times without an answer; {errors} errors, {wrong} wrong answers",
    )
    assert (errors, wrong) == (0, 0)
    assert tries >= restarts
