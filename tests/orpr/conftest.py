"""The real service over the small dataset, a client of it, and days for the tests that move it on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import count
from pathlib import Path

import pytest

from orpr.client import Client
from tests.serving import Service, running_service


@pytest.fixture(scope="module")
def service(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service"), small_dataset) as running:
        yield running


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client(service.url, service.key, waits_s=()) as made:
        yield made


@pytest.fixture(scope="module")
def days() -> Iterator[date]:
    """Those after the dataset's last one."""
    return (date(2019, 5, 1) + timedelta(days=n) for n in count())


@pytest.fixture
def day(days: Iterator[date]) -> date:
    """One of the test's own: the module's tests share a service."""
    return next(days)
