"""Connections to the system of record: SQLite by default, PostgreSQL by URL, and its migrations.

A `reading` changes nothing; a `writing` is one transaction that happens whole or not at all. In SQLite a
writing takes the write lock at its beginning, so that two of them wait for each other where PostgreSQL locks rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext

NEWEST = "head"
BEFORE_MIGRATIONS = "0001"  # what stores held before there were migrations
MIGRATION_LOCK = 7_263_001  # of PostgreSQL's advisory locks: processes that start together migrate one after the other


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
        self.engine = sa.create_engine(url, pool_pre_ping=True, hide_parameters=True)
        self.dialect = self.engine.dialect.name
        if self.dialect == "sqlite":
            sa.event.listen(self.engine, "connect", _sqlite_settings)
            sa.event.listen(self.engine, "begin", _sqlite_begin)
        self._writer = self.engine.execution_options(writing=True)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection in a transaction that changes nothing."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection in a transaction that is committed at the end, or undone by an error."""
        with self._writer.begin() as connection:
            yield connection

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

    def ping(self) -> None:
        """Raise where the database does not answer."""
        with self.reading() as connection:
            connection.execute(sa.text("SELECT 1"))

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


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
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA busy_timeout=5000")
    cursor.execute("PRAGMA synchronous=FULL")  # an acknowledged override survives a power cut
    cursor.close()


def _sqlite_begin(connection: sa.Connection) -> None:
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
