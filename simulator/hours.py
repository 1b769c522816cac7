"""When in a day customers come: hour masks, and the hour profile of demand behind daily totals.

A mask is a whole number whose bit h says that hour h was out of stock. This module knows hours and sums; what a day's
demand is, `censoring.py` knows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.panel import F64, I32, I64

HOURS = 24
EVERY_HOUR = (1 << HOURS) - 1
HALF = 1 << (HOURS // 2)
OPENING = range(6, 22)  # hours that the profile's first guess takes for open


class Masks(NamedTuple):
    """The U different masks of some days, and which of them each day has."""

    code: I64  # any shape, into the U masks
    in_stock: F64  # (U, 24) 1 where the hour was in stock
    last: F64  # (U, 24) 1 in an hour in stock that an hour out of stock follows


def first_profile() -> F64:
    """(24,) shares of demand before anything is known: even over the opening hours, little at night."""
    open_hour = np.isin(np.arange(HOURS), OPENING)
    profile = np.where(open_hour, 1.0, 0.05)
    return np.asarray(profile / profile.sum())


def hour_exposure(mask: I32, profile: F64) -> F64:
    """Share of a day's demand that falls into its hours in stock; like `mask` in shape, meaningless where it is < 0."""
    bits = (np.arange(HALF)[:, None] >> np.arange(HOURS // 2)) & 1
    late, early = bits @ profile[HOURS // 2 :], bits @ profile[: HOURS // 2]
    known = np.maximum(mask, 0)
    return np.asarray(np.clip(1.0 - early[known % HALF] - late[known // HALF], 0.0, 1.0))


def masks_of(mask: I32) -> Masks:
    """The different masks among these days."""
    different, code = np.unique(mask, return_inverse=True)
    out = (np.maximum(different, 0)[:, None] >> np.arange(HOURS)) & 1
    after = np.pad(out[:, 1:], ((0, 0), (0, 1)))
    last = (out == 0) & (after == 1)
    return Masks(code.reshape(mask.shape), 1.0 - out.astype(np.float64), last.astype(np.float64))


def fitted_profile(masks: Masks, units: F64, day_rate: F64, weight: F64, sale_size: float, profile: F64,
                   rounds: int = 5) -> F64:  # fmt: skip
    """(24,) the hour profile after some rounds of EM toward the one that these sales are likeliest under.

    The E step spreads a day's sales over its hours in stock as the profile has them, but for one sale before every
    run-out, which fell into the last hour in stock: it is what made the run-out. The M step divides what fell into an
    hour by the demand that the days in stock at that hour had.

    Args:
        masks: of the days.
        units: sold; shaped like `masks.code`, as are the next two.
        day_rate: the demand each day is expected to have had, given its sales under `profile`.
        weight: of each day, 0 to leave it out; it may depend on what was expected of the day, not on what it sold.
        sale_size: units of one sale.
        profile: (24,) where to start.
        rounds: of EM.
    """
    count, where = len(masks.last), masks.code.ravel()
    run_outs = masks.last.sum(axis=1)
    ending = np.minimum(units, sale_size * run_outs[masks.code])  # sales that made a run-out

    def summed(values: F64) -> F64:
        return np.bincount(where, (weight * values).ravel(), count).astype(np.float64)

    last = summed(ending) / np.maximum(run_outs, 1.0) @ masks.last
    spread, wanted = summed(units - ending), summed(day_rate) @ masks.in_stock
    for _ in range(rounds):
        share = masks.in_stock * profile
        total = share.sum(axis=1)
        found = np.divide(spread, total, out=np.zeros(count), where=total > 0) @ share + last
        found = np.divide(found, wanted, out=np.zeros(HOURS), where=wanted > 0)
        profile = found / found.sum() if found.sum() > 0 else profile
    return profile
