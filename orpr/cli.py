"""The `orpr` command. Every command imports its package when called, so that serving never loads torch.

Exit codes: 0 done, 1 the work failed, 2 the input or the call is wrong (one line on stderr, nothing written).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from orpr.progress import ERRORS, progress_bars

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown",
    help="""Inventory days per item and location: label the past, train a policy, test it, serve it.

A dataset is a folder in the canonical layout (see docs/format.md). `orpr import` makes one from sales lines.""",
)  # fmt: skip


@app.callback()
def about() -> None:
    """Inventory days per item and location: label the past, train a policy, test it, serve it.

    A dataset is a folder in the canonical layout (docs/format.md). `orpr import` makes one from sales lines.
    """


Data = Annotated[Path, typer.Option(help="Folder of a canonical dataset.")]
SAMPLE = Path(__file__).parent.parent / "simulator" / "sample"


@app.command()
def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the bundle to write; its name is the policy's version.")],
    start_from: Annotated[
        str | None, typer.Option("--from", help="Bundle, version or alias to adapt instead of starting anew.")
    ] = None,
    config: Annotated[str, typer.Option(help="A shipped recipe (default, tiny) or a TOML file.")] = "default",
    seed: Annotated[int | None, typer.Option(help="Overrides the recipe's seed.")] = None,
    test_days: Annotated[int, typer.Option(help="Keep the last days out of training, to test on.")] = 0,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
) -> None:
    """Label a history, pretrain a policy on it in three stages, and export the bundle.

    Everything is read up to the cut-off only: the last recorded period, or `--test-days` before it.
    """
    from orpr.provenance import code_commit, folder_hash
    from simulator.canonical import read_panel
    from training.config import load_config
    from training.run import named_config, test_window, train_bundle

    recipe = load_config(named_config(config), seed=seed, threads=threads)
    panel = read_panel(data)
    end = test_window(panel, test_days).start if test_days else panel.last_recorded + 1
    base = None
    if start_from is not None:
        from service.policy import resolve_bundle

        base = resolve_bundle(start_from, panel.period_days)
    with progress_bars() as report:
        trained = train_bundle(
            panel, recipe, end, out, commit=code_commit(), data_hash=folder_hash(data), start_from=base,
            progress=lambda stage, step, steps, loss: report(stage, step, steps, f"loss {loss:.4f}"),
        )  # fmt: skip
    last = {stage: losses[-1] for stage, losses in trained.losses.items() if losses}
    typer.echo(f"{out}: trained before {panel.date_of(end - 1)}; final losses {last}")


def main() -> None:
    """Run the command line; what a user can mend becomes one line and exit code 2, a failed job exit code 1."""
    try:
        app()
    except ValueError as error:
        _fail(error, 2)
    except (OSError, RuntimeError) as error:
        _fail(error, 1)


def _fail(error: Exception, code: int) -> None:
    ERRORS.print(f"orpr: {' '.join(str(error).split())}", markup=False)
    sys.exit(code)
