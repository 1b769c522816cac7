"""What a stolen database tells of API keys: their hashes, and nothing that opens a door."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from typer.testing import CliRunner

from orpr.cli import app as commands
from service.keys import Keys
from service.settings import Settings
from service.store import Store
from service.tables import api_keys, metadata
from simulator.panel import Panel
from tests.service.conftest import client_of
from tests.service.test_feeds import LAST, key

PLAINTEXT = "orpr_"  # every key begins so


@pytest.fixture
def by_command(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Keys as `orpr key` prints them, one of which is revoked again."""
    monkeypatch.setenv("ORPR_DATABASE_URL", settings.database_url)
    monkeypatch.chdir(tmp_path)
    printed = []
    for words in (["night"], ["buyer", "--scope", "erp", "--days", "7"], ["gone"]):
        done = CliRunner().invoke(commands, ["key", *words])
        assert done.exit_code == 0, done.output
        printed.append(done.output.strip())
    assert CliRunner().invoke(commands, ["key", "gone", "--revoke"]).exit_code == 0
    assert len(set(printed)) == 3
    assert all(one.startswith(PLAINTEXT) and len(one) == 37 for one in printed)
    return printed


@pytest.fixture
async def used(app: FastAPI, chain: Panel, by_command: list[str]) -> list[str]:
    """The same keys and one that the service itself made, after requests that write who sent them."""
    async with client_of(app, "test") as client:
        made = client.headers["X-API-Key"]
        for one in (made, *by_command):
            for headers in ({"X-API-Key": one}, {"X-API-Key": "", "Authorization": f"Bearer {one}"}):
                await write(client, chain, headers | {"Idempotency-Key": f"{one[:6]}{len(headers)}"})
    return [made, *by_command]


async def write(client: httpx.AsyncClient, chain: Panel, headers: dict[str, str]) -> None:
    """What remembers its caller: an override, a feed under a key of its own, an answer."""
    override = {
        "selling_from": "2019-05-01",
        "selling_to": "2019-05-02",
        "mode": "set",
        "value": 9,
        "reason": "r",
        "author": "a",
    }
    await client.post("/v1/overrides", json=override | key(chain), headers=headers)
    rows = [key(chain) | {"date": str(LAST), "on_hand": 5}]
    await client.put("/v1/inventory", json=rows, headers=headers)
    await client.post("/v1/recommendations", json={"items": [key(chain) | {"on_hand": 5}]}, headers=headers)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store(settings.database_url)
    yield opened
    opened.close()


def everything_in(store: Store) -> dict[str, list[str]]:
    """Every value of every table as text."""
    with store.database.reading() as connection:
        names = sa.inspect(connection).get_table_names()
        assert set(names) >= set(metadata.tables)
        tables = {name: connection.execute(sa.text(f'SELECT * FROM "{name}"')).all() for name in names}
    return {name: [text_of(value) for row in rows for value in row] for name, rows in tables.items()}


def text_of(value: Any) -> str:
    return bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)


async def test_no_table_holds_a_key_only_its_hash(store: Store, used: list[str]) -> None:
    told = everything_in(store)
    for one in used:
        for secret in (one, one.removeprefix(PLAINTEXT)):
            assert [name for name, values in told.items() if any(secret in value for value in values)] == []
    with store.database.reading() as connection:
        rows = connection.execute(sa.select(api_keys)).mappings().all()
    assert {row["digest"] for row in rows} == {hashlib.sha256(one.encode()).hexdigest() for one in used}
    assert [row["name"] for row in rows if row["revoked_at"] is not None] == ["gone"]
    assert {row["scopes"] for row in rows if row["name"] == "buyer"} == {"erp"}
    assert any("buyer" in value for value in told["inventory"] + told["idempotency_keys"] + told["decisions"])
    assert set(told["api_keys"]) & set(told["overrides"]) >= {"night"}  # names are what is remembered


async def test_no_byte_of_the_files_on_disk_is_of_a_key(
    settings: Settings, used: list[str], store: Store, tmp_path: Path
) -> None:
    """The whole SQLite file with its log and what lies beside it, before and after it is made compact."""
    for compact in (False, True):
        if compact and settings.database_url.startswith("sqlite"):
            with closing(sqlite3.connect(settings.database_url.removeprefix("sqlite:///"))) as file:
                file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                file.execute("VACUUM")
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert settings.database_url.startswith("postgresql") or any(path.name == "orpr.db" for path in files)
        for path in files:
            content = path.read_bytes()
            for one in used:
                assert one.encode() not in content, path
                assert one.removeprefix(PLAINTEXT).encode() not in content, path


@pytest.mark.usefixtures("used")
def test_what_is_listed_of_keys_has_neither_key_nor_hash(store: Store) -> None:
    listed = Keys(store.database).all()
    assert {one["name"] for one in listed} == {"night", "buyer", "gone", "test"}
    assert all("digest" not in one and PLAINTEXT not in str(one) for one in listed)
