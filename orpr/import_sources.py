"""The importer's reading edge: the caller's file becomes a table with our column names and typed values.

Whatever cannot be read is refused here, naming file, column (as the caller calls it), row and value. It does not know
what a return, a stock-out or a price means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from orpr.import_settings import REQUIRED, TARGETS, ColumnMap, ImportSettings
from simulator.canonical import DataError, Problem, cast, check_columns, read_file

ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?(Z|[+-]\d{2}:?\d{2})?$"
GROUPED_COMMA = r"^[+-]?\d{1,3}(\.\d{3})+(,\d+)?$"  # 1.234.567,5
PLAIN_COMMA = r"^[+-]?\d*,?\d*$"
EARLIEST, LATEST = datetime(1970, 1, 1), datetime(2100, 1, 1)  # noqa: DTZ001 - business time has no zone


@dataclass(frozen=True)
class Source:
    """One file of the caller: our column names, values still as they were read."""

    file: str
    table: pl.DataFrame
    theirs: Mapping[str, str]  # our name -> the caller's
    rows: pl.Series  # the row of the file each row of the table stands in, from 1

    def problem(self, column: str, position: int, message: str) -> DataError:
        value = self.table[column][position]
        shown = "" if value is None else repr(value)
        return DataError([Problem(self.file, self.theirs[column], int(self.rows[position]), shown, message)])

    def refuse(self, column: str, bad: pl.Series, message: str) -> None:
        """Raise for the first row that `bad` marks."""
        marked = bad.fill_null(value=False).arg_true()
        if len(marked):
            raise self.problem(column, int(marked[0]), message)


def _columns_of(kind: str, file: str, table: pl.DataFrame, mapping: ColumnMap) -> dict[str, str]:
    """Our name -> the caller's, for the columns of one file."""
    own: Mapping[str, str] = getattr(mapping, kind)
    check_columns(file, table, list(own))
    pairs = list(own.items())
    taken = set(own.values())
    for theirs, ours in mapping.any_file.items():
        if theirs in table.columns and theirs not in own and ours in TARGETS[kind] and ours not in taken:
            pairs.append((theirs, ours))
    taken, used = {ours for _, ours in pairs}, {theirs for theirs, _ in pairs}
    pairs += [(c, c) for c in table.columns if c in TARGETS[kind] and c not in taken and c not in used]
    found: dict[str, str] = {}
    for theirs, ours in pairs:
        if ours in found:
            raise DataError([Problem(file, theirs, None, "", f"{ours} is mapped to {found[ours]} too")])
        found[ours] = theirs
    for ours in REQUIRED[kind]:
        if ours not in found:
            message = f"no column is mapped to it; the file has {', '.join(table.columns)}"
            raise DataError([Problem(file, ours, None, "", message)])
    return found


def read_source(path: Path, kind: str, mapping: ColumnMap, settings: ImportSettings) -> Source:
    """One of the caller's files with our column names; text is stripped, empty text is null, empty rows are dropped.

    Args:
        path: a Parquet file (.parquet, .pq), else CSV in the settings' separator and encoding.
        kind: `sales`, `stock` or `items`.
        mapping: which column is which.
        settings: how CSV is written, and the location where the file has none.

    Raises:
        DataError: if the file cannot be read, has no rows, or lacks a column.
    """
    raw = read_file(path) if path.suffix.lower() in {".parquet", ".pq"} else _csv(path, settings)
    theirs = _columns_of(kind, path.name, raw, mapping)
    table = raw.select(pl.col(column).alias(ours) for ours, column in theirs.items())
    texts = [column for column, dtype in table.schema.items() if dtype == pl.String]
    table = table.with_columns(pl.col(texts).str.strip_chars().replace("", None)).with_row_index("row", offset=1)
    table = table.filter(~pl.all_horizontal(pl.exclude("row").is_null()))
    if table.is_empty():
        raise DataError([Problem(path.name, "-", None, "", "the file has no rows")])
    rows = table["row"]
    table = table.drop("row")
    if "location_id" not in table.columns and kind != "items":
        table = table.with_columns(pl.lit(settings.location_id).alias("location_id"))
        theirs["location_id"] = "location_id"
    return Source(path.name, table, theirs, rows)


def _csv(path: Path, settings: ImportSettings) -> pl.DataFrame:
    encoding = settings.encoding.lower().replace("_", "-")
    chosen = "utf8" if encoding in {"utf8", "utf-8", "utf-8-sig"} else settings.encoding
    try:
        return pl.read_csv(path, infer_schema=False, separator=settings.separator, encoding=chosen)
    except FileNotFoundError:
        message = f"there is no file {path}"
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        reason = [*str(error).splitlines(), type(error).__name__][0]
        message = f"cannot be read as CSV in {settings.encoding}, separated by {settings.separator!r} ({reason})"
    raise DataError([Problem(path.name, "-", None, "", message)])


