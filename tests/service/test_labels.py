"""Overrides come back out of the service as labels, and are settled against what sold afterwards."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from orpr.expert_file import read_labels
from service.app import create_app
from service.datasets import Dataset
from service.decision_store import find_decision
from service.feed_forms import PARQUET
from service.label_store import followed
from service.labels import SCHEMA
from service.loading import load_panel
from service.rows import row_size
from service.settings import Settings
from service.settlements import Settlements
from service.store import Store
from service.tables import decisions
from simulator.contract import contract_id, interface
from simulator.observation import ObservationSpec
from simulator.panel import Panel
from tests.bundles import make_bundle
from tests.panels import make_panel
from tests.service.conftest import client_of

YEAR = 379
START = date(2024, 1, 1)
DAY = START + timedelta(days=YEAR)  # as_of: the last day before the rush
RUSH = [5, 5, 10, 10, 5, 5]
EXPORT = "/v1/overrides/export"
KEPT = "held-3.75"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that always holds 3.75 days."""
    return make_bundle(tmp_path_factory.mktemp("bundle"), KEPT, 3.75)


@pytest.fixture(scope="module")
def rush() -> Panel:
    """Five series that sell 5 a day for a year, then 10 on two days of six: lead time two days, an order every other day,
    packs of five. The fourth had run out on one of the two, the last is no longer recorded after the first day."""
    sold = np.array([[5.0] * (YEAR + 1) + RUSH + [5.0] * 10] * 5, dtype=np.float32)
    stocked = np.ones_like(sold)
    stocked[3, YEAR + 3] = 0.5
    sold[4, YEAR + 2 :] = np.nan
    items = {"review_period_days": 2, "review_offset_days": 1, "order_multiple": 5.0, "category": "cakes"}
    return make_panel(sold, items=items, in_stock=stocked, quantity="discrete", start=START)


@pytest.fixture
def app(
    request: pytest.FixtureRequest, database_url: str, rush: Panel, bundle: Path, tmp_path: Path
) -> Iterator[FastAPI]:
    store = Store(database_url)
    load_panel(store, rush, "rush", draw_stock=False)
    store.close()
    made = create_app(Settings(database_url=database_url, spool=tmp_path / "spool.db", policy=str(bundle)))
    yield made
    made.state.features_cache.close()
    made.state.store.close()


@pytest.fixture
async def ann(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app, "ann") as http:
        yield http


async def override(client: httpx.AsyncClient, item: str = "i0", **changes: Any) -> int:
    """6.75 days: 33.75 units."""
    body = {
        "item_id": item, "selling_from": str(DAY + timedelta(days=2)), "selling_to": str(DAY + timedelta(days=3)),
        "mode": "set", "value": 6.75, "reason": "fair in town", "author": "ann", "promotion_id": "FAIR",
    }  # fmt: skip
    made = await client.post("/v1/overrides", json=body | changes)
    return int(made.raise_for_status().json()["id"])


async def ask(
    client: httpx.AsyncClient, item: str = "i0", day: date = DAY, on_hand: float = 10, coming: Sequence[Any] = ()
) -> dict[str, Any]:
    asked = {"item_id": item, "location_id": "here", "on_hand": on_hand, "open_orders": list(coming)}
    told = await client.post("/v1/recommendations", json={"as_of": str(day), "items": [asked]})
    result: dict[str, Any] = told.raise_for_status().json()["items"][0]["result"]
    return result


async def tell(client: httpx.AsyncClient, decision: dict[str, Any], **outcome: Any) -> None:
    (await client.post(f"/v1/decisions/{decision['decision_id']}/outcome", json=outcome)).raise_for_status()


async def exported(client: httpx.AsyncClient, **matching: str) -> pl.DataFrame:
    answer = (await client.get(EXPORT, params=matching)).raise_for_status()
    assert answer.headers["Content-Type"] == PARQUET
    return pl.read_parquet(io.BytesIO(answer.content))


async def settlement(client: httpx.AsyncClient, number: int) -> dict[str, Any]:
    told: dict[str, Any] = (await client.get(f"/v1/overrides/{number}/settlement")).raise_for_status().json()
    return told


