"""Odoo 19 by its External JSON-2 API: products with a vendor, stock, moves to customers and purchases in; RFQs out.

`location_id` is a warehouse's code, `item_id` a product's internal reference; products without one are left out. A draft is
one RFQ for each vendor and warehouse, whose `origin` holds the numbers of its decisions. A call is one transaction of Odoo, so
an RFQ stands with all its lines or not at all; a call that writes is never repeated, because it would write twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from orpr.erp.records import COMING, SOLD, STOCK, Draft, ErpError, ErpItem, Order, Series, Snapshot, Unusable, added_up
from orpr.sending import Sender, Unanswered, json_of, one_line

PAGE = 1000
MARK = "ORPR"  # opens the origin of our RFQs
DECISION = re.compile(r"d-[a-z2-7]+")
MOMENT = "%Y-%m-%d %H:%M:%S"  # how Odoo writes moments, in UTC
NOON = "12:00:00"  # a receipt's time of day, so that its date is the same in nearly every zone
CONFIRMED = ["purchase", "done"]
Row = dict[str, Any]


class Seller(NamedTuple):
    """The vendor of a product."""

    partner: int
    lead_time_days: int
    min_order_qty: float  # stock units


class Odoo:
    """One database, as one user sees it."""

    name = "odoo"

    def __init__(self, sender: Sender, locations: Sequence[str], zone: ZoneInfo) -> None:
        """Nothing is sent yet.

        Args:
            sender: to the site, with the headers that Odoo asks for.
            locations: codes of warehouses; none: all.
            zone: in which a sale's day is counted.
        """
        self._sender, self._wanted, self._zone = sender, tuple(locations), zone

    def read(self, first: date, last: date) -> Snapshot:
        """Items, stock now, sales from `first` to `last`, and what is on order."""
        multiples = self._multiples()
        stock, sold = added_up(self._stock(), STOCK), added_up(self._sold(first, last), SOLD)
        coming = added_up(self._coming(), COMING)
        series = set(multiples)
        for table in (stock, sold, coming):
            series |= set(table.select("item_id", "location_id").rows())
        items = [self._item(*key, multiples.get(key)) for key in sorted(series) if self._ids[key[0]] in self._sellers]
        left_out = {
            "without internal reference": sum(not row["default_code"] for row in self._products.values()),
            "without vendor": sum(number not in self._sellers for number in self._products),
        }
        return Snapshot(items, stock, sold, coming, {why: count for why, count in left_out.items() if count})

    def drafts(self, first: date) -> list[Draft]:
        """RFQs of ours since `first` that nobody has cancelled, and the orders that they became."""
        ours = [["origin", "like", f"{MARK} d-"], ["state", "!=", "cancel"], ["create_date", ">=", f"{first} 00:00:00"]]
        orders = {row["id"]: row for row in self._all("purchase.order", ours, ["origin", "state"])}
        held = {number: DECISION.findall(row["origin"]) for number, row in orders.items()}
        units: dict[int, dict[str, float]] = {number: {} for number in held}
        for line in self._lines(list(held)):
            item = self._codes.get(line["product_id"][0])
            if item is not None:
                mine = units[line["order_id"][0]]
                mine[item] = mine.get(item, 0.0) + line["product_uom_qty"]
        confirmed = {number for number, row in orders.items() if row["state"] in CONFIRMED}
        return [Draft(held[number], units[number], {} if number in confirmed else units[number]) for number in held]

    def propose(self, orders: Sequence[Order], day: date) -> Iterator[tuple[str, list[Order]]]:  # noqa: ARG002 - Odoo dates RFQs
        """Write one RFQ for each vendor and warehouse."""

        def of(order: Order) -> tuple[str, int]:
            return order.location_id, self._sellers[self._ids[order.item_id]].partner

        for (place, partner), group in groupby(sorted(orders, key=of), key=of):
            held = list(group)
            values = {
                "partner_id": partner, "picking_type_id": self._warehouses[place]["in_type_id"][0],
                "origin": f"{MARK} {', '.join(order.decision_id for order in held)}",
                "order_line": [[0, 0, self._line(order)] for order in held],
            }  # fmt: skip
            made = self._call("purchase.order", "create", repeatable=False, vals_list=[values])
            name = self._call("purchase.order", "read", ids=made, fields=["name"])[0]["name"]
            yield name, held

    def _line(self, order: Order) -> Row:
        product = self._products[self._ids[order.item_id]]
        return {
            "product_id": product["id"], "product_qty": order.quantity, "product_uom_id": product["uom_id"][0],
            "date_planned": f"{order.receipt_date} {NOON}",
        }  # fmt: skip

    # ------------------------------------------------------------------------------------------------------ the tables

    def _stock(self) -> Iterator[tuple[str, str, float]]:
        inside = [["location_id", "in", list(self._places)]]
        for row in self._all("stock.quant", inside, ["product_id", "location_id", "quantity"]):
            item = self._codes.get(row["product_id"][0])
            if item is not None:
                yield item, self._places[row["location_id"][0]], row["quantity"]

    def _sold(self, first: date, last: date) -> Iterator[tuple[str, str, date, float]]:
        """What customers were sent, and sent back."""
        start, end = (datetime.combine(day, time(), self._zone).astimezone(UTC) for day in (first, last + timedelta(1)))
        done = [
            ["state", "=", "done"], ["date", ">=", start.strftime(MOMENT)], ["date", "<", end.strftime(MOMENT)],
            "|", ["location_id.usage", "=", "customer"], ["location_dest_id.usage", "=", "customer"],
        ]  # fmt: skip
        fields = ["product_id", "date", "quantity_product_uom", "location_id", "location_dest_id"]
        for row in self._all("stock.move.line", done, fields):
            item = self._codes.get(row["product_id"][0])
            day = datetime.strptime(row["date"], MOMENT).replace(tzinfo=UTC).astimezone(self._zone).date()
            for field, sign in (("location_id", 1.0), ("location_dest_id", -1.0)):
                place = self._places.get(row[field][0])
                if item is not None and place is not None:
                    yield item, place, day, sign * row["quantity_product_uom"]

    def _coming(self) -> Iterator[tuple[str, str, date, float]]:
        """What confirmed orders still bring."""
        to_come = [["state", "in", CONFIRMED], ["receipt_status", "in", ["pending", "partial"]]]
        types = {row["id"]: row["warehouse_id"] for row in self._all("stock.picking.type", [], ["warehouse_id"])}
        codes = {row["id"]: code for code, row in self._warehouses.items()}
        orders = self._all("purchase.order", to_come, ["picking_type_id"])
        place = {row["id"]: codes.get(_id(types.get(_id(row["picking_type_id"])))) for row in orders}
        for line in self._lines(list(place)):
            item, where = self._codes.get(line["product_id"][0]), place[line["order_id"][0]]
            if item is not None and where is not None and line["product_qty"] > 0:
                share = max(0.0, 1 - line["qty_received"] / line["product_qty"])
                arrival = date.fromisoformat(line["date_planned"][:10])
                yield item, where, arrival, share * line["product_uom_qty"]

    def _multiples(self) -> dict[Series, float | None]:
        """The units that replenishment rules round to, by series; None where they do not."""
        found: dict[Series, float | None] = {}
        codes = {row["id"]: code for code, row in self._warehouses.items()}
        for row in self._all("stock.warehouse.orderpoint", [], ["product_id", "warehouse_id", "replenishment_uom_id"]):
            item, place = self._codes.get(row["product_id"][0]), codes.get(row["warehouse_id"][0])
            if item is not None and place is not None:
                found[item, place] = self._in_stock_units(1.0, _id(row["replenishment_uom_id"]), row["product_id"][0])
        return found

    def _item(self, item: str, place: str, multiple: float | None) -> ErpItem:
        product = self._products[self._ids[item]]
        seller = self._sellers[product["id"]]
        category = product["categ_id"][1] if product["categ_id"] else None
        price, cost = product["lst_price"] or None, product["standard_price"] or None  # Odoo writes 0 for not entered
        return ErpItem(
            item, place, product["name"], category, price, cost, max(1, seller.lead_time_days), seller.min_order_qty,
            multiple,
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------------- what stays put

    @cached_property
    def _warehouses(self) -> dict[str, Row]:
        """By code."""
        found = {row["code"]: row for row in self._all("stock.warehouse", [], ["code", "in_type_id"])}
        unknown = [code for code in self._wanted if code not in found]
        if unknown:
            raise Unusable(f"location: {', '.join(unknown)} is no warehouse's code; known are {', '.join(found)}")
        return {code: row for code, row in found.items() if not self._wanted or code in self._wanted}

    @cached_property
    def _places(self) -> dict[int, str]:
        """Warehouse codes by internal location."""
        codes = {row["id"]: code for code, row in self._warehouses.items()}
        rows = self._all("stock.location", [["usage", "=", "internal"]], ["warehouse_id"])
        return {row["id"]: codes[row["warehouse_id"][0]] for row in rows if _id(row["warehouse_id"]) in codes}

    @cached_property
    def _products(self) -> dict[int, Row]:
        """Stored products that may be bought, by number."""
        fields = ["default_code", "name", "categ_id", "lst_price", "standard_price", "uom_id", "product_tmpl_id"]
        bought = [["purchase_ok", "=", True], ["is_storable", "=", True]]
        return {row["id"]: row for row in self._all("product.product", bought, fields)}

    @cached_property
    def _ids(self) -> dict[str, int]:
        """Product numbers by internal reference."""
        found: dict[str, int] = {}
        for number, row in self._products.items():
            code = row["default_code"]
            if code and found.setdefault(code, number) != number:
                raise Unusable(f"item_id: two products of Odoo have the internal reference {code!r}")
        return found

    @cached_property
    def _codes(self) -> dict[int, str]:
        return {number: code for code, number in self._ids.items()}

    @cached_property
    def _sellers(self) -> dict[int, Seller]:
        """The first vendor of each product, and the least that it sells."""
        fields = ["partner_id", "product_id", "product_tmpl_id", "min_qty", "delay", "product_uom_id", "sequence",
                  "date_start", "date_end"]  # fmt: skip
        today, offers = str(datetime.now(self._zone).date()), dict[tuple[int | None, int | None], list[Row]]()
        for row in self._all("product.supplierinfo", [], fields):
            if (row["date_start"] or today) <= today <= (row["date_end"] or today):
                variant = _id(row["product_id"])  # an offer for all variants names none
                template = None if variant else _id(row["product_tmpl_id"])
                offers.setdefault((variant, template), []).append(row)
        found = {}
        for number, product in self._products.items():
            mine = offers.get((number, None), []) + offers.get((None, _id(product["product_tmpl_id"])), [])
            if mine:
                first = min(mine, key=lambda row: (row["sequence"], row["id"]))
                least = [
                    self._in_stock_units(row["min_qty"], _id(row["product_uom_id"]), number) or 0.0
                    for row in mine
                    if row["partner_id"] == first["partner_id"]
                ]
                found[number] = Seller(first["partner_id"][0], int(first["delay"]), min(least))
        return found

    @cached_property
    def _factors(self) -> dict[int, float]:
        """How much a unit of measure holds."""
        return {row["id"]: row["factor"] for row in self._all("uom.uom", [], ["factor"])}

    def _in_stock_units(self, units: float, measure: int | None, product: int) -> float | None:
        if measure is None:
            return None
        return units * self._factors[measure] / self._factors[self._products[product]["uom_id"][0]]

    # ---------------------------------------------------------------------------------------------------------- JSON-2

    def _lines(self, orders: list[int]) -> Iterator[Row]:
        """The products of purchase orders."""
        fields = ["order_id", "product_id", "product_qty", "product_uom_qty", "qty_received", "date_planned"]
        return self._all("purchase.order.line", [["order_id", "in", orders], ["product_id", "!=", False]], fields)

    def _all(self, model: str, domain: list[Any], fields: list[str]) -> Iterator[Row]:
        """Every record of a domain in the order of its number; pages hold also where records are added meanwhile."""
        last = 0
        while True:
            page = self._call(
                model, "search_read", domain=[["id", ">", last], *domain], fields=fields, limit=PAGE, order="id"
            )
            yield from page
            if len(page) < PAGE:
                return
            last = page[-1]["id"]

    def _call(self, model: str, method: str, *, repeatable: bool = True, **arguments: Any) -> Any:
        call = f"odoo {model}.{method}"
        try:
            response = self._sender.send("POST", f"/json/2/{model}/{method}", repeatable=repeatable, json=arguments)
        except Unanswered as error:
            again = "" if repeatable else "; it may have been written: run the sync again, it looks before it writes"
            raise ErpError(f"{call}: {error}{again}") from None
        told = json_of(response)
        if response.is_success and told is not None:
            return told
        said = told.get("message") if isinstance(told, dict) else response.text[:80]
        raise ErpError(one_line(f"{call}: {response.status_code} {said}"))


def odoo_at(url: str, database: str, key: str) -> Sender:
    """What sends to a site; `database` may be empty where the site's name tells it."""
    named = {"X-Odoo-Database": database} if database else {}
    return Sender(url, {"Authorization": f"bearer {key}", "User-Agent": "orpr", **named})


def zone_of(name: str) -> ZoneInfo:
    """A time zone.

    Raises:
        ValueError: where this machine knows none of the name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"timezone: {name!r} is none that this machine knows; Europe/Berlin is one") from None


def _id(reference: Any) -> int | None:
    """The number of what a many-to-one field names; None where it is empty."""
    return int(reference[0]) if reference else None
