"""The bundle between training and service: what holds serves, what does not is refused with its reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from service.bundle import BUNDLES, BundleRefused, resolve_bundle
from service.policy import Policy
from service.problems import ProblemError
from service.registry import Policies
from service.telemetry import Telemetry
from simulator.contract import OUTPUTS, contract_id, interface
from simulator.observation import FIELDS, ObservationSpec, Observer, field_shape, hash_bucket
from simulator.panel import Panel
from training.config import load_config
from training.export import Case, ParityError, check_parity, export_bundle, network_answers, sha256_of, write_graph
from training.model import PolicyNetwork
from training.run import named_config

SHIPPED = resolve_bundle("champion", 1)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the shipped bundle that a test may spoil."""
    return Path(shutil.copytree(SHIPPED, tmp_path / SHIPPED.name))


def rehash(bundle: Path) -> None:
    """Make the manifest name the files as they are now: a careful forger."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["sha256"] = {name: sha256_of(bundle / name) for name in manifest["sha256"]}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_every_shipped_bundle_holds() -> None:
    for path in BUNDLES.iterdir():
        policy = Policy(path)
        assert policy.parity <= 1e-4
        assert policy.version == path.name
        assert policy.contract["training_cut_offs"]["bakery"] < "2018-11-02"
        assert policy.histograms is not None


def test_the_contract_in_the_graph_names_every_input_and_output_as_they_are() -> None:
    session = onnxruntime.InferenceSession(str(SHIPPED / "policy.onnx"))
    contract = json.loads(session.get_modelmeta().custom_metadata_map["contract"])
    for said, found in zip(contract["inputs"], session.get_inputs(), strict=True):
        assert said["name"] == found.name
        assert said["shape"][1:] == found.shape[1:]
        assert {"float32": "tensor(float)", "int64": "tensor(int64)"}[said["dtype"]] == found.type
        assert said["unit"]
        assert said["meaning"]
    assert [o["name"] for o in contract["outputs"]] == [o.name for o in session.get_outputs()]
    assert contract["clock"] == "arrive-sell-count-order"


def test_the_contract_id_changes_with_the_interface_and_with_nothing_else() -> None:
    base = interface(1)
    assert contract_id(base | {"version": "x", "commit": "y"}) == contract_id(base)
    assert len({contract_id(c) for c in (base, interface(7), interface(1, "fixed"), base | {"clock": "other"})}) == 4


def test_a_changed_graph_is_refused_by_its_hash(bundle: Path) -> None:
    graph = bytearray((bundle / "policy.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (bundle / "policy.onnx").write_bytes(graph)
    with pytest.raises(BundleRefused, match="hash") as refused:
        Policy(bundle)
    assert refused.value.reason == "hash"


def test_changed_golden_cases_are_refused_by_their_hash(bundle: Path) -> None:
    (bundle / "golden.npz").write_bytes((bundle / "golden.npz").read_bytes() + b"x")
    with pytest.raises(BundleRefused, match="hash"):
        Policy(bundle)


def test_a_bundle_without_histograms_holds_and_has_none(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["sha256"]["histograms.json"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert Policy(bundle).histograms is None  # those that lie there are nobody's word


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "missing"), (b"{}", "contract"), (b"[" * 100_000, "contract"), (b"\xff", "contract"), (b"", "contract")],
)
def test_histograms_that_are_named_and_do_not_hold_are_a_refusal(
    bundle: Path, content: bytes | None, reason: str
) -> None:
    path = bundle / "histograms.json"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
        with pytest.raises(BundleRefused) as refused:
            Policy(bundle)
        assert refused.value.reason == "hash"
        rehash(bundle)
    with pytest.raises(BundleRefused) as refused:
        Policy(bundle)
    assert refused.value.reason == reason


@pytest.mark.parametrize("output", ["logits", "daily_rate", "forecast"])
def test_answers_that_differ_from_the_golden_ones_are_refused(bundle: Path, output: str) -> None:
    with np.load(bundle / "golden.npz") as golden:
        cases = dict(golden)
    cases[f"output.{output}"] = cases[f"output.{output}"] * np.float32(1.01) + np.float32(0.01)
    np.savez(bundle / "golden.npz", **cases)
    rehash(bundle)
    with pytest.raises(BundleRefused, match=output) as refused:
        Policy(bundle)
    assert refused.value.reason == "parity"


def test_a_golden_answer_that_is_not_a_number_is_refused(bundle: Path) -> None:
    with np.load(bundle / "golden.npz") as golden:
        cases = dict(golden)
    cases["output.logits"][0, 0] = np.nan
    np.savez(bundle / "golden.npz", **cases)
    rehash(bundle)
    with pytest.raises(BundleRefused, match="parity"):
        Policy(bundle)


@pytest.mark.parametrize("broken", ["cut short", "without outputs", "no archive"])
def test_golden_cases_that_cannot_be_replayed_are_refused(bundle: Path, broken: str) -> None:
    """Whatever is wrong with the file, it is a refusal with a reason and never a crash at start."""
    path = bundle / "golden.npz"
    if broken == "cut short":
        path.write_bytes(path.read_bytes()[:2000])
    elif broken == "no archive":
        path.write_bytes(b"")
    else:
        with np.load(path) as golden:
            np.savez(path, **{name: golden[name] for name in golden.files if name.startswith("input")})
    rehash(bundle)
    with pytest.raises(BundleRefused) as refused:
        Policy(bundle)
    assert refused.value.reason == "parity"


def test_a_bundle_for_another_period_length_is_not_put_in_charge() -> None:
    policies = Policies(Telemetry())
    assert not policies.load(SHIPPED, period_days=7)
    assert not policies.load_named("nobody", 1)
    assert not policies.ready


@pytest.mark.parametrize("period_days", [1, 7])
def test_there_is_a_champion_for_days_and_one_for_weeks(period_days: int) -> None:
    policies = Policies(Telemetry())
    assert policies.load_named("champion", period_days)
    assert policies.current().period_days == period_days


def test_export_replaces_a_bundle_and_never_anything_else(
    untrained: PolicyNetwork, bakery: Panel, tmp_path: Path
) -> None:
    (tmp_path / "mydata").mkdir()
    (tmp_path / "mydata" / "keep.txt").write_text("mine")
    observer = Observer(bakery, ObservationSpec(1))
    with pytest.raises(ValueError, match="no policy bundle"):
        export_bundle(
            untrained, [Case(observer, 900)], tmp_path / "mydata", {"training_cut_offs": {}, "commit": "c"}, {}
        )
    assert (tmp_path / "mydata" / "keep.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "change", [{"clock": "order-arrive-sell"}, {"grid": [1.0, 2.0]}, {"period_days": 7}, {"inputs": []}]
)
def test_another_contract_is_refused(bundle: Path, change: dict[str, object]) -> None:
    model = onnx.load(bundle / "policy.onnx")
    contract = json.loads(model.metadata_props[0].value) | change
    onnx.helper.set_model_props(model, {"contract": json.dumps(contract)})
    onnx.save(model, str(bundle / "policy.onnx"))
    rehash(bundle)
    with pytest.raises(BundleRefused) as refused:
        Policy(bundle)
    assert refused.value.reason == "contract"


@pytest.mark.parametrize("name", ["manifest.json", "policy.onnx", "golden.npz"])
def test_a_missing_file_is_refused(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleRefused) as refused:
        Policy(bundle)
    assert refused.value.reason == "missing"


def test_a_refused_bundle_leaves_the_one_in_charge_and_is_counted(bundle: Path) -> None:
    telemetry = Telemetry()
    policies = Policies(telemetry)
    with pytest.raises(ProblemError):
        policies.current()
    assert policies.load(SHIPPED)
    (bundle / "policy.onnx").write_bytes(b"not a graph")
    assert not policies.load(bundle)
    assert policies.current().version == SHIPPED.name
    assert "hash" in str(policies.status()["refused"])
    assert telemetry.registry.get_sample_value("orpr_policy_refused_total", {"reason": "hash"}) == 1


def test_the_hash_of_a_golden_text_is_the_code_in_the_golden_case() -> None:
    spec = ObservationSpec(1)
    with np.load(SHIPPED / "golden.npz") as golden:
        for item, code in zip(golden["text.item_id"], golden["input.codes"][:, 0], strict=True):
            assert hash_bucket(f"item_id={item}", spec.code_buckets) == code


def test_one_decision_alone_equals_the_same_one_in_a_batch(bakery: Panel) -> None:
    policy = Policy(SHIPPED)
    rows = np.arange(0, 84, 3)
    observation = Observer(bakery, policy.spec).observe(rows, np.full(len(rows), 900))
    together = policy.answer(observation)
    for n in (0, 9, 27):
        alone = policy.answer({name: value[n : n + 1] for name, value in observation.items()})
        np.testing.assert_allclose(alone.logits[0], together.logits[n], rtol=1e-4, atol=1e-4)
        assert alone.inventory_days[0] == together.inventory_days[n]


def test_a_decision_is_a_value_of_the_grid_inside_its_range(bakery: Panel) -> None:
    policy = Policy(SHIPPED)
    answer = policy.answer(Observer(bakery, policy.spec).observe(np.arange(84), np.full(84, 1100)))
    assert np.isin(answer.inventory_days, policy.contract["grid"]).all()
    assert (answer.inventory_days_p10 <= answer.inventory_days_p90).all()
    assert (np.diff(answer.forecast, axis=2) >= -1e-4).all()


def test_scaling_happens_inside_the_graph_exactly_once(bakery: Panel) -> None:
    """Inputs are raw units: the rate that comes out is the rate of the raw sales, and the network computed it."""
    policy = Policy(SHIPPED)
    observer = Observer(bakery, policy.spec)
    rows, periods = np.arange(84), np.full(84, 1000)
    answer = policy.answer(observer.observe(rows, periods))
    np.testing.assert_allclose(answer.daily_rate, observer.rates.daily_rate[rows, 1000], rtol=1e-4)


def test_the_policy_follows_a_caller_s_forecast(bakery: Panel) -> None:
    """Twice the demand is forecast and held for, half of it less; its own forecast handed back changes little."""
    policy = Policy(SHIPPED)
    rows = np.arange(0, 84, 4)
    seen = Observer(bakery, ObservationSpec()).observe(rows, np.full(len(rows), 1000))
    alone = policy.answer(seen)
    middle = alone.forecast[:, :, 2]
    held = {}
    for share in (0.5, 1.0, 2.0):
        told = policy.answer(seen | {"own_forecast": (middle * share).astype(np.float32)})
        ratio = told.forecast[:, :28, 2].sum(axis=1) / middle[:, :28].sum(axis=1)
        assert np.median(ratio) == pytest.approx(share, rel=0.15)
        held[share] = told.inventory_days.mean() / alone.inventory_days.mean()
    assert held[0.5] < 0.9 < held[1.0] < 1.1 < held[2.0]


@pytest.fixture(scope="module")
def untrained() -> PolicyNetwork:
    tiny = load_config(named_config("tiny")).model
    return PolicyNetwork(tiny, ObservationSpec(1), interface(1)["grid"]).eval()


def test_export_checks_parity_and_writes_nothing_where_it_fails(
    untrained: PolicyNetwork, bakery: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import export

    observer = Observer(bakery, ObservationSpec(1))
    answers = network_answers
    monkeypatch.setattr(
        export, "network_answers", lambda n, o: {k: v + (0.1 if k == "logits" else 0) for k, v in answers(n, o).items()}
    )
    with pytest.raises(ParityError, match="logits"):
        export_bundle(untrained, [Case(observer, 900)], tmp_path / "v", {"training_cut_offs": {}, "commit": "c"}, {})
    assert list(tmp_path.iterdir()) == []


def test_the_exported_graph_answers_as_the_network_for_every_batch_size(
    untrained: PolicyNetwork, bakery: Panel, tmp_path: Path
) -> None:
    observer = Observer(bakery, ObservationSpec(1))
    write_graph(untrained, observer.observe(np.arange(3), np.full(3, 500)), interface(1), tmp_path / "policy.onnx")
    for count in (1, 2, 84):
        observation = observer.observe(np.arange(count), np.full(count, 800))
        assert check_parity(tmp_path / "policy.onnx", observation, network_answers(untrained, observation)) <= 1e-4


def test_the_fields_of_an_observation_have_the_shapes_of_the_contract(bakery: Panel) -> None:
    spec = ObservationSpec(1)
    observation = Observer(bakery, spec).observe(np.arange(2), np.full(2, 10))
    assert list(observation) == [field.name for field in FIELDS]
    for field in FIELDS:
        assert observation[field.name].shape == (2, *field_shape(field, spec))
        assert observation[field.name].dtype == field.dtype
    assert len(OUTPUTS) == 6
