"""`orpr policy`: the policies of a running service, over its API. Knows nothing of bundles; the service checks them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from orpr.asking import HERE, Url
from orpr.asking import service_at as _service
from orpr.progress import SCREEN

if TYPE_CHECKING:
    from service.policy_schemas import AliasChange, AliasState, GuardrailState, PolicyDetail

app = typer.Typer(
    no_args_is_help=True, help="See, register, try, promote and roll back the policies of a running service."
)

ApiKey = Annotated[
    str, typer.Option(help="An API key; what changes something needs the scope ops.", envvar="ORPR_API_KEY")
]
Reason = Annotated[str, typer.Option(help="Kept with the change.")]
Version = Annotated[str, typer.Argument(help="Name of a bundle in the service's folders.")]


@app.command("list")
def list_policies(url: Url = HERE, key: ApiKey = "") -> None:
    """Every policy that the service knows, and where the aliases point."""
    with _service(url, key) as client:
        told = client.policies()
    table = Table(title=f"serving {told.serving or 'none'}, periods of {told.period_days} days")
    for heading in ("version", "period", "aliases", "registered", "by", "graph sha256"):
        table.add_column(heading)
    for one in told.items:
        registered = "ships, not registered" if one.shipped else "not registered"
        if one.registered_at is not None:
            registered = f"{one.registered_at:%Y-%m-%d %H:%M}"
        digest = (one.sha256 or {}).get("policy.onnx", "unreadable")
        table.add_row(
            one.version, str(one.period_days), " ".join(one.aliases), registered, one.registered_by or "", digest[:16]
        )
    SCREEN.print(table)
    for alias in told.aliases:
        typer.echo(_pointing(alias))
    if told.canary is not None:
        for rail in told.canary.guardrails:
            typer.echo(_watched(rail, told.canary.since))
    if told.pinned:
        typer.echo(f"this process is pinned to {told.serving} by ORPR_POLICY and follows no champion")
    if told.refused:
        typer.echo(f"refused: {told.refused}")


@app.command()
def serving(url: Url = HERE, key: ApiKey = "") -> None:
    """The version in charge, alone on a line, for scripts."""
    with _service(url, key) as client:
        told = client.policies()
    if told.serving is None:
        raise RuntimeError("no policy is in charge")
    typer.echo(told.serving)


@app.command()
def show(version: Version, url: Url = HERE, key: ApiKey = "") -> None:
    """One policy: what its gate said, and every change that pointed an alias to it or took it from there."""
    with _service(url, key) as client:
        told = client.policy(version)
    registered = "not registered"
    if told.registered_at is not None:
        registered = f"registered by {told.registered_by} on {told.registered_at:%Y-%m-%d %H:%M}"
    typer.echo(f"{told.version}: {registered}; {' '.join(told.aliases) or 'no alias points to it'}")
    typer.echo(_gated(told))
    for change in told.changes:
        typer.echo(_changed(change))
    if told.canary is not None:
        for rail in told.canary.guardrails:
            typer.echo(_watched(rail, told.canary.since))


@app.command()
def register(version: Version, url: Url = HERE, key: ApiKey = "") -> None:
    """Check a bundle that lies in the service's folders and pin the hashes of its files."""
    with _service(url, key) as client:
        told = client.register_policy(version)
    typer.echo(f"{told.version}: registered by {told.registered_by} on {told.registered_at:%Y-%m-%d}")


@app.command()
def promote(version: Version, reason: Reason, url: Url = HERE, key: ApiKey = "") -> None:
    """Make a registered policy the champion."""
    with _service(url, key) as client:
        typer.echo(_pointing(client.promote_policy(version, reason)))


@app.command()
def rollback(reason: Reason, url: Url = HERE, key: ApiKey = "") -> None:
    """Make the champion before this one the champion again."""
    with _service(url, key) as client:
        typer.echo(_pointing(client.roll_back_policy(reason)))


@app.command()
def shadow(
    reason: Reason,
    version: Annotated[str | None, typer.Argument(help="A registered policy; none ends the shadow.")] = None,
    url: Url = HERE,
    key: ApiKey = "",
) -> None:
    """Let a policy decide beside the champion without answering; without a version, end that."""
    with _service(url, key) as client:
        told = client.end_shadow(reason) if version is None else client.shadow_policy(version, reason)
    typer.echo(_pointing(told))


@app.command()
def canary(
    version: Annotated[str | None, typer.Argument(help="A registered policy.")] = None,
    share: Annotated[float, typer.Option(min=1, max=50, help="Per cent of the series that it decides.")] = 10,
    reason: Annotated[str, typer.Option(help="Kept with the change.")] = "",
    clear: Annotated[bool, typer.Option("--clear", help="End the canary.")] = False,
    url: Url = HERE,
    key: ApiKey = "",
) -> None:  # fmt: skip
    """Let a policy decide for a share of the series, always the same ones; with --clear, end that."""
    if clear == (version is not None):
        raise ValueError("name either a VERSION or --clear")
    if version is not None and not reason:
        raise ValueError("--reason: say why; it is kept with the change")
    with _service(url, key) as client:
        told = client.end_canary(reason) if version is None else client.try_policy(version, share, reason)
    typer.echo(_pointing(told))


def _pointing(alias: AliasState) -> str:
    changed = alias.changed
    why = "" if changed is None else f" ({changed.action} by {changed.by}: {changed.reason})"
    before = f", before it {alias.before}" if alias.before else ""
    share = "" if alias.share is None else f", {alias.share:g} % of the series"
    return f"{alias.alias}: {alias.version or 'none'}{share}{before}{why}"


def _gated(told: PolicyDetail) -> str:
    if told.gate is None:
        return "gate: its manifest tells of none"
    gate = told.gate
    beside = "" if gate.finetuned_from is None else f" beside {gate.finetuned_from}"
    drift = "" if gate.kl is None or gate.kl_limit is None else f", KL {gate.kl:.3f} of at most {gate.kl_limit:g}"
    margin = "" if gate.margin is None else f", routine cost may rise by {gate.margin:.2%}"
    return "; ".join([f"gate: {gate.verdict}{beside}{drift}{margin}", *gate.reasons])


def _changed(change: AliasChange) -> str:
    share = "" if change.share is None else f", {change.share:g} % of the series"
    to = f"{change.alias} {change.version or 'none'}{share}"
    return f"{change.at:%Y-%m-%d %H:%M}  {to} ({change.action} by {change.by}: {change.reason})"


def _watched(rail: GuardrailState, since: datetime) -> str:
    return f"  {rail.guardrail} since {since:%Y-%m-%d %H:%M}: {rail.sentence}"
