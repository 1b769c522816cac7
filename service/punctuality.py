"""Which locations have sent their feeds and were answered, and which have missed the cut-off.

Follows what the process' view takes in of the log of changes, so it knows what other processes did too, and what was before it
started. A location that nobody has asked for by its cut-off orders nothing that night: that is the failure that matters.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from math import inf, nan

from service.changes import DATASET, HISTORY, INVENTORY, ORDERS, OVERRIDES, Change
from service.decision_store import Advised
from service.rollout import Remembered
from service.series import Series
from service.telemetry import Telemetry

FEEDS = {HISTORY: "history", INVENTORY: "inventory", ORDERS: "open_orders"}  # by kind of change
NIGHT = timedelta(hours=12)  # before the cut-off; who was answered earlier was not answered for it
DAY = timedelta(days=1)


class Punctuality:
    """Safe to share between threads."""

    def __init__(self, telemetry: Telemetry, cut_off: time | None, most: int) -> None:
        """It knows of nobody.

        Args:
            telemetry: where it is shown.
            cut_off: by when each location has to be answered, every day; UTC where it names no zone. None: never.
            most: locations that have time series of their own: those that are furthest behind.
        """
        self._telemetry, self._most = telemetry, most
        self._cut_off = cut_off.replace(tzinfo=UTC) if cut_off is not None and cut_off.tzinfo is None else cut_off
        self._turn = threading.Lock()
        self._fed: dict[str, dict[str, float]] = {feed: {} for feed in FEEDS.values()}  # feed -> location -> Unix time
        self._fed_all = dict.fromkeys(FEEDS.values(), 0.0)
        self._answered: dict[str, float] = {}

    def noticed(self, changes: Sequence[Change]) -> None:
        """The view has taken in some changes."""
        now = datetime.now(UTC).timestamp()
        for change in changes:
            self._telemetry.changes.labels(change.kind).inc()
            if change.kind == OVERRIDES:
                self._telemetry.propagation.observe(max(now - change.at.timestamp(), 0.0))
        self.remember(changes)

    def remember(self, changes: Iterable[Change]) -> None:
        """The same of changes that were taken in long ago: only who was fed when."""
        with self._turn:
            for change in changes:
                at = change.at.timestamp()
                for feed in _feeds_of(change.kind):
                    if change.keys is None:
                        self._fed_all[feed] = max(self._fed_all[feed], at)
                        continue
                    times = self._fed[feed]
                    for key in change.keys:
                        place = key if isinstance(key, str) else key[1]
                        times[place] = max(times.get(place, 0.0), at)

    def watch(self, remembered: Remembered) -> None:
        """Some series were answered here, for the first time or again."""
        now = datetime.now(UTC).timestamp()
        places = {remembered.series[n][1] for n in remembered.answers}
        with self._turn:
            self._answered |= dict.fromkeys(places, now)

    def stored(self, decided: Mapping[Series, Sequence[Advised]]) -> None:
        """Decisions on some series, made anywhere, that the view has read."""
        with self._turn:
            for (_, place), found in decided.items():
                newest = max(one.made_at for one in found).timestamp()
                self._answered[place] = max(newest, self._answered.get(place, 0.0))

    def show(self, places: Collection[str]) -> None:
        """Bring the metrics up to date.

        Args:
            places: every location that has items.
        """
        now = datetime.now(UTC)
        with self._turn:
            answered = {place: self._answered.get(place, 0.0) for place in places}
            fed = {
                feed: {place: max(times.get(place, 0.0), self._fed_all[feed]) for place in places}
                for feed, times in self._fed.items()
            }
        self._telemetry.locations.set(len(places))
        self._show_answers(answered, now)
        self._show_feeds(fed, now)

    def _show_answers(self, answered: Mapping[str, float], now: datetime) -> None:
        told = self._telemetry
        told.last_answered.clear()
        told.missed.clear()
        since = None if self._cut_off is None else (last_cut_off(now, self._cut_off) - NIGHT).timestamp()
        for place in sorted(answered, key=lambda place: (answered[place], place))[: self._most]:
            told.last_answered.labels(place).set(answered[place])
            if since is not None:
                told.missed.labels(place).set(answered[place] < since)
        told.missed_count.set(nan if since is None else sum(at < since for at in answered.values()))

    def _show_feeds(self, fed: Mapping[str, Mapping[str, float]], now: datetime) -> None:
        told = self._telemetry
        told.feed_age.clear()
        for feed, times in fed.items():
            ages = {place: now.timestamp() - at if at else inf for place, at in times.items()}
            told.feed_age_most.labels(feed).set(max(ages.values(), default=nan))
            for place in sorted(ages, key=lambda place: (-ages[place], place))[: self._most]:
                told.feed_age.labels(place, feed).set(ages[place])


def last_cut_off(now: datetime, cut_off: time) -> datetime:
    """The newest moment of that time of day that has passed."""
    today = datetime.combine(now.astimezone(cut_off.tzinfo).date(), cut_off)
    return today if today <= now else today - DAY


def _feeds_of(kind: str) -> list[str]:
    if kind == DATASET:  # a whole dataset is all feeds of all locations
        return list(FEEDS.values())
    return [FEEDS[kind]] if kind in FEEDS else []
