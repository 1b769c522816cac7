"""What passes between an ERP and the sync recipe: our names, our units, whatever the ERP calls them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import NamedTuple, Protocol

import polars as pl

from orpr.sending import one_line

Series = tuple[str, str]  # item_id, location_id
KEY = {"item_id": pl.String(), "location_id": pl.String()}
STOCK = {**KEY, "on_hand": pl.Float64()}
SOLD = {**KEY, "date": pl.Date(), "units_sold": pl.Float64()}
COMING = {**KEY, "arrival_date": pl.Date(), "quantity": pl.Float64()}


class ErpError(RuntimeError):
    """The ERP refused a request or did not answer it; its text is one line without a secret."""


class Unusable(ValueError):
    """Settings or records of the ERP that its user has to mend; its text is one line that names them."""

    def __init__(self, said: str) -> None:
        super().__init__(one_line(said))


@contextmanager
def understood(name: str) -> Iterator[None]:
    """Answers of another form than the ERP documents become an ErpError, whatever they break."""
    try:
        yield
    except Unusable:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, pl.exceptions.PolarsError) as error:
        said = f"{name}: an answer has another form than is documented ({type(error).__name__}: {error})"
        raise ErpError(one_line(said)) from error


class ErpItem(NamedTuple):
    """What an ERP knows of one series; None where it does not."""

    item_id: str
    location_id: str
    name: str | None
    category: str | None
    unit_price: float | None  # currency per stock unit
    unit_cost: float | None
    lead_time_days: int | None
    min_order_qty: float | None  # stock units
    order_multiple: float | None


class Snapshot(NamedTuple):
    """An ERP as it stands, in stock units."""

    items: list[ErpItem]
    stock: pl.DataFrame  # as STOCK, one row per series
    sold: pl.DataFrame  # as SOLD, rows of one series and date add up; returns are negative
    coming: pl.DataFrame  # as COMING
    left_out: dict[str, int]  # why items are not among them, and how many


class Order(NamedTuple):
    """One order to propose."""

    decision_id: str
    item_id: str
    location_id: str
    quantity: float  # stock units
    receipt_date: date


class Draft(NamedTuple):
    """A document of ours, or a line of one, that nobody has cancelled."""

    decisions: list[str]  # numbers that it carries, oldest first
    units: dict[str, float]  # by item_id, as they stand there now
    unconfirmed: dict[str, float]  # the part of them that no confirmed order holds


class Erp(Protocol):
    """Odoo or ERPNext."""

    name: str

    def read(self, first: date, last: date) -> Snapshot:
        """Items, stock now, sales from `first` to `last`, and what is on order."""

    def drafts(self, first: date) -> list[Draft]:
        """What was proposed since `first` and stands, also where it has become an order by now."""

    def propose(self, orders: Sequence[Order], day: date) -> Iterator[tuple[str, list[Order]]]:
        """Write drafts; each document's name and orders as soon as it stands. Every document is made whole or not at all."""


def added_up(rows: Iterable[tuple[object, ...]], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """A table of rows, whose last column is added up over rows that are alike in all others."""
    *alike, units = schema
    table = pl.DataFrame(list(rows), schema=schema, orient="row")
    return table.group_by(alike, maintain_order=True).agg(pl.col(units).sum())
