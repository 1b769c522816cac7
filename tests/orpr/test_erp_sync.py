"""The rules of a sync, by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from orpr.erp.records import COMING, KEY, SOLD, STOCK, Draft, ErpItem
from orpr.erp.sync import Assumed, coming_rows, drafted_units, history_rows, item_row, outcome_of
from service.decision_schemas import DecisionBrief

DAY = date(2019, 5, 1)
YESTERDAY = DAY - timedelta(days=1)


def brief(number: str = "d-a", order_date: date = YESTERDAY, quantity: float = 10, **fields: Any) -> DecisionBrief:
    said = {"id": number, "item_id": "A", "location_id": "S", "order_date": order_date, "order_quantity": quantity,
            "expected_receipt_date": DAY, "ordered_quantity": None, "status": "open", "policy_version": "p",
            "client_ref": "", "made_for": "erp", "created_at": datetime.now(UTC)}  # fmt: skip
    return DecisionBrief(**(said | fields))


ORDERED = {"status": "ordered", "ordered_quantity": 10}


@pytest.mark.parametrize(
    ("known", "drafted", "told"),
    [
        (brief(), 10, ("ordered", None)),
        (brief(), 8, ("changed", 8)),
        (brief(**ORDERED), 10, None),
        (brief(**ORDERED), 12, ("changed", 12)),
        (brief(status="changed", ordered_quantity=12), 10, ("ordered", None)),
        (brief(**ORDERED), 0, ("rejected", None)),
        (brief(), 0, ("rejected", None)),  # it broke off before it was written, and nothing may wait for it
        (brief(order_date=DAY), 0, None),  # still to be written, perhaps
        (brief(quantity=0), 0, None),
        (brief(status="superseded"), 0, None),
        (brief(status="superseded"), 10, ("ordered", None)),  # somebody else asked, but this one stands there
        (brief(status="rejected"), 0, None),
        (brief(status="rejected"), 10, ("ordered", None)),  # taken back by the buyer
        (brief(status="seen"), 0, None),
    ],
)
def test_what_a_draft_s_fate_says_to_the_service(
    known: DecisionBrief, drafted: float, told: tuple[str, float | None] | None
) -> None:
    found = outcome_of(known, drafted, DAY)
    assert (None if found is None else (found.status, found.quantity)) == told


def test_decisions_of_merged_drafts_share_what_stands_there() -> None:
    briefs = [brief("d-a"), brief("d-b", quantity=3), brief("d-c", item_id="B", quantity=5)]
    merged = Draft(["d-a", "d-b", "d-c", "d-of-another"], {"A": 13.0, "B": 4.0}, {})
    assert drafted_units([merged], briefs) == {"d-a": 10, "d-b": 3, "d-c": 4}
    less = Draft(["d-a", "d-b"], {"A": 6.0}, {})
    assert drafted_units([less], briefs) == {"d-a": 6, "d-b": 0}


def item(**fields: Any) -> ErpItem:
    said = dict.fromkeys(ErpItem._fields) | {"item_id": "A", "location_id": "S"}
    return ErpItem(**(said | fields))


def test_a_new_item_takes_what_is_missing_from_margin_and_carrying_rate() -> None:
    row = item_row(item(unit_price=10.0), None, Assumed())
    assert row is not None
    assert (row.unit_cost, row.lost_sale_cost) == (7, 3)
    assert row.holding_cost_per_day == pytest.approx(7 * 0.25 / 365)
    assert (row.lead_time_days, row.review_period_days) == (7, 1)
    row = item_row(item(unit_cost=7.0, lead_time_days=3), None, Assumed())
    assert row is not None
    assert (row.unit_price, row.lead_time_days) == (pytest.approx(10), 3)
    assert item_row(item(), None, Assumed()) is None


def test_of_a_known_item_the_erp_changes_what_it_knows_and_nothing_else() -> None:
    stored = item_row(item(unit_price=10.0, order_multiple=6.0), None, Assumed())
    assert stored is not None
    stored = stored.model_copy(update={"lost_sale_cost": 99.0, "review_period_days": 7})
    row = item_row(item(unit_price=12.0, lead_time_days=2), stored, Assumed())
    assert row == stored.model_copy(update={"unit_price": 12.0, "lead_time_days": 2})
    assert item_row(item(), stored, Assumed()) == stored


def frame(rows: list[tuple[Any, ...]], schema: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_history_has_zeros_and_keeps_what_the_service_knows_of_stock_outs() -> None:
    stock = frame([("A", "S", 0.0), ("B", "S", 4.0), ("N", "S", 0.0)], STOCK)
    known = frame([("A", "S"), ("B", "S")], KEY)
    sold = frame([("A", "S", YESTERDAY, 5.0), ("B", "S", DAY, -2.0), ("N", "S", DAY, 3.0), ("X", "S", DAY, 1.0)], SOLD)
    was = frame([("A", "S", YESTERDAY, 0.5)], {**KEY, "date": pl.Date(), "in_stock": pl.Float64()})
    rows = history_rows(stock, known, sold, was, YESTERDAY, DAY).sort("item_id", "date")
    assert rows.columns == [*KEY, "date", "units_sold", "in_stock"]
    assert rows.drop("location_id").rows() == [
        ("A", YESTERDAY, 5.0, 0.5),
        ("A", DAY, 0.0, 0.0),  # nothing sold, nothing there
        ("B", YESTERDAY, 0.0, None),
        ("B", DAY, 0.0, None),  # returns are no negative sales
        ("N", DAY, 3.0, None),  # nothing is said of it before its first sale
    ]


def test_a_series_that_nothing_is_on_order_of_is_cleared() -> None:
    keys = frame([("A", "S"), ("B", "S")], KEY)
    coming = frame([("A", "S", DAY, 6.0), ("B", "S", DAY, 0.0), ("X", "S", DAY, 1.0)], COMING)
    assert coming_rows(keys, coming, DAY).rows() == [("A", "S", DAY, 6.0), ("B", "S", DAY, 0.0)]


@pytest.mark.parametrize(
    ("field", "value"), [("margin", 1.0), ("carrying_rate", -0.1), ("lead_time_days", 0), ("review_period_days", 0)]
)
def test_an_assumption_that_makes_no_sense_is_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} must"):
        Assumed(**{field: value})  # type: ignore[arg-type]
