"""The typed client against the real service, also through a proxy that loses answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import orpr.calls.overrides
import orpr.client
from orpr.client import Client, ServiceProblem
from orpr.sending import Sender, Unanswered
from service.decision_schemas import OutcomeRequest
from service.feed_schemas import CalendarRow, HistoryRow, InventoryRow, ItemRow, OpenOrderRow
from service.hold_schemas import StopRequest
from service.override_schemas import OverrideChange, OverrideRequest
from service.schemas import RecommendationItem
from service.what_if_schemas import WhatIfRequest
from tests.bundles import make_bundle
from tests.conftest import CHAMPION
from tests.servers import Answer, Flaky, Server
from tests.serving import Service, running_service

LAST = date(2019, 4, 30)
VERSION = "held-20"
NEXT = LAST + timedelta(days=1)


@pytest.fixture(scope="module")
def service(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    bundles = tmp_path_factory.mktemp("bundles")
    make_bundle(bundles, VERSION, 20.0)
    settings = {"ORPR_BUNDLES": str(bundles), "ORPR_HOLD_LOCATION_MONEY": "1000000"}
    with running_service(tmp_path_factory.mktemp("service"), small_dataset, **settings) as running:
        yield running


@pytest.fixture
def rows(client: Client) -> list[ItemRow]:
    return list(client.items())


def override(row: ItemRow, **fields: Any) -> OverrideRequest:
    said = {"item_id": row.item_id, "location_id": row.location_id, "selling_from": NEXT, "selling_to": NEXT,
            "mode": "set", "value": 9, "reason": "a fair", "author": "ann"}  # fmt: skip
    return OverrideRequest(**(said | fields))


# --------------------------------------------------------------------------------------------------------- round trips


def test_many_series_are_answered_in_their_order_in_batches(
    client: Client, rows: list[ItemRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [RecommendationItem(item_id=r.item_id, location_id=r.location_id, on_hand=5) for r in rows[::-1]]
    whole = client.recommend(asked, record=False)
    monkeypatch.setattr(orpr.client, "MOST_SERIES", 3)
    parts = client.recommend(asked, record=False, counterfactuals=True)
    assert [(one.item_id, one.location_id) for one in parts.items] == [(r.item_id, r.location_id) for r in rows[::-1]]
    assert parts.as_of == whole.as_of == LAST
    for one, other in zip(whole.items, parts.items, strict=True):
        assert one.result is not None
        assert other.result is not None
        assert other.result.counterfactuals is not None
        assert one.result.inventory_days == other.result.inventory_days
        assert (one.result.lead_time_source, one.result.review_period_source) == ("store", "store")
        assert one.result.order_rules_source == "store (whole units)"


def test_batches_that_a_canary_decides_in_part_are_one_answer(
    client: Client, rows: list[ItemRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [RecommendationItem(item_id=r.item_id, location_id=r.location_id, on_hand=5) for r in rows]
    client.register_policy(VERSION)
    begun = client.try_policy(VERSION, 50, "to try")
    assert (begun.alias, begun.version, begun.share) == ("canary", VERSION, 50)
    monkeypatch.setattr(orpr.client, "MOST_SERIES", 1)
    told = client.recommend(asked, record=False)
    assert (told.policy_version, told.policy_alias) == (CHAMPION, "champion")
    assert {(one.policy_version, one.policy_alias) for one in told.items} == {
        (CHAMPION, "champion"), (VERSION, "canary"),
    }  # fmt: skip
    canary = client.policies().canary
    assert canary is not None
    assert [rail.guardrail for rail in canary.guardrails] == ["target_stock", "order_value", "failures", "latency"]
    ended = client.end_canary("seen enough")
    assert (ended.version, ended.before) == (None, VERSION)
    alone = client.recommend(asked, record=False)
    assert {one.policy_alias for one in alone.items} == {"champion"}


def test_a_canary_that_changes_between_two_batches_is_told(
    service: Service, client: Client, rows: list[ItemRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service answers; on the way back the second batch names another version."""
    item = RecommendationItem(item_id=rows[0].item_id, location_id=rows[0].location_id, on_hand=5)
    said = client.recommend([item], record=False)
    bodies = [
        said.model_copy(
            update={"items": [said.items[0].model_copy(update={"policy_alias": "canary", "policy_version": v})]}
        )
        for v in ("one", "other")
    ]
    answers = iter([Answer(200, body.model_dump_json().encode()) for body in bodies])
    monkeypatch.setattr(orpr.client, "MOST_SERIES", 1)
    with (
        Server(lambda _asked: next(answers)) as server,
        Client(server.url, service.key) as asking,
        pytest.raises(RuntimeError, match="changed from one to other between two batches"),
    ):
        asking.recommend([item, item], record=False)


