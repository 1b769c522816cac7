"""A sync with ERPNext: a stand-in that speaks Frappe's REST API, the real service, and what can go wrong between them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest

import orpr.erp.erpnext
from orpr.cli import main
from orpr.client import Client
from orpr.erp.erpnext import ErpNext, erpnext_at
from orpr.erp.records import ErpError
from orpr.erp.sync import Assumed, Synced, synchronise
from service.schemas import RecommendationResponse
from tests.erpnext_site import FrappeSite
from tests.serving import Service

KEY, SECRET = "0123456789abcde", "fedcba987654321"
SERIES = [("B101", "S17"), ("B101", "S47"), ("B109", "S71")]  # those that may order every day


def stocked(site: FrappeSite, day: date) -> FrappeSite:
    """Three warehouses and two items that sold 60 on a day and are gone."""
    for code in ("B101", "B109"):
        site.add("Item", code, item_name=f"Bread {code}", item_group="bakery", stock_uom="Nos", standard_rate=20.0,
                 valuation_rate=12.0, lead_time_days=2, min_order_qty=0.0, disabled=0, is_stock_item=1,
                 is_purchase_item=1, has_variants=0)  # fmt: skip
    for code, place in SERIES:
        site.add("Warehouse", place, company="Bakeries", is_group=0, disabled=0)
        site.add("Bin", item_code=code, warehouse=place, actual_qty=0.0, valuation_rate=0.0)
        moved(site, code, place, day, -60.0)
    return site


def moved(site: FrappeSite, code: str, place: str, day: date, units: float, voucher: str = "Sales Invoice") -> None:
    site.add("Stock Ledger Entry", item_code=code, warehouse=place, posting_date=str(day), actual_qty=units,
             voucher_type=voucher, is_cancelled=0)  # fmt: skip


@pytest.fixture
def site(day: date) -> Iterator[FrappeSite]:
    with FrappeSite(KEY, SECRET) as running:
        yield stocked(running, day)


def sync(site: FrappeSite, client: Client, day: date, secret: str = SECRET, days: int = 1) -> Synced:
    return synchronise(ErpNext(erpnext_at(site.url, KEY, secret), ()), client, day, days, Assumed())


def requests(site: FrappeSite) -> list[dict[str, Any]]:
    return list(site.tables["Material Request"].values())


def lines(site: FrappeSite) -> list[dict[str, Any]]:
    return list(site.tables["Material Request Item"].values())


def decisions_of(client: Client, day: date) -> dict[str, tuple[str, float | None]]:
    """Status and ordered quantity of what was advised on a day, by number, where anything was."""
    found = client.decisions(client_ref="sync erpnext", order_date=day)
    return {one.id: (one.status, one.ordered_quantity) for one in found if one.order_quantity > 0}


def test_what_is_advised_stands_in_erpnext_as_drafts_and_is_told_as_ordered(
    site: FrappeSite, client: Client, day: date
) -> None:
    done = sync(site, client, day)
    assert (done.series, done.orders, len(done.documents)) == (3, 3, 3)
    for request in requests(site):
        assert (request["docstatus"], request["material_request_type"]) == (0, "Purchase")
        assert (request["company"], request["transaction_date"]) == ("Bakeries", str(day))
    told = decisions_of(client, day)
    for line in lines(site):
        decision = client.decision(line["orpr_decision_id"])
        assert (line["item_code"], line["warehouse"]) == (decision.item_id, decision.location_id)
        assert line["schedule_date"] == str(decision.expected_receipt_date) == str(day + timedelta(days=2))
        assert line["uom"] == "Nos"
        assert told.pop(decision.id) == ("ordered", line["stock_qty"])
    assert not told


def test_a_run_that_another_overtakes_writes_none_of_its_orders_again(
    site: FrappeSite, service: Service, client: Client, day: date
) -> None:
    """The other reads, asks and writes all of its drafts between this one's answers and its first draft."""

    class Overtaken(Client):
        def recommend(self, *asked: Any, **how: Any) -> RecommendationResponse:
            answers = super().recommend(*asked, **how)
            others.append(sync(site, client, day))
            return answers

    others: list[Synced] = []
    with Overtaken(service.url, service.key, waits_s=()) as slower:
        done = sync(site, slower, day)
    assert (others[0].orders, done.orders, done.withheld) == (3, 0, 0)
    assert len(lines(site)) == 3
    assert [status for status, _ in decisions_of(client, day).values()] == ["ordered"] * 3


def test_a_second_run_on_the_same_day_writes_nothing_twice(site: FrappeSite, client: Client, day: date) -> None:
    sync(site, client, day)
    before = [dict(line) for line in lines(site)]
    again = sync(site, client, day)
    assert (again.orders, again.documents, again.told) == (0, [], 0)
    assert lines(site) == before


def test_a_request_whose_answer_is_lost_is_found_by_the_next_run(site: FrappeSite, client: Client, day: date) -> None:
    site.lose = 1
    with pytest.raises(ErpError, match=r"POST Material Request: no answer after 1 try.*it looks before it writes"):
        sync(site, client, day)
    assert len(requests(site)) == 1
    again = sync(site, client, day)
    assert (again.told, again.orders) == (1, 2)
    assert sorted((line["item_code"], line["warehouse"]) for line in lines(site)) == sorted(SERIES)
    assert {status for status, _ in decisions_of(client, day).values()} == {"ordered"}


