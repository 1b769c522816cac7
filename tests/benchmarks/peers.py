"""Libraries that others published, on the replay of `replays`; each takes part where it is installed.

How each one's own clock and rules are brought to the same replay stands beside it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO

import numpy as np

from simulator.panel import F64
from tests.benchmarks.replays import Replay, Totals
from tests.benchmarks.rows import Contestant


def installed(module: str) -> bool:
    """Whether `make bench` has put it there."""
    return importlib.util.find_spec(module) is not None


def peers(replay: Replay, sales: F64, stockpyl_series: int, or_gym_series: int) -> list[Contestant]:
    """Every peer that is installed, ready to run.

    Args:
        replay: the series.
        sales: (N, T) units that the replay sells.
        stockpyl_series: how many of the series it gets; it is slow.
        or_gym_series: the same.
    """
    found = []
    if installed("dynaplex"):
        found.append(Contestant("DynaPlex", dynaplex_replay(replay), replay.steps, (
            "its `PolicyComparer` with one worker and its checks off, on a model that reads recorded demand; every trajectory "
            "draws a series, so some come twice and some never. Free of charge for any use, under a licence of its own."
        )))  # fmt: skip
    if installed("or_gym_inventory"):
        few = replay.first(or_gym_series)
        found.append(Contestant("or-gym-inventory", or_gym_replay(few), few.steps, (
            f"`InvManagementLostSalesEnv` with one stocking stage, {few.series_count} of the series; it also works out observation, "
            "reward and an info dictionary at every step."
        )))  # fmt: skip
    if installed("stockpyl"):
        few = replay.first(stockpyl_series)
        found.append(Contestant("stockpyl", stockpyl_replay(few, sales[:stockpyl_series]), few.steps, (
            f"`sim.simulation` of a single stage, {few.series_count} of the series. It backlogs and cannot lose sales, so its demand "
            "is what the lost-sales replay sold: nothing runs short, and stock moves in the same way. It also keeps costs."
        )))  # fmt: skip
    return found


def dynaplex_replay(replay: Replay) -> Callable[[], Totals]:
    """As many trajectories as there are series."""
    from dynaplex import PolicyComparer

    from tests.benchmarks.dynaplex_model import BaseStock, RecordedDemand

    model = RecordedDemand(replay.demand, replay.lead_time, replay.target_stock)
    comparer = PolicyComparer(model, number_of_trajectories=replay.series_count, workers=1, checks=False)
    rule = BaseStock(model)

    def run() -> Totals:
        stats = comparer.assess(rule).stats
        return Totals(stats.series, stats.held, stats.lost_sales)

    return run


def or_gym_replay(replay: Replay) -> Callable[[], Totals]:
    """It orders at the start of a period, and an order placed there arrives `L` periods later before demand: our order at the end
    of period t is its order at the start of t + 1, with L one less than our lead time."""
    with redirect_stderr(StringIO()):  # it greets
        from or_gym_inventory import InvManagementLostSalesEnv

    periods = replay.demand.shape[1]
    environments = [
        InvManagementLostSalesEnv(
            periods=periods, I0=[int(target)], p=2, r=[1.5, 1.0], k=[0.1, 0.0], h=[0.1], c=[10**6], L=[int(lead) - 1],
            dist=5, user_D=demand.astype(int).tolist(), alpha=1.0,
        )
        for demand, lead, target in zip(replay.demand, replay.lead_time, replay.target_stock, strict=True)
    ]  # fmt: skip
    targets = replay.target_stock.astype(int)

    def run() -> Totals:
        held, lost = [], []
        for environment, target in zip(environments, targets, strict=True):
            observation, _ = environment.reset()
            over = False
            while not over:  # an observation is the stock on hand and the orders that are still to arrive
                observation, _, _, over, _ = environment.step(np.array([max(target - observation.sum(), 0)]))
            held.append(environment.I[1:, 0].sum())
            lost.append(environment.LS[:, 0].sum())
        return Totals(replay.all_series, np.array(held, dtype=float), np.array(lost, dtype=float))

    return run


def stockpyl_replay(replay: Replay, sales: F64) -> Callable[[], Totals]:
    """It orders after the period's demand, and a shipment arrives `shipment_lead_time` periods later: our clock."""
    from stockpyl.sim import simulation
    from stockpyl.supply_chain_network import single_stage_system

    networks = [
        single_stage_system(holding_cost=1, stockout_cost=9, shipment_lead_time=int(lead), demand_type="D",
                            demand_list=sold.tolist(), policy_type="BS", base_stock_level=float(target))
        for sold, lead, target in zip(sales, replay.lead_time, replay.target_stock, strict=True)
    ]  # fmt: skip
    periods = replay.demand.shape[1]

    def run() -> Totals:
        held, lost = [], []
        for network, demand in zip(networks, replay.demand, strict=True):
            simulation(network, periods, progress_bar=False, consistency_checks="N")
            states = network.nodes[0].state_vars[:periods]
            product = network.nodes[0].product_indices[0]
            held.append(sum(state.inventory_level[product] for state in states))
            lost.append(demand.sum() - states[-1].demand_met_from_stock_cumul[product])
        return Totals(replay.all_series, np.array(held), np.array(lost))

    return run
