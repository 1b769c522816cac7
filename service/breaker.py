"""The money breaker's arithmetic: is a batch of fresh orders abnormal, and which location or feed is to blame?

It looks for what a broken feed or a wrong unit does to a whole night, not for a single odd order: five measures, each for every
location and for the batch as a whole. Nothing is stored here, nothing is held or released; callers do that with the findings.

- `order_value`: what the orders cost, against limits in money that the installation sets; without them there is none. One absurd
  order trips it, in a batch of any size. A location's orders are added to what it was given out for the same day already, so that a night
  that is asked in parts has the limit of one that is asked at once.
- `order_growth`, `order_fall`: what the orders of the series that had one before cost, against those. Single orders are lumpy,
  so the sum of the last ones is given a margin of three standard errors, as if it were open which of them falls into a night; it
  shrinks, relative to the sum, as series get more. It rests on the last orders only: a larger order never makes its own limit larger.
  A location's largest order is left aside when its growth is judged; what a single order does there, the whole batch has to show.
- `zero_stock`: the share of series with nothing on hand. An inventory feed that fails tells zeros for all of a location.
- `history_end`: the share of series whose history ends before it should. A feed that did not arrive ends all of a location's.

A share counts as too large where one can be sure of it: its lower bound at three standard deviations (Wilson's) lies above the
limit. That takes some series, and ten at the least, as for growth and fall: no alarm comes from three.

An order is worth its quantity at today's unit cost, the last one as well, so that both are compared in units: a wrong unit cost is
seen by `order_value` only. A series without a cost counts at the median of the others', or at 1 where none is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from simulator.panel import F64, I64, Bools, Strings

SURE = 3.0  # standard deviations of a share, standard errors of a sum
LEAST_SERIES = 10  # from so many on Wilson's bound at three deviations can lie above a half
NOISE = 1e-9  # relative: what float arithmetic may leave of a sum from which all is taken
ORDER_VALUE, ORDER_GROWTH, ORDER_FALL = "order_value", "order_growth", "order_fall"
ZERO_STOCK, HISTORY_END = "zero_stock", "history_end"
NOTHING: Mapping[str, float] = MappingProxyType({})
FEEDS = {ZERO_STOCK: "inventory", HISTORY_END: "history"}


class Batch(NamedTuple):
    """B fresh decisions; all (B,)."""

    location_id: Strings
    category: Strings
    order_quantity: F64  # units
    unit_cost: F64  # currency per unit; NaN where unknown
    last_quantity: F64  # units of the last comparable decision: on an order day, and not held; NaN where none
    zero_stock: Bools  # nothing was on hand
    history_ends_early: Bools  # sales up to as_of were due and are not there


@dataclass(frozen=True)
class Limits:
    """What is still normal.

    Money has no default: it depends on the size of the business. Sums of many orders rarely double from one comparable night to
    the next, even before a feast; wrong units and lost stock multiply them by far more, so 3 lies between. Orders that are too
    small take no money, and holding them makes it worse: they have to fall to a fifth. Of a supplied assortment few shelves are empty
    in the evening, after a failed feed nearly all are: one half lies between; a shop that means to sell out needs a higher limit.
    Histories end early for the few series that are new or no longer sold, so a fifth of all of them is many.
    """

    batch_value: float | None = None  # currency
    location_value: float | None = None  # currency, of one location
    growth: float = 3.0  # times the last orders
    fall: float = 5.0  # the last orders divided by
    zero_stock_share: float = 0.5
    history_end_share: float = 0.2

    def __post_init__(self) -> None:
        for name in ("batch_value", "location_value"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        for name in ("growth", "fall"):
            if not getattr(self, name) > 1:
                raise ValueError(f"{name} must be above 1, got {getattr(self, name)}")
        for name in ("zero_stock_share", "history_end_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie from 0 to below 1, got {getattr(self, name)}")


class Finding(NamedTuple):
    """One measure that is beyond its limit."""

    measure: str
    value: float  # currency, or a share
    limit: float  # likewise; for growth and fall with their margin
    whole_batch: bool  # or of the location alone
    location_id: str  # that is to blame; "" where it is no single one
    category: str  # that is to blame where no location is; "" where it is no single one
    feed: str  # to look at first: inventory, history, or "" where none stands out
    sentence: str  # for people


def no_worse(finding: Finding, seen: Finding) -> bool:
    """Whether one that was seen covers another of the same measure: as far beyond its limit at most, and of no more money.

    A fall is covered by one as deep, whatever it was of: half a night that is asked again has fallen as far as the whole.
    """
    slack = 1 + NOISE
    if finding.measure == ORDER_FALL:
        return finding.value * seen.limit * slack >= seen.value * finding.limit
    beyond = finding.value * seen.limit <= seen.value * finding.limit * slack
    return beyond and finding.value <= seen.value * slack


class Sums(NamedTuple):
    """What G groups of series add up to; all (G,)."""

    series: F64
    value: F64  # currency, of all orders
    compared: F64  # series with a last order
    fresh: F64  # currency, of their orders now
    last: F64  # currency, of their last orders
    variance: F64  # currency squared, of `last`
    empty: F64  # series with nothing on hand
    ended: F64  # series whose history ends early


class Judged(NamedTuple):
    """One measure of G groups; all (G,)."""

    value: F64
    limit: F64
    tripped: Bools


def examine(
    batch: Batch, limits: Limits, currency: str = "", given_out: Mapping[str, float] = NOTHING
) -> list[Finding]:
    """Everything that is abnormal, the whole batch first; nothing where the batch may pass.

    A finding of the whole batch names a location, or else a category, where it is the only one without which the rest would be
    within the limits.

    Args:
        batch: fresh decisions.
        limits: what is normal.
        currency: for the sentences.
        given_out: currency of other orders for the same day, by location.

    Raises:
        ValueError: where columns differ in length, or a quantity or cost is negative or not a number.
    """
    _check(batch)
    if not len(batch.order_quantity):
        return []
    columns = _columns(batch)
    places, at_place = np.unique(batch.location_id.astype(str), return_inverse=True)
    kinds, of_kind = np.unique(batch.category.astype(str), return_inverse=True)
    by_place, by_kind = _sums(columns, at_place, len(places)), _sums(columns, of_kind, len(kinds))
    whole = Sums(*(column.sum(keepdims=True) for column in by_place))
    largest = np.zeros(len(places))
    np.maximum.at(largest, at_place, columns.fresh)
    findings: list[Finding] = []
    for measure, judged in _judge(whole, limits, limits.batch_value).items():
        if judged.tripped[0]:
            place = _culprit(measure, whole, by_place, places, limits)
            kind = "" if place or len(kinds) == 1 else _culprit(measure, whole, by_kind, kinds, limits)
            findings.append(_finding(measure, judged, whole, 0, place, kind, currency, whole_batch=True))
    before = np.array([given_out.get(str(place), 0.0) for place in places])
    judgements = _judge(by_place, limits, limits.location_value, before=before, aside=largest)
    findings += [
        _finding(measure, judged, by_place, int(n), str(places[n]), "", currency, whole_batch=False, before=before[n])
        for measure, judged in judgements.items()
        for n in np.flatnonzero(judged.tripped)
    ]
    return [_with_feed(finding, findings) for finding in findings]


def _check(batch: Batch) -> None:
    for name, column in batch._asdict().items():
        if len(column) != len(batch.order_quantity):
            raise ValueError(f"{name} has {len(column)} rows, order_quantity has {len(batch.order_quantity)}")
    for name, may_be_unknown in (("order_quantity", False), ("unit_cost", True), ("last_quantity", True)):
        column = getattr(batch, name)
        good = (np.isfinite(column) & (column >= 0)) | (np.isnan(column) & may_be_unknown)
        if not good.all():
            row = int(np.argmin(good))
            raise ValueError(f"{name} must be a number of at least 0, got {column[row]} in row {row}")


def _columns(batch: Batch) -> Sums:
    """Each series' part of the sums; (B,) instead of (G,)."""
    known = np.isfinite(batch.unit_cost)
    cost = np.where(known, batch.unit_cost, np.median(batch.unit_cost[known]) if known.any() else 1.0)
    value, last = batch.order_quantity * cost, batch.last_quantity * cost
    compared = np.isfinite(last)
    last = np.where(compared, last, 0.0)
    # Which series have an order in a night is chance: as if orders came singly (compound Poisson), a sum's variance is the sum
    # of their squares. A location that happened to have few last time takes half of that from what is usual in the batch.
    usual = (last**2).sum() / max(compared.sum(), 1)
    return Sums(
        series=np.ones(len(value)), value=value, compared=compared.astype(np.float64), fresh=np.where(compared, value, 0.0),
        last=last, variance=np.where(compared, (last**2 + usual) / 2, 0.0), empty=batch.zero_stock.astype(np.float64),
        ended=batch.history_ends_early.astype(np.float64),
    )  # fmt: skip


