"""The schema: migrations forwards and backwards on a database with data, and what a transaction promises."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from service.database import UNANSWERED, Database, StoreTooOld, among
from service.decision_store import _supersede, advised_after, decisions_page
from service.feed_store import upsert_newer
from service.hold_store import last_orders
from service.store import _fetched, open_orders_of, stock_of
from service.tables import (
    canary_figures,
    canary_orders,
    inventory,
    metadata,
    policies,
    policy_aliases,
    shadow_decisions,
)
from tests.databases import Postgres

REVISIONS = [r.revision for r in ScriptDirectory("service/migrations").walk_revisions()][::-1]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database in which nothing was ever made."""
    url = f"sqlite:///{tmp_path}/empty.db"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.new()
    opened = Database(url)
    yield opened
    opened.close()


def counts(database: Database) -> dict[str, int]:
    with database.reading() as connection:
        names = set(sa.inspect(connection).get_table_names()) - {"alembic_version", "changes"}  # a log, not data
        return {name: connection.scalar(sa.text(f"SELECT count(*) FROM {name}")) or 0 for name in sorted(names)}


def test_the_migrations_end_at_the_tables_that_the_code_knows(empty: Database) -> None:
    empty.migrate()
    with empty.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_back_to_the_first_revision_and_forwards_again_keeps_the_data(database: Database) -> None:
    before = counts(database)
    assert before["history"] > 1000
    for revision in [*REVISIONS[-2::-1], *REVISIONS[1:]]:
        database.migrate(revision)
        after = counts(database)
        assert {name: after[name] for name in after if before.get(name)} == {
            name: before[name] for name in after if before.get(name)
        }
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert counts(database) == before


def test_the_revision_before_policies_forgets_them_and_keeps_the_rest(database: Database) -> None:
    now = datetime(2019, 5, 1, tzinfo=UTC)
    hashes = dict.fromkeys(("graph_sha256", "golden_sha256", "manifest_sha256"), "0" * 64)
    policy = {"version": "daily-6", "period_days": 1, "contract_id": "c", "location": "/bundles/daily-6", **hashes}
    change = {"period_days": 1, "alias": "champion", "version": "daily-6", "action": "promote", "reason": "better"}
    shadowed = {"decision_id": "d-1", "version": "daily-6", "inventory_days": 3.0, "target_stock": 9.0}
    with database.writing() as connection:
        connection.execute(sa.insert(policies).values(**policy, registered_at=now, registered_by="ann"))
        connection.execute(sa.insert(policy_aliases).values(**change, at=now, by="ann"))
        connection.execute(sa.insert(shadow_decisions).values(**shadowed, order_quantity=4.0))
    before = counts(database)
    database.migrate("0005")
    assert not {"policies", "policy_aliases", "shadow_decisions"} & counts(database).keys()
    database.migrate()
    after = counts(database)
    assert {name for name in before if before[name] != after[name]} == {
        "policies",
        "policy_aliases",
        "shadow_decisions",
    }
    assert after["history"] == before["history"] > 1000


def test_the_revision_before_canaries_forgets_them_and_keeps_the_other_aliases(database: Database) -> None:
    """An older service could not read their changes."""
    now = datetime(2019, 5, 1, tzinfo=UTC)
    change = {"period_days": 1, "reason": "better", "at": now, "by": "ann"}
    with database.writing() as connection:
        for alias, version, action, share in [
            ("champion", "daily-6", "promote", None), ("canary", "daily-7", "canary", 10.0), ("canary", None, "guardrail", None),
        ]:  # fmt: skip
            row = change | {"alias": alias, "version": version, "action": action, "share": share}
            connection.execute(sa.insert(policy_aliases).values(**row))
        numbers = dict.fromkeys(canary_figures.c.keys(), 1) | {"champion_version": "daily-6"}
        connection.execute(sa.insert(canary_figures).values(**numbers))
        connection.execute(sa.insert(canary_orders).values(change_id=1, location_id="S17", item_id="B101"))
    database.migrate("0010")
    with database.reading() as connection:
        left = connection.execute(sa.text("SELECT alias, version, action FROM policy_aliases")).all()
    assert [tuple(row) for row in left] == [("champion", "daily-6", "promote")]
    assert not {"canary_figures", "canary_orders"} & counts(database).keys()
    database.migrate()
    with database.reading() as connection:
        assert [row.share for row in connection.execute(sa.select(policy_aliases))] == [None]
    assert (counts(database)["canary_figures"], counts(database)["canary_orders"]) == (0, 0)


def test_a_store_from_before_the_migrations_is_taken_over_with_its_data(database: Database) -> None:
    database.migrate(REVISIONS[0])
    before = counts(database)
    with database.writing() as connection:
        connection.execute(sa.text("DROP TABLE alembic_version"))
    database.migrate()
    after = counts(database)
    assert {name: after[name] for name in before} == before


def test_a_store_that_is_older_still_is_refused_and_says_what_to_do(empty: Database) -> None:
    empty.migrate(REVISIONS[0])
    with empty.writing() as connection:
        connection.execute(sa.text("DROP TABLE alembic_version"))
        connection.execute(sa.text("ALTER TABLE calendar DROP COLUMN order_open"))
    with pytest.raises(StoreTooOld, match="order_open"):
        empty.migrate()


