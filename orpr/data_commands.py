"""`orpr import | check | label | rules | pareto`: datasets, and what their past says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orpr.options import Data
from orpr.progress import SCREEN, progress_bars

app = typer.Typer()

Sales = Annotated[Path, typer.Option(help="Signed sales lines, CSV or Parquet.")]
Out = Annotated[Path, typer.Option(help="Folder of the canonical dataset to make.")]
Stock = Annotated[Path | None, typer.Option(help="Stock snapshots.")]
Items = Annotated[Path | None, typer.Option(help="Item attributes.")]
Column = Annotated[
    list[str] | None,
    typer.Option("--map", help="their=ours, for one column; repeat. sales.their=ours for one file."),
]
MapFile = Annotated[Path | None, typer.Option(help="The same pairs in a TOML file; --map wins over it.")]
Name = Annotated[str, typer.Option(help="The dataset's name.")]
Currency = Annotated[str, typer.Option(help="Of prices and costs.")]
Quantity = Annotated[str, typer.Option(help="discrete or continuous.")]
PeriodDays = Annotated[int, typer.Option(help="1 for days, 7 for weeks.")]
Margin = Annotated[float, typer.Option(help="Share of the price, where an item's cost is missing.")]
CarryingRate = Annotated[float, typer.Option(help="Cost of holding stock, share of its value a year.")]
LeadTimeDays = Annotated[int, typer.Option(help="Where an item has none.")]
ReviewPeriodDays = Annotated[int, typer.Option(help="Where an item has none.")]
ReturnDays = Annotated[int, typer.Option(help="How far back a return may cancel a sale.")]
LocationId = Annotated[str, typer.Option(help="For files without a location column.")]
IgnoreFreeReturns = Annotated[
    bool, typer.Option("--ignore-free-returns", help="Negative lines without a price are write-offs, not returns.")
]
DateFormat = Annotated[str | None, typer.Option(help="As in strptime; default YYYY-MM-DD.")]
DecimalComma = Annotated[bool, typer.Option("--decimal-comma", help="Numbers are written 1.234,5.")]
Separator = Annotated[str, typer.Option(help="Between CSV fields.")]
Encoding = Annotated[str, typer.Option(help="Of CSV files.")]
Replace = Annotated[bool, typer.Option("--replace", help="Replace a dataset that is there already.")]


@app.command("import")
def import_lines(
    sales: Sales, out: Out, stock: Stock = None, items: Items = None, column: Column = None,
    map_file: MapFile = None, name: Name = "imported", currency: Currency = "EUR",
    quantity: Quantity = "discrete", period_days: PeriodDays = 1, margin: Margin = 0.3,
    carrying_rate: CarryingRate = 0.25, lead_time_days: LeadTimeDays = 7,
    review_period_days: ReviewPeriodDays = 7, return_days: ReturnDays = 30, location_id: LocationId = "MAIN",
    ignore_free_returns: IgnoreFreeReturns = False, date_format: DateFormat = None,
    decimal_comma: DecimalComma = False, separator: Separator = ",", encoding: Encoding = "utf-8",
    replace: Replace = False,
) -> None:  # fmt: skip
    """Make a canonical dataset from sales lines and stock snapshots.

    Omitted days become zeros, returns cancel sales, negative stock becomes zero, missing costs come from the margin and
    the carrying rate. Every rule is stated in docs/import.md and counted in the report.
    """
    from orpr.importing import ColumnMap, ImportSettings, import_dataset

    mapping = ColumnMap.from_pairs(column or [])
    if map_file is not None:
        mapping = ColumnMap.from_toml(map_file).updated(mapping)
    settings = ImportSettings(
        name=name, currency=currency, quantity=quantity, period_days=period_days, margin=margin,
        carrying_rate=carrying_rate, lead_time_days=lead_time_days, review_period_days=review_period_days,
        return_days=return_days, location_id=location_id, ignore_free_returns=ignore_free_returns,
        date_format=date_format, decimal_comma=decimal_comma, separator=separator, encoding=encoding,
    )  # fmt: skip
    with progress_bars() as bars:
        report = import_dataset(
            sales, out, mapping=mapping, settings=settings, stock=stock, items=items, progress=bars, replace=replace
        )
    for line in report.as_lines():
        typer.echo(line)


@app.command()
def check(data: Data) -> None:
    """Read a dataset and say what is wrong with it, or what is in it."""
    from simulator.canonical import read_panel
    from simulator.stock import read_inventory, read_limits, read_orders

    panel = read_panel(data)
    for also in (read_inventory, read_orders, read_limits):
        also(panel, data)
    known = panel.units_sold == panel.units_sold
    typer.echo(
        f"{panel.name}: {panel.series_count} series, {panel.date_of(0)} to {panel.date_of(panel.last_recorded)}, "
        f"{int(known.sum())} recorded periods of {panel.period_days} days, {panel.quantity} quantities; no problem found"
    )


@app.command()
def label(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of Parquet files to write, or to bring up to date.")],
    test_days: Annotated[int, typer.Option(help="Leave the last days unlabelled.")] = 0,
    raw_sales: Annotated[bool, typer.Option("--raw-sales", help="Do not recover demand from stock-outs.")] = False,
) -> None:
    """Label every review of a history with its best days and its whole cost curve.

    Run again, it goes on where it stopped, and labels anew only what a grown or corrected history changes.
    """
    from orpr.labelling import write_labels
    from simulator.canonical import read_panel
    from simulator.panel import test_window

    panel = read_panel(data)
    end = test_window(panel, test_days).start if test_days else panel.last_recorded + 1
    with progress_bars() as report:
        done = write_labels(panel, data, out, end, report, recovered=not raw_sales)
    kept = f", {done.kept} of {done.files} files kept as they were" if done.kept else ""
    typer.echo(f"{out}: {done.labels} labels from {panel.series_count} series{kept}")


@app.command()
def rules(
    data: Data,
    days: Annotated[int, typer.Option(help="Length of the replayed window at the end of the history.")] = 364,
    out: Annotated[Path | None, typer.Option(help="Parquet file with one row per series and rule.")] = None,
) -> None:
    """What each pack, minimum, order day and day of lead time costs each series a year, in hindsight."""
    from orpr.rule_prices import price_rules, screen_tables
    from simulator.canonical import read_panel

    panel = read_panel(data)
    with progress_bars() as report:
        prices = price_rules(panel, data, days, out, report)
    for table in screen_tables(prices, panel.currency):
        SCREEN.print(table)


@app.command()
def pareto(
    data: Data,
    days: Annotated[int, typer.Option(help="Length of the window at the end of the history.")] = 90,
    points: Annotated[int, typer.Option(help="Service levels to solve.", min=2)] = 12,
    by_category: Annotated[bool, typer.Option("--by-category", help="Calibrate each category on its own too.")] = False,
    out: Annotated[Path | None, typer.Option(help="Parquet file with the days of every series at every point.")] = None,
) -> None:
    """Stock against lost sales in hindsight, over all service levels, and the level that real turnover implies.

    A `limits` file in the dataset bounds volume and budget of its locations.
    """
    from orpr.trade_off import category_table, screen_table, trade_off, write_trade_off
    from simulator.canonical import read_panel

    panel = read_panel(data)
    with progress_bars() as report:
        found = trade_off(panel, data, days, points, report, by_category=by_category)
    if out is not None:
        write_trade_off(found, panel, out)
    SCREEN.print(screen_table(found, panel.currency))
    if found.by_category is not None:
        SCREEN.print(category_table(found.by_category))
