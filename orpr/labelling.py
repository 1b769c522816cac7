"""`orpr label`: every review of a history with its best days and its whole cost curve.

A folder of Parquet files, some series each. A run that was broken off goes on where it stopped, and a history that has
grown or been corrected is labelled anew only from the first period that differs: each file carries a fingerprint of
every period that its labels rest on. Memory is that of one file, whatever the number of series.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from orpr.files import write_whole
from orpr.provenance import code_commit, folder_hash
from simulator.observation import panel_rates
from simulator.ordering import ORDER_UP_TO, inventory_days_grid
from simulator.panel import Panel
from simulator.schedule import Schedule, review_schedule
from solver.labels import LabelHistory, best_days, cost_curves, epochs_from, history_window, replayed_history

PERIODS_IN_A_FILE = 60_000  # series x periods; with a curve for each, some tens of megabytes
FILES = "labels-*.parquet"
SETTINGS = ("grid", "ordering_mode", "replayed", "quantity", "period_days", "currency", "code")
ROOMS = ("simulator/*.py", "solver/labels.py", "solver/curves.py")  # the code that labels follow from


class Labelled(NamedTuple):
    """What a run did."""

    labels: int
    files: int
    kept: int  # files that were already as they should be


def write_labels(
    panel: Panel, data: Path, out: Path, end: int, progress: Callable[[str, int, int], None], *, recovered: bool
) -> Labelled:
    """Label every review before period `end`.

    Args:
        panel: the dataset read from `data`.
        out: folder of the label files; the metadata key `orpr` of each is JSON with data hash, commit, grid, mode,
            cut-off and the periods' fingerprints.
        end: first period that labels must not read.
        progress: called as (stage, step, steps).
        recovered: label on demand recovered from stock-outs, else on raw sales.

    Raises:
        ValueError: where `out` is a file.
    """
    if out.is_file():
        raise ValueError(f"out: {out} is a file, labels are a folder of files")
    window, grid = history_window(panel, end), inventory_days_grid()
    if len(window) < 2:
        raise ValueError(f"nothing to label before {panel.date_of(end)}, the history begins on {panel.date_of(0)}")
    replayed = replayed_history(panel, panel_rates(panel), window, recovered=recovered)
    provenance = {
        "data_sha256": folder_hash(data), "commit": code_commit(), "grid": grid.tolist(),
        "ordering_mode": ORDER_UP_TO, "before": panel.date_of(end).isoformat(),
        "replayed": "recovered" if recovered else "sales",
        "incumbent": "gamma base stock at the category's service target", "currency": panel.currency,
        "quantity": panel.quantity, "period_days": panel.period_days, "code": _code_fingerprint(),
    }  # fmt: skip
    rows = max(PERIODS_IN_A_FILE // (1 << len(window).bit_length()), 1)  # a day more does not move series between files
    starts = range(0, panel.series_count, rows)
    written, labels, kept = set(), 0, 0
    for step, start in enumerate(starts):
        progress("label", step, len(starts))
        part = slice(start, min(start + rows, panel.series_count))
        path = out / f"labels-{part.start:07d}.parquet"
        count, fresh = _write_file(
            panel.take(np.arange(part.start, part.stop)), window, replayed.take(part), path, provenance
        )
        written.add(path)
        labels, kept = labels + count, kept + (not fresh)
    for path in set(out.glob(FILES)) - written:  # of a run over more series, or other ones
        if _record(path) is not None:
            path.unlink()
    progress("label", len(starts), len(starts))
    return Labelled(labels, len(starts), kept)


def _write_file(
    part: Panel, window: range, replayed: LabelHistory, path: Path, provenance: dict[str, Any]
) -> tuple[int, bool]:
    """How many labels the file holds, and whether it had to be written."""
    schedule = review_schedule(part, window)
    mine = {
        **{key: provenance[key] for key in SETTINGS},
        "items": _items_fingerprint(part), "first": part.date_of(window.start).isoformat(),
        "periods": _period_fingerprints(replayed, schedule),
    }  # fmt: skip
    old, same = _reusable(path, mine)
    if old is not None and same == len(mine["periods"]) == len(old[1]["periods"]):
        return old[0], False
    changed_from = part.date_of(window.start + same)
    table = _labels(part, window, replayed, schedule, changed_from)
    if old is not None:
        before = pl.read_parquet(path).filter(pl.col("covers_until") < changed_from)
        table = pl.concat([before, table]).sort("item_id", "location_id", "as_of")
    write_whole({path: table}, {"orpr": json.dumps({**provenance, **mine})})
    return table.height, True


def _labels(part: Panel, window: range, replayed: LabelHistory, schedule: Schedule, changed_from: date) -> pl.DataFrame:
    """The labels whose responsible periods reach `changed_from` or beyond."""
    epochs, grid = epochs_from(part, window, replayed), inventory_days_grid()
    last = epochs.period + schedule.protection[epochs.series, epochs.period - window.start]
    keep = last >= part.period_of(changed_from)
    epochs, last = epochs._replace(**{k: v[keep] for k, v in epochs._asdict().items()}), last[keep]
    curves = cost_curves(part, epochs, grid)
    return pl.DataFrame(
        {
            "item_id": part.items.item_id[epochs.series].tolist(),
            "location_id": part.items.location_id[epochs.series].tolist(),
            "as_of": [part.date_of(int(t)) for t in epochs.period],
            "covers_until": [part.date_of(int(t)) for t in last],
            "inventory_days": best_days(curves, grid),
            "incumbent_days": epochs.incumbent_days,
            "daily_rate": epochs.daily_rate,
            "inventory_position": epochs.inventory_position,
            "stock_before_arrival": epochs.stock_before_arrival,
            "cost_curve": pl.Series(curves.astype("float32"), dtype=pl.Array(pl.Float32, len(grid))),
        },
        schema_overrides={"item_id": pl.String, "location_id": pl.String, "as_of": pl.Date, "covers_until": pl.Date},
    ).sort("item_id", "location_id", "as_of")


def _code_fingerprint() -> str:
    """Of the sources that labels follow from: mended code makes them anew."""
    root, digest = Path(__file__).parent.parent, hashlib.blake2b(digest_size=16)
    for path in sorted(path for pattern in ROOMS for path in root.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _record(path: Path) -> dict[str, Any] | None:
    """What a label file was made from; None where it is none of ours."""
    try:
        record = json.loads(pl.read_parquet_metadata(path)["orpr"])
    except (OSError, KeyError, ValueError, pl.exceptions.PolarsError):
        return None
    return record if isinstance(record, dict) and "periods" in record else None


def _items_fingerprint(part: Panel) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, column in sorted(vars(part.items).items()):
        digest.update(name.encode() + b"\0" + "\0".join(map(str, column.tolist())).encode())
    return digest.hexdigest()


def _period_fingerprints(replayed: LabelHistory, schedule: Schedule) -> list[str]:
    """One for each period: of everything in it that a label rests on."""
    columns = [np.ascontiguousarray(column.T) for column in (*replayed, schedule.due, schedule.lead_time)]
    return [
        hashlib.blake2b(b"".join(column[t].tobytes() for column in columns), digest_size=8).hexdigest()
        for t in range(replayed.demand.shape[1])
    ]


def _reusable(path: Path, mine: dict[str, Any]) -> tuple[tuple[int, dict[str, Any]] | None, int]:
    """The labels that stand in the file with their record, and for how many periods they still hold."""
    theirs = _record(path)
    if theirs is None or any(theirs.get(key) != mine[key] for key in mine if key != "periods"):
        return None, 0
    count = int(pl.scan_parquet(path).select(pl.len()).collect().item())
    pairs = zip(mine["periods"], theirs["periods"], strict=False)
    same = next(
        (t for t, (one, other) in enumerate(pairs) if one != other), min(len(mine["periods"]), len(theirs["periods"]))
    )
    return (count, theirs), same
