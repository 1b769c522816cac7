"""What a shadow policy would have decided of the same observations, beside the answers and never in their way.

Remembered answers are handed over in one call that neither waits nor fails; a thread, there only while there is work,
asks the shadow and keeps what it says beside each decision. When too much waits, shadow work is dropped and counted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from service.asked import Asked
from service.database import Database
from service.decide import Override, Span
from service.policy import Policy
from service.policy_store import Row, add_shadow_decisions
from service.schemas import Recommendation
from service.store import Series
from service.telemetry import Telemetry

LOG = logging.getLogger(__name__)
MOST_WAITING = 5000  # series, about 65 MB of observations
CLOSE_S = 5.0  # for what is being decided when the process ends


class Remembered(NamedTuple):
    """Answers of one request that are remembered as decisions, and what they rest on."""

    asked: Asked
    overrides: list[Override | None]
    spans: list[Span]
    answers: dict[int, Recommendation]  # with their numbers, by place among the series asked
    series: list[Series]  # asked


class Shadow:
    """Lets the shadow policy decide what has been answered."""

    def __init__(self, database: Database, telemetry: Telemetry, policy: Callable[[], Policy | None]) -> None:
        self._database, self._telemetry, self._policy = database, telemetry, policy
        self._waiting: deque[Remembered] = deque()
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None  # None: nothing waits
        self._closed = False

    def watch(self, remembered: Remembered) -> None:
        """Take over what was answered; returns at once."""
        policy = self._policy()
        if policy is None or policy.version == remembered.asked.policy.version or not remembered.answers:
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
            policy = self._policy()
            if policy is None:
                continue
            try:
                self._decide(policy, remembered)
            except SQLAlchemyError as error:
                self._drop(remembered, f"its decisions cannot be stored ({type(error).__name__})")
            except Exception:  # answers were given already; nothing here may touch them
                self._drop(remembered, "it fails", bug=True)

    def _drop(self, remembered: Remembered, why: str, *, bug: bool = False) -> None:
        self._telemetry.shadow_dropped.inc(len(remembered.answers))
        LOG.error("shadow work is dropped: %s", why, exc_info=bug)

    def _decide(self, policy: Policy, remembered: Remembered) -> None:
        asked, overrides, spans, answers, _ = remembered
        other = replace(asked, policy=policy, answer=policy.answer_to(asked.seen))
        orders = other.order(overrides, spans)
        rows: dict[int, Row] = {}
        for n, answer in answers.items():
            quantity = float(orders.order.order_quantity[n]) if answer.review_due else 0.0
            rows[n] = {
                "decision_id": answer.decision_id, "version": policy.version,
                "inventory_days": float(orders.policy_days[n]), "target_stock": float(orders.target_stock[n]),
                "order_quantity": quantity,
            }  # fmt: skip
        with self._database.writing() as connection:
            new = add_shadow_decisions(connection, list(rows.values()))
        for n, answer in answers.items():
            if answer.decision_id in new:
                self._compare(policy.version, rows[n]["inventory_days"], rows[n]["order_quantity"], answer)

    def _compare(self, version: str, days: float, quantity: float, answer: Recommendation) -> None:
        self._telemetry.shadow_days.labels(version).observe(days - answer.policy_days)
        if answer.review_due:
            answered = answer.order_quantity
            change = "more" if quantity > answered else "less" if quantity < answered else "same"
            self._telemetry.shadow_orders.labels(version, change).inc()
