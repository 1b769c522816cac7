"""Connections to the system of record: SQLite by default, PostgreSQL by URL, and its migrations.

A `reading` changes nothing; a `writing` is one transaction that happens whole or not at all. In SQLite a
writing takes the write lock at its beginning, so that two of them wait for each other where PostgreSQL locks rows.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.at_once import may_wait
from service.changes import flush

REST_S = 1.0  # how long it is left alone after it did not answer
HANGS_S = 0.5  # a probe that takes longer is taken for no answer
CONNECT_S = 5  # longest wait for a connection, or for SQLite's lock
CACHE_KB = 512  # of pages that each SQLite connection keeps: a write of another one empties it, and what comes and goes leaves holes
POOLED = 30  # connections, and as many more in a rush: more than requests may be in work
_PATIENCE = {  # with a PostgreSQL that is there no more, without a word
    "connect_timeout": CONNECT_S, "keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}  # fmt: skip
NEWEST = "head"
BEFORE_MIGRATIONS = "0001"  # what stores held before there were migrations
MIGRATION_LOCK = 7_263_001  # of PostgreSQL's advisory locks: processes that start together migrate one after the other


Found = TypeVar("Found")
# What SQLAlchemy raises where the database does not answer, or not in time.
UNANSWERED = (OperationalError, InterfaceError, PoolTimeout)


class StoreTooOld(RuntimeError):
    """The database was made before there were migrations and lacks columns."""


class Database:
    """An engine over one database."""

    def __init__(self, url: str) -> None:
        """Connect lazily.

        Args:
            url: SQLAlchemy URL; `postgresql://` means the psycopg driver.
        """
        for plain in ("postgresql://", "postgres://"):
            if url.startswith(plain):
                url = "postgresql+psycopg://" + url.removeprefix(plain)
        self.engine = sa.create_engine(
            url, pool_pre_ping=True, pool_timeout=CONNECT_S, pool_size=POOLED, max_overflow=POOLED, hide_parameters=True,
            pool_use_lifo=True,  # a few connections do nearly all the work, so the caches of the others stay small
            connect_args=_PATIENCE if "psycopg" in url else {"timeout": CONNECT_S},
        )  # fmt: skip
        self.dialect = self.engine.dialect.name
        self.most_connections = 2 * POOLED
        if self.dialect == "sqlite":
            sa.event.listen(self.engine, "connect", _sqlite_settings)
            sa.event.listen(self.engine, "begin", _sqlite_begin)
        self.writes = 0  # transactions of this process
        self._rest_until = 0.0
        self._probed_at: float | None = None  # when a reading began that has not ended
        self._writer = self.engine.execution_options(writing=True)

    @property
    def down(self) -> bool:
        """Whether it did not answer a moment ago, or has not answered for a while. It is left alone then, so that no thread
        waits for it; only `probing` tries."""
        now, probed_at = time.monotonic(), self._probed_at
        return now < self._rest_until or (probed_at is not None and now - probed_at > HANGS_S)

    @contextmanager
    def probing(self) -> Iterator[sa.Connection]:
        """A reading that finds out whether it answers; one at a time. Once `answered` is called it may take its time."""
        self._probed_at = time.monotonic()
        try:
            with self.engine.connect() as connection:
                yield connection
            self._rest_until = 0.0
        except UNANSWERED:
            self.rest()
            raise
        finally:
            self._probed_at = None

    def answered(self) -> None:
        """The probe under way has had an answer."""
        self._probed_at = None
        self._rest_until = 0.0

    def rest(self) -> None:
        """It did not answer: leave it alone for a moment."""
        self._rest_until = time.monotonic() + REST_S

    def check_up(self) -> None:
        """Raise OperationalError where it is known not to answer, WouldWait where nobody may wait for it."""
        may_wait()
        if self.down:
            raise OperationalError("connect", {}, TimeoutError("the database did not answer a moment ago"))

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection in a transaction that changes nothing."""
        self.check_up()
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection in a transaction that is committed at the end, or undone by an error."""
        self.check_up()
        with self._writer.begin() as connection:
            connection.info.pop("changes", None)
            yield connection
            flush(connection)
        self.writes += 1

    def migrate(self, revision: str = NEWEST) -> None:
        """Bring the schema to a revision, forwards or backwards, in one transaction.

        Raises:
            StoreTooOld: where the tables are older than the first migration.
        """
        with self.writing() as connection:
            if self.dialect == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            config = Config()
            config.set_main_option("script_location", "service:migrations")
            config.attributes["connection"] = connection
            at = MigrationContext.configure(connection).get_current_revision()
            if at is None and sa.inspect(connection).has_table("datasets"):
                _check_unversioned(connection)
                command.stamp(config, BEFORE_MIGRATIONS)
                at = BEFORE_MIGRATIONS
            if revision == NEWEST or (at or "") < revision:
                command.upgrade(config, revision)
            elif (at or "") > revision:
                command.downgrade(config, revision)

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


def within(seconds: float, work: Callable[[], Found]) -> Found:
    """What `work` returns, in a thread of its own: a driver waits without end for a server that is frozen.

    Raises:
        OperationalError: where it takes longer; the thread is left behind.
    """
    found: list[Found] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="database", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise OperationalError("wait", {}, TimeoutError(f"the database did not answer within {seconds:g} s"))
    return found[0]


def among(
    connection: sa.Connection, columns: Sequence[sa.ColumnElement[Any]], rows: Collection[tuple[Any, ...]]
) -> sa.ColumnElement[bool]:
    """Whether some columns together have the values of one of some rows: texts, whole numbers and dates.

    SQLite looks through the whole table for a list of rows, and PostgreSQL plans long for one; for what a subquery gives both
    use an index.
    """
    these = sa.tuple_(*columns)
    if connection.dialect.name != "sqlite":
        told = zip(columns, zip(*rows, strict=True), strict=True) if rows else ((column, ()) for column in columns)
        arrays = (sa.literal(list(values), postgresql.ARRAY(column.type)) for column, values in told)
        return these.in_(sa.select(*map(sa.func.unnest, arrays)))
    each = sa.func.json_each(json.dumps(list(rows), default=str)).table_valued("value")
    values = (sa.func.json_extract(each.c.value, f"$[{place}]") for place in range(len(columns)))
    return these.in_(sa.select(*values))


def one_of(connection: sa.Connection, column: sa.ColumnElement[Any], values: Collection[Any]) -> sa.ColumnElement[bool]:
    """Whether a column has one of some values. The words of the statement are the same for any number of them: each connection
    keeps the plans of the latest statements, and a list that is spelt out is another statement for each length."""
    if connection.dialect.name != "sqlite":
        return column == sa.any_(sa.literal(list(values), postgresql.ARRAY(column.type)))
    return among(connection, [column], [(value,) for value in values])


def insert_into(connection: sa.Connection, table: sa.Table) -> Any:
    """An INSERT of the connection's dialect, which knows `on_conflict_...`."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def _check_unversioned(connection: sa.Connection) -> None:
    there = {column["name"] for column in sa.inspect(connection).get_columns("calendar")}
    if not {"order_open", "delivery_open"} <= there:
        raise StoreTooOld(
            f"the database {connection.engine.url.render_as_string(hide_password=True)} is older than this service "
            "can bring up to date (table calendar has no order_open); move it away and load the dataset again"
        )


def _sqlite_settings(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says so, not at the first change
    cursor = connection.cursor()
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous=FULL")  # an acknowledged override survives a power cut
    cursor.execute(f"PRAGMA cache_size=-{CACHE_KB}")
    cursor.close()


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Of processes that make a new file together only one can switch it, and SQLite tells the others at once instead of waiting."""
    until = time.monotonic() + CONNECT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _sqlite_begin(connection: sa.Connection) -> None:
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
