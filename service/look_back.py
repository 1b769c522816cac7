"""Look back: the last weeks of one series replayed under each loaded policy, beside what its users do without one.

The paper's Figure 6 for a planner: stock, sales and demand under the champion, the canary, the shadow and the incumbent's base
stock. All begin with the same stock and meet the same sales as demand; a policy sees at each day's end what could be seen then,
but as it is stored now. Nothing is stored, and nothing here decides.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np

from service.answers import unknown
from service.bundle import CHAMPION
from service.features import FeatureRows
from service.look_back_schemas import LookedBack, LookedBackPeriod, LookedBackPolicy
from service.policy import Policy
from service.policy_store import CANARY, SHADOW
from service.problems import ProblemError, RowError
from service.recommender import Recommender
from service.series import Series
from simulator.baselines import incumbent
from simulator.metrics import series_totals, summarise, unit_totals
from simulator.observation import Observer, beyond_horizon
from simulator.ordering import rules_of
from simulator.panel import F64
from simulator.rollout import Trajectory, World, replay_world, rollout
from simulator.step import State

INCUMBENT = "incumbent"
Shadowed = Callable[[], Policy | None]


def look_back(
    recommender: Recommender, features: FeatureRows, shadow: Shadowed, series: Series, as_of: date | None, periods: int
) -> LookedBack:  # fmt: skip
    """Replay the `periods` up to as_of.

    Args:
        recommender: knows the dataset and who decides.
        features: build what a policy sees.
        shadow: the policy in the shadow, if any.
        series: item and location.
        as_of: the last period; the last recorded one where None.
        periods: length of the replay.

    Raises:
        ProblemError: 404 where the series is not known, 422 where its cycle is longer than what policies look ahead or
            nothing of it is recorded in these periods, 503 without a dataset or policy.
    """
    day = recommender.as_of(as_of)
    if recommender.items([series], day) is None:
        problem = unknown(series)
        raise ProblemError(problem.status, problem.type, problem.title, problem.detail)
    observer, row, last = features.observer(series, day, periods)
    panel = observer.panel.take(row)
    if 0 <= panel.last_recorded < last:  # it ended earlier: what was seen then is a year before the replayed periods
        observer, row, last = features.observer(series, day, periods + last - panel.last_recorded)
        panel = observer.panel.take(row)
    t = min(last, panel.last_recorded)
    first = max(t + 1 - periods, 0)
    window = range(first, t + 1)
    if not np.isfinite(panel.units_sold[0, first : t + 1]).any():
        raise _unusable(
            "nothing-recorded", f"no sales of {series[0]} at {series[1]} are recorded in these {len(window)} periods"
        )
    if beyond_horizon(panel, observer.spec)[0]:
        raise _unusable("beyond-horizon", "an order would have to last longer than the policies look ahead")
    world = replay_world(panel, window, rules_of(panel), daily_rate=observer.rates.daily_rate[row, first : t + 1])
    base_stock = incumbent(panel, window)
    told = {INCUMBENT: ("", rollout(world, lambda s, _state: base_stock[:, s]))}
    for alias, policy in _policies(recommender, shadow).items():
        told[alias] = policy.version, _under(policy, world, observer, int(row[0]), first)
    promoted = np.nan_to_num(panel.promotion[0, first : t + 1]) > 0
    return LookedBack(
        first=panel.date_of(first), last=panel.date_of(t), period_days=panel.period_days, currency=panel.currency,
        demand_understated=bool((np.nan_to_num(panel.in_stock[0, first : t + 1], nan=1.0) < 1).any()),
        demand=world.demand[0].tolist(), promoted=promoted.tolist(),
        policies=[_policy(alias, version, record, observer, row) for alias, (version, record) in told.items()],
    )  # fmt: skip


def _unusable(kind: str, detail: str) -> ProblemError:
    errors = [RowError(field="periods", detail=detail)]
    return ProblemError(422, kind, "There is nothing to look back on", detail, errors)


def _policies(recommender: Recommender, shadow: Shadowed) -> dict[str, Policy]:
    """Whoever is loaded, by alias; a policy that is both is told once."""
    deciding, beside = recommender.rollout(), shadow()
    found = {CHAMPION: deciding.champion}
    if deciding.canary is not None:
        found[CANARY] = deciding.canary.policy
    if beside is not None and beside.version not in {policy.version for policy in found.values()}:
        found[SHADOW] = beside
    return found


def _under(policy: Policy, world: World, observer: Observer, row: int, first: int) -> Trajectory:
    """What happens under a policy that sees what could be seen at the end of each period."""
    at = np.array([row])

    def target(s: int, state: State) -> F64:
        if not world.review_due[0, s]:
            return np.zeros(1)
        seen = observer.observe(at, np.array([first + s]), State(state.on_hand, state.pipeline))
        answer = policy.answer(seen)
        return answer.inventory_days.astype(np.float64) * answer.daily_rate

    return rollout(world, target, policy.ordering_mode)


def _policy(alias: str, version: str, record: Trajectory, observer: Observer, row: np.ndarray) -> LookedBackPolicy:
    panel = observer.panel
    totals = summarise(series_totals(unit_totals(record), panel.items.take(row), panel.period_days))
    columns = zip(record.on_hand[0], record.sales[0], record.lost_sales[0], record.order_quantity[0], strict=True)
    return LookedBackPolicy(
        alias=alias, version=version or None, turnover_days=totals.turnover_days, in_stock_rate=totals.in_stock_rate,
        lost_units=float(record.lost_sales.sum()), holding_cost=totals.holding_cost, stockout_cost=totals.stockout_cost,
        total_cost=totals.total_cost,
        periods=[
            LookedBackPeriod(on_hand=held, sales=sold, lost_units=lost, ordered=ordered)
            for held, sold, lost, ordered in columns
        ],
    )  # fmt: skip


def days_of(told: LookedBack) -> list[date]:
    """The first day of each period."""
    return [told.first + timedelta(days=n * told.period_days) for n in range(len(told.demand))]
