"""Who is treated: the files that say so, read and checked against the dataset.

Every broken rule is a `DataError` that names file, column, row and value.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from simulator.panel import I64, Bools, Panel
from simulator.tables import KEY, DataError, Problem, cast, check_columns, offences, read_file, with_keys

TREATED, CONTROL, LEFT_OUT = "treated", "control", "left_out"
GROUPS = (TREATED, CONTROL, LEFT_OUT)


class Assignment(NamedTuple):
    """The series of an experiment, as rows of the panel."""

    rows: I64  # (M,) of the panel
    treated: Bools  # (M,)
    pair: I64 | None  # (M,) numbers of pairs; None where the file has none
    unmatched: int  # treated series without a pair, which are not compared


def read_treated(path: Path, panel: Panel) -> Bools:
    """(N,) the series of a file with `item_id` and `location_id`.

    Raises:
        DataError: for a series that is not in the dataset or stands there twice; for an empty file.
    """
    file, table, problems = _read_series(path, panel)
    if problems:
        raise DataError(problems)
    treated = np.zeros(panel.series_count, dtype=bool)
    treated[table["n"].to_numpy()] = True
    if treated.all():
        raise DataError([Problem(file, "item_id", None, "", "every series is treated, none is left for control")])
    return treated


def read_assignment(path: Path, panel: Panel) -> Assignment:
    """The assignment that `orpr experiment design` wrote, or one made elsewhere.

    With a column `pair`, only whole pairs are compared; without one, all treated with all control series.

    Raises:
        DataError: naming file, column, row and value.
    """
    file, table, problems = _read_series(path, panel, ["group"])
    table = cast(file, table, "group", pl.String(), "text")
    group = pl.col("group")
    problems += offences(
        file, table, "group", ~group.is_in(GROUPS).fill_null(value=False), f"must be one of {', '.join(GROUPS)}"
    )
    paired = "pair" in table.columns
    if paired:
        table = cast(file, table, "pair", pl.Int64(), "a whole number", problems)
        problems += _broken_pairs(file, table)
    if problems:
        raise DataError(problems)
    unmatched = table.filter((group == TREATED) & pl.col("pair").is_null()).height if paired else 0
    table = table.filter(pl.col("pair").is_not_null() if paired else group != LEFT_OUT)
    for name in (TREATED, CONTROL):
        if not (table["group"] == name).any():
            raise DataError([Problem(file, "group", None, "", f"no {name} series can be compared")])
    return Assignment(
        table["n"].to_numpy().astype(np.int64), (table["group"] == TREATED).to_numpy(),
        table["pair"].to_numpy().astype(np.int64) if paired else None, unmatched,
    )  # fmt: skip


def _read_series(path: Path, panel: Panel, more: list[str] | None = None) -> tuple[str, pl.DataFrame, list[Problem]]:
    """The table with `n`, the panel's row of each series, and what is wrong with its keys."""
    file, table = path.name, read_file(path)
    check_columns(file, table, [*KEY, *(more or [])])
    if table.is_empty():
        raise DataError([Problem(file, "item_id", None, "", "the file has no rows")])
    problems: list[Problem] = []
    table = with_keys(file, table, problems)
    problems += offences(file, table, "item_id", ~pl.struct(KEY).is_first_distinct(), "the series stands here twice")
    known = pl.DataFrame(
        {"item_id": panel.items.item_id.tolist(), "location_id": panel.items.location_id.tolist()},
        schema=dict.fromkeys(KEY, pl.String),
    ).with_row_index("n")
    table = table.drop("n", strict=False).join(known, on=KEY, how="left", maintain_order="left")
    for row in (
        table.with_row_index("row").filter(pl.col("n").is_null()).unique(KEY, maintain_order=True).iter_rows(named=True)
    ):
        name = f"{row['item_id']}@{row['location_id']}"
        problems.append(Problem(file, "item_id", int(row["row"]) + 1, name, "this series is not in the dataset"))
    return file, table, problems


def _broken_pairs(file: str, table: pl.DataFrame) -> list[Problem]:
    """A pair is one treated and one control series."""
    inside = table.with_row_index("row").filter(pl.col("pair").is_not_null())
    found = inside.group_by("pair", maintain_order=True).agg(
        pl.col("row").first(), (pl.col("group") == TREATED).sum().alias("treated"),
        (pl.col("group") == CONTROL).sum().alias("control"), pl.len().alias("series"),
    )  # fmt: skip
    whole = (pl.col("treated") == 1) & (pl.col("control") == 1) & (pl.col("series") == 2)
    return [
        Problem(
            file, "pair", int(row["row"]) + 1, str(row["pair"]),
            f"must be one treated and one control series, this one is {row['treated']} treated and {row['control']} control "
            f"of {row['series']}",
        )
        for row in found.filter(~whole).iter_rows(named=True)
    ]  # fmt: skip
