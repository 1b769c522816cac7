"""History packed for reading: a series' days in blocks of fixed length, beside the rows that they are made of.

A feature row needs a year of a series and of its category, which is thousands of rows of the table `history` and a handful of
blocks. Whoever writes rows writes the blocks of their series in the same transaction; rows stay what is told to the outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import sqlalchemy as sa

from service.database import among, insert_into
from service.tables import history_blocks
from simulator.panel import EPOCH, F32, I64

DAYS = 128  # of a block: a year and the weeks ahead touch four or five, a new day rewrites one
FIELDS = ("units_sold", "in_stock", "price", "promotion")
AT_ONCE = 1000  # blocks of one statement
_KEY = ("location_id", "item_id", "number")
_PACKED = np.dtype("<f4")


class Days(NamedTuple):
    """Some days of N series, each (N, days) and NaN where nothing is told."""

    units_sold: F32
    in_stock: F32
    price: F32
    promotion: F32


def number_of(day: date) -> tuple[int, int]:
    """The block that a day lies in, and its place there."""
    return divmod((day - EPOCH).days, DAYS)


def unpacked(
    rows: Iterable[tuple[str, str, int, bytes]], series: Sequence[tuple[str, str]], first: date, last: date
) -> Days:
    """Some days of some series.

    Args:
        rows: location, item, number and packed values of blocks; those of other series are passed over.
        series: item and location of each.
        first: first day.
        last: last day, none before `first`.
    """
    (begin, skipped), (end, _) = number_of(first), number_of(last)
    index = {(place, item): n for n, (item, place) in enumerate(series)}
    blocks = end - begin + 1
    places: list[int] = []
    packed: list[bytes] = []
    for place, item, number, values in rows:
        row = index.get((place, item))
        if row is not None and begin <= number <= end:
            places.append(row * blocks + number - begin)
            packed.append(values)
    dense = np.full((len(FIELDS), len(series) * blocks, DAYS), np.nan, dtype=np.float32)
    if packed:
        read = np.frombuffer(b"".join(packed), dtype=_PACKED).reshape(len(packed), len(FIELDS), DAYS)
        dense[:, places] = read.transpose(1, 0, 2)
    days = dense.reshape(len(FIELDS), len(series), blocks * DAYS)[:, :, skipped : skipped + (last - first).days + 1]
    return Days(*days)


def write_blocks(connection: sa.Connection, table: pl.DataFrame) -> None:
    """Put rows of history into their blocks.

    Args:
        connection: in the transaction that writes the rows; until it ends nobody else writes these blocks.
        table: item_id, location_id, date and the fields that are told, each row once; other fields stay as they are.
    """
    told = [field for field in FIELDS if field in table.columns]
    day = (pl.col("date") - EPOCH).dt.total_days()
    rows = table.select(*_KEY[:2], pl.col(told).cast(pl.Float32), number=day // DAYS, day=day % DAYS).sort(_KEY)
    keys = rows.select(_KEY).unique(maintain_order=True)
    block = rows.join(keys.with_row_index("block"), on=_KEY, how="left", maintain_order="left")["block"].to_numpy()
    for at in range(0, keys.height, AT_ONCE):
        begin, end = np.searchsorted(block, [at, at + AT_ONCE])
        part = rows[int(begin) : int(end)]
        _write(
            connection, list(keys[at : at + AT_ONCE].iter_rows()), block[begin:end].astype(np.int64) - at, part, told
        )


def _write(
    connection: sa.Connection, keys: list[tuple[Any, ...]], block: I64, rows: pl.DataFrame, told: list[str]
) -> None:
    """The blocks `keys` with rows put into them, each in the one at its place in `block`."""
    values = np.full((len(keys), len(FIELDS), DAYS), np.nan, dtype=_PACKED)

    def lines() -> list[dict[str, Any]]:
        return [dict(zip(_KEY, key, strict=True)) | {"packed": values[n].tobytes()} for n, key in enumerate(keys)]

    insert, columns = insert_into(connection, history_blocks), [history_blocks.c[name] for name in _KEY]
    stored = sa.select(*columns, history_blocks.c.packed).where(among(connection, columns, keys))
    if connection.dialect.name == "postgresql":  # what is not there cannot be locked; in SQLite a writing is alone
        connection.execute(insert.on_conflict_do_nothing(), lines())
        stored = stored.order_by(*(column.collate("C") for column in columns[:2]), columns[2]).with_for_update()
    place = {key: n for n, key in enumerate(keys)}
    for *key, packed in connection.execute(stored):
        values[place[tuple(key)]] = np.frombuffer(packed, dtype=_PACKED).reshape(len(FIELDS), DAYS)
    for field in told:
        values[block, FIELDS.index(field), rows["day"].to_numpy()] = rows[field].fill_null(np.nan).to_numpy()
    newer = insert.on_conflict_do_update(index_elements=list(_KEY), set_={"packed": insert.excluded.packed})
    connection.execute(newer, lines())
