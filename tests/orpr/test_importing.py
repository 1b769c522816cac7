"""The importer on real files: what it makes of returns, empty days, stock and prices; test_import_files.py has its edges."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orpr import importing
from orpr.import_report import SENTENCES
from orpr.importing import STAGES, ColumnMap, ImportReport, ImportSettings, import_dataset
from simulator.canonical import read_panel

SHOP = ImportSettings(name="shop", location_id="S1")
SALES = "item_id,date,quantity,unit_price\n"
UCI = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice
536365,85123A,WHITE HANGING HEART,6,12/1/2010 8:26,2.55
536366,85123A,WHITE HANGING HEART,2,12/1/2010 17:40,2.95
536367,71053,WHITE METAL LANTERN,4,12/1/2010 8:34,3.39
C536391,85123A,WHITE HANGING HEART,-3,12/2/2010 10:24,2.55
536400,85123A,"HEART, WHITE",1,12/4/2010 9:01,2.55
C536500,71053,WHITE METAL LANTERN,-9,12/4/2010 9:15,3.39
536501,POST,POSTAGE,-1,12/4/2010 9:20,18.00
"""
UCI_MAP = ["StockCode=item_id", "Description=name", "Quantity=quantity", "InvoiceDate=date", "UnitPrice=unit_price"]


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def imported(
    folder: Path, sales: str, config: ImportSettings = SHOP, pairs: list[str] | None = None, **tables: str
) -> tuple[ImportReport, pl.DataFrame]:
    """The report and the demand table of CSV texts; the dataset lies in `folder`/out."""
    files = {kind: written(folder, f"{kind}.csv", text) for kind, text in tables.items()}
    mapping = ColumnMap.from_pairs(pairs or [])
    path = written(folder, "sales.csv", sales)
    report = import_dataset(path, folder / "out", mapping=mapping, settings=config, **files)  # type: ignore[arg-type]
    return report, pl.read_parquet(folder / "out" / "demand.parquet")


def items_in(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["item_id"]: row for row in pl.read_parquet(folder / "out" / "items.parquet").iter_rows(named=True)}


def test_an_online_retail_file_becomes_a_dataset(tmp_path: Path) -> None:
    config = replace(SHOP, date_format="%m/%d/%Y %H:%M", currency="GBP")
    report, demand = imported(tmp_path, UCI, config, UCI_MAP)
    heart = demand.filter(item_id="85123A")
    assert heart["units_sold"].to_list() == [5, 0, 0, 1]  # 8 sold, 3 brought back the next day
    assert heart["price"].to_list() == [pytest.approx((6 * 2.55 + 2 * 2.95) / 8), None, None, pytest.approx(2.55)]
    assert demand.filter(item_id="71053")["units_sold"].to_list() == [0, 0, 0, 0]
    assert items_in(tmp_path)["85123A"]["name"] == "HEART, WHITE"
    assert report.count("returns_unplaced") == 2
    assert report.units_unplaced == 5 + 1
    assert report.count("series_never_sold") == 1
    panel = read_panel(tmp_path / "out")
    assert (panel.currency, panel.review_origin, panel.series_count) == ("GBP", date(2010, 12, 1), 2)


@settings(max_examples=30, deadline=None)
@given(
    lines=st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 12), st.integers(-40, 40), st.sampled_from([0.0, 1.0, 2.5])),
        min_size=1, max_size=25,
    ),
    return_days=st.integers(0, 9),
    period_days=st.sampled_from([1, 7]),
    ignore_free=st.booleans(),
)  # fmt: skip
def test_no_unit_appears_or_vanishes(
    lines: list[tuple[str, int, int, float]], return_days: int, period_days: int, ignore_free: bool
) -> None:
    """Sales plus unplaced returns plus what was set aside are the signed lines, and no day sells less than nothing."""
    lines = [*lines, ("a", 0, 5, 1.0), ("b", 12, 1, 1.0)]
    origin = date(2024, 1, 1)
    table = pl.DataFrame(lines, schema=["item_id", "day", "quantity", "unit_price"], orient="row")
    table = table.with_columns((pl.lit(origin) + pl.duration(days="day")).alias("date"))
    config = replace(
        SHOP, return_days=return_days, period_days=period_days, review_origin=origin, ignore_free_returns=ignore_free
    )
    with TemporaryDirectory() as folder:
        table.write_parquet(f"{folder}/sales.parquet")
        out = Path(folder) / "out"
        report = import_dataset(Path(folder) / "sales.parquet", out, mapping=ColumnMap(), settings=config)
        sold = pl.read_parquet(out / "demand.parquet")["units_sold"]
    assert sold.min() >= 0  # type: ignore[operator]
    assert sold.sum() == report.units_sold
    assert report.units_sold - report.units_unplaced + report.units_set_aside == table["quantity"].sum()
    if period_days == 1 and not ignore_free:
        assert report.units_set_aside == 0


