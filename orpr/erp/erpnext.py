"""ERPNext by Frappe's REST API: items, bins, the stock ledger and purchase orders in; Material Requests out.

`item_id` is an item's code, `location_id` a warehouse's name. A draft is one Material Request of type Purchase for each
warehouse; every line holds its decision's number in the custom field `orpr_decision_id`, which has to be made once
(docs/erp_fields.md). A request is one transaction of Frappe; one that writes is never repeated, because it would write twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import date
from functools import cached_property
from itertools import groupby
from typing import Any
from urllib.parse import quote

import httpx

from orpr.erp.records import COMING, SOLD, STOCK, Draft, ErpError, ErpItem, Order, Snapshot, Unusable, added_up
from orpr.sending import Sender, Unanswered, json_of, one_line

PAGE = 500
NAMES_AT_ONCE = 100  # documents that one address names
FIELD = "orpr_decision_id"
SOLD_BY = ["Delivery Note", "Sales Invoice"]
TO_RECEIVE = ["To Receive and Bill", "To Receive"]
Row = dict[str, Any]
Filter = list[Any]


class ErpNext:
    """One site, as one user sees it."""

    name = "erpnext"

    def __init__(self, sender: Sender, locations: Sequence[str]) -> None:
        """Nothing is sent yet.

        Args:
            sender: to the site, with the header that Frappe asks for.
            locations: names of warehouses; none: all.
        """
        self._sender, self._wanted = sender, tuple(locations)

    def read(self, first: date, last: date) -> Snapshot:
        """Items, stock now, sales from `first` to `last`, and what is on order."""
        here = ["warehouse", "in", list(self._warehouses)]
        bins = list(self._all("Bin", ["item_code", "warehouse", "actual_qty", "valuation_rate"], [here]))
        mine = [row for row in bins if row["item_code"] in self._items]
        items = [self._item(row) for row in mine]
        stock = [(row["item_code"], row["warehouse"], float(row["actual_qty"])) for row in mine]
        return Snapshot(items, added_up(stock, STOCK), added_up(self._sold(first, last, here), SOLD),
                        added_up(self._coming(), COMING), {})  # fmt: skip

    def drafts(self, first: date) -> list[Draft]:
        """Lines of Material Requests of ours since `first` that nobody has cancelled or stopped."""
        self._check_field()
        alive: list[Filter] = [["material_request_type", "=", "Purchase"], ["docstatus", "<", 2], ["status", "!=", "Stopped"],
                 ["creation", ">=", f"{first} 00:00:00"]]  # fmt: skip
        names = [row["name"] for row in self._all("Material Request", ["name"], alive)]
        fields = ["item_code", "stock_qty", "ordered_qty", FIELD]
        return [_draft(row) for row in self._lines("Material Request", names, fields, [[FIELD, "like", "d-%"]])]

    def propose(self, orders: Sequence[Order], day: date) -> Iterator[tuple[str, list[Order]]]:
        """Write one Material Request for each warehouse."""
        for place, group in groupby(sorted(orders, key=lambda order: order.location_id), lambda one: one.location_id):
            held = list(group)
            document = {
                "material_request_type": "Purchase", "transaction_date": str(day), "set_warehouse": place,
                "company": self._warehouses[place], "schedule_date": str(min(order.receipt_date for order in held)),
                "items": [self._line(order) for order in held],
            }  # fmt: skip
            yield str(self._send("POST", "Material Request", repeatable=False, json=document)["name"]), held

    def _line(self, order: Order) -> Row:
        return {
            "item_code": order.item_id, "qty": order.quantity, "uom": self._items[order.item_id]["stock_uom"],
            "conversion_factor": 1, "warehouse": order.location_id, "schedule_date": str(order.receipt_date),
            FIELD: order.decision_id,
        }  # fmt: skip

    # ------------------------------------------------------------------------------------------------------ the tables

    def _sold(self, first: date, last: date, here: Filter) -> Iterator[tuple[str, str, date, float]]:
        """What customers were sent, and sent back."""
        span: list[Filter] = [["posting_date", ">=", str(first)], ["posting_date", "<=", str(last)]]
        told = [here, *span, ["voucher_type", "in", SOLD_BY], ["is_cancelled", "=", 0]]
        fields = ["item_code", "warehouse", "posting_date", "actual_qty"]
        for row in self._all("Stock Ledger Entry", fields, told):
            yield row["item_code"], row["warehouse"], date.fromisoformat(row["posting_date"]), -float(row["actual_qty"])

    def _coming(self) -> Iterator[tuple[str, str, date, float]]:
        """What submitted orders still bring."""
        to_come: list[Filter] = [["docstatus", "=", 1], ["status", "in", TO_RECEIVE]]
        names = [row["name"] for row in self._all("Purchase Order", ["name"], to_come)]
        fields = ["item_code", "warehouse", "schedule_date", "qty", "received_qty", "conversion_factor"]
        for row in self._lines("Purchase Order", names, fields, []):
            left = max(0.0, float(row["qty"]) - float(row["received_qty"])) * float(row["conversion_factor"])
            if row["warehouse"] in self._warehouses:
                yield row["item_code"], row["warehouse"], date.fromisoformat(row["schedule_date"]), left

    def _item(self, row: Row) -> ErpItem:
        item = self._items[row["item_code"]]
        cost = row["valuation_rate"] or item["valuation_rate"] or None  # ERPNext writes 0 for not entered
        return ErpItem(
            row["item_code"], row["warehouse"], item["item_name"], item["item_group"], item["standard_rate"] or None, cost,
            int(item["lead_time_days"] or 0) or None, float(item["min_order_qty"] or 0), None,
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------------- what stays put

    @cached_property
    def _warehouses(self) -> dict[str, str]:
        """Companies by warehouse."""
        rows = self._all("Warehouse", ["name", "company"], [["is_group", "=", 0], ["disabled", "=", 0]])
        found = {row["name"]: row["company"] for row in rows}
        unknown = [name for name in self._wanted if name not in found]
        if unknown:
            raise Unusable(f"location: {', '.join(unknown)} is no warehouse; known are {', '.join(found)}")
        return {name: company for name, company in found.items() if not self._wanted or name in self._wanted}

    @cached_property
    def _items(self) -> dict[str, Row]:
        """Stock items that may be bought, by code."""
        fields = ["name", "item_name", "item_group", "stock_uom", "standard_rate", "valuation_rate", "lead_time_days",
                  "min_order_qty"]  # fmt: skip
        bought: list[Filter] = [["disabled", "=", 0], ["is_stock_item", "=", 1], ["is_purchase_item", "=", 1],
                                ["has_variants", "=", 0]]  # fmt: skip
        return {row["name"]: row for row in self._all("Item", fields, bought)}

    def _check_field(self) -> None:
        """Ask for the custom field: ERPNext drops a field that it does not know without a word, and we would write twice."""
        query = {"parent": "Material Request", "fields": json.dumps([FIELD]), "limit_page_length": 1}
        try:
            self._send("GET", "Material Request Item", params=query)
        except ErpError as error:
            hint = f"{error} (has the custom field {FIELD} of Material Request Item been made? docs/erp_fields.md)"
            raise ErpError(hint) from None

    # ------------------------------------------------------------------------------------------------------------ REST

    def _lines(self, parent: str, names: list[str], fields: list[str], filters: list[Filter]) -> Iterator[Row]:
        """Rows of the table of items of some documents."""
        for at in range(0, len(names), NAMES_AT_ONCE):
            of = ["parent", "in", names[at : at + NAMES_AT_ONCE]]
            yield from self._all(f"{parent} Item", fields, [of, *filters], parent)

    def _all(self, doctype: str, fields: list[str], filters: list[Filter], parent: str | None = None) -> Iterator[Row]:
        """Every document in the order of its name; pages hold also where documents are added meanwhile."""
        query = {"fields": json.dumps(list({"name": 0, **dict.fromkeys(fields, 0)})), "limit_page_length": PAGE,
                 "order_by": "name asc"} | ({"parent": parent} if parent else {})  # fmt: skip
        after: list[Filter] = []
        while True:
            page = self._send("GET", doctype, params=query | {"filters": json.dumps([*filters, *after])})
            yield from page
            if len(page) < PAGE:
                return
            after = [["name", ">", page[-1]["name"]]]

    def _send(self, method: str, doctype: str, *, repeatable: bool = True, **parts: Any) -> Any:
        call = f"erpnext {method} {doctype}"
        try:
            response = self._sender.send(method, f"/api/resource/{quote(doctype)}", repeatable=repeatable, **parts)
        except Unanswered as error:
            again = "" if repeatable else "; it may have been written: run the sync again, it looks before it writes"
            raise ErpError(f"{call}: {error}{again}") from None
        told = json_of(response)
        if response.is_success and isinstance(told, dict) and "data" in told:
            return told["data"]
        raise ErpError(one_line(f"{call}: {response.status_code} {_words(response, told)}"))


def _draft(line: Row) -> Draft:
    item, units = line["item_code"], float(line["stock_qty"])
    return Draft([line[FIELD]], {item: units}, {item: units - float(line["ordered_qty"] or 0)})


def erpnext_at(url: str, key: str, secret: str) -> Sender:
    """What sends to a site."""
    return Sender(url, {"Authorization": f"token {key}:{secret}", "Accept": "application/json"})


def _words(response: httpx.Response, told: Any) -> str:
    """What Frappe says of an error: its messages, else the exception; never the traceback, which it sends too."""
    if not isinstance(told, dict):
        return response.text[:80]
    try:
        messages = [json.loads(one)["message"] for one in json.loads(told.get("_server_messages") or "[]")]
    except (ValueError, TypeError, KeyError):
        messages = []
    text = "; ".join(str(one) for one in messages) or str(told.get("exception") or told.get("message") or "")
    return f"{told.get('exc_type', '')} {re.sub('<[^>]+>', '', text)}"
