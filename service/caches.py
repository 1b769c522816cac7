"""Caches of packed feature rows: in the process, or Redis, which may vanish at any time."""

from __future__ import annotations

import logging
import random
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.at_once import may_wait

LOG = logging.getLogger(__name__)
MOST_OF_SERIES = 3  # rows of one series in a process: other days, or as they were before a feed
AT_ONCE = 200  # rows of one MGET: thousands of them would take longer than Redis is waited for
BREAK_S = 2.0  # how long Redis is left alone after an error
SPREAD = 0.1  # a row lives so much shorter or longer than is said, so that those of one night do not end together
CHECK = 4  # bytes behind a row in Redis: its CRC


def series_of(key: str) -> str:
    """The end of a key, which names a location and an item."""
    return "\x1f".join(key.rsplit("\x1f", 2)[-2:])


Fits = Callable[[bytes], bool]  # whether a row is whole and of today


class Cache(Protocol):
    """Bytes by key; a miss is None, and so is every failure, and what `fits` does not let pass."""

    name: str
    most_rows: int | None  # None: as many as there are

    def get_many(self, keys: Sequence[str], fits: Fits) -> list[bytes | None]: ...

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

    def get_many(self, keys: Sequence[str], fits: Fits) -> list[bytes | None]:
        with self._lock:
            found = [self._rows.get(key) for key in keys]
        return _only(found, fits)

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
    """What passed through is kept in the process and looked for there first: a key names the state that its row was made from,
    so a row never becomes wrong, and most questions need no Redis, also while it does not answer.

    For the others one MGET, no retries, a short timeout; after an error Redis is left alone for two seconds.
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

    def get_many(self, keys: Sequence[str], fits: Fits) -> list[bytes | None]:
        found = self._near.get_many(keys, fits)
        missing = [n for n, blob in enumerate(found) if blob is None]
        if not missing or time.monotonic() < self.rest_until:
            return found
        may_wait()
        wanted = [keys[n] for n in missing]
        try:
            parts = (self._client.mget(wanted[at : at + AT_ONCE]) for at in range(0, len(wanted), AT_ONCE))
            read = _only([_whole(blob) for part in parts for blob in part], fits)
        except (redis.RedisError, OSError) as error:
            self._trip(error)
            return found
        self._near.put_many({key: blob for key, blob in zip(wanted, read, strict=True) if blob is not None})
        for n, blob in zip(missing, read, strict=True):
            found[n] = blob
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
                        lives_s = self._ttl * random.uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311 - spreads expiry
                        pipe.set(key, _checked(blob), px=max(1, round(1000 * lives_s)))
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

    def answers(self) -> bool:
        """Whether Redis answers; for whoever watches, as most questions do without it."""
        try:
            return not time.monotonic() < self.rest_until and bool(self._client.ping())
        except (redis.RedisError, OSError):
            return False

    @property
    def connections(self) -> tuple[int, int, int]:
        """Connections in use, idle, and at most."""
        pool = self._client.connection_pool
        idle, used = (count for count, _ in pool.get_connection_count())
        return used, idle, pool.max_connections

    def close(self) -> None:
        self._near.close()
        self._client.close()


def _only(found: list[bytes | None], fits: Fits) -> list[bytes | None]:
    return [blob if blob is not None and fits(blob) else None for blob in found]


def _checked(blob: bytes) -> bytes:
    """A row as it lies in Redis."""
    return blob + zlib.crc32(blob).to_bytes(CHECK, "little")


def _whole(found: object) -> bytes | None:
    """The inverse; None where it is not what was put there."""
    if not isinstance(found, bytes) or len(found) < CHECK:
        return None
    blob = found[:-CHECK]
    return blob if zlib.crc32(blob) == int.from_bytes(found[-CHECK:], "little") else None
