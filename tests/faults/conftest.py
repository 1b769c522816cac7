"""The service over real servers that stand behind proxies."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.settings import Settings
from simulator.panel import Panel
from tests.databases import Postgres
from tests.faults.proxy import Mode, Proxy, running_proxy
from tests.faults.servers import until
from tests.service.conftest import chain, loaded_database, loaded_file, postgres, redis_url

__all__ = ["chain", "loaded_database", "loaded_file", "postgres", "redis_url"]


class Behind(NamedTuple):
    """A running service whose database stands behind a proxy."""

    app: FastAPI
    http: httpx.Client
    proxy: Proxy


def through(url: str, proxy: Proxy) -> str:
    """The URL of a database on a Unix socket, by way of the proxy."""
    made = sa.make_url(url).set(host="127.0.0.1", port=proxy.port, query={})
    return made.render_as_string(hide_password=False)


def socket_of(url: str) -> str:
    """The path of the socket at which the server of a URL listens."""
    return f"{sa.make_url(url).query['host']}/.s.PGSQL.5432"


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The app on a port of its own, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the service has not started; its log says why"
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def gone(behind: Behind, mode: Mode) -> None:
    """Take the database away, and wait until the service has noticed."""
    behind.proxy.set(mode)
    until(lambda: behind.app.state.store.database.down)


def back(behind: Behind) -> None:
    """Bring it back, and wait until all that waited for it is stored."""
    behind.proxy.set(Mode.OPEN)
    state, opened = behind.app.state, datetime.now(UTC)
    # It has been read since: a look that began before may still find that it does not answer.
    until(lambda: state.view.as_of > opened and not state.store.database.down and not state.spool.waiting)


@pytest.fixture
def behind(postgres: Postgres, loaded_database: str, tmp_path: Path) -> Iterator[Behind]:
    """A service with a database of its own."""
    url = postgres.new(loaded_database)
    with running_proxy(socket_of(url)) as proxy:
        app = create_app(Settings(database_url=through(url, proxy), spool=tmp_path / "spool.db", planner=False))
        key = app.state.keys.add("test")
        with served(app) as url, httpx.Client(base_url=url, headers={"X-API-Key": key}, trust_env=False) as http:
            http.timeout = httpx.Timeout(60)
            yield Behind(app, http, proxy)


@pytest.fixture
def cached(loaded_file: Path, redis_url: str, tmp_path: Path) -> Iterator[Behind]:
    """A service whose Valkey stands behind the proxy."""
    path = tmp_path / "orpr.db"
    path.write_bytes(loaded_file.read_bytes())
    parts = urlsplit(redis_url)
    with running_proxy((parts.hostname or "127.0.0.1", parts.port or 6379)) as proxy:
        behind = f"redis://127.0.0.1:{proxy.port}/0"
        settings = Settings(
            database_url=f"sqlite:///{path}", redis_url=behind, spool=tmp_path / "spool.db", planner=False
        )
        app = create_app(settings)
        key = app.state.keys.add("test")
        with served(app) as url, httpx.Client(base_url=url, headers={"X-API-Key": key}, trust_env=False) as http:
            http.timeout = httpx.Timeout(60)
            yield Behind(app, http, proxy)


@pytest.fixture
def item(chain: Panel) -> Callable[..., dict[str, object]]:
    """The keys of a series of the chain, with other fields."""

    def made(row: int = 0, **fields: object) -> dict[str, object]:
        return {"item_id": chain.items.item_id[row], "location_id": chain.items.location_id[row]} | fields

    return made
