"""Reading datasets: good ones alike from CSV and Parquet, bad ones refused in one line that names the place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.canonical import DataError, Problem, read_panel, with_stock
from simulator.panel import Items, Panel
from tests.panels import dataset_tables, write_dataset

Tables = dict[str, pl.DataFrame]


def put(table: pl.DataFrame, row: int, column: str, value: object) -> pl.DataFrame:
    """The table as text with one cell replaced; `row` counts from 1."""
    texts = table.with_columns(pl.all().cast(pl.String))
    marked = pl.when(pl.int_range(pl.len()) == row - 1).then(pl.lit(value)).otherwise(pl.col(column))
    return texts.with_columns(marked.alias(column))


def written(folder: Path, change: Callable[[dict[str, Any], Tables], None], suffix: str = "csv") -> Path:
    settings_, tables = dataset_tables()
    change(settings_, tables)
    return write_dataset(folder, settings_, tables, suffix)


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_panel(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_same(one: Panel, other: Panel) -> None:
    for field in fields(Panel):
        if field.name == "items":
            for column in fields(Items):
                mine, theirs = getattr(one.items, column.name), getattr(other.items, column.name)
                np.testing.assert_array_equal(mine, theirs, err_msg=column.name)
        elif field.name == "open_orders":  # nothing arrives in the columns behind the last
            width = min(one.open_orders.shape[1], other.open_orders.shape[1])
            np.testing.assert_array_equal(one.open_orders[:, :width], other.open_orders[:, :width])
            assert not one.open_orders[:, width:].any()
            assert not other.open_orders[:, width:].any()
        else:
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


def test_csv_and_parquet_read_equal(tmp_path: Path) -> None:
    settings_, tables = dataset_tables()
    one = read_panel(write_dataset(tmp_path / "csv", settings_, tables))
    other = read_panel(write_dataset(tmp_path / "parquet", settings_, tables, "parquet"))
    assert_same(one, other)


def test_a_good_dataset_becomes_the_arrays_it_describes(tmp_path: Path) -> None:
    settings_, tables = dataset_tables()
    panel = read_panel(write_dataset(tmp_path, settings_, tables))
    assert panel.period_count == 14  # ten days of demand, and the calendar four days further
    np.testing.assert_array_equal(panel.units_sold[1], [*range(1, 11), *[np.nan] * 4])
    np.testing.assert_array_equal(np.flatnonzero(panel.promotion[2] == 1), [2])
    np.testing.assert_array_equal(np.flatnonzero(panel.open[0] == 0), [6, 13])
    np.testing.assert_array_equal(panel.on_hand, [7, 0, np.nan])
    # as of the 10th: the order due on the 5th is overdue and comes on the 11th, the other one on the 13th
    np.testing.assert_array_equal(panel.open_orders, [[3, 0, 4], [0, 0, 0], [0, 0, 0]])
    assert panel.last_recorded == 9


def test_the_sample_is_a_good_dataset(bakery: Panel) -> None:
    assert bakery.discrete
    assert bakery.series_count == 84
    assert bakery.units_sold.dtype == np.float32


BAD_CELLS = [
    ("demand", 5, "units_sold", "abc", "demand.csv, column units_sold, row 5: 'abc': must be a number"),
    ("demand", 5, "units_sold", "-1", "demand.csv, column units_sold, row 5: -1.0: must be a number of at least 0"),
    ("demand", 5, "units_sold", "inf", "demand.csv, column units_sold, row 5: inf: must be a number of at least 0"),
    ("demand", 5, "units_sold", "nan", "demand.csv, column units_sold, row 5: nan: must be a number of at least 0"),
    ("demand", 12, "in_stock", "1.5", "demand.csv, column in_stock, row 12: 1.5: must lie between 0 and 1"),
    ("demand", 12, "in_stock", "-0.5", "demand.csv, column in_stock, row 12: -0.5: must lie between 0 and 1"),
    ("demand", 12, "price", "-2", "demand.csv, column price, row 12: -2.0: must be a number of at least 0"),
    ("demand", 12, "promotion", "maybe", "demand.csv, column promotion, row 12: 'maybe': must be true or false"),
    ("demand", 3, "date", "3.1.2024", "demand.csv, column date, row 3: '3.1.2024': must be a date, YYYY-MM-DD"),
    ("demand", 10, "date", "", "demand.csv, column date, row 10: must not be empty"),
    ("demand", 3, "date", "2024-01-02", "demand.csv, column date, row 3: 2024-01-02: this series has this date twice"),
    ("demand", 10, "date", "2024-01-12", "demand.csv, column date, row 10: 2024-01-12: follows a gap: a series has a "
     "row for every period between its first and its last"),
    ("demand", 10, "date", "9024-01-12", "demand.csv, column date, row 10: '9024-01-12': must be a date, YYYY-MM-DD, in the years 1970 to 2199"),
    ("demand", 11, "item_id", "z", "demand.csv, column item_id, row 11: 'z': this series is not in items"),
    ("demand", 11, "item_id", "", "demand.csv, column item_id, row 11: must not be empty"),
    ("demand", 11, "location_id", "", "demand.csv, column location_id, row 11: must not be empty"),
    ("items", 2, "lead_time_days", "0", "items.csv, column lead_time_days, row 2: 0.0: must be a whole number from 1"),
    ("items", 2, "lead_time_days", "1e18", "items.csv, column lead_time_days, row 2: 1e+18: must be a whole number"),
    ("items", 2, "lead_time_days", "nan", "items.csv, column lead_time_days, row 2: nan: must be a whole number"),
    ("items", 2, "review_period_days", "1.5", "items.csv, column review_period_days, row 2: 1.5: must be a whole"),
    ("items", 2, "review_offset_days", "-1", "items.csv, column review_offset_days, row 2: -1.0: must be a whole"),
    ("items", 2, "review_offset_days", "", "items.csv, column review_offset_days, row 2: must be a whole number"),
    ("items", 3, "lost_sale_cost", "", "items.csv, column lost_sale_cost, row 3: must not be empty"),
    ("items", 3, "holding_cost_per_day", "-1", "items.csv, column holding_cost_per_day, row 3: -1.0: must be a number"),
    ("items", 3, "lost_sale_cost", "1e300", "items.csv, column lost_sale_cost, row 3: 1e+300: must be a number of at least 0 and at most 1e12"),
    ("items", 3, "min_order_qty", "few", "items.csv, column min_order_qty, row 3: 'few': must be a number"),
    ("items", 3, "orderable_until", "soon", "items.csv, column orderable_until, row 3: 'soon': must be a date"),
    ("items", 3, "item_id", "a", "demand.csv, column item_id, row 21: 'c': this series is not in items"),
    ("items", 1, "item_id", "", "items.csv, column item_id, row 1: must not be empty"),
    ("items", 2, "item_id", "a", "items.csv, column item_id, row 2: 'a': the series stands here twice"),
    ("state", 2, "on_hand", "", "state.csv, column on_hand, row 2: must be a number of at least 0"),
    ("state", 2, "on_hand", "-3", "state.csv, column on_hand, row 2: -3.0: must be a number of at least 0"),
    ("state", 2, "item_id", "a", "state.csv, column item_id, row 2: 'a': the series stands here twice"),
    ("open_orders", 1, "arrival_date", "x", "open_orders.csv, column arrival_date, row 1: 'x': must be a date"),
    ("open_orders", 1, "arrival_date", "", "open_orders.csv, column arrival_date, row 1: must not be empty"),
    ("open_orders", 2, "arrival_date", "2124-01-01", "open_orders.csv, column arrival_date, row 2: 2124-01-01: lies"),
    ("open_orders", 1, "quantity", "-1", "open_orders.csv, column quantity, row 1: -1.0: must be a number"),
    ("calendar", 4, "date", "x", "calendar.csv, column date, row 4: 'x': must be a date, YYYY-MM-DD"),
    ("calendar", 4, "open", "x", "calendar.csv, column open, row 4: 'x': must be true or false"),
]  # fmt: skip


@pytest.mark.parametrize(("stem", "row", "column", "value", "line"), BAD_CELLS)
def test_a_bad_cell_is_named_by_file_column_row_and_value(
    tmp_path: Path, stem: str, row: int, column: str, value: str, line: str
) -> None:
    def change(_: dict[str, Any], tables: Tables) -> None:
        tables[stem] = put(tables[stem], row, column, value or None)

    written(tmp_path, change)
    with pytest.raises(DataError) as caught:
        read_panel(tmp_path)
    found = [str(problem) for problem in caught.value.problems]
    assert any(text.startswith(line) for text in found), found
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("stem", "row", "column", "value", "line"), BAD_CELLS)
def test_a_bad_cell_sets_only_its_own_series_aside(
    tmp_path: Path, stem: str, row: int, column: str, value: str, line: str
) -> None:
    """The rest reads as if the bad series had never been there. A calendar belongs to no series: it is refused."""

    def change(_: dict[str, Any], tables: Tables) -> None:
        tables[stem] = put(tables[stem], row, column, value or None)

    folder = written(tmp_path / "bad", change)
    aside: list[Problem] = []
    if stem == "calendar":
        with pytest.raises(DataError):
            read_panel(folder, set_aside=aside)
        return
    panel = read_panel(folder, set_aside=aside)
    bad = {problem.series for problem in aside}
    cells = [(problem.file, problem.column, problem.row) for problem in aside]
    assert len(set(cells)) == len(cells), "one reason for a cell"
    kept = list(zip(panel.items.item_id, panel.items.location_id, strict=True))
    assert not bad & set(kept)
    assert len(kept) >= 1 if stem == "items" else len(kept) >= 2

    def drop(settings_: dict[str, Any], tables: Tables) -> None:
        change(settings_, tables)
        good = pl.DataFrame(kept, schema=["item_id", "location_id"], orient="row")
        for name in ("demand", "items", "state", "open_orders"):
            tables[name] = tables[name].join(good, on=["item_id", "location_id"], how="semi", maintain_order="left")

    assert_same(panel, read_panel(written(tmp_path / "good", drop)))


def with_masks(tables: Tables, masks: list[Any]) -> None:
    """The demand table with these masks in its first rows and none in the others."""
    column = pl.Series("oos_mask", masks + [None] * (tables["demand"].height - len(masks)), strict=False)
    tables["demand"] = tables["demand"].with_columns(column)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_hours_out_of_stock_are_read_to_the_bit_and_unknown_where_empty(tmp_path: Path, suffix: str) -> None:
    masks = [0, 1, 2**23 + 1, 2**24 - 1, 2**24 - 2]
    panel = read_panel(written(tmp_path, lambda _, tables: with_masks(tables, masks), suffix))
    assert panel.oos_mask is not None
    assert panel.oos_mask.dtype == np.int32
    np.testing.assert_array_equal(panel.oos_mask[0, :6], [*masks, -1])
    assert (panel.oos_mask[1:] == -1).all()
    np.testing.assert_array_equal(panel.take(np.array([2, 0])).oos_mask, panel.oos_mask[[2, 0]])
    assert read_panel(written(tmp_path / "none", lambda _, tables: None)).oos_mask is None


@pytest.mark.parametrize("mask", [2.0**24, -1.0, 0.5, float("nan"), float("inf")])
def test_a_mask_of_other_hours_than_a_day_has_is_named(tmp_path: Path, mask: float) -> None:
    folder = written(tmp_path, lambda _, tables: with_masks(tables, [0.0, mask]), "parquet")
    line = f"demand.parquet, column oos_mask, row 2: {mask}: must be a whole number from 0 to 16777215"
    assert refusal(folder) == line
    aside: list[Problem] = []
    assert read_panel(folder, set_aside=aside).items.item_id.tolist() == ["b", "c"]
    assert [str(problem) for problem in aside] == [line]


def test_a_week_has_no_hours(tmp_path: Path) -> None:
    def change(settings_: dict[str, Any], tables: Tables) -> None:
        settings_["period_days"] = 7
        tables["demand"] = tables["demand"].filter(pl.col("date").dt.day().is_in([1, 8]))
        with_masks(tables, [0])

    expected = "demand.csv, column oos_mask: 7: hours belong to days, so it takes period_days of 1"
    assert refusal(written(tmp_path, change)) == expected


@pytest.mark.parametrize("stem", ["demand", "items"])
def test_a_missing_file_is_named(tmp_path: Path, stem: str) -> None:
    written(tmp_path, lambda _, tables: _ignore(tables.pop(stem)))
    line = refusal(tmp_path)
    assert line.startswith(f"{stem}.parquet, column -: there is no {stem}.parquet or {stem}.csv in ")


@pytest.mark.parametrize(
    ("stem", "column"),
    [("demand", "in_stock"), ("demand", "date"), ("demand", "item_id"), ("items", "lead_time_days"),
     ("items", "location_id"), ("state", "on_hand"), ("open_orders", "arrival_date"), ("calendar", "date")],
)  # fmt: skip
def test_a_missing_column_is_named_with_the_columns_there_are(tmp_path: Path, stem: str, column: str) -> None:
    def change(_: dict[str, Any], tables: Tables) -> None:
        tables[stem] = tables[stem].drop(column)

    written(tmp_path, change)
    assert refusal(tmp_path).startswith(f"{stem}.csv, column {column}: the column is missing; the file has ")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("stem", ["demand", "items", "calendar", "state", "open_orders"])
def test_a_file_of_no_bytes_or_of_other_bytes_is_refused_in_one_line(tmp_path: Path, stem: str, suffix: str) -> None:
    for n, content in enumerate((b"", b"PAR1 and then nothing that anybody wrote PAR1", b"\xff\xfe\x00,\x80\n\x00")):
        folder = written(tmp_path / str(n), lambda _, tables: None, suffix)
        (folder / f"{stem}.{suffix}").write_bytes(content)
        assert refusal(folder).startswith(f"{stem}.{suffix}, column ")


def test_a_table_without_rows_is_refused_where_rows_are_needed(tmp_path: Path) -> None:
    def clear(stem: str) -> Callable[[dict[str, Any], Tables], None]:
        def change(_: dict[str, Any], tables: Tables) -> None:
            tables[stem] = tables[stem].clear()

        return change

    assert refusal(written(tmp_path / "demand", clear("demand"))) == (
        "demand.csv, column units_sold: the file has no rows"
    )
    assert "this series is not in items" in refusal(written(tmp_path / "items", clear("items")))
    for stem in ("calendar", "state", "open_orders"):
        for suffix in ("csv", "parquet"):
            assert read_panel(written(tmp_path / f"{stem} {suffix}", clear(stem), suffix)).series_count == 3


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("period_days", 0, "dataset.json, column period_days: 0: must be a whole number from 1 to 366"),
        ("period_days", 10**30, "dataset.json, column period_days: 1000000000000000000000000000000: must be a whole"),
        ("period_days", True, "dataset.json, column period_days: True: must be a whole number"),
        ("period_days", "7", "dataset.json, column period_days: 7: must be a whole number"),
        ("quantity", "whole", "dataset.json, column quantity: whole: must be discrete or continuous"),
        ("quantity", ["discrete"], "dataset.json, column quantity: ['discrete']: must be discrete or continuous"),
        ("review_origin", "1.1.2024", "dataset.json, column review_origin: 1.1.2024: must be a date, YYYY-MM-DD"),
        ("review_origin", None, "dataset.json, column review_origin: None: must be a date, YYYY-MM-DD"),
        ("promotion_known_ahead_days", -1, "dataset.json, column promotion_known_ahead_days: -1: must be a whole"),
    ],
)
def test_a_bad_setting_is_named(tmp_path: Path, key: str, value: object, line: str) -> None:
    written(tmp_path, lambda settings_, _: settings_.update({key: value}))
    assert refusal(tmp_path).startswith(line)


def test_settings_that_are_missing_or_no_json_are_refused(tmp_path: Path) -> None:
    written(tmp_path, lambda settings_, _: _ignore(settings_.pop("period_days")))
    assert refusal(tmp_path) == "dataset.json, column period_days: is missing"
    for content in (b"{", b"", b"\xff", b"[" * 100_000):
        (tmp_path / "dataset.json").write_bytes(content)
        assert refusal(tmp_path).startswith("dataset.json, column -: is not JSON (")
    (tmp_path / "dataset.json").write_text("[1]", encoding="utf-8")
    assert refusal(tmp_path) == "dataset.json, column -: must be a JSON object"
    (tmp_path / "dataset.json").unlink()
    assert refusal(tmp_path).startswith("dataset.json, column -: there is no dataset.json in ")


@pytest.mark.parametrize(
    ("stem", "column", "values"),
    [
        ("demand", "date", [20240101 + n for n in range(30)]),
        ("demand", "units_sold", [[1.0]] * 30),
        ("demand", "units_sold", [date(2024, 1, 1)] * 30),
        ("demand", "promotion", [b"x"] * 30),
        ("demand", "promotion", [0.5] * 30),
        ("items", "item_id", [[1], [2], [3]]),
        ("items", "lead_time_days", [timedelta(days=1)] * 3),
    ],
)
def test_a_parquet_column_of_another_type_is_refused(tmp_path: Path, stem: str, column: str, values: list[Any]) -> None:
    """An integer that looks like a date would otherwise become a day some fifty thousand years ahead."""

    def change(_: dict[str, Any], tables: Tables) -> None:
        tables[stem] = tables[stem].with_columns(pl.Series(column, values))

    written(tmp_path, change, "parquet")
    line = refusal(tmp_path)
    assert line.startswith(f"{stem}.parquet, column {column}")
    assert "must be " in line


def test_types_that_mean_the_same_are_read(tmp_path: Path) -> None:
    """Whole numbers as keys, dates with a time of midnight, flags as 0 and 1, a column that is empty throughout."""

    def change(_: dict[str, Any], tables: Tables) -> None:
        for stem in ("demand", "items", "state", "open_orders"):
            numbers = pl.col("item_id").replace_strict({"a": 1, "b": 2, "c": 3}, return_dtype=pl.Int64)
            tables[stem] = tables[stem].with_columns(numbers)
        dates = [datetime.combine(day, datetime.min.time()) for day in tables["demand"]["date"]]
        tables["demand"] = tables["demand"].with_columns(
            pl.Series("date", dates), pl.col("promotion").cast(pl.Int8), pl.lit(None).alias("price")
        )

    panel = read_panel(written(tmp_path, change, "parquet"))
    assert panel.items.item_id.tolist() == ["1", "2", "3"]
    np.testing.assert_array_equal(np.flatnonzero(panel.promotion[2] == 1), [2])
    assert np.isnan(panel.price).all()


def test_a_series_on_another_weekday_is_the_one_set_aside_even_if_it_is_the_earliest(tmp_path: Path) -> None:
    def change(settings_: dict[str, Any], tables: Tables) -> None:
        settings_["period_days"] = 7
        weekly = pl.col("date").rank("dense").over("item_id", "location_id") * 7
        monday = pl.lit(date(2024, 1, 1)) + pl.duration(days=weekly)
        tables["demand"] = tables["demand"].with_columns(
            pl.when(pl.col("item_id") == "a").then(monday - pl.duration(days=15)).otherwise(monday).alias("date")
        )

    folder = written(tmp_path, change)
    assert refusal(folder).startswith("demand.csv, column date, row 1: 2023-12-24: does not start a 7-day period")
    aside: list[Problem] = []
    assert read_panel(folder, set_aside=aside).items.item_id.tolist() == ["b", "c"]
    assert [problem.series for problem in aside] == [("a", "x")]


def test_a_weekly_calendar_flag_is_the_share_of_the_weeks_days(tmp_path: Path) -> None:
    def change(settings_: dict[str, Any], tables: Tables) -> None:
        settings_["period_days"] = 7
        tables["demand"] = tables["demand"].filter(pl.col("date").dt.day().is_in([1, 8]))

    panel = read_panel(written(tmp_path, change))
    np.testing.assert_allclose(panel.open[0], [6 / 7, 6 / 7])
    np.testing.assert_allclose(panel.holiday[0], [1 / 7, 0])


def test_a_calendar_by_location_reaches_only_the_series_there(tmp_path: Path) -> None:
    def change(_: dict[str, Any], tables: Tables) -> None:
        tables["calendar"] = tables["calendar"].with_columns(pl.lit("y").alias("location_id"))

    panel = read_panel(written(tmp_path, change))
    assert np.isnan(panel.open[:2]).all()
    assert panel.open[2, 6] == 0


def test_an_item_without_history_stays_in_the_panel(tmp_path: Path) -> None:
    """A new product is asked about before it has sold anything."""

    def change(_: dict[str, Any], tables: Tables) -> None:
        tables["demand"] = tables["demand"].filter(pl.col("item_id") != "b")

    panel = read_panel(written(tmp_path, change))
    assert panel.items.item_id.tolist() == ["a", "b", "c"]
    assert np.isnan(panel.units_sold[1]).all()


def test_nothing_left_after_setting_aside_is_an_error(tmp_path: Path) -> None:
    def change(_: dict[str, Any], tables: Tables) -> None:
        tables["items"] = tables["items"].with_columns(pl.lit(-1.0).alias("lost_sale_cost"))

    with pytest.raises(DataError, match=r"items.csv, column lost_sale_cost, row 1: -1.0: .* \(and 2 more\)"):
        read_panel(written(tmp_path, change), set_aside=[])


def test_stock_files_may_be_replaced_and_stand_at_another_day(tmp_path: Path) -> None:
    """As of the 12th, the order for the 13th comes next; rows of series that nobody asked for are passed over."""
    folder = written(tmp_path, lambda _, tables: None)
    state = tmp_path / "elsewhere.csv"
    state.write_text("item_id,location_id,on_hand\nc,y,5\nq,q,9\n", encoding="utf-8")
    panel = with_stock(read_panel(folder), folder, state=state, as_of=11)
    np.testing.assert_array_equal(panel.on_hand, [np.nan, np.nan, 5])
    np.testing.assert_array_equal(panel.open_orders[0], [7, 0])
    with pytest.raises(DataError, match=r"nowhere\.csv, column -: there is no file"):
        with_stock(panel, folder, state=tmp_path / "nowhere.csv")


def test_a_weekly_order_can_be_sold_from_the_first_whole_week_after_it_arrives(tmp_path: Path) -> None:
    def change(settings_: dict[str, Any], tables: Tables) -> None:
        settings_["period_days"] = 7
        tables["demand"] = tables["demand"].filter(pl.col("date") == date(2024, 1, 1))
        days = [date(2024, 1, 8), date(2024, 1, 9)]
        tables["open_orders"] = tables["open_orders"].with_columns(pl.Series("arrival_date", days))

    np.testing.assert_array_equal(read_panel(written(tmp_path, change)).open_orders[0], [3, 4])


def test_a_line_break_in_a_value_does_not_break_the_line(tmp_path: Path) -> None:
    def change(_: dict[str, Any], tables: Tables) -> None:
        tables["demand"] = put(tables["demand"], 1, "item_id", "two\nlines")

    assert "'two\\nlines'" in refusal(written(tmp_path, change))


NASTY = st.one_of(
    st.text(max_size=12), st.floats().map(str), st.integers().map(str), st.dates().map(str),
    st.sampled_from(["", '"', ",", "\n", "\r", "null", "NaN", "-0", "1e400", "true", "0x10", "٣", "1 000", "2024-02-30"]),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["demand", "items", "calendar", "state", "open_orders"]), st.data(), st.booleans())
def test_a_corrupted_csv_cell_either_reads_or_is_a_data_error(
    tmp_path: Path, stem: str, data: st.DataObject, raw: bool
) -> None:
    """Any other exception would be a traceback in front of a user. Raw: not even quoted as CSV should be."""
    settings_, tables = dataset_tables()
    folder = write_dataset(tmp_path, settings_, tables)
    lines = [line.split(",") for line in (folder / f"{stem}.csv").read_text(encoding="utf-8").splitlines()]
    row = data.draw(st.integers(0, len(lines) - 1))
    column = data.draw(st.integers(0, len(lines[0]) - 1))
    value = data.draw(NASTY)
    lines[row][column] = value if raw else '"' + value.replace('"', '""') + '"'
    text = "\n".join(",".join(line) for line in lines)
    (folder / f"{stem}.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    for aside in (None, []):
        try:
            read_panel(folder, set_aside=aside)
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_a_parquet_file_cut_short_anywhere_is_a_data_error(tmp_path: Path) -> None:
    """A copy that was interrupted. (Bytes changed inside a page may abort polars itself; no caller can catch that.)"""
    folder = written(tmp_path, lambda _, tables: None, "parquet")
    content = (folder / "demand.parquet").read_bytes()
    for length in range(0, len(content), max(len(content) // 40, 1)):
        (folder / "demand.parquet").write_bytes(content[:length])
        assert refusal(folder).startswith("demand.parquet, column -: cannot be read as Parquet (")


def _ignore(_: object) -> None:
    """What a lambda returned."""
