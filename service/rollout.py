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
from service.fallback import base_stock, usable
from service.policy import Policy
from service.rows import Seen
from service.schemas import Recommendation
from service.series import Series
from simulator.panel import F32

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
    """What the policies say, each of its series. Where the canary fails, the champion decides; where that fails, a base stock.

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
    taken = set() if part is None else set(part.rows)
    rest = [n for n in range(len(series)) if n not in taken]
    found = [] if part is None else [part]
    return found + (_by_champion(champion, rest, sight if not taken else sight.take(rest)) if rest else [])


def _by_champion(champion: Policy, rows: list[int], sight: Sight) -> list[Part]:
    """What the champion says of the rows that are seen, and a base stock of those that it has no usable answer to."""
    asked, good = _said(champion, sight, "a base stock decides")
    if asked is not None and len(good) == len(rows):
        return [Part(rows, asked, champion, None)]
    bad = sorted(set(range(len(rows))) - set(good))
    found = [Part([rows[n] for n in bad], sight.take(bad).instead_of(champion), champion, None)]
    return found if asked is None else [Part([rows[n] for n in good], asked, champion, None), *found]


def _by_canary(canary: Canary, champion: Policy, rows: list[int], sight: Sight) -> Part | None:
    """Those rows that the canary has a usable answer to; None where there is none."""
    asked, good = _said(canary.policy, sight.take(rows), "the champion decides")
    return None if asked is None else Part([rows[n] for n in good], asked, champion, canary)


def _said(policy: Policy, sight: Sight, instead: str) -> tuple[Asked | None, list[int]]:
    """What a policy says of the series that it has a usable answer to, and their places; None where it has none."""
    try:
        asked = sight.ask(policy)
    except Exception as error:  # ONNX Runtime raises many; no request fails because of a policy
        LOG.error("the policy %s fails; %s", policy.version, instead, exc_info=error)
        return None, []
    good = np.flatnonzero(usable(asked.answer) | (np.array(asked.rate_sources) == "none")).tolist()
    if len(good) == len(asked.stock):
        return asked, good
    LOG.error(
        "the policy %s has no usable answer for %d series; %s", policy.version, len(asked.stock) - len(good), instead
    )
    return (asked.take(good) if good else None), good


def forecast_of(policy: Policy, seen: Seen) -> F32:
    """(B, H, Q) what is expected to sell, by a policy or where it fails by a base stock."""
    try:
        return policy.answer_to(seen).forecast
    except Exception as error:  # as above
        LOG.error("the policy %s fails; a base stock expects", policy.version, exc_info=error)
        return base_stock(seen).forecast
