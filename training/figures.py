"""The numbers behind the report's figures: what the ORPR paper asks in its Figures 2 to 5, asked of a backtest.

Figure 2: do decisions differ by segment? Figure 3: do they follow the year, and does the policy follow what would have
been best? Figure 4: is stock built up before a promotion and run down in it? Figure 5: where do the policies stand between
turnover and in-stock rate in each category, beside the OR label and its rivals? Each function gives plain values that
`pictures.py` draws and the report stores beside the picture; nothing here draws.

The policy and the base stock are shown inside the window only, after the policy's training. Epoch labels are hindsight
by definition and are shown wherever demand is known.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.metrics import SeriesTotals, summarise
from simulator.ordering import ORDER_UP_TO, inventory_days_grid
from simulator.panel import F64, I64, Bools
from simulator.schedule import review_schedule
from simulator.sweep import replay as replay_targets
from solver.curves import Epochs
from solver.labels import best_days, cost_curves, epochs_of, history_window
from training.backtest import Backtest
from training.methods import GBM_STRONG, OR_LABEL, Replay, method_names
from training.segments import SEGMENTS

EPOCH_LABEL = "OR epoch label"
MOST_EPOCHS = 200_000  # a sample of this many decisions is enough for a mean
CHUNK = 20_000
AROUND_DAYS = 14
YEAR_WEEKS = 52
MOST_CATEGORIES = 6
STEPS = (0.9, 1.0, 1.1, 1.25)  # limits of the shares in Figure 4, targets over the usual one


def shown_methods(result: Backtest) -> list[str]:
    """The policy, the base stock that it is measured against, and the OR label."""
    return [method for method in (result.policy, result.best_pto, OR_LABEL) if method]


def implied_days(result: Backtest, method: str) -> F64:
    """(N, T) inventory days that a method's targets amount to; NaN where no review is due or nothing sells."""
    rate = result.replay.rates.daily_rate[:, result.replay.window]
    decided = result.replay.world.review_due & (rate > 0)
    return np.where(decided, result.targets[method] / np.where(decided, rate, 1.0), np.nan)


def days_by_segment(result: Backtest) -> dict[str, Any]:
    """Figure 2: the distribution of chosen inventory days in each segment.

    `days` are as chosen; `beyond` are days beyond the protection interval, which lead time and review period decide.
    """
    panel = result.replay.panel
    interval = review_schedule(panel, result.replay.periods).protection * panel.period_days
    segments: list[dict[str, Any]] = []
    days = {method: implied_days(result, method) for method in shown_methods(result)}
    for name in SEGMENTS:
        rows = np.flatnonzero(result.segments.name == name)
        if len(rows):
            found = {
                method: {"days": _spread(v[rows]), "beyond": _spread(v[rows] - interval[rows])}
                for method, v in days.items()
            }
            segments.append({"segment": name, "series": len(rows), "methods": found})
    return {"figure": "days by segment", "methods": list(days), "segments": segments}


def _spread(values: F64) -> dict[str, float] | None:
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    points = np.quantile(known, [0.1, 0.25, 0.5, 0.75, 0.9])
    return {"p10": points[0], "p25": points[1], "p50": points[2], "p75": points[3], "p90": points[4],
            "mean": known.mean(), "decisions": len(known)}  # fmt: skip


def epoch_days(replay: Replay, seed: int) -> tuple[I64, I64, F64]:
    """Series, period and best days of every single order whose outcome is known.

    The days are those at which this one order would have been cheapest after what the incumbent's replay had sold by its
    arrival, its position free to choose. The last orders are left out for every series as soon as one series' outcome lies beyond the history: the mix stays the same.
    """
    stop = replay.panel.last_recorded + 1
    history = history_window(replay.panel, stop)
    epochs = epochs_of(replay.panel, replay.rates, history, recovered=replay.demand == "recovered")
    last = stop - 1 - int(review_schedule(replay.panel, history).protection.max())
    epochs = _chosen(epochs, np.flatnonzero(epochs.period < last))
    if len(epochs.series) > MOST_EPOCHS:
        epochs = _chosen(epochs, np.sort(np.random.default_rng(seed).permutation(len(epochs.series))[:MOST_EPOCHS]))
    position = epochs.inventory_position
    free = epochs._replace(
        inventory_position=np.zeros_like(position), stock_before_arrival=epochs.stock_before_arrival - position
    )
    grid, found = inventory_days_grid(), [np.empty(0)]
    for at in range(0, len(position), CHUNK):
        part = _chosen(free, np.arange(at, min(at + CHUNK, len(position))))
        found.append(best_days(cost_curves(replay.panel, part, grid), grid))
    return epochs.series, epochs.period, np.concatenate(found)


