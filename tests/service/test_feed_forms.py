"""JSON, lines of JSON and Parquet say the same: the same rows are stored of each feed, and the same errors are named."""

from __future__ import annotations

import io
import json
from datetime import date, timedelta
from typing import Any

import httpx
import polars as pl
import pytest

from simulator.panel import Panel
from tests.service.test_feeds import ITEM, LAST, NDJSON, PARQUET, everything, key, put

JSON = "application/json"
FORMS = (JSON, NDJSON, PARQUET)
DATES = ("date", "arrival_date", "orderable_until")
PLACE = "S17"
ROWS: dict[str, list[dict[str, Any]]] = {
    "items": [
        ITEM | {
            "category": "brötchen", "parent_category": "Backwaren", "region": "Süd", "name": 'Brot, "hell"\n1', "unit_price": 2.4,
            "unit_cost": 1.3, "max_order_qty": 480.0, "min_stock": 10.0, "max_stock": 600.5, "orderable_until": "2030-12-31",
            "reference_item_id": "B102", "expected_daily_demand": 0.1, "expected_turnover_days": 10.0, "shelf_life_days": 5.0,
            "unit_volume": 0.8, "status": "active", "order_weekdays": "135", "delivery_weekdays": "246", "uom": "EA",
            "order_cutoff_days": 1.0, "order_multiple": 12.0,
        },
        ITEM | {"name": None, "unit_price": None, "status": "phase_out", "uom": "007"},
        ITEM | {"name": "三", "unit_price": 0.0, "orderable_until": None, "category": "1e3"},
    ],
    "history": [
        {"date": str(LAST), "units_sold": 0.1, "in_stock": 0.5, "price": 2.35, "promotion": True},
        {"date": str(LAST - timedelta(days=1)), "units_sold": None, "in_stock": 1.0, "price": None, "promotion": False},
        {"date": str(LAST + timedelta(days=1)), "units_sold": None, "in_stock": None, "price": 2.0, "promotion": None},
    ],
    "inventory": [{"date": str(LAST), "on_hand": units} for units in (0.0, 12.5, 1e12)],
    "open-orders": [{"arrival_date": str(LAST + timedelta(days=n)), "quantity": 0.25 + n} for n in range(3)],
    "calendar": [
        {"date": "2031-05-01", "open": False, "holiday": True, "school_holiday": None, "order_open": True, "delivery_open": False},
        {"date": "2031-05-02", "open": True, "holiday": False, "school_holiday": True, "order_open": None, "delivery_open": True},
        {"date": "2031-05-03", "open": None, "holiday": None, "school_holiday": False, "order_open": False, "delivery_open": None},
    ],
}  # fmt: skip
OTHERS: dict[str, dict[str, Any]] = {  # what is stored before, so that what stays is noticed
    "items": {"name": "other", "uom": "KG"},
    "history": {"units_sold": 5, "in_stock": 0.25, "price": 9, "promotion": None},
    "inventory": {"on_hand": 99},
    "open-orders": {"quantity": 99},
    "calendar": {"open": None, "holiday": None, "school_holiday": None, "order_open": None, "delivery_open": None},
}


def rows_of(chain: Panel, path: str) -> list[dict[str, Any]]:
    """Rows of one location, told from top to bottom with all their columns."""
    told = ROWS[path]
    columns = {name: None for row in told for name in row}
    if path == "calendar":
        return [columns | {"location_id": PLACE} | row for row in told]
    mine = [n for n in range(chain.series_count) if path != "history"] or [0] * len(told)
    return [key(chain, n) | columns | row for n, row in zip(mine, told, strict=False)]


def sent(rows: list[dict[str, Any]], form: str) -> bytes:
    """The rows in a form; in Parquet with the types that their values have."""
    if form == JSON:
        return json.dumps(rows).encode()
    if form == NDJSON:
        return "\n".join(json.dumps(row) for row in rows).encode()
    kept = io.BytesIO()
    pl.DataFrame({name: _column([row.get(name) for row in rows], name) for name in rows[0]}).write_parquet(kept)
    return kept.getvalue()


def _column(values: list[Any], name: str) -> pl.Series:
    if name in DATES:
        try:
            return pl.Series([None if value is None else date.fromisoformat(value) for value in values], dtype=pl.Date)
        except ValueError:
            pass
    if any(isinstance(value, str) for value in values):
        return pl.Series([None if value is None else str(value) for value in values], dtype=pl.String)
    if all(isinstance(value, bool | None) for value in values):
        return pl.Series(values, dtype=pl.Boolean)
    return pl.Series([None if value is None else float(value) for value in values], dtype=pl.Float64)


