"""The guardrails of a canary: pure arithmetic on what has come together since it began.

Each decision of a canary is compared with what the champion would have decided from the same observation, stock, rules and
override. Four measures:

- `target_stock`: what the target stocks of all decisions cost, over the champion's. Targets do not depend on the stock that is there.
- `order_value`: what the first order of each series cost, over the champion's. Only the first one begins from the stock that the
  champion left: with more stock of the canary's own the champion would order nothing, with less of it a pile, however near the two are.
- `failures`: the share of the series asked that the canary had no usable answer for, so that the champion decided.
- `latency`: the share of the runs of its network that took more than a factor longer than the champion's for the same series. More
  than half is too much, which is to say that the median is: single runs are late for many reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

TARGET_STOCK, ORDER_VALUE, FAILURES, LATENCY = GUARDRAILS = ("target_stock", "order_value", "failures", "latency")
LEAST_RUNS = 10  # of the network; of fewer, chance may make half of them slow
MOST_SLOW = 0.5


class Figures(NamedTuple):
    """What has come together."""

    asked: int = 0  # series that the canary was asked for
    failed: int = 0  # of these, series that the champion decided instead
    decisions: int = 0  # compared
    target_value: float = 0.0  # of their target stocks, currency
    champion_target_value: float = 0.0
    orders: int = 0  # first ones of a series that were due, compared
    order_value: float = 0.0  # of these, currency
    champion_order_value: float = 0.0
    runs: int = 0  # of the network, compared
    slow_runs: int = 0  # that took longer than the champion's by more than the factor

    def plus(self, other: Figures) -> Figures:
        """Both together."""
        mine, theirs = self._asdict(), other._asdict()
        return Figures(**{name: mine[name] + theirs[name] for name in mine})


NOTHING = Figures()


@dataclass(frozen=True)
class Limits:
    """What is still normal; the settings say it too."""

    decisions: int = 50  # that a verdict rests on at the least
    above: float = 1.5  # times the champion's
    below: float = 0.67
    failed_share: float = 0.01
    slower: float = 3.0  # times as long

    def __post_init__(self) -> None:
        for name, good, bound in (
            ("decisions", self.decisions >= 1, "at least 1"), ("above", self.above > 1, "above 1"),
            ("below", 0 < self.below < 1, "between 0 and 1"), ("slower", self.slower > 1, "above 1"),
            ("failed_share", 0 <= self.failed_share < 1, "from 0 to below 1"),
        ):  # fmt: skip
            if not good:
                raise ValueError(f"{name} must be {bound}, got {getattr(self, name)}")


class Judged(NamedTuple):
    """What one guardrail has come to."""

    guardrail: str
    value: float | None  # a ratio, infinite over nothing, or a share; None: nothing to tell yet
    lowest: float | None  # still normal; None: anything
    highest: float
    counted: int  # decisions, orders, series or runs that it rests on
    needed: int
    tripped: bool
    sentence: str


def judge(figures: Figures, limits: Limits) -> list[Judged]:
    """Every guardrail, in the order of `GUARDRAILS`."""
    f = figures
    failed = f.failed / f.asked if f.asked else None
    slow = f.slow_runs / f.runs if f.runs else None
    return [
        _compared(TARGET_STOCK, f.target_value, f.champion_target_value, f.decisions, "target stocks", "decisions", limits),
        _compared(ORDER_VALUE, f.order_value, f.champion_order_value, f.orders, "first orders", "series", limits),
        _share(FAILURES, failed, limits.failed_share, f.asked, limits.decisions,
               lambda share: f"it failed at {f.failed} of {f.asked} series, {share:.1%}; at most {limits.failed_share:.1%} may"),
        _share(LATENCY, slow, MOST_SLOW, f.runs, LEAST_RUNS,
               lambda share: f"{f.slow_runs} of {f.runs} runs of its network, {share:.0%}, took more than {limits.slower:g} times as "
               f"long as the champion's; at most {MOST_SLOW:.0%} may"),
    ]  # fmt: skip


def _compared(
    guardrail: str, mine: float, champions: float, counted: int, what: str, of: str, limits: Limits
) -> Judged:  # fmt: skip
    """A sum of money over the champion's."""
    value = mine / champions if champions > 0 else inf if mine > 0 else None
    tripped = value is not None and counted >= limits.decisions and not limits.below <= value <= limits.above
    said = f"nothing to compare yet in {counted} {of}"
    if value is not None:
        said = (
            f"{what} of {counted} {of} cost {mine:,.2f}, the champion's {champions:,.2f}: {_times(value)}; {limits.below:g} to "
            f"{limits.above:g} times is normal"
        )
    return Judged(guardrail, value, limits.below, limits.above, counted, limits.decisions, tripped, said)


def _times(value: float) -> str:
    return "endlessly more" if value == inf else f"{value:.2f} times"


def _share(
    guardrail: str, value: float | None, highest: float, counted: int, needed: int, words: Callable[[float], str]
) -> Judged:  # fmt: skip
    tripped = value is not None and counted >= needed and value > highest
    said = "nothing counted yet" if value is None else words(value)
    return Judged(guardrail, value, None, highest, counted, needed, tripped, said)
