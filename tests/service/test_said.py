"""What a network said is not worked out again for the same question, and for no other."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pytest

from service.bundle import resolve_bundle
from service.policy import PARITY_OUTPUTS, Policy, PolicyAnswer
from service.rows import Seen, pack
from service.said import Said
from simulator.canonical import read_panel
from simulator.observation import Observer
from simulator.panel import Panel
from simulator.step import State
from tests.service.conftest import SAMPLE


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy(resolve_bundle("champion", 1))


def seen(chain: Panel, policy: Policy, on_hand: float, rows: range = range(6)) -> Seen:
    at = np.array(rows)
    observation = Observer(chain, policy.spec).observe(at, np.full(len(at), chain.last_recorded))
    state = State(np.full(len(at), on_hand), np.zeros((len(at), policy.spec.horizon + 1)))
    rows = pack(observation, ["history"] * len(at))
    return Seen(rows, policy.spec, state, prints=[blake2b(row).digest() for row in rows])


def same(left: PolicyAnswer, right: PolicyAnswer) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def test_outputs_come_back_as_they_were_and_the_oldest_go_first() -> None:
    said = Said([(), (3,), (2, 2)], most_rows=2)
    outputs = [np.arange(3), np.arange(9).reshape(3, 3), np.arange(12).reshape(3, 2, 2)]
    rows = said.keep([b"a", b"b", b"c"], [column.astype(np.float32) for column in outputs])
    assert said.find([b"a", b"b", b"c"]) == [None, *rows[1:]]
    for found, column in zip(said.outputs(rows[1:]), outputs, strict=True):
        np.testing.assert_array_equal(found, column[1:])


def test_the_same_question_runs_the_network_once(chain: Panel, policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []
    own = policy._answered
    monkeypatch.setattr(policy, "_answered", lambda count, *how: ran.append(count) or own(count, *how))
    first = policy.answer_to(seen(chain, policy, 5))
    assert same(policy.answer_to(seen(chain, policy, 5)), first)
    assert ran == [6]
    more = policy.answer_to(seen(chain, policy, 5, range(8)))
    assert ran == [6, 2]  # of eight series two are new
    assert same(PolicyAnswer(*(column[:6] for column in more)), first)
    assert not same(policy.answer_to(seen(chain, policy, 500)), first)
    assert ran == [6, 2, 6]  # other stock is another question


def test_other_circumstances_are_never_taken_for_the_plain_question(chain: Panel, policy: Policy) -> None:
    plain = seen(chain, policy, 7)
    days = plain.field("lead_time_days")
    before = policy.answer_to(plain)
    later = policy.answer_to(plain.but(lead_time_days=days + 5))
    assert not same(later, before)
    assert same(policy.answer_to(plain), before)
    assert same(policy.answer_to(plain.but(lead_time_days=days + 5)), later)
    assert plain.but(lead_time_days=days).digests() is None


@pytest.mark.parametrize("count", [1, 16, 17, 64, 100, 129])
def test_answers_do_not_depend_on_how_many_are_asked_at_once(policy: Policy, count: int) -> None:
    panel = read_panel(SAMPLE)
    rows = np.arange(count) % panel.series_count
    days = panel.last_recorded - np.arange(count) % 5  # so that no row is like another
    observation = Observer(panel, policy.spec).observe(
        rows, days, State(np.arange(count) + 1.0, np.zeros((count, policy.spec.horizon)))
    )
    whole = policy.answer(observation)
    alone = [policy.answer({name: column[n : n + 1] for name, column in observation.items()}) for n in range(count)]
    for name, column in whole._asdict().items():
        single = np.concatenate([getattr(one, name) for one in alone])
        assert column.shape == single.shape
        if name in PARITY_OUTPUTS:
            np.testing.assert_allclose(column, single, rtol=1e-3, atol=1e-3)
