"""Registered policies and who was put in charge when, in SQL. Rows are added; none is changed or deleted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from service.bundle import CHAMPION, GOLDEN, GRAPH, MANIFEST
from service.database import insert_into
from service.policy import Policy
from service.tables import policies, policy_aliases, shadow_decisions

SHADOW, CANARY = "shadow", "canary"
PROMOTE, ROLLBACK, CLEAR, GUARDRAIL = "promote", "rollback", "clear", "guardrail"
POLICY_LOCK = 7_263_002  # of PostgreSQL's advisory locks
AT_ONCE = 500  # rows of one insert
Row = dict[str, Any]


def lock_policies(connection: sa.Connection) -> None:
    """Let changes of policies wait for each other until the transaction ends. In SQLite a writing is alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(POLICY_LOCK)))


def add_policy(
    connection: sa.Connection, policy: Policy, bundle: Path, metrics: dict[str, Any] | None, by: str
) -> None:  # fmt: skip
    """Register a verified policy; its hashes are its pins from now on."""
    row = {
        "version": policy.version, "period_days": policy.period_days, "contract_id": policy.manifest["contract_id"],
        "graph_sha256": policy.hashes[GRAPH], "golden_sha256": policy.hashes[GOLDEN],
        "manifest_sha256": policy.hashes[MANIFEST], "location": str(bundle),
        "metrics": None if metrics is None else json.dumps(metrics, sort_keys=True),
        "registered_at": datetime.now(UTC), "registered_by": by,
    }  # fmt: skip
    connection.execute(sa.insert(policies).values(**row))


def find_policy(connection: sa.Connection, version: str) -> Row | None:
    """One registered policy."""
    row = connection.execute(sa.select(policies).where(policies.c.version == version)).mappings().one_or_none()
    return None if row is None else dict(row)


def registered_policies(connection: sa.Connection) -> list[Row]:
    """All of them, in the order of their registration."""
    query = sa.select(policies).order_by(policies.c.registered_at, policies.c.version)
    return [dict(row) for row in connection.execute(query).mappings()]


def pins_of(row: Row) -> dict[str, str]:
    """The hashes that the files of a registered policy must have."""
    return {MANIFEST: row["manifest_sha256"], GRAPH: row["graph_sha256"], GOLDEN: row["golden_sha256"]}


def add_change(
    connection: sa.Connection, period_days: int, alias: str, version: str | None, action: str, reason: str, by: str,
    share: float | None = None,
) -> None:  # fmt: skip
    """Point an alias somewhere; the row that said where before stays."""
    row = {"period_days": period_days, "alias": alias, "version": version, "action": action, "reason": reason}
    connection.execute(sa.insert(policy_aliases).values(**row, at=datetime.now(UTC), by=by, share=share))


def newest_change(connection: sa.Connection, period_days: int, alias: str) -> Row | None:
    """The change of an alias that is in force; None where nobody has changed it."""
    mine = (policy_aliases.c.period_days == period_days) & (policy_aliases.c.alias == alias)
    query = sa.select(policy_aliases).where(mine).order_by(policy_aliases.c.id.desc()).limit(1)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else dict(row)


def changes_of(connection: sa.Connection, period_days: int, alias: str | None = None) -> list[Row]:
    """Every change of an alias, or of all, oldest first."""
    query = sa.select(policy_aliases).where(policy_aliases.c.period_days == period_days)
    if alias is not None:
        query = query.where(policy_aliases.c.alias == alias)
    return [dict(row) for row in connection.execute(query.order_by(policy_aliases.c.id)).mappings()]


def promoted(changes: Sequence[Row]) -> list[str | None]:
    """The champions that were promoted one on the other and not rolled back, oldest first. The last one is in charge; the
    first one, None, is what ships."""
    standing: list[str | None] = [None]
    for change in changes:
        if change["alias"] != CHAMPION:
            continue
        if change["action"] == ROLLBACK:
            standing.pop()
        else:
            standing.append(change["version"])
    return standing


def add_shadow_decisions(connection: sa.Connection, rows: Sequence[Row]) -> set[str]:
    """Keep what a shadow would have decided; the decisions, by number, that had none of its yet."""
    query = insert_into(connection, shadow_decisions).on_conflict_do_nothing().returning(shadow_decisions.c.decision_id)
    new: set[str] = set()
    for at in range(0, len(rows), AT_ONCE):
        new |= set(connection.execute(query, list(rows[at : at + AT_ONCE])).scalars())
    return new
