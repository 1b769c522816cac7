"""Remembered decisions: looked up, told what became of them, reproduced."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from service.asked import Asked, state_of
from service.cursors import cursor_of, place_of, unknown_cursor
from service.decide import Decisions as Orders
from service.decided import override_then, rules_then, span_then, stock_then
from service.decision_schemas import DecisionBrief, DecisionPage, Outcome, OutcomeRequest, StoredDecision
from service.decision_store import Row, add_outcome, decisions_page, find_decision, lock_decision, outcomes_of
from service.policy import Policy
from service.problems import ProblemError, store_unavailable
from service.rows import Seen, source_of
from service.spool import Spool
from service.store import Store

COMPARED = ("inventory_days", "daily_rate", "target_stock", "inventory_position", "order_quantity_if_due")


class Decisions:
    """What the decision routes do."""

    def __init__(self, store: Store, spool: Spool) -> None:
        self._store, self._spool = store, spool

    def get(self, decision_id: str) -> StoredDecision:
        """One decision.

        Raises:
            ProblemError: 404.
        """
        with self._store.database.reading() as connection:
            row = find_decision(connection, decision_id)
            told = outcomes_of(connection, decision_id)
        if row is None:
            raise _unknown(decision_id)
        return _stored(row, told)

    def page(self, matching: Row, cursor: str | None, limit: int) -> DecisionPage:
        """Some decisions, oldest first.

        Raises:
            ProblemError: 422 where the cursor is none of ours.
        """
        after = None
        if cursor is not None:
            moment, last = place_of(cursor, (str, str))
            try:
                after = datetime.fromisoformat(str(moment)).astimezone(UTC), str(last)
            except (ValueError, OverflowError):
                raise unknown_cursor(cursor) from None
        with self._store.database.reading() as connection:
            rows = decisions_page(connection, matching, after, limit + 1)
        end = rows[limit - 1] if len(rows) > limit else None
        following = None if end is None else cursor_of(end["created_at"].isoformat(), end["id"])
        return DecisionPage(items=[_brief(row) for row in rows[:limit]], next_cursor=following)

    def settling(self, decision_id: str, body: OutcomeRequest, by: str) -> Callable[[sa.Connection], StoredDecision]:
        """What stores the outcome of a decision; the newest counts, earlier ones stay in its history."""

        def store(connection: sa.Connection) -> StoredDecision:
            row = lock_decision(connection, decision_id)
            if row is None:
                raise _waiting(decision_id) if self._spool.has(decision_id) else _unknown(decision_id)
            add_outcome(connection, row, body.status, body.quantity, body.note, by)
            changed = find_decision(connection, decision_id)
            assert changed is not None
            return _stored(changed, outcomes_of(connection, decision_id))

        return store


def _waiting(decision_id: str) -> ProblemError:
    detail = (
        f"decision_id: {decision_id} was answered while the database was away and is about to be stored; ask again soon"
    )
    return store_unavailable(detail, "The decision is not stored yet")


def reproduce(row: Row, policy: Policy) -> tuple[dict[str, float], dict[str, float]]:
    """What was answered, and what the policy answers to the stored observation now, by name; see `COMPARED`.

    Args:
        row: a decision as it is stored.
        policy: of the version that decided.
    """
    inputs, answer = json.loads(row["inputs"]), json.loads(row["answer"])
    orders = _ordered_again(row, inputs, policy)
    again = {
        "inventory_days": orders.inventory_days, "daily_rate": orders.daily_rate, "target_stock": orders.target_stock,
        "inventory_position": orders.inventory_position, "order_quantity_if_due": orders.order.order_quantity,
    }  # fmt: skip
    return {name: float(answer[name]) for name in COMPARED}, {name: float(again[name][0]) for name in COMPARED}


def _ordered_again(row: Row, inputs: dict[str, Any], policy: Policy) -> Orders:
    blob, stock = zlib.decompress(row["observation"]), stock_then(inputs)
    seen = Seen([blob], policy.spec, state_of([stock], row["order_date"], policy.spec))
    rules = rules_then([inputs])
    asked = Asked(policy, row["order_date"], seen, policy.answer_to(seen), [source_of(blob)], [stock], rules, [0.0])
    return asked.order([override_then(inputs)], [span_then(inputs)])


def _brief(row: Row) -> DecisionBrief:
    return DecisionBrief(**{name: row[name] for name in DecisionBrief.model_fields})


def _stored(row: Row, told: list[Row]) -> StoredDecision:
    outcomes = [Outcome(**{name: one[name] for name in Outcome.model_fields}) for one in told]
    return StoredDecision(
        **_brief(row).model_dump(),
        inputs=json.loads(row["inputs"]),
        answer=json.loads(row["answer"]),
        outcomes=outcomes,
    )


def _unknown(decision_id: str) -> ProblemError:
    return ProblemError(404, "decision-unknown", "There is no such decision", f"there is no decision {decision_id!r}")
