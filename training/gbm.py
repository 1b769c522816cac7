"""What a user would pick instead: a global gradient-boosted quantile regression (LightGBM).

The target is demand over the protection interval in daily rates, the quantile the critical ratio. `plain` sees past
sales only; `strong` sees everything the policy may see: in-stock-corrected history, the weekday profile of the very
days to be covered, promotions and holidays known ahead, the same weeks a year ago, item and category codes.
Its inputs are read from the same observations as the policy's, so it can peek no further.
"""

from __future__ import annotations

from collections.abc import Callable

import lightgbm
import numpy as np

from simulator.baselines import critical_ratio
from simulator.observation import Observation, ObservationSpec, Observer, evidence
from simulator.panel import F32, F64, I64, Panel
from simulator.schedule import review_schedule
from solver.labels import history_window, label_demand

TREES = 500
MOST_ROWS = 120_000
CHUNK = 4096


def plain_features(observation: Observation, spec: ObservationSpec) -> F32:
    """(B, F) sums of past sales relative to the rate, the interval's length and the weekday."""
    return np.column_stack(_plain_columns(observation, spec, _scale(observation, spec))).astype(np.float32)


def strong_features(observation: Observation, spec: ObservationSpec) -> F32:
    """(B, F) the plain features and everything else that may be seen."""
    scale = _scale(observation, spec)
    columns = _plain_columns(observation, spec, scale)
    history, patch, ahead = spec.history, spec.patch, spec.horizon
    promotion, holiday = np.nan_to_num(observation["promotion"]), np.nan_to_num(observation["holiday"])
    school = np.nan_to_num(observation["school_holiday"])
    found = _evidence(observation, spec)
    demand = found.demand / scale[:, None]
    lead = observation["lead_time_days"] / spec.period_days
    interval = lead + observation["review_period_days"] / spec.period_days
    periods = np.arange(1, ahead + 1)
    covered = (periods[None, :] < interval[:, None]).astype(np.float32)
    arriving = covered * (periods[None, :] >= lead[:, None])
    recent = slice(history - 8 * patch, history)
    weights = found.weight[:, recent].reshape(-1, 8, patch)
    profile = ((demand[:, recent].reshape(-1, 8, patch) * weights).sum(axis=1) + 1) / (weights.sum(axis=1) + 1)
    expected = np.tile(profile, (1, ahead // patch))
    for mask in (covered, arriving):
        columns += [(expected * mask).sum(1), (promotion[:, history:] * mask).sum(1)]
        columns += [(holiday[:, history:] * mask).sum(1), (school[:, history:] * mask).sum(1)]
        columns += [(demand[:, :ahead] * mask).sum(1), (holiday[:, :ahead] * mask).sum(1)]
        columns += [(promotion[:, :ahead] * mask).sum(1)]
    columns += [found.seen[:, :ahead].mean(1), found.seen[:, -28 // spec.period_days :].mean(1)]
    columns += [promotion[:, history - 28 // spec.period_days : history].mean(1)]
    columns += [holiday[:, history + j] for j in range(min(10, ahead))]
    columns += [expected[:, j] for j in range(patch)]
    year = 2 * np.pi * (observation["as_of_day"] % 365.2425) / 365.2425
    columns += [np.sin(year), np.cos(year), observation["sales_share"], np.log(scale)]
    columns += [observation["unit_price"], *observation["codes"].T]
    return np.column_stack(columns).astype(np.float32)


def _evidence(observation: Observation, spec: ObservationSpec):  # type: ignore[no-untyped-def]
    past = slice(0, spec.history)
    return evidence(
        observation["units_sold"], observation["in_stock"], observation["promotion"][:, past],
        observation["open"][:, past],
    )  # fmt: skip


def _scale(observation: Observation, spec: ObservationSpec) -> F64:
    """(B,) mean corrected demand a period over the last 28 days, at least a hundredth of the year's."""
    found = _evidence(observation, spec)
    span = 28 // spec.period_days
    recent = found.demand[:, -span:].sum(1) / np.maximum((found.seen[:, -span:] > 0).sum(1), 1)
    year = found.demand.sum(1) / np.maximum((found.seen > 0).sum(1), 1)
    scale: F64 = np.maximum(np.maximum(recent, 0.01 * year), 1e-3).astype(np.float64)
    return scale


def _plain_columns(observation: Observation, spec: ObservationSpec, scale: F64) -> list[F64]:
    sold = np.nan_to_num(observation["units_sold"]).astype(np.float64) / scale[:, None]
    days = spec.period_days
    columns = [sold[:, -k:].mean(1) for k in (1, 7, 14, 28, 56, 91) if k <= sold.shape[1]]
    columns += [sold[:, -28:].std(1)] + [sold[:, -k] for k in range(1, 15)]
    columns += [(observation["lead_time_days"] + observation["review_period_days"]) / days]
    columns += [observation["lead_time_days"] / days, (observation["as_of_day"] + 3) % 7]
    return [np.asarray(column, dtype=np.float64) for column in columns]


Features = Callable[[Observation, ObservationSpec], F32]


def gbm_targets(
    panel: Panel, observer: Observer, end: int, periods: range, features: Features, seed: int,
    progress: Callable[[int, int], None], *, recovered: bool,
) -> F64:  # fmt: skip
    """(N, T) target stocks of a model trained on what was known before `end`.

    Args:
        panel: the dataset.
        observer: its observations.
        end: no training target reaches this period.
        periods: as-of periods to answer.
        features: `plain_features` or `strong_features`.
        seed: of the row sample and the trees.
        progress: called after each of the models, one for each distinct critical ratio.
        recovered: learn demand completed behind stock-outs, else sales as they were: whatever will be replayed.
    """
    rng = np.random.default_rng(seed)
    rows, when, target = _training_rows(panel, end, rng, recovered=recovered)
    inputs, scale = _in_chunks(observer, rows, when, features)
    asked_rows = np.repeat(np.arange(panel.series_count), len(periods))
    asked_when = np.tile(np.arange(periods.start, periods.stop), panel.series_count)
    asked, asked_scale = _in_chunks(observer, asked_rows, asked_when, features)
    level = np.clip(np.round(critical_ratio(panel), 2), 0.01, 0.99)  # one model a level
    answer = np.zeros(len(asked_rows))
    levels = np.unique(level)
    for step, ratio in enumerate(levels):
        settings = {
            "objective": "quantile", "alpha": float(ratio), "learning_rate": 0.05, "num_leaves": 31,
            "min_data_in_leaf": 50, "bagging_fraction": 0.8, "bagging_freq": 1, "feature_fraction": 0.8,
            "seed": seed, "num_threads": 2, "verbose": -1,
        }  # fmt: skip
        model = lightgbm.train(settings, lightgbm.Dataset(inputs, target / scale, weight=scale), TREES)
        mine = level[asked_rows] == ratio
        answer[mine] = model.predict(asked[mine]) * asked_scale[mine]
        progress(step + 1, len(levels))
    table: F64 = np.maximum(answer, 0.0).reshape(panel.series_count, len(periods))
    return table


def _training_rows(panel: Panel, end: int, rng: np.random.Generator, *, recovered: bool) -> tuple[I64, I64, F64]:
    demand, known = label_demand(panel, recovered=recovered, before=end)
    window = history_window(panel, end)
    n = np.repeat(np.arange(panel.series_count), len(window))
    t = np.tile(np.arange(window.start, window.stop), panel.series_count)
    stop = t + review_schedule(panel, window).protection.ravel() + 1
    n, t, stop = n[stop <= end], t[stop <= end], stop[stop <= end]
    total = np.pad(np.cumsum(demand, axis=1), ((0, 0), (1, 0)))
    unknown = np.pad(np.cumsum(~known, axis=1), ((0, 0), (1, 0)))
    clean = np.flatnonzero(unknown[n, stop] == unknown[n, t + 1])
    chosen = rng.permutation(clean)[:MOST_ROWS]
    n, t, stop = n[chosen], t[chosen], stop[chosen]
    return n, t, total[n, stop] - total[n, t + 1]


def _in_chunks(observer: Observer, rows: I64, periods: I64, features: Features) -> tuple[F32, F64]:
    parts, scales = [], []
    for start in range(0, len(rows), CHUNK):
        observation = observer.observe(rows[start : start + CHUNK], periods[start : start + CHUNK])
        parts.append(features(observation, observer.spec))
        scales.append(_scale(observation, observer.spec))
    return np.concatenate(parts), np.concatenate(scales)
