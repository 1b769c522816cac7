"""What is asked of whom, how often, and how long it took.

For each size of question there are three groups. In each, everybody is first asked as fast as it answers (throughput), then
everybody gets the same requests at the same times, drawn at a third of what the slowest of the group can do. Contestants take
turns round by round, so that a busy moment of the machine hits all alike; while one is asked the others are stopped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np

from orpr.progress import Report
from tests.benchmarks.service.bare import Bare
from tests.benchmarks.service.chain import Asking, Chain
from tests.benchmarks.service.load import Generator, Heard, Plan
from tests.benchmarks.service.servers import NOOP, OURS, OURS_IN_PROCESS, Server

BARE = "bare ONNX run"
NEW, AGAIN, KEPT, KEPT_AGAIN, FRESH = "new", "again", "remembered", "remembered, again", "fresh"
LOAD = 1 / 3  # of what the slowest of a group can do
LEAST = 2  # requests in a round; where fewer would arrive, so many are asked once, one after the other
ALONE = "nobody else asks"
GROUPS = {  # (who, how it is asked)
    "features ready": (
        (BARE, NEW), (OURS, NEW), (OURS_IN_PROCESS, NEW), (OURS, AGAIN), (OURS_IN_PROCESS, AGAIN),
        ("LitServe, features in memory", NEW), ("FastAPI, features in memory", NEW), (NOOP, NEW),
    ),
    ALONE: (
        (BARE, NEW), (OURS, NEW), (OURS_IN_PROCESS, NEW), ("LitServe, features in memory", NEW),
        ("FastAPI, features in memory", NEW),
    ),
    "remembered": ((BARE, NEW), (OURS, KEPT), (OURS, KEPT_AGAIN)),
    "cold": (
        (BARE, NEW), (OURS, FRESH), (OURS_IN_PROCESS, FRESH), (OURS, NEW), ("LitServe", NEW), ("FastAPI", NEW),
    ),
}  # fmt: skip

ONLY_ONE = ((NOOP, NEW), (OURS_IN_PROCESS, AGAIN))  # asked questions about one series only


class Size(NamedTuple):
    """How questions of so many series are asked."""

    count: int  # series in one question
    pool: int  # questions whose features are cached before those of `features ready` and `remembered` are asked
    days: tuple[int, int]  # days after the last recorded one, first and behind the last, on which nothing is cached yet
    fresh: int  # of these, how many one contestant may use up in a round of throughput
    connections: int
    rounds: int
    seconds: float  # of arrivals in a round, once a group
    flood_s: float  # of throughput in a round
    one_by_one: int = 0  # where it is not 0, so many fresh questions are asked, one after the other
    alone: int = 0  # questions, one after the other, of the group in which nobody waits for another one


FULL = (
    Size(1, 200, (1, 2), 400, 8, 2, 8.0, 1.2),
    Size(100, 5, (2, 11), 36, 4, 2, 5.0, 1.5, alone=100),
    Size(5000, 1, (11, 15), 1, 2, 1, 16.0, 2.0, one_by_one=1, alone=8),
)
QUICK = (Size(1, 5, (1, 2), 40, 2, 1, 0.3, 0.1), Size(20, 2, (2, 15), 4, 2, 1, 0.3, 0.1, one_by_one=1, alone=4))


class Row(NamedTuple):
    """One contestant in one group."""

    series: int
    group: str
    who: str
    how: str
    rate: float  # requests a second that arrived; 0: one after the other
    answers: int
    p50: float  # seconds, as all here
    p90: float
    p99: float
    longest: float
    late_p99: float  # how late the generator sent; 0 for the bare run
    throughput: float  # requests a second when asked as fast as it answers
    rounds_p50: list[float]


class Questions:
    """Bodies for one size; every body is used up by being given out."""

    def __init__(self, chain: Chain, size: Size) -> None:
        self._asking, self._last, self._size = Asking(chain, size.count), chain.last, size
        self._number = self._fresh = 0
        self._in_a_day = max(1, len(chain.series) // size.count)

    def pool(self, *, record: bool = False) -> list[str]:
        """Those that are asked beforehand, always the same."""
        return [self._asking.body(n, record=record) for n in range(self._size.pool)]

    def rows(self) -> list[list[int]]:
        """The rows that they are about."""
        return [self._asking.rows(n).tolist() for n in range(self._size.pool)]

    def of(self, how: str, count: int) -> list[str]:
        """`count` bodies, or fewer where they may come again."""
        if how in (AGAIN, KEPT_AGAIN):
            return self.pool(record=how == KEPT_AGAIN)
        if how == FRESH:
            return [self._fresh_one() for _ in range(count)]
        numbers = range(self._number + 1, self._number + count + 1)
        self._number += count
        return [self._asking.body(n % self._size.pool, number=n, record=how == KEPT) for n in numbers]

    def _fresh_one(self) -> str:
        n = self._fresh
        self._fresh += 1
        days = self._size.days[0] + n // self._in_a_day
        if days >= self._size.days[1]:
            raise RuntimeError(f"no series of {self._size.count} are left whose features are not cached yet")
        as_of: date = self._last + timedelta(days=days)
        return self._asking.body(n % self._in_a_day, as_of=as_of)


class Measurement:
    """All contestants on one size of question."""

    def __init__(
        self, size: Size, chain: Chain, servers: dict[str, Server], bare: Bare, generator: Generator, report: Report
    ) -> None:
        self._size, self._servers, self._bare, self._generator = size, servers, bare, generator
        self._report, self._questions = report, Questions(chain, size)

    def rows(self) -> list[Row]:
        """Every group, one after the other."""
        self._agree()
        found = []
        for name, members in GROUPS.items():
            if name == ALONE and not self._size.alone:
                continue
            there = [(who, how) for who, how in members if who == BARE or who in self._servers]
            there = [member for member in there if self._size.count == 1 or member not in ONLY_ONE]
            found += self._group(name, there)
        return found

    def _agree(self) -> None:
        """Every contestant decides the same.

        Raises:
            AssertionError: naming one that does not.
        """
        body = self._questions.pool()[0]
        told: dict[str, list[float]] = {}
        for who, server in self._servers.items():
            if who != NOOP:
                with server.awake():
                    told[who] = orders(server.ask(body).json())
        for who, found in told.items():
            assert np.allclose(found, told[OURS]), f"{who} decides otherwise than {OURS}"

    def _group(self, name: str, members: Sequence[tuple[str, str]]) -> list[Row]:
        size = self._size
        one_by_one = size.alone if name == ALONE else size.one_by_one if FRESH in [how for _, how in members] else 0
        flood = {} if one_by_one else self._flood(name, members)
        rate = 0.0 if one_by_one else rounded(LOAD * min(flood[who, how] for who, how in members if who != BARE))
        if rate * size.seconds < LEAST:
            rate, one_by_one = 0.0, one_by_one or LEAST
        times: dict[tuple[str, str], list[Heard]] = {member: [] for member in members}
        rounds = size.rounds if rate else 1
        for number in range(rounds):
            arrivals = draw(rate, size.seconds, seed=number) if rate else []
            for at, (who, how) in enumerate(members):
                self._tell(name, number * len(members) + at, rounds * len(members), who)
                times[who, how].append(self._timed(who, how, arrivals, one_by_one))
        return [row(size.count, name, member, rate, heard, flood.get(member)) for member, heard in times.items()]

    def _flood(self, name: str, members: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
        """Requests a second of each, the bare run with one after the other; medians over the rounds."""
        size = self._size
        found: dict[tuple[str, str], list[float]] = {member: [] for member in members}
        for number in range(size.rounds):
            for at, (who, how) in enumerate(members):
                self._tell(f"{name}, throughput", number * len(members) + at, size.rounds * len(members), who)
                if who == BARE:
                    took = self._bare.run(self._questions.rows(), [0.0] * max(2, 100 // size.count))
                    found[who, how].append(len(took) / sum(took))
                    continue
                with self._servers[who].awake() as server:
                    heard = self._generator.run(self._plan(server, how, [], self._enough(how)))
                    found[who, how].append(len(heard.seconds) / heard.took)
        return {member: float(np.median(rates)) for member, rates in found.items()}

    def _enough(self, how: str) -> int:
        """Bodies for more requests than can be answered in a round; of fresh ones there are fewer."""
        return self._size.fresh if how == FRESH else max(8, round(10_000 / self._size.count * self._size.flood_s))

    def _timed(self, who: str, how: str, arrivals: list[float], one_by_one: int) -> Heard:
        if who == BARE:
            took = self._bare.run(self._questions.rows(), arrivals or [0.0] * one_by_one)
            return Heard(took, [0.0], sum(took), {})
        with self._servers[who].awake() as server:
            plan = self._plan(server, how, arrivals, len(arrivals) or one_by_one)
            if not arrivals:
                plan = plan._replace(seconds=float("inf"), connections=1, once=True)
            return self._generator.run(plan)

    def _plan(self, server: Server, how: str, arrivals: list[float], bodies: int) -> Plan:
        """Made ready: what has to be cached or remembered before is, and others have woken up."""
        pool = [] if how == FRESH else self._questions.pool(record=how == KEPT_AGAIN)
        if server.who in (OURS, OURS_IN_PROCESS):
            for body in pool:
                orders(server.ask(body).json())
        elif not self._size.one_by_one:
            server.ask(pool[0])
        made, size = self._questions.of(how, bodies), self._size
        return Plan(
            server.port, server.path, server.headers, made, arrivals, size.flood_s, size.connections, how == FRESH
        )  # fmt: skip

    def _tell(self, stage: str, done: int, total: int, who: str) -> None:
        self._report(f"{self._size.count:,} series, {stage}", done, total, who)


def orders(told: dict[str, Any]) -> list[float]:
    """Days and order of each series of an answer, one after the other.

    Raises:
        RuntimeError: where one of them is a problem.
    """
    found: list[float] = []
    for item in told["items"]:
        answer = item.get("result", item)
        if answer is None:
            raise RuntimeError(json.dumps(item["problem"]))
        found += [answer["inventory_days"], answer.get("order_quantity_if_due", answer["order_quantity"])]
    return found


def draw(rate: float, seconds: float, seed: int) -> list[float]:
    """Poisson arrivals at a rate, as many as are expected in so many seconds."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, round(rate * seconds))
    found: list[float] = np.cumsum(gaps).tolist()
    return found


def rounded(rate: float) -> float:
    """To two digits, downwards."""
    digits = int(np.floor(np.log10(rate))) - 1
    return float(round(np.floor(rate / 10.0**digits) * 10.0**digits, max(0, -digits)))


def row(
    series: int, group: str, member: tuple[str, str], rate: float, heard: Sequence[Heard], throughput: float | None
) -> Row:
    """All rounds together; where requests came one after the other, that is the throughput too."""
    seconds = np.concatenate([one.seconds for one in heard])
    p50, p90, p99 = (float(one) for one in np.percentile(seconds, (50, 90, 99)))
    late = np.concatenate([one.late for one in heard])
    rounds = [float(np.median(one.seconds)) for one in heard]
    asked = len(seconds) / seconds.sum() if throughput is None else throughput
    return Row(
        series, group, *member, rate, len(seconds), p50, p90, p99, float(seconds.max()),
        float(np.percentile(late, 99)) if len(late) else 0.0, float(asked), rounds,
    )  # fmt: skip