def test_a_return_goes_back_newest_first_and_no_further_than_the_limit(tmp_path: Path) -> None:
    sales = SALES + "x,2024-01-01,5,1\nx,2024-01-03,4,1\nx,2024-01-05,2,1\nx,2024-01-05,-9,1\n"
    report, demand = imported(tmp_path, sales, replace(SHOP, return_days=2))
    assert demand["units_sold"].to_list() == [5, 0, 0, 0, 0]
    assert report.count("returns_same_day") == 1
    assert report.units_unplaced == 3  # the 5 of January 1 lie four days back


def test_a_series_runs_without_gaps_to_the_last_date_of_the_file(tmp_path: Path) -> None:
    report, demand = imported(tmp_path, SALES + "x,2024-01-02,1,1\ny,2024-01-01,1,1\ny,2024-01-05,1,1\n")
    assert demand.filter(item_id="x")["date"].to_list() == [date(2024, 1, d) for d in range(2, 6)]
    assert demand["in_stock"].to_list() == [1.0] * 9
    assert report.count("days_filled") == 6
    assert (report.first_date, report.last_date) == (date(2024, 1, 1), date(2024, 1, 5))


def test_weeks_start_on_the_weekday_of_the_review_origin_and_the_last_one_is_whole(tmp_path: Path) -> None:
    sales = SALES + "x,2024-01-03,2,1\nx,2024-01-14,3,4\nx,2024-01-15,7,1\n"
    config = replace(SHOP, period_days=7, review_origin=date(2024, 1, 1))
    report, demand = imported(tmp_path, sales, config)
    assert demand["date"].to_list() == [date(2024, 1, 1), date(2024, 1, 8)]
    assert demand["units_sold"].to_list() == [2, 3]
    assert demand["in_stock"].to_list() == [pytest.approx(5 / 7), 1]  # not launched on Monday and Tuesday
    assert report.count("incomplete_week_left_out") == 1
    assert report.units_set_aside == 7


def test_daily_snapshots_tell_a_stock_out_from_a_day_without_demand(tmp_path: Path) -> None:
    sales = SALES + "x,2024-01-01,2,1\nx,2024-01-02,3,1\nx,2024-01-06,1,1\n"
    on_hand = [3, 0, -2, 0, 4, 3]
    stock = "item_id,date,on_hand\n" + "".join(f"x,2024-01-0{d},{q}\n" for d, q in enumerate(on_hand, 1))
    report, demand = imported(tmp_path, sales, stock=stock)
    assert demand["in_stock"].to_list() == [1, None, 0, 0, 1, 1]  # sold out on the 2nd, refilled on the 5th
    assert report.count("stock_negative") == 1
    assert report.count("days_out_of_stock") == 2
    assert report.count("days_stock_unknown") == 1
    assert pl.read_parquet(tmp_path / "out" / "inventory.parquet")["on_hand"].to_list() == [3, 0, 0, 0, 4, 3]
    assert read_panel(tmp_path / "out").on_hand.tolist() == [3]


def test_between_rare_snapshots_only_what_they_prove_is_stated(tmp_path: Path) -> None:
    sales = SALES + "x,2024-01-01,2,1\nx,2024-01-03,3,1\nx,2024-01-10,1,1\ny,2024-01-01,1,1\ny,2024-01-10,1,1\n"
    stock = "item_id,date,on_hand\nx,2024-01-05,0\nx,2024-01-07,0\nx,2024-01-09,8\n"
    _, demand = imported(tmp_path, sales, stock=stock)
    assert demand.filter(item_id="x")["in_stock"].to_list() == [1, 1, None, None, None, 0, 0, None, 1, 1]
    assert demand.filter(item_id="y")["in_stock"].to_list() == [1] * 10  # no snapshot of it


def test_of_several_snapshots_on_a_day_the_latest_counts(tmp_path: Path) -> None:
    stock = "item_id,date,on_hand\nx,2024-01-01T18:00,4\nx,2024-01-01T06:30:00+01:00,9\nz,2024-01-01,1\n"
    report, _ = imported(tmp_path, SALES + "x,2024-01-01,1,1\ny,2024-01-02,1,1\n", stock=stock)
    assert pl.read_parquet(tmp_path / "out" / "state.parquet").rows() == [("x", "S1", 4.0)]
    assert [report.count(f"stock_{rule}") for rule in ("repeated", "series_unknown", "missing", "before_the_end")] == [
        1, 1, 1, 1,
    ]  # fmt: skip