def test_processes_that_make_a_new_file_together_wait_for_each_other(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def connect(path: Path, ready: threading.Barrier) -> None:
        database = Database(f"sqlite:///{path}")
        ready.wait()
        try:
            with database.engine.connect():
                pass
        except BaseException as error:
            failed.append(error)
        finally:
            database.close()

    for number in range(100):  # one in ten failed
        ready = threading.Barrier(6)
        threads = [threading.Thread(target=connect, args=(tmp_path / f"{number}.db", ready)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []


def test_processes_that_start_together_migrate_once(empty: Database) -> None:
    failed: list[BaseException] = []

    def start() -> None:
        other = Database(empty.engine.url.render_as_string(hide_password=False))
        try:
            other.migrate()
        except BaseException as error:
            failed.append(error)
        finally:
            other.close()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with empty.reading() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == REVISIONS[-1]


def test_an_error_in_a_writing_undoes_all_of_it(database: Database) -> None:
    before = counts(database)["inventory"]
    row = {"item_id": "new", "location_id": "new", "date": date(2019, 5, 1), "on_hand": 1.0, "drawn": False}

    def twice() -> None:
        with database.writing() as connection:
            connection.execute(sa.insert(inventory).values(**row))
            connection.execute(sa.insert(inventory).values(**row))

    with pytest.raises(sa.exc.IntegrityError):
        twice()
    assert counts(database)["inventory"] == before


def test_two_writings_that_read_before_they_write_lose_nothing(database: Database) -> None:
    """Each adds one to what it read; both count."""
    if database.dialect == "postgresql":
        pytest.skip("PostgreSQL locks rows: `SELECT ... FOR UPDATE` where it matters")
    rounds = 20

    def add() -> None:
        for _ in range(rounds):
            with database.writing() as connection:
                held = connection.scalar(sa.select(sa.func.max(inventory.c.on_hand))) or 0.0
                connection.execute(sa.update(inventory).values(on_hand=held + 1))

    with database.writing() as connection:
        connection.execute(sa.update(inventory).values(on_hand=0.0))
    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as connection:
        assert connection.scalar(sa.select(sa.func.min(inventory.c.on_hand))) == 2 * rounds


@pytest.mark.parametrize(
    ("matching", "index"),
    [
        ({"order_date": date(2019, 4, 30)}, "ix_decisions_order_date"),
        ({"client_ref": "night"}, "ix_decisions_client_ref"),
        ({}, "ix_decisions_page"),
    ],
)
@pytest.mark.parametrize("after", [None, (datetime(2019, 4, 30, 20, tzinfo=UTC), "d-1")])
def test_a_page_of_decisions_is_read_from_an_index_and_nothing_is_sorted(
    database: Database, matching: dict[str, Any], index: str, after: tuple[datetime, str] | None
) -> None:
    with database.reading() as connection:
        if database.dialect == "postgresql":
            for way in ("seqscan", "bitmapscan"):  # of a small table it would read all
                connection.execute(sa.text(f"SET LOCAL enable_{way} = off"))
        plans = explained(connection)
        assert decisions_page(connection, matching, after, 100) == []
    (plan,) = plans
    assert index in plan
    assert "sort" not in plan
    assert "temp b-tree" not in plan


def explained(connection: sa.Connection) -> list[str]:
    """How the database goes about every SELECT from now on; filled while it is asked."""
    plans: list[str] = []

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        if not statement.startswith("SELECT"):
            return
        word = "EXPLAIN" if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        cursor.execute(f"{word} {statement}", parameters)
        plans.append(" ".join(str(row) for row in cursor.fetchall()).lower())

    sa.event.listen(connection, "before_cursor_execute", explain)
    return plans


def test_rows_of_some_series_are_looked_up_and_no_table_is_read_whole(sqlite_url: str) -> None:
    """SQLite would, for a list of rows; its tables grow with every night."""
    database = Database(sqlite_url)
    database.migrate()
    series, day = [("B101", "S17"), ("B102", "S20")], date(2019, 4, 30)
    sold = [
        {"location_id": place, "item_id": item, "date": day, "on_hand": 1.0, "drawn": False} for item, place in series
    ]
    decided = [row | {"order_date": day, "id": "none"} for row in sold]
    with database.writing() as connection:
        plans = explained(connection)
        advised_after(connection, day, series)
        stock_of(connection, series)
        open_orders_of(connection, series)
        last_orders(connection, series, day)
        upsert_newer(connection, inventory, ("location_id", "item_id"), sold, "date")
        _supersede(connection, decided)
    database.close()
    assert len(plans) == 6
    for plan in plans:
        assert "search" in plan
        assert not re.search(r"scan (decisions|inventory|open_orders|history)\b", plan), plan


def test_a_row_is_among_others_whatever_its_names(database: Database) -> None:
    pair = inventory.c.location_id, inventory.c.item_id
    named = [("S\u00e4o 'Paulo'", 'a "b" \\ c'), ("1", "2"), ("01", "2"), ("S", "true")]
    with database.writing() as connection:
        row = {"date": date(2019, 1, 2), "on_hand": 1, "drawn": False}
        new = [dict(location_id=place, item_id=item, **row) for place, item in named]
        connection.execute(sa.insert(inventory), new)

        def found(*rows: tuple[str, str]) -> set[tuple[str, str]]:
            query = sa.select(*pair).where(among(connection, pair, rows))
            return {(place, item) for place, item in connection.execute(query)}

        for one in named:
            assert found(one) == {one}
        assert found(*named) == set(named)
        assert found(("1", "true")) == set()
        day = inventory.c.location_id, inventory.c.date
        query = sa.select(inventory.c.item_id).where(among(connection, day, [("01", date(2019, 1, 2))]))
        assert connection.scalars(query).all() == ["2"]


def test_an_error_while_rows_are_fetched_is_one_of_a_database_that_does_not_answer(sqlite_url: str) -> None:
    """The driver's own classes are known to nobody else."""
    database = Database(sqlite_url)
    broken = sa.text("SELECT 1 UNION ALL SELECT abs(-9223372036854775808)")  # fails at its second row
    with database.reading() as connection, pytest.raises(UNANSWERED):
        _fetched(connection.execute(broken))
    database.close()
