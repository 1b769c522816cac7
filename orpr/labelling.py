"""`orpr label`: every review of a history with its best days and its whole cost curve, in one Parquet file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl

from orpr.files import write_whole
from orpr.provenance import code_commit, folder_hash
from simulator.observation import panel_rates
from simulator.ordering import ORDER_UP_TO, inventory_days_grid
from simulator.panel import Panel
from solver.labels import best_days, cost_curves, epochs_of, history_window


def write_labels(
    panel: Panel, data: Path, out: Path, end: int, progress: Callable[[str, int, int], None], *, recovered: bool
) -> int:
    """Label every review before period `end` and write the file with its provenance.

    Args:
        panel: the dataset read from `data`.
        out: Parquet file; its metadata key `orpr` is JSON with data hash, commit, grid, mode and cut-off.
        end: first period that labels must not read.
        recovered: label on demand recovered from stock-outs, else on raw sales.

    Returns:
        How many labels were written.
    """
    grid = inventory_days_grid()
    progress("label", 0, 3)
    epochs = epochs_of(panel, panel_rates(panel), history_window(panel, end), recovered=recovered)
    progress("label", 1, 3)
    curves = cost_curves(panel, epochs, grid)
    progress("label", 2, 3)
    table = pl.DataFrame(
        {
            "item_id": panel.items.item_id[epochs.series].tolist(),
            "location_id": panel.items.location_id[epochs.series].tolist(),
            "as_of": [panel.date_of(int(t)) for t in epochs.period],
            "inventory_days": best_days(curves, grid),
            "incumbent_days": epochs.incumbent_days,
            "daily_rate": epochs.daily_rate,
            "inventory_position": epochs.inventory_position,
            "stock_before_arrival": epochs.stock_before_arrival,
            "cost_curve": pl.Series(curves.astype("float32"), dtype=pl.Array(pl.Float32, len(grid))),
        }
    )
    provenance = {
        "data_sha256": folder_hash(data), "commit": code_commit(), "grid": grid.tolist(),
        "ordering_mode": ORDER_UP_TO, "before": panel.date_of(end).isoformat(),
        "demand": "recovered from stock-outs" if recovered else "raw sales",
        "incumbent": "gamma base stock at the category's service target", "currency": panel.currency,
    }  # fmt: skip
    write_whole({out: table}, {"orpr": json.dumps(provenance)})
    progress("label", 3, 3)
    return table.height
