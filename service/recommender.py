"""One request from series to answers: stock, features, policy, overrides, order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import NamedTuple

import numpy as np

from service.answers import no_demand, other_uom, recommendations, too_far, unknown, unread
from service.asked import Asked, Stock
from service.counted import days_left, less_sales
from service.datasets import Dataset
from service.decide import Override, matching_override
from service.features import FeatureRows, RowsUnread
from service.holds import Holds, stopped
from service.known import known_items, known_stock
from service.memory import Memory, Recording
from service.policy import CHAMPION, Policy
from service.problems import Problem, ProblemError, RowError
from service.rows import Seen, source_of
from service.schemas import (
    ItemAnswer,
    Recommendation,
    RecommendationItem,
    RecommendationResponse,
)
from service.settings import Settings
from service.shadow import Remembered
from service.store import Series, Store
from service.telemetry import Laps
from service.terms import Terms, TermsByPlace
from service.view import View
from simulator.observation import ObservationSpec
from simulator.ordering import OrderRules
from simulator.panel import F32, Panel
from simulator.schedule import lead_and_review
from simulator.step import State
from simulator.stock import arrival_slots


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
    """Answers requests; holds the store, the feature rows, the policy in charge, and who watches remembered answers."""

    def __init__(
        self, settings: Settings, store: Store, view: View, terms: TermsByPlace, features: FeatureRows,
        memory: Memory, holds: Holds, policy: Callable[[], Policy], watch: Callable[[Remembered], None],
        laps: Callable[[], Laps],
    ) -> None:  # fmt: skip
        self._settings, self._store, self._view, self._terms, self._features = settings, store, view, terms, features
        self._memory, self._holds, self.policy, self._watch, self._laps = memory, holds, policy, watch, laps
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
        policy = self.policy()
        day = self.as_of(as_of)
        keys = [(item.item_id, item.location_id) for item in requested]
        if how.recording is not None:
            _check_named_once(keys)
        known_at = self._view.as_of
        terms, index, away = self._terms.of(keys, self.dataset(), day)
        stock = known_stock(self._view, self._memory, requested, day, self._days_left(how.inventory_as_of, day))
        items: list[ItemAnswer] = []
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
            items.append(_item_answer(key, problem=problem))
            if problem is None:
                good.append(n)
        laps.mark("known")
        if good:
            chosen = terms.take([row for row in (index[n] for n in good) if row is not None])
            held = [s for s in (stock[n] for n in good) if isinstance(s, Stock)]
            for n, decided in zip(good, self._decide(policy, chosen, held, day, how), strict=True):
                items[n] = decided
        return RecommendationResponse(
            as_of=day, policy_version=policy.version, policy_alias=self._alias, uom=how.uom,
            overrides_as_of="" if known_at is None else known_at.isoformat(), items=items,
        )  # fmt: skip

    def look(self, series: Series, day: date) -> Look:
        """The history, the forecast and the plans behind the answer for one known series at the end of `day`.

        Raises:
            ProblemError: where no policy is in charge.
        """
        policy = self.policy()
        panel = self.items([series], day)
        assert panel is not None
        spec, t = policy.spec, panel.period_of(day)
        seen = Seen(self._features.rows([series], day).blobs, spec, None)
        lead, _ = lead_and_review(panel, np.array([0]), np.array([t]))
        covering = self.overrides(panel, 0)
        return Look(
            period_days=spec.period_days,
            history={name: seen.field(name)[0] for name in ("units_sold", "promotion", "holiday")},
            forecast=policy.answer_to(seen).forecast[0],
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

    def _decide(self, policy: Policy, terms: Terms, stock: list[Stock], day: date, how: How) -> list[ItemAnswer]:
        try:
            asked = self.ask(policy, terms.series, terms.rules, stock, day)
        except RowsUnread as unread:
            return self._decide_the_rest(policy, terms, stock, day, how, set(unread.missing))
        laps = self._laps()
        overrides = [
            matching_override(self._view.overrides(*series, category), span)
            for series, category, span in zip(terms.series, terms.category, terms.spans, strict=True)
        ]
        decisions = asked.order(overrides, terms.spans)
        others = asked.counterfactuals() if how.counterfactuals else None
        answers = recommendations(asked, decisions, terms, others)
        laps.mark("orders")
        held: dict[int, Problem] = {}
        if how.recording is not None:
            held = self._holds.held(asked, terms, answers, how.recording.caller)
            laps.mark("breaker")
            answers = {n: answer for n, answer in answers.items() if n not in held}
            numbers = self._memory.record(how.recording, asked, terms.series, overrides, terms.spans, answers)
            for n, answer in answers.items():
                answer.decision_id = numbers[n]
            self._watch(Remembered(asked, overrides, terms.spans, answers, terms.series))
            laps.mark("remember")
        return [
            _item_answer(key, answers[n], age_s=asked.ages_s[n])
            if n in answers
            else _item_answer(key, problem=held.get(n) or no_demand(key))
            for n, key in enumerate(terms.series)
        ]

    def _decide_the_rest(
        self, policy: Policy, terms: Terms, stock: list[Stock], day: date, how: How, missing: set[int]
    ) -> list[ItemAnswer]:
        """The database does not answer: those whose feature rows are in the cache are decided, the others are problems."""
        rows = [n for n in range(len(stock)) if n not in missing]
        decided = self._decide(policy, terms.take(rows), [stock[n] for n in rows], day, how) if rows else []
        found = dict(zip(rows, decided, strict=True))
        return [
            found[n] if n in found else _item_answer(key, problem=unread(key)) for n, key in enumerate(terms.series)
        ]

    def overrides(self, panel: Panel, row: int) -> list[Override]:
        """Every override in effect that covers a series of a panel."""
        items = panel.items
        return self._view.overrides(items.item_id[row], items.location_id[row], items.category[row])

    def ask(self, policy: Policy, series: list[Series], rules: OrderRules, stock: list[Stock], day: date) -> Asked:
        """What the policy says of some known series, before overrides and rules."""
        laps = self._laps()
        blobs, ages = self._features.rows(series, day)
        held = less_sales(stock, Seen(blobs, policy.spec, None), policy.period_days)
        seen = Seen(blobs, policy.spec, state_of(held, day, policy.spec))
        laps.mark("features")
        answer = policy.answer_to(seen)
        laps.mark("network")
        return Asked(policy, day, seen, answer, list(map(source_of, blobs)), held, rules, ages)


def state_of(stock: list[Stock], day: date, spec: ObservationSpec) -> State:
    """The stock as the simulator keeps it; arrivals beyond the horizon stand in one more column."""
    pipeline = np.zeros((len(stock), spec.horizon + 1))
    coming = [(n, (arrival - day).days, units) for n, one in enumerate(stock) for arrival, units in one.coming]
    if coming:
        rows, days, units = (np.array(column) for column in zip(*coming, strict=True))
        np.add.at(pipeline, (rows, np.minimum(arrival_slots(days, spec.period_days), spec.horizon)), units)
    return State(np.array([one.on_hand for one in stock]), np.maximum(pipeline, 0.0))


def _item_answer(
    key: Series, result: Recommendation | None = None, problem: Problem | None = None, age_s: float | None = None
) -> ItemAnswer:
    return ItemAnswer.model_construct(
        item_id=key[0], location_id=key[1], result=result, problem=problem, feature_age_s=age_s
    )


def _check_named_once(keys: list[Series]) -> None:
    twice = [row for row, key in enumerate(keys) if key in keys[:row]] if len(set(keys)) < len(keys) else []
    if twice:
        item, place = keys[twice[0]]
        detail = f"items: {item!r} at {place!r} is named more than once; an answer that is remembered is one per series"
        errors = [RowError(row=row, field="items", detail="named before") for row in twice]
        raise ProblemError(422, "series-twice", "A series is named twice", detail, errors)
