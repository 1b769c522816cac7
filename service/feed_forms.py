"""The forms in which a table of rows comes: a JSON array, lines of JSON, or Parquet. It knows no column by name."""

from __future__ import annotations

import io
import json
from typing import Any

import polars as pl

from service.problems import ProblemError

JSON, NDJSON, PARQUET = "application/json", "application/x-ndjson", "application/vnd.apache.parquet"
MOST_COLUMNS = 64
Row = dict[str, Any]


def table_of(body: bytes, form: str, *, whole: bool = False) -> pl.DataFrame:
    """A body as a table; from JSON all columns are text, as in a CSV file. `whole`: all rows have all columns.

    Raises:
        ProblemError: 415 for another form, 422 for a body that is none.
    """
    kind = form.partition(";")[0].strip().lower()
    if kind == PARQUET:
        try:
            table = pl.read_parquet(io.BytesIO(body))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise _no_table(f"cannot be read as Parquet ({(str(error).splitlines() or ['empty'])[0][:200]})") from None
    elif kind in (JSON, NDJSON):
        rows = _json_rows(body) if kind == JSON else _lines(body)
        if whole:
            _check_whole(rows)
        table = pl.DataFrame(_texts(rows), strict=False)
    else:
        detail = f"Content-Type: must be {JSON}, {NDJSON} or {PARQUET}, got {kind[:80] or 'none'!r}"
        raise ProblemError(415, "unsupported-media-type", "The body has an unknown form", detail)
    if table.is_empty():
        raise _no_table("has no rows")
    return table


def _json_rows(body: bytes) -> list[Any]:
    try:
        rows = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _no_table(f"is not JSON ({str(error)[:200]})") from None
    if not isinstance(rows, list):
        raise _no_table("must be an array of rows")
    return rows


def _lines(body: bytes) -> list[Any]:
    rows: list[Any] = []
    for number, line in enumerate(body.splitlines()):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise _no_table(f"is not JSON in line {number} ({str(error)[:200]})") from None
    return rows


def _texts(rows: list[Row]) -> dict[str, list[str | None]]:
    columns: dict[str, list[str | None]] = {}
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise _no_table(f"must hold objects; row {number} is {ascii(row)[:80]}")
        for name, value in row.items():
            if isinstance(value, dict | list):
                raise _no_table(f"must hold plain values; row {number}, {name!a} is {ascii(value)[:80]}")
            if name not in columns and len(columns) == MOST_COLUMNS:
                raise _no_table(f"has more than {MOST_COLUMNS} columns")
            text = value if value is None or isinstance(value, str) else json.dumps(value)
            if not _is_text(name) or not _is_text(text or ""):
                raise _no_table(f"must hold Unicode text; row {number}, {name!a} is {ascii(value)[:80]}")
            columns.setdefault(name, [None] * len(rows))[number] = text
    return columns


def _is_text(value: str) -> bool:
    """Whether it has no half of a surrogate pair, which JSON can spell and UTF-8 cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_whole(rows: list[Any]) -> None:
    """Rows that correct others have to have the same columns: one that is left out somewhere would erase what is stored."""
    if not rows or not all(isinstance(row, dict) for row in rows):
        return
    columns = {name for row in rows for name in row}
    for number, row in enumerate(rows):
        missing = sorted(columns - row.keys())
        if missing:
            raise _no_table(
                f"must have the same columns in all rows; row {number} lacks {missing[0]!a}, null erases it"
            )


def _no_table(what: str) -> ProblemError:
    return ProblemError(422, "request-invalid", "The request is not valid", f"the body {what}; nothing is stored")
