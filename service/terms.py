"""What rules and calendars say of orders that are placed at the end of one day, by location, kept until they change."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from service.database import UNANSWERED
from service.datasets import Dataset
from service.decide import Span, responsible_dates
from service.series import Series
from service.store import Store
from simulator.canonical import assemble
from simulator.observation import ObservationSpec, beyond_horizon
from simulator.ordering import OrderRules, rules_of
from simulator.panel import Panel
from simulator.schedule import review_schedule

CLOSED_DAYS_AROUND = 182  # days before and after as_of in which suppliers' closed days may move its order or receipt
RULES = tuple(field.name for field in fields(OrderRules) if field.name != "rounding")
MOST_NOWHERE = 1_000  # locations that do not exist
MOST_DAYS = 3  # of one location; older ones are hardly asked for again


class Terms(NamedTuple):
    """N series; every list is (N,)."""

    series: list[Series]
    category: list[str]
    unit_cost: list[float]  # currency per unit; NaN where unknown
    uom: list[str]  # unit of measure; "" where unknown
    rules: OrderRules
    due: list[bool]  # whether an order is due at the end of the day
    following: list[date | None]  # the first order day after it; None beyond the horizon
    spans: list[Span]  # the selling dates that the order decides
    far: list[bool]  # the order arrives later than the policy looks ahead
    lead_moved: list[bool]  # whether order or delivery days make the lead time another than the item's
    review_moved: list[bool]  # the same of the review period
    own_multiple: list[bool]  # whether the item says which multiple is ordered, or the dataset counts in no whole units

    def take(self, rows: Sequence[int]) -> Terms:
        """The same for some of them, in the order of `rows`."""
        if list(rows) == list(range(len(self.series))):
            return self
        lists = {name: [getattr(self, name)[n] for n in rows] for name in self._fields if name != "rules"}
        return Terms(**lists, rules=self.rules.take(np.array(rows, dtype=np.int64)))


_none = np.zeros(0)
NOTHING = Terms([], [], [], [], OrderRules(_none, _none, _none, _none, _none, _none, _none), [], [], [], [], [], [], [])


class Place(NamedTuple):
    """A location's terms, and where each item stands in them."""

    terms: Terms
    rows: dict[str, int]


