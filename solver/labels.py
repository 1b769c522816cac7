"""Labels: the decision that would have been best, with the whole cost curve over inventory days.

An **epoch label** belongs to one series and one review at the end of period t: what the single order placed there
would have cost for every candidate, from the stock that the incumbent's replay left, over the periods that the order
is responsible for (t + lead .. t + lead + review - 1, or from this receipt to the next where calendars move them). A
label is hindsight: it reads the future on purpose and is never an input of anything that decides.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from simulator.baselines import baseline_windows, incumbent
from simulator.censoring import replayed_demand
from simulator.metrics import waste_cost
from simulator.ordering import ORDER_UP_TO, OrderRules, rules_of
from simulator.panel import F32, F64, I64, Bools, Panel
from simulator.rates import Rates
from simulator.rollout import Trajectory, World, replay_world
from simulator.schedule import review_schedule
from simulator.sweep import replay
from solver.curves import Epochs, epoch_costs


def label_demand(panel: Panel, *, recovered: bool, before: int | None = None) -> tuple[F64, Bools]:
    """(N, T) the demand that labels replay, and where it is known; `before` is the first period they must not read."""
    return replayed_demand(panel, "recovered" if recovered else "sales", before)


class LabelHistory(NamedTuple):
    """What the labels of a window follow from, besides the items and their calendars; all (N, T)."""

    demand: F64  # units
    known: Bools
    daily_rate: F64  # units a day known at each period's end
    target_stock: F64  # units, the incumbent's

    def take(self, rows: slice) -> LabelHistory:
        """The same for some series only."""
        return LabelHistory(*(column[rows] for column in self))  # type: ignore[arg-type]


def replayed_history(
    panel: Panel, rates: Rates, periods: range, *, recovered: bool = True, demand: tuple[F64, Bools] | None = None
) -> LabelHistory:
    """Demand, rates and the incumbent's targets of all series; some of it rests on their peers.

    Args:
        panel: the dataset.
        rates: daily rates of the panel.
        periods: replayed window.
        recovered: label on demand recovered from stock-outs, else on raw sales.
        demand: what `label_demand` said of these sales before `periods.stop`, where it has been asked already.
    """
    window = slice(periods.start, periods.stop)
    wanted, known = demand or label_demand(panel, recovered=recovered, before=periods.stop)
    return LabelHistory(wanted[:, window], known[:, window], rates.daily_rate[:, window], incumbent(panel, periods))


def epochs_of(
    panel: Panel, rates: Rates, periods: range, *, recovered: bool = True, demand: tuple[F64, Bools] | None = None
) -> Epochs:
    """Every review in `periods` whose responsible periods also lie inside it; see `replayed_history`, `epochs_from`."""
    return epochs_from(panel, periods, replayed_history(panel, rates, periods, recovered=recovered, demand=demand))


def epochs_from(panel: Panel, periods: range, replayed: LabelHistory) -> Epochs:
    """The decisions of some series.

    Args:
        panel: their items and calendars; the incumbent is replayed from `periods.start` on.
        periods: the window.
        replayed: of the same series.

    Returns:
        Epochs without those whose lead time or responsible periods contain unknown demand.
    """
    world = replay_world(panel, periods, rules_of(panel), daily_rate=replayed.daily_rate)
    world = world._replace(demand=replayed.demand)
    record = replay(world, replayed.target_stock, ORDER_UP_TO)
    ordered, received = record.order_quantity.cumsum(axis=1), record.received.cumsum(axis=1)
    position = record.on_hand + ordered - received - record.order_quantity  # before ordering, at each period's end
    return _epochs(panel, periods, world, replayed, record, position)


def _epochs(
    panel: Panel, periods: range, world: World, replayed: LabelHistory, record: Trajectory, position: F64
) -> Epochs:
    """The reviews whose lead time and responsible periods lie inside the window and are known."""
    rate, targets = replayed.daily_rate, replayed.target_stock
    schedule = review_schedule(panel, periods)
    t = np.arange(len(periods))[None, :]
    arrival, stop = t + schedule.lead_time, t + schedule.protection + 1  # responsible from arrival to before `stop`
    n, t = np.nonzero(schedule.due & (stop <= len(periods)) & (stop > arrival) & (rate > 0))
    unknown = np.cumsum(np.pad(~replayed.known, ((0, 0), (1, 0))), axis=1)
    clean = unknown[n, stop[n, t]] == unknown[n, t + 1]
    n, t = n[clean], t[clean]
    first, review = arrival[n, t], (stop - arrival)[n, t]
    steps = np.arange(int(review.max(initial=1)))
    ahead = np.minimum(first[:, None] + steps, len(periods) - 1)
    inside = steps[None, :] < review[:, None]
    return Epochs(
        series=n,
        period=t + periods.start,
        inventory_position=position[n, t],
        # What else comes in that day was ordered earlier: two order days may share a delivery day.
        stock_before_arrival=record.on_hand[n, first - 1] + record.received[n, first] - record.order_quantity[n, t],
        demand=np.where(inside, world.demand[n[:, None], ahead], 0.0),
        review=review,
        young=_young(world, record, n, t, first, steps),
        daily_rate=rate[n, t],
        incumbent_days=targets[n, t] / rate[n, t],
        on_hand=record.on_hand[n, t],
        arriving=_arriving(record, n, t, first),
    )


def _arriving(record: Trajectory, n: I64, t: I64, first: I64) -> F64:
    """(E, L) what the epoch's order finds on its way: all receipts up to its own arrival but itself."""
    slots = t[:, None] + 1 + np.arange(int((first - t).max(initial=1)))
    inside = slots <= first[:, None]
    received = record.received[n[:, None], np.minimum(slots, record.received.shape[1] - 1)]
    own = np.where(slots == first[:, None], record.order_quantity[n, t][:, None], 0.0)
    return np.asarray(np.where(inside, received - own, 0.0))


