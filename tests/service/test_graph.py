"""A graph in two halves: what no stock changes is read once, and the answers stay the same to the last bit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import redis

from service.bundle import BUNDLES, GRAPH, resolve_bundle
from service.caches import MemoryCache, RedisCache
from service.features import FeatureRows
from service.graph import cut, load
from service.policy import Policy
from service.prebuilding import Prebuilding
from service.rows import Seen
from service.settings import Settings
from service.store import Store
from simulator.contract import CONTEXT
from simulator.observation import FIELDS, STATE_FIELDS, Observation
from simulator.panel import F64, Panel
from simulator.step import State
from tests.bundles import make_bundle

SHIPPED = sorted(path.name for path in BUNDLES.iterdir())


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy(resolve_bundle("champion", 1))


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store(settings.database_url)
    yield opened
    opened.close()


@pytest.fixture
def series(chain: Panel) -> list[tuple[str, str]]:
    return list(zip(chain.items.item_id, chain.items.location_id, strict=True))


def golden(name: str) -> Observation:
    with np.load(BUNDLES / name / "golden.npz") as cases:
        return {field.name: cases[f"input.{field.name}"] for field in FIELDS}


def in_one_piece(content: bytes, fields: Observation) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    answers: list[np.ndarray] = session.run(None, fields)
    return answers


def held(policy: Policy, units: F64) -> State:
    return State(units, np.zeros((len(units), policy.spec.horizon)))


def same(found: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_halves_of_a_shipped_graph_answer_as_the_whole(name: str) -> None:
    content, cases = (BUNDLES / name / GRAPH).read_bytes(), golden(name)
    whole = load(content)
    assert (whole.width, whole.choosing) == (0, tuple(field.name for field in FIELDS))
    expected = in_one_piece(content, cases)
    assert same(whole.choose(whole.read(cases), cases), expected)
    graph = cut(whole, content, cases)
    assert graph.width > 0
    assert not {field.name for field in STATE_FIELDS} & set(graph.reading)
    context = graph.read({field: cases[field] for field in graph.reading})
    assert context.shape == (len(cases["as_of_day"]), graph.width)
    assert same(graph.choose(context, {field: cases[field] for field in graph.choosing}), expected)


def test_choosing_looks_at_costs_and_stock_only(policy: Policy) -> None:
    assert not set(policy.graph.choosing) & {"units_sold", "promotion", "price", "own_forecast", "codes", "name_tokens"}
    assert {field.name for field in STATE_FIELDS} <= set(policy.graph.choosing)


def renamed(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for value in model.graph.value_info:
        value.name = new if value.name == old else value.name


def nowhere(model: onnx.ModelProto) -> None:
    renamed(model, CONTEXT, "another_name")


def behind_the_stock(model: onnx.ModelProto) -> None:
    nowhere(model)
    made = next(node for node in model.graph.node if "logits" in node.output)
    renamed(model, made.input[0], CONTEXT)


def where_nothing_follows(model: onnx.ModelProto) -> None:
    nowhere(model)
    model.graph.node.append(onnx.helper.make_node("Identity", ["units_sold"], [CONTEXT]))


def of_all_rows_together(model: onnx.ModelProto) -> None:
    """A row's context depends on how many are asked."""
    nowhere(model)
    sums = onnx.helper.make_node("CumSum", ["another_name", "first"], [CONTEXT])
    at = next(n for n, node in enumerate(model.graph.node) if "another_name" in node.output)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0, dtype=np.int64), "first"))
    for node in model.graph.node:
        node.input[:] = [CONTEXT if name == "another_name" else name for name in node.input]
    sums.attribute.append(onnx.helper.make_attribute("reverse", 1))
    model.graph.node.insert(at + 1, sums)


