"""The same dataset under other rules: drawn packs and minimum orders, a bank's carrying rate, drawn lead times, or new items.

A scenario changes the items table, how long orders take, or how much history there is, and nothing else, so that every
method, hindsight included, meets it the same way. Decisions are made for planned lead times, whatever the orders take.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from simulator.lead_times import LeadTimeHistory, draw_lead_times
from simulator.observation import panel_rates
from simulator.panel import F64, I64, Panel, Strings
from training.methods import Replay

AS_GIVEN = "as given"
LEAD_TIMES = "lead-times"
COLD = {
    f"cold-{days}{suffix}": (days, bool(suffix)) for days in (0, 7, 14, 28) for suffix in ("", "-reference")
}  # name -> days of history that new items have, and whether they name a reference item
SCENARIOS = ("packs", "carrying", LEAD_TIMES, *COLD)
NEW_SHARE = 0.2  # of the series that are made new
PACKS = np.array([1, 2, 3, 4, 6, 8, 10, 12, 15, 18, 20, 24, 30, 36, 48, 60, 72, 96, 120, 144, 192, 240, 360, 480])
COVER_DAYS = (1.0, 5.0)  # of demand in one pack, drawn evenly on a log scale
CARRYING_RATE = 0.25  # of the unit cost, a year
HASH_KEY = b"orpr-packs-1"


def apply_scenario(panel: Panel, name: str, start: int) -> tuple[Panel, str]:
    """The panel under a scenario, and what was changed in words.

    Args:
        panel: the dataset.
        name: one of `SCENARIOS`, or `as given`.
        start: first period of the window; nothing from there on is read.

    Raises:
        ValueError: for another name, or `carrying` where no unit cost is known.
    """
    if name == AS_GIVEN:
        return panel, "the dataset's own order rules and costs"
    if name == LEAD_TIMES:
        return panel, ""  # the orders change, not the items; see `drawn_lead_times`
    if name == "packs":
        return _with_packs(panel, start)
    if name == "carrying":
        return _with_carrying_rate(panel)
    if name in COLD:
        return _with_new_items(panel, start, *COLD[name])
    raise ValueError(f"scenario must be one of {', '.join(SCENARIOS)}, got {name!r}")


def orders_before(panel: Panel, periods: range, orders: LeadTimeHistory | None) -> LeadTimeHistory:
    """The received orders that were placed before the window.

    Raises:
        ValueError: where there are none.
    """
    if orders is not None:
        past = orders.order_day < panel.start_day + periods.start * panel.period_days
        if past.any():
            return LeadTimeHistory(orders.series[past], orders.order_day[past], orders.lead_time_days[past])
    raise ValueError(f"scenario {LEAD_TIMES} needs an orders file with orders received before the window")


def drawn_lead_times(replay: Replay, orders: LeadTimeHistory, seed: int) -> tuple[Replay, str]:
    """The replay with a lead time of its own for every order, drawn from received ones, and that in words."""
    drawn = draw_lead_times(replay.panel, orders, replay.periods, np.random.default_rng(seed))
    words = (
        f"each order takes a lead time drawn from {len(orders.series):,} orders placed before the window; orders may "
        "overtake each other"
    )
    return replay._replace(world=replay.world._replace(lead_time=drawn)), words


def _with_packs(panel: Panel, start: int) -> tuple[Panel, str]:
    """Case packs of a usual size, and one or two of them as the least order."""
    rate = panel_rates(panel).daily_rate[:, max(start - 1, 0)]
    draws = np.array([_draws(name) for name in panel.names])
    low, high = COVER_DAYS
    wanted = rate * low * (high / low) ** draws[:, 0]
    nearest = np.abs(np.log(np.maximum(wanted, 1e-9))[:, None] - np.log(PACKS)[None, :]).argmin(axis=1)
    pack: F64 = PACKS[nearest].astype(np.float64) if panel.discrete else wanted
    least = pack * np.where(draws[:, 1] < 0.5, 1, 2)
    sizes = f"the nearest of {len(PACKS)} case sizes from 1 to {PACKS[-1]}" if panel.discrete else "any size"
    words = (
        f"drawn by a hash of the series: case packs that hold {low:g} to {high:g} days of "
        f"demand as it was before the window ({sizes}) and a least order of one or two packs; orders are rounded up"
    )
    return replace(panel, items=replace(panel.items, order_multiple=pack, min_order_qty=least)), words


def new_series(panel: Panel) -> I64:
    """The series that a cold start makes new: about one in five, drawn by a hash of the name.

    Raises:
        ValueError: where that leaves none, or all of them.
    """
    drawn = np.array([_draws(f"new {name}")[0] < NEW_SHARE for name in panel.names])
    if drawn.all() or not drawn.any():
        raise ValueError(f"scenario cold needs more series to make some of them new; there are {panel.series_count}")
    return np.flatnonzero(drawn)


def _with_new_items(panel: Panel, start: int, days: int, referenced: bool) -> tuple[Panel, str]:  # noqa: FBT001 - a row of COLD
    """The series of `new_series` as if they had been listed `days` before the window; the others as they are."""
    rows, kept = new_series(panel), max(start - days // panel.period_days, 0)
    hidden = {}
    for name in ("units_sold", "in_stock"):
        column = getattr(panel, name).copy()
        column[rows, :kept] = np.nan
        hidden[name] = column
    words = f"of {panel.series_count} series {len(rows)}, drawn by a hash, are new: nothing is known of their sales "
    words += f"but the {days} days before the window. Only these are judged"
    items = panel.items
    if referenced:
        items = replace(items, reference_item_id=_references(panel, rows))
        words += "; each names the item that is nearest to it in price, of its category and location, as its reference"
    return replace(panel, items=items, **hidden), words  # type: ignore[arg-type]


def _references(panel: Panel, rows: I64) -> Strings:
    """(N,) texts: for each of `rows` an old item beside it, "" where there is none."""
    items = panel.items
    old = np.setdiff1d(np.arange(panel.series_count), rows)
    found = items.reference_item_id.astype(object)
    for n in rows:
        beside = old[(items.location_id[old] == items.location_id[n]) & (items.category[old] == items.category[n])]
        distance = np.nan_to_num(np.abs(items.unit_price[beside] - items.unit_price[n]), nan=np.inf)
        found[n] = items.item_id[beside[distance.argmin()]] if len(beside) else ""
    return found.astype(str)


def _draws(name: str) -> tuple[float, float]:
    """Two even draws from 0 to 1 that belong to the name."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, key=HASH_KEY).digest()
    return int.from_bytes(digest[:4], "little") / 2**32, int.from_bytes(digest[4:], "little") / 2**32


def _with_carrying_rate(panel: Panel) -> tuple[Panel, str]:
    items = panel.items
    known = np.isfinite(items.unit_cost)
    if not known.any():
        raise ValueError("scenario carrying needs unit_cost, which the dataset gives for no series")
    held = np.where(known, items.unit_cost * CARRYING_RATE / 365, items.holding_cost_per_day)
    words = f"holding costs {CARRYING_RATE:.0%} of the unit cost a year"
    if not known.all():
        words += f"; {int((~known).sum())} series without a unit cost keep their own"
    return replace(panel, items=replace(items, holding_cost_per_day=held)), words
