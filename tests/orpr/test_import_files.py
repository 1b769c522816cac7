"""The importer's edges on real files: what it reads, what it refuses and in which words, and what it leaves behind."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from orpr.importing import ColumnMap, ImportReport, ImportSettings, import_dataset
from simulator.canonical import DataError, read_panel

SHOP = ImportSettings(name="shop", location_id="S1")
SALES = "item_id,date,quantity,unit_price\n"


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def imported(
    folder: Path, sales: str, config: ImportSettings = SHOP, pairs: list[str] | None = None, **tables: str
) -> ImportReport:
    """The report on CSV texts; the dataset lies in `folder`/out."""
    files = {kind: written(folder, f"{kind}.csv", text) for kind, text in tables.items()}
    path, mapping = written(folder, "sales.csv", sales), ColumnMap.from_pairs(pairs or [])
    return import_dataset(path, folder / "out", mapping=mapping, settings=config, **files)  # type: ignore[arg-type]


def test_a_german_export_is_read_with_its_own_signs(tmp_path: Path) -> None:
    sales = "Artikel;Tag;Menge;Preis\n Käse ;31.12.2023 23:59;1.234,5;2,50\nKäse;1.1.2024 0:10;-0,5;\n"
    (tmp_path / "umsatz.csv").write_bytes(sales.encode("cp1252"))
    config = replace(
        SHOP, date_format="%d.%m.%Y %H:%M", decimal_comma=True, separator=";", encoding="cp1252", quantity="continuous"
    )
    pairs = ["Artikel=item_id", "Tag=date", "sales.Menge=quantity", "Preis=unit_price"]
    import_dataset(tmp_path / "umsatz.csv", tmp_path / "out", mapping=ColumnMap.from_pairs(pairs), settings=config)
    demand = pl.read_parquet(tmp_path / "out" / "demand.parquet")
    assert demand["item_id"].unique().to_list() == ["Käse"]
    assert demand["units_sold"].to_list() == [1234, 0]
    assert demand["date"].to_list() == [date(2023, 12, 31), date(2024, 1, 1)]


def test_parquet_types_are_taken_as_they_are(tmp_path: Path) -> None:
    noon = datetime(2024, 3, 1, 23, 30)  # noqa: DTZ001 - polars attaches the zone
    table = pl.DataFrame(
        {"sku": [7, 7], "at": [noon, noon + timedelta(days=1)], "quantity": [2, 1], "unit_price": [1, 1]}
    )
    table = table.with_columns(pl.col("at").dt.replace_time_zone("Europe/Berlin"))
    table.write_parquet(tmp_path / "sales.parquet")
    mapping = ColumnMap(sales={"sku": "item_id", "at": "date"})
    import_dataset(tmp_path / "sales.parquet", tmp_path / "out", mapping=mapping, settings=SHOP)
    panel = read_panel(tmp_path / "out")
    assert (panel.items.item_id.tolist(), panel.start) == (["7"], date(2024, 3, 1))
    np.testing.assert_array_equal(panel.units_sold, [[2, 1]])


@pytest.mark.parametrize(
    ("sales", "config", "message"),
    [
        (SALES + "x,2024-01-01,1,1\nx,2024-01-02,two,1\n", SHOP, r"sales.csv, column quantity, row 2: 'two': must be"),
        (SALES + "x,2024-01-01,1,1\n\nx,31.1.2024,1,1\n", SHOP, r"column date, row 3: '31.1.2024': .* YYYY-MM-DD"),
        (SALES + "x,0024-01-01,1,1\n", SHOP, r"column date, row 1: '0024-01-01': must be a date from 1970"),
        (SALES + "x,2024-01-01,,1\n", SHOP, r"column quantity, row 1: must not be empty"),
        (SALES + ",2024-01-01,1,1\n", SHOP, r"column item_id, row 1: must not be empty"),
        (SALES + "x,2024-01-01,nan,1\n", SHOP, r"column quantity, row 1: 'nan': must be a number"),
        (SALES + "x,2024-01-01,1.5,1\n", replace(SHOP, decimal_comma=True), r"row 1: '1.5': .*comma as decimal sign"),
        (SALES + "x,2024-01-01,-1,1\n", SHOP, r"column quantity: no line is a sale"),
        (SALES + "x,2024-01-01,1,\n", SHOP, r"column unit_price: nothing gives a price.*\(x\)"),
        (SALES + "x,2024-01-01,1,1\n", replace(SHOP, period_days=7), r"column date: no complete week"),
        (SALES, SHOP, r"the file has no rows"),
        ("sku,date,quantity\nx,2024-01-01,1\n", SHOP, r"column item_id: no column is mapped.* sku, date, quantity"),
        (SALES + "x,2024-01-01,1,1,9\n", SHOP, r"cannot be read as CSV"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_in_one_line_and_leaves_nothing(
    tmp_path: Path, sales: str, config: ImportSettings, message: str
) -> None:
    with pytest.raises(DataError, match=message) as refusal:
        imported(tmp_path, sales, config)
    assert "\n" not in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir()] == ["sales.csv"]


def test_a_problem_names_the_column_as_the_caller_calls_it(tmp_path: Path) -> None:
    lines = "StockCode,Quantity,InvoiceDate\n22,1,12/1/2010 8:26\n22,1,2/12/10\n"
    pairs = ["StockCode=item_id", "Quantity=quantity", "InvoiceDate=date"]
    with pytest.raises(DataError, match=r"sales.csv, column InvoiceDate, row 2: '2/12/10': .*%m/%d/%Y %H:%M"):
        imported(tmp_path, lines, replace(SHOP, date_format="%m/%d/%Y %H:%M"), pairs)
    items = "item_id,lead_time_days\nx,1.5\n"
    with pytest.raises(DataError, match=r"items.csv, column lead_time_days, row 1: '1.5': must be a whole number"):
        imported(tmp_path, SALES + "x,2024-01-01,1,1\n", items=items)


def test_a_map_with_unknown_targets_names_them_all() -> None:
    with pytest.raises(ValueError, match=r"StockCode=sku, Quantity=qty; targets are item_id"):
        ColumnMap.from_pairs(["StockCode=sku", "Quantity=qty", "InvoiceDate=date"])
    with pytest.raises(ValueError, match=r"Menge=on_hand; targets of sales are"):
        ColumnMap.from_pairs(["sales.Menge=on_hand"])
    with pytest.raises(ValueError, match="their=ours"):
        ColumnMap.from_pairs(["StockCode"])


def test_a_map_file_is_read_and_flags_win_over_it(tmp_path: Path) -> None:
    path = written(tmp_path, "map.toml", '"Stock Code" = "item_id"\n[stock]\nBestand = "on_hand"\n')
    mapping = ColumnMap.from_toml(path).updated(ColumnMap.from_pairs(["Stock Code=name", "stock.Tag=date"]))
    assert mapping == ColumnMap(any_file={"Stock Code": "name"}, stock={"Bestand": "on_hand", "Tag": "date"})
    for text, message in (("[shop]\n", "unknown table"), ("a = 1\n", "as text"), ("a =", "not TOML")):
        with pytest.raises(ValueError, match=message):
            ColumnMap.from_toml(written(tmp_path, "bad.toml", text))


def test_a_misspelt_pair_is_not_ignored(tmp_path: Path) -> None:
    sales = SALES + "x,2024-01-01,1,1\n"
    with pytest.raises(ValueError, match="Kategorie=category meets no column of sales"):
        imported(tmp_path, sales, pairs=["Kategorie=category"])
    with pytest.raises(DataError, match=r"sales.csv, column Kategorie: the column is missing"):
        imported(tmp_path, sales, pairs=["sales.Kategorie=category"])
    with pytest.raises(DataError, match="date is mapped to"):
        imported(tmp_path, sales, pairs=["sales.item_id=date", "sales.quantity=date"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", " "), ("quantity", "whole"), ("period_days", 2), ("margin", 1.0), ("carrying_rate", 0.0),
        ("lead_time_days", 0), ("review_period_days", 0), ("return_days", -1), ("promotion_known_ahead_days", -1),
        ("separator", ";;"), ("encoding", "klingon"), ("date_format", "DD.MM.YYYY"), ("location_id", ""),
    ],
)  # fmt: skip
def test_a_setting_out_of_bounds_is_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        replace(SHOP, **{field: value})  # type: ignore[arg-type]


def test_a_folder_is_replaced_only_when_asked_and_only_a_dataset(tmp_path: Path) -> None:
    sales = SALES + "x,2024-01-01,1,1\n"
    imported(tmp_path, sales)
    with pytest.raises(ValueError, match="is not empty"):
        imported(tmp_path, sales)
    path, out = tmp_path / "sales.csv", tmp_path / "out"
    import_dataset(path, out, mapping=ColumnMap(), settings=replace(SHOP, name="again"), replace=True)
    assert read_panel(out).name == "again"
    with pytest.raises(ValueError, match="holds no dataset"):
        import_dataset(path, tmp_path, mapping=ColumnMap(), settings=SHOP, replace=True)
    inner = written(out, "sales.csv", sales)
    with pytest.raises(ValueError, match="lies in it"):
        import_dataset(inner, out, mapping=ColumnMap(), settings=SHOP, replace=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "sales.csv"]
