"""`orpr serve | key | replay | demo`: the service on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orpr.arenas import few_arenas
from orpr.options import SAMPLE

app = typer.Typer()


@app.command()
def serve(
    data: Annotated[Path | None, typer.Option(help="Load this dataset first, in place of what is stored.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8000,
) -> None:
    """Serve decisions over HTTP. Settings come from ORPR_* variables; see docs/settings.md."""
    few_arenas()
    from orpr.serving import load_dataset, run_server
    from service.safety import refuse_unsafe
    from service.settings import Settings

    settings = Settings()
    refuse_unsafe(settings, host)
    if data is not None:
        load_dataset(settings, data, draw_stock=False)
    run_server(settings, host, port)


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Whose key it is; shown in logs.")],
    scope: Annotated[list[str] | None, typer.Option(help="What it may do; repeat; all where none is given.")] = None,
    days: Annotated[int | None, typer.Option(help="For how many days it is good.", min=1)] = None,
    revoke: Annotated[bool, typer.Option("--revoke", help="End every key of that name instead.")] = False,
) -> None:
    """Make an API key, print it once and keep its hash; or revoke the keys of a name."""
    from orpr.serving import change_keys
    from service.settings import Settings

    typer.echo(change_keys(Settings(), name, scope, days, revoke=revoke))


@app.command()
def replay(decision: Annotated[str, typer.Argument(help="Number of a decision, as the service answered it.")]) -> None:
    """Ask the policy that decided again, on what it saw then; exit code 1 where the answer differs."""
    from orpr.replaying import replay_decision
    from service.settings import Settings

    replay_decision(Settings(), decision)


@app.command()
def demo(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8000,
) -> None:
    """Serve the bakery sample with the shipped policy; makes a key of its own and prints what to try."""
    few_arenas()
    from orpr.serving import run_demo
    from service.settings import Settings

    run_demo(Settings(), SAMPLE, host, port)
