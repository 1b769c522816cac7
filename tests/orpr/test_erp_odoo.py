"""A sync with Odoo: a stand-in that speaks JSON-2, the real service, and what can go wrong between them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import orpr.erp.odoo
from orpr.cli import main
from orpr.client import Client, ServiceProblem
from orpr.erp.odoo import Odoo, odoo_at
from orpr.erp.records import ErpError
from orpr.erp.sync import Assumed, Synced, synchronise
from service.schemas import RecommendationResponse
from tests.odoo_site import OdooSite
from tests.serving import Service

KEY, DATABASE = "0123456789abcdef", "chain"
SERIES = [("B101", "S17"), ("B101", "S47"), ("B109", "S71")]  # those that may order every day


class Chain:
    """Three warehouses, two products of two vendors that sold 60 on a day and are gone, and the numbers of it all."""

    def __init__(self, site: OdooSite, day: date) -> None:
        self.site = site
        self.unit = site.add("uom.uom", name="Units", factor=1.0)
        self.dozen = site.add("uom.uom", name="Dozen", factor=12.0)
        self.bakery = site.add("product.category", name="bakery")
        self.customers = site.add("stock.location", name="Customers", usage="customer")
        self.stock: dict[str, int] = {}
        for place in ("S17", "S47", "S71"):
            receipts = site.add("stock.picking.type", name="Receipts")
            warehouse = site.add("stock.warehouse", code=place, name=f"Shop {place}", in_type_id=receipts)
            site.tables["stock.picking.type"][receipts]["warehouse_id"] = warehouse
            self.stock[place] = site.add("stock.location", name="Stock", usage="internal", warehouse_id=warehouse)
        self.vendors = {code: site.add("res.partner", name=f"Vendor {code}") for code in ("B101", "B109")}
        self.products = {code: self.product(code) for code in ("B101", "B109")}
        for code, place in SERIES:
            self.holds(code, place, 0.0)
            self.moves(code, place, f"{day} 08:00:00", 60.0)

    def product(self, code: str | bool, **values: Any) -> int:
        said = {"name": f"Bread {code}", "default_code": code, "categ_id": self.bakery, "lst_price": 20.0,
                "standard_price": 12.0, "uom_id": self.unit, "purchase_ok": True, "is_storable": True}  # fmt: skip
        number = self.site.add("product.product", **(said | values))
        self.site.tables["product.product"][number]["product_tmpl_id"] = number
        if code in self.vendors:
            self.site.add("product.supplierinfo", partner_id=self.vendors[str(code)], product_tmpl_id=number, min_qty=0.0,
                          delay=2, product_uom_id=self.unit, sequence=1)  # fmt: skip
        return number

    def holds(self, code: str, place: str, units: float) -> int:
        return self.site.add(
            "stock.quant", product_id=self.products[code], location_id=self.stock[place], quantity=units
        )

    def moves(self, code: str, place: str, moment: str, units: float) -> None:
        """To customers; less than 0: from them."""
        ends = [self.stock[place], self.customers]
        here, there = ends if units > 0 else ends[::-1]
        self.site.add("stock.move.line", product_id=self.products[code], date=moment, quantity_product_uom=abs(units),
                      state="done", location_id=here, location_dest_id=there)  # fmt: skip

    @property
    def orders(self) -> list[dict[str, Any]]:
        return list(self.site.tables["purchase.order"].values())

    @property
    def lines(self) -> list[dict[str, Any]]:
        return list(self.site.tables["purchase.order.line"].values())


@pytest.fixture
def chain(day: date) -> Iterator[Chain]:
    with OdooSite(KEY, DATABASE) as site:
        yield Chain(site, day)


def sync(chain: Chain, client: Client, day: date, key: str = KEY, days: int = 1, **where: Any) -> Synced:
    erp = Odoo(odoo_at(chain.site.url, DATABASE, key), where.get("locations", ()), ZoneInfo(where.get("zone", "UTC")))
    return synchronise(erp, client, day, days, Assumed())


def decisions_of(client: Client, day: date) -> dict[str, tuple[str, float | None]]:
    """Status and ordered quantity of what was advised on a day, by number, where anything was."""
    found = client.decisions(client_ref="sync odoo", order_date=day)
    return {one.id: (one.status, one.ordered_quantity) for one in found if one.order_quantity > 0}


def test_what_is_advised_stands_in_odoo_as_rfqs_and_is_told_as_ordered(chain: Chain, client: Client, day: date) -> None:
    done = sync(chain, client, day)
    assert (done.series, done.orders, done.unanswered) == (3, 3, {})
    assert done.documents == ["P00001", "P00002", "P00003"]
    told = decisions_of(client, day)
    assert len(told) == 3
    for order, line in zip(chain.orders, chain.lines, strict=True):
        number = order["origin"].removeprefix("ORPR ")
        decision = client.decision(number)
        assert order["state"] == "draft"
        assert order["partner_id"] == chain.vendors[decision.item_id]
        assert line["product_id"] == chain.products[decision.item_id]
        assert told.pop(number) == ("ordered", line["product_qty"])
        assert line["date_planned"] == f"{decision.expected_receipt_date} 12:00:00"
        assert decision.expected_receipt_date == day + timedelta(
            days=2
        )  # the vendor's two days, not the dataset's three
    assert not told


def test_a_run_that_another_overtakes_writes_none_of_its_orders_again(
    chain: Chain, service: Service, client: Client, day: date
) -> None:
    """The other reads, asks and writes all of its drafts between this one's answers and its first draft."""

    class Overtaken(Client):
        def recommend(self, *asked: Any, **how: Any) -> RecommendationResponse:
            answers = super().recommend(*asked, **how)
            others.append(sync(chain, client, day))
            return answers

    others: list[Synced] = []
    with Overtaken(service.url, service.key, waits_s=()) as slower:
        done = sync(chain, slower, day)
    assert (others[0].orders, done.orders, done.withheld) == (3, 0, 0)
    assert len(chain.lines) == 3
    assert [status for status, _ in decisions_of(client, day).values()] == ["ordered"] * 3


