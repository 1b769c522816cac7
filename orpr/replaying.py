"""`orpr replay`: a remembered decision, made again from what it saw."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table
from sqlalchemy import make_url

from orpr.progress import SCREEN
from service.bundle import PolicyNotFound, resolve_bundle
from service.bundle_folders import bundle_folders, find_bundle
from service.decision_store import find_decision
from service.decisions import reproduce
from service.policy import Policy
from service.policy_store import find_policy, pins_of
from service.settings import Settings
from service.store import Store

CLOSE = 1e-6  # of 1 + the size of the number


def replay_decision(settings: Settings, decision_id: str) -> None:
    """Print what was answered beside what the same policy answers now.

    Raises:
        ValueError: where there is no such decision.
        PolicyNotFound: where the bundle that decided is no longer there.
        BundleRefused: where it is another now.
        RuntimeError: where the two differ.
    """
    settings.prepare()
    store = Store(settings.database_url)
    try:
        dataset = store.dataset()
        with store.database.reading() as connection:
            row = find_decision(connection, decision_id)
            registered = None if row is None else find_policy(connection, row["policy_version"])
    finally:
        store.close()
    if row is None:
        where = make_url(settings.database_url).render_as_string(hide_password=True)
        raise ValueError(f"there is no decision {decision_id!r} in {where} (ORPR_DATABASE_URL)")
    bundle = _bundle(settings, row["policy_version"], 1 if dataset is None else dataset.period_days)
    policy = Policy(bundle, None if registered is None else pins_of(registered))
    then, again = reproduce(row, policy)
    table = Table(title=f"{row['item_id']} at {row['location_id']}, {row['order_date']}, policy {policy.version}")
    for heading in ("", "answered", "again"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, value in then.items():
        table.add_row(name, _written(value), _written(again[name]))
    SCREEN.print(table)
    apart = [name for name, value in then.items() if not _same(value, again[name])]
    if apart:
        raise RuntimeError(f"the answer differs now in {', '.join(apart)}")


def _written(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.4f}"


def _same(value: float | str, other: float | str) -> bool:
    if isinstance(value, str) or isinstance(other, str):
        return value == other
    return abs(value - other) <= CLOSE * (1 + abs(value))


def _bundle(settings: Settings, version: str, period_days: int) -> Path:
    try:
        return find_bundle(version, bundle_folders(settings.bundles))
    except PolicyNotFound:
        return resolve_bundle(version, period_days)  # a folder of that name here: one that ORPR_POLICY named