async def feed(client: httpx.AsyncClient, path: str, rows: list[dict[str, Any]], form: str) -> httpx.Response:
    return await client.put(f"/v1/{path}", content=sent(rows, form), headers={"Content-Type": form})


async def stored(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    """All of a feed, of history the last days; open orders without their order, which follows from their numbers."""
    query = {"from": str(LAST - timedelta(days=2))} if path == "history" else {}
    return await everything(client, path, limit=5000, **query)


@pytest.mark.parametrize("path", ROWS)
async def test_a_table_says_the_same_in_each_form(client: httpx.AsyncClient, chain: Panel, path: str) -> None:
    rows = rows_of(chain, path)
    seen, answers = [], []
    for form in FORMS:
        before = [row | OTHERS[path] for row in rows]
        assert (await put(client, path, before)).status_code == 200
        kept = await stored(client, path)
        assert not any(_told(row, one) for row in rows for one in kept)
        told = await feed(client, path, rows, form)
        assert told.status_code == 200, (form, told.text)
        answers.append(told.json())
        seen.append(await stored(client, path))
    assert answers[0] == answers[1] == answers[2] == {"rows": len(rows), "stored": len(rows), "ignored": 0}
    assert seen[0] == seen[1] == seen[2]
    for row in rows:
        assert sum(_told(row, one) for one in seen[0]) == 1, row


def _told(row: dict[str, Any], one: dict[str, Any]) -> bool:
    """Whether a stored row says what was sent, in the precision that it is kept in."""
    return all(
        one[name] is None if value is None
        else one[name] == pytest.approx(float(value), rel=1e-6) if isinstance(value, bool | float | int)
        else one[name] == value
        for name, value in row.items()
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("items", "lead_time_days", 0), ("items", "unit_cost", -2.5), ("items", "status", "asleep"),
        ("items", "orderable_until", "soon"), ("items", "orderable_until", "1969-12-31"), ("items", "uom", "\ud800"),
        ("history", "units_sold", -1.5), ("history", "in_stock", 7), ("history", "date", "yesterday"),
        ("history", "date", "2190-01-01"), ("history", "item_id", "unheard-of"), ("history", "price", 1e300),
        ("history", "promotion", 3), ("inventory", "on_hand", -4), ("inventory", "date", "2199-01-01"),
        ("inventory", "item_id", "unheard-of"), ("open-orders", "quantity", -4), ("open-orders", "quantity", "a few"),
        ("open-orders", "arrival_date", "9999-12-31"), ("calendar", "open", 7), ("calendar", "date", "someday"),
        ("calendar", "date", "1950-01-01"),
    ],
)  # fmt: skip
async def test_a_wrong_row_is_named_alike_in_each_form(
    client: httpx.AsyncClient, chain: Panel, path: str, field: str, value: Any
) -> None:
    """The row by its place, the field by its name, and the value that was sent."""
    rows, at = rows_of(chain, path), 0 if path == "history" else 2  # of history the first one has sales
    rows[at] = rows[at] | {field: value}
    before, named = await stored(client, path), []
    for form in FORMS if value != "\ud800" else FORMS[:2]:  # no Parquet can hold half a character
        refused = await feed(client, path, rows, form)
        assert refused.status_code == 422, (form, refused.text)
        problem = refused.json()
        if value == "\ud800":
            assert "row 2, 'uom'" in problem["detail"]
            continue
        errors = [one for one in problem["errors"] if one["field"] == field]
        assert [one["row"] for one in errors] == [at], (form, problem)
        shown = str(float(value)) if isinstance(value, int | float) else value
        assert shown in errors[0]["detail"] or str(value) in errors[0]["detail"], (form, errors)
        assert f"row {errors[0]['row']}" in problem["detail"]
        named.append([(one.get("row"), one["field"]) for one in problem["errors"]])
    assert all(one == named[0] for one in named)
    assert await stored(client, path) == before


@pytest.mark.parametrize("path", ROWS)
async def test_a_missing_and_an_unknown_column_are_named_alike_in_each_form(
    client: httpx.AsyncClient, chain: Panel, path: str
) -> None:
    lost = "date" if path in ("history", "inventory", "calendar") else "location_id"
    for change in ("lost", "strange"):
        details = []
        for form in FORMS:
            rows = rows_of(chain, path)
            if change == "lost":
                rows = [{name: value for name, value in row.items() if name != lost} for row in rows]
            else:
                rows = [row | {"colour": "red"} for row in rows]
            told = await feed(client, path, rows, form)
            assert told.status_code == 422, (form, told.text)
            (error,) = told.json()["errors"]
            assert error["field"] == (lost if change == "lost" else "colour")
            details.append(told.json()["detail"])
        assert len(set(details)) == 1
