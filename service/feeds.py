"""What an ERP sends: tables of items, history, stock, open orders, calendar days. Read, checked, then stored whole.

A table comes as a JSON array, as lines of JSON or as Parquet, and is checked by the code that checks a dataset's files. One
bad row and nothing is stored; the answer names every series' first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta

import polars as pl
import sqlalchemy as sa

from service.changes import HISTORY, INVENTORY, TERMS, note_change
from service.datasets import Dataset, bump_revisions, note_history
from service.feed_forms import table_of
from service.feed_schemas import FeedResult
from service.feed_store import replace_open_orders, upsert, upsert_newer, write_history
from service.idempotency import Answered
from service.loading import item_rows
from service.problems import ProblemError, RowError
from service.store import Store
from service.tables import calendar, inventory, inventory_history, items
from simulator.canonical import check_calendar
from simulator.demand_table import check_demand
from simulator.item_table import check_items, items_of
from simulator.tables import (
    FIRST_YEAR,
    KEY,
    QUANTITY,
    DataError,
    Problem,
    cast,
    check_columns,
    not_a_quantity,
    offences,
    with_keys,
)  # fmt: skip

HISTORY_COLUMNS = ("units_sold", "in_stock", "price", "promotion")
FLAGS = ("open", "holiday", "school_holiday", "order_open", "delivery_open")
MOST_DAYS_AHEAD = 3650  # an order that arrives later is a typing error

Store_ = Callable[[sa.Connection], Answered]


class Feeds:
    """What the feed routes do; every method reads and checks, and returns what stores."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def items(self, body: bytes, form: str) -> Store_:
        """Items by series; a row replaces all that was known of its series.

        Raises:
            ProblemError: 415, 422 naming the rows, or 503 without a dataset; so do the others.
        """
        period_days = self._dataset().period_days
        table = _checked(lambda: check_items("items", table_of(body, form), period_days))
        rows = item_rows(items_of(table))
        return _storing(
            len(rows),
            lambda c: upsert(c, items, ("location_id", "item_id"), rows),
            _noting(TERMS, [row["location_id"] for row in rows]),
        )

    def history(self, body: bytes, form: str) -> Store_:
        """Sales by series and date; late and corrected rows replace what is there. Columns left out stay as they are."""
        dataset = self._dataset()

        def check() -> tuple[pl.DataFrame, list[Problem]]:
            given = table_of(body, form, whole=True)
            for column in [c for c in ("unit_cost", "oos_mask", "traffic") if c in given.columns]:
                raise DataError([Problem("history", column, None, "", "is for training; the service does not keep it")])
            table, problems = check_demand("history", given, dataset.period_days)
            ahead = (pl.col("date") > _today()) & pl.col("units_sold").is_not_null()
            problems += offences("history", table, "date", ahead.fill_null(value=False), "lies ahead, and has sales")
            return table, problems + self._unknown_series("history", table) + _off_grid(table, dataset)

        table = _checked(check)
        columns = [*KEY, "date", *(c for c in HISTORY_COLUMNS if c in table.columns)]
        told = table.select(columns)
        sold = table.filter(pl.col("units_sold").is_not_null())["date"].to_list()

        def store(connection: sa.Connection) -> int:
            stored = write_history(connection, told)
            note_history(connection, min(sold, default=None), max(sold, default=None))
            return stored

        return _storing(told.height, store, _noting(HISTORY, told["location_id"]))

    def inventory(self, body: bytes, form: str) -> Store_:
        """Stock by series; a count of an earlier day than the stored one decides nothing, but is kept in the history."""
        self._dataset()

        def check() -> tuple[pl.DataFrame, list[Problem]]:
            table, problems = _quantities("inventory", table_of(body, form), "date", "on_hand", 0)
            return table, problems + _twice("inventory", table) + self._unknown_series("inventory", table)

        rows = _checked(check).sort("location_id", "item_id").to_dicts()  # feeds that meet take their rows in one order
        series = [(row["item_id"], row["location_id"]) for row in rows]

        def store(connection: sa.Connection) -> int:
            upsert(connection, inventory_history, ("date", "location_id", "item_id"), rows)
            newest = [row | {"drawn": False} for row in rows]
            return upsert_newer(connection, inventory, ("location_id", "item_id"), newest, "date")

        return _storing(len(rows), store, lambda c: note_change(c, INVENTORY, series))

    def open_orders(self, body: bytes, form: str) -> Store_:
        """Everything on order of the series that are named; what was known of them before is replaced."""
        self._dataset()

        def check() -> tuple[pl.DataFrame, list[Problem]]:
            table, problems = _quantities(
                "open_orders", table_of(body, form), "arrival_date", "quantity", MOST_DAYS_AHEAD
            )
            return table, problems + self._unknown_series("open_orders", table)

        rows = _checked(check).to_dicts()
        return _storing(len(rows), lambda c: replace_open_orders(c, rows))

    def calendar(self, body: bytes, form: str) -> Store_:
        """Days by location. Columns left out stay as they are."""
        self._dataset()

        def check() -> tuple[pl.DataFrame, list[Problem]]:
            given = table_of(body, form, whole=True)
            check_columns("calendar", given, ["location_id", "date"])
            table = check_calendar("calendar", given, set())
            place = pl.col("location_id")
            problems = offences("calendar", table, "location_id", place.is_null() | (place == ""), "must not be empty")
            twice = ~pl.struct("location_id", "date").is_first_distinct()
            return table, problems + offences("calendar", table, "date", twice, "this location has this date twice")

        table = _checked(check)
        flags = [c for c in FLAGS if c in table.columns]
        rows = table.select("location_id", "date", *(pl.col(c).cast(pl.Float64) for c in flags)).to_dicts()
        return _storing(
            len(rows),
            lambda c: upsert(c, calendar, ("location_id", "date"), rows),
            _noting(TERMS, [row["location_id"] for row in rows]),
        )

    # ------------------------------------------------------------------------------------------------------- checks

    def _dataset(self) -> Dataset:
        dataset = self._store.dataset()
        if dataset is None:
            raise ProblemError(503, "no-dataset", "No dataset is loaded", "Load one with `orpr serve --data DIR`.")
        return dataset

    def _unknown_series(self, file: str, table: pl.DataFrame) -> list[Problem]:
        known = pl.DataFrame(self._store.all_series(), schema=dict.fromkeys(KEY, pl.String), orient="row")
        unknown = table.select(pl.struct(KEY).is_in(known.select(pl.struct(KEY)).to_series().implode()).not_())
        return offences(file, table, "item_id", unknown.to_series(), "this series is not in items")


