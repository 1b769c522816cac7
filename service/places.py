"""Which locations there are, and when each was last fed, from SQL; what `service.punctuality` starts from."""

from __future__ import annotations

import sqlalchemy as sa

from service.changes import DATASET, HISTORY, INVENTORY, ORDERS, Change, Mark, keys_told
from service.tables import changes, datasets, items

MOST_TEXT = 4_000_000  # characters of keys that are read back


def places_of(connection: sa.Connection) -> frozenset[str]:
    """Every location that has items."""
    return frozenset(connection.execute(sa.select(items.c.location_id).distinct()).scalars())


def feeds_before(connection: sa.Connection) -> list[Change]:
    """The loading of the dataset and the feeds since, newest first, as far back as the log of changes reaches and is not
    too long to read."""
    found: list[Change] = []
    loaded_at = connection.scalar(sa.select(datasets.c.loaded_at))
    if loaded_at is not None:
        found.append(Change(Mark(0, loaded_at), DATASET, None))
    feeds, number = changes.c.kind.in_((HISTORY, INVENTORY, ORDERS)), changes.c.number
    sizes = sa.select(number, sa.func.coalesce(sa.func.length(changes.c.named), 0)).where(feeds)
    text, oldest = 0, 0
    for one, size in connection.execute(sizes.order_by(number.desc())):
        text += size
        if text > MOST_TEXT:
            oldest = one + 1
            break
    rows = connection.execute(sa.select(changes).where(feeds, number >= oldest).order_by(number.desc()))
    return found + [Change(Mark(row.number, row.at), row.kind, keys_told(row.named)) for row in rows]
