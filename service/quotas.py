"""How often one key may ask, and how often one address may show a key that is none.

Counted here, in windows of a minute by the clock. Where several processes serve one site, each tells Redis from time to time
what it has counted and learns what the others have: no request waits for that, and none fails without Redis.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections import OrderedDict
from contextvars import Context
from ipaddress import IPv6Address, ip_network
from time import time
from typing import NamedTuple

import redis.asyncio
from prometheus_client import Counter
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from starlette.requests import HTTPConnection

from service.problems import ProblemError

LOG = logging.getLogger(__name__)
WINDOW_S = 60
TELL_S = 0.1  # how long counts may stay untold
BREAK_S = 2.0  # how long Redis is left alone after an error
MOST_KNOWN = 10_000
KEY, ADDRESS = "key", "address"


class Standing(NamedTuple):
    """How much of a quota is used."""

    policy: str
    quota: int
    used: int
    reset_s: int

    @property
    def headers(self) -> dict[str, str]:
        """RateLimit fields, draft-ietf-httpapi-ratelimit-headers-11."""
        left = max(0, self.quota - self.used)
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.quota};w={WINDOW_S}',
            "RateLimit": f'"{self.policy}";r={left};t={self.reset_s}',
        }


class Counts:
    """How often something happened in this window: here, and in the other processes as far as Redis has told."""

    def __init__(self, redis_url: str | None, timeout_s: float) -> None:
        self._redis: redis.asyncio.Redis | None = None
        if redis_url:
            self._redis = redis.asyncio.Redis.from_url(
                redis_url, max_connections=2, socket_timeout=timeout_s, socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), 0),
            )  # fmt: skip
        self._window = 0
        self._mine: dict[str, int] = {}
        self._told: dict[str, int] = {}  # of mine, what Redis knows
        self._others: dict[str, int] = {}
        self._telling: asyncio.Task[None] | None = None

    def add(self, key: str, amount: int) -> int:
        """Count, and return the sum."""
        window = int(time() // WINDOW_S)
        if window != self._window:
            self._window, self._mine, self._told, self._others = window, {}, {}, {}
        mine = self._mine.get(key, 0) + amount
        if amount:
            self._mine[key] = mine
            if self._redis is not None and (self._telling is None or self._telling.done()):
                # in a context of its own, so that its log lines do not bear the number of a request
                self._telling = asyncio.get_running_loop().create_task(self._tell(self._redis), context=Context())
        return mine + self._others.get(key, 0)

    async def _tell(self, shared: redis.asyncio.Redis) -> None:
        await asyncio.sleep(TELL_S)
        window, told = self._window, dict(self._mine)
        new = {key: mine - self._told.get(key, 0) for key, mine in told.items() if mine > self._told.get(key, 0)}
        try:
            async with shared.pipeline(transaction=False) as pipe:
                for key, amount in new.items():
                    pipe.incrby(f"orpr:rate:{window}:{key}", amount)
                    pipe.expire(f"orpr:rate:{window}:{key}", 2 * WINDOW_S)
                totals = (await pipe.execute())[::2]
        except (redis.RedisError, OSError) as error:
            LOG.warning("redis does not answer (%s); rates are counted here for %s s", type(error).__name__, BREAK_S)
            await asyncio.sleep(BREAK_S)
            return
        if window == self._window:
            self._told = told
            self._others |= {key: total - told[key] for key, total in zip(new, totals, strict=True)}

    async def close(self) -> None:
        """Stop telling, and give the connection back."""
        if self._telling is not None:
            self._telling.cancel()
        if self._redis is not None:
            await self._redis.aclose()


class Quotas:
    """Counts requests by key, and failures by address."""

    def __init__(self, per_key: int, per_address: int, counts: Counts, shed: Counter) -> None:
        self._most = {KEY: per_key, ADDRESS: per_address}
        self._counts, self._shed = counts, shed
        self._known: OrderedDict[str, None] = OrderedDict()

    def count(self, policy: str, who: str, amount: int = 1) -> Standing:
        """Count requests of a good key, or such without one from an address; an amount of 0 only looks."""
        key = f"{policy}:{hashlib.sha256(who.encode()).hexdigest()[:32]}"
        used = self._counts.add(key, amount)
        return Standing(policy, self._most[policy], used, math.ceil(WINDOW_S - time() % WINDOW_S))

    def check(self, standing: Standing, *, before: bool = False) -> None:
        """Refuse what is over its quota; with `before`, what would be over with one more.

        Raises:
            ProblemError: 429 with the time after which it may be tried again.
        """
        if standing.used + before <= standing.quota:
            return
        self._shed.labels(standing.policy).inc()
        what = "requests with this key" if standing.policy == KEY else "requests without a good key from this address"
        detail = f"{what}: at most {standing.quota:,} a minute; again in {standing.reset_s} s"
        raise ProblemError(429, "quota-exceeded", "Too many requests", detail, retry_after_s=standing.reset_s)

    def knows(self, digest: str) -> bool:
        """Whether a key has been good before. One that has is no guess, whatever else comes from its address."""
        return digest in self._known

    def remember(self, digest: str) -> None:
        """Note that a key was good."""
        self._known[digest] = None
        self._known.move_to_end(digest)
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)


def address_of(connection: HTTPConnection) -> str:
    """Where a request comes from; of IPv6 the network, as one caller has all addresses of it."""
    host = connection.client.host if connection.client else ""
    try:
        return str(ip_network(f"{IPv6Address(host)}/64", strict=False))
    except ValueError:
        return host
