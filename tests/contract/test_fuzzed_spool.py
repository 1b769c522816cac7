"""What lies in the spool under anything: each row is stored or kept aside, none keeps another back, and nothing ever raises."""

# ruff: noqa: PT017 - a property of either a value or an error; neither has to come

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.decision_store import advised_after, decisions_page
from service.decisions import Decisions
from service.problems import ProblemError
from service.spool import Spool
from service.store import Store
from tests.contract.fuzzing import CASES, days, many, recording, texts, values
from tests.databases import Postgres
from tests.service.conftest import chain, loaded_database, loaded_file, postgres

__all__ = ["chain", "loaded_database", "loaded_file", "postgres"]
FEW = max(1, CASES // 4)  # each of them is several transactions
few = settings(many, max_examples=FEW)
recorded = recording("the spool", FEW)
NOW, DAY = datetime(2019, 4, 30, 20, tzinfo=UTC), date(2019, 4, 30)
NUMBERS = count()
INPUTS = {"on_hand": 1.0, "open_orders": [["2019-05-02", 3.0]], "override": None}


def row(number: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": number, "item_id": number, "location_id": "S17", "order_date": DAY,
        "expected_receipt_date": DAY + timedelta(days=3), "order_quantity": 5.0, "review_due": True, "status": "open",
        "policy_version": "p", "client_ref": "", "made_for": "k", "created_at": NOW, "inputs": json.dumps(INPUTS),
        "answer": "{}", "observation": b"\x00\xff",
    } | fields  # fmt: skip


def spooled(number: str, **fields: Any) -> dict[str, Any]:
    """The same as JSON holds it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "spool.db"
        Spool(path).put([row(number)], [])
        with closing(sqlite3.connect(path)) as file:
            told = file.execute("SELECT decision FROM spooled WHERE decision IS NOT NULL").fetchone()[0]
    found: dict[str, Any] = json.loads(told)
    return found | fields


GOOD = spooled("good")
COLUMNS = [*GOOD, "ordered_quantity", "override_id"]
huge = st.sampled_from(
    [10**30, -(2**63), 10**400, float("inf"), "\ud800", "a\x00b", "0001-01-01T00:00:00+23:59", "9999-12-31"]
)
fields = st.dictionaries(st.sampled_from(COLUMNS), values | days | huge, max_size=3)
strange_inputs = st.dictionaries(st.sampled_from([*INPUTS, "x"]), values | days, max_size=3).map(
    lambda some: {"inputs": json.dumps(INPUTS | some)}
)
any_json = values.map(json.dumps)
torn = st.tuples(st.integers(0, 400), st.integers(0, 5), texts).map(
    lambda cut: json.dumps(GOOD)[: cut[0]] + cut[2] + json.dumps(GOOD)[cut[0] + cut[1] :]
)
damaged_rows = texts | any_json | torn | (fields | strange_inputs).map(lambda some: json.dumps(GOOD | some))
damaged_numbers = (
    texts | any_json | st.lists(texts | huge.filter(lambda one: isinstance(one, str)), max_size=3).map(json.dumps)
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("spooled") / "orpr.db"
        path.write_bytes(request.getfixturevalue("loaded_file").read_bytes())
        opened = Store(f"sqlite:///{path}")
    else:
        server: Postgres = request.getfixturevalue("postgres")
        opened = Store(server.new(request.getfixturevalue("loaded_database")))
    yield opened
    opened.close()


def kept_aside(path: Path) -> list[str | bytes]:
    with closing(sqlite3.connect(path)) as file:
        file.text_factory = bytes
        return [told for (told,) in file.execute("SELECT decision FROM refused")]


def stored(store: Store) -> set[str]:
    with store.database.reading() as connection:
        return {one["id"] for one in decisions_page(connection, {}, None, 100_000)}


@few
@given(told=st.lists(damaged_rows, min_size=1, max_size=3), seen=damaged_numbers)
@example(["[" * 100_000], "[" * 100_000)
@example([json.dumps(GOOD | {"order_quantity": 10**30})], "[]")
@example([json.dumps(GOOD | {"location_id": ["S17"]})], "[]")
@example([json.dumps(GOOD | {"inputs": "{}", "id": "no-orders"})], "[]")
@example([json.dumps(GOOD | {"status": "strange", "id": "strange"})], "[]")
@example([json.dumps(GOOD | {"client_ref": "\ud800"})], json.dumps(["\ud800", "\0"]))
def test_any_row_is_stored_or_kept_aside_and_the_others_are_stored(store: Store, told: list[str], seen: str) -> None:
    before, good = stored(store), [f"good {next(NUMBERS)}" for _ in range(2)]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "spool.db"
        spool = Spool(path)
        spool.put([row(good[0])], [])
        with closing(sqlite3.connect(path)) as file, file:
            for one in told:
                file.execute("INSERT INTO spooled (decision) VALUES (?)", (one.encode("utf-8", "surrogatepass"),))
            file.execute("INSERT INTO spooled (seen) VALUES (?)", (seen.encode("utf-8", "surrogatepass"),))
        spool.put([row(good[1])], [])
        spool.look()
        assert all(spool.has(number) for number in good)
        spool.drain(store.database)
        assert spool.look() == 0
        aside = len(kept_aside(path))
        assert spool.refused == aside
    after = stored(store)
    assert set(good) <= after
    fresh = after - before - set(good)
    assert len(fresh) + aside <= len(told)
    if aside < len(told):  # the same number twice is one decision
        named = {json.loads(one)["id"] for one in told if _has_number(one)}
        assert named & after
    _can_be_read(store)


def _has_number(told: str) -> bool:
    with suppress(ValueError, RecursionError):
        found = json.loads(told)
        return isinstance(found, dict) and isinstance(found.get("id"), str)
    return False


def _can_be_read(store: Store) -> None:
    """What was stored is what every process reads when it starts, and what pages show."""
    with store.database.reading() as connection:
        advised_after(connection, date(1, 1, 1))
    Decisions(store, Spool(Path("nowhere") / "spool.db")).page({}, None, 500).model_dump_json()


def _survives(store: Store, damage: Callable[[bytearray], bytes]) -> int:
    """Nothing but the refusal of an answer may come of damage, and what is put afterwards is stored; how many rows were kept aside."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "spool.db"
        Spool(path).put([row(f"old {n}") for n in range(3)], ["d-1"])
        path.write_bytes(damage(bytearray(path.read_bytes())))
        spool = Spool(path)
        for _ in range(2):
            spool.look()
            assert isinstance(spool.has("old 1"), bool)
            spool.drain(store.database)
        number = f"new {next(NUMBERS)}"
        for attempt in range(2):
            try:
                spool.put([row(number)], [])
            except ProblemError as error:
                assert (error.problem.status, attempt) == (503, 0)  # the next one finds a new file
            else:
                break
        assert spool.look() > 0
        assert spool.has(number)
        spool.drain(store.database)
        assert spool.look() == 0
        assert number in stored(store)
        return spool.refused


@few
@given(data=st.data())
def test_a_file_with_any_damage_is_read_or_kept_aside(store: Store, data: st.DataObject) -> None:
    def damage(whole: bytearray) -> bytes:
        rows = whole.index(b"old 2")  # in the middle of the text of a row
        places = st.integers(0, len(whole) - 1) | st.integers(0, 120) | st.integers(rows - 300, rows + 300)
        for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=5)):
            whole[place] = byte
        return bytes(whole[: data.draw(st.just(len(whole)) | st.integers(0, len(whole)))])

    _survives(store, damage)


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (b'"id": "old 1"', b'"id": "old \xff"', 1),  # no text any more
        (b'"id": "old 1"', b'"id"; "old 1"', 1),  # no JSON
        (b'"order_quantity": 5.0', b'"order_quantity": 5e9', 0),
        (b'"status": "open"', b'"status": "oqen"', 1),
        (b'["d-1"]', b'["d-\xff"]', 0),
    ],
)
def test_a_row_with_a_damaged_byte_keeps_no_other_back(store: Store, before: bytes, after: bytes, refused: int) -> None:
    def damage(whole: bytearray) -> bytes:
        assert before in whole
        return bytes(whole).replace(before, after, 1)

    assert _survives(store, damage) == refused


@pytest.mark.parametrize("place", [0, 18, 19, 44, 47, 56, 59, 100, 105, 4096, 8192])
@pytest.mark.parametrize("byte", [3, 0xFF])
def test_a_file_whose_header_or_page_is_damaged_is_read_or_kept_aside(store: Store, place: int, byte: int) -> None:
    def damage(whole: bytearray) -> bytes:
        whole[place] = byte
        return bytes(whole)

    _survives(store, damage)
