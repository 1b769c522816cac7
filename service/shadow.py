"""What another policy would have decided of the same observations, beside the answers and never in their way: the shadow of
what anybody decided, and the champion of what a canary did, which its guardrails rest on.

Remembered answers are handed over in one call that neither waits nor fails; a thread, there only while there is work,
asks the other policy and keeps what it says beside each decision. When too much waits, such work is dropped and counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from sqlalchemy.exc import SQLAlchemyError

from service.canaries import Canaries, Comparison, Trial
from service.database import Database
from service.decide import POLICY
from service.policy import READING, Policy
from service.policy_store import Row, add_shadow_decisions
from service.rollout import Canary, Remembered
from service.rows import Seen
from service.schemas import Recommendation
from service.telemetry import Telemetry

LOG = logging.getLogger(__name__)
MOST_WAITING = 5000  # series, about 65 MB of observations
CLOSE_S = 5.0  # for what is being decided when the process ends


class Shadow:
    """Lets other policies decide what has been answered."""

    def __init__(
        self, database: Database, telemetry: Telemetry, policy: Callable[[], Policy | None], canaries: Canaries
    ) -> None:
        """Nothing waits yet.

        Args:
            database: where what is decided is kept.
            telemetry: where it is counted.
            policy: the shadow, where there is one now.
            canaries: told of what the champion would have decided in the place of a canary.
        """
        self._database, self._telemetry, self._policy, self._canaries = database, telemetry, policy, canaries
        self._waiting: deque[Remembered] = deque()
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None  # None: nothing waits
        self._closed = False

    def watch(self, remembered: Remembered) -> None:
        """Take over what was answered; returns at once."""
        if not remembered.answers or not self._others(remembered):
            return
        with self._turn:
            waiting = sum(len(one.asked.stock) for one in self._waiting) + len(remembered.asked.stock)
            if waiting > MOST_WAITING or self._closed:
                self._telemetry.shadow_dropped.inc(len(remembered.answers))
                return
            self._waiting.append(remembered)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
                self._begin(self._thread)

    def close(self) -> None:
        """Finish what is being decided, drop what waits."""
        with self._turn:
            self._closed = True
            self._waiting.clear()
            thread = self._thread
        if thread is not None:
            thread.join(CLOSE_S)

    def _begin(self, thread: threading.Thread) -> None:
        try:
            thread.start()
        except RuntimeError:  # the system has no thread left; the next answer tries again
            self._thread = None

    def _work(self) -> None:
        while True:
            with self._turn:
                if not self._waiting:
                    self._thread = None
                    return
                remembered = self._waiting.popleft()
            try:
                for policy in self._others(remembered):
                    self._decide(policy, remembered)
            except SQLAlchemyError as error:
                self._drop(remembered, f"its decisions cannot be stored ({type(error).__name__})")
            except Exception:  # answers were given already; nothing here may touch them
                self._drop(remembered, "it fails", bug=True)

    def _others(self, remembered: Remembered) -> list[Policy]:
        """Who decides the same again: the champion in the place of a canary, and the shadow, where it is another one."""
        found = [] if remembered.canary is None else [remembered.champion]
        shadow = self._policy()
        if shadow is not None and shadow.version not in (remembered.asked.policy.version, *(p.version for p in found)):
            found.append(shadow)
        return found

    def _drop(self, remembered: Remembered, why: str, *, bug: bool = False) -> None:
        self._telemetry.shadow_dropped.inc(len(remembered.answers))
        LOG.error("shadow work is dropped: %s", why, exc_info=bug)

    def _decide(self, policy: Policy, remembered: Remembered) -> None:
        asked, answers, canary = remembered.asked, remembered.answers, remembered.canary
        orders = replace(asked, policy=policy, answer=policy.answer_to(asked.seen), by=POLICY).order(
            remembered.overrides, remembered.spans
        )
        rows: dict[int, Row] = {}
        for n, answered in answers.items():
            quantity = float(orders.order.order_quantity[n]) if answered.review_due else 0.0
            rows[n] = {
                "decision_id": answered.decision_id, "version": policy.version,
                "inventory_days": float(orders.policy_days[n]), "target_stock": float(orders.target_stock[n]),
                "order_quantity": quantity,
            }  # fmt: skip
        with self._database.writing() as connection:
            new = add_shadow_decisions(connection, list(rows.values()))
        fresh = {n: row for n, row in rows.items() if row["decision_id"] in new}
        if canary is not None and policy is remembered.champion:
            self._tell(canary, remembered, fresh)
            return
        for n, row in fresh.items():
            self._compare(policy.version, row["inventory_days"], row["order_quantity"], answers[n])

    def _tell(self, canary: Canary, remembered: Remembered, rows: dict[int, Row]) -> None:
        """Tell the guardrails what the champion would have decided; without a cost a series counts as the usual one does."""
        if not rows:
            return
        known = np.array(remembered.unit_cost)[np.isfinite(remembered.unit_cost)]
        usual = float(np.median(known)) if len(known) else 1.0
        found: list[Comparison] = []
        for n, row in rows.items():
            answered, cost = remembered.answers[n], remembered.unit_cost[n]
            cost = cost if np.isfinite(cost) else usual
            ordered = (answered.order_quantity * cost, row["order_quantity"] * cost) if answered.review_due else None
            found.append(
                Comparison(remembered.series[n], answered.target_stock * cost, row["target_stock"] * cost, ordered)
            )
        seen = remembered.asked.seen
        part = seen if len(seen) <= READING.most else seen.take(range(READING.most))
        part = part.unread()  # by the one in charge, which would not be fair
        took = [_seconds(policy, part) for policy in (canary.policy, remembered.champion)]
        self._canaries.compared(Trial(canary, remembered.champion), found, took[0], took[1])

    def _compare(self, version: str, days: float, quantity: float, answer: Recommendation) -> None:
        self._telemetry.shadow_days.labels(version).observe(days - answer.policy_days)
        if answer.review_due:
            answered = answer.order_quantity
            change = "more" if quantity > answered else "less" if quantity < answered else "same"
            self._telemetry.shadow_orders.labels(version, change).inc()


def _seconds(policy: Policy, seen: Seen) -> float:
    """How long a whole network takes. Asked in the same thread one after the other, two of them meet the same load; in a request they
    would not."""
    began = time.perf_counter()
    policy.run(seen)
    return time.perf_counter() - began
