"""The canonical items table: the caller's attributes where there are any, prices and costs derived where not.

Pure functions on tables; the rules they follow are stated in `importing.py`.
"""

from __future__ import annotations

import polars as pl

from orpr.import_report import Findings
from orpr.import_settings import MOST_DAYS, ImportSettings
from orpr.import_sources import Source, moment, number, text
from simulator.canonical import KEY, DataError, Problem
from simulator.item_table import ITEM_FLOATS, ITEM_TEXTS, ITEM_WHOLE
from simulator.tables import MOST

ATTRIBUTES = [*ITEM_TEXTS, *ITEM_FLOATS, *ITEM_WHOLE]


def series_of(lines: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """What the sales lines say of each series that sold: category and name last seen, median price of its sales."""
    said = (
        lines.sort("date", maintain_order=True)
        .group_by(KEY)
        .agg(
            pl.col("category", "name").drop_nulls().last(),
            pl.col("unit_price").filter((pl.col("quantity") > 0) & (pl.col("unit_price") > 0)).median().alias("paid"),
        )
    )
    return days.select(KEY).unique().join(said, on=KEY, how="left").sort(KEY)


def items_of(
    series: pl.DataFrame, source: Source | None, settings: ImportSettings, findings: Findings, *, sales: Source
) -> pl.DataFrame:
    """The canonical items table, one row per series.

    Args:
        series: as `series_of` gives them.
        source: the caller's items table, if any.
        settings: margin, carrying rate, defaults.
        findings: takes the counts.
        sales: named where no price can be found.

    Raises:
        DataError: naming file, column, row and value; also where nothing gives a price.
    """
    items = series if source is None else _attributed(series, source, settings, findings)
    absent = [pl.lit(None, pl.String).alias(c) for c in ITEM_TEXTS if c not in items.columns]
    absent += [pl.lit(None, pl.Float64).alias(c) for c in (*ITEM_FLOATS, *ITEM_WHOLE) if c not in items.columns]
    items = _priced(items.with_columns(absent), settings, findings)
    unpriced = items.filter(pl.any_horizontal(pl.col("lost_sale_cost", "holding_cost_per_day").is_null()))
    if not unpriced.is_empty():
        message = (
            "nothing gives a price: map unit_price in the sales, or give unit_price or unit_cost in an items table"
        )
        column = sales.theirs.get("unit_price", "unit_price")
        raise DataError([Problem(sales.file, column, None, "", f"{message} ({unpriced['item_id'][0]})")])
    for column, rule in (("lead_time_days", "lead_time_default"), ("review_period_days", "review_period_default")):
        findings.add(rule, items.filter(pl.col(column).is_null()))
    items = items.with_columns(
        pl.col("lead_time_days").fill_null(settings.lead_time_days).cast(pl.Int64),
        pl.col("review_period_days").fill_null(settings.review_period_days).cast(pl.Int64),
        pl.col("review_offset_days").fill_null(0).cast(pl.Int64),
        pl.col("min_order_qty", "order_multiple").fill_null(0.0),
    )
    kept = [c for c in ATTRIBUTES if c in items.columns and not items[c].is_null().all()]
    return items.select(*KEY, *kept)


def _attributed(series: pl.DataFrame, source: Source, settings: ImportSettings, findings: Findings) -> pl.DataFrame:
    """The series with the attributes of their row; a row without a location is meant for every location of the item."""
    table = _typed(source, settings)
    columns = [c for c in ATTRIBUTES if c in table.columns]
    twice = table.select(KEY).is_duplicated()
    source.refuse("item_id", twice, "this item (and location) stands here twice")
    everywhere = table.filter(pl.col("location_id").is_null()).drop("location_id")
    here = table.filter(pl.col("location_id").is_not_null())
    items = (
        series.with_columns(pl.lit(None, table.schema[c]).alias(c) for c in columns if c not in series.columns)
        .join(here.with_columns(pl.lit(value=True).alias("found_here")), on=KEY, how="left", suffix=":here")
        .join(everywhere.with_columns(pl.lit(value=True).alias("found")), on="item_id", how="left", suffix=":all")
    )
    items = items.with_columns(pl.coalesce(f"{c}:here", f"{c}:all", c).alias(c) for c in columns)
    findings.add("items_missing", items.filter(pl.col("found_here").is_null() & pl.col("found").is_null()))
    unmet = pl.concat(
        [
            here.join(series, on=KEY, how="anti").select(KEY),
            everywhere.join(series, on="item_id", how="anti").select("item_id", pl.lit("every location").alias(KEY[1])),
        ]
    )
    findings.add("items_unknown", unmet)
    return items.select(*series.columns, *(c for c in columns if c not in series.columns))


def _typed(source: Source, settings: ImportSettings) -> pl.DataFrame:
    """The items table with checked types: numbers of at least 0, whole days."""
    there = source.table.columns
    unknown = pl.repeat(None, source.table.height, dtype=pl.String, eager=True).alias("location_id")
    columns = [
        text(source, "item_id", required=True),
        text(source, "location_id") if "location_id" in there else unknown,
        *(text(source, column) for column in ITEM_TEXTS if column in there and column != "orderable_until"),
    ]
    if "orderable_until" in there:
        columns.append(moment(source, "orderable_until", settings, required=False).dt.to_string("%Y-%m-%d"))
    for column in (c for c in (*ITEM_FLOATS, *ITEM_WHOLE) if c in there):
        values = number(source, column, settings)
        if column in ITEM_WHOLE:
            least = 0 if column == "review_offset_days" else 1
            bad = ~values.is_between(least, MOST_DAYS) | (values != values.round())
            source.refuse(column, bad, f"must be a whole number from {least} to {MOST_DAYS}")
        source.refuse(column, values < 0, "must be at least 0")
        source.refuse(column, values > MOST, f"must be at most {MOST:g}")
        columns.append(values)
    return pl.DataFrame(columns)


def _priced(items: pl.DataFrame, settings: ImportSettings, findings: Findings) -> pl.DataFrame:
    """Price, cost, lost-sale cost and holding cost, each where it is missing."""
    positive = [pl.when(pl.col(c) > 0).then(c).alias(c) for c in ("unit_price", "unit_cost")]  # 0 means not entered
    items = items.with_columns(positive)
    known = pl.coalesce("unit_price", "paid", pl.col("unit_cost") / (1 - settings.margin))
    rules = {
        "price_from_sales": pl.col("paid"),
        "price_from_cost": pl.col("unit_cost") / (1 - settings.margin),
        "price_from_item": known.median().over("item_id"),
        "price_from_dataset": known.median(),
    }
    # Each rule fills what the ones before left open; the medians are of prices known before any of them is used.
    items = items.with_columns(value.alias(rule) for rule, value in rules.items())
    for rule in rules:
        findings.add(rule, items.filter(pl.col("unit_price").is_null() & pl.col(rule).is_not_null()))
        items = items.with_columns(pl.coalesce("unit_price", rule).alias("unit_price"))
    findings.add("cost_from_margin", items.filter(pl.col("unit_cost").is_null() & pl.col("unit_price").is_not_null()))
    items = items.with_columns(
        pl.coalesce("unit_cost", pl.col("unit_price") * (1 - settings.margin)).alias("unit_cost")
    )
    dear = (pl.col("unit_cost") >= pl.col("unit_price")) & pl.col("lost_sale_cost").is_null()
    findings.add("cost_not_below_price", items.filter(dear))
    profit = (pl.col("unit_price") - pl.col("unit_cost")).clip(lower_bound=0)
    holding = pl.col("unit_cost") * settings.carrying_rate / 365
    return items.with_columns(
        pl.coalesce("lost_sale_cost", profit).alias("lost_sale_cost"),
        pl.coalesce("holding_cost_per_day", holding).alias("holding_cost_per_day"),
    ).drop("paid", *rules)
