"""Which turnover labels are calibrated to."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.baselines import incumbent
from simulator.ordering import rules_of
from simulator.rollout import follow, replay_world, rollout
from solver.turnover import REAL, REPLAYED, Turnover
from tests.panels import random_panel

PANEL = random_panel(np.random.default_rng(7), 6, 100)
WINDOW = range(40, 90)
WORLD = replay_world(PANEL, WINDOW, rules_of(PANEL))


def test_the_real_inventory_counts_where_it_is_known() -> None:
    stood = np.full((6, 100), np.nan)
    stood[:3, 50:60] = 12.0
    found = Turnover(PANEL, WINDOW, WORLD, stood)
    assert found.source == REAL
    demand = WORLD.demand[:3, 10:20]
    assert found.days() == pytest.approx(12.0 * demand.size / demand.sum())
    assert found.days(np.arange(6) >= 3) == 0  # nothing is known of them


@pytest.mark.parametrize("inventory", [None, np.full((6, 100), np.nan)])
def test_the_incumbent_stands_in_where_no_inventory_is_known(inventory: np.ndarray | None) -> None:
    found = Turnover(PANEL, WINDOW, WORLD, inventory)
    on_hand = rollout(WORLD, follow(incumbent(PANEL, WINDOW))).on_hand
    assert found.source == REPLAYED
    assert found.days() == pytest.approx(on_hand.sum() / WORLD.demand.sum())
    by_category = found.by_category()
    assert set(by_category) == set(PANEL.items.category)
    for name, days in by_category.items():
        rows = PANEL.items.category == name
        assert days == pytest.approx(on_hand[rows].sum() / WORLD.demand[rows].sum())
