"""Stock that was counted before the end of the as-of period: what is left of the period still sells from it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

import numpy as np

from service.asked import Stock
from service.rows import Seen
from service.settings import Hours
from simulator.rates import daily_rate


def days_left(counted_at: datetime, as_of: date, period_days: int, hours: Hours) -> float | None:
    """Selling days between a count and the end of the period that begins on `as_of`; None where it was counted outside of
    that period.

    Args:
        counted_at: by the location's clock.
        as_of: first day of the period at whose end the order is placed.
        period_days: its length.
        hours: the day's selling hours.
    """
    since = (counted_at.date() - as_of).days
    if not 0 <= since < period_days:
        return None
    hour = (counted_at - datetime.combine(counted_at.date(), time(), counted_at.tzinfo)) / timedelta(hours=1)
    today = (hours.last - min(max(hour, hours.first), hours.last)) / (hours.last - hours.first)
    return period_days - since - 1 + today


def less_sales(stock: Sequence[Stock], seen: Seen, period_days: int) -> list[Stock]:
    """The stock at the end of the period: less what is expected to sell after the count, at the daily rate.

    Args:
        stock: of B series.
        seen: their rows, for the rate and whether the location is open.
        period_days: length of a period.
    """
    rows = [n for n, one in enumerate(stock) if one.days_left > 0]
    if not rows:
        return list(stock)
    part = seen.take(rows)
    history = part.field("units_sold").shape[1]
    shut = part.field("open")[:, history - 1] == 0
    rate = daily_rate(
        part.field("units_sold"), part.field("in_stock"), part.field("promotion")[:, :history],
        part.field("open")[:, :history], part.field("prior_daily_rate"), period_days,
    )  # fmt: skip
    expected = np.where(shut, 0.0, np.nan_to_num(rate) * [stock[n].days_left for n in rows])
    found = list(stock)
    for n, units in zip(rows, expected.tolist(), strict=True):
        found[n] = stock[n].less(units)
    return found
