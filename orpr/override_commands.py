"""`orpr overrides`: what experts decided, and what came of it, out of a running service."""

from __future__ import annotations

import io
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from orpr.asking import HERE, Url, service_at
from orpr.progress import SCREEN

app = typer.Typer(no_args_is_help=True, help="Experts' decisions as labels, and what they earned.")

ApiKey = Annotated[str, typer.Option(help="An API key; `pull` needs the scope planner or ops.", envvar="ORPR_API_KEY")]
From = Annotated[str | None, typer.Option("--from", help="First order day, YYYY-MM-DD.", show_default="no bound")]
To = Annotated[str | None, typer.Option("--to", help="Last order day, YYYY-MM-DD.", show_default="no bound")]


@app.command()
def pull(
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    order_from: From = None,
    order_to: To = None,
    *,
    newest: Annotated[bool, typer.Option("--newest", help="Where they are too many for a file: the newest.")] = False,
    url: Url = HERE,
    key: ApiKey = "",
) -> None:
    """Expert labels, with what the policy saw and what each earned, into a file."""
    import polars as pl

    from orpr.files import write_bytes_whole

    given = {"order_from": order_from, "order_to": order_to}
    matching = {name: _day(name, text) for name, text in given.items() if text is not None}
    with service_at(url, key) as client:
        content = client.export_labels(**matching, newest=newest)
    try:
        authors = pl.read_parquet(io.BytesIO(content), columns=["author"])["author"]
        told = pl.read_parquet_metadata(io.BytesIO(content))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{url}: the answer is no file of labels ({str(error).splitlines()[0]})") from None
    write_bytes_whole(out, content)
    typer.echo(f"{out}: {_counted(len(authors), 'label')} of {_counted(authors.n_unique(), 'author')}")
    if left_out := int(told.get("orpr.left_out", "0")):
        typer.echo(f"{left_out:,} left out: the policy saw other fields when they were made", err=True)


@app.command()
def settle(
    override: Annotated[int, typer.Argument(help="Number of the override.")], url: Url = HERE, key: ApiKey = ""
) -> None:
    """What an override earned or cost against the policy's own number, order by order."""
    with service_at(url, key) as client:
        told = client.settlement(override)
    table = Table(title=f"override {override}: {told.state}, {told.settled} of {told.decisions} orders")
    for heading in ("item", "location", "ordered on", "state", "order", "policy's", "units saved", told.currency):
        table.add_column(heading)
    for line in told.lines:
        numbers = ["", "", "", ""]
        if line.stood is not None and line.policy is not None:
            orders = f"{line.stood.order_quantity:,.4g}", f"{line.policy.order_quantity:,.4g}"
            numbers = [*orders, f"{line.saved_units:+,.4g}", f"{line.money:+,.2f}"]
        table.add_row(line.item_id, line.location_id, str(line.order_date), line.state, *numbers)
    SCREEN.print(table)
    least = "; demand was at least what was sold" if told.demand_understated else ""
    earned = f"{told.saved_units:+,.4g} units sold, {told.money:+,.2f} {told.currency}"
    typer.echo(f"against the policy's own number: {earned}{least}")


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name.removeprefix('order_')} must be a date, YYYY-MM-DD, got {text!r}") from None
