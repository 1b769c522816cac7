"""Where the policy in charge fails, a base stock decides: on the night it happens an order by a plain rule is better than none.

It sees what the policy would have seen, and every answer says who decided.
"""

from __future__ import annotations

import numpy as np

from service.policy import PolicyAnswer
from service.rows import Seen
from simulator.baselines import expected_by, gamma_quantile
from simulator.contract import FORECAST_QUANTILES
from simulator.observation import HISTORY_FIELDS, daily_rate
from simulator.ordering import inventory_days_grid
from simulator.panel import Bools


def base_stock(seen: Seen) -> PolicyAnswer:
    """The gamma base stock of B series in the form of a policy's answer; the stock is not looked at, and nothing is said of the
    spread over days."""
    spec = seen.spec
    x = {field.name: seen.field(field.name) for field in HISTORY_FIELDS}
    sold, in_stock, promotion, opened = (
        x[name][:, : spec.history] for name in ("units_sold", "in_stock", "promotion", "open")
    )
    rate = daily_rate(sold, in_stock, promotion, opened, x["prior_daily_rate"], spec.period_days)
    expected = expected_by(x, spec)
    days = np.divide(expected.base_stock, rate, out=np.zeros_like(expected.base_stock), where=rate > 0)
    each = [gamma_quantile(expected.mean, expected.deviation, np.ones(len(seen)), q) for q in FORECAST_QUANTILES]
    forecast = np.repeat(np.stack(each, axis=-1)[:, None, :], spec.horizon, axis=1)
    columns = days, days, days, rate, np.zeros((len(seen), len(inventory_days_grid()))), forecast
    return PolicyAnswer(*(column.astype(np.float32) for column in columns))


def usable(answer: PolicyAnswer) -> Bools:
    """(B,) whether days, rate and forecast are numbers, and none of the first two negative."""
    days, rate = answer.inventory_days, answer.daily_rate
    good = np.isfinite(days) & np.isfinite(rate) & (days >= 0) & (rate >= 0)
    return np.asarray(good & np.isfinite(answer.forecast).reshape(len(days), -1).all(axis=1))
