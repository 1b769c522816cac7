"""What Prometheus gets when it asks: gauges are read off the app at that moment, without SQL."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from math import inf, nan

from prometheus_client import generate_latest
from sqlalchemy.pool import QueuePool
from starlette.datastructures import State

from service.caches import RedisCache


class Gauges:
    """Reads an app's state; one scrape at a time."""

    def __init__(self, state: State) -> None:
        self._state, self._turn = state, threading.Lock()

    def exposition(self) -> bytes:
        """All metrics of the app as they stand now."""
        with self._turn:
            self._read()
            return generate_latest(self._state.telemetry.registry)

    def _read(self) -> None:
        state, told = self._state, self._state.telemetry
        view, spool = state.view, state.spool
        told.cache_hits.set(state.features.hits)
        told.cache_misses.set(state.features.misses)
        told.cache_errors.set(getattr(state.features_cache, "errors", 0))
        told.spool_waiting.set(spool.waiting)
        told.spool_refused.set(spool.refused)
        told.view_age.set(inf if view.as_of is None else (datetime.now(UTC) - view.as_of).total_seconds())
        told.holds_open.set(view.holds_open)
        told.stops.set(len(view.stops()))
        told.store_up.set(not state.store.database.down)
        self._read_pools()
        state.punctuality.show(view.places)
        state.drift.show(state.policies.current() if state.policies.ready else None)

    def _read_pools(self) -> None:
        state, told = self._state, self._state.telemetry
        pool, cache = state.store.database.engine.pool, state.features_cache
        told.redis_up.set(nan)
        if isinstance(pool, QueuePool):
            told.pool.labels("database", "in_use").set(pool.checkedout())
            told.pool.labels("database", "idle").set(pool.checkedin())
            told.pool_most.labels("database").set(state.store.database.most_connections)
        if isinstance(cache, RedisCache):
            told.redis_up.set(cache.answers())
            used, idle, most = cache.connections
            told.pool.labels("redis", "in_use").set(used)
            told.pool.labels("redis", "idle").set(idle)
            told.pool_most.labels("redis").set(most)
