"""When one may order, when it arrives, and how long it has to last.

The base rule is the review period from an absolute origin. On top of it a series may have weekdays on which orders are
taken and goods received, days on which suppliers are closed, and a cut-off in days before the order day. A review that
falls on a day without orders moves to the next one with; a receipt moves to the next delivery day; of orders that would
come together only the last is placed. All of it follows from absolute dates, so cutting off old history moves no order
day. This module knows nothing of quantities.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.panel import F32, I64, Bools, Panel, Strings

LOOK_BACK = 63  # days before the window in which the last order day is looked for; none is that far away
LOOK_AHEAD = 63  # days by which closures may move an order or a receipt


class Schedule(NamedTuple):
    """What follows from calendars for every series and period; all (N, T)."""

    due: Bools  # an order is placed at the period's end
    lead_time: I64  # periods until an order placed at the period's end arrives; at least 1
    protection: I64  # periods such an order has to last: up to the receipt after the next order day


def review_schedule(panel: Panel, periods: range) -> Schedule:
    """Order days, lead times and protection intervals for the ends of `periods`.

    Where no order is due, or it is the last one ever, the two intervals are those of an order with the next one a
    review period later.

    Args:
        panel: items with their rules; its calendar says on which days suppliers are closed.
        periods: the window; it may reach beyond the panel's axis, where nothing is known to be closed.
    """
    if panel.plain_calendar:
        shape = (panel.series_count, len(periods))
        lead, review = panel.lead_periods[:, None], panel.review_periods[:, None]
        return Schedule(
            _reviews(panel, periods), np.broadcast_to(lead, shape), np.broadcast_to(lead + review - 1, shape)
        )
    return _calendar_schedule(panel, periods)


def lead_and_review(panel: Panel, rows: I64, periods: I64) -> tuple[I64, I64]:
    """(B,) periods until an order placed at the ends of `periods` arrives, and from there to the next receipt."""
    if panel.plain_calendar or not len(rows):
        return panel.lead_periods[rows], panel.review_periods[rows]
    first = int(periods.min())
    series, back = np.unique(rows, return_inverse=True)
    found = review_schedule(panel.take(series), range(first, int(periods.max()) + 1))
    lead = found.lead_time[back, periods - first]
    return lead, found.protection[back, periods - first] + 1 - lead


def _reviews(panel: Panel, periods: range) -> Bools:
    """(N, len(periods)) whether a review is due at the end of each period by the review period alone.

    It is when (days from `review_origin` to the period's first day - offset) is a multiple of the review period.
    Where a period is longer than the review period, every period is an order day.
    """
    origin = (panel.start - panel.review_origin).days
    days = origin + np.arange(periods.start, periods.stop) * panel.period_days
    review = panel.review_periods[:, None] * panel.period_days
    since = days[None, :] - panel.items.review_offset_days[:, None]
    return np.asarray(since % review < panel.period_days)


def _open_days(panel: Panel, periods: range, weekdays: Strings, share: F32 | None) -> Bools:
    """(N, len(periods)) whether orders are taken, or goods received, in each period."""
    t = np.arange(periods.start, periods.stop)
    allowed = np.array([[str(d) in text for d in range(1, 8)] if text else [True] * 7 for text in weekdays])
    weekday = (panel.start.weekday() + t * panel.period_days) % 7
    open_days = allowed.reshape(len(weekdays), 7)[:, weekday] if panel.period_days == 1 else np.ones(
        (len(weekdays), len(t)), dtype=bool
    )  # fmt: skip
    if share is not None:
        inside = (t >= 0) & (t < panel.period_count)
        known = share[:, np.clip(t, 0, panel.period_count - 1)]
        open_days = open_days & ~(inside[None, :] & (known == 0))
    return open_days


def _next_true(flags: Bools) -> I64:
    """(N, T) index of the first true column at or after each; T where there is none."""
    count = flags.shape[1]
    at = np.where(flags, np.arange(count)[None, :], count)
    return np.asarray(np.minimum.accumulate(at[:, ::-1], axis=1)[:, ::-1], dtype=np.int64)


def _calendar_schedule(panel: Panel, periods: range) -> Schedule:
    items = panel.items
    lead, review = panel.lead_periods[:, None], panel.review_periods[:, None]
    cutoff = (np.nan_to_num(items.order_cutoff_days) // panel.period_days).astype(np.int64)[:, None]
    longest = int((lead + review + cutoff).max(initial=1))
    wide = range(periods.start - LOOK_BACK - longest, periods.stop + 2 * (longest + LOOK_AHEAD))
    taking = _open_days(panel, wide, items.order_weekdays, panel.order_open)
    receiving = _open_days(panel, wide, items.delivery_weekdays, panel.delivery_open)
    next_taking, next_receiving = _next_true(taking), _next_true(receiving)
    last = len(wide) - 1

    def at(columns: I64, index: I64) -> I64:
        return np.take_along_axis(columns, np.minimum(index, last), axis=1)

    # An order day is one on which orders are taken and a review has fallen since the last such day. Of order days
    # whose goods come together only the last one counts: the others could wait for it.
    reviewed = np.cumsum(_reviews(panel, wide), axis=1)
    at_taking = np.where(taking, reviewed, 0)
    before = np.maximum.accumulate(np.pad(at_taking[:, :-1], ((0, 0), (1, 0))), axis=1)
    every = np.arange(len(wide))[None, :] + 0 * lead
    day = panel.start_day + (wide.start + every) * panel.period_days
    order_day = taking & (reviewed > before) & (day <= panel.orderable_until_day[:, None])
    order_day &= at(next_receiving, every + lead) < at(next_receiving, at(_next_true(order_day), every + 1) + lead)

    t = every[:, periods.start - wide.start : periods.stop - wide.start]
    placed = np.minimum(at(next_taking, t + cutoff), last)  # the order day that a decision at t is for
    due = np.take_along_axis(order_day, np.minimum(t + cutoff, last), axis=1)
    receipt = at(next_receiving, placed + lead)
    following = at(_next_true(order_day), placed + 1)
    following = np.where(due & (following < last), following, at(next_taking, placed + review))
    next_receipt = at(next_receiving, np.minimum(following, last) + lead)
    next_receipt = np.where(next_receipt > receipt, next_receipt, at(next_receiving, receipt + 1))
    return Schedule(due, receipt - t, next_receipt - t - 1)