def _chosen(epochs: Epochs, rows: I64) -> Epochs:
    return epochs._replace(**{name: column[rows] for name, column in epochs._asdict().items()})


# ------------------------------------------------------------------------------------------------- Figure 3: the year


def cycles_over_the_year(result: Backtest, epochs: tuple[I64, I64, F64]) -> dict[str, Any]:
    """Figure 3: mean inventory days and demand by week, the years laid over each other.

    Weeks count back from the window's end; 52 of them are one line, so that weekdays and most holidays fall together.
    """
    replay = result.replay
    panel, stop = replay.panel, replay.periods.stop
    width = max(7 // panel.period_days, 1)
    years = -(-stop // (width * YEAR_WEEKS))
    span = years * YEAR_WEEKS
    first = stop - span * width
    table = {EPOCH_LABEL: _by_week(epochs[2], epochs[1], first, width, span)}
    for method in (result.policy, result.best_pto):
        if method:
            days = implied_days(result, method)
            t = np.broadcast_to(np.arange(replay.periods.start, stop), days.shape)
            known = np.isfinite(days)
            table[method] = _by_week(days[known], t[known], first, width, span)
    demand = _demand_index(replay, first, width, span)
    lines = []
    for year in reversed(range(years)):
        part = slice(span - (year + 1) * YEAR_WEEKS, span - year * YEAR_WEEKS)
        begins, ends = first + part.start * width, first + part.stop * width - 1
        lines.append(
            {"first": panel.date_of(begins).isoformat(), "last": panel.date_of(ends).isoformat(),
             "demand_index": _plain(demand[part]), "days": {m: _plain(v[part]) for m, v in table.items()}}
        )  # fmt: skip
    return {
        "figure": "cycles over the year",
        "window_first": panel.date_of(replay.periods.start).isoformat(),
        "window_weeks": len(replay.periods) / width,
        "epoch_labels": len(epochs[2]),
        "years": lines,
    }


def _by_week(days: F64, period: I64, first: int, width: int, weeks: int) -> F64:
    """(weeks,) mean of decisions by week, NaN where there is none."""
    week = (period - first) // width
    total, count = np.bincount(week, days, weeks), np.bincount(week, minlength=weeks)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _demand_index(replay: Replay, first: int, width: int, weeks: int) -> F64:
    """(weeks,) mean over series of weekly sales against the series' own mean; every series counts the same."""
    panel = replay.panel
    sold = np.full((panel.series_count, weeks * width), np.nan)
    begin = max(first, 0)
    sold[:, begin - first :] = panel.units_sold[:, begin : first + weeks * width]
    weekly = sold.reshape(panel.series_count, weeks, width)
    known = np.isfinite(weekly).all(axis=2)
    total = np.where(known, np.nan_to_num(weekly).sum(axis=2), 0.0)
    mean = total.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    counted = known & (mean > 0)
    index = np.where(counted, total / np.where(mean > 0, mean, 1.0), 0.0).sum(axis=0)
    return np.where(counted.any(axis=0), index / np.maximum(counted.sum(axis=0), 1), np.nan)


# ------------------------------------------------------------------------------------------------ Figure 4: promotions


def around_promotions(result: Backtest, epochs: tuple[I64, I64, F64]) -> dict[str, Any] | None:
    """Figure 4: demand, targets and stock from 14 days before a promotion's start to 14 after, in days of usual demand.

    Where the window is short, a quarter of it takes the place of the 14 days. Usual demand is the daily rate known before the first of these days. A target counts until the next review.

    Returns:
        None where no promotion begins inside the window with so many decided days on both sides.
    """
    replay = result.replay
    panel = replay.panel
    around = min(AROUND_DAYS // panel.period_days, len(replay.periods) // 4)
    n, t = _promotion_starts(replay, around)
    if not len(n):
        return None
    offsets = np.arange(-around, around + 1)
    usual = replay.rates.daily_rate[n, replay.periods.start + t - around - 1]
    n, t, usual = n[usual > 0], t[usual > 0], usual[usual > 0]
    at = (n[:, None], t[:, None] + offsets[None, :])

    def relative(values: F64) -> F64:
        return np.asarray(values[at] / usual[:, None])

    methods = shown_methods(result)
    in_force = {m: relative(_in_force(result.targets[m], replay.world.review_due)) for m in methods}
    labels = np.full(replay.world.demand.shape, np.nan)
    inside = epochs[1] >= replay.periods.start
    row, column = epochs[0][inside], epochs[1][inside] - replay.periods.start
    labels[row, column] = epochs[2][inside] * replay.rates.daily_rate[row, epochs[1][inside]]
    label_in_force = _in_force(labels, np.isfinite(labels))
    label_in_force[:, int(column.max(initial=-1)) + 1 :] = np.nan  # from there on the outcome is not known
    in_force[EPOCH_LABEL] = relative(label_in_force)
    stock = {m: relative(replay_targets(replay.world, result.targets[m], ORDER_UP_TO).on_hand) for m in methods}
    promoted = np.nan_to_num(panel.promotion[:, replay.window])[at]
    return {
        "figure": "build-up and taper around promotions",
        "events": len(n),
        "series": len(np.unique(n)),
        "days": (offsets * panel.period_days).tolist(),
        "promoted_share": _plain(promoted.mean(axis=0)),
        "demand": _plain(_mean(replay.world.demand[at] / panel.period_days / usual[:, None])),
        "target_days": {m: _plain(_mean(v)) for m, v in in_force.items()},
        "stock_days": {m: _plain(_mean(v)) for m, v in stock.items()},
        "share_steps": list(STEPS),
        "target_shares": _shares(in_force[methods[0]]),
        "shares_of": methods[0],
    }


def _promotion_starts(replay: Replay, around: int) -> tuple[I64, I64]:
    """Series and window period of every start with `around` periods and a whole review cycle before it."""
    promotion = np.nan_to_num(replay.panel.promotion) > 0
    begins = promotion & ~np.pad(promotion, ((0, 0), (1, 0)))[:, :-1]
    n, t = np.nonzero(begins[:, replay.window])
    before = around + replay.panel.review_periods[n]
    keep = (t >= before) & (t + around < len(replay.periods))
    return n[keep], t[keep]


def _in_force(targets: F64, decided: Bools) -> F64:
    """(N, T) the latest decided target at each period, NaN before the first."""
    periods = targets.shape[1]
    latest = np.maximum.accumulate(np.where(decided, np.arange(periods)[None, :], -1), axis=1)
    taken = np.take_along_axis(targets, np.maximum(latest, 0), axis=1)
    return np.where(latest >= 0, taken, np.nan)


def _shares(targets: F64) -> list[list[float]]:
    """Share of events by how far their target stands from its own mean over all shown days; (steps + 1, days)."""
    against = targets / np.nanmean(targets, axis=1, keepdims=True)
    step = np.searchsorted(np.array(STEPS), against)
    return [_plain((step == k).mean(axis=0)) for k in range(len(STEPS) + 1)]


def _mean(values: F64) -> F64:
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def _plain(values: F64) -> list[Any]:
    """JSON numbers of four digits behind the comma; null where there is none."""
    return [round(float(v), 4) if np.isfinite(v) else None for v in values]


# -------------------------------------------------------------------------------------------- Figure 5: by category


def trade_off_by_category(result: Backtest) -> dict[str, Any]:
    """Figure 5: turnover days, in-stock rate and cost of the policies, the OR label and the rivals in each category.

    Parent categories where the dataset has several, else categories; the dearest to the best base stock come first.
    """
    items = result.replay.panel.items
    group = items.parent_category if len(set(items.parent_category)) > 1 else items.category
    taken = set(method_names(result.replay.panel.period_days))
    policies = [name for name in result.totals if name not in taken and not name.startswith("PTO")]
    methods = [*policies, OR_LABEL, GBM_STRONG, result.best_pto]
    cost = result.totals[result.best_pto].total_cost
    worth = {name: float(cost[group == name].sum()) for name in dict.fromkeys(group)}
    categories = []
    for name in sorted(worth, key=lambda name: -worth[name])[:MOST_CATEGORIES]:
        rows = np.flatnonzero(group == name)
        found = {m: summarise(SeriesTotals(*(column[rows] for column in result.totals[m]))) for m in methods}
        points = {
            m: {"turnover_days": x.turnover_days, "in_stock_rate": x.in_stock_rate, "total_cost": x.total_cost}
            for m, x in found.items()
        }
        categories.append({"category": str(name), "series": len(rows), "methods": points})
    return {"figure": "trade-off by category", "methods": methods, "categories": categories, "of": len(worth)}
