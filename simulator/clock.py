"""The name of the clock, and the intervals that follow from it.

Period t: orders due arrive; demand is met and the rest is lost; costs are counted on the stock left; where a review is
due the policy observes and orders at the END of t, and that order arrives at the start of t + lead_time.
"""

from __future__ import annotations

CLOCK = "arrive-sell-count-order"


def responsible_periods(t: int, lead_time: int, review_period: int) -> range:
    """The periods whose cost the order placed at the end of `t` decides.

    Before t + lead_time it has not arrived; from t + lead_time + review_period on, the next order has.
    """
    return range(t + lead_time, t + lead_time + review_period)
