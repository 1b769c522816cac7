"""Feature rows: the observation of one series at one as-of day, cached as one packed blob.

Redis is a cache and may vanish at any time; then, and on a miss, rows are built from SQL by the simulator's
observation code. Without Redis an in-process cache of the same interface serves.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.database import UNANSWERED
from service.store import Dataset, Series, Store
from simulator.canonical import assemble
from simulator.contract import contract_id, interface
from simulator.forecast_table import with_forecast_rows
from simulator.observation import (
    HISTORY_FIELDS,
    Observation,
    ObservationSpec,
    Observer,
    field_shape,
)
from simulator.panel import I64
from simulator.rates import RATE_SOURCES, rate_sources

LOG = logging.getLogger(__name__)
BREAK_S = 2.0  # how long Redis is left alone after an error


class Cache(Protocol):
    """Bytes by key; a miss is None, and so is every failure."""

    name: str

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]: ...

    def put_many(self, rows: dict[str, bytes]) -> None: ...

    def close(self) -> None: ...


class MemoryCache:
    """The latest rows of this process, oldest out first."""

    name = "memory"

    def __init__(self, most_rows: int = 20_000) -> None:
        self._rows: OrderedDict[str, bytes] = OrderedDict()
        self._most = most_rows
        self._lock = threading.Lock()

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        with self._lock:
            return [self._rows.get(key) for key in keys]

    def put_many(self, rows: dict[str, bytes]) -> None:
        with self._lock:
            self._rows.update(rows)
            while len(self._rows) > self._most:
                self._rows.popitem(last=False)

    def close(self) -> None:
        self._rows.clear()


class RedisCache:
    """One MGET a request, no retries, a short timeout; after an error Redis is left alone for two seconds.

    What passes through is kept in the process too, and serves while Redis does not answer: rows that had to be built anew for
    each question would make the answers late.
    """

    name = "redis"

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
            found = [blob if isinstance(blob, bytes) else None for blob in self._client.mget(keys)]
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
            with self._client.pipeline(transaction=False) as pipe:
                for key, blob in rows.items():
                    pipe.set(key, blob, ex=int(self._ttl * random.uniform(0.9, 1.1)))  # noqa: S311 - spreads expiry
                pipe.execute()
        except (redis.RedisError, OSError) as error:
            self._trip(error)

    def _trip(self, error: Exception) -> None:
        self.errors += 1
        self.rest_until = time.monotonic() + BREAK_S
        LOG.warning("redis does not answer (%s); serving without it for %s s", error, BREAK_S)

    def close(self) -> None:
        self._near.close()
        self._client.close()


class RowsUnread(Exception):
    """Some rows are not in the cache, and the database that they come from does not answer."""

    def __init__(self, missing: list[int]) -> None:
        super().__init__(f"{len(missing)} feature rows cannot be built")
        self.missing = missing  # places in what was asked for


class FeatureRows:
    """Observations of stored series, through the cache."""

    def __init__(self, store: Store, cache: Cache, dataset: Callable[[], Dataset | None]) -> None:
        """The rows of a store.

        Args:
            store: to build them from.
            cache: where they are kept.
            dataset: what is loaded now.
        """
        self._store, self._cache, self._dataset = store, cache, dataset
        self.hits = self.misses = 0

    def observe(self, series: Sequence[Series], as_of: date) -> tuple[Observation, list[str]]:
        """Observations of `series` at the end of `as_of`, without stock, and where each one's rate comes from.

        Raises:
            RuntimeError: when no dataset is loaded.
            RowsUnread: where some rows have to be built, and the database does not answer.
        """
        dataset = self._dataset()
        if dataset is None:
            raise RuntimeError("no dataset is loaded")
        spec = ObservationSpec(dataset.period_days)
        version = _row_version(spec.period_days)
        keys = ["\x1f".join(("orpr", version, dataset.state, as_of.isoformat(), *key)) for key in series]
        blobs = self._cache.get_many(keys)
        size = row_size(spec)
        missing = [
            n for n, blob in enumerate(blobs) if blob is None or len(blob) != size or blob[0] >= len(RATE_SOURCES)
        ]
        self.hits, self.misses = self.hits + len(series) - len(missing), self.misses + len(missing)
        if missing:
            fresh = self._built([series[n] for n in missing], as_of, dataset, missing)
            for n, blob in zip(missing, fresh, strict=True):
                blobs[n] = blob
            self._cache.put_many({keys[n]: blob for n, blob in zip(missing, fresh, strict=True)})
        return unpack([blob for blob in blobs if blob is not None], spec)

    def _built(self, series: list[Series], as_of: date, dataset: Dataset, missing: list[int]) -> list[bytes]:
        try:
            return self._build(series, as_of, dataset)
        except UNANSWERED as error:
            raise RowsUnread(missing) from error

    def _build(self, series: list[Series], as_of: date, dataset: Dataset) -> list[bytes]:
        """Rows from SQL: the series and the peers that their category means need, a year back.

        Categories are read at the series' own locations, and everywhere where a series has no history of its own: then
        its rate may come from its category elsewhere.
        """
        observer, rows, t = self._observer(self._store.peers(series), series, as_of, dataset)
        known = observer.rates.has_history[rows, min(t, observer.panel.period_count - 1)]
        if not known.all():
            observer, rows, t = self._observer(self._store.peers(series, everywhere=True), series, as_of, dataset)
        observation = observer.observe(rows, np.full(len(rows), t))
        sources = rate_sources(observer.panel, observer.rates, min(t, observer.panel.period_count - 1))
        return pack(observation, [sources[n] for n in rows])

    def _observer(
        self, peers: list[Series], series: list[Series], as_of: date, dataset: Dataset
    ) -> tuple[Observer, I64, int]:
        """An observer of the peers' last year, the rows of `series` in it, and the as-of period."""
        spec, began = ObservationSpec(dataset.period_days), dataset.first_recorded
        first = as_of - timedelta(days=(spec.history + 1) * spec.period_days)
        frames = self._store.frames(peers, first, as_of + timedelta(days=spec.horizon * spec.period_days))
        demand = _from_the_first_day(frames["demand"], frames["items"], as_of if began is None else max(began, first))
        origin = date.fromisoformat(dataset.settings["review_origin"])
        panel = assemble(dataset.settings | {"review_origin": origin}, frames["items"], demand, frames["calendar"])
        panel = with_forecast_rows(panel, frames["forecasts"])
        index = {key: n for n, key in enumerate(zip(panel.items.item_id, panel.items.location_id, strict=True))}
        return Observer(panel, spec), np.array([index[key] for key in series]), panel.period_of(as_of)


