"""`orpr replay`: a remembered decision, made again from what it saw."""

from __future__ import annotations

from rich.table import Table

from orpr.progress import SCREEN
from service.decision_store import find_decision
from service.decisions import reproduce
from service.policy import Policy, resolve_bundle
from service.settings import Settings
from service.store import Store

CLOSE = 1e-6  # of 1 + the size of the number


def replay_decision(settings: Settings, decision_id: str) -> None:
    """Print what was answered beside what the same policy answers now.

    Raises:
        ValueError: where there is no such decision.
        PolicyNotFound: where the bundle that decided is no longer there.
        RuntimeError: where the two differ.
    """
    settings.prepare()
    store = Store(settings.database_url)
    try:
        dataset = store.dataset()
        with store.database.reading() as connection:
            row = find_decision(connection, decision_id)
    finally:
        store.close()
    if row is None:
        raise ValueError(f"there is no decision {decision_id!r}")
    policy = Policy(resolve_bundle(row["policy_version"], 1 if dataset is None else dataset.period_days))
    then, again = reproduce(row, policy)
    table = Table(title=f"{row['item_id']} at {row['location_id']}, {row['order_date']}, policy {policy.version}")
    for heading in ("", "answered", "again"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, value in then.items():
        table.add_row(name, f"{value:,.4f}", f"{again[name]:,.4f}")
    SCREEN.print(table)
    apart = [name for name, value in then.items() if abs(value - again[name]) > CLOSE * (1 + abs(value))]
    if apart:
        raise RuntimeError(f"the answer differs now in {', '.join(apart)}")