def _sums(columns: Sums, group: I64, groups: int) -> Sums:
    return Sums(*(np.asarray(np.bincount(group, column, groups), dtype=np.float64) for column in columns))


def _judge(
    sums: Sums, limits: Limits, most_value: float | None, *, before: F64 | float = 0.0, aside: F64 | float = 0.0,
    bare: bool = False,
) -> dict[str, Judged]:  # fmt: skip
    """Every measure of every group.

    Args:
        sums: of the groups.
        limits: what is normal.
        most_value: that of the groups' orders, currency; None: any.
        before: (G,) currency of other orders that count towards it.
        aside: (G,) currency, the order that growth does not count.
        bare: whether to judge by the limits themselves, without margins and however few series there are.
    """
    most = np.full(len(sums.series), np.inf if most_value is None else most_value)
    margin = (0.0 if bare else SURE) * np.sqrt(np.maximum(sums.variance, 0.0))
    above, below = limits.growth * (sums.last + margin), (sums.last - margin) / limits.fall
    many = (sums.compared >= (1 if bare else LEAST_SERIES)) & (sums.variance > 0)
    return {
        ORDER_VALUE: Judged(sums.value + before, most, sums.value + before > most),
        ORDER_GROWTH: Judged(sums.fresh, above, many & (sums.fresh - aside > above)),
        ORDER_FALL: Judged(sums.fresh, below, many & (sums.fresh < below)),
        ZERO_STOCK: _share(sums.empty, sums.series, limits.zero_stock_share, bare=bare),
        HISTORY_END: _share(sums.ended, sums.series, limits.history_end_share, bare=bare),
    }