@pytest.mark.parametrize("spoil", [nowhere, behind_the_stock, where_nothing_follows, of_all_rows_together])
def test_what_cannot_be_cut_serves_in_one_piece(spoil: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(BUNDLES / SHIPPED[0] / GRAPH)
    spoil(model)
    content, cases = model.SerializeToString(), golden(SHIPPED[0])
    whole = load(content)
    assert cut(whole, content, cases) is whole
    assert same(whole.choose(whole.read(cases), cases), in_one_piece(content, cases))


def test_rows_are_read_when_they_are_built(policy: Policy, store: Store, series: list[tuple[str, str]]) -> None:
    """The same orders, whoever read the rows, and whoever did not."""
    day, units = store.dataset().last_recorded, np.linspace(0.0, 60.0, len(series))  # type: ignore[union-attr]
    found = FeatureRows(store, MemoryCache(), store.dataset, lambda: policy).rows(series, day)
    state = held(policy, units)
    read, unread = Seen(found.blobs, policy.spec, state, read=found.read), Seen(found.blobs, policy.spec, state)
    assert read.read_by(policy.reader)
    assert not unread.read_by(policy.reader)
    assert same(list(policy.run(read)), list(policy.run(unread)))
    assert same(list(policy.run(read.unread())), list(policy.run(unread)))
    some = [one if n % 3 else b"" for n, one in enumerate(found.read)]
    torn = [one[: 100 * n] if n % 2 else bytes(len(one)) for n, one in enumerate(found.read)]
    for told in (some, torn):
        again = policy.run(Seen(found.blobs, policy.spec, state, read=told))
        np.testing.assert_array_equal(again.inventory_days, policy.run(unread).inventory_days)
        np.testing.assert_allclose(again.logits, policy.run(unread).logits, rtol=1e-4, atol=1e-4)


def test_what_was_read_is_not_read_again(
    policy: Policy, store: Store, series: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    day, rows, lock = store.dataset().last_recorded, 0, threading.Lock()  # type: ignore[union-attr]
    own = policy.graph.read

    def counted(fields: Observation) -> np.ndarray:
        nonlocal rows
        with lock:
            rows += len(fields["as_of_day"])
        return own(fields)

    monkeypatch.setattr(policy.graph, "read", counted)
    features = FeatureRows(store, MemoryCache(), store.dataset, lambda: policy)
    for units in (1.0, 2.0):
        found = features.rows(series, day)
        policy.run(Seen(found.blobs, policy.spec, held(policy, np.full(len(series), units)), read=found.read))
        assert rows == len(series)
    seen = Seen(found.blobs, policy.spec, held(policy, np.full(len(series), 1.0)), read=found.read)
    later = seen.but(lead_time_days=seen.field("lead_time_days") + 2)
    policy.run(later)  # nobody has read that
    assert rows == 2 * len(series)


def test_another_policy_reads_the_rows_after_it_is_put_in_charge(
    policy: Policy, store: Store, redis_url: str, series: list[tuple[str, str]], tmp_path: Path
) -> None:
    other, charge = Policy(make_bundle(tmp_path, "other")), [policy]
    cache = RedisCache(redis_url, 1.0, 60)
    features = FeatureRows(store, cache, store.dataset, lambda: charge[0])
    prebuilding = Prebuilding(features, cache, store, store.dataset)
    day = store.dataset().last_recorded  # type: ignore[union-attr]
    prebuilding.step(0)
    before = features.rows(series, day)
    assert all(one.startswith(policy.reader) for one in before.read)
    charge[0] = other
    assert features.rows(series, day).read == before.read  # who waits is not kept waiting for that
    prebuilding.step(0)
    after = features.rows(series, day)
    assert all(one.startswith(other.reader) for one in after.read)
    assert (after.blobs, after.prints) == (before.blobs, before.prints)
    assert features.misses == 0
    elsewhere = FeatureRows(store, RedisCache(redis_url, 1.0, 60), store.dataset, lambda: other)
    assert elsewhere.rows(series, day).read == after.read  # another process finds it


def test_every_process_has_its_rows_read_anew_and_after_a_rollback_again(
    policy: Policy, store: Store, redis_url: str, series: list[tuple[str, str]], tmp_path: Path
) -> None:
    other, charge = Policy(make_bundle(tmp_path, "other")), [policy]
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()  # no other test has claimed the work
    day = store.dataset().last_recorded  # type: ignore[union-attr]
    processes = []
    for _ in range(2):
        cache = RedisCache(redis_url, 1.0, 60)
        features = FeatureRows(store, cache, store.dataset, lambda: charge[0])
        processes.append((features, Prebuilding(features, cache, store, store.dataset)))
    for one in (policy, other, policy):
        charge[0] = one
        for features, prebuilding in processes:
            prebuilding.step(0)
            assert all(told.startswith(one.reader) for told in features.rows(series, day).read)


def test_a_policy_that_cannot_read_costs_no_rows(
    policy: Policy, store: Store, series: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    day = store.dataset().last_recorded  # type: ignore[union-attr]

    def failing(_: list[bytes]) -> list[bytes]:
        raise MemoryError

    monkeypatch.setattr(policy, "read", failing)
    features = FeatureRows(store, MemoryCache(), store.dataset, lambda: policy)
    assert set(features.rows(series, day).read) == {b""}
    features.rows(series, day)
    assert (features.hits, features.misses) == (len(series), len(series))


def test_rows_of_another_period_are_not_read(store: Store, series: list[tuple[str, str]]) -> None:
    weekly = Policy(resolve_bundle("champion", 7))
    day = store.dataset().last_recorded  # type: ignore[union-attr]
    found = FeatureRows(store, MemoryCache(), store.dataset, lambda: weekly).rows(series, day)
    assert set(found.read) == {b""}
    with pytest.raises(ValueError, match="feature rows of"):
        weekly.run(Seen(found.blobs, weekly.spec, held(weekly, np.zeros(len(series)))))