class TermsByPlace:
    """Terms of locations, read from the store when they are first asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: dict[str, OrderedDict[tuple[date, str], Place]] = {}  # by location; of a day and a dataset
        self._nowhere: OrderedDict[str, None] = OrderedDict()  # locations that do not exist
        self._lock = threading.Lock()
        self._forgotten = 0

    def forget(self, places: Collection[str] | None) -> None:
        """Items or calendars of some locations have changed; None: of all."""
        with self._lock:
            self._forgotten += 1
            for place in list(self._held) if places is None else places:
                self._held.pop(place, None)
                self._nowhere.pop(place, None)

    def of(self, series: Sequence[Series], dataset: Dataset, day: date) -> tuple[Terms, list[int | None], set[str]]:
        """Terms of those series that are known, for each of `series` its place among them, and the locations of which nothing
        can be said now, for the database does not answer."""
        places: dict[str, Place] = {}
        unread: set[str] = set()
        for place in dict.fromkeys(place for _, place in series):
            try:
                places[place] = self._place(place, dataset, day)
            except UNANSWERED:
                unread.add(place)
        found: list[tuple[Place, int]] = []
        index: list[int | None] = []
        for item, place in series:
            row = places[place].rows.get(item) if place in places else None
            index.append(None if row is None else len(found))
            if row is not None:
                found.append((places[place], row))
        if len(places) == 1 and found:
            return next(iter(places.values())).terms.take([row for _, row in found]), index, unread
        return _join(found) if found else NOTHING, index, unread

    def at(self, place: str, dataset: Dataset, day: date) -> Terms:
        """Terms of every series of a location.

        Raises:
            SQLAlchemyError: where they are not known yet and the database does not answer.
        """
        return self._place(place, dataset, day).terms

    def _place(self, place: str, dataset: Dataset, day: date) -> Place:
        key = day, dataset.fingerprint
        with self._lock:
            days, forgotten = self._held.get(place), self._forgotten
            held = None if days is None else days.get(key)
        if held is not None:
            return held
        panel = items_panel(self._store, dataset, self._store.items_at([place]), day)
        fresh = Place(*_terms(panel, day))
        with self._lock:
            if forgotten == self._forgotten:  # else something has changed since it was read
                days = self._held.setdefault(place, OrderedDict())
                days[key] = fresh
                while len(days) > MOST_DAYS:
                    days.popitem(last=False)
                if not fresh.rows:
                    self._forget_some(place)
        return fresh

    def _forget_some(self, nowhere: str) -> None:
        """A location does not exist. Callers may name as many such as they like: only the latest are known."""
        self._nowhere[nowhere] = None
        self._nowhere.move_to_end(nowhere)
        while len(self._nowhere) > MOST_NOWHERE:
            old, _ = self._nowhere.popitem(last=False)
            self._held.pop(old, None)


def items_panel(store: Store, dataset: Dataset, items: pl.DataFrame, day: date) -> Panel:
    """Items without history: what rules and calendars need."""
    around = timedelta(days=CLOSED_DAYS_AROUND // 7 * 7)
    closed = store.closed_days(items["location_id"].unique().to_list(), day - around, day + around)
    span = [day] if closed.is_empty() else [day - around, day + around]
    empty = pl.DataFrame(
        {"item_id": "", "location_id": "", "date": span, "units_sold": None},
        schema={"item_id": pl.String, "location_id": pl.String, "date": pl.Date, "units_sold": pl.Float32},
    )
    origin = date.fromisoformat(dataset.settings["review_origin"])
    return assemble(dataset.settings | {"review_origin": origin}, items, empty, closed)


def _terms(panel: Panel, day: date) -> tuple[Terms, dict[str, int]]:
    items, spec, t = panel.items, ObservationSpec(panel.period_days), panel.period_of(day)
    count = len(items)
    rules = rules_of(panel, on=day)
    if rules.keep_days is None:
        rules = replace(rules, keep_days=np.full(count, np.inf))
    due = review_schedule(panel, range(t, t + spec.horizon)).due
    ahead = due[:, 1:]
    later = np.any(ahead, axis=1).tolist()
    days = [panel.date_of(t + 1 + int(n)) for n in ahead.argmax(axis=1)]
    spans, length = responsible_dates(panel, np.arange(count), day), panel.period_days
    lead, review = panel.lead_periods * length, panel.review_periods * length
    terms = Terms(
        series=list(zip(items.item_id, items.location_id, strict=True)), category=list(items.category),
        unit_cost=items.unit_cost.tolist(), uom=list(items.uom), rules=rules,
        due=[bool(one) for one in due[:, 0]],
        following=[one if any_ else None for one, any_ in zip(days, later, strict=True)],
        spans=spans, far=beyond_horizon(panel, spec).tolist(),
        lead_moved=[(first - day).days != own for (first, _), own in zip(spans, lead.tolist(), strict=True)],
        review_moved=[(last - first).days + 1 != own for (first, last), own in zip(spans, review.tolist(), strict=True)],
        own_multiple=((items.order_multiple > 0) | (not panel.discrete)).tolist(),
    )  # fmt: skip
    return terms, {item: n for n, item in enumerate(items.item_id)}


def _join(found: list[tuple[Place, int]]) -> Terms:
    """Rows of several locations."""
    places = list({id(place): place for place, _ in found}.values())
    number = {id(place): n for n, place in enumerate(places)}
    at = [(number[id(place)], row) for place, row in found]
    lists: dict[str, list[Any]] = {}
    for name in Terms._fields:
        if name != "rules":
            columns = [getattr(place.terms, name) for place in places]
            lists[name] = [columns[n][row] for n, row in at]
    first = np.cumsum([0, *(len(place.terms.series) for place in places)])  # row of each in all of them together
    rows = np.array([first[n] + row for n, row in at], dtype=np.int64)
    rules = {name: np.concatenate([getattr(p.terms.rules, name) for p in places])[rows] for name in RULES}
    return Terms(**lists, rules=OrderRules(**rules, rounding=places[0].terms.rules.rounding))
