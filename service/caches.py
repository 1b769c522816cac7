"""Caches of packed feature rows: in the process, or Redis, which may vanish at any time."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

LOG = logging.getLogger(__name__)
MOST_OF_SERIES = 3  # rows of one series in a process: other days, or as they were before a feed
AT_ONCE = 200  # rows of one MGET: thousands of them would take longer than Redis is waited for
BREAK_S = 2.0  # how long Redis is left alone after an error


def series_of(key: str) -> str:
    """The end of a key, which names a location and an item."""
    return "\x1f".join(key.rsplit("\x1f", 2)[-2:])


class Cache(Protocol):
    """Bytes by key; a miss is None, and so is every failure."""

    name: str
    most_rows: int | None  # None: as many as there are

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]: ...

    def put_many(self, rows: dict[str, bytes]) -> None: ...

    def claim(self, name: str, seconds: int) -> bool:
        """Whether this process is the first to take up a piece of work; others are told no for so many seconds."""
        ...

    def close(self) -> None: ...


class MemoryCache:
    """The latest rows of this process, oldest out first; of one series a few, for its older ones are hardly asked for again."""

    name = "memory"

    def __init__(self, most_rows: int = 20_000) -> None:
        self._rows: OrderedDict[str, bytes] = OrderedDict()
        self._of_series: dict[str, list[str]] = {}  # keys, oldest first
        self.most_rows: int | None = most_rows
        self._lock = threading.Lock()

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        with self._lock:
            return [self._rows.get(key) for key in keys]

    def put_many(self, rows: dict[str, bytes]) -> None:
        with self._lock:
            for key, blob in rows.items():
                if key not in self._rows:
                    self._make_room(series_of(key), key)
                self._rows[key] = blob
            while self.most_rows is not None and len(self._rows) > self.most_rows:
                old, _ = self._rows.popitem(last=False)
                self._of_series[series_of(old)].remove(old)

    @property
    def held(self) -> int:
        """Rows that it holds."""
        return len(self._rows)

    def _make_room(self, series: str, key: str) -> None:
        keys = self._of_series.setdefault(series, [])
        keys.append(key)
        if len(keys) > MOST_OF_SERIES:
            del self._rows[keys.pop(0)]

    def claim(self, name: str, seconds: int) -> bool:  # noqa: ARG002 - of the interface
        return True  # nobody else knows these rows

    def close(self) -> None:
        with self._lock:
            self._rows.clear()
            self._of_series.clear()


class RedisCache:
    """One MGET for most requests, no retries, a short timeout; after an error Redis is left alone for two seconds.

    What passes through is kept in the process too, and serves while Redis does not answer: rows that had to be built anew for
    each question would make the answers late.
    """

    name = "redis"
    most_rows: int | None = None

    def __init__(self, url: str, timeout_s: float, ttl_s: int) -> None:
        pool = redis.BlockingConnectionPool.from_url(
            url, max_connections=16, timeout=timeout_s, socket_timeout=timeout_s, socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )  # fmt: skip
        self._client = redis.Redis(connection_pool=pool)
        self._ttl, self._near = ttl_s, MemoryCache()
        self.rest_until = 0.0
        self.errors = 0

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        if not keys or time.monotonic() < self.rest_until:
            return self._near.get_many(keys)
        try:
            parts = (self._client.mget(keys[at : at + AT_ONCE]) for at in range(0, len(keys), AT_ONCE))
            found = [blob if isinstance(blob, bytes) else None for part in parts for blob in part]
        except (redis.RedisError, OSError) as error:
            self._trip(error)
            return self._near.get_many(keys)
        self._near.put_many({key: blob for key, blob in zip(keys, found, strict=True) if blob is not None})
        return found

    def put_many(self, rows: dict[str, bytes]) -> None:
        self._near.put_many(rows)
        if not rows or time.monotonic() < self.rest_until:
            return
        try:
            told = list(rows.items())
            for at in range(0, len(told), AT_ONCE):
                with self._client.pipeline(transaction=False) as pipe:
                    for key, blob in told[at : at + AT_ONCE]:
                        pipe.set(key, blob, ex=int(self._ttl * random.uniform(0.9, 1.1)))  # noqa: S311 - spreads expiry
                    pipe.execute()
        except (redis.RedisError, OSError) as error:
            self._trip(error)

    def claim(self, name: str, seconds: int) -> bool:
        if time.monotonic() < self.rest_until:
            return False
        try:
            return bool(self._client.set(name, b"1", nx=True, ex=seconds))
        except (redis.RedisError, OSError) as error:
            self._trip(error)
            return False

    def _trip(self, error: Exception) -> None:
        self.errors += 1
        self.rest_until = time.monotonic() + BREAK_S
        LOG.warning("redis does not answer (%s); serving without it for %s s", error, BREAK_S)

    @property
    def resting(self) -> bool:
        """Whether Redis did not answer a moment ago and is left alone."""
        return time.monotonic() < self.rest_until

    @property
    def connections(self) -> tuple[int, int, int]:
        """Connections in use, idle, and at most."""
        pool = self._client.connection_pool
        idle, used = (count for count, _ in pool.get_connection_count())
        return used, idle, pool.max_connections

    def close(self) -> None:
        self._near.close()
        self._client.close()
