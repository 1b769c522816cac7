"""Expert labels: what experts held in place of what the policy said, with what the policy saw. Rows in, a Parquet file out.

One row for each decision in force that was told to have been ordered with another quantity than advised (`executed`), or that
followed an override as it was (`override`). A file is put together from parts on disk, so that what the decisions saw is
never in memory all at once.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from service.asked import state_of
from service.datasets import Dataset
from service.decided import override_then, span_then, stock_then
from service.decision_store import Row
from service.label_store import Wanted, label_rows, labelled, ordered_otherwise
from service.problems import ProblemError
from service.rows import row_size
from service.series import CHUNK
from service.settlements import Settlements
from service.store import Store
from simulator.contract import contract_id, interface
from simulator.observation import ObservationSpec, with_state
from simulator.ordering import FIXED

FORMAT = "1"  # of the columns
MOST_LABELS = 20_000  # of one file
AT_ONCE = CHUNK  # of one part
_MOMENT = pl.Datetime("us", "UTC")
SCHEMA: dict[str, Any] = {
    "kind": pl.String, "decision_id": pl.String, "override_id": pl.Int64, "item_id": pl.String,
    "location_id": pl.String, "category": pl.String, "promotion_id": pl.String, "author": pl.String,
    "reason": pl.String, "mode": pl.String, "value": pl.Float64, "selling_from": pl.Date, "selling_to": pl.Date,
    "order_date": pl.Date, "override_created_at": _MOMENT, "decided_at": _MOMENT, "policy_version": pl.String,
    "policy_inventory_days": pl.Float64, "override_inventory_days": pl.Float64, "expert_inventory_days": pl.Float64, "daily_rate": pl.Float64,
    "on_hand": pl.Float64, "on_order": pl.Float64, "target_stock": pl.Float64, "order_quantity": pl.Float64,
    "outcome": pl.String, "ordered_quantity": pl.Float64, "settled_money": pl.Float64, "arriving": pl.List(pl.Float64), "observation": pl.Binary,
}  # fmt: skip


class Labels:
    """Exports expert labels."""

    def __init__(self, store: Store, settlements: Settlements, dataset: Callable[[], Dataset]) -> None:
        self._store, self._settlements, self._dataset = store, settlements, dataset

    def export(self, wanted: Wanted, folder: Path) -> Path:
        """Write the labels that are wanted into an empty folder; the file's path.

        Raises:
            ProblemError: 422 where there are too many or the dates make no sense, 503 without a dataset.
        """
        if wanted.order_from is not None and wanted.order_to is not None and wanted.order_to < wanted.order_from:
            detail = f"order_to ({wanted.order_to}) must not lie before order_from ({wanted.order_from})"
            raise ProblemError(422, "request-invalid", "The request is not valid", detail)
        spec = ObservationSpec(self._dataset().period_days)
        with self._store.database.reading() as connection:
            ids = labelled(connection, wanted, MOST_LABELS)
        if ids is None:
            detail = f"order_from, order_to: more than {MOST_LABELS:,} labels; ask for a shorter span, and for the rest after it, or for the newest"
            raise ProblemError(422, "too-many-labels", "Too many labels for one file", detail)
        parts = [folder / f"part-{at:06d}.parquet" for at in range(0, max(len(ids), 1), AT_ONCE)]
        left_out = 0
        for number, part in enumerate(parts):
            left_out += self._write(part, ids[number * AT_ONCE : (number + 1) * AT_ONCE], wanted.author, spec)
        whole = folder / "labels.parquet"
        named = {
            "orpr.schema": FORMAT, "orpr.fingerprint": contract_id(interface(spec.period_days)),
            "orpr.period_days": str(spec.period_days), "orpr.left_out": str(left_out),
        }  # fmt: skip
        pl.scan_parquet(parts).sink_parquet(whole, metadata=named, row_group_size=AT_ONCE)
        for part in parts:
            part.unlink()
        return whole

    def _write(self, part: Path, ids: Sequence[str], author: str | None, spec: ObservationSpec) -> int:
        """One part; how many labels are left out of it."""
        with self._store.database.reading() as connection:
            rows = label_rows(connection, ids, observed=True)
        labels = [label for row in rows if (label := label_of(row, spec)) is not None]
        labels = [label for label in labels if author is None or label["author"] == author]
        size = row_size(spec)
        good = [label for label in labels if len(zlib.decompress(label["observation"])) == size]
        kept = {label["decision_id"] for label in good}
        money = {  # Where the shelf ran empty nobody knows what it earned: a bold number was worth more than sales tell.
            line.decision_id: None if line.demand_understated else line.money
            for line in self._settlements.lines([r for r in rows if r["id"] in kept], as_ordered=True)
        }
        table = [label | {"settled_money": money[label["decision_id"]]} for label in good]
        pl.DataFrame(table, schema=SCHEMA, orient="row").write_parquet(part)
        return len(labels) - len(good)


def label_of(row: Row, spec: ObservationSpec) -> dict[str, Any] | None:
    """A decision as a label, `settled_money` still unknown; None where nothing sells, so that no number of days says anything.

    Args:
        row: as `label_store.label_rows` reads it.
        spec: lengths of the policy's observations.
    """
    inputs, answer = json.loads(row["inputs"]), json.loads(row["answer"])
    rate, position = answer["daily_rate"], answer["inventory_position"]
    if rate <= 0:
        return None
    override, (first, last) = override_then(inputs), span_then(inputs)
    stock = state_of([stock_then(inputs)], row["order_date"], spec)
    coming = with_state({"as_of_day": np.empty(1)}, spec, stock)["on_order"][0]
    advised = answer["target_stock"] / rate  # the override in it
    label = {
        "decision_id": row["id"], "override_id": row["override_id"], "item_id": row["item_id"],
        "location_id": row["location_id"], "category": row["category"], "promotion_id": row["promotion_id"] or None,
        "order_date": row["order_date"], "override_created_at": row["override_created_at"],
        "decided_at": row["created_at"], "policy_version": row["policy_version"],
        "policy_inventory_days": answer["policy_days"],
        "override_inventory_days": None if override is None else advised, "daily_rate": rate, "on_hand": inputs["on_hand"],
        "on_order": position - inputs["on_hand"], "target_stock": answer["target_stock"],
        "order_quantity": row["order_quantity"], "outcome": row["status"],
        "ordered_quantity": row["ordered_quantity"], "arriving": np.trim_zeros(coming, "b").tolist(),
        "observation": row["observation"],
    }  # fmt: skip
    if override is not None and not ordered_otherwise(row):
        return label | {
            "kind": "override", "author": override.author, "reason": override.reason, "mode": override.mode,
            "value": override.value, "selling_from": override.selling_from, "selling_to": override.selling_to,
            "expert_inventory_days": advised,
        }  # fmt: skip
    held = 0.0 if inputs["ordering_mode"] == FIXED else position
    return label | {
        "kind": "executed", "author": row["told_by"], "reason": row["note"], "mode": None, "value": None,
        "selling_from": first, "selling_to": last,
        "expert_inventory_days": (held + row["ordered_quantity"]) / rate,
    }  # fmt: skip