def test_a_second_run_on_the_same_day_writes_nothing_twice(chain: Chain, client: Client, day: date) -> None:
    sync(chain, client, day)
    before = [dict(line) for line in chain.lines]
    again = sync(chain, client, day)
    assert (again.orders, again.documents, again.told) == (0, [], 0)
    assert chain.lines == before


def test_an_rfq_whose_answer_is_lost_is_found_by_the_next_run(chain: Chain, client: Client, day: date) -> None:
    chain.site.lose = 1
    with pytest.raises(ErpError, match=r"purchase.order.create: no answer after 1 try.*it looks before it writes"):
        sync(chain, client, day)
    assert len(chain.orders) == 1
    assert {status for status, _ in decisions_of(client, day).values()} == {"open"}
    again = sync(chain, client, day)
    assert (again.told, again.orders) == (1, 2)
    items = [
        (line["product_id"], order["picking_type_id"]) for order, line in zip(chain.orders, chain.lines, strict=True)
    ]
    assert len(items) == len(set(items)) == 3
    assert {status for status, _ in decisions_of(client, day).values()} == {"ordered"}
    assert sync(chain, client, day).orders == 0


def test_what_buyers_change_or_cancel_is_told_and_not_proposed_again_that_day(
    chain: Chain, client: Client, day: date
) -> None:
    sync(chain, client, day)
    for line in chain.lines:
        line["product_uom_qty"] = line["product_qty"] = 5.0
    chain.orders[0]["state"] = "cancel"
    again = sync(chain, client, day)
    assert again.told == 3
    assert again.withheld == 1
    told = decisions_of(client, day)
    assert told[chain.orders[0]["origin"].split()[1]][0] == "rejected"
    assert told[chain.orders[1]["origin"].split()[1]] == ("changed", 5.0)
    sync(chain, client, day)
    alive = [order for order in chain.orders if order["state"] != "cancel"]
    assert all(order["picking_type_id"] != chain.orders[0]["picking_type_id"] for order in alive)


def test_a_confirmed_order_counts_as_open_and_not_besides(
    chain: Chain, client: Client, day: date, days: Iterator[date]
) -> None:
    sync(chain, client, day)
    for order in chain.orders:
        order |= {"state": "purchase", "receipt_status": "pending"}
    units = chain.lines[0]["product_uom_qty"]
    tomorrow = next(days)
    sync(chain, client, tomorrow)
    item, place = SERIES[0]
    coming = list(client.open_orders(item_id=item, location_id=place))
    assert [one.quantity for one in coming] == [units]
    brief = next(one for one in client.decisions(item_id=item, location_id=place, order_date=tomorrow))
    answer = client.decision(brief.id).answer
    assert (answer["on_order"], answer["reserved"]) == (units, 0)


