"""What an experiment is measured from, out of a running service: its decisions, and the counts of stock it was told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl

from orpr.client import Client
from orpr.files import write_bytes_whole, write_whole
from orpr.progress import Report
from service.feed_schemas import InventoryRow
from simulator.tables import KEY

DECISIONS, INVENTORY = "decisions.ndjson", "inventory.parquet"


class Pulled(NamedTuple):
    """Rows of each file."""

    decisions: int
    counts: int


def pull(client: Client, first: date, last: date, out: Path, progress: Report) -> Pulled:
    """Write `decisions.ndjson` and `inventory.parquet`, each whole, when both have been read.

    Args:
        client: of the service.
        first, last: order days, and days of counts; both included.
        out: the folder.
        progress: called as (stage, days done, days).

    Raises:
        ValueError: where `last` lies before `first`.
    """
    if last < first:
        raise ValueError(f"to: {last} lies before from, {first}")
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    lines: list[str] = []
    for day in _told("decisions", days, progress):
        lines += [one.model_dump_json() for one in client.decisions(order_date=day)]
    told = _told("inventory", days, progress)
    table = pl.concat([_table(list(client.inventory_history(day, day))) for day in told])
    write_bytes_whole(out / DECISIONS, "".join(f"{line}\n" for line in lines).encode())
    write_whole({out / INVENTORY: table})
    return Pulled(len(lines), table.height)


def _told(stage: str, days: list[date], progress: Report) -> Iterator[date]:
    for number, day in enumerate(days):
        progress(stage, number, len(days), str(day))
        yield day
    progress(stage, len(days), len(days))


def _table(counts: list[InventoryRow]) -> pl.DataFrame:
    columns = {**dict.fromkeys(KEY, pl.String), "date": pl.Date, "on_hand": pl.Float64}
    return pl.DataFrame([(c.item_id, c.location_id, c.date, c.on_hand) for c in counts], schema=columns, orient="row")
