"""A service that speaks our `POST /v1/recommendations`, as a policy to replay.

The history is the service's own: it must have stored the replayed dataset. `as_of` names the replayed day, and the
replay's stock and pipeline are sent along. A service of ours reads sales up to `as_of` only; but items, corrected
sales and plans are read as they are stored now, and what a planner overrode is set aside here, because the override
may have been made later than the day it is replayed on.
"""

from __future__ import annotations

import math
import os
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from orpr.sending import Sender, Unanswered, json_of, may_pass, one_line
from simulator.observation import Observer
from simulator.panel import F64, I64
from simulator.step import State

ROUTE = "/v1/recommendations"
KEY = "ORPR_API_KEY"
MOST_SERIES = 5000
WAITS_S = (0.5, 2.0)  # before the second and the third try


class RemotePolicy:
    """Asks one service; remembers which policy answered and what was set aside."""

    def __init__(self, url: str, key: str | None = None, waits_s: tuple[float, ...] = WAITS_S) -> None:
        if "@" in urlsplit(url).netloc:
            raise ValueError(f"policy at {urlsplit(url).hostname}: give the key as {KEY}, not in the URL")
        found = os.environ.get(KEY, "") if key is None else key
        self._sender = Sender(url.rstrip("/").removesuffix(ROUTE), {"X-API-Key": found} if found else {}, waits_s)
        self.name = self._sender.url
        self.version = ""
        self.answers = self.overridden = self.from_baseline = 0

    def decide(self, observer: Observer, rows: I64, t: int, state: State) -> F64:
        """(B,) target stock of `rows` at the end of period `t`, asked in batches of 5,000.

        Raises:
            ValueError: where the service refuses the request or a series, or answers with anything but numbers >= 0.
            RuntimeError: where it does not answer.
        """
        parts = [
            self._batch(observer, rows[at : at + MOST_SERIES], t,
                        State(state.on_hand[at : at + MOST_SERIES], state.pipeline[at : at + MOST_SERIES]))
            for at in range(0, len(rows), MOST_SERIES)
        ]  # fmt: skip
        return np.concatenate(parts)

    def _batch(self, observer: Observer, rows: I64, t: int, state: State) -> F64:
        as_of = observer.panel.date_of(t).isoformat()
        items = _items(observer, rows, t, state)
        who = f"policy {self.name} on {as_of}"
        answer = self._ask({"as_of": as_of, "items": items, "record": False}, who)
        answers = answer.get("items") if isinstance(answer, dict) else None
        if not isinstance(answers, list):
            raise ValueError(f"{who}: the answer is no recommendation response: {str(answer)[:80]}")
        if answer.get("as_of") != as_of or len(answers) != len(items):
            found = f"{len(answers)} series as of {answer.get('as_of')}"
            raise ValueError(f"{who}: asked for {len(items)} series, got {found}")
        version = str(answer.get("policy_version"))
        if self.version not in ("", version):
            raise ValueError(f"{who}: the service changed its policy from {self.version} to {version} meanwhile")
        self.version = version
        if any(isinstance(told, dict) and told.get("policy_alias") == "canary" for told in answers):
            raise ValueError(
                f"{who}: the service lets a canary decide some of the series; end it, or ask another service"
            )
        return np.array([self._target(told, asked, who) for told, asked in zip(answers, items, strict=True)])

    def _target(self, told: Any, asked: dict[str, Any], who: str) -> float:
        """The answered target without a planner's override."""
        who = f"{who}: {asked['item_id']}@{asked['location_id']}"
        if not isinstance(told, dict) or any(told.get(k) != asked[k] for k in ("item_id", "location_id")):
            raise ValueError(f"{who}: the answer is not in its place")
        result, problem = told.get("result"), told.get("problem")
        if isinstance(problem, dict):
            raise ValueError(f"{who}: {problem.get('type')}: {problem.get('detail')}")
        if not isinstance(result, dict):
            raise ValueError(f"{who}: the answer has neither a result nor a problem")
        overridden = result.get("override") is not None
        days = _number(result, "policy_days" if overridden else "inventory_days", who)
        rate = _number(result, "daily_rate", who)
        self.answers += 1
        self.overridden += overridden
        self.from_baseline += result.get("source") == "baseline"
        return days * rate

    def _ask(self, body: dict[str, Any], who: str) -> Any:
        try:
            response = self._sender.send("POST", ROUTE, json=body)
        except Unanswered as error:
            raise RuntimeError(f"{who}: {error}") from None
        if response.status_code == httpx.codes.OK:
            told = json_of(response)
            if told is None:
                raise ValueError(f"{who}: the answer is no JSON: {response.text[:80]!r}")
            return told
        said = f"{response.status_code} {_detail(response)}"
        if may_pass(response):
            raise RuntimeError(f"{who}: no answer after {self._sender.tries} tries: {said}")
        hint = f" (the key comes from {KEY})" if response.status_code in (401, 403) else ""
        raise ValueError(f"{who}: refused with {said}{hint}")


def _items(observer: Observer, rows: I64, t: int, state: State) -> list[dict[str, Any]]:
    """The request's items: ids, stock at the end of t, and what the pipeline still brings."""
    panel = observer.panel
    arrival = [panel.date_of(t + 1 + j).isoformat() for j in range(state.pipeline.shape[1])]
    return [
        {
            "item_id": panel.items.item_id[row], "location_id": panel.items.location_id[row],
            "on_hand": float(state.on_hand[n]),
            "open_orders": [
                {"arrival_date": arrival[j], "quantity": float(state.pipeline[n, j])}
                for j in np.flatnonzero(state.pipeline[n])
            ],
        }
        for n, row in enumerate(rows)
    ]  # fmt: skip


def _number(result: dict[str, Any], field: str, who: str) -> float:
    value = result.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{who}: {field} must be finite and at least 0, got {value!r:.40}")
    return float(value)


def _detail(response: httpx.Response) -> str:
    """The problem's detail, else the first words of the body."""
    told = json_of(response)
    if isinstance(told, dict) and "detail" in told:
        return one_line(f"{told.get('type', '')}: {told['detail']}")
    return response.text[:80]