def _young(world: World, record: Trajectory, n: I64, t: I64, first: I64, steps: I64) -> F64:
    """(E, R) what may be left, at the end of each responsible period, of all receipts but the epoch's own order."""
    if world.shelf_life is None:
        return np.full((len(n), len(steps)), np.inf)
    life = world.shelf_life[n][:, None]
    others = np.pad(np.cumsum(record.received, axis=1), ((0, 0), (2, 0)))
    others[:, 1:] += world.initial.on_hand[:, None]  # the opening stock came in the period before the first
    # Column j holds what came in before period j - 1; the order's own receipt is taken out again where it lies inside.
    last = first[:, None] + steps
    oldest = np.maximum(last - life + 2, -1)
    end = np.minimum(first[:, None] + 1, record.received.shape[1])
    came = np.take_along_axis(others[n], end + 1, axis=1) - np.take_along_axis(
        others[n], np.minimum(oldest, end) + 1, axis=1
    )
    own = np.where(oldest <= first[:, None], record.order_quantity[n, t][:, None], 0.0)
    return np.where(life > 0, np.maximum(came - own, 0.0), np.inf)


def cost_curves(panel: Panel, epochs: Epochs, days: F64, rules: OrderRules | None = None,
                ordering_mode: str = ORDER_UP_TO) -> F64:  # fmt: skip
    """(E, V) holding, lost-sale and waste cost, in currency, of every candidate number of days.

    Exact, not a model: the order is placed under the item's rules, arrives on the stock that stood there, and meets
    the real demand of the periods it is responsible for. Earlier and later orders do not depend on it there.
    """
    items = panel.items
    return epoch_costs(
        epochs, days, rules_of(panel) if rules is None else rules, panel.shelf_life_periods,
        (items.holding_cost_per_day * panel.period_days, items.lost_sale_cost, waste_cost(items)), ordering_mode,
    )  # fmt: skip


def best_days(curves: F64 | F32, days: F64) -> F64:
    """(E,) the cheapest candidate; among equals the smallest."""
    return np.asarray(days[np.argmin(curves, axis=1)])


def history_window(panel: Panel, end: int) -> range:
    """From where the baselines' window is full (half of it on a short history) to the period before `end`."""
    warm = min(baseline_windows(panel.period_days)[1], max(end // 4, 1))
    return range(warm, end)


def with_offset(panel: Panel, offset: int) -> Panel:
    """The panel with every review moved `offset` days on."""
    items = replace(panel.items, review_offset_days=panel.items.review_offset_days + offset)
    return replace(panel, items=items)
