"""A service as a policy: ours in a process of its own, and one of our making that misbehaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import orpr.remote
from orpr.policies import contenders_of, load_policy
from orpr.remote import RemotePolicy
from service.store import Store
from simulator.canonical import read_panel
from simulator.observation import ObservationSpec, Observer
from simulator.panel import Panel
from simulator.step import State
from tests.conftest import CHAMPION
from tests.servers import Answer, Asked, Server
from tests.serving import Service
from training.backtest import replay_contender
from training.methods import Replay, replay_of

T = 1150


@pytest.fixture(scope="module")
def replay(small_dataset: Path) -> Replay:
    return replay_of(read_panel(small_dataset), range(T, T + 8))


@pytest.fixture(scope="module")
def observer(replay: Replay) -> Observer:
    return Observer(replay.panel, ObservationSpec(), replay.rates)


def decide(remote: RemotePolicy, observer: Observer, t: int = T, rows: tuple[int, ...] = (0, 1)) -> list[float]:
    state = State(np.full(len(rows), 3.0), np.tile([[0.0, 6.0]], (len(rows), 1)))
    return remote.decide(observer, np.array(rows), t, state).tolist()


# ------------------------------------------------------------------------------------------------------------- our own


def test_the_service_s_targets_are_the_bundle_s_own(
    service: Service, replay: Replay, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same days, so what the service knows of a past day is what was known then."""
    monkeypatch.setenv("ORPR_API_KEY", service.key)
    source = load_policy(f"ours={service.url}", 1)
    record, targets = replay_contender(replay, observer, contenders_of(source)[0].decide)
    own, own_targets = replay_contender(replay, observer, contenders_of(load_policy("champion", 1))[0].decide)
    assert replay.world.review_due.sum() > 20
    assert targets == pytest.approx(own_targets, rel=1e-6)
    assert record.on_hand == pytest.approx(own.on_hand)
    remote = source.loaded
    assert isinstance(remote, RemotePolicy)
    assert (remote.version, remote.answers) == (CHAMPION, replay.world.review_due.sum())
    assert (remote.overridden, remote.from_baseline) == (0, 0)


def test_an_override_of_the_replayed_days_is_set_aside_and_counted(service: Service, observer: Observer) -> None:
    remote = RemotePolicy(service.url, service.key)
    before = decide(remote, observer)
    items, day = observer.panel.items, observer.panel.date_of(T)
    body = {"item_id": items.item_id[0], "location_id": items.location_id[0], "selling_from": day.isoformat(),
            "selling_to": "2019-04-30", "mode": "set", "value": 40, "reason": "later than the day", "author": "ann"}  # fmt: skip
    headers = {"X-API-Key": service.key}
    httpx.post(f"{service.url}/v1/overrides", json=body, headers=headers, trust_env=False).raise_for_status()
    assert decide(remote, observer) == before
    assert remote.overridden == 1


