"""The system of record in SQL: items, history, stock, overrides, keys. SQLite by default, PostgreSQL by URL.

No arithmetic and no HTTP here: rows in, rows out.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Table

from service.blocks import Days, number_of, unpacked, write_blocks
from service.changes import DATASET, note_change
from service.database import UNANSWERED, Database, one_of
from service.datasets import Dataset, dataset_of, draw_revisions, new_revision
from service.series import CHUNK, Series, of_series
from service.tables import (
    calendar,
    datasets,
    forecasts,
    history,
    history_blocks,
    inventory,
    items,
    open_orders,
    places,
)
from simulator.item_table import ITEM_FLOATS, ITEM_TEXTS, ITEM_WHOLE
from simulator.tables import KEY


class Store:
    """All SQL of the service."""

    def __init__(self, url: str, *, wait: bool = False) -> None:
        """Open the database of an SQLAlchemy URL and bring its tables up to date.

        Args:
            url: of the database.
            wait: where it does not answer, leave the tables to a later `prepare`.

        Raises:
            SQLAlchemyError: where it does not answer, and nobody waits.
        """
        self.database = Database(url)
        self.prepared = False
        try:
            self.prepare()
        except UNANSWERED:
            if not wait:
                raise

    def prepare(self) -> None:
        """Bring the tables up to date, once."""
        if not self.prepared:
            self.database.migrate()
            self.prepared = True

    def close(self) -> None:
        """Give the connections back."""
        self.database.close()

    # ------------------------------------------------------------------------------------------------------- loading

    def replace_dataset(
        self, settings: dict[str, Any], fingerprint: str, tables: dict[str, Iterable[dict[str, Any]]]
    ) -> None:
        """Put a dataset in place of whatever is loaded, in one transaction.

        Args:
            settings: the keys of `dataset.json`.
            fingerprint: of the files, to know it again.
            tables: rows for items, history, calendar, inventory, open_orders, forecasts.
        """
        now = datetime.now(UTC)
        targets = {"items": items, "history": history, "calendar": calendar, "inventory": inventory,
                   "open_orders": open_orders, "forecasts": forecasts}  # fmt: skip
        with self.database.writing() as connection:
            for table in (*targets.values(), history_blocks, places, datasets):
                connection.execute(sa.delete(table))
            first = last = None
            for name, rows in tables.items():
                batch = [{**row, "recorded_at": now} if name == "history" else row for row in rows]
                if name == "items":
                    draw_revisions(connection, {row["location_id"] for row in batch})
                if name == "history":
                    known = [row["date"] for row in batch if row["units_sold"] is not None]
                    first, last = min(known, default=None), max(known, default=None)
                for at in range(0, len(batch), 20_000):
                    connection.execute(sa.insert(targets[name]), batch[at : at + 20_000])
                if name == "history":
                    write_blocks(connection, pl.DataFrame(batch, schema=_DEMAND_SCHEMA, strict=False))
            row = {
                "settings": json.dumps(settings),
                "fingerprint": fingerprint,
                "first_recorded": first,
                "last_recorded": last,
                "loaded_at": now,
                "revision": new_revision(),
            }
            connection.execute(sa.insert(datasets), row)
            note_change(connection, DATASET)

    # ------------------------------------------------------------------------------------------------------- reading

    def dataset(self) -> Dataset | None:
        """What is loaded; None where nothing is."""
        with self.database.reading() as connection:
            return dataset_of(connection)

    def all_series(self) -> list[Series]:
        """Every item and location, in order."""
        return self.series_of({})

    def series_at(self, place: str) -> list[Series]:
        """Those of one location, categories together."""
        query = sa.select(items.c.item_id, items.c.location_id).where(items.c.location_id == place)
        with self.database.reading() as connection:
            return [(item, at) for item, at in connection.execute(query.order_by(items.c.category, items.c.item_id))]

    def series_count(self) -> int:
        """How many there are."""
        with self.database.reading() as connection:
            return count_series(connection, {})

    def peers(self, series: Sequence[Series], *, everywhere: bool = False) -> pl.DataFrame:
        """Items of those series, of their reference items, and of all others of their categories: at their locations, or
        anywhere. In the canonical columns, in the order of their keys."""
        wanted = set(series)
        places = sorted({place for _, place in self.all_series()} if everywhere else {place for _, place in wanted})
        rows = self._items_at(places)
        mine = [row for row in rows if (row.item_id, row.location_id) in wanted]
        groups = {(row.category, row.location_id) for row in mine}
        categories = {row.category for row in mine} if everywhere else set()
        references = {(json.loads(row.attributes).get("reference_item_id"), row.location_id) for row in mine}
        near = [
            row
            for row in rows
            if row.category in categories
            or (row.category, row.location_id) in groups
            or (row.item_id, row.location_id) in references
        ]
        return _items_frame(sorted(near, key=lambda row: (row.item_id, row.location_id)))

    def items_of(self, series: Sequence[Series]) -> pl.DataFrame:
        """Items of those series that are known, in their order."""
        found = self.items_at(*_apart(series))
        return _named(series).join(found, on=KEY, how="inner", maintain_order="left")

    def sales(self, series: Sequence[Series], first: date, last: date) -> pl.DataFrame:
        """Demand of some series between two dates."""
        found = self._days(history, _DEMAND_SCHEMA, *_apart(series), first, last)
        return found.join(_named(series), on=KEY, how="semi")

    def days(self, series: Sequence[Series], first: date, last: date) -> Days:
        """Days of the history of some series, `first` to `last`."""
        b, (begin, _), (end, _) = history_blocks.c, number_of(first), number_of(last)
        query = sa.select(b.location_id, b.item_id, b.number, b.packed).where(b.number.between(begin, end))
        return unpacked(self._fetch(query, history_blocks, *_apart(series)), series, first, last)

    def forecasts_of(self, series: Sequence[Series], first: date, last: date) -> pl.DataFrame:
        """Forecasts of some series for the days between two dates; others of the same items and locations may be among them."""
        return self._days(forecasts, _FORECAST_SCHEMA, *_apart(series), first, last)

    def calendar_days(self, places: Sequence[str], first: date, last: date) -> pl.DataFrame:
        """The calendar of some locations between two dates."""
        return self._days(calendar, _CALENDAR_SCHEMA, places, (), first, last)

    def items_at(self, places: list[str], of: Sequence[str] = ()) -> pl.DataFrame:
        """Items of some locations, in the canonical columns; only those in `of` where it names a few."""
        return _items_frame(self._items_at(places, of))

    def closed_days(self, places: Sequence[str], first: date, last: date) -> pl.DataFrame:
        """The calendar's days on which suppliers of some locations take no orders or nothing is received."""
        shut = sa.or_(calendar.c.order_open == 0, calendar.c.delivery_open == 0)
        return self._days(calendar, _CALENDAR_SCHEMA, places, (), first, last, shut)

    def _items_at(self, places: Sequence[str], of: Sequence[str] = ()) -> list[sa.Row[Any]]:
        parts = self._parts(sa.select(items), items, places, of)
        return [row for part, connection in parts for row in connection.execute(part)]

    def _days(
        self, table: Table, schema: dict[str, Any], places: Sequence[str], of: Sequence[str], first: date, last: date,
        *where: sa.ColumnElement[bool],
    ) -> pl.DataFrame:  # fmt: skip
        """A table's rows between two dates; SQLite has dates as texts."""
        query = sa.select(*(table.c[name] for name in schema)).where(table.c.date.between(first, last), *where)
        rows = self._fetch(query, table, places, of)
        texts = [name for name, kind in schema.items() if kind == pl.Date and self.database.dialect == "sqlite"]
        found = pl.DataFrame(rows, schema=schema | dict.fromkeys(texts, pl.String), orient="row", strict=False)
        return found.with_columns(pl.col(texts).str.to_date("%Y-%m-%d"))

    def _fetch(self, query: sa.Select[Any], table: Table, places: Sequence[str], of: Sequence[str]) -> list[Any]:
        """What `_parts` find. They are many, so they come as the driver gives them."""
        parts = self._parts(query, table, places, of)
        return [row for part, connection in parts for row in _fetched(connection.execute(part))]

    def _parts(
        self, query: sa.Select[Any], table: Table, places: Sequence[str], of: Sequence[str]
    ) -> Iterator[tuple[sa.Select[Any], sa.Connection]]:
        """A query for the rows of some locations; for a few items only where `of` names them, so that one series at a large
        location does not read all of it. In parts, with the connection to ask."""
        with self.database.reading() as connection:
            if 0 < len(of) <= CHUNK:
                query = query.where(one_of(connection, table.c.item_id, of))
            for at in range(0, len(places), CHUNK):
                yield query.where(one_of(connection, table.c.location_id, places[at : at + CHUNK])), connection

    def series_of(self, scope: dict[str, str]) -> list[Series]:
        """Every known series that has all of these values, by column."""
        query = sa.select(items.c.item_id, items.c.location_id).order_by(items.c.item_id, items.c.location_id)
        for column, value in scope.items():
            query = query.where(items.c[column] == value)
        with self.database.reading() as connection:
            return [(item, place) for item, place in connection.execute(query)]


