"""A stand-in for ERPNext: Frappe's REST API over documents in memory, with the doctypes and fields that a sync touches.

As the real one it checks the token, doctypes, fields and the parent of rows, pages by 20 unless told, drops fields that it does
not know from what is written, and writes a document whole or not at all.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.sites import MOMENT, Refusal, Row, Site, compared

FRAPPE: dict[str, list[str]] = {
    "Item": ["item_name", "item_group", "stock_uom", "standard_rate", "valuation_rate", "lead_time_days", "min_order_qty",
             "disabled", "is_stock_item", "is_purchase_item", "has_variants"],
    "Warehouse": ["company", "is_group", "disabled"],
    "Bin": ["item_code", "warehouse", "actual_qty", "valuation_rate"],
    "Stock Ledger Entry": ["item_code", "warehouse", "posting_date", "actual_qty", "voucher_type", "is_cancelled"],
    "Purchase Order": ["supplier", "status"],
    "Purchase Order Item": ["parent", "item_code", "warehouse", "schedule_date", "qty", "received_qty",
                            "conversion_factor"],
    "Material Request": ["material_request_type", "transaction_date", "schedule_date", "company", "set_warehouse",
                         "status"],
    "Material Request Item": ["parent", "item_code", "warehouse", "schedule_date", "qty", "stock_qty", "ordered_qty",
                              "uom", "conversion_factor"],
}  # fmt: skip
STANDARD = ["name", "docstatus", "creation"]


class FrappeSite(Site):
    """Frappe's REST API with ERPNext's documents: GET and POST /api/resource/<DocType>, `token key:secret`."""

    def __init__(self, key: str, secret: str, *, custom_field: bool = True) -> None:
        super().__init__()
        self._token = f"token {key}:{secret}"
        self.may_write = True  # whether the user has the role of a buyer
        self.tables: dict[str, dict[str, Row]] = {doctype: {} for doctype in FRAPPE}
        self._custom = ["orpr_decision_id"] if custom_field else []

    def add(self, doctype: str, name: str | None = None, **values: Any) -> str:
        """A document; fields that are left out are null."""
        made = name or f"{doctype[:3]}-{len(self.tables[doctype]) + 1:03}"
        standard = {"name": made, "docstatus": 0, "creation": datetime.now(UTC).strftime(MOMENT)}
        self.tables[doctype][made] = dict.fromkeys(self._fields(doctype)) | standard | values
        return made

    def _fields(self, doctype: str) -> list[str]:
        custom = self._custom if doctype == "Material Request Item" else []
        return [*STANDARD, *FRAPPE[doctype], *custom]

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        parts = urlsplit(path)
        if headers.get("Authorization") != self._token:
            raise Refusal(401, "AuthenticationError", "frappe.exceptions.AuthenticationError")
        doctype = unquote(parts.path).removeprefix("/api/resource/")
        if doctype not in FRAPPE:
            raise Refusal(404, "DoesNotExistError", f"DocType <b>{doctype}</b> not found")
        if method == "POST":
            return {"data": self._create(doctype, json.loads(body))}
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return {"data": self._list(doctype, query)}

    def error(self, refusal: Refusal) -> Any:
        message = json.dumps([json.dumps({"message": refusal.message})])
        return {
            "exc_type": refusal.name,
            "_server_messages": message,
            "exc": '["Traceback (most recent call last): ..."]',
        }

    def writes(self, method: str, path: str) -> bool:
        return method == "POST"

    def _list(self, doctype: str, query: dict[str, str]) -> list[Row]:
        if doctype.endswith(" Item") and query.get("parent") != doctype.removesuffix(" Item"):
            raise Refusal(403, "PermissionError", f"No permission for {doctype}")
        fields = json.loads(query.get("fields", '["name"]'))
        filters = [one[-3:] for one in json.loads(query.get("filters", "[]"))]
        for name in (*fields, *(name for name, _, _ in filters)):
            if name not in self._fields(doctype):
                raise Refusal(500, "OperationalError", f"(1054, \"Unknown column '{name}' in 'SELECT'\")")
        rows = [row for row in self.tables[doctype].values() if all(compared(row[n], op, v) for n, op, v in filters)]
        column, _, way = query.get("order_by", "creation desc").partition(" ")
        rows.sort(key=lambda row: row[column], reverse=way == "desc")
        start, length = int(query.get("limit_start", 0)), int(query.get("limit_page_length", 20))
        return [{name: row[name] for name in fields} for row in rows[start : start + length]]

    def _create(self, doctype: str, document: Row) -> Row:
        """A request with its lines: all or nothing. Fields that the doctype lacks are dropped, as Frappe drops them."""
        assert doctype == "Material Request"
        if not self.may_write:
            raise Refusal(403, "PermissionError", "No permission for <b>it</b>")
        for line in document["items"]:
            if line["item_code"] not in self.tables["Item"] or line["warehouse"] not in self.tables["Warehouse"]:
                raise Refusal(417, "LinkValidationError", f"Could not find Item: {line['item_code']}")
            if line["schedule_date"] < document["transaction_date"]:
                raise Refusal(417, "ValidationError", "Required Date cannot be before Transaction Date")
        kept = {name: value for name, value in document.items() if name in FRAPPE[doctype]}
        name = self.add(doctype, **kept, status="Draft")
        for line in document["items"]:
            known = {field: value for field, value in line.items() if field in self._fields(f"{doctype} Item")}
            self.add(f"{doctype} Item", parent=name, stock_qty=line["qty"] * line["conversion_factor"], **known)
        return self.tables[doctype][name]