async def test_an_override_is_settled_to_the_units_and_money_that_can_be_worked_out_by_hand(
    ann: httpx.AsyncClient,
) -> None:
    """The sum is done in test_settling: 10 are ordered by the policy (3.75 days of 5 are 18.75, less 10 on hand, in packs of
    five), 25 after the override; 5 more are sold, at 4.00 each, and 30 unit-days more are held at 0.50."""
    number = await override(ann)
    result = await ask(ann)
    assert result["policy_days"] == pytest.approx(3.75, abs=0.1)
    assert result["order_quantity"] == 25
    told = await settlement(ann, number)
    line = told["lines"][0]
    assert line["decision_id"] == result["decision_id"]
    assert line["settled_until"] == str(DAY + timedelta(days=6))
    costs = ("order_quantity", "lost_units", "stock_periods", "lost_sale_cost", "holding_cost", "total_cost")
    assert [line["stood"][name] for name in costs] == [25, 0, 60, 0, 30, 30]
    assert [line["policy"][name] for name in costs] == [10, 5, 30, 20, 15, 35]
    assert (line["saved_units"], line["money"], line["demand_understated"]) == (5, 5, False)
    sums = ("state", "decisions", "settled", "saved_units", "stock_periods", "money", "currency")
    assert [told[name] for name in sums] == ["settled", 1, 1, 5, 30, 5, "EUR"]


