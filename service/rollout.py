"""Who decides which series: the champion, or for a share of them a canary; and what was decided, for those who watch.

A series belongs to a canary by a hash of its two names, keyed by the canary's version: the same one always has the same series, in
every process and after every restart, a larger share takes more to those that it has, and another canary meets others.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from service.asked import Asked, Sight
from service.decide import Override, Span
from service.policy import Policy, PolicyAnswer
from service.schemas import Recommendation
from service.series import Series
from simulator.panel import Bools

LOG = logging.getLogger(__name__)
CHANCES = 2**64  # values of the hash


class Canary(NamedTuple):
    """A policy that decides for a share of the series."""

    policy: Policy
    share: float  # per cent
    change: int  # number of the change of the alias that lets it run


class Rollout(NamedTuple):
    """What is in charge at one moment; a request ends with the one that it began with."""

    champion: Policy
    canary: Canary | None

    def canary_of(self, series: Series) -> Canary | None:
        """The canary, where the series belongs to it."""
        canary = self.canary
        return canary if canary is not None and members(canary.policy.version, canary.share, [series])[0] else None

    def policy_of(self, series: Series) -> Policy:
        """Who decides a series."""
        canary = self.canary_of(series)
        return self.champion if canary is None else canary.policy


class Part(NamedTuple):
    """Those of the series asked that one policy decided."""

    rows: list[int]  # their places among all
    asked: Asked
    champion: Policy
    canary: Canary | None  # that decided them; None: the champion did


class Remembered(NamedTuple):
    """Answers of one policy to one request that are remembered as decisions, and what they rest on."""

    asked: Asked
    overrides: list[Override | None]
    spans: list[Span]
    answers: dict[int, Recommendation]  # with their numbers, by place among the series asked
    series: list[Series]  # asked
    unit_cost: list[float]  # of each, currency per unit; NaN where unknown
    champion: Policy  # in charge when they were given
    canary: Canary | None  # that decided; None: the champion did


def members(version: str, share: float, series: Sequence[Series]) -> list[bool]:
    """Whether each series belongs to the canary of a version.

    Args:
        version: of the canary.
        share: per cent of all series, 0 to 100.
        series: item and location of each.
    """
    keyed = hashlib.blake2b(digest_size=8, key=hashlib.sha256(version.encode()).digest())
    limit = share / 100 * CHANCES
    found: list[bool] = []
    for item, place in series:
        one = keyed.copy()
        one.update(f"{len(item)}:{item}{place}".encode())  # the length keeps ("ab", "c") and ("a", "bc") apart
        found.append(int.from_bytes(one.digest()) < limit)
    return found


def ask(
    rollout: Rollout, series: Sequence[Series], sight: Sight, tried: Callable[[Canary, Policy, int, int], None]
) -> list[Part]:  # fmt: skip
    """What the policies say, each of its series. Where the canary fails, the champion decides.

    Args:
        rollout: who decides.
        series: B of them.
        sight: what is known of the B.
        tried: told of the canary, the champion, how many series the canary was asked for, and at how many it failed.
    """
    canary, champion = rollout.canary, rollout.champion
    rows = [] if canary is None else np.flatnonzero(members(canary.policy.version, canary.share, series)).tolist()
    part = None
    if canary is not None and rows:
        part = _by_canary(canary, champion, rows, sight)
        decided = 0 if part is None else len(part.rows)
        tried(canary, champion, len(rows), len(rows) - decided)
    if part is None:
        return [Part(list(range(len(series))), sight.ask(champion), champion, None)]
    taken = set(part.rows)
    rest = [n for n in range(len(series)) if n not in taken]
    return [part, Part(rest, sight.take(rest).ask(champion), champion, None)] if rest else [part]


def _by_canary(canary: Canary, champion: Policy, rows: list[int], sight: Sight) -> Part | None:
    """Those rows that the canary has a usable answer to; None where there is none."""
    try:
        asked = sight.take(rows).ask(canary.policy)
    except Exception as error:  # ONNX Runtime raises many; no request fails because of a policy on trial
        LOG.error("the canary %s fails; the champion decides its series", canary.policy.version, exc_info=error)
        return None
    good = np.flatnonzero(_usable(asked.answer) | (np.array(asked.rate_sources) == "none")).tolist()
    if len(good) < len(rows):
        LOG.error("the canary %s has no usable answer for %d series", canary.policy.version, len(rows) - len(good))
        asked = asked.take(good)
    return Part([rows[n] for n in good], asked, champion, canary) if good else None


def _usable(answer: PolicyAnswer) -> Bools:
    """(B,) whether days, rate and forecast are numbers, and none of the first two negative."""
    days, rate = answer.inventory_days, answer.daily_rate
    good = np.isfinite(days) & np.isfinite(rate) & (days >= 0) & (rate >= 0)
    return np.asarray(good & np.isfinite(answer.forecast).reshape(len(days), -1).all(axis=1))
