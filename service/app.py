"""The composition root: settings in, app out. Everything the service is made of meets here and nowhere else."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.datastructures import State
from starlette.middleware import Middleware

from service.aliases import Aliases
from service.auth import Sessions
from service.bundle import CHAMPION
from service.bundle_folders import bundle_folders
from service.caches import Cache, MemoryCache, RedisCache
from service.canaries import Canaries
from service.decisions import Decisions
from service.drift import Drift
from service.features import FeatureRows
from service.feeds import Feeds
from service.following import Following
from service.gauges import Gauges
from service.guardrails import Limits
from service.holds import Holds
from service.hosts import LOOPBACK, PROBES, HostAndOrigin, host_name
from service.keys import Keys
from service.labels import Labels
from service.memory import Memory
from service.middleware import Requests
from service.overrides import Overrides
from service.planner.mount import mount_planner, planner_running
from service.policy_listing import PolicyListing
from service.prebuilding import Prebuilding
from service.problems import install_problem_handlers, problem_responses
from service.promotions import Promotions
from service.punctuality import Punctuality
from service.quotas import Counts, Quotas
from service.recommender import Recommender
from service.registry import Policies
from service.rollout import Remembered
from service.routes import decisions, feeds, holds, operations, overrides, pages, policies, recommendations, what_if
from service.safety import refuse_unsafe, refuse_without_keys
from service.settings import Settings
from service.settlements import Settlements
from service.shadow import Shadow
from service.shedding import Shedding
from service.spool import Spool
from service.store import Store
from service.telemetry import RequestMetrics, Telemetry
from service.terms import TermsByPlace
from service.tokens import Tokens
from service.trimming import trimming
from service.view import View

LOG = logging.getLogger(__name__)
DESCRIPTION = """How many days of stock each item should hold at each location, and the order that follows.

