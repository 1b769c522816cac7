"""The dataset that is asked about, the bakery sample many times over, and the questions."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from simulator.panel import I64
from tests.serving import SAMPLE

SHOPS, PRODUCTS = 6, 10  # times the sample's 28 and 3: 168 shops with 30 products each, 5,040 series
DAYS = 400  # of history: what a policy sees, and a month
ON_HAND = 9.0  # units; a new question has a few thousandths more
Series = tuple[str, str]


class Chain(NamedTuple):
    """The dataset's folder, and what it holds."""

    folder: Path
    series: list[Series]
    last: date  # recorded


def write_chain(folder: Path, shops: int = SHOPS, products: int = PRODUCTS) -> Chain:
    """The sample's last days, every shop and every product so many times under other names; a canonical dataset."""
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_bytes((SAMPLE / "dataset.json").read_bytes())
    tables = {name: pl.read_parquet(SAMPLE / f"{name}.parquet") for name in ("items", "demand", "calendar")}
    last = tables["demand"]["date"].max()
    assert isinstance(last, date)
    for name, table in tables.items():
        kept = table if name == "items" else table.filter(pl.col("date") > last - timedelta(days=DAYS))
        many = again(kept, "location_id", shops)
        many = many if name == "calendar" else again(many, "item_id", products)
        many = many.sort("location_id", "item_id") if name == "items" else many  # shop by shop, as a night's requests
        many.write_parquet(folder / f"{name}.parquet")
    keys = pl.read_parquet(folder / "items.parquet", columns=["item_id", "location_id"])
    return Chain(folder, [(item, place) for item, place in keys.rows()], last)


def again(table: pl.DataFrame, column: str, times: int) -> pl.DataFrame:
    """The table so many times, each with another number behind the names in a column."""
    return pl.concat(
        table.with_columns(pl.format("{}-{}", pl.col(column), pl.lit(f"{n:02}")).alias(column)) for n in range(times)
    )


def question(
    series: list[Series], *, number: int = 0, as_of: date | None = None, record: bool = False
) -> dict[str, Any]:
    """A request body.

    Args:
        series: what is asked about.
        number: another number makes another question, of the same work.
        as_of: the day; None: the last recorded one.
        record: whether the answers are to be remembered.
    """
    on_hand = ON_HAND + number / 1024
    items = [{"item_id": item, "location_id": place, "on_hand": on_hand, "open_orders": []} for item, place in series]
    return {"items": items, "record": record} | ({} if as_of is None else {"as_of": as_of.isoformat()})


class Asking(NamedTuple):
    """The series that each of some questions is about."""

    chain: Chain
    count: int  # series in one question

    def rows(self, place: int) -> I64:
        """(count,) rows of the question at `place`, the next ones each time, from the front again at the end."""
        return (place * self.count + np.arange(self.count)) % len(self.chain.series)

    def body(self, place: int, **how: Any) -> str:
        """The question about these rows; `how`: see `question`."""
        return json.dumps(question([self.chain.series[n] for n in self.rows(place).tolist()], **how))