@pytest.mark.parametrize(("lead", "nights"), [(2, (1, 2, 3, 4)), (20, (19, 20, 21, 25))])
def test_a_draft_that_nobody_confirms_is_not_bought_again_after_its_receipt(
    chain: Chain, client: Client, day: date, days: Iterator[date], lead: int, nights: tuple[int, ...]
) -> None:
    item, place = SERIES[0]
    for supplier in chain.site.tables["product.supplierinfo"].values():
        supplier["delay"] = lead
    for ahead in (0, *nights):
        night = next(one for one in days if (one - day).days == ahead) if ahead else day
        stood = [line for line in chain.lines if line["product_id"] == chain.products[item]]
        mine = [row for row in stood if _place(chain, row) == place]
        before = sum(row["product_uom_qty"] for row in mine)
        sync(chain, client, night)
        (brief,) = client.decisions(item_id=item, location_id=place, order_date=night)
        answer = client.decision(brief.id).answer
        assert answer["on_order"] + answer["reserved"] == before  # all that stands in drafts, each once
    overdue = list(client.open_orders(item_id=item, location_id=place))
    assert sum(one.quantity for one in overdue) > 0
    assert all(one.arrival_date <= night for one in overdue)


def _place(chain: Chain, line: dict[str, Any]) -> str:
    """The warehouse of a line's order."""
    tables = chain.site.tables
    receipts = tables["stock.picking.type"][tables["purchase.order"][line["order_id"]]["picking_type_id"]]
    return str(tables["stock.warehouse"][receipts["warehouse_id"]]["code"])


def test_stock_sales_rules_and_partly_received_orders_arrive_in_stock_units(
    chain: Chain, client: Client, day: date
) -> None:
    chain.holds("B101", "S17", 3.0)
    chain.holds("B101", "S17", 4.0)
    chain.moves("B101", "S17", f"{day} 09:00:00", 5.0)
    chain.moves("B101", "S17", f"{day} 17:00:00", -2.0)
    chain.moves("B101", "S17", f"{day - timedelta(days=1)} 23:30:00", 8.0)
    offer = next(iter(chain.site.tables["product.supplierinfo"].values()))
    offer |= {"min_qty": 2.0, "product_uom_id": chain.dozen, "delay": 4}
    chain.site.add("stock.warehouse.orderpoint", product_id=chain.products["B101"], warehouse_id=1,
                   replenishment_uom_id=chain.dozen)  # fmt: skip
    receipts = chain.site.tables["stock.warehouse"][1]["in_type_id"]
    order = chain.site.add("purchase.order", partner_id=1, picking_type_id=receipts, state="purchase", origin="by hand",
                           receipt_status="partial", create_date=f"{day} 00:00:00")  # fmt: skip
    chain.site.add("purchase.order.line", order_id=order, product_id=chain.products["B101"], product_qty=4.0,
                   product_uom_qty=48.0, product_uom_id=chain.dozen, qty_received=1.0,
                   date_planned=f"{day + timedelta(days=1)} 08:00:00")  # fmt: skip
    sync(chain, client, day, days=2, zone="Europe/Berlin")
    where = {"item_id": "B101", "location_id": "S17"}
    assert [one.on_hand for one in client.inventory(**where)] == [7]
    sold = {one.date: one.units_sold for one in client.history(day - timedelta(days=1), day, **where)}
    assert sold == {day - timedelta(days=1): 0, day: 71}  # half past eleven in London is tomorrow in Berlin
    assert [(one.arrival_date, one.quantity) for one in client.open_orders(**where)] == [(day + timedelta(days=1), 36)]
    item = next(client.items(**where))
    assert (item.min_order_qty, item.order_multiple, item.lead_time_days) == (24, 12, 4)
    assert (item.name, item.category, item.unit_price, item.unit_cost) == ("Bread B101", "bakery", 20, 12)
    assert item.review_period_days == 1
    line = next(one for one in chain.lines if one["order_id"] != order and one["product_id"] == chain.products["B101"])
    assert line["product_qty"] % 12 == 0


def test_a_product_that_is_new_to_the_service_is_ordered_too(chain: Chain, client: Client, day: date) -> None:
    chain.vendors["N1"] = chain.vendors["B101"]
    chain.products["N1"] = chain.product("N1")
    chain.holds("N1", "S17", 0.0)
    chain.moves("N1", "S17", f"{day} 10:00:00", 30.0)
    done = sync(chain, client, day, days=5)
    assert done.series == 4
    history = list(client.history(item_id="N1"))
    assert [(one.date, one.units_sold) for one in history] == [(day, 30)]  # before it was there, nothing is said of it
    item = next(client.items(item_id="N1"))
    assert item.lost_sale_cost == 8
    assert item.holding_cost_per_day == pytest.approx(12 * 0.25 / 365)
    new = [line for line in chain.lines if line["product_id"] == chain.products["N1"]]
    assert len(new) == 1
    same_vendor = [order for order in chain.orders if order["id"] == new[0]["order_id"]]
    assert len(same_vendor[0]["origin"].split(", ")) == 2  # one RFQ for both products of the vendor