def test_many_series_are_asked_in_batches(
    service: Service, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tuple(range(8))
    whole = decide(RemotePolicy(service.url, service.key), observer, rows=rows)
    monkeypatch.setattr(orpr.remote, "MOST_SERIES", 3)
    assert decide(RemotePolicy(service.url, service.key), observer, rows=rows) == whole


def test_a_wrong_key_an_unknown_series_and_a_day_too_far_are_one_line(service: Service, observer: Observer) -> None:
    with pytest.raises(ValueError, match=r"401 unauthorized: .*the API key is not known.*ORPR_API_KEY"):
        decide(RemotePolicy(service.url, "orpr_wrong"), observer)
    with pytest.raises(ValueError, match="no API key was sent"):
        decide(RemotePolicy(service.url, ""), observer)
    with pytest.raises(ValueError, match="on 2019-07-10: refused with 422 history-too-old"):
        decide(RemotePolicy(service.url, service.key), observer, observer.panel.last_recorded + 71)


def test_a_series_that_the_service_does_not_know_is_named(service: Service, bakery: Panel) -> None:
    stranger = Observer(bakery, ObservationSpec())
    known = set(read_names(service))
    row = next(n for n, name in enumerate(bakery.names) if name not in known)
    with pytest.raises(ValueError, match=f"{bakery.names[row]}: series-unknown"):
        decide(RemotePolicy(service.url, service.key), stranger, rows=(row,))


def read_names(service: Service) -> list[str]:
    """The series that the service holds."""
    store = Store(service.database_url)
    try:
        return [f"{item}@{place}" for item, place in store.all_series()]
    finally:
        store.close()


# ------------------------------------------------------------------------------------------------------- misbehaviour

Reply = Callable[[dict[str, Any]], tuple[int, Any]]


def good(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What a service answers, with changes to every result."""
    results = [
        {"item_id": item["item_id"], "location_id": item["location_id"], "problem": None,
         "result": {"inventory_days": 2.0, "daily_rate": 5.0, "override": None, "source": "policy", **changes}}
        for item in body["items"]
    ]  # fmt: skip
    return {"as_of": body["as_of"], "policy_version": "odd-1", "items": results}


class OddServer(Server):
    """Answers each request as the next of its replies says, the last one for ever."""

    def __init__(self, *replies: Reply) -> None:
        super().__init__(self._answer)
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._replies = replies

    def _answer(self, asked: Asked) -> Answer:
        body = json.loads(asked.body)
        status, told = self._replies[min(len(self.bodies), len(self._replies) - 1)](body)
        self.bodies.append(body)
        self.headers.append(asked.headers)
        return Answer(status, told if isinstance(told, bytes) else json.dumps(told).encode())


def test_the_replay_s_stock_and_pipeline_are_sent(observer: Observer) -> None:
    with OddServer(lambda body: (200, good(body))) as server:
        assert decide(RemotePolicy(server.url, "k"), observer) == [10.0, 10.0]
    day = observer.panel.date_of(T + 2).isoformat()
    item = server.bodies[0]["items"][1]
    assert server.bodies[0]["as_of"] == observer.panel.date_of(T).isoformat()
    assert item["on_hand"] == 3.0
    assert item["open_orders"] == [{"arrival_date": day, "quantity": 6.0}]
    assert server.headers[0]["X-API-Key"] == "k"


def test_a_passing_fault_is_tried_again(observer: Observer) -> None:
    busy: Reply = lambda _body: (503, {"type": "no-policy", "detail": "wait"})  # noqa: E731
    with OddServer(busy, busy, lambda body: (200, good(body))) as server:
        assert decide(RemotePolicy(server.url, "k", (0.0, 0.0)), observer) == [10.0, 10.0]
        assert len(server.bodies) == 3
    with OddServer(busy) as server, pytest.raises(RuntimeError, match=r"no answer after 3 tries: 503 no-policy: wait"):
        decide(RemotePolicy(server.url, "k", (0.0, 0.0)), observer)


def test_a_lasting_fault_is_not_tried_again(observer: Observer) -> None:
    with OddServer(lambda _body: (500, b"oh")) as server:
        with pytest.raises(ValueError, match="refused with 500 oh"):
            decide(RemotePolicy(server.url, "k", (0.0, 0.0)), observer)
        assert len(server.bodies) == 1


def test_a_service_that_is_not_there_is_one_line(observer: Observer) -> None:
    with OddServer(lambda body: (200, good(body))) as server:
        url = server.url
    with pytest.raises(RuntimeError, match=r"no answer after 2 tries: ConnectError") as caught:
        decide(RemotePolicy(url, "k", (0.0,)), observer)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (lambda _body: b"<html>", "the answer is no JSON: '<html>'"),
        (lambda _body: [1, 2], "no recommendation response"),
        (lambda body: good(body) | {"items": good(body)["items"][:1]}, "asked for 2 series, got 1 series"),
        (lambda body: good(body) | {"as_of": "2020-01-01"}, "as of 2020-01-01"),
        (lambda body: good(body) | {"items": good(body)["items"][::-1]}, "B101@S.*: the answer is not in its place"),
        (lambda body: good(body) | {"items": [{**i, "result": None} for i in good(body)["items"]]}, "neither a result"),
        (lambda body: good(body, inventory_days=-1.0), "inventory_days must be finite and at least 0, got -1.0"),
        (lambda body: good(body, daily_rate=float("nan")), "daily_rate must be finite and at least 0, got nan"),
        (lambda body: good(body, daily_rate="5"), "daily_rate must be finite and at least 0, got '5'"),
        (lambda body: good(body, inventory_days=True), "inventory_days must be finite"),
        (
            lambda body: good(body) | {"items": [{**i, "policy_alias": "canary"} for i in good(body)["items"]]},
            "lets a canary decide some of the series",
        ),
    ],
)
def test_a_bad_answer_says_what_is_wrong_with_it(
    observer: Observer, reply: Callable[[dict[str, Any]], Any], said: str
) -> None:
    with OddServer(lambda body: (200, reply(body))) as server, pytest.raises(ValueError, match=said) as caught:
        decide(RemotePolicy(server.url, "k"), observer)
    assert "\n" not in str(caught.value)


def test_a_policy_that_changes_meanwhile_is_refused(observer: Observer) -> None:
    with OddServer(
        lambda body: (200, good(body)), lambda body: (200, good(body) | {"policy_version": "odd-2"})
    ) as server:
        remote = RemotePolicy(server.url, "k")
        decide(remote, observer)
        with pytest.raises(ValueError, match="changed its policy from odd-1 to odd-2"):
            decide(remote, observer)


def test_the_key_is_never_taken_from_the_url() -> None:
    with pytest.raises(ValueError, match="ORPR_API_KEY") as caught:
        RemotePolicy("http://me:secret@127.0.0.1:8000")
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="names no host"):
        RemotePolicy("http://")
    assert RemotePolicy("http://127.0.0.1:8000/orpr/v1/recommendations", "k").name == "http://127.0.0.1:8000/orpr"