def check_map_is_used(mapping: ColumnMap, sources: Sequence[Source]) -> None:
    """Every pair must have met a column: a misspelt one would otherwise be ignored in silence.

    Raises:
        ValueError: naming the pairs that met none.
    """
    used = {theirs for source in sources for theirs in source.theirs.values()}
    idle = [f"{theirs}={ours}" for theirs, ours in mapping.any_file.items() if theirs not in used]
    if idle:
        raise ValueError(f"map: {', '.join(idle)} meets no column of {', '.join(s.file for s in sources)}")


def text(source: Source, column: str, *, required: bool = False) -> pl.Series:
    """The column as text."""
    values = source.table[column]
    if required:
        source.refuse(column, values.is_null(), "must not be empty")
    frame = pl.DataFrame({source.theirs[column]: values})
    return cast(source.file, frame, source.theirs[column], pl.String(), "text").to_series().alias(column)


def _accepted(source: Source, column: str, parsed: pl.Series, what: str, *, required: bool) -> pl.Series:
    """`parsed`, once nothing was lost in parsing."""
    source.refuse(column, parsed.is_null() & source.table[column].is_not_null(), f"must be {what}")
    if required:
        source.refuse(column, parsed.is_null(), "must not be empty")
    return parsed.alias(column)


def number(source: Source, column: str, settings: ImportSettings, *, required: bool = False) -> pl.Series:
    """The column as finite float64; text follows the settings' decimal sign."""
    values = source.table[column]
    comma = settings.decimal_comma and values.dtype == pl.String
    if comma:
        grouped = values.str.contains(GROUPED_COMMA)
        plain = values.str.contains(PLAIN_COMMA)
        bare = values.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
        values = pl.select(pl.when(grouped | plain).then(bare)).to_series()
    try:
        parsed = values.cast(pl.Float64, strict=False)
    except pl.exceptions.PolarsError:
        raise source.problem(column, 0, "must be a number") from None
    finite = pl.select(pl.when(parsed.is_finite()).then(parsed)).to_series()
    sign = "a comma" if comma else "a point"
    what = f"a number with {sign} as decimal sign" if source.table[column].dtype == pl.String else "a number"
    return _accepted(source, column, finite, what, required=required)


def flag(source: Source, column: str) -> pl.Series:
    """The column as true, false or null."""
    frame = pl.DataFrame({source.theirs[column]: source.table[column]})
    return cast(source.file, frame, source.theirs[column], pl.Boolean(), "true or false").to_series().alias(column)


def moment(source: Source, column: str, settings: ImportSettings, *, required: bool = True) -> pl.Series:
    """The column as local date and time; a zone or offset is dropped, the clock on the wall counts."""
    values = source.table[column]
    if values.dtype == pl.Date:
        parsed = values.cast(pl.Datetime("us"))
    elif isinstance(values.dtype, pl.Datetime):
        parsed = values.dt.replace_time_zone(None).cast(pl.Datetime("us"))
    else:
        parsed = _moment_of_text(values.cast(pl.String, strict=False), settings.date_format)
    inside = parsed.is_between(pl.lit(EARLIEST), pl.lit(LATEST)) if len(parsed) else parsed
    bounded = pl.select(pl.when(inside).then(parsed)).to_series()
    what = f"a date from 1970 to 2100 written {settings.date_format or 'YYYY-MM-DD (a time may follow)'}"
    return _accepted(source, column, bounded, what, required=required)


def _moment_of_text(texts: pl.Series, date_format: str | None) -> pl.Series:
    """In the format; else, and where a column fits the format nowhere (another system's file), as YYYY-MM-DD."""
    if date_format is not None:
        parsed = texts.str.to_datetime(date_format, strict=False, time_unit="us").dt.replace_time_zone(None)
        if parsed.is_not_null().any():
            return parsed
    iso = pl.select(pl.when(texts.str.contains(ISO)).then(texts)).to_series()
    clock = iso.str.slice(11, 8).str.extract(r"^(\d{2}:\d{2}(:\d{2})?)", 1).fill_null("00:00:00")
    clock = pl.select(pl.when(clock.str.len_chars() == 5).then(clock + ":00").otherwise(clock)).to_series()
    return (iso.str.slice(0, 10) + " " + clock).str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="us")
