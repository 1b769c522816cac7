"""Bundles broken at random and by intent: refused with a reason, or they answer as before; never a crash."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import numpy as np
import onnx
import pytest

import service.bundle
from service.bundle import FILES, GOLDEN, GRAPH, HISTOGRAMS, MANIFEST, BundleRefused, resolve_bundle
from service.policy import PARITY, SAME_DAYS, Policy, PolicyAnswer
from simulator.observation import FIELDS, Observation
from tests.bundles import make_bundle, rehash

SHIPPED = resolve_bundle("champion", 1)
OPENED: Counter[str] = Counter()


@pytest.fixture(autouse=True, scope="module")
def _recorded(
    record_testsuite_property: Callable[[str, object], None], request: pytest.FixtureRequest
) -> Iterator[None]:
    failed = request.session.testsfailed
    yield
    record_testsuite_property(
        "fault: a corrupt bundle",
        f"{OPENED['tried']} times opened, broken at random and by intent; {OPENED['refused']} times refused with the reason, else as sound "
        f"as before; {request.session.testsfailed - failed} tests that found it otherwise",
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the shipped bundle that a test may spoil."""
    return Path(shutil.copytree(SHIPPED, tmp_path / SHIPPED.name))


@pytest.fixture(scope="module")
def seen() -> Observation:
    """The golden observations."""
    with np.load(SHIPPED / GOLDEN) as golden:
        return {field.name: golden[f"input.{field.name}"] for field in FIELDS}


@pytest.fixture(scope="module")
def sound(seen: Observation) -> PolicyAnswer:
    return Policy(SHIPPED).answer(seen)


def broken(content: bytes, random: Random) -> bytes:
    """Some bits turned, or bytes cut off, taken out or put in."""
    changed, at = bytearray(content), random.randrange(len(content))
    match random.randrange(5):
        case 0 | 1:
            for _ in range(random.choice((1, 1, 4))):
                changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
        case 2:
            del changed[at:]
        case 3:
            del changed[at : at + random.randrange(1, 40)]
        case _:
            changed[at:at] = random.randbytes(random.randrange(1, 40))
    return bytes(changed)


def opened(bundle: Path, pinned: dict[str, str] | None = None) -> Policy | None:
    """The policy; None where it is refused. Anything else that is raised fails the test."""
    OPENED["tried"] += 1
    try:
        return Policy(bundle, pinned)
    except BundleRefused as refused:
        told = refused
        OPENED["refused"] += 1
    assert told.reason in ("hash", "contract", "parity", "missing")
    assert "\n" not in str(told)
    return None


@pytest.mark.parametrize("name", [*FILES, HISTOGRAMS])
def test_a_bundle_broken_at_random_is_refused_or_answers_bit_by_bit_as_before(
    bundle: Path, seen: Observation, sound: PolicyAnswer, name: str
) -> None:
    random, content = Random(7), (bundle / name).read_bytes()
    for _ in range(60):
        (bundle / name).write_bytes(broken(content, random))
        policy = opened(bundle)
        if policy is not None:
            for found, expected in zip(policy.answer(seen), sound, strict=True):
                np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", [*FILES, HISTOGRAMS])
def test_of_a_registered_bundle_no_broken_file_at_all_is_taken(bundle: Path, name: str) -> None:
    pins, random, content = Policy(bundle).hashes, Random(8), (bundle / name).read_bytes()
    for _ in range(40):
        (bundle / name).write_bytes(broken(content, random))
        assert opened(bundle, pins) is None
    (bundle / name).write_bytes(content)
    assert opened(bundle, pins) is not None


@pytest.mark.parametrize("name", [GRAPH, GOLDEN])
def test_a_broken_bundle_with_hashes_that_fit_decides_as_its_golden_cases_say_or_not_at_all(
    bundle: Path, seen: Observation, sound: PolicyAnswer, name: str
) -> None:
    random, content = Random(9), (bundle / name).read_bytes()
    for _ in range(25):
        (bundle / name).write_bytes(broken(content, random))
        rehash(bundle)
        policy = opened(bundle)
        if policy is not None:
            answer = policy.answer(seen)
            size = 1 + np.abs(sound.logits).max(axis=1, keepdims=True)
            assert (np.abs(answer.logits - sound.logits) / size).max() <= 2 * PARITY
            assert (answer.inventory_days == sound.inventory_days).mean() >= SAME_DAYS