Send an API key as `X-API-Key` or as a bearer token, or a token of the OIDC issuer. Errors are RFC 9457 problem documents."""

# OpenTelemetry by FastAPI's own support, on where the usual OTEL_ variables name a collector. Spans only: metrics are
# Prometheus's and logs are lines on stdout.
TRACES: TelemetryConfig = {
    "metrics": False, "logs": False, "auto_configure": True,
    "exclude": lambda scope: scope.get("path") in PROBES,
}  # fmt: skip


def create_app(settings: Settings, host: str = "127.0.0.1") -> FastAPI:
    """Build the service. Where the database does not answer yet it is not ready, and goes on trying.

    Args:
        settings: see `service.settings`.
        host: the address that it will listen on.

    Raises:
        UnsafeSettings: where it must not start like this.
    """
    refuse_unsafe(settings, host)
    settings.prepare()
    telemetry = Telemetry()
    app = FastAPI(
        title="ORPR", version="1", summary="Inventory days on demand", description=DESCRIPTION,
        lifespan=lambda app: _running(app.state, planner=settings.planner),
        middleware=_around(settings, host, telemetry), telemetry=TRACES,
    )  # fmt: skip
    install_problem_handlers(app)
    app.state.telemetry = telemetry
    _know(app.state, settings)
    if app.state.view.as_of is not None and not settings.oidc_issuer:
        refuse_without_keys(app.state.keys, host)
    _decide(app.state, settings)
    _admit(app.state, settings)
    app.state.gauges = Gauges(app.state)
    app.include_router(operations.router, responses=problem_responses(400, 500))
    for module in (recommendations, what_if, decisions, feeds, overrides, holds, policies):
        app.include_router(module.router, responses=problem_responses(400, 401, 403, 429, 500, 503))
    if settings.planner:
        app.include_router(pages.router)
        mount_planner(app)
    return app


def _know(state: State, settings: Settings) -> None:
    """What is stored, and what this process knows of it."""
    store = state.store = Store(settings.database_url, wait=True)
    terms = state.terms = TermsByPlace(store)
    state.punctuality = Punctuality(state.telemetry, settings.cut_off, settings.metric_locations)
    view = state.view = View(store, terms.forget, state.punctuality)
    view.try_refresh()
    state.spool = Spool(settings.spool)
    state.following = Following(view, state.spool, store)
    cache: Cache = MemoryCache()
    if settings.redis_url:
        cache = RedisCache(settings.redis_url, settings.redis_timeout_s, settings.feature_ttl_s)
    state.policies = Policies(state.telemetry)
    state.features_cache, state.features = cache, FeatureRows(store, cache, view.dataset, state.policies.in_charge)
    state.prebuilding = Prebuilding(state.features, cache, store, view.dataset)
    state.keys = Keys(store.database)


def _decide(state: State, settings: Settings) -> None:
    """What answers, and what writes."""
    store, view, loaded = state.store, state.view, state.view.dataset()
    held, pinned = state.policies, settings.policy != CHAMPION
    aliases = Aliases(store, held, bundle_folders(settings.bundles), champion=not pinned)
    if pinned:
        held.load_named(settings.policy, 1 if loaded is None else loaded.period_days)
    aliases.look()
    state.aliases = aliases
    state.promotions = Promotions(store, held, aliases)
    limits = Limits(
        settings.canary_decisions, settings.canary_above, settings.canary_below, settings.canary_failed_share,
        settings.canary_slower,
    )  # fmt: skip
    state.policy_listing = PolicyListing(store, held, aliases, limits, pinned=pinned)
    state.canaries = Canaries(store.database, state.telemetry, held, limits, aliases.look)
    state.shadow = Shadow(store.database, state.telemetry, held.shadow, state.canaries)
    state.memory = Memory(store, view, state.spool, settings.decision_expiry_days)
    state.holds = Holds(store, view, state.terms, settings)
    state.drift = Drift(state.telemetry)
    watching = (state.shadow, state.punctuality, state.drift)

    def watch(remembered: Remembered) -> None:
        for one in watching:
            try:
                one.watch(remembered)
            except Exception as error:  # answers stand, whoever cannot watch them
                LOG.error("answers could not be watched", exc_info=error)

    state.recommender = Recommender(
        settings, store, view, state.terms, state.features, state.memory, state.holds, held.rollout, watch,
        state.canaries.tried, state.telemetry.laps,
    )  # fmt: skip
    state.feeds, state.decisions = Feeds(store), Decisions(store, state.spool)
    state.overrides = Overrides(store, state.recommender, settings.approval_money)
    state.settlements = Settlements(store, state.recommender.dataset)
    state.labels = Labels(store, state.settlements, state.recommender.dataset)


def _admit(state: State, settings: Settings) -> None:
    """Who may ask, and how much."""
    secret = settings.session_secret.get_secret_value() or secrets.token_urlsafe(32)
    state.sessions, state.tls = Sessions(secret, state.view), settings.transport == "tls"
    state.tokens = None
    if settings.oidc_issuer and settings.oidc_audience:
        state.tokens = Tokens(settings.oidc_issuer, settings.oidc_audience, settings.oidc_claim)
    state.counts = Counts(settings.redis_url, settings.redis_timeout_s)
    state.quotas = Quotas(
        settings.requests_per_minute, settings.bad_keys_per_minute, state.counts, state.telemetry.shed
    )  # fmt: skip


@asynccontextmanager
async def _running(state: State, *, planner: bool) -> AsyncIterator[None]:
    giving_back = trimming()
    giving_back.start()
    for one in (state.following, state.prebuilding, state.aliases, state.canaries):
        one.repeating.start()
    async with planner_running() if planner else nullcontext():
        yield
    for one in (state.aliases, state.prebuilding, state.following):
        one.repeating.stop()
    state.shadow.close()
    state.canaries.repeating.stop()  # for what the shadow's last work told
    await state.counts.close()
    state.features_cache.close()
    state.store.close()
    giving_back.stop()


def _around(settings: Settings, host: str, telemetry: Telemetry) -> list[Middleware]:
    """What stands around every request, from the outside in."""
    names = (*LOOPBACK, host_name(host), *settings.hosts)
    return [
        Middleware(RequestMetrics, telemetry=telemetry),
        Middleware(Requests, most_bytes=settings.max_body_bytes, body_wait_s=settings.body_wait_s),
        Middleware(HostAndOrigin, hosts=names, origins=settings.origins, tls=settings.transport == "tls"),
        Middleware(Shedding, most=settings.max_in_work, wait_s=settings.max_wait_s, shed=telemetry.shed),
    ]
