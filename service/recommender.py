"""One request from series to answers: stock, features, policy, overrides, order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import NamedTuple

import numpy as np

from service.answers import item_answer, no_demand, other_uom, recommendations, too_far, unknown, unread
from service.asked import Sight, Stock, state_of
from service.bundle import CHAMPION
from service.counted import days_left, less_sales
from service.datasets import Dataset
from service.decide import Override, matching_override
from service.features import FeatureRows, RowsUnread
from service.holds import Holds, stopped
from service.known import known_items, known_stock
from service.memory import Memory, Recording
from service.policy import Policy
from service.policy_store import CANARY
from service.problems import Problem, ProblemError, RowError
from service.rollout import Canary, Part, Remembered, Rollout, forecast_of
from service.rollout import ask as ask_all
from service.rows import Seen
from service.schemas import ItemAnswer, RecommendationItem, RecommendationResponse
from service.series import Series
from service.settings import Settings
from service.store import Store
from service.telemetry import Laps
from service.terms import Terms, TermsByPlace
from service.view import View
from simulator.observation import ObservationSpec
from simulator.ordering import OrderRules
from simulator.panel import F32, Panel
from simulator.schedule import lead_and_review


class How(NamedTuple):
    """What is wanted besides the answers."""

    recording: Recording | None = None  # for whom they are remembered; None: for nobody, and nothing is kept
    counterfactuals: bool = False
    inventory_as_of: datetime | None = None  # when the request's stock was counted; None: at the end of as_of
    uom: str | None = None  # unit of measure that the request counts in; None: whatever the items are kept in


PLAIN = How()


class Look(NamedTuple):
    """What the policy saw of one series and what it expects, for people to look at."""

    period_days: int
    history: dict[str, F32]  # `units_sold` (T,) up to `day`; `promotion`, `holiday` (T + H,) flags; NaN: unknown
    forecast: F32  # (H, Q) units a period, quantiles as in the contract
    open_orders: list[tuple[date, float]]  # arrival date and units
    lead_periods: int
    overrides: list[Override]  # that cover the series and end after as_of, oldest first
    past: list[Override]  # that have ended


class Recommender:
    """Answers requests; holds the store, the feature rows, the policies in charge, and who watches what they decide."""

    def __init__(
        self, settings: Settings, store: Store, view: View, terms: TermsByPlace, features: FeatureRows,
        memory: Memory, holds: Holds, rollout: Callable[[], Rollout], watch: Callable[[Remembered], None],
        tried: Callable[[Canary, Policy, int, int], None], laps: Callable[[], Laps],
    ) -> None:  # fmt: skip
        self._settings, self._store, self._view, self._terms, self._features = settings, store, view, terms, features
        self._memory, self._holds, self.rollout, self._watch, self._laps = memory, holds, rollout, watch, laps
        self._tried = tried
        self._alias = CHAMPION if settings.policy == CHAMPION else None

    def answer(
        self, requested: Sequence[RecommendationItem], as_of: date | None, how: How = PLAIN
    ) -> RecommendationResponse:
        """Decide every requested series; what cannot be decided is a problem of its own.

        Args:
            requested: the series; each once, where the answers are remembered.
            as_of: the day; None: the last recorded one.
            how: what else is wanted.

        Raises:
            ProblemError: when nothing can be answered at all.
        """
        laps = self._laps()
        rollout = self.rollout()
        day = self.as_of(as_of)
        keys = [(item.item_id, item.location_id) for item in requested]
        if how.recording is not None:
            _check_named_once(keys)
        known_at = self._view.as_of
        terms, index, away = self._terms.of(keys, self.dataset(), day)
        stock = known_stock(self._view, self._memory, requested, day, self._days_left(how.inventory_as_of, day))
        items: list[ItemAnswer | None] = []
        good: list[int] = []
        for n, (key, row, found) in enumerate(zip(keys, index, stock, strict=True)):
            problem = found if isinstance(found, Problem) else None
            if row is None:
                problem = unread(key) if key[1] in away else unknown(key)
            if problem is None and row is not None:
                stop = self._view.stop(key[1], terms.category[row])
                problem = stopped(stop) if stop is not None else too_far(key) if terms.far[row] else None
                if how.uom is not None and terms.uom[row] not in ("", how.uom):
                    problem = other_uom(key, terms.uom[row], how.uom)
            items.append(None if problem is None else item_answer(key, problem=problem))
            if problem is None:
                good.append(n)
        laps.mark("known")
        if good:
            chosen = terms.take([row for row in (index[n] for n in good) if row is not None])
            held = [s for s in (stock[n] for n in good) if isinstance(s, Stock)]
            for n, decided in zip(good, self._decide(rollout, chosen, held, day, how), strict=True):
                items[n] = decided
        answers = [one for one in items if one is not None]
        version, alias = self._decided_by(rollout, answers)
        return RecommendationResponse(
            as_of=day, policy_version=version, policy_alias=alias, uom=how.uom,
            overrides_as_of="" if known_at is None else known_at.isoformat(), items=answers,
        )  # fmt: skip

    def look(self, series: Series, day: date) -> Look:
        """The history, the forecast and the plans behind the answer for one known series at the end of `day`.

        Raises:
            ProblemError: where no policy is in charge.
        """
        policy = self.rollout().policy_of(series)
        panel = self.items([series], day)
        assert panel is not None
        spec, found = policy.spec, self._features.rows([series], day)
        seen = Seen(found.blobs, spec, None, read=found.read)
        lead, _ = lead_and_review(panel, np.array([0]), np.array([panel.period_of(day)]))
        covering = self.overrides(panel, 0)
        return Look(
            period_days=spec.period_days,
            history={name: seen.field(name)[0] for name in ("units_sold", "promotion", "holiday")},
            forecast=forecast_of(policy, seen)[0],
            open_orders=self._view.orders(series),
            lead_periods=int(lead[0]),
            overrides=[one for one in covering if one.selling_to > day],
            past=[one for one in covering if one.selling_to <= day],
        )

    def dataset(self) -> Dataset:
        """What is loaded, as far as this process knows.

        Raises:
            ProblemError: 503 where nothing is.
        """
        self._view.catch_up()
        found = self._view.dataset()
        if found is None:
            raise ProblemError(503, "no-dataset", "No dataset is loaded", "Load one with `orpr serve --data DIR`.")
        return found

    def as_of(self, as_of: date | None) -> date:
        """The day that is asked for, or the last recorded one.

        Raises:
            ProblemError: where nothing can be answered for it.
        """
        dataset = self.dataset()
        first, last = dataset.first_recorded, dataset.last_recorded
        if last is None:
            raise ProblemError(503, "no-history", "Nothing was recorded yet", "Send it with PUT /v1/history.")
        day = last if as_of is None else as_of
        if first is not None and day < first:
            raise ProblemError(
                422, "before-history", "Nothing was recorded yet",
                f"as_of: {day} lies before the first recorded day, {first}",
            )  # fmt: skip
        if (day - last).days % dataset.period_days:
            detail = f"as_of: {day} does not start a {dataset.period_days}-day period, as {last} does"
            raise ProblemError(422, "off-grid", "No period begins on this day", detail)
        age = (day - last).days
        if age > self._settings.history_max_age_days:
            raise ProblemError(
                422, "history-too-old", "The history is too old",
                f"as_of: {day} lies {age} days after the last recorded day, {last}; at most "
                f"{self._settings.history_max_age_days} are allowed",
            )  # fmt: skip
        return day

    def items(self, series: list[Series], day: date) -> Panel | None:
        """Rules and calendars of those that are known; None where none is."""
        return known_items(self._store, self.dataset(), series, day)

    def _days_left(self, counted_at: datetime | None, day: date) -> float | None:
        if counted_at is None:
            return 0.0
        return days_left(counted_at, day, self.dataset().period_days, self._settings.selling_hours)

    def stock(self, requested: Sequence[RecommendationItem], day: date) -> list[Stock | Problem]:
        """What each answer may rest on."""
        return known_stock(self._view, self._memory, requested, day)

    def _decide(self, rollout: Rollout, terms: Terms, stock: list[Stock], day: date, how: How) -> list[ItemAnswer]:
        try:
            sight = self._see(
                rollout.champion.spec, terms.series, terms.rules, stock, day, anew=how.recording is not None
            )
        except RowsUnread as unread:
            return self._decide_the_rest(rollout, terms, stock, day, how, set(unread.missing))
        laps = self._laps()
        parts = ask_all(rollout, terms.series, sight, self._tried)
        laps.mark("network")
        decided = [self._order(part, terms, how) for part in parts]
        laps.mark("orders")
        held: dict[int, Problem] = {}
        if how.recording is not None:
            answers = {p.rows[n]: one for p, d in zip(parts, decided, strict=True) for n, one in d.answers.items()}
            held = self._holds.held(sight, terms, dict(sorted(answers.items())), how.recording.caller)
            laps.mark("breaker")
            decided = [
                d._replace(answers={n: one for n, one in d.answers.items() if p.rows[n] not in held})
                for p, d in zip(parts, decided, strict=True)
            ]
            self._memory.record(how.recording, decided)
            for one in decided:
                self._watch(one)
            laps.mark("remember")
        items: dict[int, ItemAnswer] = {}
        for part, remembered in zip(parts, decided, strict=True):
            by = part.asked.policy.version, self._alias if part.canary is None else CANARY
            for n, answer in remembered.answers.items():
                row = part.rows[n]
                items[row] = item_answer(terms.series[row], answer, age_s=sight.ages_s[row], by=by)
        return [
            items[n] if n in items else item_answer(key, problem=held.get(n) or no_demand(key))
            for n, key in enumerate(terms.series)
        ]

    def _order(self, part: Part, terms: Terms, how: How) -> Remembered:
        """What follows from what a policy said of its part of some series."""
        mine = terms if len(part.rows) == len(terms.series) else terms.take(part.rows)
        overrides = [
            matching_override(self._view.overrides(*series, category), span)
            for series, category, span in zip(mine.series, mine.category, mine.spans, strict=True)
        ]
        others = part.asked.counterfactuals() if how.counterfactuals else None
        answers = recommendations(part.asked, part.asked.order(overrides, mine.spans), mine, others)
        return Remembered(
            part.asked, overrides, mine.spans, answers, mine.series, mine.unit_cost, part.champion, part.canary
        )

    def _decide_the_rest(
        self, rollout: Rollout, terms: Terms, stock: list[Stock], day: date, how: How, missing: set[int]
    ) -> list[ItemAnswer]:
        """The database does not answer: those whose feature rows are in the cache are decided, the others are problems."""
        rows = [n for n in range(len(stock)) if n not in missing]
        decided = self._decide(rollout, terms.take(rows), [stock[n] for n in rows], day, how) if rows else []
        found = dict(zip(rows, decided, strict=True))
        return [found[n] if n in found else item_answer(key, problem=unread(key)) for n, key in enumerate(terms.series)]

    def _decided_by(self, rollout: Rollout, items: list[ItemAnswer]) -> tuple[str, str | None]:
        """Version and alias of the policy that decided all of a response, or else of the champion."""
        by = {(one.policy_version, one.policy_alias) for one in items if one.policy_version is not None}
        version, alias = by.pop() if len(by) == 1 else (None, None)
        return (rollout.champion.version, self._alias) if version is None else (version, alias)

    def overrides(self, panel: Panel, row: int) -> list[Override]:
        """Every override in effect that covers a series of a panel."""
        items = panel.items
        return self._view.overrides(items.item_id[row], items.location_id[row], items.category[row])

    def ask(self, series: list[Series], rules: OrderRules, stock: list[Stock], day: date) -> list[Part]:
        """What the policies say of some known series, before overrides and rules."""
        rollout = self.rollout()
        sight = self._see(rollout.champion.spec, series, rules, stock, day)
        laps = self._laps()
        parts = ask_all(rollout, series, sight, self._tried)
        laps.mark("network")
        return parts

    def _see(
        self, spec: ObservationSpec, series: list[Series], rules: OrderRules, stock: list[Stock], day: date,
        *, anew: bool = False,
    ) -> Sight:  # fmt: skip
        """What is seen of some series. `anew`: no network is to repeat what it said lately. Last digits depend on how many were
        asked at once, and the same question that is remembered has the same decision in every process."""
        laps = self._laps()
        found = self._features.rows(series, day)
        held = less_sales(stock, Seen(found.blobs, spec, None), spec.period_days)
        seen = Seen(found.blobs, spec, state_of(held, day, spec), prints=found.prints, read=found.read)
        laps.mark("features")
        return Sight(day, seen.unread() if anew else seen, held, rules, found.ages_s)


def _check_named_once(keys: list[Series]) -> None:
    twice = [row for row, key in enumerate(keys) if key in keys[:row]] if len(set(keys)) < len(keys) else []
    if twice:
        item, place = keys[twice[0]]
        detail = f"items: {item!r} at {place!r} is named more than once; an answer that is remembered is one per series"
        errors = [RowError(row=row, field="items", detail="named before") for row in twice]
        raise ProblemError(422, "series-twice", "A series is named twice", detail, errors)
