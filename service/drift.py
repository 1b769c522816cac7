"""Whether what is decided still looks like what the policy learned from.

Counts inputs and days of remembered decisions of which an order was due, each day for itself, over the last seven days, and
compares them with the histograms in the bundle of the policy in charge. What a request costs is put off until some hundred
decisions have come together, or until Prometheus asks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import numpy as np

from service.policy import Policy, PolicyAnswer
from service.rollout import Remembered
from service.rows import Seen
from service.telemetry import Telemetry
from simulator.histograms import ACTION, INPUTS, NEEDED, WATCHED, Histograms, counted, psi, watched_values
from simulator.panel import F64, I64

WINDOW = timedelta(days=7)  # every weekday once, as order days go by the week
AT_ONCE = 256  # decisions that are counted together
LEAST = 200  # decisions that an index rests on; of fewer it is mostly chance
_ANSWERED = ("inventory_days", "daily_rate", "forecast")


class Waiting(NamedTuple):
    """Decisions that are not counted yet."""

    policy: Policy
    seen: Seen
    answer: PolicyAnswer
    answered: I64  # places of all
    due: I64  # places of those of which an order was due
    days: F64  # that were answered to these, overrides included
    canary: bool  # a canary decided


class Drift:
    """Safe to share between threads."""

    def __init__(self, telemetry: Telemetry, today: Callable[[], date] = lambda: datetime.now(UTC).date()) -> None:
        """It has seen nothing.

        Args:
            telemetry: where it is shown.
            today: the day now.
        """
        self._telemetry, self._today = telemetry, today
        self._turn = threading.Lock()
        self._waiting: list[Waiting] = []
        self._version = ""  # of the policy that decided what is counted
        self._counts: dict[date, dict[str, I64]] = {}

    def watch(self, remembered: Remembered) -> None:
        """Take over what was answered; most often returns at once."""
        asked, answers = remembered.asked, remembered.answers
        if not answers:
            return
        places = np.array(list(answers), dtype=np.int64)
        told = np.array([answer.review_due for answer in answers.values()])
        days = np.array([answer.inventory_days for answer in answers.values() if answer.review_due])
        waiting = Waiting(
            asked.policy, asked.seen, asked.answer, places, places[told], days, remembered.canary is not None
        )
        with self._turn:
            self._waiting.append(waiting)
            if sum(len(one.answered) for one in self._waiting) >= AT_ONCE:
                self._count()

    def show(self, policy: Policy | None) -> None:
        """Bring the metrics up to date.

        Args:
            policy: in charge.
        """
        with self._turn:
            self._count()
            frozen = None if policy is None else policy.histograms
            mine = self._counts if policy is not None and policy.version == self._version else {}
            recent = [counts for day, counts in mine.items() if day > self._today() - WINDOW]
            found = {one.name: sum((counts[one.name] for counts in recent), start=np.int64(0)) for one in WATCHED}
        decisions = int(np.sum(found[ACTION.name]))
        self._telemetry.drift_decisions.set(decisions)
        self._telemetry.input_psi.clear()
        self._telemetry.action_psi.set(np.nan)
        if frozen is not None and decisions >= LEAST:
            for one in INPUTS:
                index = psi(frozen.counts[one.name], np.asarray(found[one.name]))
                self._telemetry.input_psi.labels(one.name).set(index)
            self._telemetry.action_psi.set(psi(frozen.counts[ACTION.name], np.asarray(found[ACTION.name])))

    def _count(self) -> None:
        """Count what waits, policy by policy in the order in which they decided."""
        waiting, self._waiting = self._waiting, []
        while waiting:
            who = waiting[0].policy.version, waiting[0].canary
            same = [one for one in waiting if (one.policy.version, one.canary) == who]
            waiting = [one for one in waiting if (one.policy.version, one.canary) != who]
            self._count_of(same[0].policy, same)

    def _count_of(self, policy: Policy, waiting: list[Waiting]) -> None:
        ages = np.concatenate([_ages(_rows(one.seen.field("units_sold"), one.answered)) for one in waiting])
        self._telemetry.feature_age.add(ages[np.isfinite(ages)] * policy.period_days)
        self._telemetry.inventory_days.add(np.concatenate([one.days for one in waiting]))
        if policy.histograms is None or waiting[0].canary:  # the indices are of the policy in charge
            return
        if policy.version != self._version:
            self._version, self._counts = policy.version, {}
        today = self._today()
        seen = {name: np.concatenate([_rows(one.seen.field(name), one.due) for one in waiting]) for name in NEEDED}
        said = {
            name: np.concatenate([_rows(getattr(one.answer, name), one.due) for one in waiting]) for name in _ANSWERED
        }
        values = watched_values(seen, policy.spec, **said)
        before = self._counts.setdefault(today, _nothing(policy.histograms))
        for name, edges in policy.histograms.edges.items():
            before[name] += counted(values[name], edges)
        for day in [day for day in self._counts if day <= today - WINDOW]:
            del self._counts[day]


def _nothing(frozen: Histograms) -> dict[str, I64]:
    return {name: np.zeros(len(counts), dtype=np.int64) for name, counts in frozen.counts.items()}


def _rows(column: np.ndarray, places: I64) -> np.ndarray:
    return column if len(places) == len(column) else column[places]


def _ages(units_sold: np.ndarray) -> F64:
    """(B,) periods since the last one whose sales are known; infinite where none is."""
    known = ~np.isnan(units_sold[:, ::-1])
    return np.where(known.any(axis=1), known.argmax(axis=1), np.inf)
