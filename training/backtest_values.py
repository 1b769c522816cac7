"""A backtest's result as plain values, for files and reports: the table, comparisons, segments, and the series that lose."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.metrics import SeriesTotals, summarise
from training.backtest import Backtest, cost_ratio
from training.methods import GBM_STRONG, HINDSIGHT, OR_LABEL
from training.segments import SEGMENTS, cuts_in_words

SCHEMA = "orpr-backtest-2"
MOST_LOSSES = 10


def as_json(result: Backtest) -> dict[str, Any]:
    """The result as plain values: the table, the runs, the comparisons, the segments, and the series that lose."""
    panel, windows = result.replay.panel, result.windows
    table = [
        {"method": row.method, "hindsight": row.method in HINDSIGHT, **row.metrics._asdict(),
         "against_or": row.against_or, "against_best_pto": row.against_pto, "against_gbm_strong": row.against_gbm}
        for row in result.rows
    ]  # fmt: skip
    return {
        "schema": SCHEMA,
        "dataset": panel.name,
        "source": panel.source,
        "currency": panel.currency,
        "first": panel.date_of(windows[0].start).isoformat(),
        "last": panel.date_of(windows[-1].stop - 1).isoformat(),
        "windows": len(windows),
        "period_days": panel.period_days,
        "series": panel.series_count,
        "replayed": result.replay.demand,
        "seed": result.seed,
        "best_pto": result.best_pto,
        "policy": result.policy,
        "table": table,
        "comparisons": _comparisons(result),
        "losses": [_losses(result, reference) for reference in (result.best_pto, GBM_STRONG) if result.policy],
        "segments": _segments(result),
        "runs": {run: {"row": row, "against_best_pto": ratio} for run, (row, ratio) in result.runs.items()},
    }


def _comparisons(result: Backtest) -> list[dict[str, Any]]:
    """The policy against every other row that could be had in advance, the cheapest rival first."""
    if not result.policy:
        return []
    rivals = [row.method for row in result.rows if row.method not in (*HINDSIGHT, result.policy)]
    return [{"against": r, "ratio": cost_ratio(result.totals, result.policy, r, result.seed)} for r in rivals]


def _losses(result: Backtest, reference: str) -> dict[str, Any]:
    """The series on which the policy costs more than a rival, worst first."""
    cost, other = result.totals[result.policy].total_cost, result.totals[reference].total_cost
    excess, names = cost - other, result.replay.panel.names
    losing = excess > 0
    return {
        "against": reference,
        "series_that_lose": int(losing.sum()),
        "cost_above": float(excess[losing].sum()),
        "worst": [
            {
                "series": names[n], "segment": result.segments.name[n], "policy_cost": float(cost[n]),
                "rival_cost": float(other[n]), "cost_above": float(excess[n]),
            }
            for n in np.argsort(-excess)[:MOST_LOSSES] if excess[n] > 0
        ],
    }  # fmt: skip


def _segments(result: Backtest) -> dict[str, Any]:
    """The metrics of the policy, the best PTO and the OR label in each ABC-XYZ segment that has series."""
    names, value = result.segments.name, result.segments.value
    methods = [m for m in (result.policy, result.best_pto, OR_LABEL) if m]
    table = []
    for segment in SEGMENTS:
        rows = np.flatnonzero(names == segment)
        if not len(rows):
            continue
        totals = {m: SeriesTotals(*(column[rows] for column in result.totals[m])) for m in methods}
        metrics = {m: summarise(totals[m])._asdict() for m in methods}
        against = cost_ratio(totals, result.policy, result.best_pto, result.seed) if result.policy else None
        share = float(value[rows].sum() / max(value.sum(), 1e-12))
        table.append(
            {"segment": segment, "series": len(rows), "value_share": share, "methods": metrics,
             "policy_against_best_pto": against}
        )  # fmt: skip
    return {"cuts": cuts_in_words(), "table": table}
