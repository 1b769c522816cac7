"""`orpr experiment`: options in, files out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from orpr.asking import HERE, Url, service_at
from orpr.options import Data
from orpr.progress import progress_bars

app = typer.Typer(
    no_args_is_help=True, help="Measure a policy in the field: who is treated, and what it did (docs/experiment.md)."
)

Start = Annotated[str, typer.Option(help="First day on which the treatment decides, YYYY-MM-DD.")]
Inventory = Annotated[Path | None, typer.Option(help="Stock by day, in place of the dataset's file; Parquet or CSV.")]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn.")]


@app.command("design")
def design_command(
    data: Data,
    start: Start,
    out: Annotated[Path, typer.Option(help="Folder for the assignment, the balance and the pictures.")],
    treated: Annotated[Path | None, typer.Option(help="Treated series: item_id, location_id; Parquet or CSV.")] = None,
    share: Annotated[float | None, typer.Option(help="Draw this share of all series instead.")] = None,
    canary: Annotated[str | None, typer.Option(help="With --share: those that this version's canary takes.")] = None,
    days: Annotated[int, typer.Option(help="Planned length, for the power.")] = 30,
    history_days: Annotated[int, typer.Option(help="Of the past that is read.")] = 182,
    metric: Annotated[
        str | None, typer.Option(help="Main outcome.", show_default="the first that can be told and varies")
    ] = None,
    inventory: Inventory = None,
    calliper: Annotated[float, typer.Option(help="Standard deviations of the logit that a pair may differ by.")] = 0.2,
    *,
    within_category: Annotated[bool, typer.Option("--within-category", help="A pair shares its category.")] = False,
    seed: Seed = 0,
) -> None:
    """Match a control series to each treated one, say how alike they are, and how small an effect they can show."""
    from orpr.experiment.design import DesignSettings, design, write_design
    from orpr.experiment.panel import day_of
    from simulator.canonical import read_panel

    settings = DesignSettings(
        start=day_of("start", start), treated=treated, share=share, canary=canary, seed=seed, history_days=history_days,
        days=days, inventory=inventory, metric=metric, calliper=calliper, within_category=within_category,
    )  # fmt: skip
    assignment, result = design(read_panel(data), data, settings)
    write_design(assignment, result, out)
    for line in _design_lines(result, out):
        typer.echo(line)


@app.command("report")
def report_command(
    assignment: Annotated[Path, typer.Option(help="What `design` wrote, or item_id, location_id, group of your own.")],
    data: Data,
    start: Start,
    out: Annotated[Path, typer.Option(help="Folder for the page, its JSON and its pictures.")],
    end: Annotated[str | None, typer.Option(help="Last day.", show_default="the last recorded")] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Outcome; repeat.", show_default="all that can be told")
    ] = None,
    decisions: Annotated[Path | None, typer.Option(help="The service's decisions, Parquet, CSV or .ndjson.")] = None,
    inventory: Inventory = None,
    policy_version: Annotated[
        list[str] | None, typer.Option(help="Whose decisions are the treatment; repeat.", show_default="all")
    ] = None,
    history_days: Annotated[int, typer.Option(help="Days before the start.")] = 84,
    settle_days: Annotated[int, typer.Option(help="Days after the start that are left out.")] = 0,
    bin_days: Annotated[int, typer.Option(help="Of the event study.")] = 7,
    permutations: Annotated[int, typer.Option(help="Draws of placebo treatments.")] = 999,
    seed: Seed = 0,
) -> None:
    """What the treatment did: A/B table, difference in differences, event study, placebo checks."""
    from orpr.experiment.panel import day_of
    from orpr.experiment.report import ReportSettings, report, write_report
    from orpr.experiment.words import screen_lines
    from simulator.canonical import read_panel

    settings = ReportSettings(
        assignment=assignment, start=day_of("start", start), end=None if end is None else day_of("end", end),
        metrics=metric or [], decisions=decisions, inventory=inventory, policy_versions=policy_version or [],
        history_days=history_days, settle_days=settle_days, bin_days=bin_days, permutations=permutations, seed=seed,
    )  # fmt: skip
    with progress_bars() as bars:
        result = report(read_panel(data), data, settings, bars)
    write_report(result, out)
    for line in [
        *screen_lines(result),
        f"{out / 'report.md'}: {result['treated']} treated, {result['control']} control",
    ]:
        typer.echo(line)


@app.command("pull")
def pull_command(
    first: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD.")],
    out: Annotated[Path, typer.Option(help="Folder for decisions.ndjson and inventory.parquet.")],
    last: Annotated[str | None, typer.Option("--to", help="Last day, YYYY-MM-DD.", show_default="today")] = None,
    url: Url = HERE,
    key: Annotated[str, typer.Option(help="An API key.", envvar="ORPR_API_KEY")] = "",
) -> None:
    """What `design` and `report` measure from, out of a running service: its decisions, and the stock it was told."""
    from datetime import UTC, datetime

    from orpr.experiment.panel import day_of
    from orpr.experiment.pulling import pull

    until = datetime.now(UTC).date() if last is None else day_of("to", last)
    with service_at(url, key) as client, progress_bars() as bars:
        pulled = pull(client, day_of("from", first), until, out, bars)
    typer.echo(f"{out}: decisions {pulled.decisions:,}, counts of stock {pulled.counts:,}")


def _design_lines(result: dict[str, Any], out: Path) -> list[str]:
    from orpr.experiment.words import NAMES, number

    bad = [row["covariate"] for row in result["balance"] if row["unbalanced"]]
    power = result["power"]
    effect = (
        f"power not told: {power['not_told']}"
        if "not_told" in power
        else f"{power['days']} days find an effect on {NAMES[power['metric']]} of "
        f"{number(power['metric'], power['detectable_effect'], signed=True).lstrip('+')} or more, up or down, with 80 % power "
        f"(mean before: {number(power['metric'], power['mean'])})"
    )
    return [
        f"{out}: {result['pairs']} pairs of {result['treated']} treated series, {result['unmatched']} without a control",
        f"unbalanced (above 0.1): {', '.join(bad)}" if bad else "every covariate is balanced to 0.1",
        effect,
    ]
