"""Files of experts' decisions, as a service exports them."""

from __future__ import annotations

import zlib
from pathlib import Path

import polars as pl

from service.rows import pack
from training.experts import Labels


def write_labels(labels: Labels, path: Path) -> None:
    """The labels as Parquet."""
    seen = labels.observation
    blobs = [zlib.compress(row) for row in pack(seen, ["history"] * labels.size)]
    pl.DataFrame(
        {
            "item_id": labels.item_id.tolist(), "location_id": labels.location_id.tolist(),
            "author": labels.author.tolist(), "outcome": labels.outcome.tolist(),
            "order_date": pl.Series(labels.order_day.tolist(), dtype=pl.Int32).cast(pl.Date),
            "expert_inventory_days": labels.expert_days, "policy_inventory_days": labels.policy_days,
            "settled_money": pl.Series(labels.settled_money.tolist(), nan_to_null=True),
            "on_hand": seen["on_hand"].astype(float), "arriving": seen["on_order"].astype(float).tolist(),
            "observation": blobs,
        }
    ).write_parquet(path)  # fmt: skip
