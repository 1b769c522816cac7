"""What an ERP sends: stored whole or not at all, in three forms, and it counts in the next answer."""

from __future__ import annotations

import io
import json
from datetime import date, timedelta
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from fastapi import FastAPI

from simulator.panel import Panel

PARQUET, NDJSON = "application/vnd.apache.parquet", "application/x-ndjson"
LAST = date(2019, 4, 30)
ITEM = {"lost_sale_cost": 2.0, "holding_cost_per_day": 0.01, "lead_time_days": 2, "review_period_days": 1,
        "review_offset_days": 0, "min_order_qty": 0, "order_multiple": 0}  # fmt: skip


def key(chain: Panel, row: int = 0) -> dict[str, str]:
    return {"item_id": chain.items.item_id[row], "location_id": chain.items.location_id[row]}


async def put(client: httpx.AsyncClient, path: str, rows: Any, **headers: str) -> httpx.Response:
    return await client.put(f"/v1/{path}", json=rows, headers=headers)


async def everything(client: httpx.AsyncClient, path: str, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while cursor is not None or not found:
        page = (await client.get(f"/v1/{path}", params=query | ({"cursor": cursor} if cursor else {}))).json()
        found += page["items"]
        cursor = page["next_cursor"]
        if not page["items"]:
            break
    return found


async def answer(client: httpx.AsyncClient, chain: Panel, row: int = 0, **fields: Any) -> dict[str, Any]:
    body = {"items": [key(chain, row) | fields], "record": False}
    found = (await client.post("/v1/recommendations", json=body)).raise_for_status().json()
    assert found["items"][0]["problem"] is None, found
    result: dict[str, Any] = found["items"][0]["result"]
    return result | {"as_of": found["as_of"]}


async def test_a_night_of_feeds_moves_the_service_on_by_a_day(client: httpx.AsyncClient, chain: Panel) -> None:
    day = LAST + timedelta(days=1)
    rows = range(chain.series_count)
    sold = [key(chain, n) | {"date": str(day), "units_sold": 40 + n, "in_stock": 1, "promotion": False} for n in rows]
    stock = [key(chain, n) | {"date": str(day), "on_hand": 10 * n} for n in rows]
    coming = [key(chain, n) | {"arrival_date": str(day + timedelta(days=1)), "quantity": n} for n in rows]
    for path, table in (("history", sold), ("inventory", stock), ("open-orders", coming)):
        told = (await put(client, path, table)).raise_for_status().json()
        assert told == {"rows": len(rows), "stored": len(rows), "ignored": 0}
    found = await answer(client, chain, 3)
    assert found["as_of"] == str(day)
    assert (found["on_hand"], found["on_order"], found["stock_source"]) == (30, 3, "store")
    history = await everything(client, "history", **key(chain, 3), **{"from": str(LAST)})
    assert [(one["date"], one["units_sold"]) for one in history][1] == (str(day), 43)


async def test_a_correction_changes_the_answer_though_the_row_was_cached(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    before = await answer(client, chain, on_hand=5)
    assert await answer(client, chain, on_hand=5) == before
    late = [key(chain) | {"date": str(LAST - timedelta(days=n)), "units_sold": 900, "in_stock": 1} for n in range(28)]
    await put(client, "history", late)
    after = await answer(client, chain, on_hand=5)
    assert after["daily_rate"] > 2 * before["daily_rate"]
    kept = await everything(client, "history", **key(chain), **{"from": str(LAST)})
    t = chain.last_recorded
    assert kept[0]["promotion"] == bool(chain.promotion[0, t])  # the column was not sent


async def test_every_count_of_stock_is_kept_by_day(client: httpx.AsyncClient, chain: Panel) -> None:
    assert await everything(client, "inventory/history") == []  # what came with the dataset is in its own file
    days = [str(LAST + timedelta(days=n)) for n in (0, 1, 2)]
    for day, units in ((days[0], 5), (days[2], 3), (days[1], 8), (days[1], 4)):  # one late, and told again
        await put(client, "inventory", [key(chain, n) | {"date": day, "on_hand": units + n} for n in range(2)])
    found = await everything(client, "inventory/history", **key(chain))
    assert [(one["date"], one["on_hand"]) for one in found] == [(days[0], 5), (days[1], 4), (days[2], 3)]
    assert [one["on_hand"] for one in await everything(client, "inventory", **key(chain))] == [3]
    between = await everything(client, "inventory/history", **{"from": days[1], "to": days[1]})
    assert sorted(one["on_hand"] for one in between) == [4, 5]


async def test_the_three_forms_say_the_same(client: httpx.AsyncClient, chain: Panel) -> None:
    rows = [key(chain, n) | {"date": str(LAST), "on_hand": n + 0.5} for n in range(4)]
    frame = pl.DataFrame(rows).with_columns(pl.col("date").str.to_date())
    parquet = io.BytesIO()
    frame.write_parquet(parquet)
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    seen = []
    for body, form in ((json.dumps(rows).encode(), "application/json"), (lines, NDJSON), (parquet.getvalue(), PARQUET)):
        await put(client, "inventory", [key(chain, n) | {"date": str(LAST), "on_hand": 0} for n in range(4)])
        sent = await client.put("/v1/inventory", content=body, headers={"Content-Type": form})
        assert sent.status_code == 200, sent.text
        seen.append(await everything(client, "inventory"))
    assert seen[0] == seen[1] == seen[2]
    assert sorted(one["on_hand"] for one in seen[0])[:4] == [0.5, 1.5, 2.5, 3.5]


@pytest.mark.parametrize(
    ("path", "change", "row", "field", "named"),
    [
        ("history", {"units_sold": -1}, 1, "units_sold", "at least 0"),
        ("history", {"units_sold": "many"}, 1, "units_sold", "many"),
        ("history", {"in_stock": 7}, 1, "in_stock", "between 0 and 1"),
        ("history", {"date": "yesterday"}, 1, "date", "yesterday"),
        ("history", {"item_id": "unheard-of"}, 1, "item_id", "unheard-of"),
        ("history", {"unit_sold": 3}, None, "unit_sold", "units_sold"),
        ("history", {"oos_mask": 3}, None, "oos_mask", "training"),
        ("inventory", {"on_hand": None}, 1, "on_hand", "at least 0"),
        ("inventory", {"item_id": ""}, 1, "item_id", "empty"),
        ("open-orders", {"quantity": -4}, 1, "quantity", "-4"),
        ("open-orders", {"arrival_date": "9999-12-31"}, 1, "arrival_date", "1970 to 2199"),
        ("open-orders", {"quantity": 1e300}, 1, "quantity", "at most 1e12"),
        ("inventory", {"date": "2199-01-01"}, 1, "date", "must lie between"),
        ("history", {"date": "2190-01-01"}, 1, "date", "lies ahead"),
        ("history", {"units_sold": 1e30}, 1, "units_sold", "at most 1e12"),
        ("items", {"unit_cost": 1e300}, 1, "unit_cost", "at most 1e12, got 1e+300"),
        ("items", {"holding_cost_per_day": 1e13}, 1, "holding_cost_per_day", "at most 1e12"),
        ("items", {"lead_time_days": 0}, 1, "lead_time_days", "1 to 3650"),
        ("items", {"lost_sale_cost": None}, 1, "lost_sale_cost", "empty"),
        ("calendar", {"open": "perhaps"}, None, "open", "true or false"),
    ],
)
async def test_one_bad_row_is_named_and_nothing_is_stored(
    client: httpx.AsyncClient, chain: Panel, path: str, change: dict[str, Any], row: int | None, field: str, named: str
) -> None:
    good = {
        "history": {"date": str(LAST), "units_sold": 77, "in_stock": 1},
        "inventory": {"date": str(LAST), "on_hand": 77},
        "open-orders": {"arrival_date": str(LAST), "quantity": 77},
        "items": ITEM | {"name": "77"},
        "calendar": {"date": str(LAST), "open": 1, "location_id": "S17"},
    }[path]
    series = [{}, {}] if path == "calendar" else [key(chain, 0), key(chain, 1)]
    rows = [series[0] | good | (change if row is None else {}), series[1] | good | change]
    if path == "calendar":
        rows[1]["date"] = str(LAST - timedelta(days=1))
    before = await everything(client, path)
    refused = await put(client, path, rows)
    assert refused.status_code == 422, refused.text
    first = refused.json()["errors"][0]
    assert (first.get("row") if row is not None else None, first["field"]) == (row, field)
    assert named in first["detail"]
    assert await everything(client, path) == before


@pytest.mark.parametrize(
    ("body", "form", "status"),
    [
        (b"[", "application/json", 422),
        (b'{"a": 1}', "application/json", 422),
        (b"[]", "application/json", 422),
        (b"[3]", "application/json", 422),
        (b'[{"item_id": {"a": 1}}]', "application/json", 422),
        (b'{"a": 1}\n{"a":', NDJSON, 422),
        (b"PAR1 and nothing else", PARQUET, 422),
        (b"", PARQUET, 422),
        (b"a,b\n1,2\n", "text/csv", 415),
        (b"[" * 100_000, "application/json", 422),
    ],
)
async def test_a_body_that_is_no_table_is_refused(
    client: httpx.AsyncClient, body: bytes, form: str, status: int
) -> None:
    for path in ("items", "history", "inventory", "open-orders", "calendar"):
        answer = await client.put(f"/v1/{path}", content=body, headers={"Content-Type": form})
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"


async def test_older_stock_never_takes_the_place_of_newer(client: httpx.AsyncClient, chain: Panel) -> None:
    new = [key(chain, 0) | {"date": str(LAST), "on_hand": 5}, key(chain, 1) | {"date": str(LAST), "on_hand": 6}]
    await put(client, "inventory", new)
    mixed = [
        key(chain, 0) | {"date": str(LAST - timedelta(days=1)), "on_hand": 500},
        key(chain, 1) | {"date": str(LAST), "on_hand": 7},
    ]
    assert (await put(client, "inventory", mixed)).json() == {"rows": 2, "stored": 1, "ignored": 1}
    stock = {one["location_id"]: one["on_hand"] for one in await everything(client, "inventory")}
    assert [stock[key(chain, n)["location_id"]] for n in (0, 1)] == [5, 7]


async def test_open_orders_are_replaced_for_the_series_that_are_named(client: httpx.AsyncClient, chain: Panel) -> None:
    def coming(row: int, *quantities: float) -> list[dict[str, Any]]:
        return [key(chain, row) | {"arrival_date": "2019-05-02", "quantity": units} for units in quantities]

    await put(client, "open-orders", coming(0, 5, 6) + coming(1, 7))
    await put(client, "open-orders", coming(0, 8))
    assert sorted(one["quantity"] for one in await everything(client, "open-orders")) == [7, 8]
    await put(client, "open-orders", coming(1, 0))
    assert [one["quantity"] for one in await everything(client, "open-orders")] == [8]


async def test_a_new_item_is_answered_at_once_and_a_changed_rule_counts(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    new = ITEM | {"item_id": "NEW", "location_id": "S17", "category": "bakery", "expected_daily_demand": 4}
    await put(client, "items", [new])
    body = {"items": [{"item_id": "NEW", "location_id": "S17", "on_hand": 0, "open_orders": []}], "record": False}

    async def found() -> dict[str, Any]:
        told = (await client.post("/v1/recommendations", json=body)).json()["items"][0]
        assert told["problem"] is None, told
        result: dict[str, Any] = told["result"]
        return result

    first = await found()
    assert first["rate_source"] != "history"
    await put(client, "items", [new | {"order_multiple": 50}])
    packed = await found()
    assert first["order_quantity"] % 50 > 0
    assert packed["order_quantity"] == np.ceil(packed["raw_order_quantity"] / 50) * 50
    stored = await everything(client, "items", item_id="NEW")
    assert (stored[0]["order_multiple"], stored[0]["expected_daily_demand"]) == (50, 4)


async def test_a_calendar_day_moves_a_receipt(client: httpx.AsyncClient, chain: Panel) -> None:
    before = await answer(client, chain, on_hand=5)
    receipt = date.fromisoformat(before["expected_receipt_date"])
    await put(client, "calendar", [{"location_id": "S17", "date": str(receipt), "delivery_open": False}])
    after = await answer(client, chain, on_hand=5)
    assert date.fromisoformat(after["expected_receipt_date"]) == receipt + timedelta(days=1)
    days = await everything(client, "calendar", location_id="S17", **{"from": str(receipt), "to": str(receipt)})
    assert [(one["date"], one["delivery_open"]) for one in days] == [(str(receipt), 0)]


async def test_pages_together_are_everything_once(client: httpx.AsyncClient, chain: Panel) -> None:
    place = key(chain)["location_id"]
    whole = await everything(client, "history", location_id=place, limit=5000)
    pages = await everything(client, "history", location_id=place, limit=500)
    assert len(whole) > 1000
    assert pages == whole
    assert len({one["location_id"] for one in await everything(client, "items", limit=5)}) == chain.series_count
    for path in ("items", "history", "inventory", "open-orders", "calendar"):
        bad = await client.get(f"/v1/{path}", params={"cursor": "WyJhIiwgImIiXQ=="})
        assert bad.status_code in (200, 422)
        assert (await client.get(f"/v1/{path}", params={"cursor": "none of ours"})).status_code == 422


async def test_a_feed_that_is_sent_again_is_taken_once(client: httpx.AsyncClient, app: FastAPI, chain: Panel) -> None:
    rows = [key(chain) | {"date": str(LAST), "units_sold": 3, "in_stock": 1}]
    first = await put(client, "history", rows, **{"Idempotency-Key": "night"})
    before = app.state.store.dataset()
    again = await put(client, "history", rows, **{"Idempotency-Key": "night"})
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert app.state.store.dataset() == before


async def test_a_table_in_which_no_date_can_be_read_is_refused(client: httpx.AsyncClient, chain: Panel) -> None:
    rows = [key(chain) | {"date": "2019-04-30T00:00", "units_sold": 1, "in_stock": 1}]
    refused = await put(client, "history", rows)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "date")


async def test_a_calendar_without_a_known_flag_changes_nothing(client: httpx.AsyncClient, chain: Panel) -> None:
    day = {"location_id": "S17", "date": "2019-04-30"}
    before = await everything(client, "calendar", location_id="S17")
    assert (await put(client, "calendar", [day | {"temperature": 21}])).status_code == 200
    assert await everything(client, "calendar", location_id="S17") == before


@pytest.mark.parametrize("place", [["a", "b"], [10**30], [True], ["2019-04-30", 3], {"a": 1}, [[1]], 5])
async def test_a_cursor_of_another_kind_is_refused(client: httpx.AsyncClient, place: Any) -> None:
    import base64

    cursor = base64.urlsafe_b64encode(json.dumps(place).encode()).decode()
    for path in ("overrides", "decisions", "history", "open-orders", "calendar"):
        answer = await client.get(f"/v1/{path}", params={"cursor": cursor})
        assert answer.status_code in (200, 422), (path, answer.text)
        assert answer.status_code == 422 or path in ("calendar", "decisions")


async def test_a_text_that_a_database_cannot_hold_is_refused_or_harmless(
    client: httpx.AsyncClient, chain: Panel
) -> None:
    nul = "a\x00b"
    override = {"selling_from": "2019-05-01", "selling_to": "2019-05-20", "mode": "set", "value": 9, "reason": nul,
                "author": nul}  # fmt: skip
    answers = [
        await client.post("/v1/overrides", json=override),
        await client.get("/v1/decisions", params={"client_ref": nul}),
        await client.get("/v1/overrides", params={"item_id": nul}),
        await client.post("/v1/recommendations", json={"items": [key(chain) | {"on_hand": 1}], "client_ref": nul}),
        await put(client, "calendar", [{"location_id": nul, "date": "2019-04-30", "open": 1}]),
    ]
    assert {answer.status_code for answer in answers} <= {200, 201, 422}


async def test_open_orders_that_are_sent_twice_at_once_are_stored_once(client: httpx.AsyncClient, chain: Panel) -> None:
    import asyncio

    rows = [key(chain, n) | {"arrival_date": "2019-05-02", "quantity": n + 1} for n in range(chain.series_count)]
    for _ in range(5):
        await asyncio.gather(*(put(client, "open-orders", rows) for _ in range(4)))
        assert len(await everything(client, "open-orders")) == len(rows)


@pytest.mark.parametrize(
    ("path", "row"),
    [
        ("items", ITEM | {"orderable_until": "0000-01-01"}),
        ("items", ITEM | {"orderable_until": "+12345-01-01"}),
        ("items", ITEM | {"item_id": "x" * 201}),
        ("calendar", {"date": "+12345-01-01", "open": 1}),
        ("inventory", {"date": "2019-04-30", "on_hand": 3, "item_id": "\ud800"}),
        ("inventory", {"date": "2019-04-30", "on_hand": 3, "\ud800": 3}),
        ("inventory", {f"c{n}": 3 for n in range(70)}),
    ],
)
async def test_a_poisonous_row_is_refused_and_the_service_goes_on(
    client: httpx.AsyncClient, chain: Panel, path: str, row: dict[str, Any]
) -> None:
    body = json.dumps([key(chain) | row] if path != "calendar" else [{"location_id": "S17"} | row])
    refused = await client.put(f"/v1/{path}", content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code == 422, refused.text
    assert await answer(client, chain, on_hand=3)
    assert (await client.get("/v1/items")).status_code == 200


async def test_dates_that_no_calendar_holds_are_refused_in_parquet_too(client: httpx.AsyncClient, chain: Panel) -> None:
    for day in (10_000_000, -(2**31)):
        frame = pl.DataFrame([key(chain) | {"quantity": 3.0}]).with_columns(
            arrival_date=pl.lit(day, dtype=pl.Int32).cast(pl.Date)
        )
        parquet = io.BytesIO()
        frame.write_parquet(parquet)
        headers = {"Content-Type": PARQUET}
        refused = await client.put("/v1/open-orders", content=parquet.getvalue(), headers=headers)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "arrival_date")


async def test_an_item_without_an_end_may_say_so_as_erp_systems_do(client: httpx.AsyncClient, chain: Panel) -> None:
    assert (await put(client, "items", [key(chain) | ITEM | {"orderable_until": "9999-12-31"}])).status_code == 200
    assert (await everything(client, "items", **key(chain)))[0]["orderable_until"] is None


async def test_a_field_that_one_row_leaves_out_erases_nothing(client: httpx.AsyncClient, chain: Panel) -> None:
    rows = [
        key(chain) | {"date": "2019-04-29", "units_sold": 3, "in_stock": 1, "promotion": True},
        key(chain) | {"date": "2019-04-30", "units_sold": 3, "in_stock": 1},
    ]
    refused = await put(client, "history", rows)
    assert refused.status_code == 422
    assert "row 1 lacks 'promotion'" in refused.json()["detail"]


async def test_what_is_read_can_be_sent_back(client: httpx.AsyncClient, chain: Panel) -> None:
    await put(client, "open-orders", [key(chain) | {"arrival_date": "2019-05-02", "quantity": 3}])
    place = {"location_id": key(chain)["location_id"]}
    for path in ("items", "history", "inventory", "open-orders", "calendar"):
        page = (await client.get(f"/v1/{path}", params=place | {"limit": "50"})).json()["items"]
        assert page, path
        assert (await put(client, path, page)).status_code == 200, path
        assert (await client.get(f"/v1/{path}", params=place | {"limit": "50"})).json()["items"] == page


async def test_another_dataset_in_between_brings_no_stale_features_back(
    client: httpx.AsyncClient, app: FastAPI, chain: Panel
) -> None:
    from service.loading import load_panel

    def sold(units: int) -> list[dict[str, Any]]:
        days = (LAST - timedelta(days=n) for n in range(28))
        return [key(chain) | {"date": str(day), "units_sold": units, "in_stock": 1} for day in days]

    rates = []
    for units in (900, 10):
        load_panel(app.state.store, chain, "the same files", draw_stock=True)
        await put(client, "history", sold(units))
        rates.append((await answer(client, chain, on_hand=5))["daily_rate"])
    assert rates[0] > 10 * rates[1]
