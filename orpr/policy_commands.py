"""`orpr policy`: the policies of a running service, over its API. Knows nothing of bundles; the service checks them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from orpr.progress import SCREEN

WAITS_S = (0.5, 2.0)  # before the second and the third try
PASSING = (429, 502, 503, 504)
TIMEOUT_S = 60.0  # a bundle is loaded and checked meanwhile

app = typer.Typer(no_args_is_help=True, help="See, register, promote and roll back the policies of a running service.")

Url = Annotated[str, typer.Option(help="Where the service listens.", envvar="ORPR_URL")]
ApiKey = Annotated[str, typer.Option(help="An API key; all but `list` need the scope ops.", envvar="ORPR_API_KEY")]
Reason = Annotated[str, typer.Option(help="Kept with the change.")]
Version = Annotated[str, typer.Argument(help="Name of a bundle in the service's folders.")]
HERE = "http://127.0.0.1:8000"


@app.command("list")
def list_policies(url: Url = HERE, key: ApiKey = "") -> None:
    """Every policy that the service knows, and where the aliases point."""
    told = ask(url, key, "GET", "")
    table = Table(title=f"serving {told['serving'] or 'none'}, periods of {told['period_days']} days")
    for heading in ("version", "period", "aliases", "registered", "by", "graph sha256"):
        table.add_column(heading)
    for one in told["items"]:
        registered = one["registered_at"] or ("ships, not registered" if one["shipped"] else "not registered")
        digest = (one["sha256"] or {}).get("policy.onnx", "unreadable")
        table.add_row(
            one["version"], str(one["period_days"]), " ".join(one["aliases"]), registered[:21],
            one["registered_by"] or "", digest[:16],
        )  # fmt: skip
    SCREEN.print(table)
    for alias in told["aliases"]:
        typer.echo(_pointing(alias))
    if told["pinned"]:
        typer.echo(f"this process is pinned to {told['serving']} by ORPR_POLICY and follows no champion")
    if told["refused"]:
        typer.echo(f"refused: {told['refused']}")


@app.command()
def register(version: Version, url: Url = HERE, key: ApiKey = "") -> None:
    """Check a bundle that lies in the service's folders and pin the hashes of its files."""
    told = ask(url, key, "POST", "", {"version": version})
    typer.echo(f"{told['version']}: registered by {told['registered_by']} on {told['registered_at'][:10]}")


@app.command()
def promote(version: Version, reason: Reason, url: Url = HERE, key: ApiKey = "") -> None:
    """Make a registered policy the champion."""
    typer.echo(_pointing(ask(url, key, "POST", f"/{version}/promote", {"reason": reason})))


@app.command()
def rollback(reason: Reason, url: Url = HERE, key: ApiKey = "") -> None:
    """Make the champion before this one the champion again."""
    typer.echo(_pointing(ask(url, key, "POST", "/rollback", {"reason": reason})))


@app.command()
def shadow(
    reason: Reason,
    version: Annotated[str | None, typer.Argument(help="A registered policy; none ends the shadow.")] = None,
    url: Url = HERE,
    key: ApiKey = "",
) -> None:
    """Let a policy decide beside the champion without answering; without a version, end that."""
    if version is None:
        told = ask(url, key, "DELETE", "/shadow", query={"reason": reason})
    else:
        told = ask(url, key, "POST", f"/{version}/shadow", {"reason": reason})
    typer.echo(_pointing(told))


def ask(
    url: str, key: str, method: str, path: str, body: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None, waits_s: tuple[float, ...] = WAITS_S,
) -> Any:  # fmt: skip
    """What the service answers to one call on `/v1/policies`; a change is made once, however often it has to be sent.

    Raises:
        ValueError: where the service refuses.
        RuntimeError: where it does not answer.
    """
    import httpx

    headers = {"X-API-Key": key, "Idempotency-Key": str(uuid.uuid4())}
    where, said = f"{url.rstrip('/')}/v1/policies{path}", ""
    for wait in (*waits_s, None):
        try:
            answer = httpx.request(method, where, json=body, params=query, headers=headers, timeout=TIMEOUT_S)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ValueError(f"url: {url!r} is no URL ({error})") from None
        except httpx.TransportError as error:
            said = f"{type(error).__name__}: {error}"
        else:
            if answer.is_success:
                return _json(answer, url)
            said = f"{answer.status_code} {_detail(answer)}"
            if answer.status_code not in PASSING:
                raise ValueError(f"{url}: {said}")
        if wait is not None:
            time.sleep(wait)
    raise RuntimeError(f"{url}: no answer after {len(waits_s) + 1} tries: {said}")


def _json(answer: Any, url: str) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise ValueError(f"{url}: the answer is no JSON: {answer.text[:80]!r}") from None


def _detail(answer: Any) -> str:
    """The problem's detail, else the first words of the body."""
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return str(answer.text[:80])


def _pointing(alias: Mapping[str, Any]) -> str:
    changed = alias["changed"]
    why = "" if changed is None else f" ({changed['action']} by {changed['by']}: {changed['reason']})"
    before = f", before it {alias['before']}" if alias["before"] else ""
    return f"{alias['alias']}: {alias['version'] or 'none'}{before}{why}"
