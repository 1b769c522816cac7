"""Reading one table of the canonical dataset: files, casts, and problems that name file, column, row and value.

It knows nothing of what the tables mean; `canonical.py` and `stock.py` do. Rows count from 1, the header excluded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import polars as pl

KEY = ["item_id", "location_id"]
MOST = 1e12  # units, or money for one; more is a typing error, and sums of it would end in infinity
QUANTITY = "must be a number of at least 0 and at most 1e12"
SHOWN_CHARACTERS = 80  # of a value in a message
MOST_CHARACTERS = 200  # of a name
FIRST_YEAR, LAST_YEAR = 1970, 2199  # a date outside is a typing error
LAST_DAY = (date(LAST_YEAR, 12, 31) - date(1970, 1, 1)).days
CALENDAR = tuple((day - date(1970, 1, 1)).days for day in (date.min, date.max))

Series = tuple[str, str]  # item_id, location_id


@dataclass(frozen=True)
class Problem:
    """One broken rule. `series` is set where setting that series aside would mend the dataset."""

    file: str
    column: str
    row: int | None
    value: str
    message: str
    series: Series | None = None

    def __str__(self) -> str:
        row = "" if self.row is None else f", row {self.row}"
        value = "" if self.value == "" else f": {self.value[:SHOWN_CHARACTERS]}"
        return "\\n".join(f"{self.file}, column {self.column}{row}{value}: {self.message}".splitlines())


class DataError(ValueError):
    """The dataset breaks its format. `problems` holds what was found; the text is the first of them in one line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(f"{self.problems[0]}{more}")


def fail(file: str, column: str, message: str, value: object = "") -> DataError:
    """The error for what is wrong with a file or column as a whole."""
    return DataError([Problem(file, column, None, str(value), message)])


def read_table(folder: Path, stem: str) -> tuple[str, pl.DataFrame] | None:
    """The table `stem`.parquet or `stem`.csv with its file name; None where there is neither."""
    for suffix in (".parquet", ".csv"):
        path = folder / f"{stem}{suffix}"
        if path.exists():
            return path.name, read_file(path)
    return None


def read_required(folder: Path, stem: str) -> tuple[str, pl.DataFrame]:
    """The table `stem`, which must be there."""
    found = read_table(folder, stem)
    if found is None:
        raise fail(f"{stem}.parquet", "-", f"there is no {stem}.parquet or {stem}.csv in {folder}")
    return found


def _read_csv(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema=False)


def read_file(path: Path) -> pl.DataFrame:
    """One Parquet or CSV file; whatever the library finds wrong with it becomes one clear line."""
    reader: Callable[[Path], pl.DataFrame] = _read_csv if path.suffix == ".csv" else pl.read_parquet
    try:
        return reader(path)
    except FileNotFoundError:
        raise fail(path.name, "-", f"there is no file {path}") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, UnicodeDecodeError) as error:
        kind = "CSV" if path.suffix == ".csv" else "Parquet"
        reason = [*str(error).splitlines(), type(error).__name__][0]
        raise fail(path.name, "-", f"cannot be read as {kind} ({reason})") from None


def check_columns(file: str, table: pl.DataFrame, columns: Sequence[str], known: Sequence[str] = ()) -> None:
    """Every column of `columns` must be there, and where `known` is given, no other than those.

    A column that nobody reads is nearly always one that is misspelt: saying so beats leaving it out in silence.
    """
    for column in columns:
        if column not in table.columns:
            raise fail(file, column, f"the column is missing; the file has {', '.join(table.columns)}")
    for column in [c for c in table.columns if known and c not in known]:
        near = get_close_matches(column, known, 1)
        hint = f"; is {near[0]} meant?" if near else f"; known are {', '.join(known)}"
        raise fail(file, column, f"the column is not known{hint}")


def cast(
    file: str, table: pl.DataFrame, column: str, dtype: pl.DataType, what: str, problems: list[Problem] | None = None
) -> pl.DataFrame:
    """The table with one column cast.

    Args:
        file, table, column: where the values stand.
        dtype: what they should be.
        what: the same in words.
        problems: where given, values that cannot be cast become null and are named here.

    Raises:
        DataError: for a column of a wrong type; for a wrong value where `problems` is None.
    """
    before = table[column]
    if before.dtype == dtype and dtype != pl.Date:
        return table
    after = _converted(before, dtype)
    if after is None:
        raise fail(file, column, f"must be {what}", before.dtype)
    if dtype == pl.Date:
        after, what = _plausible(after), f"{what}, in the years {FIRST_YEAR} to {LAST_YEAR}"
    lost = after.is_null() & before.is_not_null()
    if before.dtype == pl.String:
        lost &= before != ""
    found = offences(file, table.with_columns(_readable(before)), column, lost, f"must be {what}")
    if found and problems is None:
        raise DataError(found)
    if problems is not None:
        problems += found
    return table.with_columns(after.alias(column))


