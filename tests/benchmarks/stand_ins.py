"""Stand-ins for planners: what they would have asked for in promotions, told by hindsight on stores that are not judged.

A planner knows by how much a promotion of an item sells better or worse than the policy believes, over all of his stores. So
orders of one item for one week's promotion are taken together, and the multiple of the policy's own days is found that
would have been cheapest for all of them. Hindsight of single orders is no decision anybody could take.
"""

from __future__ import annotations

import numpy as np
import torch

from simulator.observation import FIELDS
from simulator.panel import F32, F64, I64
from training.dataset import TrainingSet, promoted_orders
from training.experts import Labels
from training.model import PolicyNetwork

MULTIPLES = np.round(np.exp(np.linspace(np.log(0.5), np.log(3.0), 37)), 3)
LEAST_ORDERS = 8  # of one item and week; fewer tell chance


def stand_ins(network: PolicyNetwork, data: TrainingSet, since: int, count: int, rng: np.random.Generator) -> Labels:
    """At most `count` labels of promoted orders placed from period `since` on.

    Args:
        network: the policy that was asked.
        data: decisions of the stores that planners know, all of them with a known outcome.
        since: first period.
        count: labels to draw.
        rng: draws them.
    """
    copy = data.copies[0]
    panel = copy.source.panel
    chosen = np.flatnonzero((copy.period >= since) & promoted_orders(panel, copy.series, copy.period))
    days = policy_days(network, data, chosen)
    item = np.unique(panel.items.item_id, return_inverse=True)[1][copy.series[chosen]]
    week = (copy.period[chosen] * panel.period_days) // 7
    multiple = _cheapest(copy.curves[chosen], copy.weight[chosen], days, data.grid, item * 10_000 + week)
    kept = np.flatnonzero(np.isfinite(multiple))
    kept = np.sort(rng.permutation(kept)[:count])
    rows, series = chosen[kept], copy.series[chosen[kept]]
    seen = data.batch(copy, rows).fields
    start = np.datetime64(panel.start, "D").astype(int)
    return Labels(
        panel.items.item_id[series], panel.items.location_id[series], panel.items.item_id[series].astype(object),
        np.full(len(rows), "", dtype=object), start + copy.period[rows] * panel.period_days,
        np.minimum(days[kept] * multiple[kept], data.grid[-1]), days[kept], np.full(len(rows), np.nan),
        {field.name: column.numpy() for field, column in zip(FIELDS, seen, strict=True)},
    )  # fmt: skip


def policy_days(network: PolicyNetwork, data: TrainingSet, chosen: I64) -> F64:
    """(E,) what the policy decides of some decisions of the first copy."""
    days = []
    network.eval()
    with torch.no_grad():
        for at in range(0, len(chosen), 1024):
            output, _ = network(*data.batch(data.copies[0], chosen[at : at + 1024]).fields)
            days.append(output.inventory_days.double().numpy())
    return np.concatenate(days) if days else np.empty(0)


def _cheapest(curves: F32, weight: F32, days: F64, grid: F64, group: I64) -> F64:
    """(E,) the multiple of the policy's days that is cheapest for the orders of a group together; NaN for small groups."""
    best = np.full(len(days), np.nan)
    order = np.argsort(group, kind="stable")
    _, begins = np.unique(group[order], return_index=True)
    for rows in np.split(order, begins[1:]):
        if len(rows) < LEAST_ORDERS:
            continue
        asked = np.minimum(days[rows, None] * MULTIPLES, grid[-1])
        cost = np.stack([np.interp(asked[n], grid, curves[row]) for n, row in enumerate(rows)])
        best[rows] = MULTIPLES[(cost * weight[rows, None]).sum(axis=0).argmin()]
    return best
