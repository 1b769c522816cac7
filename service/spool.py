"""Decisions that were answered while the database was away, on this machine's disk until they are stored.

A file of its own, so that nothing that was told to an ERP is lost with the process. Storing a decision twice changes nothing, so
a row leaves the spool only after it is stored.
"""

from __future__ import annotations

import base64
import json
import logging
import math
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from sqlalchemy.exc import StatementError

from service.database import UNANSWERED, Database
from service.decision_schemas import DecisionBrief
from service.decision_store import SUPERSEDED, add_decisions, mark_seen
from service.problems import store_unavailable
from service.tables import decisions

LOG = logging.getLogger(__name__)
AT_ONCE = 500  # rows of one transaction
DATES = ("order_date", "expected_receipt_date")
COLUMNS = {column.name for column in decisions.columns}
NEEDED = {column.name for column in decisions.columns if not column.nullable}
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)
Row = dict[str, Any]
Told = str | bytes  # a row as it lies there


class _Whole(DecisionBrief):
    """A row whose values every reader of decisions understands."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    ordered_quantity: float | None = None
    review_due: bool
    inputs: str
    answer: str
    observation: bytes
    override_id: Annotated[int, Field(ge=1, le=2**31 - 1)] | None


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
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
        return self.waiting

    def has(self, decision_id: str) -> bool:
        """Whether a decision waits here; while the file cannot be read, whichever it is may do so."""
        if not self.waiting:
            return False
        try:
            with self._lock, self._open() as file:
                told = file.execute("SELECT decision FROM spooled WHERE decision IS NOT NULL").fetchall()
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
            return True
        return any(_number(one) == decision_id for (one,) in told)

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
            self._failed(error)
            detail = "The answers cannot be remembered, so none is given; ask again in a moment."
            raise store_unavailable(detail) from None

    def drain(self, database: Database) -> int:
        """Store what waits; how many decisions.

        Raises:
            SQLAlchemyError: where the database does not answer; what is not stored stays.
        """
        stored, before = 0, None
        try:
            while self.waiting and (part := self._oldest()):
                if part == before:
                    raise sqlite3.DatabaseError("rows do not go")
                stored, before = stored + self._store(database, part), part
        except (sqlite3.Error, OSError) as error:  # of the spool: those of the database are SQLAlchemy's
            self._failed(error)
        if stored:
            LOG.warning("%d decisions that were answered without the database are stored", stored)
        return stored

    def _oldest(self) -> list[tuple[int, Told | None, Told | None]]:
        """Number, decision and numbers seen of some rows."""
        with self._lock, self._open() as file:
            query = "SELECT number, decision, seen FROM spooled ORDER BY number LIMIT ?"
            part = file.execute(query, (AT_ONCE,)).fetchall()
        if not part:
            self.waiting = 0
        return part

    def _store(self, database: Database, part: list[tuple[int, Told | None, Told | None]]) -> int:
        """Store some rows and let them go, those that cannot be stored into the table beside; how many were decisions."""
        read: list[Row] = []
        refused: list[tuple[Told, Exception]] = []
        for told in (told for _, told, _ in part if told is not None):
            try:
                read.append(_row(told))
            except UNREADABLE as error:
                refused.append((told, error))
        rows = _newest_open(read)
        try:
            _store(database, list(rows.values()))
        except UNANSWERED:
            raise
        except StatementError:  # one of them cannot be stored: the others can
            refused += [found for row in rows.values() if (found := _store_alone(database, row))]
        with database.writing() as connection:  # on its own: it locks other series than those of the rows
            mark_seen(connection, [number for *_, told in part if told is not None for number in _numbers(told)])
        for _, why in refused:
            LOG.error("a decision cannot be stored (%s); it stays in %s", type(why).__name__, self._path)
        with self._lock, self._open() as file:  # both in one transaction, so that none is refused twice
            if file.execute(
                "DELETE FROM spooled WHERE number <= ?", (part[-1][0],)
            ).rowcount:  # 0: another process was first
                beside = "INSERT INTO refused (decision) VALUES (CAST(? AS TEXT))"
                file.executemany(beside, [(told,) for told, _ in refused])
            self.waiting = self._count(file)
        return len(rows)

    def _failed(self, error: sqlite3.Error | OSError) -> None:
        """What becomes of a file that could not be read or written."""
        if self._damaged(error):
            self._set_aside(error)
        else:  # locked, or a full disk: it may be read in a moment
            LOG.debug("the spool cannot be used now (%s)", error)

    def _damaged(self, error: sqlite3.Error | OSError) -> bool:
        if not isinstance(error, sqlite3.OperationalError):
            return isinstance(error, sqlite3.DatabaseError)
        name = getattr(error, "sqlite_errorname", "")
        ours = os.access(self._path, os.W_OK) and os.access(self._path.parent, os.W_OK)
        return name == "SQLITE_ERROR" or (name == "SQLITE_READONLY" and ours)  # by its header it is for reading only

    def _set_aside(self, error: sqlite3.Error | OSError) -> None:
        """What is no database is kept under another name, and a new one begun: else no decision could ever wait again."""
        kept = self._path.with_name(f"{self._path.name}.damaged-{time.time_ns()}")
        with self._lock:
            with suppress(FileNotFoundError):  # another process was first
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
        self._connection.text_factory = bytes  # damaged text is none, and would keep back all others

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


def _store_alone(database: Database, row: Row) -> tuple[Told, Exception] | None:
    """The row as it lay there and the error, where it cannot be stored."""
    try:
        _store(database, [row])
    except UNANSWERED:
        raise
    except StatementError as error:
        return json.dumps(_plain(row)), error
    return None


def _newest_open(rows: list[Row]) -> dict[str, Row]:
    """Rows by number; of those for the same order all but the last have given way."""
    last = {(row["location_id"], row["item_id"], row["order_date"]): row["id"] for row in rows}
    newest = set(last.values())
    return {row["id"]: row if row["id"] in newest else row | {"status": SUPERSEDED} for row in rows}


def _plain(row: Row) -> Row:
    dates = {name: row[name].isoformat() for name in (*DATES, "created_at")}
    return row | dates | {"observation": base64.b64encode(row["observation"]).decode()}


def _number(told: Told) -> str | None:
    """The number of a decision; None where the text is none."""
    try:
        found: str | None = json.loads(told)["id"]
    except UNREADABLE:
        return None
    return found


def _numbers(told: Told) -> list[str]:
    """Decisions that were seen, by number; none where the text is no list of them."""
    try:
        found = json.loads(told)
    except (ValueError, TypeError, RecursionError):
        return []
    listed = found if isinstance(found, list) else []
    return [one for one in listed if isinstance(one, str) and one.isascii() and one.isprintable()]


def _row(told: Told) -> Row:
    """A row as it was put; one from before decisions named their override takes it from what it rests on.

    Raises:
        UNREADABLE: where it is none, or some reader of decisions would fail on it.
    """
    row: Row = json.loads(told)
    json.dumps(row, ensure_ascii=False).encode()  # no halves of characters, which no database takes
    if not NEEDED <= row.keys() <= COLUMNS:
        raise ValueError("a row of other columns than a decision's")
    inputs: Row = json.loads(row["inputs"])
    for day, units in inputs["open_orders"]:
        if not (date.fromisoformat(day) and math.isfinite(units)):
            raise ValueError("open orders of no number of units")
    json.loads(row["answer"]).keys()
    dates: Row = {name: date.fromisoformat(row[name]) for name in DATES}
    observed = {
        "observation": base64.b64decode(row["observation"]),
        "created_at": datetime.fromisoformat(row["created_at"]).astimezone(UTC),
    }
    found = {"override_id": (inputs.get("override") or {}).get("id")} | row | dates | observed
    _Whole.model_validate(found)
    return found
