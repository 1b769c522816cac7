"""What an import found, counted: the one report, as plain lines and as JSON.

Every rule of `importing.py` that met a case is a `Finding`. This module counts and words; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import polars as pl

EXAMPLES = 3  # how many cases a finding shows

SENTENCES = {
    "days_filled": "days without a line, written as zero sales",
    "returns_same_day": "days on which returns were netted against the same day's sales",
    "returns_carried_back": "days whose returns were carried back, in whole or in part, to sales of earlier days",
    "returns_unplaced": "days whose returns, in whole or in part, met no sale within the limit and were left out",
    "free_returns_ignored": "negative lines without a price, set aside as write-offs",
    "incomplete_week_left_out": "lines after the last complete week, left out",
    "series_never_sold": "series with lines but no sale, left out",
    "fractional_quantities": "lines with a fraction of a unit in a discrete dataset, kept as they are",
    "prices_not_positive": "sale lines without a price above 0, not counted into any price",
    "stock_negative": "snapshots below 0, set to 0",
    "stock_repeated": "snapshots followed by another of the same series and day, left out",
    "stock_series_unknown": "series with snapshots but no sale, left out",
    "stock_missing": "series without any snapshot: not in state.parquet, in stock from their first sale on",
    "stock_before_the_end": "series whose latest snapshot is older than the last date of the sales",
    "stock_after_the_end": "series whose latest snapshot is newer than the last date of the sales",
    "days_out_of_stock": "days out of stock, by the snapshots",
    "days_stock_unknown": "days on which it is unknown whether stock was there",
    "items_unknown": "rows of the items table that meet no series, left out",
    "items_missing": "series without a row in the items table",
    "price_from_sales": "series whose price is the median of their sale lines",
    "price_from_cost": "series whose price is their cost / (1 - margin)",
    "price_from_item": "series whose price is the median of the same item elsewhere",
    "price_from_dataset": "series whose price is the median of all series, for want of anything closer",
    "cost_from_margin": "series whose cost is their price x (1 - margin)",
    "cost_not_below_price": "series that cost as much as they sell for, or more: a lost sale costs them 0",
    "lead_time_default": "series with the default lead time",
    "review_period_default": "series with the default review period",
}


@dataclass(frozen=True)
class Finding:
    """How often a rule met a case. `units` are units of goods, where the rule moves any."""

    rule: str
    count: int
    units: float | None = None
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        units = "" if self.units is None else f" ({self.units:,.10g} units)"
        shown = f"; such as {', '.join(self.examples)}" if self.examples else ""
        return f"{self.count:,} {SENTENCES[self.rule]}{units}{shown}"


@dataclass
class Findings:
    """The findings of one import while it runs, in the order in which they were met."""

    found: list[Finding] = field(default_factory=list)

    def add(self, rule: str, cases: pl.DataFrame, *, units: str | None = None, show: Iterable[str] = ()) -> None:
        """Count the rows of `cases` under a rule of `SENTENCES`; a rule without a case is not reported.

        Args:
            rule: a key of `SENTENCES`.
            cases: one row a case.
            units: the column of `cases` whose sum is reported in units of goods.
            show: the columns that an example shows; item and location where none are named.
        """
        assert rule in SENTENCES, rule
        if cases.is_empty():
            return
        columns = list(show) or ["item_id", "location_id"]
        examples = tuple(" ".join(_plain(v) for v in row) for row in cases.select(columns).head(EXAMPLES).iter_rows())
        total = None if units is None else float(cases[units].sum())
        self.found.append(Finding(rule, cases.height, total, examples))


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class ImportReport:
    """The outcome of one import.

    The books balance: units_in_lines = units_sold - units_unplaced + units_set_aside, where unplaced are returns as
    a positive number, and set aside is the signed sum of lines that a rule left out (write-offs, the incomplete week).
    """

    name: str
    period_days: int
    series: int
    rows: int  # of demand.parquet
    first_date: date  # the first day of the first period
    last_date: date  # the last day of the last period
    lines: int  # of the sales file
    units_in_lines: float
    units_sold: float
    units_unplaced: float
    units_set_aside: float
    findings: tuple[Finding, ...] = ()

    def count(self, rule: str) -> int:
        """How many cases a rule met."""
        return sum(finding.count for finding in self.findings if finding.rule == rule)

    def as_lines(self) -> list[str]:
        """The report as plain text, one statement a line."""
        kind = "days" if self.period_days == 1 else "weeks"
        return [
            f"{self.name}: {self.series:,} series, {self.rows:,} rows of {kind}, {self.first_date} to {self.last_date}",
            f"{self.lines:,} lines of {self.units_in_lines:,.10g} units = {self.units_sold:,.10g} sold"
            f" - {self.units_unplaced:,.10g} returns unplaced + {self.units_set_aside:,.10g} set aside",
            *(str(finding) for finding in self.findings),
        ]

    def as_json(self) -> dict[str, Any]:
        """The report as JSON types, as `import_report.json` holds it."""
        findings = [{**asdict(f), "examples": list(f.examples), "meaning": SENTENCES[f.rule]} for f in self.findings]
        dates = {"first_date": self.first_date.isoformat(), "last_date": self.last_date.isoformat()}
        return {**asdict(self), **dates, "findings": findings}
