"""What this process knows of the store, so that an answer reads no SQL: stock, orders, overrides, decisions, keys.

It follows the log of changes: before an answer where this process itself has written, and else a few times a second. While
the database does not answer it stays as it was and says since when. History is not in it, that is what feature rows are for.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from itertools import product
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from service.at_once import may_wait
from service.changes import (
    DATASET,
    DECISIONS,
    HISTORY,
    HOLDS,
    INVENTORY,
    KEYS,
    ORDERS,
    OVERRIDES,
    STOPS,
    TERMS,
    Change,
    Mark,
    changes_since,
    last_mark,
)  # fmt: skip
from service.datasets import Dataset, dataset_of
from service.decide import Override
from service.decision_store import OPEN, SUPERSEDED, Advised, advised_after
from service.hold_store import Release, Stop, active_stops, count_held, released_lately
from service.keys import Key, keys_of
from service.override_store import active_overrides
from service.places import feeds_before, places_of
from service.punctuality import Punctuality
from service.series import Series
from service.store import Store, open_orders_of, stock_of

LOG = logging.getLogger(__name__)
STALE_S = 0.5  # older than this it is brought up to date before it is read
WAIT_S = 0.5  # for another thread that does so
Scope = tuple[str, str, str]  # item, location, category; empty: all


class StockCount(NamedTuple):
    """What was counted of one series."""

    day: date
    on_hand: float  # units
    drawn: bool  # for the demo


class View:
    """The store as this process knows it; safe to share between threads."""

    def __init__(
        self, store: Store, forget_terms: Callable[[frozenset[str] | None], None], punctuality: Punctuality
    ) -> None:
        """It knows nothing before the first refresh.

        Args:
            store: what it follows.
            forget_terms: called with the locations whose items or calendars have changed; None: with all.
            punctuality: told of every change.
        """
        self._store, self._forget_terms, self._punctuality = store, forget_terms, punctuality
        self._lock = threading.Lock()
        self._mark: Mark | None = None  # of the newest change that it knows; None: it knows nothing yet
        self._writes = -1  # of this process, that it knows
        self._read_at = 0.0
        self._away = False
        self._dataset: Dataset | None = None
        self._stock: dict[Series, StockCount] = {}
        self._orders: dict[Series, list[tuple[date, float]]] = {}
        self._decisions: dict[Series, list[Advised]] = {}
        self._expected: dict[Series, list[Advised]] = {}  # on disk until the database is back
        self._overrides: dict[int, Override] = {}
        self._by_scope: dict[Scope, list[Override]] = {}
        self._keys: dict[str, Key] = {}
        self._stops: list[Stop] = []
        self._releases: list[Release] = []
        self.places: frozenset[str] = frozenset()  # locations that have items
        self.holds_open = 0
        self.as_of: datetime | None = None  # when it was the whole truth; None: never yet
        self.decisions_after = date.max  # it knows those whose goods are to arrive after this day

    # ------------------------------------------------------------------------------------------------------- following

    @property
    def behind(self) -> bool:
        """Whether it may not be up to date, and can be brought there."""
        stale = self._writes != self._store.database.writes or time.monotonic() - self._read_at > STALE_S
        return stale and not self._store.database.down

    def catch_up(self) -> None:
        """Bring it up to date where it may not be; where the database does not answer, leave it."""
        if self.behind:
            self.try_refresh()

    def try_refresh(self) -> bool:
        """Bring it up to date; whether that was possible."""
        try:
            done = self.refresh()
        except SQLAlchemyError as error:
            if not self._away:
                LOG.warning("the database does not answer (%s); answers rest on %s", type(error).__name__, self.as_of)
            self._away = True
            return False
        self._away = self._away and not done
        return done

    def refresh(self) -> bool:
        """Bring it up to date; False where another thread has been at it for long.

        Raises:
            SQLAlchemyError: where the database does not answer.
        """
        may_wait()
        if not self._lock.acquire(timeout=WAIT_S):
            return False  # it waits for the database, or reads everything anew
        try:
            now, writes = datetime.now(UTC), self._store.database.writes
            with self._store.database.probing() as connection:
                news = None if self._mark is None else changes_since(connection, self._mark)
                self._store.database.answered()
                if news is None or any(change.kind == DATASET for change in news):
                    self._read_everything(connection)
                else:
                    self._apply(connection, news)
            self._punctuality.noticed(news or [])
            self._writes, self.as_of, self._read_at = writes, now, time.monotonic()
        finally:
            self._lock.release()
        return True

    def _read_everything(self, connection: sa.Connection) -> None:
        mark, dataset = last_mark(connection), dataset_of(connection)
        stock = {key: StockCount(*row) for key, row in stock_of(connection).items()}
        orders, keys, stopped = open_orders_of(connection), keys_of(connection), active_stops(connection)
        after = (dataset and dataset.last_recorded) or date.max
        decided, self.places = advised_after(connection, after), places_of(connection)
        self._punctuality.remember(feeds_before(connection))
        self._punctuality.stored(decided)
        overrides = {one.id: one for one in active_overrides(connection)}
        by_scope: dict[Scope, list[Override]] = {}
        for one in overrides.values():
            by_scope.setdefault(_scope(one), []).append(one)
        self._read_holds(connection, dataset)
        # All at once, so that nobody reads a half of it.
        self._overrides, self._by_scope, self._stops = overrides, by_scope, stopped
        self._stock, self._orders, self._decisions, self.decisions_after = stock, orders, decided, after
        self._keys, self._dataset, self._mark = keys, dataset, mark
        self._forget_terms(None)

    def _apply(self, connection: sa.Connection, news: list[Change]) -> None:
        for kind in dict.fromkeys(change.kind for change in news):
            named = [change.keys for change in news if change.kind == kind]
            known = [keys for keys in named if keys is not None]
            keys = frozenset().union(*known) if len(known) == len(named) else None
            self._apply_kind(connection, kind, keys)
        if news:
            self._mark = news[-1].mark

    def _apply_kind(self, connection: sa.Connection, kind: str, keys: frozenset[Any] | None) -> None:
        if kind == HISTORY:
            self._read_dataset(connection)
        elif kind == TERMS:
            self._dataset, self.places = dataset_of(connection), places_of(connection)
            self._forget_terms(keys)
        elif kind == INVENTORY:
            found = stock_of(connection, keys)
            _replace(self._stock, keys, {key: StockCount(*row) for key, row in found.items()})
        elif kind == ORDERS:
            _replace(self._orders, keys, open_orders_of(connection, keys))
        elif kind == DECISIONS:
            decided = advised_after(connection, self.decisions_after, keys)
            _replace(self._decisions, keys, decided)
            self._punctuality.stored(decided)
        elif kind == OVERRIDES:
            self._read_overrides(connection, keys)
        elif kind == KEYS:
            self._keys = keys_of(connection)
        elif kind == HOLDS:
            self._read_holds(connection, self._dataset)
        elif kind == STOPS:
            self._stops = active_stops(connection)

    def _read_dataset(self, connection: sa.Connection) -> None:
        """The last recorded day may have moved: some decisions count no more."""
        dataset = dataset_of(connection)
        after = (dataset and dataset.last_recorded) or date.max
        if after < self.decisions_after:
            self._decisions = advised_after(connection, after)
        elif after > self.decisions_after:
            self.decisions_after = after  # first: from now on questions about earlier days are asked of the database
            late = {k: [one for one in found if one.counts_after(after)] for k, found in self._decisions.items()}
            self._decisions = {key: found for key, found in late.items() if found}
        self._dataset, self.decisions_after = dataset, after
        self._read_holds(connection, dataset)

    def _read_holds(self, connection: sa.Connection, dataset: Dataset | None) -> None:
        last, period_days = (dataset.last_recorded, dataset.period_days) if dataset is not None else (None, 1)
        self.holds_open, self._releases = count_held(connection, last, period_days), released_lately(connection, last)

    def _read_overrides(self, connection: sa.Connection, numbers: frozenset[int] | None) -> None:
        found = {one.id: one for one in active_overrides(connection, None if numbers is None else sorted(numbers))}
        before = self._overrides.keys() if numbers is None else numbers
        scopes = {_scope(self._overrides[n]) for n in before if n in self._overrides}
        _replace(self._overrides, numbers, found)
        self._sort_overrides(scopes | {_scope(one) for one in found.values()})

    def _sort_overrides(self, scopes: Iterable[Scope]) -> None:
        fresh: dict[Scope, list[Override]] = {scope: [] for scope in scopes}
        for number in sorted(self._overrides):
            one = self._overrides[number]
            if _scope(one) in fresh:
                fresh[_scope(one)].append(one)
        self._by_scope.update(fresh)

    # --------------------------------------------------------------------------------------------------------- reading

    def dataset(self) -> Dataset | None:
        """What is loaded; None where nothing is."""
        return self._dataset

    def stock(self, key: Series) -> StockCount | None:
        """The latest count of one series."""
        return self._stock.get(key)

    def orders(self, key: Series) -> list[tuple[date, float]]:
        """Open orders of one series: arrival date and units."""
        return self._orders.get(key, [])

    def decisions(self, key: Series) -> list[Advised]:
        """Decisions on one series whose goods are to arrive after `decisions_after`, oldest first; those that wait on disk
        included."""
        known, waiting = self._decisions.get(key, []), self._expected.get(key)
        if not waiting:
            return known
        ids, days = {one.id for one in waiting}, {one.order_date for one in waiting}
        others = [
            one._replace(status=SUPERSEDED) if one.order_date in days and one.status == OPEN else one
            for one in known
            if one.id not in ids
        ]
        return sorted([*others, *waiting], key=lambda one: one.order_date)

    def expect(self, decisions: dict[Series, Advised]) -> None:
        """Count decisions that are not in the database yet."""
        for key, one in decisions.items():
            others = [other for other in self._expected.get(key, ()) if other.order_date != one.order_date]
            self._expected[key] = [*others, one]

    def expect_no_more(self) -> None:
        """What waited is in the database, and has been read from there."""
        self._expected = {}

    def overrides(self, item_id: str, location_id: str, category: str) -> list[Override]:
        """Every override in effect that covers a series."""
        if not self._overrides:
            return []
        scopes = dict.fromkeys(product((item_id, ""), (location_id, ""), (category, "")))
        return [one for scope in scopes for one in self._by_scope.get(scope, ())]

    def stop(self, location_id: str, category: str) -> Stop | None:
        """The kill switch that keeps orders of a location and category back, if any."""
        return next((one for one in self._stops if one.covers(location_id, category)), None)

    def stops(self) -> list[Stop]:
        """Every kill switch that counts."""
        return self._stops

    def releases(self) -> list[Release]:
        """What was held and let pass lately."""
        return self._releases

    def key(self, digest: str) -> Key | None:
        """The key of that hash, where it is good now."""
        found = self._keys.get(digest)
        return found if found is not None and found.is_good else None


def _scope(override: Override) -> Scope:
    return override.item_id, override.location_id, override.category


def _replace(held: dict[Any, Any], keys: frozenset[Any] | None, found: dict[Any, Any]) -> None:
    """Put what was found for some keys in place of what was held; None: of everything."""
    for key in [key for key in (list(held) if keys is None else keys) if key not in found]:
        held.pop(key, None)
    held.update(found)
