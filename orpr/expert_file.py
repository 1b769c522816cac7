"""Experts' decisions from the file that `orpr overrides pull` wrote, as labels to learn from."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import polars as pl

from service.rows import row_size, unpack
from simulator.observation import ObservationSpec
from training.experts import Labels

NUMBERS = ("expert_inventory_days", "policy_inventory_days", "on_hand")
TEXTS = ("item_id", "location_id", "author", "outcome")
OVERRIDE, ORDERED, ADVISED = "override_id", "ordered_quantity", "order_quantity"
OVERRIDE_DAYS = "override_inventory_days"
NUMBER = "a number"
COLUMNS = dict.fromkeys(TEXTS, "text") | {
    "order_date": "a date", **dict.fromkeys(NUMBERS, NUMBER), "settled_money": NUMBER, "arriving": "a list of numbers",
    "observation": "bytes",
}  # fmt: skip


def read_labels(path: Path, spec: ObservationSpec) -> Labels:
    """The labels of a file.

    Args:
        path: Parquet.
        spec: lengths of the policy's observations.

    Raises:
        ValueError: naming the column, the row and the value that is wrong.
    """
    try:
        table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ValueError(f"overrides: {path} is no Parquet file that can be read ({error})") from None
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise ValueError(f"overrides: {path} has no column {', '.join(missing)}; orpr overrides pull writes it")
    for name, form in (COLUMNS | {OVERRIDE_DAYS: NUMBER}).items():
        if name in table.columns and not _has_form(table.schema[name], form):
            raise ValueError(f"overrides: {path}, column {name}: must be {form}, is {table.schema[name]}")
    if not table.height:
        raise ValueError(f"overrides: {path} holds no labels")
    for name in ("item_id", "location_id", "author", "order_date", *NUMBERS):
        _refuse(path, name, table[name].is_null(), table)
    numbers = {name: table[name].cast(pl.Float64).to_numpy() for name in NUMBERS}
    for name, column in numbers.items():
        _refuse(path, name, pl.Series(~np.isfinite(column) | (column < 0)), table)
    observation = unpack(_rows(path, table["observation"], spec), spec)
    observation |= {
        "on_hand": numbers["on_hand"].astype(np.float32),
        "on_order": _arriving(path, table["arriving"], spec.horizon),
    }
    texts = {
        name: table[name].cast(pl.String).fill_null("").to_numpy() for name in TEXTS
    }  # fmt: skip
    return Labels(
        **texts, order_day=table["order_date"].cast(pl.Date).to_physical().to_numpy().astype(np.int64),
        expert_days=numbers["expert_inventory_days"], policy_days=numbers["policy_inventory_days"],
        settled_money=table["settled_money"].cast(pl.Float64).fill_null(float("nan")).to_numpy(), observation=observation,
        ordered_more=_ordered_more(table), override_days=_override_days(table),
    )  # fmt: skip


def _override_days(table: pl.DataFrame) -> np.ndarray | None:
    if OVERRIDE_DAYS not in table.columns:
        return None
    return table[OVERRIDE_DAYS].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _ordered_more(table: pl.DataFrame) -> np.ndarray | None:
    """(E,) units ordered beyond what the policy's own days came to; NaN where an override was in the advice or nothing else was
    ordered, None in a file that does not say."""
    if not {OVERRIDE, ORDERED, ADVISED} <= set(table.columns):
        return None
    more = (pl.col(ORDERED) - pl.col(ADVISED)).cast(pl.Float64)
    chosen = table.select(pl.when(pl.col(OVERRIDE).is_null()).then(more).fill_null(float("nan")))
    return chosen.to_series().to_numpy()


def _has_form(dtype: pl.DataType, form: str) -> bool:
    """Whether a column is of that form; one that holds nothing is of any."""
    if dtype == pl.Null:
        return True
    if isinstance(dtype, pl.List):
        return form == "a list of numbers" and (dtype.inner == pl.Null or dtype.inner.is_numeric())
    forms = {
        "text": dtype == pl.String,
        "a date": dtype == pl.Date,
        NUMBER: dtype.is_numeric(),
        "bytes": dtype == pl.Binary,
    }
    return forms.get(form, False)


def _refuse(path: Path, name: str, bad: pl.Series, table: pl.DataFrame) -> None:
    if bad.any():
        row = int(bad.arg_true()[0])
        raise ValueError(f"overrides: {path}, row {row + 1}, column {name}: {table[name][row]!r} cannot be learnt from")


def _rows(path: Path, column: pl.Series, spec: ObservationSpec) -> list[bytes]:
    """The packed observations; a row of another layout is told apart by its size."""
    rows = []
    for n, blob in enumerate(column):
        try:
            row = zlib.decompress(blob) if blob is not None else b""
        except zlib.error:
            row = b""
        if len(row) != row_size(spec):
            detail = "is none that this version's policies read; pull it again from a service of this version"
            raise ValueError(f"overrides: {path}, row {n + 1}, column observation: {len(row)} bytes, it {detail}")
        rows.append(row)
    return rows


def _arriving(path: Path, column: pl.Series, horizon: int) -> np.ndarray:
    """(E, H) open orders by the period ahead."""
    table = np.zeros((len(column), horizon), dtype=np.float32)
    for n, one in enumerate(column):
        units = np.array([] if one is None else one, dtype=np.float64)
        if len(units) > horizon or not np.isfinite(units).all() or (units < 0).any():
            raise ValueError(
                f"overrides: {path}, row {n + 1}, column arriving: {units.tolist()!r:.80} cannot be learnt from"
            )
        table[n, : len(units)] = units
    return table
