"""The price of a rule, by hand and against the sweep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.ordering import inventory_days_grid, rules_of
from simulator.panel import Panel
from simulator.rates import panel_rates
from simulator.rollout import follow, opening_stock, replay_world, rollout
from solver.rule_prices import RELAXATIONS, price_of_a_rule
from tests.panels import make_panel

WINDOW = range(60, 130)
GRID = inventory_days_grid()[:80]


def panel_with(**items: object) -> Panel:
    """Six series of uneven demand."""
    rng = np.random.default_rng(3)
    columns = {"lead_time_days": 3, "review_period_days": 2, "holding_cost_per_day": 0.2, "lost_sale_cost": 5.0}
    return make_panel(rng.poisson(4.0, (6, 130)), quantity="discrete", items={**columns, **items})


def cost_by_replay(panel: Panel, initial: np.ndarray) -> np.ndarray:
    """(N,) the cheapest constant days, each candidate replayed step by step."""
    rates = panel_rates(panel).daily_rate[:, WINDOW.start : WINDOW.stop]
    world = replay_world(panel, WINDOW, rules_of(panel), initial)
    costs = []
    for days in GRID:
        record = rollout(world, follow(days * rates))
        costs.append(0.2 * record.on_hand.sum(axis=1) + 5.0 * record.lost_sales.sum(axis=1))
    return np.min(costs, axis=0)


@pytest.mark.parametrize(
    ("rule", "column", "strict", "relaxed"),
    [
        ("order_multiple", "order_multiple", 12.0, 0.0),
        ("min_order_qty", "min_order_qty", 20.0, 0.0),
        ("max_order_qty", "max_order_qty", 6.0, np.nan),
        ("order_day", "review_period_days", 2, 1),
        ("order_day", "order_weekdays", "12346", "1234567"),
        ("lead_time_days", "lead_time_days", 3, 2),
    ],
)
def test_the_price_is_the_difference_of_two_cheapest_replays_a_year(
    rule: str, column: str, strict: object, relaxed: object
) -> None:
    panel = panel_with(**{column: strict}, **({"review_period_days": 1} if column == "order_weekdays" else {}))
    initial = opening_stock(panel, WINDOW.start)
    before = cost_by_replay(panel, initial)
    kinds = [relaxed] if column != "order_weekdays" else ["123456", "123467"]
    after = []
    for kind in kinds:
        values = np.full(6, kind, dtype=getattr(panel.items, column).dtype)  # reviewed daily, so only weekdays count
        after.append(cost_by_replay(replace(panel, items=replace(panel.items, **{column: values})), initial))
    price = price_of_a_rule(panel, panel_rates(panel), WINDOW, GRID, rule)
    np.testing.assert_allclose(price, (before - np.min(after, axis=0)) * 365 / 70, rtol=1e-4, atol=1e-3)


def test_a_weekday_more_is_an_order_more_a_week() -> None:
    panel = panel_with(order_weekdays="1", review_period_days=7)
    weekly = price_of_a_rule(panel, panel_rates(panel), WINDOW, GRID, "order_day")
    assert (weekly > 50).all()  # a smaller stock for half a week instead of a whole one


def test_rules_cost_money_and_a_series_without_one_has_no_price() -> None:
    panel = panel_with(order_multiple=[24, 24, 24, 0, 1, 0], min_order_qty=[0, 0, 0, 40, 0, 0])
    rates = panel_rates(panel)
    packs = price_of_a_rule(panel, rates, WINDOW, GRID, "order_multiple")
    assert np.isnan(packs).tolist() == [False] * 3 + [True] * 3  # a multiple of 1 is whole units
    assert (packs[:3] > 0).all()
    least = price_of_a_rule(panel, rates, WINDOW, GRID, "min_order_qty")
    assert np.isfinite(least).tolist() == [n == 3 for n in range(6)]
    assert least[3] > 0
    assert np.isnan(price_of_a_rule(panel, rates, WINDOW, GRID, "max_order_qty")).all()


def test_the_price_of_one_series_does_not_depend_on_the_others() -> None:
    panel = panel_with(order_multiple=[24, 6, 12, 0, 1, 0])
    rates = panel_rates(panel)
    together = price_of_a_rule(panel, rates, WINDOW, GRID, "order_multiple")
    alone = price_of_a_rule(
        panel.take(np.array([1])), type(rates)(*(c[[1]] for c in rates)), WINDOW, GRID, "order_multiple"
    )
    assert alone[0] == pytest.approx(together[1])


def test_an_unknown_rule_is_refused_with_those_there_are() -> None:
    panel = panel_with()
    with pytest.raises(ValueError, match=f"rule must be one of {', '.join(RELAXATIONS)}, got 'pack'"):
        price_of_a_rule(panel, panel_rates(panel), WINDOW, GRID, "pack")
