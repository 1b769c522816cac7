"""Decisions that wait on disk: stored once, in order, and none keeps the others back."""

from __future__ import annotations

import json
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.exc import OperationalError

from service.database import Database
from service.decision_store import Advised, decisions_page
from service.keys import ERP
from service.problems import ProblemError
from service.spool import Spool
from service.store import Store
from simulator.panel import Panel
from tests.databases import Postgres
from tests.service.conftest import client_of

NOW = datetime(2019, 4, 30, 20, tzinfo=UTC)
DAY = date(2019, 4, 30)


def row(number: str, minute: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "id": number, "item_id": "B101", "location_id": "S17", "order_date": DAY,
        "expected_receipt_date": DAY + timedelta(days=3), "order_quantity": 5.0, "review_due": True, "status": "open",
        "policy_version": "p", "client_ref": "", "made_for": "k", "created_at": NOW + timedelta(minutes=minute),
        "inputs": '{"open_orders": []}', "answer": "{}", "observation": b"\x00\xff",
    } | fields  # fmt: skip


@pytest.fixture
def store(database_url: str) -> Any:
    opened = Store(database_url)
    yield opened
    opened.close()


def stored(store: Store) -> dict[str, str]:
    with store.database.reading() as connection:
        return {one["id"]: one["status"] for one in decisions_page(connection, {}, None, 100)}