def _share(count: F64, series: F64, limit: float, *, bare: bool) -> Judged:
    """A share, beyond its limit where Wilson's lower bound is; where it is itself, by the `bare` limit."""
    sure = 0.0 if bare else SURE
    size = np.maximum(series, 1.0)
    share = count / size
    spread = np.sqrt(np.maximum(share * (1 - share), 0.0) / size + sure**2 / (4 * size**2))
    lower = (share + sure**2 / (2 * size) - sure * spread) / (1 + sure**2 / size)
    many = series >= (1 if bare else LEAST_SERIES)
    return Judged(share, np.full(len(count), limit), many & (lower > limit))


def _culprit(measure: str, whole: Sums, parts: Sums, names: Strings, limits: Limits) -> str:
    """The only group without which the rest of the batch is within the bare limits; "" where there is none, or several."""
    left = (np.where(part < total * (1 - NOISE), total - part, 0.0) for total, part in zip(whole, parts, strict=True))
    rest = Sums(*left)
    cured = np.flatnonzero(~_judge(rest, limits, limits.batch_value, bare=True)[measure].tripped)
    return str(names[cured[0]]) if len(cured) == 1 else ""


def _finding(
    measure: str, judged: Judged, sums: Sums, n: int, place: str, kind: str, currency: str, *, whole_batch: bool,
    before: float = 0.0,
) -> Finding:  # fmt: skip
    value, limit = float(judged.value[n]), float(judged.limit[n])
    said = _words(measure, value, limit, Sums(*(column[n : n + 1] for column in sums)), before, currency)
    sentence = f"{'The whole batch' if whole_batch else place}: {said}."
    if whole_batch:
        blame = f"{place} alone is" if place else f"the category {kind} alone is" if kind else "no single location is"
        sentence = f"{sentence[:-1]}; {blame} the cause."
    return Finding(measure, value, limit, whole_batch, place, kind, FEEDS.get(measure, ""), sentence)


def _words(measure: str, value: float, limit: float, sums: Sums, before: float, currency: str) -> str:
    def money(amount: float) -> str:
        return f"{amount:,.2f} {currency}".rstrip()

    last, series = float(sums.last[0]), int(sums.series[0])
    if measure == ORDER_VALUE:
        earlier = f" with {money(before)} given out earlier" if before else ""
        return f"orders of {series} series cost {money(value)}{earlier}, the limit is {money(limit)}"
    if measure in (ORDER_GROWTH, ORDER_FALL):
        side = "at most" if measure == ORDER_GROWTH else "at least"
        return f"orders cost {money(value)}, the same series' last ones {money(last)}; {side} {money(limit)} would be normal"
    what = "have no stock on hand" if measure == ZERO_STOCK else "have a history that ends early"
    return f"{round(value * series)} of {series} series {what}, {value:.0%}; more than {limit:.0%} are not normal"


def _with_feed(finding: Finding, findings: list[Finding]) -> Finding:
    """Abnormal sums point to the feed whose share is abnormal in the same place."""
    place = finding.whole_batch, finding.location_id
    beside = (one.feed for one in findings if one.feed and (one.whole_batch, one.location_id) == place)
    feed = finding.feed or next(beside, "")
    hint = f" Look at the {feed} feed first." if feed else ""
    return finding._replace(feed=feed, sentence=finding.sentence + hint)
