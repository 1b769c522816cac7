"""A stand-in for Odoo 19: its External JSON-2 API over records in memory, with the models and fields that a sync touches.

As the real one it checks the key, the database, models, methods, arguments and fields; a call that fails changes nothing.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from tests.sites import MOMENT, Refusal, Row, Site, compared

# The fields of Odoo 19 that are served; those with a model are many-to-one.
ODOO: dict[str, dict[str, str | None]] = {
    "stock.warehouse": {"code": None, "name": None, "in_type_id": "stock.picking.type"},
    "stock.picking.type": {"name": None, "warehouse_id": "stock.warehouse"},
    "stock.location": {"name": None, "usage": None, "warehouse_id": "stock.warehouse"},
    "product.category": {"name": None},
    "uom.uom": {"name": None, "factor": None},
    "res.partner": {"name": None},
    "product.product": {
        "name": None, "default_code": None, "categ_id": "product.category", "lst_price": None, "standard_price": None,
        "uom_id": "uom.uom", "product_tmpl_id": "product.product", "purchase_ok": None, "is_storable": None,
    },
    "product.supplierinfo": {
        "partner_id": "res.partner", "product_id": "product.product", "product_tmpl_id": "product.product",
        "min_qty": None, "delay": None, "product_uom_id": "uom.uom", "sequence": None, "date_start": None,
        "date_end": None,
    },
    "stock.quant": {"product_id": "product.product", "location_id": "stock.location", "quantity": None},
    "stock.move.line": {
        "product_id": "product.product", "date": None, "quantity_product_uom": None, "state": None,
        "location_id": "stock.location", "location_dest_id": "stock.location",
    },
    "stock.warehouse.orderpoint": {
        "product_id": "product.product", "warehouse_id": "stock.warehouse", "replenishment_uom_id": "uom.uom",
    },
    "purchase.order": {
        "name": None, "partner_id": "res.partner", "picking_type_id": "stock.picking.type", "origin": None, "state": None,
        "receipt_status": None, "create_date": None,
    },
    "purchase.order.line": {
        "order_id": "purchase.order", "product_id": "product.product", "product_qty": None, "product_uom_qty": None,
        "product_uom_id": "uom.uom", "qty_received": None, "date_planned": None,
    },
}  # fmt: skip


class OdooSite(Site):
    """Odoo's External JSON-2 API: POST /json/2/<model>/<method>, bearer key, keyword arguments in a JSON object."""

    def __init__(self, key: str, database: str = "") -> None:
        super().__init__()
        self._key, self._database = key, database
        self.may_write = True  # whether the user has the rights of a buyer
        self.tables: dict[str, dict[int, Row]] = {model: {} for model in ODOO}

    def add(self, model: str, **values: Any) -> int:
        """A record; many-to-one fields take numbers, fields that are left out are empty."""
        number = len(self.tables[model]) + 1
        self.tables[model][number] = {"id": number, **dict.fromkeys(ODOO[model], False), **values}
        return number

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        found = re.fullmatch(r"/json/2/([a-z.]+)/([a-z_]+)", path)
        if method != "POST" or found is None:
            raise Refusal(404, "werkzeug.exceptions.NotFound", "Did you mean POST /json/2/<model>/<method>?")
        if headers.get("Authorization") != f"bearer {self._key}":
            raise Refusal(401, "werkzeug.exceptions.Unauthorized", "Invalid apikey")
        if self._database and headers.get("X-Odoo-Database") != self._database:
            raise Refusal(404, "werkzeug.exceptions.NotFound", "no such database")
        model, called = found.groups()
        if model not in ODOO:
            raise Refusal(404, "werkzeug.exceptions.NotFound", f"the model {model!r} does not exist")
        methods = {"search_read": self._search_read, "read": self._read, "create": self._create}
        if called not in methods:
            raise Refusal(404, "werkzeug.exceptions.NotFound", f"The method {model}.{called} does not exist")
        try:
            return methods[called](model, **json.loads(body))
        except TypeError as error:
            raise Refusal(422, "werkzeug.exceptions.UnprocessableEntity", str(error)) from None

    def error(self, refusal: Refusal) -> Any:
        return {"name": refusal.name, "message": refusal.message, "arguments": [refusal.message, refusal.status],
                "context": {}, "debug": "Traceback (most recent call last):\n  ..."}  # fmt: skip

    def writes(self, method: str, path: str) -> bool:
        return path.endswith("/create")

    def _search_read(
        self, model: str, domain: list[Any] | None = None, fields: list[str] | None = None, offset: int = 0,
        limit: int | None = None, order: str | None = None,
    ) -> list[Row]:  # fmt: skip
        assert order in (None, "id")
        rows = [row for row in self.tables[model].values() if self._meets(model, row, list(domain or []))]
        end = None if limit is None else offset + limit
        return self._read(model, [row["id"] for row in rows][offset:end], fields)

    def _read(self, model: str, ids: list[int], fields: list[str] | None = None) -> list[Row]:
        names = ["id", *(fields if fields is not None else ODOO[model])]
        for name in names[1:]:
            self._known(model, name)
        return [{name: self._shown(model, self.tables[model][n], name) for name in names} for n in ids]

    def _shown(self, model: str, row: Row, name: str) -> Any:
        other = ODOO[model].get(name)
        if other is None or not row[name]:
            return row[name]
        return [row[name], self.tables[other][row[name]].get("name") or f"{other},{row[name]}"]

    def _known(self, model: str, name: str) -> None:
        if name != "id" and name not in ODOO[model]:
            raise Refusal(500, "builtins.ValueError", f"Invalid field {name!r} on model {model!r}")

    def _meets(self, model: str, row: Row, domain: list[Any]) -> bool:
        """Whether a row meets a domain in prefix form, whose terms are joined by `and`."""

        def take() -> bool:
            term = domain.pop(0)
            if term == "|":
                return any([take(), take()])
            if term == "&":
                return all([take(), take()])
            return compared(self._value(model, row, term[0]), term[1], term[2])

        met = True
        while domain:
            met &= take()
        return met

    def _value(self, model: str, row: Row, name: str) -> Any:
        first, _, rest = name.partition(".")
        self._known(model, first)
        if not rest:
            return row[first]
        other = ODOO[model][first]
        assert other is not None
        return self._value(other, self.tables[other][row[first]], rest) if row[first] else False

    def _create(self, model: str, vals_list: list[Row]) -> list[int]:
        """Orders with their lines: all or nothing."""
        assert model == "purchase.order"
        if not self.may_write:
            raise Refusal(403, "odoo.exceptions.AccessError", "You are not allowed to create 'Purchase Order' records.")
        for values in vals_list:
            for needed in ("partner_id", "picking_type_id"):
                if values.get(needed) not in self.tables[str(ODOO[model][needed])]:
                    raise Refusal(422, "odoo.exceptions.ValidationError", f"Missing required value for {needed}")
            for zero, none, line in values["order_line"]:
                assert (zero, none) == (0, 0)
                if line["product_id"] not in self.tables["product.product"] or not line["date_planned"]:
                    raise Refusal(422, "odoo.exceptions.ValidationError", "Missing required fields on the line")
        return [self._add_order(values) for values in vals_list]

    def _add_order(self, values: Row) -> int:
        kept = {name: values[name] for name in ("partner_id", "picking_type_id", "origin")}
        now = datetime.now(UTC).strftime(MOMENT)
        number = self.add("purchase.order", **kept, state="draft", create_date=now)
        self.tables["purchase.order"][number]["name"] = f"P{number:05}"
        for _, _, line in values["order_line"]:
            measures = self.tables["uom.uom"]
            own = self.tables["product.product"][line["product_id"]]["uom_id"]
            units = line["product_qty"] * measures[line["product_uom_id"]]["factor"] / measures[own]["factor"]
            self.add("purchase.order.line", **line, order_id=number, product_uom_qty=units, qty_received=0.0)
        return number
