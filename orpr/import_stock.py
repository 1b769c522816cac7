"""Stock snapshots: checked, cut to one a day, and what they say about each day's `in_stock`.

Pure functions on tables; the rules they follow are stated in `importing.py`. A snapshot stands at the end of its day.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

import polars as pl

from orpr.import_report import Findings
from orpr.import_settings import ImportSettings
from orpr.import_sources import Source, moment, number, text
from simulator.canonical import KEY

DAY = [*KEY, "date"]


def read_snapshots(source: Source, series: pl.DataFrame, settings: ImportSettings, findings: Findings) -> pl.DataFrame:
    """One snapshot per series and day: item_id, location_id, date, on_hand, on_order; sorted.

    Args:
        source: the caller's snapshots.
        series: item_id and location_id of the series that sold; snapshots of others are left out.
        settings: date format and decimal sign.
        findings: takes the counts.

    Raises:
        DataError: naming file, column, row and value.
    """
    there = "on_order" in source.table.columns
    unknown = pl.repeat(None, source.table.height, dtype=pl.Float64, eager=True)
    on_order = number(source, "on_order", settings) if there else unknown
    if there:
        source.refuse("on_order", on_order < 0, "must be at least 0")
    snapshots = pl.DataFrame(
        {
            "item_id": text(source, "item_id", required=True),
            "location_id": text(source, "location_id", required=True),
            "moment": moment(source, "date", settings),
            "on_hand": number(source, "on_hand", settings, required=True),
            "on_order": on_order,
        }
    ).with_columns(pl.col("moment").dt.date().alias("date"))
    strangers = snapshots.select(KEY).unique(maintain_order=True).join(series, on=KEY, how="anti")
    findings.add("stock_series_unknown", strangers)
    snapshots = snapshots.join(series, on=KEY, how="semi", maintain_order="left")
    snapshots = snapshots.sort(*KEY, "moment", maintain_order=True)
    repeated = ~pl.struct(DAY).is_last_distinct()
    findings.add("stock_repeated", snapshots.filter(repeated), show=DAY)
    snapshots = snapshots.filter(~repeated)
    findings.add("stock_negative", snapshots.filter(pl.col("on_hand") < 0), units="on_hand", show=[*DAY, "on_hand"])
    return snapshots.select(*DAY, pl.col("on_hand").clip(lower_bound=0), "on_order")


def latest_stock(snapshots: pl.DataFrame, series: pl.DataFrame, last: date, findings: Findings) -> pl.DataFrame:
    """The newest snapshot of each series: item_id, location_id, on_hand."""
    newest = snapshots.group_by(KEY, maintain_order=True).last()
    findings.add("stock_missing", series.join(newest, on=KEY, how="anti"))
    findings.add("stock_before_the_end", newest.filter(pl.col("date") < last), show=DAY)
    findings.add("stock_after_the_end", newest.filter(pl.col("date") > last), show=DAY)
    return newest.select(*KEY, "on_hand")


def with_in_stock(days: pl.DataFrame, snapshots: pl.DataFrame | None, findings: Findings) -> pl.DataFrame:
    """The days with `in_stock`: 1, 0 or null (unknown).

    Args:
        days: item_id, location_id, date, sold, launched; without gaps, sorted by series and date.
        snapshots: one per series and day, or None where there are none.
        findings: takes the counts.
    """
    unlaunched = pl.when(~pl.col("launched")).then(0.0)
    if snapshots is None:
        return days.with_columns(unlaunched.otherwise(1.0).alias("in_stock"))
    seen = _between_snapshots(days, snapshots)
    gap = [*KEY, "before_date", "after_date"]  # the days after one snapshot up to and including the next
    sale = pl.when("sold").then("date")
    before_sale = (pl.col("date") < sale.min().over(gap)).fill_null(value=True)
    from_last_sale = (pl.col("date") >= sale.max().over(gap)).fill_null(value=True)
    arrived = (pl.col("date") == pl.col("after_date")).fill_null(value=False)
    before, after = pl.col("before_empty").fill_null(value=False), pl.col("after_empty").fill_null(value=False)
    no_sale = sale.max().over(gap).is_null()
    in_stock = (
        unlaunched.when(before & after & no_sale)
        .then(0.0)
        .when(after & from_last_sale)
        .then(None)
        .when(before & before_sale & ~arrived)
        .then(None)
        .otherwise(1.0)
    )
    days = seen.with_columns(in_stock.alias("in_stock")).sort(DAY).select(*days.columns, "in_stock")
    findings.add("days_out_of_stock", days.filter("launched", pl.col("in_stock") == 0), show=DAY)
    findings.add("days_stock_unknown", days.filter(pl.col("in_stock").is_null()), show=DAY)
    return days


def _between_snapshots(days: pl.DataFrame, snapshots: pl.DataFrame) -> pl.DataFrame:
    """The days with the date of the snapshot before and of the next one, and whether they were empty; null where none."""
    seen, ends = days.sort("date"), snapshots.sort("date")
    sides: tuple[tuple[str, Literal["backward", "forward"]], ...] = (("before", "backward"), ("after", "forward"))
    for side, strategy in sides:
        exact = side == "after"  # a day's own snapshot stands at its end
        empty = (pl.col("on_hand") <= 0).alias(f"{side}_empty")
        right = ends.select(*DAY, pl.col("date").alias(f"{side}_date"), empty)
        seen = seen.join_asof(
            right, on="date", by=KEY, strategy=strategy, allow_exact_matches=exact, check_sortedness=False
        )
    return seen
