"""Signed sales lines become one row per series and day: returns placed, empty days filled, weeks summed.

Pure functions on tables; the rules they follow are stated in `importing.py`. Knows nothing of files or stock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from orpr.import_report import Findings
from orpr.import_settings import ImportSettings
from orpr.import_sources import Source, flag, moment, number, text
from simulator.canonical import KEY, DataError, Problem

DAY = [*KEY, "date"]


@dataclass(frozen=True)
class Lines:
    """The sales lines that count, and the span they cover.

    `table`: item_id, location_id, date, quantity (signed units), unit_price, promotion, category, name; one row a line.
    """

    table: pl.DataFrame
    first: date  # of the first period
    last: date  # the last day of the last complete period
    origin: date  # reviews, and weeks, count from it
    total: float  # signed units of every line of the file
    set_aside: float  # signed units of the lines that a rule left out


def read_lines(source: Source, settings: ImportSettings, findings: Findings) -> Lines:
    """The typed lines, less those that the settings set aside.

    Raises:
        DataError: naming file, column, row and value; also where no complete week or no sale is left.
    """
    lines = _typed(source, settings)
    total = float(lines["quantity"].sum())
    if settings.quantity == "discrete":
        odd = lines.filter(pl.col("quantity") != pl.col("quantity").round())
        findings.add("fractional_quantities", odd, show=[*DAY, "quantity"])
    if settings.ignore_free_returns:
        free = (pl.col("quantity") < 0) & (pl.col("unit_price").fill_null(0.0) <= 0)
        findings.add("free_returns_ignored", lines.filter(free), units="quantity", show=[*DAY, "quantity"])
        lines = lines.filter(~free)
    if not (lines["quantity"] > 0).any():
        raise DataError([Problem(source.file, source.theirs["quantity"], None, "", "no line is a sale (above 0)")])
    first: date = lines["date"].min()  # type: ignore[assignment]
    last: date = lines["date"].max()  # type: ignore[assignment]
    origin = settings.review_origin or first
    first -= timedelta(days=(first - origin).days % settings.period_days)
    last -= timedelta(days=((last - origin).days + 1) % settings.period_days)
    late = lines.filter(pl.col("date") > last)
    findings.add("incomplete_week_left_out", late, units="quantity", show=[*DAY, "quantity"])
    lines = lines.filter(pl.col("date") <= last)
    if not (lines["quantity"] > 0).any():
        message = f"no complete week with a sale; weeks start on the weekday of {origin}"
        raise DataError([Problem(source.file, source.theirs["date"], None, "", message)])
    return Lines(lines, first, last, origin, total, total - float(lines["quantity"].sum()))


def _typed(source: Source, settings: ImportSettings) -> pl.DataFrame:
    there = source.table.columns
    unknown = pl.repeat(None, source.table.height, eager=True)
    price, promotion = unknown.cast(pl.Float64), unknown.cast(pl.Boolean)
    return pl.DataFrame(
        {
            "item_id": text(source, "item_id", required=True),
            "location_id": text(source, "location_id", required=True),
            "date": moment(source, "date", settings).dt.date(),
            "quantity": number(source, "quantity", settings, required=True),
            "unit_price": number(source, "unit_price", settings) if "unit_price" in there else price,
            "promotion": flag(source, "promotion") if "promotion" in there else promotion,
            **{c: text(source, c) if c in there else unknown.cast(pl.String) for c in ("category", "name")},
        }
    )


def days_of(lines: Lines, settings: ImportSettings, findings: Findings) -> tuple[pl.DataFrame, float]:
    """Demand by day, and the units of returns that no sale could take.

    Returns:
        item_id, location_id, date, units_sold, sold (a sale fell on the day), launched (the first sale has been),
        value and priced (currency and units of the priced sale lines), promotion; without gaps, sorted by series and
        date. And the unplaced returns, in units, positive.
    """
    sale = pl.col("quantity") > 0
    priced = sale & (pl.col("unit_price") > 0)
    free = lines.table.filter(sale & ~(pl.col("unit_price") > 0).fill_null(value=False))
    if lines.table["unit_price"].is_not_null().any():
        findings.add("prices_not_positive", free, show=DAY)
    daily = (
        lines.table.group_by(DAY)
        .agg(
            pl.col("quantity").sum().round(6).alias("signed"),  # sums of 0.1 leave crumbs that look like returns
            pl.col("quantity").filter(sale).sum().alias("gross"),
            (pl.col("quantity") * pl.col("unit_price")).filter(priced).sum().alias("value"),
            pl.col("quantity").filter(priced).sum().alias("priced"),
            pl.when(pl.col("promotion").is_not_null().any()).then(pl.col("promotion").any()).alias("promotion"),
        )
        .sort(DAY)
        .with_columns((pl.col("gross") > 0).alias("sold"))
    )
    daily, unplaced = place_returns(daily, settings.return_days, findings)
    return _filled(daily, lines, settings, findings), unplaced


def place_returns(daily: pl.DataFrame, return_days: int, findings: Findings) -> tuple[pl.DataFrame, float]:
    """Net units by day without negatives: what a day returns beyond its sales goes back to earlier days, newest first.

    Args:
        daily: item_id, location_id, date, signed (net units), gross (units of sale lines); sorted by series and date.
        return_days: how many days back a return may be placed.
        findings: takes the counts.

    Returns:
        `daily` with `units_sold` in place of `signed` and `gross`, and the units that could not be placed.
    """
    netted = daily.with_columns(pl.min_horizontal("gross", pl.col("gross") - pl.col("signed")).alias("netted"))
    netted = netted.filter((pl.col("gross") > 0) & (pl.col("netted") > 1e-6))
    findings.add("returns_same_day", netted, units="netted", show=DAY)
    units: list[float] = daily["signed"].to_list()
    days = daily["date"].cast(pl.Int32).to_list()
    series = daily.select(pl.struct(KEY).rle_id()).to_series().to_list()
    carried, left = [0.0] * len(units), [0.0] * len(units)
    stack: list[int] = []  # rows of this series that still hold sales, newest on top
    for row, net in enumerate(units):
        if row and series[row] != series[row - 1]:
            stack.clear()
        if net > 0:
            stack.append(row)
            continue
        owed, units[row] = -net, 0.0
        while owed > 0 and stack and days[row] - days[stack[-1]] <= return_days:
            taken = min(owed, units[stack[-1]])
            owed, units[stack[-1]] = owed - taken, units[stack[-1]] - taken
            carried[row] += taken
            if units[stack[-1]] <= 0:
                stack.pop()
        left[row] = owed
    placed = daily.with_columns(pl.Series("carried", carried), pl.Series("left", left))
    findings.add("returns_carried_back", placed.filter(pl.col("carried") > 0), units="carried", show=DAY)
    findings.add("returns_unplaced", placed.filter(pl.col("left") > 0), units="left", show=[*DAY, "left"])
    return daily.with_columns(pl.Series("units_sold", units)).drop("signed", "gross"), sum(left)


def _filled(daily: pl.DataFrame, lines: Lines, settings: ImportSettings, findings: Findings) -> pl.DataFrame:
    """A row for every day from a series' first sale (in weeks: from the start of that week) to the last date."""
    start = pl.col("launch") - pl.duration(
        days=(pl.col("launch") - lines.origin).dt.total_days() % settings.period_days
    )
    spans = daily.filter("sold").group_by(KEY).agg(pl.col("date").min().alias("launch")).sort(KEY)
    never = daily.select(KEY).unique(maintain_order=True).join(spans, on=KEY, how="anti")
    findings.add("series_never_sold", never)
    grid = spans.select(*KEY, "launch", pl.date_ranges(start, pl.lit(lines.last)).alias("date")).explode("date")
    filled = grid.join(daily.with_columns(pl.lit(value=True).alias("line")), on=DAY, how="left", maintain_order="left")
    launched = pl.col("date") >= pl.col("launch")
    findings.add("days_filled", filled.filter(pl.col("line").is_null() & launched), show=DAY)
    return filled.select(
        *DAY,
        pl.col("units_sold", "value", "priced").fill_null(0.0),
        pl.col("sold").fill_null(value=False),
        launched.alias("launched"),
        "promotion",
    )


def demand_of(days: pl.DataFrame, lines: Lines, settings: ImportSettings) -> pl.DataFrame:
    """The canonical demand table from days with `in_stock`; weeks are summed, their `in_stock` is the known days' mean."""
    step = settings.period_days
    first_day = pl.col("date") - pl.duration(days=(pl.col("date") - lines.origin).dt.total_days() % step)
    periods = days.group_by(*KEY, first_day.alias("date")).agg(
        pl.col("units_sold", "value", "priced").sum(),
        pl.col("in_stock").mean(),
        pl.when(pl.col("promotion").is_not_null().any()).then(pl.col("promotion").any()).alias("promotion"),
    )
    price = pl.when(pl.col("priced") > 0).then(pl.col("value") / pl.col("priced")).cast(pl.Float32).alias("price")
    demand = periods.sort(DAY).select(*DAY, pl.col("units_sold", "in_stock").cast(pl.Float32), price, "promotion")
    return demand.drop(c for c in ("price", "promotion") if demand[c].is_null().all())
