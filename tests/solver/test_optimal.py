"""The oracles against the literature's table, the enumeration of every policy, and the simulator on the same clock."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.ordering import OrderRules
from simulator.panel import F64, I64
from simulator.rollout import World, follow, rollout
from simulator.step import State, advance, place_order
from solver.optimal import (
    CostBounds,
    LostSales,
    StockPolicy,
    best_base_stock,
    best_capped_base_stock,
    limits,
    optimal_cost,
    poisson_pmf,
    policy_cost,
)
from tests.benchmarks.classical import PRINTED, problem_of

GAP = 1e-6
CELLS = sorted(PRINTED)
# The exact cost of this cell is 5.54747, as the linear system below says too; the table has it as 5.548.
MISPRINTED = {(9, 1): 5.547}


@cache
def solved(p: int, textbook_lead: int) -> tuple[CostBounds, StockPolicy, StockPolicy]:
    problem = problem_of(p, textbook_lead)
    return optimal_cost(problem), best_base_stock(problem), best_capped_base_stock(problem)


@pytest.mark.parametrize(("p", "textbook_lead"), CELLS)
def test_every_cell_of_the_table_comes_out_to_its_last_digit(p: int, textbook_lead: int) -> None:
    printed = PRINTED[p, textbook_lead]
    optimum, base, capped = solved(p, textbook_lead)
    assert base.target_stock == printed.base_stock.target_stock
    assert (capped.target_stock, capped.max_order_qty) == (printed.capped.target_stock, printed.capped.max_order_qty)
    base_cost = MISPRINTED.get((p, textbook_lead), printed.base_stock.cost)
    for bounds, cost in (
        (optimum, printed.optimum),
        (base.bounds, base_cost),
        (capped.bounds, printed.capped.cost),
    ):
        assert bounds.upper - bounds.lower <= GAP
        assert round(bounds.lower, 3) == round(bounds.upper, 3) == cost


@pytest.mark.parametrize(("p", "textbook_lead"), CELLS)
def test_more_freedom_never_costs_more(p: int, textbook_lead: int) -> None:
    optimum, base, capped = solved(p, textbook_lead)
    assert optimum.upper < capped.bounds.lower
    assert capped.bounds.upper < base.bounds.lower


@pytest.mark.parametrize(("p", "textbook_lead"), CELLS)
def test_a_wider_box_holds_no_better_policy(p: int, textbook_lead: int) -> None:
    wider = optimal_cost(problem_of(p, textbook_lead), margin=3)
    assert wider.cost == pytest.approx(solved(p, textbook_lead)[0].cost, abs=GAP)


def test_one_printed_cost_is_half_a_thousandth_high() -> None:
    """Textbook lead time 1, target 13: of x available units x - D are left, and the order of 13 - x joins them."""
    problem, target = problem_of(9, 1), 13
    pmf = np.array(problem.demand_pmf)
    chances, cost = np.zeros((target + 1, target + 1)), np.zeros(target + 1)
    for available in range(target + 1):
        for demand, chance in enumerate(pmf):
            left = max(available - demand, 0)
            chances[available, left + target - available] += chance
            cost[available] += chance * (left + 9 * max(demand - available, 0))
    balance = np.vstack([chances.T - np.eye(target + 1), np.ones(target + 1)])
    stationary = np.linalg.lstsq(balance, np.append(np.zeros(target + 1), 1), rcond=None)[0]
    assert stationary @ cost == pytest.approx(5.5474715, abs=1e-7)
    bounds = policy_cost(problem, target, gap=1e-9)
    assert bounds.lower - 1e-9 <= stationary @ cost <= bounds.upper + 1e-9


def all_states(problem: LostSales, position: int) -> list[tuple[int, ...]]:
    """(available, later orders ...) with at most `position` units in sight."""
    return [
        state for state in itertools.product(range(position + 1), repeat=problem.lead_time - 1)
        if sum(state) <= position
    ]  # fmt: skip


def one_period(problem: LostSales, states: list[tuple[int, ...]], order: I64) -> tuple[F64, F64]:
    """Chances (N, N) of the next state and expected cost (N,), stepped by the simulator itself."""
    where = {state: n for n, state in enumerate(states)}
    count = len(states)
    chances, cost = np.zeros((count, count)), np.zeros(count)
    pipeline = np.hstack([np.array(states, dtype=float), np.zeros((count, 1))])
    lead = np.full(count, problem.lead_time)
    for demand, chance in enumerate(problem.demand_pmf):
        ordered = place_order(State(np.zeros(count), pipeline), order.astype(float), lead)
        after, outcome = advance(ordered, np.full(count, float(demand)))
        reached = after.pipeline[:, :-1].copy()
        reached[:, 0] += after.on_hand
        chances[np.arange(count), [where[tuple(row)] for row in reached.astype(int).tolist()]] += chance
        cost += chance * (problem.holding_cost * outcome.on_hand + problem.lost_sale_cost * outcome.lost_sales)
    return chances, cost


def long_run(chances: F64, cost: F64) -> F64:
    """Average cost from the empty state, (...,) for chains (..., N, N): the limit of a chain made lazy."""
    limit = (chances + np.eye(chances.shape[-1])) / 2
    for _ in range(40):
        limit = limit @ limit
        limit /= limit.sum(axis=-1, keepdims=True)
    return np.einsum("...n,...n->...", limit[..., 0, :], cost)


def random_problem(seed: int) -> LostSales:
    rng = np.random.default_rng(seed)
    pmf = rng.dirichlet(np.ones(rng.integers(2, 5)))
    return LostSales(
        holding_cost=float(rng.uniform(0.2, 3)), lost_sale_cost=float(rng.uniform(1, 9)),
        lead_time=int(rng.integers(2, 5)), demand_pmf=tuple(pmf.tolist()),
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), target=st.integers(0, 6), most=st.integers(0, 6))
def test_a_policys_cost_is_that_of_the_simulators_own_chain(seed: int, target: int, most: int) -> None:
    problem = random_problem(seed)
    states = all_states(problem, target)
    order = np.minimum(target - np.array(states).sum(axis=1), most)
    exact = float(long_run(*one_period(problem, states, order)))
    bounds = policy_cost(problem, target, most)
    assert bounds.lower - 1e-9 <= exact <= bounds.upper + 1e-9


@pytest.mark.parametrize(
    ("lead_time", "pmf", "lost_sale_cost", "position"),
    [(2, (0.3, 0.4, 0.2, 0.1), 4.0, 5), (3, (0.6, 0.3, 0.1), 3.0, 3), (4, (0.7, 0.3), 2.0, 2)],
)
def test_value_iteration_finds_what_trying_every_policy_finds(
    lead_time: int, pmf: tuple[float, ...], lost_sale_cost: float, position: int
) -> None:
    """Every order in every state with up to `position` units, which is at least the box of the value iteration."""
    problem = LostSales(1.0, lost_sale_cost, lead_time, pmf)
    assert limits(problem).position <= position
    states = all_states(problem, position)
    room = position - np.array(states).sum(axis=1)
    moves = [one_period(problem, states, np.minimum(room, order)) for order in range(position + 1)]
    rows = np.arange(len(states))
    policies = np.array(list(itertools.product(*(range(most + 1) for most in room))))
    chances = np.array([move[0] for move in moves])[policies, rows]
    cost = np.array([move[1] for move in moves])[policies, rows]
    best = float(long_run(chances, cost).min())
    bounds = optimal_cost(problem)
    assert len(policies) >= 24
    assert bounds.lower - 1e-9 <= best <= bounds.upper + 1e-9


@pytest.mark.parametrize(("p", "textbook_lead", "capped"), [(4, 2, False), (9, 3, True)])
def test_the_simulator_pays_the_exact_cost_and_no_other_clocks(p: int, textbook_lead: int, capped: bool) -> None:
    """Lead time L + 1 here is the textbook's L: 300 paths of Poisson demand, five standard errors."""
    problem = problem_of(p, textbook_lead)
    policy = solved(p, textbook_lead)[2 if capped else 1]
    count, periods, warm_up = 300, 1_100, 100
    none, most = np.zeros(count), np.full(count, np.inf)
    world = World(
        demand=np.random.default_rng(7).poisson(5, (count, periods)).astype(float),
        review_due=np.ones((count, periods), dtype=bool),
        lead_time=np.full(count, textbook_lead + 1),
        rules=OrderRules(none, none, np.full(count, float(policy.max_order_qty)), none, most),
        initial=State(none + policy.target_stock, np.zeros((count, textbook_lead + 1))),
    )
    path = rollout(world, follow(np.full((count, periods), float(policy.target_stock))))
    paid = (problem.holding_cost * path.on_hand + p * path.lost_sales)[:, warm_up:].mean(axis=1)
    error = paid.std(ddof=1) / np.sqrt(count)
    assert abs(paid.mean() - policy.bounds.cost) < 5 * error
    for other in (textbook_lead - 1, textbook_lead + 1):
        wrong = policy_cost(problem_of(p, other), policy.target_stock, policy.max_order_qty)
        assert abs(paid.mean() - wrong.cost) > 20 * error


