"""The turnover that labels are calibrated to: the real inventory's where it is known, else the incumbent's.

Source: ORPR paper, section 3.3.3; the incumbent stands in where a dataset has no inventory file.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from simulator.baselines import incumbent
from simulator.ordering import ORDER_UP_TO
from simulator.panel import F64, Bools, Panel
from simulator.rollout import World
from simulator.sweep import replay
from solver.calibration import real_turnover

REAL, REPLAYED = "real inventory", "replayed incumbent"


class Turnover:
    """What stood on the shelves of a window, from which the turnover of any of its series follows."""

    def __init__(self, panel: Panel, periods: range, world: World, inventory: F64 | None) -> None:
        """Take what really stood there, or replay the incumbent where that is unknown for all series.

        Args:
            panel: the dataset.
            periods: the window.
            world: its demand and rules.
            inventory: (N, T) units at the ends of the panel's periods, NaN where unknown; None where nothing is known.
        """
        self._panel, self._demand = panel, world.demand
        stood = None if inventory is None else inventory[:, periods.start : periods.stop]
        real = None if stood is None else real_turnover(stood, world.demand, panel.period_days)
        self.source = REPLAYED if real is None else REAL
        self._on_hand = replay(world, incumbent(panel, periods), ORDER_UP_TO).on_hand if real is None else stood

    def days(self, rows: Bools | None = None) -> float:
        """Turnover of some series, or of all; 0 where nothing is known of them or nothing was wanted."""
        chosen = slice(None) if rows is None else rows
        assert self._on_hand is not None
        return real_turnover(self._on_hand[chosen], self._demand[chosen], self._panel.period_days) or 0.0

    def by_category(self) -> dict[str, float]:
        """Turnover of each category."""
        category = self._panel.items.category
        names: Iterable[str] = sorted(set(category))
        return {name: self.days(np.asarray(category == name)) for name in names}
