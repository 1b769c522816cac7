"""The `orpr` command. Every command imports its package when called, so that serving never loads torch.

Exit codes: 0 done, 1 the work failed, 2 the input is wrong (one line on stderr, nothing written) or the call (its usage).
"""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from orpr import policy_commands
from orpr.erp.commands import app as sync
from orpr.progress import ERRORS, SCREEN, progress_bars

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown",
    help="""Inventory days per item and location: label the past, train a policy, test it, serve it.

A dataset is a folder in the canonical layout (see docs/format.md). `orpr import` makes one from sales lines.""",
)  # fmt: skip
app.add_typer(policy_commands.app, name="policy")

app.add_typer(sync, name="sync")


@app.callback()
def about() -> None:
    """Inventory days per item and location: label the past, train a policy, test it, serve it.

    A dataset is a folder in the canonical layout (docs/format.md). `orpr import` makes one from sales lines.
    """


Data = Annotated[Path, typer.Option(help="Folder of a canonical dataset.")]
SAMPLE = Path(__file__).parent.parent / "simulator" / "sample"


@app.command()
def train(
    data: Annotated[list[Path], typer.Option(help="Folder of a canonical dataset; repeat to learn from several.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle to write; its name is the policy's version.")],
    start_from: Annotated[
        str | None, typer.Option("--from", help="Bundle, version or alias to adapt instead of starting anew.")
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(help="A shipped recipe or a TOML file.", show_default="default; with --from: adapt"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the recipe's seed.")] = None,
    test_days: Annotated[
        list[int] | None, typer.Option(help="Keep the last days out, to test on; once, or once for each --data.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    log_dir: Annotated[Path | None, typer.Option(help="Folder for TensorBoard's live log.")] = None,
    also_dl: Annotated[
        bool, typer.Option("--also-dl", help="Write OUT-dl too: the policy before reinforcement and replays.")
    ] = False,
    by_week: Annotated[
        bool,
        typer.Option("--by-week", help="Add daily datasets up by week, for a policy that decides for weekly data."),
    ] = False,
) -> None:
    """Label histories, pretrain a policy on them, align it, and export the bundle.

    Everything is read up to the cut-off only: the last recorded period, or `--test-days` before it.
    """
    from orpr.learning import run_training
    from orpr.provenance import command_line
    from training.config import load_config
    from training.run import named_config

    chosen = config or ("adapt" if start_from else "default")
    recipe = load_config(named_config(chosen), seed=seed, threads=threads)
    with progress_bars() as report:
        learned = run_training(
            data, out, recipe, report, command=command_line(), test_days=test_days or (), start_from=start_from,
            log_dir=log_dir, also_dl=also_dl, weekly=by_week,
        )  # fmt: skip
    last = {stage: round(losses[-1], 4) for stage, losses in learned.result.losses.items() if losses}
    cut_offs = ", ".join(f"{name} up to {day}" for name, day in learned.before.items())
    typer.echo(f"{out}: trained on {cut_offs}; final losses {last}")


@app.command("import")
def import_lines(
    sales: Annotated[Path, typer.Option(help="Signed sales lines, CSV or Parquet.")],
    out: Annotated[Path, typer.Option(help="Folder of the canonical dataset to make.")],
    stock: Annotated[Path | None, typer.Option(help="Stock snapshots.")] = None,
    items: Annotated[Path | None, typer.Option(help="Item attributes.")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--map", help="their=ours, for one column; repeat. sales.their=ours for one file."),
    ] = None,
    map_file: Annotated[Path | None, typer.Option(help="The same pairs in a TOML file; --map wins over it.")] = None,
    name: Annotated[str, typer.Option(help="The dataset's name.")] = "imported",
    currency: Annotated[str, typer.Option(help="Of prices and costs.")] = "EUR",
    quantity: Annotated[str, typer.Option(help="discrete or continuous.")] = "discrete",
    period_days: Annotated[int, typer.Option(help="1 for days, 7 for weeks.")] = 1,
    margin: Annotated[float, typer.Option(help="Share of the price, where an item's cost is missing.")] = 0.3,
    carrying_rate: Annotated[float, typer.Option(help="Cost of holding stock, share of its value a year.")] = 0.25,
    lead_time_days: Annotated[int, typer.Option(help="Where an item has none.")] = 7,
    review_period_days: Annotated[int, typer.Option(help="Where an item has none.")] = 7,
    return_days: Annotated[int, typer.Option(help="How far back a return may cancel a sale.")] = 30,
    location_id: Annotated[str, typer.Option(help="For files without a location column.")] = "MAIN",
    ignore_free_returns: Annotated[
        bool, typer.Option("--ignore-free-returns", help="Negative lines without a price are write-offs, not returns.")
    ] = False,
    date_format: Annotated[str | None, typer.Option(help="As in strptime; default YYYY-MM-DD.")] = None,
    decimal_comma: Annotated[bool, typer.Option("--decimal-comma", help="Numbers are written 1.234,5.")] = False,
    separator: Annotated[str, typer.Option(help="Between CSV fields.")] = ",",
    encoding: Annotated[str, typer.Option(help="Of CSV files.")] = "utf-8",
    replace: Annotated[bool, typer.Option("--replace", help="Replace a dataset that is there already.")] = False,
) -> None:
    """Make a canonical dataset from sales lines and stock snapshots.

    Omitted days become zeros, returns cancel sales, negative stock becomes zero, missing costs come from the margin and
    the carrying rate. Every rule is stated in docs/import.md and counted in the report.
    """
    from orpr.importing import ColumnMap, ImportSettings, import_dataset

    mapping = ColumnMap.from_pairs(column or [])
    if map_file is not None:
        mapping = ColumnMap.from_toml(map_file).updated(mapping)
    settings = ImportSettings(
        name=name, currency=currency, quantity=quantity, period_days=period_days, margin=margin,
        carrying_rate=carrying_rate, lead_time_days=lead_time_days, review_period_days=review_period_days,
        return_days=return_days, location_id=location_id, ignore_free_returns=ignore_free_returns,
        date_format=date_format, decimal_comma=decimal_comma, separator=separator, encoding=encoding,
    )  # fmt: skip
    with progress_bars() as bars:
        report = import_dataset(
            sales, out, mapping=mapping, settings=settings, stock=stock, items=items, progress=bars, replace=replace
        )
    for line in report.as_lines():
        typer.echo(line)


@app.command()
def check(data: Data) -> None:
    """Read a dataset and say what is wrong with it, or what is in it."""
    from simulator.canonical import read_panel
    from simulator.stock import read_inventory, read_limits, read_orders

    panel = read_panel(data)
    for also in (read_inventory, read_orders, read_limits):
        also(panel, data)
    known = panel.units_sold == panel.units_sold
    typer.echo(
        f"{panel.name}: {panel.series_count} series, {panel.date_of(0)} to {panel.date_of(panel.last_recorded)}, "
        f"{int(known.sum())} recorded periods of {panel.period_days} days, {panel.quantity} quantities; no problem found"
    )


@app.command()
def label(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of Parquet files to write, or to bring up to date.")],
    test_days: Annotated[int, typer.Option(help="Leave the last days unlabelled.")] = 0,
    raw_sales: Annotated[bool, typer.Option("--raw-sales", help="Do not recover demand from stock-outs.")] = False,
) -> None:
    """Label every review of a history with its best days and its whole cost curve.

    Run again, it goes on where it stopped, and labels anew only what a grown or corrected history changes.
    """
    from orpr.labelling import write_labels
    from simulator.canonical import read_panel
    from simulator.panel import test_window

    panel = read_panel(data)
    end = test_window(panel, test_days).start if test_days else panel.last_recorded + 1
    with progress_bars() as report:
        done = write_labels(panel, data, out, end, report, recovered=not raw_sales)
    kept = f", {done.kept} of {done.files} files kept as they were" if done.kept else ""
    typer.echo(f"{out}: {done.labels} labels from {panel.series_count} series{kept}")


@app.command()
def rules(
    data: Data,
    days: Annotated[int, typer.Option(help="Length of the replayed window at the end of the history.")] = 364,
    out: Annotated[Path | None, typer.Option(help="Parquet file with one row per series and rule.")] = None,
) -> None:
    """What each pack, minimum, order day and day of lead time costs each series a year, in hindsight."""
    from orpr.rule_prices import price_rules, screen_tables
    from simulator.canonical import read_panel

    panel = read_panel(data)
    with progress_bars() as report:
        prices = price_rules(panel, data, days, out, report)
    for table in screen_tables(prices, panel.currency):
        SCREEN.print(table)


@app.command()
def pareto(
    data: Data,
    days: Annotated[int, typer.Option(help="Length of the window at the end of the history.")] = 90,
    points: Annotated[int, typer.Option(help="Service levels to solve.", min=2)] = 12,
    by_category: Annotated[bool, typer.Option("--by-category", help="Calibrate each category on its own too.")] = False,
    out: Annotated[Path | None, typer.Option(help="Parquet file with the days of every series at every point.")] = None,
) -> None:
    """Stock against lost sales in hindsight, over all service levels, and the level that real turnover implies.

    A `limits` file in the dataset bounds volume and budget of its locations.
    """
    from orpr.trade_off import category_table, screen_table, trade_off, write_trade_off
    from simulator.canonical import read_panel

    panel = read_panel(data)
    with progress_bars() as report:
        found = trade_off(panel, data, days, points, report, by_category=by_category)
    if out is not None:
        write_trade_off(found, panel, out)
    SCREEN.print(screen_table(found, panel.currency))
    if found.by_category is not None:
        SCREEN.print(category_table(found.by_category))


@app.command()
def export(
    bundle: Annotated[Path, typer.Option("--from", help="Bundle whose weights are exported again.")],
    data: Annotated[list[Path], typer.Option(help="A dataset it was trained on, for the golden cases; repeat.")],
    out: Annotated[Path, typer.Option(help="Folder of the new bundle; its name is the version.")],
) -> None:
    """Export a bundle's weights again with the code as it is now: graph, golden cases, parity check."""
    from orpr.provenance import code_commit
    from simulator.canonical import read_panel
    from training.run import export_again

    export_again(bundle, [read_panel(folder) for folder in data], out, commit=code_commit())
    typer.echo(f"{out}: exported, parity holds")


@app.command()
def histograms(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    data: Annotated[list[Path], typer.Option(help="A dataset it was trained on; repeat for all of them.")],
) -> None:
    """Freeze histograms of what a policy learned from into its bundle; a service measures drift against them.

    `orpr train` and `orpr export` do so by themselves; this is for bundles that were made before. Nothing behind a
    dataset's cut-off is read, and the policy stays as it is.
    """
    from orpr.provenance import folder_hash
    from simulator.canonical import read_panel
    from training.histograms import freeze

    panels = {folder: read_panel(folder) for folder in data}
    hashes = {panel.name: folder_hash(folder) for folder, panel in panels.items()}
    decisions = freeze(bundle, list(panels.values()), hashes)
    typer.echo(f"{bundle}: histograms of {decisions} decisions before {', '.join(hashes)} were cut off")


@app.command()
def backtest(
    data: Data = SAMPLE,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="[ROW=]WHERE, repeated: a bundle (path, version or champion), module:function, file.py:function, or "
            "http://… of a service. Those of one ROW are seeds of one recipe. Default: champion."
        ),
    ] = None,
    test_days: Annotated[int, typer.Option(help="Length of the window at the end of the history.")] = 180,
    seed: Annotated[int, typer.Option(help="Of the bootstrap and the gradient-boosted rows.")] = 0,
    replay: Annotated[str, typer.Option(help="sales, or recovered: demand as it was without stock-outs.")] = "sales",
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            help="Replay again: packs (drawn packs and minimum orders), carrying (25 % a year), lead-times (drawn from "
            "the orders file), cold-0, -7, -14, -28 (new items; also with -reference); repeat."
        ),
    ] = None,
    min_in_stock: Annotated[
        float, typer.Option(help="Leave out series in stock for less of the window: their sales hide demand.")
    ] = 0.0,
    restarts: Annotated[
        int, typer.Option(help="Windows one after another, each from a fresh opening stock, as a contest rolled back.")
    ] = 1,
    report: Annotated[Path | None, typer.Option(help="Folder for one HTML report with its pictures.")] = None,
    results: Annotated[Path | None, typer.Option(help="Folder for JSON, page and picture.")] = None,
    page: Annotated[Path | None, typer.Option(help="Rewrite the table between this page's backtest marks.")] = None,
) -> None:
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
def ablate(
    data: Data = SAMPLE,
    config: Annotated[str, typer.Option(help="The base; its variants change one thing each.")] = "ablation",
    seeds: Annotated[int, typer.Option(help="Each variant is trained so many times.", min=1)] = 3,
    test_days: Annotated[int, typer.Option(help="Days at the end of the history that nothing reads.")] = 180,
    days: Annotated[int, typer.Option(help="Days before them that judge.")] = 120,
    weights: Annotated[
        Path, typer.Option(help="Folder of trained weights; a run goes on with what lies there.")
    ] = Path("runs/ablations"),
    threads: Annotated[int, typer.Option(help="Of PyTorch.")] = 1,
    results: Annotated[Path | None, typer.Option(help="Folder for JSON, page and picture.")] = None,
) -> None:
    """What each part of the recipe brings: stages, streams, labels, size, RLOO's weights, replays.

    About fifty small trainings, an hour or two; broken off, it goes on with the next variant.
    """
    from orpr.ablation import Windows, run_ablation, write_ablation
    from orpr.provenance import command_line
    from training.config import load_config
    from training.run import named_config

    recipe = load_config(named_config(config), threads=threads)
    with progress_bars() as show:
        done = run_ablation(
            data, recipe, range(seeds), Windows(test_days, days), weights, show, command=command_line()
        )  # fmt: skip
    for row in done["variants"]:
        value, low, high = row["against_base"]
        typer.echo(f"{row['group']:>10}  {row['name']:<40} {value:.3f} [{low:.3f}, {high:.3f}]")
    if results is not None:
        for path in write_ablation(done, results):
            typer.echo(str(path))


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


@app.command()
def serve(
    data: Annotated[Path | None, typer.Option(help="Load this dataset first, in place of what is stored.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8000,
) -> None:
    """Serve decisions over HTTP. Settings come from ORPR_* variables; see docs/settings.md."""
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
    from orpr.serving import run_demo
    from service.settings import Settings

    run_demo(Settings(), SAMPLE, host, port)


def _day(name: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} must be a date, YYYY-MM-DD, got {text!r}") from None


def main() -> None:
    """Run the command line; what a user can mend becomes one line and exit code 2, a failed job exit code 1."""
    try:
        app()
    except ImportError as error:
        _fail(f"{error}; `make setup` installs what training needs", 1)
    except ValueError as error:
        _fail(error, 2)
    except (OSError, RuntimeError) as error:
        _fail(error, 1)
    except Exception as error:
        if type(error).__module__.startswith("sqlalchemy"):
            _fail(error, 1)
        if type(error).__name__ == "PolicyNotFound":
            _fail(error, 2)
        raise


def _fail(error: Exception | str, code: int) -> NoReturn:
    ERRORS.print(f"orpr: {' '.join(str(error).split())}", markup=False)
    sys.exit(code)
