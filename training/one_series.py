"""Figure 6 of the ORPR paper: stock, sales and demand of one series under several models, a series that is like the rest.

Of the tenth that lost most money under the first model, it is the one whose last model takes off the share of lost sales that
it takes off all series together: neither its best case nor its worst. Nothing here draws; `pictures.draw_trajectories` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from simulator.metrics import LEAST_LOST
from simulator.ordering import ORDER_UP_TO
from simulator.panel import F64, Bools, Panel
from simulator.rollout import Trajectory
from simulator.sweep import replay as replay_targets
from training.backtest import Backtest
from training.promotion_windows import promoted_periods

DRAWN = 56  # periods
MOST_MODELS = 3


def one_series(panel: Panel, periods: range, records: dict[str, Trajectory], promoted: Bools) -> dict[str, Any]:
    """A typical series in the periods in which the first model lost most.

    Args:
        panel: N series.
        periods: the T periods that were replayed.
        records: (N, T) each, by model.
        promoted: (N, T); where any is, only lost sales of promoted periods count.

    Returns:
        JSON values: `series`, `first` day, `period_days`, `promoted`, and by model `on_hand`, `sales`, `lost_sales`.
    """
    first, last = next(iter(records)), next(reversed(records))
    counted = promoted if promoted.any() else np.ones_like(promoted)
    lost = {name: (records[name].lost_sales * counted).sum(axis=1) for name in (first, last)}
    # Of a series that is promoted throughout one sees no difference.
    money = lost[first] * panel.items.lost_sale_cost * ~promoted.all(axis=1)
    row = _typical(money, lost[first], lost[last])
    width = min(DRAWN, len(periods))
    begin = int(np.convolve(records[first].lost_sales[row] * counted[row], np.ones(width), mode="valid").argmax())
    shown = slice(begin, begin + width)
    models = {
        name: {part: getattr(record, part)[row, shown].tolist() for part in ("on_hand", "sales", "lost_sales")}
        for name, record in records.items()
    }
    return {
        "figure": "one series", "series": panel.names[row], "first": panel.date_of(periods.start + begin).isoformat(),
        "period_days": panel.period_days, "promoted": promoted[row, shown].tolist(), "policies": models,
    }  # fmt: skip


def _typical(money: F64, before: F64, after: F64) -> int:
    """The row among those that lost most money whose loss falls as the sum of all falls."""
    losing = np.flatnonzero(money > 0) if (money > 0).any() else np.arange(len(money))
    most = losing[money[losing] >= np.quantile(money[losing], 0.9)]
    floor = np.maximum(before, LEAST_LOST)
    return int(most[np.abs(after[most] / floor[most] - after.sum() / floor.sum()).argmin()])


def of_backtest(result: Backtest, rows: Sequence[str]) -> dict[str, Any]:
    """The first three of some of its policies' rows; one alone stands beside the best base stock."""
    rows = list(dict.fromkeys(rows))[:MOST_MODELS]
    names = rows if len(rows) > 1 else [result.best_pto, *rows]
    replay, window = result.replay, result.replay.window
    records = {name: replay_targets(replay.world, result.targets[name], ORDER_UP_TO) for name in names}
    return one_series(replay.panel, replay.periods, records, promoted_periods(replay.panel)[:, window])
