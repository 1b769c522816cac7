"""The composition root: settings in, app out. Everything the service is made of meets here and nowhere else."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware

from service.auth import Sessions
from service.decisions import Decisions
from service.features import Cache, FeatureRows, MemoryCache, RedisCache
from service.feeds import Feeds
from service.following import Following
from service.keys import Keys
from service.memory import Memory
from service.middleware import Requests
from service.overrides import Overrides
from service.planner.mount import mount_planner, planner_running
from service.problems import install_problem_handlers
from service.recommender import Recommender
from service.registry import Policies
from service.routes import decisions, feeds, operations, overrides, pages, recommendations, what_if
from service.settings import Settings
from service.spool import Spool
from service.store import Store
from service.telemetry import RequestMetrics, Telemetry
from service.terms import TermsByPlace
from service.view import View

DESCRIPTION = """How many days of stock each item should hold at each location, and the order that follows.

Send an API key as `X-API-Key` or as a bearer token. Errors are RFC 9457 problem documents."""


def create_app(settings: Settings) -> FastAPI:
    """Build the service.

    Args:
        settings: see `service.settings`.
    """
    settings.prepare()
    telemetry = Telemetry()
    store = Store(settings.database_url)
    cache: Cache = MemoryCache()
    if settings.redis_url:
        cache = RedisCache(settings.redis_url, settings.redis_timeout_s, settings.feature_ttl_s)
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
        async with planner_running():
            yield
        following.stop()
        cache.close()
        store.close()

    app = FastAPI(
        title="ORPR", version="1", summary="Inventory days on demand", description=DESCRIPTION, lifespan=lifespan,
        middleware=[
            Middleware(RequestMetrics, telemetry=telemetry), Middleware(Requests, most_bytes=settings.max_body_bytes),
        ],
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
    app.state.keys = Keys(store.database)
    app.state.sessions = Sessions(secret, view)
    for module in (recommendations, what_if, decisions, feeds, overrides, operations, pages):
        app.include_router(module.router)
    mount_planner(app)
    return app
