"""One request from series to answers: stock, features, policy, overrides, order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import numpy as np

from service.asked import Asked, Stock
from service.decide import Decisions, Override, Span, constraints_applied, matching_override, responsible_dates
from service.features import FeatureRows
from service.known import known_items, known_stock
from service.memory import Memory, Recording
from service.policy import Policy
from service.problems import Problem, ProblemError, RowError
from service.receipt import reasons, receipt
from service.schemas import (
    AppliedOverride,
    CounterfactualLine,
    ItemAnswer,
    Recommendation,
    RecommendationItem,
    RecommendationResponse,
)
from service.settings import Settings
from service.shadow import Remembered
from service.store import Series, Store
from simulator.observation import ObservationSpec, beyond_horizon, with_state
from simulator.ordering import rules_of
from simulator.panel import F32, Panel
from simulator.schedule import lead_and_review, review_schedule
from simulator.step import State
from simulator.stock import arrival_slots


class How(NamedTuple):
    """What is wanted besides the answers."""

    recording: Recording | None = None  # for whom they are remembered; None: for nobody, and nothing is kept
    counterfactuals: bool = False


PLAIN = How()


class Look(NamedTuple):
    """What the policy saw of one series and what it expects, for people to look at."""

    period_days: int
    history: dict[str, F32]  # `units_sold` (T,) up to `day`; `promotion`, `holiday` (T + H,) flags; NaN: unknown
    forecast: F32  # (H, Q) units a period, quantiles as in the contract
    open_orders: list[tuple[date, float]]  # arrival date and units
    lead_periods: int
    overrides: list[Override]  # that cover the series and end after as_of, oldest first


class Recommender:
    """Answers requests; holds the store, the feature rows, the policy in charge, and who watches remembered answers."""

    def __init__(
        self, settings: Settings, store: Store, features: FeatureRows, memory: Memory, policy: Callable[[], Policy],
        watch: Callable[[Remembered], None],
    ) -> None:  # fmt: skip
        self._settings, self._store, self._features, self.policy = settings, store, features, policy
        self._memory, self._watch = memory, watch

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
        policy = self.policy()
        day = self.as_of(as_of)
        read_at = datetime.now(UTC)
        keys = [(item.item_id, item.location_id) for item in requested]
        if how.recording is not None:
            _check_named_once(keys)
        panel = self.items(sorted(set(keys)), day)
        index = {} if panel is None else _rows_of(panel)
        far = [] if panel is None else beyond_horizon(panel, policy.spec).tolist()
        stock = self.stock(requested, day)
        answers: list[ItemAnswer] = []
        good: list[int] = []
        for n, (key, found) in enumerate(zip(keys, stock, strict=True)):
            problem = None if key in index else _unknown(key)
            problem = problem or (found if isinstance(found, Problem) else None)
            if problem is None and panel is not None and far[index[key]]:
                problem = _too_far(key)
            answers.append(ItemAnswer(item_id=key[0], location_id=key[1], problem=problem))
            if problem is None:
                good.append(n)
        if panel is not None and good:
            rows = [index[keys[n]] for n in good]
            held = [s for s in (stock[n] for n in good) if isinstance(s, Stock)]
            for n, result in zip(good, self._decide(policy, panel, rows, held, day, how), strict=True):
                answers[n] = answers[n].model_copy(
                    update={"problem": result} if isinstance(result, Problem) else {"result": result}
                )
        return RecommendationResponse(
            as_of=day, policy_version=policy.version, overrides_as_of=read_at.isoformat(), items=answers
        )

    def look(self, series: Series, day: date) -> Look:
        """The history, the forecast and the plans behind the answer for one known series at the end of `day`.

        Raises:
            ProblemError: where no policy is in charge.
        """
        policy = self.policy()
        panel = self.items([series], day)
        assert panel is not None
        observation, _ = self._features.observe([series], day)
        spec, t = policy.spec, panel.period_of(day)
        lead, _ = lead_and_review(panel, np.array([0]), np.array([t]))
        items = panel.items
        scope = (items.item_id[0], items.location_id[0], items.category[0])
        return Look(
            period_days=spec.period_days,
            history={name: observation[name][0] for name in ("units_sold", "promotion", "holiday")},
            forecast=policy.answer(with_state(observation, spec, None)).forecast[0],
            open_orders=self._store.orders([series])[series],
            lead_periods=int(lead[0]),
            overrides=[o for o in self._store.overrides_between(day + timedelta(days=1), date.max) if o.covers(*scope)],
        )

    def as_of(self, as_of: date | None) -> date:
        """The day that is asked for, or the last recorded one.

        Raises:
            ProblemError: where nothing can be answered for it.
        """
        last = self._store.last_recorded()
        if last is None:
            raise ProblemError(503, "no-dataset", "No dataset is loaded", "Load one with `orpr serve --data DIR`.")
        day = last if as_of is None else as_of
        first = self._store.first_recorded()
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
        return known_items(self._store, series, day)

    def stock(self, requested: Sequence[RecommendationItem], day: date) -> list[Stock | Problem]:
        """What each answer may rest on."""
        return known_stock(self._store, self._memory, requested, day)

    def _decide(
        self, policy: Policy, panel: Panel, rows: list[int], stock: list[Stock], day: date, how: How
    ) -> list[Recommendation | Problem]:
        spans = responsible_dates(panel, np.array(rows), day)
        asked = self.ask(policy, panel, rows, stock, day)
        overrides = self._overrides(panel, rows, spans)
        decisions = asked.order(overrides, spans)
        series = [(panel.items.item_id[row], panel.items.location_id[row]) for row in rows]
        order_days = _order_days(panel, rows, day, policy.spec.horizon)
        others = asked.counterfactuals() if how.counterfactuals else None
        answers: dict[int, Recommendation] = {}
        for n, (due, following) in enumerate(order_days):
            if asked.rate_sources[n] != "none":
                told = _recommendation(asked, n, decisions, spans[n], following, review_due=due)
                lines = None if others is None else [CounterfactualLine(**one._asdict()) for one in others[n]]
                answers[n] = told.model_copy(update={"counterfactuals": lines})
        if how.recording is not None:
            numbers = self._memory.record(how.recording, asked, series, overrides, spans, answers)
            answers = {n: answer.model_copy(update={"decision_id": numbers[n]}) for n, answer in answers.items()}
            self._watch(Remembered(asked, overrides, spans, answers))
        return [answers[n] if n in answers else _no_demand(series[n]) for n in range(len(rows))]

    def ask(self, policy: Policy, panel: Panel, rows: list[int], stock: list[Stock], day: date) -> Asked:
        """What the policy says of some known series, before overrides and rules."""
        items = panel.items
        series = [(items.item_id[n], items.location_id[n]) for n in rows]
        observation, sources = self._features.observe(series, day)
        observation = with_state(observation, policy.spec, state_of(stock, day, policy.spec))
        rules = rules_of(panel, on=day).take(np.array(rows))
        return Asked(policy, day, observation, policy.answer(observation), sources, stock, rules)

    def _overrides(self, panel: Panel, rows: list[int], spans: list[Span]) -> list[Override | None]:
        stored = self._store.overrides_between(min(s[0] for s in spans), max(s[1] for s in spans))
        return [matching_override(stored, panel, row, span) for row, span in zip(rows, spans, strict=True)]


def state_of(stock: list[Stock], day: date, spec: ObservationSpec) -> State:
    """The stock as the simulator keeps it; arrivals beyond the horizon stand in one more column."""
    pipeline = np.zeros((len(stock), spec.horizon + 1))
    for n, one in enumerate(stock):
        days = np.array([(arrival - day).days for arrival, _ in one.coming], dtype=np.int64)
        slots = np.minimum(arrival_slots(days, spec.period_days), spec.horizon)
        np.add.at(pipeline[n], slots, [quantity for _, quantity in one.coming])
    return State(np.array([one.on_hand for one in stock]), np.maximum(pipeline, 0.0))


def _rows_of(panel: Panel) -> dict[Series, int]:
    return {key: n for n, key in enumerate(zip(panel.items.item_id, panel.items.location_id, strict=True))}


def _check_named_once(keys: list[Series]) -> None:
    twice = [row for row, key in enumerate(keys) if key in keys[:row]] if len(set(keys)) < len(keys) else []
    if twice:
        item, place = keys[twice[0]]
        detail = f"items: {item!r} at {place!r} is named more than once; an answer that is remembered is one per series"
        errors = [RowError(row=row, field="items", detail="named before") for row in twice]
        raise ProblemError(422, "series-twice", "A series is named twice", detail, errors)


def _unknown(key: Series) -> Problem:
    detail = f"item_id, location_id: there is no item {key[0]!r} at {key[1]!r}"
    return Problem(type="series-unknown", title="The series is not known", status=404, detail=detail)


def _too_far(key: Series) -> Problem:
    detail = f"lead_time_days: {key[0]} at {key[1]} has to be ordered longer ahead than the policy looks (91 days)"
    return Problem(type="beyond-horizon", title="The lead time is too long", status=422, detail=detail)


def _no_demand(key: Series) -> Problem:
    detail = f"{key[0]} at {key[1]} has no sales, no reference item, no category mean and no expected_daily_demand"
    return Problem(type="demand-unknown", title="Nothing says what it sells", status=422, detail=detail)


def _order_days(panel: Panel, rows: list[int], day: date, horizon: int) -> list[tuple[bool, date | None]]:
    """Whether an order is due at the end of `day`, and the first order day after it; None beyond the horizon."""
    t = panel.period_of(day)
    due = review_schedule(panel, range(t, t + horizon)).due[rows]
    ahead = due[:, 1:]
    return [
        (bool(due[n, 0]), panel.date_of(t + 1 + int(ahead[n].argmax())) if ahead[n].any() else None)
        for n in range(len(rows))
    ]


def _recommendation(
    asked: Asked, n: int, decisions: Decisions, span: Span, following: date | None, *, review_due: bool
) -> Recommendation:
    stock, override, quantity = asked.stock[n], decisions.overrides[n], float(decisions.order.order_quantity[n])
    rules, source = constraints_applied(decisions.order, n), asked.rate_sources[n]
    held = stock.on_hand, stock.on_order, stock.on_reserve
    applied = said = None
    if override is not None:
        said = f"Override {override.id} by {override.author} counts: {override.reason}"
        applied = AppliedOverride(
            id=override.id, mode=override.mode, value=override.value, units=decisions.added_units[n],
            reason=override.reason, author=override.author,
        )  # fmt: skip
    return Recommendation(
        inventory_days=decisions.inventory_days[n],
        inventory_days_p10=decisions.p10[n],
        inventory_days_p90=decisions.p90[n],
        daily_rate=decisions.daily_rate[n],
        rate_source=source,
        target_stock=decisions.target_stock[n],
        on_hand=stock.on_hand,
        on_order=stock.on_order,
        reserved=stock.on_reserve,
        stock_source=stock.source,  # type: ignore[arg-type]
        inventory_position=decisions.inventory_position[n],
        raw_order_quantity=decisions.order.raw_order_quantity[n],
        order_quantity=quantity if review_due else 0.0,
        order_quantity_if_due=quantity,
        constraints_applied=rules,
        review_due=review_due,
        order_date=asked.day,
        next_order_date=following,
        expected_receipt_date=span[0],
        covers_until=span[1],
        override=applied,
        policy_days=decisions.policy_days[n],
        source=decisions.source,  # type: ignore[arg-type]
        receipt=receipt(decisions, n, *held, rules, due=review_due),
        reasons=reasons(
            decisions.inventory_days[n], decisions.daily_rate[n], source, said, rules, following, due=review_due
        ),
    )
