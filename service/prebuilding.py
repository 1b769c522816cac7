"""What builds feature rows ahead of the questions, after a feed, for the last recorded day, and has the policy in charge read them.

So the night's calls, and the first ones after a start, find their rows in the cache and most of the network's work done. It is
never needed: what it has not reached is built and read when it is asked for. After a promotion the new policy reads them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from service.caches import Cache
from service.datasets import Dataset
from service.features import FeatureRows, RowsUnread
from service.repeating import Repeating
from service.store import Store

EVERY_S = 0.5
SETTLE_S = 2.0  # a feed comes in many requests; a location is built when nothing has come for so long
AT_ONCE = 100  # series
CLAIM_S = 600  # for so long no other process builds the same
AFTER_ERROR_S = 60.0
REST = 1.0  # times as long as it worked, for requests go first


class Quiet(NamedTuple):
    """A location's state, and since when it is so."""

    state: tuple[object, ...]
    since: float


class Prebuilding:
    """`step` by `step`, in the thread `repeating`."""

    def __init__(
        self, features: FeatureRows, cache: Cache, store: Store, dataset: Callable[[], Dataset | None]
    ) -> None:
        self._features, self._cache, self._store, self._dataset = features, cache, store, dataset
        self._seen: dict[str, Quiet] = {}
        self._done: dict[str, tuple[object, ...]] = {}
        self.built = 0  # rows
        self.repeating = Repeating(
            "building rows ahead", self.step, EVERY_S, usual=(SQLAlchemyError, RowsUnread), after_error_s=AFTER_ERROR_S
        )

    def step(self, settle_s: float = SETTLE_S) -> None:
        """Build what has been quiet for a while.

        Raises:
            SQLAlchemyError, RowsUnread: where the database does not answer; the rest follows another time.
        """
        dataset = self._dataset()
        if dataset is None or dataset.last_recorded is None:
            return
        quiet = self._quiet(dataset, settle_s)
        if not quiet or not self._fit():
            return
        for place in quiet:
            state = self._state(dataset, place)
            done = self._done.get(place)
            only_unread = done is not None and done[:-1] == state[:-1]  # what each process keeps is read by each anew
            if only_unread or self._cache.claim("\x1f".join(("orpr", "building", place, *map(str, state))), CLAIM_S):
                self._build(place, dataset.last_recorded)
            if self.repeating.stopped.is_set():
                return
            self._done[place] = state

    def _fit(self) -> bool:
        """Whether all rows find room; else each that is built would push out another."""
        most = self._cache.most_rows
        return most is None or self._store.series_count() <= most

    def _quiet(self, dataset: Dataset, settle_s: float) -> list[str]:
        now, quiet = time.monotonic(), []
        for place in dataset.places:
            state, before = self._state(dataset, place), self._seen.get(place)
            if self._done.get(place) == state:
                continue
            if before is None or before.state != state:
                self._seen[place] = before = Quiet(state, now)
            if now - before.since >= settle_s:
                quiet.append(place)
        return quiet

    def _build(self, place: str, day: date) -> None:
        series = self._store.series_at(place)
        for at in range(0, len(series), AT_ONCE):
            if self.repeating.stopped.is_set():
                return
            began = time.monotonic()
            part = series[at : at + AT_ONCE]
            self._features.rows(part, day, asked=False)
            self.built += len(part)
            self.repeating.stopped.wait(REST * (time.monotonic() - began))

    def _state(self, dataset: Dataset, place: str) -> tuple[object, ...]:
        read_by = self._features.read_by.hex()
        return dataset.fingerprint, dataset.first_recorded, dataset.last_recorded, dataset.revision_of(place), read_by