def test_of_answers_for_one_order_the_last_counts_however_they_are_drained(store: Store, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    for minute, number in enumerate(("a", "b", "c")):
        spool.put([row(number, minute)], [])
    assert spool.drain(store.database) == 3
    assert stored(store) == {"a": "superseded", "b": "superseded", "c": "open"}
    spool.put([row("late", 1)], [])
    spool.drain(store.database)
    assert stored(store)["late"] == "superseded"
    assert stored(store)["c"] == "open"


def test_draining_what_was_stored_already_changes_nothing(store: Store, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    for _ in range(2):
        spool.put([row("a")], [])
        spool.drain(store.database)
    assert stored(store) == {"a": "open"}


def test_another_process_stores_what_one_left_behind(store: Store, tmp_path: Path) -> None:
    other = Spool(tmp_path / "spool.db")
    Spool(tmp_path / "spool.db").put([row("a")], [])
    assert other.look() > 0
    assert other.has("a")
    assert not other.has("b")
    other.drain(store.database)
    assert other.look() == 0
    assert stored(store) == {"a": "open"}


def test_what_waits_is_counted_as_it_comes_and_goes(store: Store, tmp_path: Path) -> None:
    spool, other = Spool(tmp_path / "spool.db"), Spool(tmp_path / "spool.db")
    for n in range(3):
        spool.put([row(f"a{n}"), row(f"b{n}", item_id="B102")], ["d-seen"])
        assert spool.waiting == other.look() == 3 * (n + 1)
    other.put([row("c", item_id="B103")], [])
    assert spool.look() == 11
    spool.drain(store.database)
    assert (spool.waiting, other.look()) == (0, 0)


def test_a_decision_that_cannot_be_stored_keeps_no_other_back(
    postgres: Postgres, loaded_database: str, tmp_path: Path
) -> None:
    store, spool = Store(postgres.new(loaded_database)), Spool(tmp_path / "spool.db")
    spool.put([row("good"), row("bad", item_id="B102", client_ref="\x00")], [])
    spool.put([row("next", item_id="B103")], [])
    spool.drain(store.database)
    assert stored(store) == {"good": "open", "next": "open"}
    assert spool.look() == 0
    store.close()


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "folder" / "spool.db")
    spool.put([row("a")], [])
    assert stat.S_IMODE((tmp_path / "folder" / "spool.db").stat().st_mode) == 0o600


async def test_what_was_ordered_before_the_outage_still_counts_beside_what_waits(app: FastAPI, chain: Panel) -> None:
    key = chain.items.item_id[0], chain.items.location_id[0]
    async with client_of(app, "erp", [ERP]) as client:
        body = {
            "as_of": DAY.isoformat(),
            "items": [{"item_id": key[0], "location_id": key[1], "on_hand": 0, "open_orders": []}],
        }
        told = (await client.post("/v1/recommendations", json=body)).json()["items"][0]["result"]
        await client.post(f"/v1/decisions/{told['decision_id']}/outcome", json={"status": "ordered"})
        app.state.view.refresh()
        waiting = Advised("d-x", DAY, DAY + timedelta(days=2), 0.0, "open", [])
        app.state.view.expect({key: waiting})
        assert [(one.id, one.status) for one in app.state.view.decisions(key)] == [
            (told["decision_id"], "ordered"), ("d-x", "open"),
        ]  # fmt: skip
        app.state.view.expect_no_more()
        assert [one.id for one in app.state.view.decisions(key)] == [told["decision_id"]]


async def test_a_control_character_in_the_callers_reference_is_refused(client: httpx.AsyncClient, chain: Panel) -> None:
    item = {"item_id": chain.items.item_id[0], "location_id": chain.items.location_id[0], "on_hand": 1}
    answer = await client.post("/v1/recommendations", json={"items": [item], "client_ref": "night\x00"})
    assert answer.status_code == 422
    assert "client_ref" in answer.json()["detail"]


def test_a_spooled_row_that_is_none_keeps_no_other_back_and_is_kept(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path)
    spool.put([row("a")], [])
    good = json.dumps({"id": "x"})
    strange = ["", "no json", "[]", "null", '"x"', good, json.dumps(json.loads(first_row(path)) | {"colour": "red"}),
               json.dumps(json.loads(first_row(path)) | {"order_date": "yesterday", "id": "y"}),
               json.dumps(json.loads(first_row(path)) | {"review_due": "perhaps", "id": "z", "item_id": "B109"})]  # fmt: skip
    with closing(sqlite3.connect(path)) as file, file:
        file.executemany("INSERT INTO spooled (decision) VALUES (?)", [(text,) for text in strange])
        file.executemany("INSERT INTO spooled (seen) VALUES (?)", [("no json",), ("{}",), ("[3]",)])
    spool.put([row("b", item_id="B103")], ["d-1"])
    spool.look()
    spool.drain(store.database)
    assert stored(store) == {"a": "open", "b": "open"}
    assert spool.look() == 0
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT count(*) FROM refused").fetchone()[0] == len(strange)


def first_row(path: Path) -> str:
    with closing(sqlite3.connect(path)) as file:
        return str(file.execute("SELECT decision FROM spooled WHERE decision IS NOT NULL").fetchone()[0])


def test_processes_that_drain_one_file_at_once_store_all_and_refuse_each_row_once(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    for turn in range(4):
        Spool(path).put([row(f"{turn}-{n}", item_id=f"B{n}") for n in range(20)], [])
        with closing(sqlite3.connect(path)) as file, file:
            file.execute("INSERT INTO spooled (decision) VALUES ('no json')")
        others = [Spool(path) for _ in range(4)]
        assert {one.look() for one in others} == {22}
        with ThreadPoolExecutor(len(others)) as pool:
            list(pool.map(lambda one: one.drain(store.database), others))
        assert others[0].look() == 0
        assert others[0].refused == turn + 1
    assert len(stored(store)) == 80
    assert list(tmp_path.glob("spool.db.damaged-*")) == []


def test_what_is_refused_is_refused_once_though_the_database_goes_away(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool, away = Spool(path), Database("postgresql://nobody@127.0.0.1:9/none")
    with closing(sqlite3.connect(path)) as file:
        spool.put([row("a")], [])
        file.execute("INSERT INTO spooled (decision) VALUES ('no json')")
        file.commit()
    spool.look()
    for _ in range(3):
        with pytest.raises(OperationalError):
            spool.drain(away)
    spool.drain(store.database)
    spool.look()
    assert (spool.waiting, spool.refused, stored(store)) == (0, 1, {"a": "open"})


def test_a_damaged_file_is_kept_aside_and_a_new_one_begun(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    path.write_bytes(b"this is no database" * 100)
    spool = Spool(path)
    with pytest.raises(ProblemError):
        spool.put([row("a")], [])
    assert spool.look() == 0
    spool.put([row("a")], [])
    spool.drain(store.database)
    assert stored(store) == {"a": "open"}
    (kept,) = tmp_path.glob("spool.db.damaged-*")
    assert kept.read_bytes().startswith(b"this is no database")


def test_where_the_folder_takes_no_file_the_answer_is_a_503(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    spool = Spool(tmp_path / "folder" / "spool.db")
    with pytest.raises(ProblemError) as refused:
        spool.put([row("a")], [])
    assert (refused.value.problem.status, refused.value.problem.type) == (503, "store-unavailable")
    assert refused.value.response().headers["retry-after"] == "2"
    assert spool.look() == 0
