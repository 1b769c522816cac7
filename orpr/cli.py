"""The `orpr` command. Every command imports its package when called, so that serving never loads torch.

Exit codes: 0 done, 1 the work failed, 2 the input is wrong (one line on stderr, nothing written) or the call (its usage).
"""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from orpr import (
    data_commands,
    override_commands,
    policy_commands,
    policy_use_commands,
    service_commands,
    training_commands,
)
from orpr.erp.commands import app as sync
from orpr.experiment.commands import app as experiment
from orpr.progress import ERRORS

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown",
    help="""Inventory days per item and location: label the past, train a policy, test it, serve it.

A dataset is a folder in the canonical layout (see docs/format.md). `orpr import` makes one from sales lines.""",
)  # fmt: skip
for commands in (data_commands, training_commands, policy_use_commands, service_commands):
    app.add_typer(commands.app)
app.add_typer(policy_commands.app, name="policy")
app.add_typer(override_commands.app, name="overrides")
app.add_typer(sync, name="sync")
app.add_typer(experiment, name="experiment")


@app.callback()
def about() -> None:
    """Inventory days per item and location: label the past, train a policy, test it, serve it.

    A dataset is a folder in the canonical layout (docs/format.md). `orpr import` makes one from sales lines.
    """


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