_DEMAND_SCHEMA = {
    "item_id": pl.String, "location_id": pl.String, "date": pl.Date, "units_sold": pl.Float32,
    "in_stock": pl.Float32, "price": pl.Float32, "promotion": pl.Boolean,
}  # fmt: skip
_ITEM_SCHEMA = (
    dict.fromkeys([*KEY, *ITEM_TEXTS], pl.String)
    | dict.fromkeys(ITEM_FLOATS, pl.Float64)
    | dict.fromkeys(ITEM_WHOLE, pl.Int64)
)
_FORECAST_SCHEMA = dict.fromkeys(KEY, pl.String) | {"made_on": pl.Date, "date": pl.Date, "units": pl.Float64}
_CALENDAR_SCHEMA = {
    "location_id": pl.String, "date": pl.Date, "open": pl.Float32, "holiday": pl.Float32,
    "school_holiday": pl.Float32, "order_open": pl.Float32, "delivery_open": pl.Float32,
}  # fmt: skip


def _items_frame(rows: Iterable[sa.Row[Any]]) -> pl.DataFrame:
    """Items in the canonical columns."""
    named = [{**json.loads(row.attributes), "item_id": row.item_id, "location_id": row.location_id} for row in rows]
    return pl.DataFrame(named, schema=_ITEM_SCHEMA, strict=False)


