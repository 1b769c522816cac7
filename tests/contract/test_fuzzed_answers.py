"""Answers of other systems under anything: an ERP, a service of ours, over real HTTP. What cannot be understood is the caller's
own error in one line; never another exception."""

# ruff: noqa: PT017 - a property of either a value or an error; neither has to come

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orpr.client import Client, ServiceProblem
from orpr.erp.erpnext import ErpNext
from orpr.erp.odoo import Odoo
from orpr.erp.records import Erp, ErpError, Order, Unusable, understood
from orpr.remote import RemotePolicy
from orpr.sending import Sender, Unanswered
from service.schemas import RecommendationItem
from simulator.observation import ObservationSpec, Observer
from simulator.panel import Panel
from simulator.step import State
from tests.contract.fuzzing import CASES, many, recording
from tests.service.conftest import chain
from tests.sites import Refusal, Site

__all__ = ["chain"]
FEW = max(1, CASES // 4)  # each of them is several requests
few = settings(many, max_examples=FEW)
recorded = recording("answers of other systems", FEW)
DAY = date(2019, 4, 30)
NAMES = ["id", "name", "data", "items", "result", "problem", "default_code", "product_id", "warehouse", "item_code", "uom_id", "next_cursor",
         "lot_stock_id", "in_type_id", "code", "partner_id", "quantity", "actual_qty", "location_id", "item_id", "as_of", "policy_version",
         "inventory_days", "daily_rate", "type", "title", "status", "detail", "errors"]  # fmt: skip
plain = (
    st.none()
    | st.booleans()
    | st.integers(-3, 400)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["B101", "S17", "2019-04-30"])
)
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
)
answers = st.lists(st.tuples(st.sampled_from([200, 200, 200, 400, 401, 404, 422, 500]), values), min_size=1, max_size=5)


class Anything(Site):
    """Answers what it was told to, over and over."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[int, Any]] = [(200, None)]

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        status, told = self.told[len(self.calls) % len(self.told)]
        if status != 200:
            raise Refusal(status, "x", "y")
        return told

    def error(self, refusal: Refusal) -> Any:
        return self.told[len(self.calls) % len(self.told)][1]

    def writes(self, method: str, path: str) -> bool:
        return False


@pytest.fixture(scope="module")
def site() -> Iterator[Anything]:
    with Anything() as running:
        yield running


def erps(url: str) -> list[Erp]:
    sender = Sender(url, {}, waits_s=())
    return [Odoo(sender, ["WH"], ZoneInfo("UTC")), Odoo(sender, [], ZoneInfo("UTC")), ErpNext(sender, [])]


@few
@given(told=answers, which=st.integers(0, 2))
def test_whatever_an_erp_answers_is_understood_or_an_error_in_one_line(
    site: Anything, told: list[tuple[int, Any]], which: int
) -> None:
    site.told = told
    steps: list[Callable[[Erp], object]] = [
        lambda erp: erp.read(DAY - timedelta(days=6), DAY),
        lambda erp: erp.drafts(DAY),
        lambda erp: list(erp.propose([Order("d-a", "B101", "S17", 3.0, DAY)], DAY)),
    ]
    for step in steps:
        erp = erps(site.url)[which]
        try:
            with understood(erp.name):
                step(erp)
        except (ErpError, Unusable) as error:
            assert len(str(error).splitlines()) == 1


@few
@given(told=answers)
def test_whatever_a_service_answers_the_client_understands_it_or_says_why_not(
    site: Anything, told: list[tuple[int, Any]]
) -> None:
    site.told = told
    with Client(site.url, "k", waits_s=()) as client:
        calls: list[Callable[[], object]] = [
            lambda: list(zip(range(3), client.items(), strict=False)),
            lambda: client.recommend([RecommendationItem(item_id="B101", location_id="S17")]),
            lambda: client.decision("d-a"),
            lambda: client.override(3),
        ]
        for call in calls:
            try:
                call()
            except (ServiceProblem, Unanswered, ValueError) as error:
                assert len(str(error).splitlines()) == 1


@few
@given(told=answers)
def test_whatever_a_policy_behind_http_answers_is_a_target_or_an_error(
    site: Anything, chain: Panel, told: list[tuple[int, Any]]
) -> None:
    site.told = told
    policy = RemotePolicy(site.url, "k", waits_s=())
    observer = Observer(chain, ObservationSpec(1))
    try:
        targets = policy.decide(observer, np.array([0]), 500, State(np.array([3.0]), np.zeros((1, 2))))
    except (ValueError, RuntimeError) as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert np.isfinite(targets).all()