def test_products_without_a_reference_or_a_vendor_are_counted(chain: Chain, client: Client, day: date) -> None:
    chain.product(code=False)
    done = sync(chain, client, day, locations=["S17"])
    assert done.unanswered == {"without internal reference": 1, "without vendor": 1}
    assert done.series == 1


def test_small_pages_bring_the_same(chain: Chain, client: Client, day: date, monkeypatch: pytest.MonkeyPatch) -> None:
    erp = Odoo(odoo_at(chain.site.url, DATABASE, KEY), (), ZoneInfo("UTC"))
    whole = erp.read(day, day)
    monkeypatch.setattr(orpr.erp.odoo, "PAGE", 2)
    parts = Odoo(odoo_at(chain.site.url, DATABASE, KEY), (), ZoneInfo("UTC")).read(day, day)
    assert parts.items == whole.items
    assert parts.stock.equals(whole.stock)


# --------------------------------------------------------------------------------------------------------------- errors


def test_a_wrong_key_is_one_line_and_nothing_is_written_anywhere(chain: Chain, client: Client, day: date) -> None:
    before = list(client.items())
    with pytest.raises(ErpError, match=r"^odoo stock.warehouse.search_read: 401 Invalid apikey$"):
        sync(chain, client, day, key="wrong-key")
    assert list(client.items()) == before
    assert not decisions_of(client, day)
    assert list(client.history(day, day)) == []
    assert chain.orders == []


def test_a_wrong_key_of_the_service_writes_nothing_into_odoo(chain: Chain, service: Service, day: date) -> None:
    with Client(service.url, "orpr_wrong") as stranger, pytest.raises(ServiceProblem, match="401 unauthorized"):
        sync(chain, stranger, day)
    assert chain.orders == []


def test_what_odoo_refuses_to_write_is_written_by_the_next_run(chain: Chain, client: Client, day: date) -> None:
    chain.site.may_write = False
    with pytest.raises(ErpError, match=r"purchase.order.create: 403 You are not allowed"):
        sync(chain, client, day)
    asked = decisions_of(client, day)
    assert {status for status, _ in asked.values()} == {"open"}
    chain.site.may_write = True
    assert sync(chain, client, day).orders == 3
    assert {order["origin"].split()[1] for order in chain.orders} == set(asked)


def test_two_products_of_one_reference_are_an_error_that_names_it(chain: Chain, client: Client, day: date) -> None:
    chain.product("B101")
    with pytest.raises(ValueError, match="two products of Odoo have the internal reference 'B101'"):
        sync(chain, client, day)


def test_an_unknown_warehouse_is_an_error_that_names_those_there_are(chain: Chain, client: Client, day: date) -> None:
    with pytest.raises(ValueError, match="location: S18 is no warehouse's code; known are S17, S47, S71"):
        sync(chain, client, day, locations=["S18"])


# --------------------------------------------------------------------------------------------------------- command line


@pytest.fixture
def run(
    chain: Chain, service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[Any, str, str]]:
    """`orpr sync odoo` with these words and this key; exit code, output and errors."""
    settings = {
        "ODOO_URL": chain.site.url,
        "ODOO_DATABASE": DATABASE,
        "ORPR_URL": service.url,
        "ORPR_API_KEY": service.key,
    }

    def call(*words: str, key: str = KEY) -> tuple[Any, str, str]:
        for name, value in {**settings, "ODOO_API_KEY": key}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["orpr", "sync", "odoo", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return call


def test_the_command_syncs_by_settings_from_the_environment(
    run: Callable[..., tuple[Any, str, str]], chain: Chain, day: date
) -> None:
    code, said, errors = run("--day", str(day), "--days", "1")
    assert (code, errors) == (0, "")
    assert "odoo: 3 series; 3 orders in 3 drafts (P00001, P00002, P00003)" in said
    assert len(chain.orders) == 3


def test_the_command_names_no_secret_when_it_fails(run: Callable[..., tuple[Any, str, str]]) -> None:
    code, said, errors = run(key="very-secret")
    assert (code, said) == (1, "")
    assert errors == "orpr: odoo stock.warehouse.search_read: 401 Invalid apikey\n"


def test_the_command_says_which_setting_is_wrong(run: Callable[..., tuple[Any, str, str]]) -> None:
    assert run(key="") == (2, "", "orpr: ODOO_API_KEY is not set\n")
    assert run("--day", "tomorrow") == (2, "", "orpr: day must be a date, YYYY-MM-DD, got 'tomorrow'\n")
    assert run("--timezone", "Berlin")[0] == 2
    assert run("--margin", "1.5")[0] == 2