async def test_a_label_holds_what_the_expert_and_the_policy_said_and_what_the_policy_saw(
    app: FastAPI, ann: httpx.AsyncClient
) -> None:
    number = await override(ann)
    result = await ask(ann)
    answer = (await ann.get(EXPORT)).raise_for_status()
    table = pl.read_parquet(io.BytesIO(answer.content))
    assert table.schema == pl.Schema(SCHEMA)
    told = pl.read_parquet_metadata(io.BytesIO(answer.content))
    assert told["orpr.schema"] == "1"
    assert told["orpr.fingerprint"] == contract_id(interface(1))
    assert told["orpr.period_days"] == "1"
    assert table.height == 1
    row = table.row(0, named=True)
    expected = {
        "kind": "override", "decision_id": result["decision_id"], "override_id": number, "item_id": "i0",
        "location_id": "here", "category": "cakes", "promotion_id": "FAIR", "author": "ann", "reason": "fair in town",
        "mode": "set", "value": 6.75, "selling_from": DAY + timedelta(days=2), "selling_to": DAY + timedelta(days=3),
        "order_date": DAY, "policy_version": KEPT, "on_hand": 10, "on_order": 0, "order_quantity": 25, "outcome": "open",
        "ordered_quantity": None, "settled_money": 5,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert row["policy_inventory_days"] == result["policy_days"]
    assert row["expert_inventory_days"] == pytest.approx(6.75)
    assert row["daily_rate"] == result["daily_rate"]
    assert row["target_stock"] == result["target_stock"]
    with app.state.store.database.reading() as connection:
        stored = find_decision(connection, result["decision_id"])
    assert stored is not None
    assert row["observation"] == stored["observation"]
    assert row["decided_at"] == stored["created_at"]
    assert row["override_created_at"] < row["decided_at"]
    assert len(zlib.decompress(row["observation"])) == row_size(ObservationSpec(1))


async def test_a_label_can_be_read_as_what_the_policy_saw(ann: httpx.AsyncClient, tmp_path: Path) -> None:
    """By what learns from it; open orders stand in the periods in which they come, overdue ones in the next, those beyond
    the horizon in its last."""
    coming = [
        {"arrival_date": str(DAY + timedelta(days=3)), "quantity": 4},
        {"arrival_date": str(DAY - timedelta(days=1)), "quantity": 2},
        {"arrival_date": str(DAY + timedelta(days=300)), "quantity": 9},
    ]
    await override(ann)
    result = await ask(ann, coming=coming)
    (tmp_path / "labels.parquet").write_bytes((await ann.get(EXPORT)).raise_for_status().content)
    table = pl.read_parquet(tmp_path / "labels.parquet")
    assert table["arriving"].to_list() == [[2, 0, 4, *[0] * 87, 9]]
    assert table["on_order"].to_list() == [15]
    labels = read_labels(tmp_path / "labels.parquet", ObservationSpec(1))
    assert labels.size == 1
    assert labels.expert_days[0] == pytest.approx(6.75)
    assert labels.observation["units_sold"][0, -28:].tolist() == [5] * 28
    assert labels.observation["on_hand"].tolist() == [10]
    assert labels.observation["on_order"].sum() == 15
    assert labels.settled_money[0] == (await settlement(ann, result["override"]["id"]))["money"]


async def test_units_and_per_cent_become_the_days_that_they_come_to(ann: httpx.AsyncClient) -> None:
    await override(ann, "i0", mode="add_units", value=12)
    await override(ann, "i1", mode="uplift", value=100)
    results = [await ask(ann, "i0"), await ask(ann, "i1")]
    table = await exported(ann)
    for result, row in zip(results, table.iter_rows(named=True), strict=True):
        assert row["expert_inventory_days"] == pytest.approx(result["target_stock"] / result["daily_rate"])
        assert row["expert_inventory_days"] > row["policy_inventory_days"] + 1
    assert table["mode"].to_list() == ["add_units", "uplift"]


async def test_what_was_ordered_otherwise_without_an_override_is_a_label_too(
    app: FastAPI, ann: httpx.AsyncClient, tmp_path: Path
) -> None:
    """25 in place of 10: with 10 on hand that is 7 days of 5, and earns what the override earned."""
    changed, same, confirmed = [await ask(ann, item) for item in ("i0", "i1", "i2")]
    assert changed["order_quantity"] == 10
    async with client_of(app, "erp", ["erp"]) as erp:
        await tell(erp, changed, status="changed", quantity=25, note="truck had room")
        await tell(erp, same, status="changed", quantity=10)
        await tell(erp, confirmed, status="ordered")
    (row,) = (await exported(ann)).iter_rows(named=True)
    expected = {
        "kind": "executed", "decision_id": changed["decision_id"], "override_id": None, "promotion_id": None,
        "author": "erp", "reason": "truck had room", "mode": None, "value": None, "override_created_at": None,
        "selling_from": DAY + timedelta(days=2), "selling_to": DAY + timedelta(days=3), "order_quantity": 10,
        "ordered_quantity": 25, "outcome": "changed", "settled_money": 5,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert row["expert_inventory_days"] == pytest.approx((10 + 25) / changed["daily_rate"])
    assert (await exported(ann, promotion_id="FAIR")).height == 0
    await override(ann, "i2")
    await ask(ann, "i2", on_hand=12)
    (tmp_path / "labels.parquet").write_bytes((await ann.get(EXPORT)).raise_for_status().content)
    more = read_labels(tmp_path / "labels.parquet", ObservationSpec(1)).ordered_more
    assert more is not None
    assert more.tolist() == pytest.approx([15, np.nan], nan_ok=True)


async def test_a_followed_override_that_the_buyer_changed_again_teaches_what_was_ordered(
    app: FastAPI, ann: httpx.AsyncClient, tmp_path: Path
) -> None:
    """The override is still settled by its own number, as its author wants to know what that one earned."""
    number = await override(ann)
    result = await ask(ann)
    assert result["override"]["id"] == number
    before = (await settlement(ann, number))["money"]
    async with client_of(app, "erp", ["erp"]) as erp:
        await tell(erp, result, status="changed", quantity=result["order_quantity"] + 30, note="a full pallet")
    (row,) = (await exported(ann)).iter_rows(named=True)
    assert (row["kind"], row["author"], row["reason"], row["mode"]) == ("executed", "erp", "a full pallet", None)
    assert (row["override_id"], row["promotion_id"]) == (number, "FAIR")
    ordered = result["order_quantity"] + 30
    assert row["expert_inventory_days"] == pytest.approx((10 + ordered) / result["daily_rate"])
    (tmp_path / "labels.parquet").write_bytes((await ann.get(EXPORT)).raise_for_status().content)
    labels = read_labels(tmp_path / "labels.parquet", ObservationSpec(1))
    more, followed = labels.ordered_more, labels.override_days
    assert more is not None
    assert followed is not None
    assert followed[0] == row["override_inventory_days"] == pytest.approx(result["target_stock"] / result["daily_rate"])
    assert np.isnan(more[0])  # more than the override asked for, which says nothing of the policy's own advice
    assert (await settlement(ann, number))["money"] == before
    assert row["settled_money"] != before


async def test_only_the_decision_that_was_in_force_for_its_order_counts(ann: httpx.AsyncClient) -> None:
    number = await override(ann)
    before = await ask(ann, on_hand=12)  # gives way to the next answer for the same order
    counts = await ask(ann)
    not_due = await ask(ann, day=DAY - timedelta(days=1))
    assert before["override"] is not None
    assert not not_due["review_due"]
    assert (await exported(ann))["decision_id"].to_list() == [counts["decision_id"]]
    assert (await settlement(ann, number))["decisions"] == 1
    await tell(ann, counts, status="ordered")
    again = await ask(ann)  # what was ordered is deducted: the same order, not a second one
    assert again["decision_id"] != counts["decision_id"]
    table = await exported(ann)
    assert table["decision_id"].to_list() == [counts["decision_id"]]
    assert table["outcome"].to_list() == ["ordered"]


async def test_labels_are_chosen_by_dates_author_and_promotion(ann: httpx.AsyncClient) -> None:
    later = {"selling_from": str(DAY + timedelta(days=4)), "selling_to": str(DAY + timedelta(days=5))}
    await override(ann)
    await override(ann, "i1", author="bob", promotion_id="")
    await override(ann, **later)
    for item, day in (("i0", DAY), ("i1", DAY), ("i0", DAY + timedelta(days=2))):
        await ask(ann, item, day)

    async def found(**matching: str) -> list[tuple[str, date]]:
        table = await exported(ann, **matching)
        return list(table.select("item_id", "order_date").iter_rows())

    second = DAY + timedelta(days=2)
    assert await found() == [("i0", DAY), ("i1", DAY), ("i0", second)]
    assert await found(order_from=str(second)) == [("i0", second)]
    assert await found(order_to=str(DAY)) == [("i0", DAY), ("i1", DAY)]
    assert await found(author="bob") == [("i1", DAY)]
    assert await found(promotion_id="FAIR") == [("i0", DAY), ("i0", second)]
    assert await found(promotion_id="FAIR", author="bob") == []
    wrong = await ann.get(EXPORT, params={"order_from": str(second), "order_to": str(DAY)})
    assert (wrong.status_code, wrong.json()["type"]) == (422, "request-invalid")
    assert str(second) in wrong.json()["detail"]


async def test_a_file_of_several_parts_is_one_and_too_many_labels_are_a_problem(
    ann: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for item in ("i0", "i1", "i2", "i3"):
        await override(ann, item)
        await ask(ann, item)
    whole = await exported(ann)
    monkeypatch.setattr("service.labels.AT_ONCE", 3)
    parts = await exported(ann)
    assert parts.equals(whole)
    assert parts["item_id"].to_list() == ["i0", "i1", "i2", "i3"]
    monkeypatch.setattr("service.labels.MOST_LABELS", 3)
    refused = await ann.get(EXPORT)
    assert (refused.status_code, refused.json()["type"]) == (422, "too-many-labels")
    assert "more than 3 labels" in refused.json()["detail"]
    assert (await ann.get(EXPORT, params={"newest": True})).status_code == 422  # one day alone has more


async def test_of_too_many_labels_the_newest_days_can_be_had(
    ann: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [DAY - timedelta(days=2 * n) for n in (2, 1, 0)]
    far = {"selling_from": str(days[0]), "selling_to": str(DAY + timedelta(days=9))}
    for item in ("i0", "i1"):
        await override(ann, item, **far)
        for day in days:
            await ask(ann, item, day=day)
    whole = await exported(ann)
    assert whole["order_date"].to_list() == [day for day in days for _ in range(2)]
    for most, first in ((6, 0), (5, 2), (4, 2), (3, 4), (2, 4)):
        monkeypatch.setattr("service.labels.MOST_LABELS", most)
        assert (await exported(ann, newest=True)).equals(whole[first:])


async def test_the_file_leaves_nothing_on_the_disk(
    ann: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    await override(ann)
    await ask(ann)
    assert (await exported(ann)).height == 1
    monkeypatch.setattr("service.labels.MOST_LABELS", 0)
    assert (await ann.get(EXPORT)).status_code == 422
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_an_observation_of_another_form_is_left_out_and_counted(app: FastAPI, ann: httpx.AsyncClient) -> None:
    await override(ann)
    await override(ann, "i1")
    old, new = await ask(ann), await ask(ann, "i1")
    with app.state.store.database.writing() as connection:
        mine = decisions.c.id == old["decision_id"]
        connection.execute(sa.update(decisions).where(mine).values(observation=zlib.compress(b"older")))
    content = (await ann.get(EXPORT)).raise_for_status().content
    assert pl.read_parquet(io.BytesIO(content))["decision_id"].to_list() == [new["decision_id"]]
    assert pl.read_parquet_metadata(io.BytesIO(content))["orpr.left_out"] == "1"


async def test_labels_take_the_scope_planner_or_ops_and_settlements_any_key(
    app: FastAPI, ann: httpx.AsyncClient
) -> None:
    number = await override(ann)
    for scope, status in (("planner", 200), ("ops", 200), ("erp", 403)):
        async with client_of(app, f"only {scope}", [scope]) as client:
            told = await client.get(EXPORT)
            assert told.status_code == status
            assert (await client.get(f"/v1/overrides/{number}/settlement")).status_code == 200
    assert told.json()["type"] == "scope-missing"
    assert "planner or ops" in told.json()["detail"]


async def test_a_settlement_says_how_far_it_is(ann: httpx.AsyncClient) -> None:
    unasked = await override(ann, "i2")
    assert (await settlement(ann, unasked))["state"] == "nothing_ordered"
    rejected = await override(ann, "i1")
    await tell(ann, await ask(ann, "i1"), status="rejected")
    told = await settlement(ann, rejected)
    assert (told["state"], told["decisions"], told["settled"]) == ("nothing_ordered", 1, 0)
    assert told["lines"][0]["state"] == "nothing_ordered"
    assert told["lines"][0]["stood"] is told["lines"][0]["money"] is None
    assert (await exported(ann))["settled_money"].to_list() == [None]

    last = DAY + timedelta(days=16)
    both = await override(ann, selling_to=str(last + timedelta(days=3)))
    await ask(ann)
    await ask(ann, day=last)
    told = await settlement(ann, both)
    assert (told["state"], told["decisions"], told["settled"], told["money"]) == ("partly", 2, 1, 5)
    assert {line["state"] for line in told["lines"]} == {"settled", "too_early"}
    late = await override(
        ann, "i3", selling_from=str(last + timedelta(days=1)), selling_to=str(last + timedelta(days=3))
    )
    await ask(ann, "i3", day=last)
    told = await settlement(ann, late)
    assert (told["state"], told["lines"][0]["state"], told["settled"]) == ("too_early", "too_early", 0)
    assert (await ann.get("/v1/overrides/4711/settlement")).json()["type"] == "override-unknown"


async def test_where_something_ran_out_the_settlement_says_that_demand_was_more(ann: httpx.AsyncClient) -> None:
    number = await override(ann, "i3")
    await ask(ann, "i3")
    told = await settlement(ann, number)
    assert (told["state"], told["demand_understated"], told["lines"][0]["demand_understated"]) == (
        "settled",
        True,
        True,
    )
    assert told["money"] is not None
    assert (await exported(ann))["settled_money"].to_list() == [None]  # it is told to its author, but weighs nothing


async def test_a_series_that_is_no_longer_recorded_is_settled_a_week_later(
    app: FastAPI, ann: httpx.AsyncClient
) -> None:
    """i4 was taken from the shelves after a day: the history goes on until ten days after its last counted one."""
    number = await override(ann, "i4")
    await ask(ann, "i4")
    told = await settlement(ann, number)
    assert (told["state"], told["saved_units"], told["demand_understated"]) == ("settled", 0, True)
    late = await override(ann, "i4", selling_from=str(DAY + timedelta(days=8)), selling_to=str(DAY + timedelta(days=9)))
    await ask(ann, "i4", day=DAY + timedelta(days=6))
    assert (await settlement(ann, late))["state"] == "too_early"


async def test_many_orders_of_one_override_are_settled_in_parts_and_too_many_are_a_problem(
    ann: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await override(ann, item_id=None)
    for item in ("i0", "i1", "i2"):
        await ask(ann, item)
    whole = await settlement(ann, number)
    assert (whole["decisions"], whole["settled"], whole["money"]) == (3, 3, 15)
    monkeypatch.setattr("service.settlements.AT_ONCE", 2)
    assert await settlement(ann, number) == whole
    monkeypatch.setattr("service.settlements.MOST_SETTLED", 2)
    refused = await ann.get(f"/v1/overrides/{number}/settlement")
    assert (refused.status_code, refused.json()["type"]) == (422, "settlement-too-large")


async def test_an_override_of_a_decision_from_before_the_column_is_found(app: FastAPI, ann: httpx.AsyncClient) -> None:
    """The migration reads it out of what the decision rested on."""
    number = await override(ann)
    result, plain = await ask(ann), await ask(ann, "i1")
    database = app.state.store.database
    database.migrate("0010")
    database.migrate()
    with database.reading() as connection:
        found = [find_decision(connection, one["decision_id"]) for one in (result, plain)]
    assert [one and one["override_id"] for one in found] == [number, None]
    assert found[0] is not None
    assert json.loads(found[0]["inputs"])["override"]["id"] == number
    assert (await settlement(ann, number))["money"] == 5


def stored_decision(**fields: Any) -> dict[str, Any]:
    """A decision of 10 on hand and targets of 35 and 20, an order two weeks ahead that is for two weeks."""
    span = fields.pop("span", [str(START + timedelta(days=21)), str(START + timedelta(days=34))])
    rules = {"min_order_qty": 0.0, "order_multiple": 1.0, "max_order_qty": None, "min_stock": 0.0, "max_stock": None}
    inputs = {
        "on_hand": 10.0, "open_orders": [], "reserved": [], "shown": [], "placed": 0.0, "span": span, "override": None,
        "ordering_mode": "order_up_to", "rules": rules | {"keep_days": None, "orderable": True, "rounding": "up"},
    }  # fmt: skip
    answer = {"policy_days": 4.0, "daily_rate": 5.0, "target_stock": 35.0, "inventory_position": 10.0}
    return {
        "id": "d-1", "item_id": "i0", "location_id": "here", "order_date": START + timedelta(days=7),
        "expected_receipt_date": START + timedelta(days=21), "order_quantity": 25.0, "review_due": True,
        "status": "open", "policy_version": "weekly", "client_ref": "", "made_for": "erp",
        "created_at": datetime(2024, 1, 8, tzinfo=UTC), "inputs": json.dumps(inputs), "answer": json.dumps(answer),
        "observation": b"", "override_id": 1, "ordered_quantity": None,
    } | fields  # fmt: skip


@pytest.fixture
def weeks(database_url: str) -> Iterator[Settlements]:
    """The store of test_settling's example, a day there being a week here."""
    store = Store(database_url)
    items = {"lead_time_days": 14, "review_period_days": 14, "review_offset_days": 7}
    sold = [[5, 5, 5, 5, 10, 10, 5, 5, 5, 5]]
    load_panel(store, make_panel(sold, items=items, period_days=7, start=START), "weeks", draw_stock=False)

    def dataset() -> Dataset:
        found = store.dataset()
        assert found is not None
        return found

    yield Settlements(store, dataset)
    store.close()


def test_weeks_are_settled_as_weeks(weeks: Settlements) -> None:
    """As in the example, 5 more are sold at 4.00; 30 units more stand for a week, which is 7 days at 0.50."""
    (line,) = weeks.lines([stored_decision()])
    assert line.stood is not None
    assert line.policy is not None
    assert (line.state, line.settled_until) == ("settled", START + timedelta(days=49))
    assert (line.stood.order_quantity, line.policy.order_quantity) == (25, 10)
    assert (line.stood.stock_periods, line.policy.stock_periods) == (60, 30)
    assert (line.saved_units, line.money) == (5, 5 * 4 - 30 * 7 * 0.5)


def test_a_decision_of_other_periods_or_of_a_series_that_is_gone_is_not_settled(weeks: Settlements) -> None:
    days = [str(START + timedelta(days=9)), str(START + timedelta(days=10))]
    rows = [stored_decision(span=days), stored_decision(item_id="gone"), stored_decision()]
    assert [line.state for line in weeks.lines(rows)] == ["no_history", "no_history", "settled"]
    assert [line.state for line in weeks.lines(rows[:2])] == ["no_history", "no_history"]


def test_the_decisions_of_an_override_are_read_from_an_index(app: FastAPI) -> None:
    plans: list[str] = []
    database = app.state.store.database
    word = "EXPLAIN" if database.dialect == "postgresql" else "EXPLAIN QUERY PLAN"

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        if not statement.startswith("SELECT"):
            return
        cursor.execute(f"{word} {statement}", parameters)
        plans.append(" ".join(str(row) for row in cursor.fetchall()).lower())

    with database.reading() as connection:
        if database.dialect == "postgresql":  # of a small table it would read all
            connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        sa.event.listen(connection, "before_cursor_execute", explain)
        assert followed(connection, 17) == []
    (plan,) = plans
    assert "ix_decisions_override" in plan
