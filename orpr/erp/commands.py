"""`orpr sync`: options and environment in, one run, one paragraph out. Keys come from the environment only."""

from __future__ import annotations

import os
from datetime import date, datetime, tzinfo
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from orpr.erp.records import Erp

app = typer.Typer(no_args_is_help=True, help="What happened in an ERP into a running service, orders back as drafts.")

Service = Annotated[str, typer.Option(envvar="ORPR_URL", help="Address of the service; its key is in ORPR_API_KEY.")]
Day = Annotated[str | None, typer.Option(help="At whose end orders are placed, YYYY-MM-DD.", show_default="today")]
Days = Annotated[int, typer.Option(min=1, help="Days of sales to send, up to that day; many the first time.")]
Location = Annotated[list[str] | None, typer.Option(help="Only this warehouse; repeat.", show_default="all")]
Margin = Annotated[float, typer.Option(help="Of new items: share of the price, where price or cost is missing.")]
Carrying = Annotated[float, typer.Option(help="Of new items: cost of holding stock, share of its value a year.")]
Review = Annotated[int, typer.Option(help="Of new items: days from one order day to the next.")]


@app.command()
def odoo(
    url: Annotated[str, typer.Option(envvar="ODOO_URL", help="Address of the site; its key is in ODOO_API_KEY.")],
    database: Annotated[str, typer.Option(envvar="ODOO_DATABASE", help="Where the site has several.")] = "",
    timezone: Annotated[str, typer.Option(help="In which a sale's day is counted.")] = "UTC",
    service: Service = "http://127.0.0.1:8000",
    day: Day = None,
    days: Days = 7,
    location: Location = None,
    margin: Margin = 0.3,
    carrying_rate: Carrying = 0.25,
    review_period_days: Review = 1,
) -> None:
    """Odoo 19 (JSON-2): orders become RFQs, one for each vendor and warehouse."""
    from orpr.erp.odoo import Odoo, odoo_at, zone_of

    zone = zone_of(timezone)
    erp = Odoo(odoo_at(url, database, _secret("ODOO_API_KEY")), location or [], zone)
    _run(erp, service, _day(day, zone), days, margin, carrying_rate, review_period_days)


@app.command()
def erpnext(
    url: Annotated[
        str, typer.Option(envvar="ERPNEXT_URL", help="Address of the site; ERPNEXT_API_KEY and ERPNEXT_API_SECRET.")
    ],
    service: Service = "http://127.0.0.1:8000",
    day: Day = None,
    days: Days = 7,
    location: Location = None,
    margin: Margin = 0.3,
    carrying_rate: Carrying = 0.25,
    review_period_days: Review = 1,
) -> None:
    """ERPNext: orders become Material Requests of type Purchase, one for each warehouse."""
    from orpr.erp.erpnext import ErpNext, erpnext_at

    sender = erpnext_at(url, _secret("ERPNEXT_API_KEY"), _secret("ERPNEXT_API_SECRET"))
    _run(ErpNext(sender, location or []), service, _day(day), days, margin, carrying_rate, review_period_days)


def _run(
    erp: Erp, service: str, day: date, days: int, margin: float, carrying_rate: float, review_period_days: int
) -> None:
    from orpr.client import Client
    from orpr.erp.sync import Assumed, synchronise

    assumed = Assumed(margin=margin, carrying_rate=carrying_rate, review_period_days=review_period_days)
    with Client(service) as client:
        done = synchronise(erp, client, day, days, assumed)
    written = f"{done.orders} orders in {len(done.documents)} drafts" if done.documents else "no order is due"
    named = f" ({', '.join(done.documents)})" if done.documents else ""
    typer.echo(f"{erp.name}: {done.series} series; {written}{named}; {done.told} outcomes of earlier drafts told")
    if done.withheld:
        typer.echo(f"{done.withheld} orders withheld: their drafts of today were taken out", err=True)
    for why, count in done.unanswered.items():
        typer.echo(f"{count} left out: {why}", err=True)


def _secret(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise ValueError(f"{name} is not set")
    return value


def _day(text: str | None, zone: tzinfo | None = None) -> date:
    """The day that is named, or today where the zone, or else this machine, is."""
    if text is None:
        return datetime.now(zone).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"day must be a date, YYYY-MM-DD, got {text!r}") from None
