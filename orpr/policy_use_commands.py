"""`orpr backtest | score`: policies tried on the past, and asked."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from orpr.options import SAMPLE, Data
from orpr.progress import SCREEN, progress_bars

app = typer.Typer()

Policy = Annotated[
    list[str] | None,
    typer.Option(
        help="[ROW=]WHERE, repeated: a bundle (path, version or champion), module:function, file.py:function, or "
        "http://… of a service. Those of one ROW are seeds of one recipe. Default: champion."
    ),
]
TestDays = Annotated[int, typer.Option(help="Length of the window at the end of the history.")]
Seed = Annotated[int, typer.Option(help="Of the bootstrap and the gradient-boosted rows.")]
Replay = Annotated[str, typer.Option(help="sales, or recovered: demand as it was without stock-outs.")]
Scenario = Annotated[
    list[str] | None,
    typer.Option(
        help="Replay again: packs (drawn packs and minimum orders), carrying (25 % a year), lead-times (drawn from "
        "the orders file), cold-0, -7, -14, -28 (new items; also with -reference); repeat."
    ),
]
MinInStock = Annotated[
    float, typer.Option(help="Judge no series in stock for less of the window: their sales hide demand.")
]
Restarts = Annotated[
    int, typer.Option(help="Windows one after another, each from a fresh opening stock, as a contest rolled back.")
]
Report = Annotated[Path | None, typer.Option(help="Folder for one HTML report with its pictures.")]
Results = Annotated[Path | None, typer.Option(help="Folder for JSON, page and picture.")]
Page = Annotated[Path | None, typer.Option(help="Rewrite the table between this page's backtest marks.")]


@app.command()
def backtest(
    data: Data = SAMPLE, policy: Policy = None, test_days: TestDays = 180, seed: Seed = 0,
    replay: Replay = "sales", scenario: Scenario = None, min_in_stock: MinInStock = 0.0, restarts: Restarts = 1,
    report: Report = None, results: Results = None, page: Page = None,
) -> None:  # fmt: skip
    """Replay every method on the last days of a dataset and print the table.

    No bundle may have been trained on the window; one that was is refused. What a function gets and must answer, how a
    service is asked, and what is in the files: docs/backtest.md. `ORPR_API_KEY` is the key for a service.
    """
    from orpr.evaluation import run_backtest
    from orpr.provenance import command_line
    from orpr.results import rewrite_block, screen_tables, write_results

    with progress_bars() as bars:
        done = run_backtest(
            data, policy or ["champion"], test_days, seed, bars, command=command_line(), replay=replay,
            scenarios=scenario or [], min_in_stock=min_in_stock, restarts=restarts,
        )  # fmt: skip
    for table in screen_tables(done.result):
        SCREEN.print(table)
    if results is not None:
        for path in write_results(done.result, results):
            typer.echo(str(path))
    if report is not None:
        from training.report import write_report

        typer.echo(str(write_report(done.result, done.replayed, report)))
    if page is not None:
        rewrite_block(done.result, page)


@app.command()
def score(
    data: Data,
    policy: Annotated[str, typer.Option(help="Bundle path, version, or the alias champion.")],
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    state: Annotated[Path | None, typer.Option(help="Stock at the end of as-of; default: the dataset's.")] = None,
    open_orders: Annotated[Path | None, typer.Option(help="Open orders; default: the dataset's.")] = None,
    as_of: Annotated[str | None, typer.Option(help="YYYY-MM-DD; default: the last recorded period.")] = None,
    quarantine: Annotated[
        Path | None, typer.Option(help="Set bad series aside in this Parquet file and answer the rest.")
    ] = None,
) -> None:
    """Decide every series of a dataset at the end of one period.

    Where an order has to last longer than the policy looks ahead, the gamma base stock answers; column `source` says so.
    """
    from orpr.scoring import score as run

    with progress_bars() as report:
        done = run(
            data, policy, out, state=state, open_orders=open_orders, as_of=_day("as-of", as_of),
            quarantine=quarantine, progress=report,
        )  # fmt: skip
    aside = f", {done.set_aside} set aside" if done.set_aside else ""
    typer.echo(f"{out}: {done.series} series at the end of {done.as_of} by {done.version}{aside}")


def _day(name: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} must be a date, YYYY-MM-DD, got {text!r}") from None
