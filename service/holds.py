"""The money breaker and the kill switch: orders that are not given out, and who lets them pass.

A batch that is to be remembered is examined before (`service.breaker`); what is abnormal is held at the location, in the category, or
as a whole, whichever is to blame. Held orders are not remembered, so that they count nowhere; asked again after the release,
the same question has its answer. A release lets pass what it has seen: a batch that is more abnormal is held anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date

import numpy as np
import sqlalchemy as sa

from service.asked import Sight
from service.breaker import Batch, Finding, Limits, examine, no_worse
from service.cursors import cursor_of, place_of
from service.database import UNANSWERED, within
from service.decision_store import OPEN, ORDERED, SEEN
from service.hold_schemas import Hold, HoldPage, ReleaseRequest, StopPage, StopRequest, StoredStop
from service.hold_store import (
    HELD,
    Stop,
    add_hold,
    add_stop,
    end_stop,
    find_hold,
    find_stop,
    holds_page,
    last_orders,
    release_hold,
    stops_page,
)  # fmt: skip
from service.problems import Problem, ProblemError
from service.schemas import Recommendation
from service.series import Series
from service.settings import Settings
from service.store import Store, count_series
from service.terms import Terms, TermsByPlace
from service.view import View
from simulator.panel import Bools

ENDS_EARLY_DAYS = 7  # without any sale told, up to the last day that others have
STORED_WITHIN_S = 5.0  # longest wait for the database; the night's orders do not hang on it
Scope = tuple[str, str]  # location, category; empty: all


class Holds:
    """What the recommender asks before it remembers, and what the routes do."""

    def __init__(self, store: Store, view: View, terms: TermsByPlace, settings: Settings) -> None:
        self._store, self._view, self._terms = store, view, terms
        self._limits = Limits(
            settings.hold_batch_money, settings.hold_location_money, settings.hold_growth, settings.hold_fall,
            settings.hold_zero_stock_share, settings.hold_history_end_share,
        )  # fmt: skip

    def held(self, sight: Sight, terms: Terms, answers: Mapping[int, Recommendation], by: str) -> dict[int, Problem]:
        """Those answers that must not be given out, by place among the series asked, and why. A batch is judged as a whole,
        whichever policies have decided its parts.

        Args:
            sight: B series as they were seen.
            terms: of the B series.
            answers: to be remembered.
            by: name of the key that asks.
        """
        rows = list(answers)
        if not rows:
            return {}
        loaded = self._view.dataset()
        currency = "" if loaded is None else str(loaded.settings.get("currency") or "")
        given_out = self._given_out({terms.series[n] for n in rows}, sight.day)
        found = examine(self._batch(sight, terms, answers), self._limits, currency, given_out)
        scopes: dict[Scope, list[Finding]] = {}
        for finding in found:
            if not self._released(finding, sight.day):
                scopes.setdefault((finding.location_id, finding.category), []).append(finding)
        numbers = self._hold(sight.day, scopes, by) if scopes else {}
        held: dict[int, Problem] = {}
        for scope, findings in scopes.items():
            problem = _problem(findings, numbers.get(scope))
            for n in rows:
                if _covers(scope, terms.series[n][1], terms.category[n]):
                    held.setdefault(n, problem)
        return held

    def _batch(self, sight: Sight, terms: Terms, answers: Mapping[int, Recommendation]) -> Batch:
        rows = list(answers)
        due = [terms.series[n] for n in rows if terms.due[n]]
        try:
            last = within(STORED_WITHIN_S, lambda: self._last_orders(due, sight.day)) if due else {}
        except UNANSWERED:
            last = {}  # judged without them: an outage of the database must not stop the night's orders
        return Batch(
            location_id=np.array([terms.series[n][1] for n in rows], dtype=object),
            category=np.array([terms.category[n] for n in rows], dtype=object),
            order_quantity=np.array([answers[n].order_quantity for n in rows]),
            unit_cost=np.array([terms.unit_cost[n] for n in rows]),
            last_quantity=np.array([last.get(terms.series[n], np.nan) if terms.due[n] else np.nan for n in rows]),
            zero_stock=np.array([answers[n].on_hand <= 0 for n in rows]),
            history_ends_early=self._ends_early(sight)[rows],
        )

    def _given_out(self, asked: set[Series], day: date) -> dict[str, float]:
        """What else was ordered or advised for the day at the locations of some series, by location, currency at today's cost: of
        other series all, of these what was ordered, for their answers come on top of it."""
        loaded = self._view.dataset()
        if self._limits.location_value is None or loaded is None:
            return {}
        found: dict[str, float] = {}
        for place in {place for _, place in asked}:
            try:
                all_there = self._terms.at(place, loaded, day)
            except UNANSWERED:  # forgotten a moment ago; as above, an outage must not stop the night
                continue
            cost = np.array(all_there.unit_cost)
            usual = np.nanmedian(cost) if np.isfinite(cost).any() else 1.0
            for series, each in zip(all_there.series, np.where(np.isfinite(cost), cost, usual).tolist(), strict=True):
                standing = (SEEN, *ORDERED) if series in asked else (OPEN, SEEN, *ORDERED)
                units = sum(
                    one.quantity
                    for one in self._view.decisions(series)
                    if one.order_date == day and one.status in standing
                )
                found[place] = found.get(place, 0.0) + units * each
        return found

    def _ends_early(self, sight: Sight) -> Bools:
        """(B,) whether sales were told once, but none of the last week that others have; the end of the recorded days is
        what counts, for a day whose sales nobody has sent yet says nothing of a series."""
        loaded, spec = self._view.dataset(), sight.seen.spec
        days, history = spec.period_days, spec.history
        sold = np.isfinite(sight.seen.field("units_sold"))
        last = None if loaded is None else loaded.last_recorded
        end = history if last is None else history - max((sight.day - last).days // days, 0)
        week = sold[:, max(end - max(ENDS_EARLY_DAYS // days, 1), 0) : end]
        return np.asarray(sold.any(axis=1) & ~week.any(axis=1))

    def _last_orders(self, due: list[Series], day: date) -> dict[Series, float]:
        with self._store.database.reading() as connection:
            return last_orders(connection, due, day)

    def _released(self, finding: Finding, day: date) -> bool:
        """Whether somebody has let it pass. A location's own finding covers that of a batch that consists of it."""
        scope = day, finding.location_id, finding.category
        return any(
            seen.measure == finding.measure and no_worse(finding, seen)
            for release in self._view.releases()
            if (release.order_date, release.location_id, release.category) == scope
            for seen in release.findings
        )

    def _hold(self, day: date, scopes: dict[Scope, list[Finding]], by: str) -> dict[Scope, int]:
        """The numbers of the holds; none where the database does not answer."""

        def store() -> dict[Scope, int]:
            with self._store.database.writing() as connection:
                return {scope: add_hold(connection, day, scope, findings, by) for scope, findings in scopes.items()}

        try:
            return within(STORED_WITHIN_S, store)
        except UNANSWERED:
            return {}

    # ------------------------------------------------------------------------------------------------------ the routes

    def page(self, state: str | None, cursor: str | None, limit: int) -> HoldPage:
        """Some holds.

        Raises:
            ProblemError: 422 where the cursor is none of ours.
        """
        after = 0 if cursor is None else int(place_of(cursor, (int,))[0])
        with self._store.database.reading() as connection:
            rows = holds_page(connection, state, after, limit + 1)
        end = rows[limit - 1]["id"] if len(rows) > limit else None
        return HoldPage(
            items=[Hold(**row) for row in rows[:limit]], next_cursor=None if end is None else cursor_of(end)
        )

    def releasing(self, number: int, body: ReleaseRequest, by: str) -> Callable[[sa.Connection], Hold]:
        """What lets pass what is held; released before, it stays as it is."""

        def store(connection: sa.Connection) -> Hold:
            row = find_hold(connection, number, locked=True)
            if row is None:
                raise ProblemError(404, "hold-unknown", "There is no such hold", f"hold_id: there is no hold {number}")
            if row["version"] != body.version:
                detail = f"version: {body.version} was seen, the hold is at {row['version']} and tells of more; look at it again"
                raise ProblemError(409, "version-changed", "The hold has changed", detail)
            if row["state"] == HELD:
                release_hold(connection, number, by, body.reason)
                row = find_hold(connection, number)
                assert row is not None
            return Hold(**row)

        return store

    def stopping(self, body: StopRequest, by: str) -> Callable[[sa.Connection], StoredStop]:
        """What stops orders; a name that no series has is an error, for nothing would be stopped."""

        def store(connection: sa.Connection) -> StoredStop:
            scope = {"location_id": body.location_id, "category": body.category}
            named = {name: value for name, value in scope.items() if value}
            if not count_series(connection, named):
                said = ", ".join(f"{name} {value!r}" for name, value in named.items()) or "an empty dataset"
                raise ProblemError(404, "scope-unknown", "The stop covers nothing", f"scope: no series has {said}")
            return StoredStop(**add_stop(connection, body.location_id, body.category, body.reason, by))

        return store

    def ending(self, number: int, by: str) -> Callable[[sa.Connection], StoredStop]:
        """What lets them go on."""

        def store(connection: sa.Connection) -> StoredStop:
            if find_stop(connection, number) is None:
                raise ProblemError(404, "stop-unknown", "There is no such stop", f"stop_id: there is no stop {number}")
            end_stop(connection, number, by)
            row = find_stop(connection, number)
            assert row is not None
            return StoredStop(**row)

        return store

    def stops(self, cursor: str | None, limit: int, *, ended: bool) -> StopPage:
        """Some stops.

        Raises:
            ProblemError: 422 where the cursor is none of ours.
        """
        after = 0 if cursor is None else int(place_of(cursor, (int,))[0])
        with self._store.database.reading() as connection:
            rows = stops_page(connection, after, limit + 1, ended=ended)
        end = rows[limit - 1]["id"] if len(rows) > limit else None
        found = [StoredStop(**row) for row in rows[:limit]]
        return StopPage(items=found, next_cursor=None if end is None else cursor_of(end))


def stopped(stop: Stop) -> Problem:
    """What is answered for a series that is stopped."""
    detail = f"{stop.begun_by} stopped these orders (stop {stop.id}): {stop.reason}"
    return Problem(type="orders-stopped", title="Orders are stopped", status=409, detail=detail)


def _covers(scope: Scope, location_id: str, category: str) -> bool:
    return scope[0] in ("", location_id) and scope[1] in ("", category)


def _problem(findings: list[Finding], number: int | None) -> Problem:
    said = " ".join(finding.sentence for finding in findings)
    how = (
        "the database does not answer; ask again then"
        if number is None
        else f"POST /v1/holds/{number}/release lets it pass"
    )
    return Problem(type="order-held", title="The order is held", status=409, detail=f"{said} Not given out: {how}.")
