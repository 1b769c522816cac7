"""Who was really treated, by the decisions that the service remembers.

A decision counts where it was made for a series of the experiment between start and end, by the treatment's policy, and was not
superseded by a later one for the same order.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from orpr.experiment.assignments import Assignment
from simulator.panel import Bools, Panel
from simulator.tables import KEY, DataError, Problem, cast, check_columns, fail, offences, read_file, with_keys

COLUMNS = [*KEY, "order_date", "order_quantity", "policy_version"]
SETTLED = ("ordered", "changed", "rejected")


class Adherence(NamedTuple):
    """Shares of series and orders."""

    policy_versions: list[str]  # that count as the treatment
    decisions: int  # of series of the experiment, between start and end
    treated_share: float  # of treated series with a decision of the treatment
    control_share: float  # of control series with one: contamination
    exposed: Bools  # (M,) in the order of the assignment
    automation_rate: float | None  # share of told outcomes of the treatment's decisions that were ordered as advised
    outcomes_told: int

    def as_json(self) -> dict[str, Any]:
        """All but the series."""
        return {name: value for name, value in self._asdict().items() if name != "exposed"}


def read_decisions(path: Path) -> pl.DataFrame:
    """Decisions from Parquet, CSV, or lines of JSON as `GET /v1/decisions` lists them.

    Needed are `item_id`, `location_id`, `order_date`, `order_quantity` and `policy_version`; `status`, where it is there, says what
    became of them; other columns are passed over.

    Raises:
        DataError: naming file, column, row and value.
    """
    file = path.name
    table = _read_lines(path) if path.suffix in (".ndjson", ".jsonl") else read_file(path)
    check_columns(file, table, COLUMNS)
    problems: list[Problem] = []
    table = with_keys(file, table, problems)
    table = cast(file, table, "order_date", pl.Date(), "a date, YYYY-MM-DD", problems)
    table = cast(file, table, "order_quantity", pl.Float64(), "a number", problems)
    table = cast(file, table, "policy_version", pl.String(), "text")
    if "status" in table.columns:
        table = cast(file, table, "status", pl.String(), "text")
    for column in ("order_date", "policy_version"):
        problems += offences(file, table, column, pl.col(column).is_null(), "must not be empty")
    quantity = pl.col("order_quantity")
    bad = quantity.is_null() | ~(quantity.is_finite() & (quantity >= 0))
    problems += offences(file, table, "order_quantity", bad, "must be a number of at least 0")
    if problems:
        raise DataError(problems)
    return table


def adherence_of(
    decisions: pl.DataFrame, panel: Panel, assignment: Assignment, start: date, end: date, versions: list[str]
) -> Adherence:
    """Which series of the experiment had a decision of the treatment.

    Args:
        decisions: as `read_decisions` gives them.
        panel: the dataset.
        assignment: M of its series.
        start, end: order dates that count, both included.
        versions: policies that are the treatment; any where empty.

    Raises:
        ValueError: for a version of which there is no decision; where no decision concerns the experiment.
    """
    rows = {(panel.items.item_id[n], panel.items.location_id[n]): m for m, n in enumerate(assignment.rows.tolist())}
    known = set(decisions["policy_version"].unique())
    for version in versions:
        if version not in known:
            raise ValueError(f"policy_version: no decision is by {version!r}; there are {', '.join(sorted(known))}")
    if "status" in decisions.columns:
        decisions = decisions.filter(pl.col("status").fill_null("") != "superseded")
    inside = decisions.filter(pl.col("order_date").is_between(start, end))
    at = [rows.get((item, place), -1) for item, place in inside.select(KEY).iter_rows()]
    inside = inside.with_columns(pl.Series("m", at, dtype=pl.Int64)).filter(pl.col("m") >= 0)
    if inside.is_empty():
        raise ValueError(f"decisions: none is for a series of the experiment from {start} to {end}")
    ours = inside.filter(pl.col("policy_version").is_in(versions)) if versions else inside
    exposed = np.zeros(len(assignment.rows), dtype=bool)
    exposed[ours["m"].to_numpy()] = True
    told = ours.filter(pl.col("status").is_in(SETTLED)) if "status" in ours.columns else ours.clear()
    return Adherence(
        sorted(versions or set(ours["policy_version"])), inside.height, float(exposed[assignment.treated].mean()),
        float(exposed[~assignment.treated].mean()), exposed,
        float((told["status"] == "ordered").to_numpy().mean()) if told.height else None, told.height,
    )  # fmt: skip


def _read_lines(path: Path) -> pl.DataFrame:
    try:
        return pl.read_ndjson(path, infer_schema_length=None)
    except FileNotFoundError:
        raise fail(path.name, "-", f"there is no file {path}") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, UnicodeDecodeError) as error:
        raise fail(path.name, "-", f"cannot be read as lines of JSON ({str(error).splitlines()[0]})") from None
