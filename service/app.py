"""The composition root: settings in, app out. Everything the service is made of meets here and nowhere else."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware import Middleware

from service.auth import Sessions
from service.decisions import Decisions
from service.features import Cache, FeatureRows, MemoryCache, RedisCache
from service.feeds import Feeds
from service.following import Following
from service.hosts import LOOPBACK, PROBES, HostAndOrigin, host_name
from service.keys import Keys
from service.memory import Memory
from service.middleware import Requests
from service.overrides import Overrides
from service.planner.mount import mount_planner, planner_running
from service.problems import install_problem_handlers, problem_responses
from service.quotas import Counts, Quotas
from service.recommender import Recommender
from service.registry import Policies
from service.routes import decisions, feeds, operations, overrides, pages, recommendations
from service.safety import refuse_unsafe, refuse_without_keys
from service.settings import Settings
from service.shedding import Shedding
from service.spool import Spool
from service.store import Store
from service.telemetry import RequestMetrics, Telemetry
from service.terms import TermsByPlace
from service.tokens import Tokens
from service.view import View

DESCRIPTION = """How many days of stock each item should hold at each location, and the order that follows.

Send an API key as `X-API-Key` or as a bearer token, or a token of the OIDC issuer. Errors are RFC 9457 problem documents."""

# OpenTelemetry by FastAPI's own support, on where the usual OTEL_ variables name a collector. Spans only: metrics are
# Prometheus's and logs are lines on stdout.
TRACES: TelemetryConfig = {
    "metrics": False, "logs": False, "auto_configure": True,
    "exclude": lambda scope: scope.get("path") in PROBES,
}  # fmt: skip


def create_app(settings: Settings, host: str = "127.0.0.1") -> FastAPI:
    """Build the service.

    Args:
        settings: see `service.settings`.
        host: the address that it will listen on.

    Raises:
        UnsafeSettings: where it must not start like this.
    """
    refuse_unsafe(settings, host)
    settings.prepare()
    telemetry = Telemetry()
    store = Store(settings.database_url)
    keys = Keys(store.database)
    if not settings.oidc_issuer:
        refuse_without_keys(keys, host)
    cache: Cache = MemoryCache()
    if settings.redis_url:
        cache = RedisCache(settings.redis_url, settings.redis_timeout_s, settings.feature_ttl_s)
    counts = Counts(settings.redis_url, settings.redis_timeout_s)
    policies = Policies(telemetry)
    terms = TermsByPlace(store)
    view = View(store, terms.forget)
    view.try_refresh()
    loaded = view.dataset()
    spool = Spool(settings.spool)
    following = Following(view, spool, store.database)
    policies.load_named(settings.policy, 1 if loaded is None else loaded.period_days)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        following.start()
        async with planner_running() if settings.planner else nullcontext():
            yield
        following.stop()
        await counts.close()
        cache.close()
        store.close()

    app = FastAPI(
        title="ORPR", version="1", summary="Inventory days on demand", description=DESCRIPTION, lifespan=lifespan,
        middleware=_around(settings, host, telemetry), telemetry=TRACES,
    )  # fmt: skip
    install_problem_handlers(app)
    features = FeatureRows(store, cache, view.dataset)
    app.state.store, app.state.telemetry, app.state.policies = store, telemetry, policies
    app.state.features, app.state.features_cache = features, cache
    app.state.view, app.state.following, app.state.spool = view, following, spool
    app.state.memory = Memory(store, view, spool, settings.decision_expiry_days)
    app.state.recommender = Recommender(settings, store, view, terms, features, app.state.memory, policies.current)
    app.state.feeds = Feeds(store)
    app.state.decisions = Decisions(store)
    app.state.overrides = Overrides(store, app.state.recommender, settings.approval_money)
    secret = settings.session_secret.get_secret_value() or secrets.token_urlsafe(32)
    app.state.keys = keys
    app.state.counts = counts
    app.state.tokens = None
    if settings.oidc_issuer and settings.oidc_audience:
        app.state.tokens = Tokens(settings.oidc_issuer, settings.oidc_audience, settings.oidc_claim)
    app.state.quotas = Quotas(settings.requests_per_minute, settings.bad_keys_per_minute, counts, telemetry.shed)
    app.state.sessions, app.state.tls = Sessions(secret, view), settings.transport == "tls"
    app.include_router(operations.router)
    for module in (recommendations, decisions, feeds, overrides):
        app.include_router(module.router, responses=problem_responses(400, 403, 429, 500, 503))
    if settings.planner:
        app.include_router(pages.router)
        mount_planner(app)
    return app


def _around(settings: Settings, host: str, telemetry: Telemetry) -> list[Middleware]:
    """What stands around every request, from the outside in."""
    names = (*LOOPBACK, host_name(host), *settings.hosts)
    return [
        Middleware(RequestMetrics, telemetry=telemetry),
        Middleware(Requests, most_bytes=settings.max_body_bytes, body_wait_s=settings.body_wait_s),
        Middleware(HostAndOrigin, hosts=names, origins=settings.origins, tls=settings.transport == "tls"),
        Middleware(Shedding, most=settings.max_in_work, wait_s=settings.max_wait_s, shed=telemetry.shed),
    ]
