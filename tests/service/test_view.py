"""What a process knows of the store: it follows what others write, and stays useful while the database is away."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from service.app import create_app
from service.changes import KEPT, Mark, changes_since, last_mark, note_change
from service.decision_store import advised_after
from service.override_store import DELETED, add_override, change_override
from service.settings import Settings
from service.store import Store
from service.tables import changes, override_versions, overrides
from simulator.panel import Panel
from tests.service.conftest import client_of

PATH = "/v1/recommendations"


@pytest.fixture
def other(settings: Settings) -> Iterator[FastAPI]:
    """A second process' app over the same database."""
    made = create_app(settings)
    yield made
    made.state.store.close()


def item(chain: Panel, row: int = 0, **fields: Any) -> dict[str, Any]:
    return {"item_id": chain.items.item_id[row], "location_id": chain.items.location_id[row]} | fields


async def answer(client: httpx.AsyncClient, one: dict[str, Any], **fields: Any) -> dict[str, Any]:
    response = await client.post(PATH, json={"items": [one], "record": False} | fields)
    found: dict[str, Any] = response.raise_for_status().json()
    return found


def cut(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database no longer answers this app."""

    def refuse(*_args: object, **_named: object) -> None:
        raise OperationalError("connect", {}, Exception("connection refused"))

    app.state.store.database.engine.dispose()
    monkeypatch.setattr(app.state.store.database.engine.pool, "connect", refuse)


async def test_one_process_sees_what_another_has_written(app: FastAPI, other: FastAPI, chain: Panel) -> None:
    async with client_of(app, "here") as here, client_of(other, "there") as there:
        before = (await answer(there, item(chain)))["items"][0]["result"]
        day = before["order_date"]
        await here.put("/v1/inventory", json=[item(chain, on_hand=777, date=day)])
        await here.put("/v1/open-orders", json=[item(chain, arrival_date="2030-01-01", quantity=5)])
        known = (await here.get("/v1/items", params=item(chain))).json()["items"][0]
        sent = await here.put("/v1/items", json=[known | {"lead_time_days": 9}])
        assert sent.status_code == 200
        body = item(
            chain, selling_from="2019-01-01", selling_to="2019-12-31", mode="set", value=33, reason="r", author="a"
        )
        made = (await here.post("/v1/overrides", json=body)).raise_for_status().json()
        other.state.view.refresh()
        after = (await answer(there, item(chain)))["items"][0]["result"]
        assert after["on_hand"] == 777
        assert after["on_order"] == 5
        assert after["expected_receipt_date"] > before["expected_receipt_date"]
        assert after["override"]["id"] == made["id"]
        await here.delete(f"/v1/overrides/{made['id']}", headers={"If-Match": "*"})
        other.state.view.refresh()
        assert (await answer(there, item(chain)))["items"][0]["result"]["override"] is None


async def test_a_key_that_another_process_has_revoked_is_refused(app: FastAPI, other: FastAPI, chain: Panel) -> None:
    async with client_of(app, "here") as here:
        other.state.keys.revoke("here")
        app.state.view.refresh()
        assert (await here.post(PATH, json={"items": [item(chain)]})).status_code == 401


async def test_without_the_database_answers_go_on_and_say_how_old_they_are(
    app: FastAPI, chain: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(app, "here") as client:
        body = item(
            chain, selling_from="2019-01-01", selling_to="2019-12-31", mode="set", value=33, reason="r", author="a"
        )
        await client.post("/v1/overrides", json=body)
        before = await answer(client, item(chain))
        cut(app, monkeypatch)
        after = await answer(client, item(chain))
        assert after["items"][0]["result"] == before["items"][0]["result"]
        assert after["items"][0]["result"]["override"]["value"] == 33
        again = await answer(client, item(chain))
        assert again["overrides_as_of"] == after["overrides_as_of"] >= before["overrides_as_of"]
        written = await client.post("/v1/overrides", json=body)
        assert written.status_code == 503
        assert written.json()["type"] == "store-unavailable"


async def test_without_the_database_a_series_that_is_not_cached_is_a_problem_of_its_own(
    app: FastAPI, chain: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(app, "here") as client:
        await answer(client, item(chain))
        cut(app, monkeypatch)
        found = (await answer(client, item(chain), items=[item(chain), item(chain, 1)]))["items"]
        assert found[0]["result"] is not None
        assert found[1]["problem"]["type"] == "series-unavailable"
        assert found[1]["problem"]["status"] == 503


def override(chain: Panel, **fields: Any) -> dict[str, Any]:
    return {
        "item_id": chain.items.item_id[0], "location_id": "", "category": "", "selling_from": date(2019, 1, 1),
        "selling_to": date(2019, 12, 31), "mode": "set", "value": 3.0, "promotion_id": "", "reason": "r", "author": "a",
        "state": "active",
    } | fields  # fmt: skip


def test_the_log_says_what_was_changed_in_the_order_of_the_commits(app: FastAPI, chain: Panel) -> None:
    database = app.state.store.database
    with database.reading() as connection:
        begin = last_mark(connection)
    with database.writing() as connection:
        first = add_override(connection, override(chain), "me")
        second = add_override(connection, override(chain), "me")
    with database.writing() as connection:
        change_override(connection, first, {"state": DELETED}, "deleted", "me")
    with database.reading() as connection:
        news = changes_since(connection, begin)
    assert news is not None
    assert [(one.kind, one.keys) for one in news] == [
        ("overrides", frozenset({first["id"], second["id"]})), ("overrides", frozenset({first["id"]})),
    ]  # fmt: skip


def test_a_writing_that_fails_notes_nothing(app: FastAPI) -> None:
    database = app.state.store.database
    with database.reading() as connection:
        begin = last_mark(connection)
    try:
        with database.writing() as connection:
            note_change(connection, "keys")
            connection.execute(sa.text("SELECT nothing"))
    except SQLAlchemyError:
        pass
    with database.writing() as connection:
        connection.execute(sa.text("SELECT 1"))
    with database.reading() as connection:
        assert changes_since(connection, begin) == []


def test_whoever_is_too_far_behind_reads_everything_anew(app: FastAPI, other: FastAPI, chain: Panel) -> None:
    database = app.state.store.database
    with database.writing() as connection:
        made = add_override(connection, override(chain), "me")
        now = connection.scalar(sa.select(changes.c.at).limit(1))
    with database.writing() as connection:
        rows = [{"kind": "keys", "named": None, "at": now} for _ in range(KEPT + 300)]
        connection.execute(sa.insert(changes), rows)
    for _ in range(2 * KEPT // 10):
        with database.writing() as connection:
            note_change(connection, "keys")
    with database.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(changes)) < KEPT + 500
        assert changes_since(connection, Mark(1, now)) is None
    other.state.view.refresh()
    scope = chain.items.item_id[0], chain.items.location_id[0], chain.items.category[0]
    assert [one.id for one in other.state.view.overrides(*scope)] == [made["id"]]


def restore(connection: sa.Connection, number: int) -> None:
    """What a backup brings back that was made when `number` was the last change, and no override had been written yet."""
    for table in (overrides, override_versions):
        connection.execute(sa.delete(table))
    connection.execute(sa.delete(changes).where(changes.c.number > number))
    follow = "SELECT setval('changes_number_seq', :last)"
    if connection.dialect.name == "sqlite":
        follow = "UPDATE sqlite_sequence SET seq = :last WHERE name = 'changes'"
    connection.execute(sa.text(follow), {"last": number})


@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_a_backup_that_is_restored_behind_a_running_process_is_read_anew(
    app: FastAPI, other: FastAPI, chain: Panel, written: int
) -> None:
    """The numbers of the log are given a second time, and may have come past the last one that was read."""
    database, scope = app.state.store.database, (chain.items.item_id[0], chain.items.location_id[0], "")
    with database.writing() as connection:
        note_change(connection, "keys")
    with database.reading() as connection:
        backup = last_mark(connection).number
    for _ in range(2):
        with database.writing() as connection:
            add_override(connection, override(chain), "before the restore")
    other.state.view.refresh()
    assert len(other.state.view.overrides(*scope)) == 2
    with database.writing() as connection:
        restore(connection, backup)
    made = []
    for _ in range(written):
        with database.writing() as connection:
            made.append((add_override(connection, override(chain, value=7.0), "after it")["id"], 7.0))
    other.state.view.refresh()
    assert [(one.id, one.value) for one in other.state.view.overrides(*scope)] == made


def test_a_new_dataset_is_seen_by_all(app: FastAPI, other: FastAPI, chain: Panel) -> None:
    from service.loading import load_panel

    store: Store = app.state.store
    load_panel(store, chain, "another", draw_stock=True)
    other.state.view.refresh()
    assert other.state.view.dataset().fingerprint == "another"


async def test_what_gave_way_is_forgotten_when_the_day_is_over(app: FastAPI, chain: Panel) -> None:
    key, view = (chain.items.item_id[0], chain.items.location_id[0]), app.state.view
    async with client_of(app, "erp") as client:
        for on_hand in (5, 6, 7):
            await answer(client, item(chain, on_hand=on_hand), record=True)
        view.refresh()
        assert [one.status for one in view.decisions(key)] == ["superseded", "superseded", "open"]
        sold = item(chain, date="2019-05-01", units_sold=4, in_stock=1)
        (await client.put("/v1/history", json=[sold])).raise_for_status()
    view.refresh()
    kept = view.decisions(key)
    assert [one.status for one in kept] == ["open"]
    with app.state.store.database.reading() as connection:
        assert advised_after(connection, date(2019, 5, 1), [key]) == {key: kept}
        assert len(advised_after(connection, date(2019, 4, 30), [key])[key]) == 3