def _from_the_first_day(demand: pl.DataFrame, items: pl.DataFrame, day: date) -> pl.DataFrame:
    """The demand with a row on `day`, so that the calendar is read from there also for series that began later."""
    if not demand.filter(pl.col("date") == day).is_empty():
        return demand
    return pl.concat([_one_unknown_row(items, day, demand.schema), demand])


def _one_unknown_row(items: pl.DataFrame, as_of: date, schema: pl.Schema) -> pl.DataFrame:
    """A demand table for series of which nothing was ever recorded."""
    row = {"item_id": items["item_id"][0], "location_id": items["location_id"][0], "date": as_of}
    return pl.DataFrame([{name: row.get(name) for name in schema}], schema=schema)


class Slot(NamedTuple):
    """Where a field of the observation lies in a packed row."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


@cache
def _layout(spec: ObservationSpec) -> list[Slot]:
    slots: list[Slot] = []
    at = 1
    for field in HISTORY_FIELDS:
        shape, dtype = field_shape(field, spec), np.dtype(field.dtype)
        end = at + int(np.prod(shape, dtype=int)) * dtype.itemsize
        slots.append(Slot(field.name, dtype, shape, at, end))
        at = end
    return slots


def row_size(spec: ObservationSpec) -> int:
    """Bytes of one packed row."""
    return _layout(spec)[-1].end


@cache
def _row_version(period_days: int) -> str:
    """Changes with what is packed into a row."""
    return contract_id(interface(period_days))


def pack(observation: Observation, sources: list[str]) -> list[bytes]:
    """One blob per decision: the rate's source, then the fields in their order, little endian as in memory."""
    return [
        bytes([RATE_SOURCES.index(source)])
        + b"".join(np.ascontiguousarray(observation[field.name][n]).tobytes() for field in HISTORY_FIELDS)
        for n, source in enumerate(sources)
    ]


def unpack(blobs: list[bytes], spec: ObservationSpec) -> tuple[Observation, list[str]]:
    """The inverse of `pack` for a batch."""
    table = np.frombuffer(b"".join(blobs), dtype=np.uint8).reshape(len(blobs), row_size(spec))
    observation: Observation = {}
    for name, dtype, shape, begin, end in _layout(spec):
        column = np.ascontiguousarray(table[:, begin:end]).view(dtype)
        observation[name] = column.reshape(len(blobs), *shape)
    return observation, [RATE_SOURCES[code] for code in table[:, 0].tolist()]