def test_broken_histograms_with_a_hash_that_fits_are_refused_or_are_histograms(bundle: Path) -> None:
    random, content = Random(10), (bundle / HISTOGRAMS).read_bytes()
    for _ in range(20):
        (bundle / HISTOGRAMS).write_bytes(broken(content, random))
        manifest = json.loads((bundle / MANIFEST).read_text())
        manifest["sha256"][HISTOGRAMS] = hashlib.sha256((bundle / HISTOGRAMS).read_bytes()).hexdigest()
        (bundle / MANIFEST).write_text(json.dumps(manifest))
        policy = opened(bundle)
        if policy is not None:
            assert policy.histograms is not None
            assert all(np.isfinite(one).all() and one.sum() > 0 for one in policy.histograms.counts.values())


def test_a_graph_with_weights_in_another_file_is_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes would not cover them. They lie where the runtime finds them."""
    monkeypatch.chdir(bundle)
    onnx.save(onnx.load(GRAPH), GRAPH, save_as_external_data=True, location="weights.bin", size_threshold=100_000)
    rehash(bundle)
    with pytest.raises(BundleRefused, match="outside of itself"):
        Policy(bundle)


def test_a_decision_that_is_not_the_golden_one_is_refused(bundle: Path) -> None:
    """Logits and forecasts may be right where the read-out is not."""
    with np.load(bundle / GOLDEN) as golden:
        cases = dict(golden)
    cases["output.inventory_days"] = cases["output.inventory_days"] + np.float32(0.25)
    np.savez(bundle / GOLDEN, **cases)
    rehash(bundle)
    with pytest.raises(BundleRefused, match="inventory_days"):
        Policy(bundle)


def test_golden_cases_that_unpack_to_more_than_is_read_are_refused(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.bundle, "MOST_BYTES", 8_000_000)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("input.units_sold.npy", bytes(20_000_000))
    (bundle / GOLDEN).write_bytes(packed.getvalue())
    rehash(bundle)
    with pytest.raises(BundleRefused, match="unpack to"):
        Policy(bundle)


def test_a_file_that_is_too_large_or_no_file_is_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(service.bundle, "MOST_BYTES", 1_000_000)
        with pytest.raises(BundleRefused, match="larger than"):
            Policy(bundle)
    (bundle / GOLDEN).unlink()
    os.mkfifo(bundle / GOLDEN)
    with pytest.raises(BundleRefused, match="no plain file"):
        Policy(bundle)


@pytest.mark.parametrize(
    "manifest",
    ["[]", "null", "[" * 100_000, '{"version": 1}', '{"version": "x", "contract_id": NaN, "sha256": []}', ""],
)
def test_a_manifest_of_any_shape_is_a_refusal(bundle: Path, manifest: str) -> None:
    (bundle / MANIFEST).write_text(manifest)
    assert opened(bundle) is None


@pytest.mark.parametrize(
    "contract",
    ["", "[]", '"x"', "{}", '{"period_days": 0, "ordering_mode": ""}', '{"period_days": 1e999, "ordering_mode": 1}',
     '{"period_days": -7, "ordering_mode": []}', "[" * 100_000],
)  # fmt: skip
def test_a_contract_of_any_shape_is_a_refusal(bundle: Path, contract: str) -> None:
    model = onnx.load(bundle / GRAPH)
    onnx.helper.set_model_props(model, {"contract": contract})
    onnx.save(model, bundle / GRAPH)
    rehash(bundle)
    with pytest.raises(BundleRefused) as refused:
        Policy(bundle)
    assert refused.value.reason == "contract"


def test_a_bundle_of_another_making_holds_and_has_its_pins(tmp_path: Path) -> None:
    """The forgeries above fail for what is wrong with them, not for having been made by a test."""
    made = make_bundle(tmp_path, "held-9", 9.0)
    policy = Policy(made)
    assert policy.version == "held-9"
    assert set(policy.hashes) == set(FILES)
    assert json.loads((made / MANIFEST).read_text())["sha256"][GRAPH] == policy.hashes[GRAPH]
