"""What is loaded, in short: one row in SQL, and a revision of each location."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping
from datetime import date
from typing import Any, NamedTuple

import sqlalchemy as sa

from service.database import insert_into
from service.tables import datasets, places


class Dataset(NamedTuple):
    """What is loaded, in short."""

    settings: dict[str, Any]  # the keys of dataset.json
    fingerprint: str  # of the files
    revision: int  # changes with every feed that observations rest on
    first_recorded: date | None  # dates with a known sale
    last_recorded: date | None

    places: Mapping[str, int]  # revisions of locations

    def revision_of(self, place: str) -> int:
        """Changes with everything that observations of a location's series rest on."""
        return self.places.get(place, 0)

    @property
    def period_days(self) -> int:
        """Length of a period."""
        return int(self.settings["period_days"])


def dataset_of(connection: sa.Connection) -> Dataset | None:
    """What is loaded; None where nothing is."""
    d = datasets.c
    query = sa.select(d.settings, d.fingerprint, d.revision, d.first_recorded, d.last_recorded)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    revisions = {place: number for place, number in connection.execute(sa.select(places))}  # noqa: C416
    return Dataset(
        json.loads(row.settings), row.fingerprint, row.revision, row.first_recorded, row.last_recorded, revisions
    )


def bump_revisions(connection: sa.Connection, changed: Collection[str]) -> None:
    """Make the cached rows of some locations unreachable, and those of others that rest on them."""
    connection.execute(sa.update(datasets).values(revision=new_revision()))
    draw_revisions(connection, changed)


def draw_revisions(connection: sa.Connection, new: Collection[str]) -> None:
    """Give locations new revisions."""
    if not new:
        return
    query = insert_into(connection, places)
    query = query.on_conflict_do_update(index_elements=["location_id"], set_={"revision": query.excluded.revision})
    connection.execute(query, [{"location_id": place, "revision": new_revision()} for place in sorted(new)])


def new_revision() -> int:
    """Drawn, not counted: another database on the same Redis, or one restored from a backup, would count the same."""
    return secrets.randbits(31)


def note_history(connection: sa.Connection, first: date | None, last: date | None) -> None:
    """Widen the recorded dates by those of new sales; None: there are none."""
    if first is None or last is None:
        return
    earlier = sa.or_(datasets.c.first_recorded.is_(None), datasets.c.first_recorded > first)
    later = sa.or_(datasets.c.last_recorded.is_(None), datasets.c.last_recorded < last)
    connection.execute(sa.update(datasets).where(earlier).values(first_recorded=first))
    connection.execute(sa.update(datasets).where(later).values(last_recorded=last))
