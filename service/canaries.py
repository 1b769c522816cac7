"""Watches a canary and ends it where a guardrail trips.

What requests tell is added up in the process, on their way and in the shadow's thread; once a second a thread adds it to what all
processes have counted in SQL and judges that. Where the database does not answer it waits, and so does the verdict.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from service.canary_store import add_figures, add_first_orders
from service.database import Database
from service.guardrails import Figures, Judged, Limits, judge
from service.policy import Policy
from service.policy_store import CANARY, GUARDRAIL, add_change, lock_policies, newest_change
from service.registry import Policies
from service.repeating import Repeating
from service.rollout import Canary
from service.series import Series
from service.telemetry import Telemetry

LOG = logging.getLogger(__name__)
LOOK_S = 1.0
BY = "orpr"  # who ends a canary in the audit trail


class Trial(NamedTuple):
    """One run of a canary against one champion."""

    canary: Canary
    champion: Policy

    @property
    def key(self) -> tuple[int, str]:
        """Under which its figures stand."""
        return self.canary.change, self.champion.version


class Comparison(NamedTuple):
    """One decision of the canary and what the champion would have decided; currency."""

    series: Series
    target_value: float
    champion_target_value: float
    orders: tuple[float, float] | None  # what the two orders cost; None where none was due


class Told:
    """What this process has not stored yet of a trial."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.figures = trial, Figures()
        self.orders: dict[Series, tuple[float, float]] = {}  # the first of each series here


class Canaries:
    """Safe to share between threads."""

    def __init__(
        self, database: Database, telemetry: Telemetry, policies: Policies, limits: Limits, ended: Callable[[], None]
    ) -> None:
        """Watch nothing yet.

        Args:
            database: where figures and aliases are.
            telemetry: where it is shown.
            policies: what decides in this process.
            limits: what is normal.
            ended: called after a canary was ended here.
        """
        self._database, self._telemetry, self._policies = database, telemetry, policies
        self.limits, self._ended = limits, ended
        self._told: dict[tuple[int, str], Told] = {}
        self._turn, self._looking = threading.Lock(), threading.Lock()
        self.repeating = Repeating("watching the canary", self.look, LOOK_S, once_more=True)

    def tried(self, canary: Canary, champion: Policy, asked: int, failed: int) -> None:
        """A canary was asked for some series and failed at some; returns at once."""
        self._telemetry.canary_failed.inc(failed)
        self._add(Trial(canary, champion), Figures(asked=asked, failed=failed), ())

    def compared(self, trial: Trial, found: Sequence[Comparison], network_s: float, champion_s: float) -> None:
        """Decisions were compared that had not been before; and how long each network took for the same series, seconds."""
        slow = int(network_s > self.limits.slower * champion_s)
        figures = Figures(
            decisions=len(found), target_value=sum(one.target_value for one in found),
            champion_target_value=sum(one.champion_target_value for one in found), runs=1, slow_runs=slow,
        )  # fmt: skip
        self._add(trial, figures, found)

    def look(self) -> None:
        """Store what was told, judge it, and end the canary where a guardrail has tripped."""
        with self._looking:
            with self._turn:
                told, self._told = self._told, {}
            for one in told.values():
                try:
                    tripped = self._settle(one)
                except SQLAlchemyError as error:
                    LOG.warning("the figures of a canary cannot be stored yet (%s)", type(error).__name__)
                    self._add(one.trial, one.figures, [])
                    self._add_orders(one.trial, one.orders)
                    continue
                if tripped is not None:
                    version = one.trial.canary.policy.version
                    LOG.error("guardrail %s ended the canary %s: %s", tripped.guardrail, version, tripped.sentence)
                    self._telemetry.canary_rollbacks.labels(tripped.guardrail).inc()
                    self._ended()

    def _add(self, trial: Trial, figures: Figures, found: Sequence[Comparison]) -> None:
        with self._turn:
            told = self._told.setdefault(trial.key, Told(trial))
            told.figures = told.figures.plus(figures)
        self._add_orders(trial, {one.series: one.orders for one in reversed(found) if one.orders is not None})

    def _add_orders(self, trial: Trial, orders: dict[Series, tuple[float, float]]) -> None:
        with self._turn:
            told = self._told.setdefault(trial.key, Told(trial))
            for series, values in orders.items():
                told.orders.setdefault(series, values)

    def _settle(self, told: Told) -> Judged | None:
        """Store what was told of a trial; the guardrail that ended it."""
        trial = told.trial
        change, champion = trial.key
        with self._database.writing() as connection:
            first = [told.orders[one] for one in add_first_orders(connection, change, told.orders)]
            figures = told.figures.plus(
                Figures(
                    orders=len(first), order_value=sum(mine for mine, _ in first),
                    champion_order_value=sum(theirs for _, theirs in first),
                )
            )  # fmt: skip
            found = judge(add_figures(connection, change, champion, figures), self.limits)
            if not self._runs(trial):
                return None
            for one in found:
                if one.value is not None:
                    self._telemetry.canary_figure.labels(one.guardrail).set(one.value)
            tripped = next((one for one in found if one.tripped), None)
            ended = tripped is not None and _end(connection, trial, tripped)
        return tripped if ended else None

    def _runs(self, trial: Trial) -> bool:
        """Whether it is what decides here now; figures against an earlier champion end nothing."""
        now = self._policies.rollout()
        return now.canary is not None and (now.canary.change, now.champion.version) == trial.key


def _end(connection: sa.Connection, trial: Trial, tripped: Judged) -> bool:
    """End a canary in the audit trail, unless it is another one that runs by now."""
    lock_policies(connection)
    period_days = trial.champion.period_days
    newest = newest_change(connection, period_days, CANARY)
    if newest is None or newest["id"] != trial.canary.change:
        return False
    reason = f"{tripped.guardrail}: {tripped.sentence}"
    add_change(connection, period_days, CANARY, None, GUARDRAIL, reason, BY)
    return True