def test_when_and_in_what_stock_was_counted_is_sent(client: Client, rows: list[ItemRow]) -> None:
    item = RecommendationItem(item_id=rows[0].item_id, location_id=rows[0].location_id, on_hand=900, open_orders=[])
    noon = datetime(LAST.year, LAST.month, LAST.day, 12)  # noqa: DTZ001 - by the location's clock
    counted = client.recommend([item], record=False, inventory_as_of=noon).items[0].result
    assert counted is not None
    assert counted.sold_since_count > 0
    client.put_items([rows[0].model_copy(update={"uom": "EA"})])
    other = client.recommend([item], record=False, uom="PALLET").items[0].problem
    client.put_items([rows[0]])
    assert other is not None
    assert "PALLET" in other.detail


def test_an_outcome_is_told_and_read_back(client: Client, rows: list[ItemRow]) -> None:
    item = RecommendationItem(item_id=rows[0].item_id, location_id=rows[0].location_id, on_hand=0, open_orders=[])
    result = client.recommend([item], client_ref="round trip").items[0].result
    assert result is not None
    assert result.decision_id is not None
    told = client.tell_outcome(result.decision_id, OutcomeRequest(status="changed", quantity=7, note="no more"))
    assert (told.status, told.ordered_quantity) == ("changed", 7)
    assert client.decision(result.decision_id) == told
    assert [one.id for one in client.decisions(client_ref="round trip", order_date=LAST)] == [result.decision_id]


def test_feeds_of_rows_and_of_tables_are_read_back(client: Client, rows: list[ItemRow]) -> None:
    first = rows[1]
    where = {"item_id": first.item_id, "location_id": first.location_id}
    client.put_items([first.model_copy(update={"order_multiple": 6.0})])
    assert [one.order_multiple for one in client.items(**where)] == [6.0]
    sold = pl.DataFrame([where | {"date": NEXT, "units_sold": 41.0, "in_stock": 1.0}])
    assert client.put_history(sold).stored == 1
    later = NEXT + timedelta(days=1)
    client.put_history([HistoryRow(**where, date=later, units_sold=3, in_stock=None)])
    assert [one.units_sold for one in client.history(NEXT, later, **where)] == [41, 3]
    client.put_inventory([InventoryRow(**where, date=NEXT, on_hand=12.5)])
    assert [(one.date, one.on_hand) for one in client.inventory(**where)] == [(NEXT, 12.5)]
    client.put_inventory([InventoryRow(**where, date=LAST, on_hand=7)])
    assert [one.on_hand for one in client.inventory(**where)] == [12.5]
    told = client.inventory_history(LAST, NEXT, **where)
    assert [(one.date, one.on_hand) for one in told][-2:] == [(LAST, 7), (NEXT, 12.5)]
    client.put_open_orders([OpenOrderRow(**where, arrival_date=later, quantity=4)])
    assert [(one.arrival_date, one.quantity) for one in client.open_orders(**where)] == [(later, 4)]
    client.put_calendar([CalendarRow(location_id=first.location_id, date=later, holiday=1)])
    assert [one.holiday for one in client.calendar(later, later, location_id=first.location_id)] == [1]


