"""Remembered decisions: looked up, told what became of them, reproduced."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from service.asked import Sight, state_of
from service.cursors import cursor_of, place_of, unknown_cursor
from service.decide import BASELINE, constraints_applied
from service.decide import Decisions as Orders
from service.decided import override_then, rules_then, span_then, stock_then
from service.decision_schemas import DecisionBrief, DecisionPage, Outcome, OutcomeRequest, StoredDecision
from service.decision_store import Row, add_outcome, decisions_page, find_decision, lock_decision, outcomes_of
from service.policy import Policy
from service.problems import ProblemError, store_unavailable
from service.rows import Seen
from service.spool import Spool
from service.store import Store

Figures = dict[str, float | str]  # by name as in the answer


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


def reproduce(row: Row, policy: Policy) -> tuple[Figures, Figures]:
    """What was answered, and what the policy answers to the stored observation now: every figure that it decides.

    Args:
        row: a decision as it is stored.
        policy: of the version that decided.
    """
    inputs, answer = json.loads(row["inputs"]), json.loads(row["answer"])
    orders = _ordered_again(row, inputs, policy, answer["source"])
    order = orders.order
    columns = {
        "inventory_days": orders.inventory_days, "inventory_days_p10": orders.p10, "inventory_days_p90": orders.p90,
        "policy_days": orders.policy_days, "daily_rate": orders.daily_rate, "target_stock": orders.target_stock,
        "inventory_position": orders.inventory_position, "raw_order_quantity": order.raw_order_quantity,
        "order_quantity_if_due": order.order_quantity,
    }  # fmt: skip
    again: Figures = {name: float(column[0]) for name, column in columns.items()}
    again["order_quantity"] = again["order_quantity_if_due"] if answer["review_due"] else 0.0
    then: Figures = {name: float(answer[name]) for name in again}
    then["constraints_applied"] = ", ".join(answer["constraints_applied"])
    again["constraints_applied"] = ", ".join(constraints_applied(order)[0])
    return then, again


def _ordered_again(row: Row, inputs: dict[str, Any], policy: Policy, by: str) -> Orders:
    blob, stock = zlib.decompress(row["observation"]), stock_then(inputs)
    seen = Seen([blob], policy.spec, state_of([stock], row["order_date"], policy.spec))
    sight = Sight(row["order_date"], seen, [stock], rules_then([inputs]), [0.0])
    asked = sight.instead_of(policy) if by == BASELINE else sight.ask(policy)
    return asked.order([override_then(inputs)], [span_then(inputs)])


def _brief(row: Row) -> DecisionBrief:
    return DecisionBrief(**{name: row[name] for name in DecisionBrief.model_fields})


def _stored(row: Row, told: list[Row]) -> StoredDecision:
    outcomes = [Outcome(**{name: one[name] for name in Outcome.model_fields}) for one in told]
    return StoredDecision(
        **_brief(row).model_dump(),
        inputs=json.loads(row["inputs"]),
        answer=json.loads(row["answer"]) | {"decision_id": row["id"]},  # it had none yet when its number was made of it
        outcomes=outcomes,
    )


def _unknown(decision_id: str) -> ProblemError:
    return ProblemError(404, "decision-unknown", "There is no such decision", f"there is no decision {decision_id!r}")
