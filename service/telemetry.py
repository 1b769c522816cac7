"""What ops watch: Prometheus metrics of requests, decisions, cache and policy."""

from __future__ import annotations

import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DAYS_APART = (-30, -14, -7, -3, -1, -0.25, 0, 0.25, 1, 3, 7, 14, 30)  # 0 holds those that agree
BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Telemetry:
    """The metrics of one app; a registry of its own, so that two apps in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.requests = Counter("orpr_requests", "Requests by route and status.", ["route", "status"], registry=r)
        self.latency = Histogram(
            "orpr_request_seconds", "Time from request to answer.", ["route"], buckets=BUCKETS, registry=r
        )
        self.shed = Counter("orpr_requests_shed", "Requests that were too many, by reason.", ["reason"], registry=r)
        self.decisions = Counter("orpr_decisions", "Series answered, by outcome.", ["outcome"], registry=r)
        self.overrides = Counter("orpr_overrides_written", "Overrides stored.", registry=r)
        self.cache_hits = Gauge("orpr_feature_cache_hits", "Feature rows found in the cache.", registry=r)
        self.cache_misses = Gauge("orpr_feature_cache_misses", "Feature rows built from the store.", registry=r)
        self.cache_errors = Gauge("orpr_feature_cache_errors", "Times Redis did not answer.", registry=r)
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
