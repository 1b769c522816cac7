"""What the guardrails of canaries count, in SQL, so that all processes judge the same and a restart forgets nothing."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from service.database import insert_into
from service.guardrails import NOTHING, Figures
from service.policy_store import AT_ONCE, CANARY
from service.series import Series
from service.tables import canary_figures, canary_orders, policy_aliases


def add_figures(connection: sa.Connection, change: int, champion: str, figures: Figures) -> Figures:
    """Add to what has come together, and say what it is now.

    Args:
        connection: in a transaction.
        change: number of the change of the alias that lets the canary run.
        champion: version that it was compared with.
        figures: what has come on top.
    """
    table = canary_figures
    grown = {name: table.c[name] + value for name, value in figures._asdict().items()}
    query = insert_into(connection, table).values(change_id=change, champion_version=champion, **figures._asdict())
    query = query.on_conflict_do_update(index_elements=["change_id", "champion_version"], set_=grown)
    connection.execute(query)
    return figures_of(connection, change, champion)


def figures_of(connection: sa.Connection, change: int, champion: str) -> Figures:
    """What has come together since a change, against one champion."""
    c = canary_figures.c
    query = sa.select(*(c[name] for name in Figures._fields))
    row = connection.execute(query.where(c.change_id == change, c.champion_version == champion)).one_or_none()
    return NOTHING if row is None else Figures(*row)


def add_first_orders(connection: sa.Connection, change: int, series: Collection[Series]) -> set[Series]:
    """Note that some series have had an order of a canary; those that had none before, also under an earlier share."""
    if not series:
        return set()
    run = _begun(connection, change)
    c = canary_orders.c
    query = insert_into(connection, canary_orders).on_conflict_do_nothing().returning(c.item_id, c.location_id)
    rows = [{"change_id": run, "location_id": place, "item_id": item} for item, place in sorted(series)]
    new: set[Series] = set()
    for at in range(0, len(rows), AT_ONCE):
        new |= {(item, place) for item, place in connection.execute(query, rows[at : at + AT_ONCE])}
    return new


def _begun(connection: sa.Connection, change: int) -> int:
    """The change with which a canary began that another one has let run on with another share."""
    c = policy_aliases.c
    version, period_days = connection.execute(sa.select(c.version, c.period_days).where(c.id == change)).one()
    mine = (c.alias == CANARY) & (c.period_days == period_days)
    other = sa.or_(c.version.is_(None), c.version != version)
    ended = connection.scalar(sa.select(sa.func.max(c.id)).where(mine, other, c.id < change)) or 0
    begun = connection.scalar(sa.select(sa.func.min(c.id)).where(mine, c.id > ended))
    return change if begun is None else begun
