"""`orpr import`: signed sales lines and stock snapshots become a canonical dataset. Every rule stands here, once.

The names in backquotes are the findings under which `import_report.json` counts a rule; no case, no finding.

**Lines.** A line is one row of the sales file: item, location, date, signed quantity; price, promotion, category and
name where there are any. Text is stripped; a file without locations gets the one of the settings. A date and time is
cut to its date on the wall clock; a column that fits the settings' date format nowhere may be YYYY-MM-DD. A line that cannot be read is refused, never skipped. All lines of a series and day
are summed. Fractions in a discrete dataset are kept (`fractional_quantities`).

**Returns** are negative quantities. They are netted against the same series' sales of the day of return
(`returns_same_day`); where the day's net is negative it becomes 0 and the rest is taken from the series' sales of
earlier days, newest first, at most `return_days` back (`returns_carried_back`); what meets no sale is left out
(`returns_unplaced`). So `units_sold` is never negative, and units of all lines = units sold - returns unplaced.
On request, negative lines at a price of 0 or less, or none, are write-offs rather than returns and are set aside
(`free_returns_ignored`); off by default.

**Days.** A series begins with its first sale and ends with the last date of the whole file; days without a line are
0 (`days_filled`). A series with lines but no sale is left out (`series_never_sold`). `promotion` is true where any line
of the day says so, false where none does but some know, else null. `price` is the quantity-weighted mean of the day's
sale lines, null on days without one; a price of 0, below 0 or empty is no price (`prices_not_positive`).
Weeks start on the weekday of `review_origin` (default: the first date of the file) and are the sum of their days;
lines after the last complete week are left out (`incomplete_week_left_out`); a week's `in_stock` is the mean of its
known days, days before the first sale counting 0.

**Stock.** A snapshot is the stock at the end of its date; of several on one day the latest counts, by time, then by row
(`stock_repeated`). Below 0 becomes 0 (`stock_negative`). Snapshots of series without a sale are left out
(`stock_series_unknown`). All go to inventory.parquet, the newest of each series to state.parquet, also where it is not
from the last date (`stock_before_the_end`, `stock_after_the_end`).
`in_stock` is 1 from the first sale on, and without snapshots that is all (`stock_missing`). With snapshots, between
one and the next: both 0 and no sale, every day is 0 (`days_out_of_stock`); ending at 0, the last day with a sale and
the days after it are unknown, null (`days_stock_unknown`), for when the stock ran out is not recorded; beginning at 0,
the days before the first sale are unknown too, but the day that ends with stock counts as in stock. The same holds
after the last snapshot and before the first, where only one side is known.

**Items.** Attributes come from the items table: the row of the series, else the item's row without a location; a series
may have none (`items_missing`), a row may meet no series (`items_unknown`). Category and name fall back to the last ones
in the lines. A price or cost of 0 counts as missing. `unit_price`: else the median of the series' sale lines
(`price_from_sales`), else `unit_cost / (1 - margin)` (`price_from_cost`), else the item's median over its locations
(`price_from_item`), else the median over all series (`price_from_dataset`). `unit_cost`: else
`unit_price * (1 - margin)` (`cost_from_margin`). `lost_sale_cost`: else `unit_price - unit_cost`, at least 0
(`cost_not_below_price`). `holding_cost_per_day`: else `unit_cost * carrying_rate / 365`. Lead time and review period:
else the settings' (`lead_time_default`, `review_period_default`). Minimum, multiple and review offset: else 0.

Nothing is written unless all of it succeeded and `read_panel` accepts it: the folder is built beside `out` and renamed.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from orpr.import_items import items_of, series_of
from orpr.import_report import Finding, Findings, ImportReport
from orpr.import_sales import Lines, days_of, demand_of, read_lines
from orpr.import_settings import ColumnMap, ImportSettings
from orpr.import_sources import Source, check_map_is_used, read_source
from orpr.import_stock import latest_stock, read_snapshots, with_in_stock
from simulator.canonical import KEY, read_panel

__all__ = ["STAGES", "ColumnMap", "Finding", "ImportReport", "ImportSettings", "import_dataset"]

STAGES = ("reading files", "placing returns", "reading stock", "deriving prices and costs", "writing", "checking")


def import_dataset(
    sales: Path,
    out: Path,
    *,
    mapping: ColumnMap,
    settings: ImportSettings,
    stock: Path | None = None,
    items: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
    replace: bool = False,
) -> ImportReport:
    """Turn sales lines, stock snapshots and an items table into the canonical folder `out`.

    Args:
        sales: CSV or Parquet, one row a line: item, location, date, signed quantity in units, and more.
        out: the folder to make; its parents are made too.
        mapping: which of the caller's columns is which.
        settings: name, units, defaults and how CSV is written.
        stock: snapshots: item, location, date, on_hand in units.
        items: attributes by item, or by item and location.
        progress: called as each stage begins, and at the end, with its name, the stages done and their number.
        replace: put the new dataset in the place of the one in `out`.

    Raises:
        DataError: naming file, column, row and value; nothing has been written then.
        ValueError: if `out` may not be written, or if a pair of the mapping meets no column.
    """
    _check_out(out, [path for path in (sales, stock, items) if path is not None], replace=replace)

    def begin(stage: int) -> None:
        progress(STAGES[min(stage, len(STAGES) - 1)], stage, len(STAGES))

    begin(0)
    files = _read_files(sales, stock, items, mapping, settings)
    tables, about, report = _converted(files, settings, begin)
    begin(4)
    with _staged(out) as folder:
        _write(folder, tables, about, report)
        begin(5)
        read_panel(folder)
    begin(6)
    return report


def _converted(
    files: _Files, settings: ImportSettings, begin: Callable[[int], None]
) -> tuple[dict[str, pl.DataFrame], dict[str, str | int], ImportReport]:
    """The canonical tables by file stem, what dataset.json says, and the report."""
    begin(1)
    findings = Findings()
    lines = read_lines(files.sales, settings, findings)
    days, unplaced = days_of(lines, settings, findings)
    begin(2)
    series = series_of(lines.table, days)
    tables, snapshots = {}, None
    if files.stock is not None:
        snapshots = read_snapshots(files.stock, series.select(KEY), settings, findings)
        tables = {"inventory": snapshots, "state": latest_stock(snapshots, series, lines.last, findings)}
    tables["demand"] = demand_of(with_in_stock(days, snapshots, findings), lines, settings)
    begin(3)
    tables["items"] = items_of(series, files.items, settings, findings, sales=files.sales)
    report = _report(files.sales, lines, tables, unplaced, settings, findings)
    return tables, _about(files.sales, lines, settings), report


@dataclass(frozen=True)
class _Files:
    sales: Source
    stock: Source | None
    items: Source | None


def _read_files(
    sales: Path, stock: Path | None, items: Path | None, mapping: ColumnMap, settings: ImportSettings
) -> _Files:
    for kind, path in (("stock", stock), ("items", items)):
        if path is None and getattr(mapping, kind):
            raise ValueError(f"map: columns of {kind} are mapped, but no {kind} file is given")
    files = _Files(
        read_source(sales, "sales", mapping, settings),
        None if stock is None else read_source(stock, "stock", mapping, settings),
        None if items is None else read_source(items, "items", mapping, settings),
    )
    check_map_is_used(mapping, [source for source in (files.sales, files.stock, files.items) if source is not None])
    return files


def _report(
    sales: Source,
    lines: Lines,
    tables: dict[str, pl.DataFrame],
    unplaced: float,
    settings: ImportSettings,
    findings: Findings,
) -> ImportReport:
    return ImportReport(
        name=settings.name,
        period_days=settings.period_days,
        series=tables["items"].height,
        rows=tables["demand"].height,
        first_date=tables["demand"]["date"].min(),  # type: ignore[arg-type]
        last_date=lines.last,
        lines=sales.table.height,
        units_in_lines=lines.total,
        units_sold=float(tables["demand"]["units_sold"].cast(pl.Float64).sum()),
        units_unplaced=unplaced,
        units_set_aside=lines.set_aside,
        findings=tuple(findings.found),
    )


def _about(sales: Source, lines: Lines, settings: ImportSettings) -> dict[str, str | int]:
    return {
        "name": settings.name,
        "period_days": settings.period_days,
        "currency": settings.currency,
        "quantity": settings.quantity,
        "source": settings.source or f"imported from {sales.file}",
        "review_origin": lines.origin.isoformat(),
        "promotion_known_ahead_days": settings.promotion_known_ahead_days,
        "price_known_ahead_days": 0,
    }


def _write(folder: Path, tables: dict[str, pl.DataFrame], about: dict[str, str | int], report: ImportReport) -> None:
    for stem, table in tables.items():
        table.write_parquet(folder / f"{stem}.parquet")
    for name, content in (("dataset.json", about), ("import_report.json", report.as_json())):
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / name).write_text(f"{text}\n", encoding="utf-8")


def _check_out(out: Path, sources: list[Path], *, replace: bool) -> None:
    """`out` is free, or may be replaced: a dataset of ours that holds none of the files to be read.

    Raises:
        ValueError: naming the folder.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"out: must be a folder, got the file {out}")
    if not any(out.iterdir()):
        return
    if not replace:
        raise ValueError(f"out: the folder {out} is not empty; name another, or replace it explicitly")
    if not (out / "dataset.json").is_file():
        raise ValueError(f"out: the folder {out} is not replaced, for it holds no dataset.json and so no dataset")
    for source in sources:
        if source.resolve().is_relative_to(out.resolve()):
            raise ValueError(f"out: the folder {out} is not replaced, for {source.name} lies in it")


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place if the block succeeds, and vanishes if it does not."""
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(4)
    folder, old = out.parent / f".{out.name}.new-{mark}", out.parent / f".{out.name}.old-{mark}"
    folder.mkdir()
    try:
        yield folder
        if out.exists():
            out.rename(old)
        try:
            folder.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