def _readable(values: pl.Series) -> pl.Series:
    """Values for a message; dates as texts, and numbers of days where they are beyond all calendars."""
    if not values.dtype.is_temporal():
        return values
    if values.dtype not in (pl.Date, pl.Datetime):
        return values.to_physical()
    number = values.cast(pl.Date).to_physical()
    days = number.set(~number.is_between(CALENDAR[0], CALENDAR[1]), None).cast(pl.Date).dt.to_string("%Y-%m-%d")
    return days.fill_null(number.cast(pl.String)).alias(values.name)


def _plausible(days: pl.Series) -> pl.Series:
    """Dates, null outside the years 1970 to 2199: such a date is a typing error, and not every library can hold it."""
    number = days.to_physical()
    return days.set(~number.is_between(0, LAST_DAY), None)


def _converted(before: pl.Series, dtype: pl.DataType) -> pl.Series | None:
    """The column cast, null where a value does not fit; None where the types have nothing in common."""
    source = before.dtype
    if source == dtype:
        return before
    if source == pl.String and dtype == pl.Date:
        return before.str.to_date("%Y-%m-%d", strict=False)
    if dtype == pl.Boolean:
        return _flags(before)
    if dtype == pl.Date:
        fits = source == pl.Datetime
    elif dtype == pl.String:
        fits = source.is_numeric() or source in (pl.Boolean, pl.Date, pl.Categorical, pl.Enum)
    else:
        fits = source.is_numeric() or source == pl.String
    return before.cast(dtype, strict=False) if fits or source == pl.Null else None


def _flags(before: pl.Series) -> pl.Series | None:
    if before.dtype == pl.Null:
        return before.cast(pl.Boolean)
    if before.dtype == pl.String:
        words = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
        return before.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
    if before.dtype.is_numeric():
        numbers = {0.0: False, 1.0: True}
        return before.cast(pl.Float64).replace_strict(numbers, default=None, return_dtype=pl.Boolean)
    return None


def offences(file: str, table: pl.DataFrame, column: str, bad: pl.Expr | pl.Series, message: str) -> list[Problem]:
    """A problem for the first offending row of every series."""
    marked = table.with_row_index("row").filter(bad)
    if all(key in table.columns for key in KEY):
        marked = marked.unique(KEY, keep="first", maintain_order=True)
    return [
        Problem(file, column, int(row["row"]) + 1, _shown(row[column]), message, _series_of(row))
        for row in marked.iter_rows(named=True)
    ]


def _shown(value: object) -> str:
    if value is None or value == "":
        return ""
    return repr(value) if isinstance(value, str) else str(value)


def _series_of(row: dict[str, Any]) -> Series | None:
    if all(key in row for key in KEY):
        return str(row["item_id"] or ""), str(row["location_id"] or "")
    return None


def with_keys(file: str, table: pl.DataFrame, problems: list[Problem]) -> pl.DataFrame:
    """The table with text keys; an empty key is a problem, and "" from here on, so that it can be set aside too."""
    for column in KEY:
        table = cast(file, table, column, pl.String(), "text").with_columns(pl.col(column).fill_null(""))
    for column in KEY:
        problems += offences(file, table, column, pl.col(column) == "", "must not be empty")
        long = pl.col(column).str.len_chars() > MOST_CHARACTERS
        problems += offences(file, table, column, long, f"must have at most {MOST_CHARACTERS} characters")
    return table


def not_a_quantity(column: str) -> pl.Expr:
    """Known, and yet negative, beyond all that is plausible, or not a number."""
    value = pl.col(column)
    return value.is_not_null() & ~(value.is_finite() & value.is_between(0, MOST))


def set_aside_or_raise(problems: Sequence[Problem], set_aside: list[Problem] | None) -> set[Series]:
    """The series to leave out; the first problem of each cell goes to `set_aside`.

    Raises:
        DataError: where nothing may be set aside, or a problem is not one series' own.
    """
    cells: dict[tuple[str, str, int | None], Problem] = {}
    for problem in problems:
        cells.setdefault((problem.file, problem.column, problem.row), problem)
    found = sorted(cells.values(), key=lambda problem: problem.series is not None)
    if found and (set_aside is None or found[0].series is None):
        raise DataError(found)
    if set_aside is not None:
        set_aside += found
    return {problem.series for problem in found if problem.series is not None}
