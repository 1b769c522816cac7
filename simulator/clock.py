"""The name of the clock; `schedule.py` has the intervals that follow from it.

Period t: orders due arrive; demand is met and the rest is lost; costs are counted on the stock left; where a review is
due the policy observes and orders at the END of t, and that order arrives at the start of t + lead_time.
"""

from __future__ import annotations

CLOCK = "arrive-sell-count-order"