def _apart(series: Sequence[Series]) -> tuple[list[str], list[str]]:
    """Their locations and their items."""
    return sorted({place for _, place in series}), sorted({item for item, _ in series})


def _named(series: Sequence[Series]) -> pl.DataFrame:
    return pl.DataFrame(series, schema=["item_id", "location_id"], orient="row", strict=False)


def _fetched(result: sa.CursorResult[Any]) -> Sequence[Any]:
    """All rows as the driver gives them, its errors as SQLAlchemy's own."""
    try:
        return result.cursor.fetchall()
    except result.dialect.loaded_dbapi.Error as error:
        raise sa.exc.OperationalError("fetch", {}, error) from error


def stock_of(
    connection: sa.Connection, series: Collection[Series] | None = None
) -> dict[Series, tuple[date, float, bool]]:
    """Latest stock of all series, or of some: its date, units on hand, and whether it was drawn for the demo."""
    i = inventory.c
    query = sa.select(i.item_id, i.location_id, i.date, i.on_hand, i.drawn)
    parts = [query] if series is None else [query.where(chosen) for chosen in of_series(connection, inventory, series)]
    return {(row[0], row[1]): (row[2], row[3], row[4]) for part in parts for row in connection.execute(part)}


def open_orders_of(
    connection: sa.Connection, series: Collection[Series] | None = None
) -> dict[Series, list[tuple[date, float]]]:
    """Open orders of all series, or of some: arrival date and units, in the order in which they were told."""
    o = open_orders.c
    query = sa.select(o.item_id, o.location_id, o.arrival_date, o.quantity).order_by(o.id)
    found: dict[Series, list[tuple[date, float]]] = {}
    chosen = [sa.true()] if series is None else of_series(connection, open_orders, series)
    for part in map(query.where, chosen):
        for item, place, day, units in connection.execute(part):
            found.setdefault((item, place), []).append((day, units))
    return found


def count_series(connection: sa.Connection, scope: dict[str, str]) -> int:
    """How many known series have all of these values, by column."""
    query = sa.select(sa.func.count()).select_from(items)
    for column, value in scope.items():
        query = query.where(items.c[column] == value)
    return int(connection.scalar(query) or 0)