def test_what_buyers_change_or_stop_is_told(site: FrappeSite, client: Client, day: date) -> None:
    sync(site, client, day)
    changed, stopped, cancelled = requests(site)
    mine = {line["parent"]: line for line in lines(site)}
    mine[changed["name"]]["stock_qty"] = 5.0
    stopped["status"], cancelled["docstatus"] = "Stopped", 2
    again = sync(site, client, day)
    assert (again.told, again.withheld) == (3, 2)
    told = decisions_of(client, day)
    assert told[mine[changed["name"]]["orpr_decision_id"]] == ("changed", 5.0)
    assert told[mine[stopped["name"]]["orpr_decision_id"]][0] == "rejected"
    assert told[mine[cancelled["name"]]["orpr_decision_id"]][0] == "rejected"


def test_a_request_that_nobody_orders_is_not_bought_again_after_its_receipt(
    site: FrappeSite, client: Client, day: date, days: Iterator[date]
) -> None:
    item, place = SERIES[0]

    def mine() -> list[dict[str, Any]]:
        return [line for line in lines(site) if (line["item_code"], line["warehouse"]) == (item, place)]

    for night in (day, *(next(days) for _ in range(4))):
        before = sum(line["stock_qty"] for line in mine())
        sync(site, client, night)
        (brief,) = client.decisions(item_id=item, location_id=place, order_date=night)
        answer = client.decision(brief.id).answer
        assert answer["on_order"] + answer["reserved"] == before
    mine()[0]["ordered_qty"] = mine()[0]["stock_qty"]  # a purchase order has taken it, and ERPNext tells of that one
    sync(site, client, night + timedelta(days=1))
    left = sum(line["stock_qty"] for line in mine() if line["schedule_date"] <= str(night + timedelta(days=1)))
    coming = [one.quantity for one in client.open_orders(item_id=item, location_id=place)]
    assert sum(coming) == left - mine()[0]["stock_qty"]


def test_stock_sales_and_partly_received_orders_arrive_in_stock_units(
    site: FrappeSite, client: Client, day: date
) -> None:
    item, place = SERIES[0]
    next(row for row in site.tables["Bin"].values() if row["warehouse"] == place)["actual_qty"] = 7.0
    moved(site, item, place, day, 10.0, "Delivery Note")
    moved(site, item, place, day, -500.0, "Stock Entry")
    order = site.add("Purchase Order", docstatus=1, status="To Receive and Bill")
    closed = site.add("Purchase Order", docstatus=1, status="Closed")
    for parent in (order, closed):
        site.add("Purchase Order Item", parent=parent, item_code=item, warehouse=place, docstatus=1,
                 schedule_date=str(day + timedelta(days=1)), qty=4.0, received_qty=1.0, conversion_factor=12.0)  # fmt: skip
    sync(site, client, day)
    where = {"item_id": item, "location_id": place}
    assert [one.on_hand for one in client.inventory(**where)] == [7]
    assert [one.units_sold for one in client.history(day, day, **where)] == [50]
    assert [(one.arrival_date, one.quantity) for one in client.open_orders(**where)] == [(day + timedelta(days=1), 36)]
    assert next(client.items(**where)).name == "Bread B101"


def test_small_pages_bring_the_same(site: FrappeSite, day: date, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ErpNext(erpnext_at(site.url, KEY, SECRET), ()).read(day, day)
    monkeypatch.setattr(orpr.erp.erpnext, "PAGE", 2)
    parts = ErpNext(erpnext_at(site.url, KEY, SECRET), ()).read(day, day)
    assert parts.items == whole.items
    assert parts.sold.equals(whole.sold)


def test_only_named_warehouses_are_read(site: FrappeSite, day: date) -> None:
    found = ErpNext(erpnext_at(site.url, KEY, SECRET), ["S47"]).read(day, day)
    assert [(one.item_id, one.location_id) for one in found.items] == [("B101", "S47")]
    assert set(found.sold["location_id"]) == {"S47"}
    with pytest.raises(ValueError, match="location: S18 is no warehouse; known are S17, S47, S71"):
        ErpNext(erpnext_at(site.url, KEY, SECRET), ["S18"]).read(day, day)


# --------------------------------------------------------------------------------------------------------------- errors


def test_a_wrong_secret_is_one_line_and_nothing_is_written_anywhere(
    site: FrappeSite, client: Client, day: date
) -> None:
    before = list(client.items())
    with pytest.raises(ErpError, match=r"^erpnext GET \w+: 401 AuthenticationError ") as caught:
        sync(site, client, day, secret="very-secret")
    assert "very-secret" not in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert list(client.items()) == before
    assert list(client.history(day, day)) == []
    assert requests(site) == []


def test_without_the_custom_field_nothing_is_written(client: Client, day: date) -> None:
    with FrappeSite(KEY, SECRET, custom_field=False) as bare:
        with pytest.raises(ErpError, match=r"Unknown column 'orpr_decision_id'.*has the custom field"):
            sync(stocked(bare, day), client, day)
        assert requests(bare) == []
    assert not decisions_of(client, day)


def test_what_erpnext_refuses_to_write_is_told_in_its_words_without_markup(
    site: FrappeSite, client: Client, day: date
) -> None:
    site.may_write = False
    with pytest.raises(ErpError, match=r"^erpnext POST Material Request: 403 PermissionError No permission for it$"):
        sync(site, client, day)
    assert {status for status, _ in decisions_of(client, day).values()} == {"open"}
    site.may_write = True
    assert sync(site, client, day).orders == 3
    assert len(lines(site)) == 3


def test_the_command_syncs_by_settings_from_the_environment(
    site: FrappeSite, service: Service, day: date, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"ERPNEXT_URL": site.url, "ERPNEXT_API_KEY": KEY, "ERPNEXT_API_SECRET": SECRET, "ORPR_URL": service.url,
                "ORPR_API_KEY": service.key}  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["orpr", "sync", "erpnext", "--day", str(day), "--location", "S17"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "erpnext: 1 series; 1 orders in 1 drafts" in capsys.readouterr().out
    assert [line["warehouse"] for line in lines(site)] == ["S17"]