def test_costs_follow_from_price_margin_and_carrying_rate(tmp_path: Path) -> None:
    sales = SALES + "x,2024-01-01,1,10\nx,2024-01-02,1,30\nx,2024-01-02,1,20\ny,2024-01-01,1,\nz,2024-01-01,1,0\n"
    items = "item_id,unit_cost,lead_time_days,order_multiple,category\ny,3,2,6,tea\nx,0,,,\n"
    report, _ = imported(tmp_path, sales, replace(SHOP, margin=0.4, carrying_rate=0.365), items=items)
    rows = items_in(tmp_path)
    assert (rows["x"]["unit_price"], rows["x"]["unit_cost"]) == (20, pytest.approx(12))
    assert rows["x"]["lost_sale_cost"] == pytest.approx(8)
    assert rows["x"]["holding_cost_per_day"] == pytest.approx(0.012)
    assert rows["y"]["unit_price"] == pytest.approx(5)  # 3 / (1 - 0.4)
    assert (rows["y"]["lead_time_days"], rows["x"]["lead_time_days"], rows["y"]["order_multiple"]) == (2, 7, 6)
    assert rows["z"]["unit_price"] == pytest.approx(12.5)  # the median of 20 and 5
    assert [report.count(f"price_from_{rule}") for rule in ("sales", "cost", "item", "dataset")] == [1, 1, 0, 1]
    assert report.count("items_missing") == 1


def test_an_items_row_of_the_location_wins_over_the_row_of_the_item(tmp_path: Path) -> None:
    sales = "item_id,location_id,date,quantity,unit_price\nx,A,2024-01-01,1,9\nx,B,2024-01-01,1,9\n"
    items = "item_id,location_id,unit_cost,category,unit_price\nx,B,10,tea,\nx,,2,food,8\n"
    report, _ = imported(tmp_path, sales, items=items)
    rows = pl.read_parquet(tmp_path / "out" / "items.parquet").select("unit_cost", "category", "unit_price")
    assert rows.rows() == [(2, "food", 8), (10, "tea", 8)]
    assert report.count("cost_not_below_price") == 1


def test_promotion_is_known_only_on_days_with_lines(tmp_path: Path) -> None:
    sales = "item_id,date,quantity,promotion\nx,2024-01-01,1,0\nx,2024-01-01,1,TRUE\nx,2024-01-03,1,false\n"
    items = "item_id,unit_price\nx,4\n"
    _, demand = imported(tmp_path, sales, items=items)
    assert demand["promotion"].to_list() == [True, None, False]
    assert "price" not in demand.columns


def test_write_offs_are_set_aside_on_request(tmp_path: Path) -> None:
    sales = SALES + "x,2024-01-01,9,2\nx,2024-01-02,-8,0\n"
    report, demand = imported(tmp_path, sales, replace(SHOP, ignore_free_returns=True))
    assert demand["units_sold"].to_list() == [9]
    assert (report.count("free_returns_ignored"), report.units_set_aside) == (1, -8)


def test_the_report_is_written_beside_the_data_and_says_the_same(tmp_path: Path) -> None:
    report, _ = imported(tmp_path, UCI, replace(SHOP, date_format="%m/%d/%Y %H:%M"), UCI_MAP)
    stored = json.loads((tmp_path / "out" / "import_report.json").read_text(encoding="utf-8"))
    assert stored == report.as_json()
    assert {f["rule"]: f["count"] for f in stored["findings"]}["returns_unplaced"] == 2
    assert any("met no sale within the limit" in line and "(6 units)" in line for line in report.as_lines())


def test_every_rule_that_is_counted_is_stated() -> None:
    missing = [rule for rule in SENTENCES if f"`{rule}`" not in (importing.__doc__ or "")]
    assert missing == []


def test_progress_passes_every_stage_in_order(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    path = written(tmp_path, "sales.csv", SALES + "x,2024-01-01,1,1\n")
    import_dataset(
        path, tmp_path / "out", mapping=ColumnMap(), settings=SHOP, progress=lambda *call: calls.append(call)
    )
    assert [call[1] for call in calls] == list(range(len(STAGES) + 1))
    assert list(dict.fromkeys(call[0] for call in calls)) == list(STAGES)