def test_a_chain_that_goes_round_in_a_circle_has_its_average_too() -> None:
    """Five units go round in three periods of demand 2, so one unit in every three periods is lost."""
    problem = LostSales(1.0, 4.0, 3, (0.0, 0.0, 1.0))
    assert policy_cost(problem, 5).cost == pytest.approx(4 / 3, abs=GAP)
    assert optimal_cost(problem).upper <= GAP


def test_poisson_chances_have_their_mean() -> None:
    pmf = poisson_pmf(5.0)
    assert pmf[0] == pytest.approx(np.exp(-5))
    assert LostSales(1.0, 4.0, 2, pmf).mean_demand == pytest.approx(5.0, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"holding_cost": 0.0}, "holding_cost must be positive and finite, got 0.0"),
        ({"lost_sale_cost": float("nan")}, "lost_sale_cost must be positive and finite, got nan"),
        ({"lead_time": 1}, "lead_time must be at least 2 .*, got 1"),
        ({"demand_pmf": (0.5, 0.4)}, "demand_pmf must be chances >= 0 that sum to 1, got a sum of 0.9"),
        ({"demand_pmf": (1.5, -0.5)}, "demand_pmf must be chances >= 0"),
    ],
)
def test_a_problem_that_is_none_is_refused(change: dict[str, object], said: str) -> None:
    asked = {"holding_cost": 1.0, "lost_sale_cost": 4.0, "lead_time": 2, "demand_pmf": (0.5, 0.5)} | change
    with pytest.raises(ValueError, match=said):
        LostSales(**asked)  # type: ignore[arg-type]


def test_requests_beyond_reach_say_so() -> None:
    problem = LostSales(1.0, 4.0, 3, (0.5, 0.5))
    with pytest.raises(ValueError, match="target_stock must be at least 0, got -1"):
        policy_cost(problem, -1)
    with pytest.raises(ValueError, match="max_order_qty must be at least 0, got -2"):
        policy_cost(problem, 3, -2)
    with pytest.raises(ValueError, match="gap must be positive, got 0"):
        optimal_cost(problem, gap=0)
    with pytest.raises(ValueError, match="mean must be positive and finite, got 0"):
        poisson_pmf(0)
    with pytest.raises(ValueError, match=r"lead_time 9 with .* units needs .* values, limit"):
        optimal_cost(LostSales(1.0, 4.0, 9, poisson_pmf(5.0)))
    with pytest.raises(ValueError, match=r"gap 1e-30 not reached in .* iterations, bounds"):
        optimal_cost(problem_of(4, 1), gap=1e-30)  # finer than floating point
