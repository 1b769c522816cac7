"""What ops watch: Prometheus metrics. What each means stands in docs/settings.md, what to do about it in deploy/RUNBOOK.md.

Counters move where the thing happens; gauges are read when Prometheus asks (`service.gauges`).
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.at_once import once_done
from service.guardrails import GUARDRAILS
from service.schemas import ItemAnswer
from simulator.histograms import ACTION
from simulator.panel import F64

DAYS_APART = (-30, -14, -7, -3, -1, -0.25, 0, 0.25, 1, 3, 7, 14, 30)  # 0 holds those that agree
# Edges stand on the service levels that the alerts hold it to: one series within 0.05 s, within 0.11 s without Redis, a batch
# within 10 s, an override in force within 1 s.
BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.11, 0.2, 0.5, 1, 2, 5, 10, 20)
STAGE_BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
PROPAGATION_BUCKETS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15, 60)
AGE_BUCKETS = (0, 1, 2, 3, 7, 14, 28)
OUTCOMES = ("ordered", "changed", "rejected")
STAGES = ("known", "features", "network", "orders", "breaker", "remember", "json")


class Laps:
    """Times the stages of one request; each mark ends one."""

    def __init__(self, stages: Mapping[str, Histogram]) -> None:
        self._stages, self._at = stages, time.perf_counter()

    def mark(self, stage: str) -> None:
        """The stage that has just ended; one of `STAGES`."""
        now = time.perf_counter()
        once_done(partial(self._stages[stage].observe, now - self._at))
        self._at = now


class Distribution(Collector):
    """A histogram that takes many values at once."""

    def __init__(self, name: str, documentation: str, buckets: Iterable[float], registry: CollectorRegistry) -> None:
        self._name, self._documentation, self._edges = name, documentation, np.array(list(buckets), dtype=np.float64)
        self._counts, self._sum = np.zeros(len(self._edges) + 1, dtype=np.int64), 0.0
        registry.register(self)

    def add(self, values: F64) -> None:
        """(B,) finite values; from one thread at a time."""
        bins = np.searchsorted(self._edges, values, side="left")  # a bucket holds its upper edge
        self._counts += np.bincount(bins, minlength=len(self._counts))
        self._sum += float(values.sum())

    def collect(self) -> Iterator[Metric]:
        """For Prometheus."""
        cumulated = np.cumsum(self._counts).tolist()
        edges = [*(str(edge) for edge in self._edges.tolist()), "+Inf"]
        yield HistogramMetricFamily(
            self._name, self._documentation, list(zip(edges, cumulated, strict=True)), self._sum
        )  # fmt: skip


class Telemetry:
    """The metrics of one app; a registry of its own, so that two apps in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._of_requests(self.registry)
        self._of_decisions(self.registry)
        self._of_policies(self.registry)
        self._of_state(self.registry)
        self._of_locations(self.registry)

    def _of_requests(self, r: CollectorRegistry) -> None:
        self.requests = Counter("orpr_requests", "Requests by route and status.", ["route", "status"], registry=r)
        self.latency = Histogram(
            "orpr_request_seconds", "Time from request to answer.", ["route"], buckets=BUCKETS, registry=r
        )
        stages = Histogram(
            "orpr_stage_seconds", "Time of one stage of an answer.", ["stage"], buckets=STAGE_BUCKETS, registry=r
        )
        self._stages = {stage: stages.labels(stage) for stage in STAGES}
        self.shed = Counter("orpr_requests_shed", "Requests that were too many, by reason.", ["reason"], registry=r)

    def _of_decisions(self, r: CollectorRegistry) -> None:
        self.decisions = Counter("orpr_decisions", "Series answered, by outcome.", ["outcome"], registry=r)
        self.sources = Counter(
            "orpr_input_sources", "Where inputs of answers came from.", ["input", "source"], registry=r
        )
        self.outcomes = Counter("orpr_outcomes", "Outcomes told of decisions.", ["outcome"], registry=r)
        for outcome in OUTCOMES:  # from 0 on, so that Prometheus sees the first one rise
            self.outcomes.labels(outcome)
        self.overrides = Counter("orpr_overrides_written", "Overrides stored.", registry=r)
        self.propagation = Histogram(
            "orpr_override_propagation_seconds", "From the commit of an override until this process knows it.",
            buckets=PROPAGATION_BUCKETS, registry=r,
        )  # fmt: skip
        self.feature_age = Distribution(
            "orpr_feature_age_days", "Days from the last known sale of a series to the end of as_of.", AGE_BUCKETS, r
        )
        self.inventory_days = Distribution(
            "orpr_inventory_days", "Days answered where an order was due.", ACTION.edges, r
        )
        self.input_psi = Gauge("orpr_input_psi", "Population stability index of an input.", ["input"], registry=r)
        self.action_psi = Gauge("orpr_action_psi", "Population stability index of the policy's days.", registry=r)
        self.drift_decisions = Gauge("orpr_drift_decisions", "Decisions that the indices rest on.", registry=r)

    def _of_policies(self, r: CollectorRegistry) -> None:
        self.policy_refused = Counter("orpr_policy_refused", "Bundles refused, by reason.", ["reason"], registry=r)
        self.policy = Gauge("orpr_policy_info", "1 for the version in charge.", ["version"], registry=r)
        self.policy_changes = Counter("orpr_policy_changes", "Times that another policy was put in charge.", registry=r)
        self.shadow_days = Histogram(
            "orpr_shadow_days_difference", "Inventory days of the shadow less those answered.", ["version"],
            buckets=DAYS_APART, registry=r,
        )  # fmt: skip
        self.shadow_orders = Counter(
            "orpr_shadow_orders", "Due orders that the shadow would change.", ["version", "change"], registry=r
        )
        self.shadow_dropped = Counter("orpr_shadow_dropped", "Decisions that no shadow saw.", registry=r)
        self.canary_share = Gauge(
            "orpr_canary_share", "Per cent of the series that a canary has.", ["version"], registry=r
        )
        self.canary_failed = Counter(
            "orpr_canary_failed", "Series that the champion decided because the canary failed.", registry=r
        )
        self.canary_figure = Gauge(
            "orpr_canary_figure", "What a guardrail has come to since the canary began.", ["guardrail"], registry=r
        )
        self.canary_rollbacks = Counter(
            "orpr_canary_rollbacks", "Canaries that a guardrail ended here.", ["guardrail"], registry=r
        )
        for guardrail in GUARDRAILS:  # from 0 on, as above
            self.canary_rollbacks.labels(guardrail)

    def _of_state(self, r: CollectorRegistry) -> None:
        self.cache_hits = Gauge("orpr_feature_cache_hits", "Feature rows found in the cache.", registry=r)
        self.cache_misses = Gauge("orpr_feature_cache_misses", "Feature rows built from the store.", registry=r)
        self.cache_errors = Gauge("orpr_feature_cache_errors", "Times Redis did not answer.", registry=r)
        self.store_up = Gauge("orpr_store_up", "1 while the database answers.", registry=r)
        self.redis_up = Gauge("orpr_redis_up", "1 while Redis answers; NaN without one.", registry=r)
        self.pool = Gauge("orpr_pool_connections", "Connections of a pool.", ["pool", "state"], registry=r)
        self.pool_most = Gauge("orpr_pool_connections_most", "Connections that a pool may have.", ["pool"], registry=r)
        self.spool_waiting = Gauge("orpr_spool_waiting", "Decisions on disk until the database is back.", registry=r)
        self.spool_refused = Gauge("orpr_spool_refused", "Decisions on disk that it refused.", registry=r)
        self.view_age = Gauge("orpr_view_age_seconds", "Since all of the store was known; +Inf: never.", registry=r)
        self.changes = Counter("orpr_changes_applied", "Changes of the store taken in, by kind.", ["kind"], registry=r)
        self.holds_open = Gauge("orpr_holds_open", "Holds of the last two recorded days or later.", registry=r)
        self.stops = Gauge("orpr_stops_in_force", "Stops that keep orders back.", registry=r)

    def _of_locations(self, r: CollectorRegistry) -> None:
        self.locations = Gauge("orpr_locations", "Locations that have items.", registry=r)
        self.feed_age = Gauge(
            "orpr_feed_age_seconds", "Since a location last sent a feed; +Inf: not as far as is known.",
            ["location", "feed"], registry=r,
        )  # fmt: skip
        self.feed_age_most = Gauge("orpr_feed_age_seconds_most", "The oldest of all locations.", ["feed"], registry=r)
        self.last_answered = Gauge(
            "orpr_location_last_answered_timestamp_seconds", "When a location was last answered; 0: never.",
            ["location"], registry=r,
        )  # fmt: skip
        self.missed = Gauge(
            "orpr_location_missed_cut_off", "1 where the last cut-off went by without an answer.", ["location"],
            registry=r,
        )  # fmt: skip
        self.missed_count = Gauge(
            "orpr_locations_missed_cut_off", "How many locations missed it; NaN without a cut-off.", registry=r
        )

    def show_canary(self, version: str | None, share: float) -> None:
        """Which canary has how much of the series, per cent; None: there is none."""
        self.canary_share.clear()
        self.canary_figure.clear()
        if version is not None:
            self.canary_share.labels(version).set(share)

    def laps(self) -> Laps:
        """A clock for the stages of a request, started now."""
        return Laps(self._stages)

    def count_answers(self, items: Iterable[ItemAnswer], *, store_down: bool) -> None:
        """Count the answers of one request and where their inputs came from.

        Args:
            items: the answers.
            store_down: the database does not answer, so that they rest on what was known before.
        """
        outcomes: Tally[str] = Tally()
        sources: Tally[tuple[str, str]] = Tally()
        history = "last good copy" if store_down else "store"
        for item in items:
            result, problem = item.result, item.problem
            outcomes["decided" if problem is None else problem.type] += 1
            if result is not None:
                sources["stock", result.stock_source] += 1
                sources["rate", result.rate_source] += 1
                sources["history", history] += 1
                sources["days", "override" if result.override is not None else result.source] += 1
            elif problem is not None and problem.type in MISSING:
                sources[MISSING[problem.type], "none"] += 1
        for outcome, count in outcomes.items():
            self.decisions.labels(outcome).inc(count)
        for labels, count in sources.items():
            self.sources.labels(*labels).inc(count)


MISSING = {"stock-missing": "stock", "demand-unknown": "rate", "series-unavailable": "history"}  # by type of problem


class RequestMetrics:
    """ASGI middleware: counts and times HTTP requests by route template."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app, self._telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status: list[int] = []

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                status.append(int(message["status"]))
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            route: Any = scope.get("route")
            name = getattr(route, "path", None) or "other"
            self._telemetry.requests.labels(name, str(status[0] if status else 500)).inc()
            self._telemetry.latency.labels(name).observe(time.perf_counter() - began)