def test_pages_follow_each_other_by_cursor(
    service: Service, client: Client, rows: list[ItemRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client.create_overrides([override(rows[2], value=n, promotion_id="PAGES") for n in range(5)])
    monkeypatch.setattr(orpr.calls.overrides, "PAGE", 2)
    with Flaky(service.url) as counted, Client(counted.url, service.key) as counting:
        assert [one.id for one in counting.overrides(promotion_id="PAGES")] == [one.id for one in made]
        assert len(counted.seen) == 3


def test_an_override_is_previewed_made_changed_and_withdrawn(client: Client, rows: list[ItemRow]) -> None:
    wanted = override(rows[3], mode="add_units", value=500)
    assert client.preview_override(wanted).series_in_scope == 1
    made = client.create_override(wanted)
    changed = client.change_override(made.id, OverrideChange(value=30), version=made.version)
    assert (changed.value, changed.reason, changed.version) == (30, "a fair", made.version + 1)
    with pytest.raises(ServiceProblem, match="412 version-changed"):
        client.withdraw_override(made.id, version=made.version)
    assert client.withdraw_override(made.id, version=changed.version).state == "deleted"
    assert client.override(made.id).state == "deleted"
    assert [one.action for one in client.override_history(made.id)] == ["created", "changed", "deleted"]
    with pytest.raises(ServiceProblem, match="404 override-unknown"):
        client.approve_override(made.id, version=3)


def test_what_is_held_is_listed_released_and_then_answered(client: Client, rows: list[ItemRow]) -> None:
    where = {"item_id": rows[6].item_id, "location_id": rows[6].location_id}
    client.put_items([rows[6].model_copy(update={"unit_cost": 50_000.0, "min_order_qty": 100.0})])
    asked = [RecommendationItem(**where, on_hand=0, open_orders=[])]
    refused = client.recommend(asked, as_of=LAST).items[0].problem
    assert refused is not None
    assert refused.type == "order-held"
    hold = next(one for one in client.holds("held") if one.location_id == rows[6].location_id)
    assert hold.findings[0].measure == "order_value"
    released = client.release_hold(hold.id, "the new hall opens", version=hold.version)
    assert (released.state, released.reason) == ("released", "the new hall opens")
    assert [one.id for one in client.holds("released")] == [hold.id]
    assert client.recommend(asked, as_of=LAST).items[0].result is not None
    with pytest.raises(ServiceProblem, match="404 hold-unknown"):
        client.release_hold(hold.id + 1, "none", version=1)


def test_orders_are_stopped_and_go_on(client: Client, rows: list[ItemRow]) -> None:
    stop = client.stop_orders(StopRequest(location_id=rows[7].location_id, reason="stock take"))
    asked = [RecommendationItem(item_id=rows[7].item_id, location_id=rows[7].location_id, on_hand=1e6)]
    problem = client.recommend(asked, as_of=LAST).items[0].problem
    assert problem is not None
    assert problem.type == "orders-stopped"
    assert list(client.stops()) == [stop]
    ended = client.end_stop(stop.id)
    assert ended.ended_by == "planner"
    assert list(client.stops()) == []
    assert list(client.stops(ended=True)) == [ended]
    assert client.recommend(asked, as_of=LAST).items[0].result is not None


def test_a_policy_is_registered_shadowed_promoted_and_rolled_back(client: Client) -> None:
    assert client.register_policy(VERSION).registered_by == "planner"
    assert client.shadow_policy(VERSION, "to see").version == VERSION
    promoted = client.promote_policy(VERSION, "4 % cheaper")
    assert (promoted.alias, promoted.version, promoted.before) == ("champion", VERSION, CHAMPION)
    assert client.policies().serving == VERSION
    assert client.end_shadow("seen enough").version is None
    back = client.roll_back_policy("too much stock")
    assert back.version == CHAMPION
    assert [one.action for one in client.policy(VERSION).changes][-4:] == ["shadow", "promote", "clear", "rollback"]
    with pytest.raises(ServiceProblem, match="404 policy-unknown: version: there is no policy 'nobody'"):
        client.promote_policy("nobody", "x")


# ------------------------------------------------------------------------------------------------------------- problems


def test_what_other_days_would_cost_can_be_asked(client: Client, rows: list[ItemRow]) -> None:
    told = client.what_if(
        WhatIfRequest(item_id=rows[0].item_id, location_id=rows[0].location_id, on_hand=5, days=[1, 9])
    )
    assert [point.inventory_days for point in told.curve] == sorted({1, 9, told.policy_days})


def test_a_problem_carries_its_rows_and_is_one_line(client: Client, rows: list[ItemRow]) -> None:
    where = {"item_id": rows[0].item_id, "location_id": rows[0].location_id}
    bad = pl.DataFrame([where | {"date": NEXT, "on_hand": 1.0}, where | {"date": NEXT, "on_hand": -3.0}])
    with pytest.raises(ServiceProblem) as caught:
        client.put_inventory(bad)
    problem = caught.value
    assert (problem.type, problem.status) == ("rows-invalid", 422)
    assert {(error.row, error.field) for error in problem.errors} >= {(1, "on_hand")}
    assert str(problem).startswith("PUT /v1/inventory: 422 rows-invalid: row 1, ")
    assert "\n" not in str(problem)


def test_a_wrong_key_is_a_problem_that_does_not_name_it(service: Service) -> None:
    with (
        Client(service.url, "orpr_wrong") as stranger,
        pytest.raises(ServiceProblem, match="401 unauthorized") as caught,
    ):
        list(stranger.items())
    assert "orpr_wrong" not in str(caught.value)


def test_a_key_with_a_line_break_is_refused_without_naming_it() -> None:
    with pytest.raises(ValueError, match="X-API-Key: holds a character") as caught:
        Client("http://127.0.0.1:1", "orpr_secret\n")
    assert "secret" not in str(caught.value)


def test_an_answer_that_is_no_problem_document_is_a_problem_too(service: Service) -> None:
    with Flaky(service.url, 418) as flaky, Client(flaky.url, service.key) as client:
        with pytest.raises(ServiceProblem, match="GET /v1/items: 418 about:blank: busy"):
            list(client.items())
        assert len(flaky.seen) == 1


def test_an_answer_of_something_else_is_one_line(service: Service) -> None:
    told = "GET /v1/items: the answer is none of this service"
    with (
        Flaky(service.url, 200) as flaky,
        Client(flaky.url, service.key) as client,
        pytest.raises(ValueError, match=told) as caught,
    ):
        list(client.items())
    assert "\n" not in str(caught.value)


# -------------------------------------------------------------------------------------------------------------- retries


@pytest.mark.parametrize("plan", [("lost",), ("lost", "lost", 503), (429, "lost")])
def test_a_write_whose_answer_is_lost_is_stored_once(
    service: Service, client: Client, rows: list[ItemRow], plan: tuple[str | int, ...]
) -> None:
    promotion = f"LOST-{'-'.join(map(str, plan))}"
    with Flaky(service.url, *plan) as flaky:
        with Client(flaky.url, service.key, waits_s=(0, 0, 0), sleep=lambda _: None) as shaky:
            made = shaky.create_override(override(rows[4], promotion_id=promotion))
        assert len(flaky.seen) == len(plan) + 1
        assert len({key for _, _, key in flaky.seen}) == 1
        assert flaky.seen[0][2]
    assert [one.id for one in client.overrides(promotion_id=promotion)] == [made.id]


def test_every_kind_of_write_survives_a_lost_answer(service: Service, client: Client, rows: list[ItemRow]) -> None:
    row, plan = rows[5], ("lost", "pass") * 9
    where = {"item_id": row.item_id, "location_id": row.location_id}
    with Flaky(service.url, *plan) as flaky, Client(flaky.url, service.key, waits_s=(0,)) as shaky:
        shaky.put_items([row])
        shaky.put_history(pl.DataFrame([where | {"date": LAST, "units_sold": 1.0, "in_stock": 1.0}]))
        shaky.put_inventory([InventoryRow(**where, date=LAST, on_hand=0)])
        shaky.put_open_orders([OpenOrderRow(**where, arrival_date=NEXT, quantity=2)])
        shaky.put_calendar([CalendarRow(location_id=row.location_id, date=NEXT, open=1)])
        result = shaky.recommend([RecommendationItem(**where)], as_of=LAST, client_ref="lost").items[0].result
        assert result is not None
        assert result.decision_id is not None
        told = shaky.tell_outcome(result.decision_id, OutcomeRequest(status="rejected"))
        made = shaky.create_overrides([override(row, promotion_id="ALL")])[0]
        changed = shaky.change_override(made.id, OverrideChange(value=3), version=made.version)
        assert len(flaky.seen) == len(plan)
    assert len(told.outcomes) == 1
    assert [one.quantity for one in client.open_orders(**where)] == [2]
    assert changed.version == made.version + 1
    assert len(client.override_history(made.id)) == 2


def test_retry_after_is_heeded_up_to_a_minute(service: Service) -> None:
    waited: list[float] = []
    with Flaky(service.url, 503, 429) as flaky, Client(flaky.url, service.key, sleep=waited.append) as client:
        assert list(client.overrides(promotion_id="none")) == []
    assert waited == [7.0, 7.0]


def test_the_tries_are_bounded_and_the_last_answer_is_told(service: Service) -> None:
    with Flaky(service.url, *[503] * 9) as flaky:
        with (
            Client(flaky.url, service.key, waits_s=(0, 0), sleep=lambda _: None) as client,
            pytest.raises(ServiceProblem, match="503 about:blank: busy"),
        ):
            list(client.items())
        assert len(flaky.seen) == 3
        gone = flaky.url
    told = "no answer after 2 tries: ConnectError"
    with Client(gone, service.key, waits_s=(0,)) as client, pytest.raises(Unanswered, match=told):
        list(client.items())


def test_what_is_not_repeatable_is_sent_once(service: Service) -> None:
    with Flaky(service.url, "lost") as flaky:
        with pytest.raises(Unanswered, match="after 1 try"):
            Sender(flaky.url, {}, (0,)).send("GET", "/healthz", repeatable=False)
        assert len(flaky.seen) == 1