def _off_grid(table: pl.DataFrame, dataset: Dataset) -> list[Problem]:
    """Dates that start no period of the stored history."""
    first, days = dataset.first_recorded, dataset.period_days
    if first is None or days == 1:
        return []
    off = ((pl.col("date") - first).dt.total_days() % days != 0).fill_null(value=False)
    return offences("history", table, "date", off, f"does not start a {days}-day period, as {first} does")


def _noting(kind: str, changed: Iterable[str]) -> Callable[[sa.Connection], None]:
    """Says that what observations rest on has changed at some locations."""

    def say(connection: sa.Connection) -> None:
        places = set(changed)
        bump_revisions(connection, places)
        note_change(connection, kind, places)

    return say


def _storing(sent: int, store: Callable[[sa.Connection], int], *then: Callable[[sa.Connection], None]) -> Store_:
    def act(connection: sa.Connection) -> Answered:
        stored = store(connection)
        for step in then:
            step(connection)
        return Answered(200, FeedResult(rows=sent, stored=stored, ignored=sent - stored).model_dump())

    return act


def _checked(check: Callable[[], tuple[pl.DataFrame, list[Problem]]]) -> pl.DataFrame:
    """The table, where nothing is wrong with it.

    Raises:
        ProblemError: 422 with every problem's row, field and value.
    """
    try:
        table, problems = check()
    except DataError as error:
        problems = error.problems
    if problems:
        cells = {
            (p.row, p.column): p for p in reversed(problems)
        }  # the first of each: what is no number is no quantity either
        found = sorted(cells.values(), key=lambda p: (p.row or 0, p.column))
        errors = [
            RowError(row=None if p.row is None else p.row - 1, field=p.column, detail=_words(p)) for p in found
        ]  # fmt: skip
        where = "" if found[0].row is None else f"row {found[0].row - 1}, "
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        detail = f"{where}{found[0].column}: {errors[0].detail}{more}; nothing is stored"
        raise ProblemError(422, "rows-invalid", "Some rows are wrong", detail, errors)
    return table


def _words(problem: Problem) -> str:
    return problem.message + (f", got {problem.value[:80]}" if problem.value else "")


def _today() -> date:
    """The latest date that has begun anywhere."""
    return (datetime.now(UTC) + timedelta(hours=14)).date()


def _quantities(
    file: str, given: pl.DataFrame, day: str, units: str, days_ahead: int
) -> tuple[pl.DataFrame, list[Problem]]:
    """A table of series, a date, at most so many days ahead, and a number of units."""
    check_columns(file, given, [*KEY, day, units], [*KEY, day, units])
    problems: list[Problem] = []
    table = cast(file, with_keys(file, given, problems), day, pl.Date(), "a date, YYYY-MM-DD", problems)
    table = cast(file, table, units, pl.Float64(), "a number", problems)
    bad = pl.col(units).is_null() | not_a_quantity(units)
    problems += offences(file, table, units, bad, QUANTITY)
    problems += offences(file, table, day, pl.col(day).is_null(), "must not be empty")
    first, last = date(FIRST_YEAR, 1, 1), _today() + timedelta(days=days_ahead)
    outside = (~pl.col(day).is_between(first, last)).fill_null(value=False)
    problems += offences(file, table, day, outside, f"must lie between {first} and {last}")
    return table.select(*KEY, day, units), problems


def _twice(file: str, table: pl.DataFrame) -> list[Problem]:
    return offences(file, table, "item_id", ~pl.struct(KEY).is_first_distinct(), "the series stands here twice")
