"""Decisions that were answered while the database was away, on this machine's disk until they are stored.

A file of its own, so that nothing that was told to an ERP is lost with the process. Storing a decision twice changes nothing, so
a row leaves the spool only after it is stored.
"""

from __future__ import annotations

import base64
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import StatementError

from service.database import UNANSWERED, Database
from service.decision_store import SUPERSEDED, add_decisions, mark_seen
from service.problems import store_unavailable
from service.tables import decisions

LOG = logging.getLogger(__name__)
AT_ONCE = 500  # rows of one transaction
DATES = ("order_date", "expected_receipt_date")
COLUMNS = {column.name for column in decisions.columns}
NEEDED = {column.name for column in decisions.columns if not column.nullable}
Row = dict[str, Any]


class Spool:
    """Rows of decisions, oldest first; safe to share between threads and processes."""

    def __init__(self, path: Path) -> None:
        """The file is made when the first row comes."""
        self._path = path
        self._lock = threading.Lock()
        self.waiting = self.refused = 0

    def look(self) -> int:
        """How many rows wait; another process on this machine may have left some."""
        try:
            if self._path.exists():
                with self._lock, self._open() as file:
                    self.waiting = self._count(file)
                    self.refused = int(file.execute("SELECT count(*) FROM refused").fetchone()[0])
        except (sqlite3.OperationalError, OSError) as error:  # locked, or a full disk: it may do so in a moment
            LOG.debug("the spool cannot be read (%s)", error)
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
        return self.waiting

    def has(self, decision_id: str) -> bool:
        """Whether a decision waits here."""
        if not self.waiting:
            return False
        with self._lock, self._open() as file:
            told = file.execute("SELECT decision FROM spooled WHERE decision IS NOT NULL").fetchall()
        return any(json.loads(one)["id"] == decision_id for (one,) in told)

    def put(self, rows: Sequence[Row], seen: Sequence[str]) -> None:
        """Keep some rows of `decisions`, and numbers of those that were seen among the open orders; on disk when it returns.

        Raises:
            ProblemError: 503 where the disk does not take them.
        """
        kept = [(json.dumps(_plain(row)),) for row in rows]
        try:
            with self._lock, self._open() as file:
                file.executemany("INSERT INTO spooled (decision) VALUES (?)", kept)
                file.execute("INSERT INTO spooled (seen) VALUES (?)", (json.dumps(list(seen)),))
                self.waiting = self._count(file)
        except (sqlite3.Error, OSError) as error:
            LOG.error("the spool takes no decisions (%s)", error)
            detail = "The answers cannot be remembered, so none is given; ask again in a moment."
            raise store_unavailable(detail) from None

    def drain(self, database: Database) -> int:
        """Store what waits; how many decisions.

        Raises:
            SQLAlchemyError: where the database does not answer; what is not stored stays.
        """
        stored = 0
        while self.waiting:
            with self._lock, self._open() as file:
                query = "SELECT number, decision, seen FROM spooled ORDER BY number LIMIT ?"
                part = file.execute(query, (AT_ONCE,)).fetchall()
            if not part:
                self.waiting = 0
                break
            rows = _newest_open([row for _, told, _ in part if told is not None and (row := self._read(told))])
            seen = [number for *_, told in part if told is not None for number in _numbers(told)]
            try:
                _store(database, list(rows.values()))
            except UNANSWERED:
                raise
            except StatementError:  # one of them cannot be stored: the others can
                for row in rows.values():
                    self._store_alone(database, row)
            with database.writing() as connection:  # on its own: it locks other series than those of the rows
                mark_seen(connection, seen)
            with self._lock, self._open() as file:
                file.execute("DELETE FROM spooled WHERE number <= ?", (part[-1][0],))
                self.waiting = self._count(file)
            stored += len(rows)
        if stored:
            LOG.warning("%d decisions that were answered without the database are stored", stored)
        return stored

    def _read(self, told: str) -> Row | None:
        """A row; None where it is none, and then it is kept beside the others."""
        try:
            return _row(told)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            self._refuse(told, error)
            return None

    def _store_alone(self, database: Database, row: Row) -> None:
        try:
            _store(database, [row])
        except UNANSWERED:
            raise
        except StatementError as error:
            self._refuse(json.dumps(_plain(row)), error)

    def _refuse(self, told: str, error: Exception) -> None:
        LOG.error("a decision cannot be stored (%s); it stays in %s", type(error).__name__, self._path)
        with self._lock, self._open() as file:
            file.execute("INSERT INTO refused (decision) VALUES (?)", (told,))

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        """What is no database is kept under another name, and a new one begun: else no decision could ever wait again."""
        kept = self._path.with_name(f"{self._path.name}.damaged-{time.time_ns()}")
        with self._lock:
            self._path.rename(kept)
            self.waiting = 0
        LOG.error("the spool is damaged (%s); it is kept as %s, and what waits in it is not stored", error, kept)

    def _open(self) -> _File:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        return _File(self._path)

    def _count(self, file: sqlite3.Connection) -> int:
        """By the ends: rows leave in the order in which they came, and counting them one by one would read all that waits."""
        query = "SELECT (SELECT max(number) FROM spooled) - (SELECT min(number) FROM spooled) + 1"
        return int(file.execute(query).fetchone()[0] or 0)


class _File:
    """A connection for one transaction."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=5)

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS spooled (number INTEGER PRIMARY KEY AUTOINCREMENT, decision TEXT, seen TEXT)"
        )
        self._connection.execute("CREATE TABLE IF NOT EXISTS refused (decision TEXT)")
        return self._connection

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._connection.commit()
        finally:
            self._connection.close()


def _store(database: Database, rows: list[Row]) -> None:
    with database.writing() as connection:
        add_decisions(connection, rows, late=True)


def _newest_open(rows: list[Row]) -> dict[str, Row]:
    """Rows by number; of those for the same order all but the last have given way."""
    last = {(row["location_id"], row["item_id"], row["order_date"]): row["id"] for row in rows}
    newest = set(last.values())
    return {row["id"]: row if row["id"] in newest else row | {"status": SUPERSEDED} for row in rows}


def _plain(row: Row) -> Row:
    dates = {name: row[name].isoformat() for name in (*DATES, "created_at")}
    return row | dates | {"observation": base64.b64encode(row["observation"]).decode()}


def _numbers(told: str) -> list[str]:
    """Decisions that were seen, by number; none where the text is no list of them."""
    try:
        found = json.loads(told)
    except ValueError:
        return []
    return [number for number in found if isinstance(number, str)] if isinstance(found, list) else []


def _row(told: str) -> Row:
    """A row as it was put; one from before decisions named their override takes it from what it rests on."""
    row: Row = json.loads(told)
    if not NEEDED <= row.keys() <= COLUMNS:
        raise ValueError("a row of other columns than a decision's")
    dates: Row = {name: date.fromisoformat(row[name]) for name in DATES}
    observed = {
        "observation": base64.b64decode(row["observation"]),
        "created_at": datetime.fromisoformat(row["created_at"]),
    }
    return {"override_id": (json.loads(row["inputs"]).get("override") or {}).get("id")} | row | dates | observed
