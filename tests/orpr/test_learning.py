"""`orpr train` on several datasets: what is kept out, what is written, what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from orpr.cli import app
from orpr.learning import Learned, run_training
from orpr.provenance import folder_hash
from service.policy import Policy
from simulator.canonical import read_panel
from simulator.observation import ObservationSpec, Observer
from training.config import TrainConfig, load_config
from training.histograms import freeze, frozen_histograms
from training.run import named_config


@pytest.fixture(scope="module")
def recipe() -> TrainConfig:
    tiny = load_config(named_config("tiny"))
    return replace(
        tiny, labels=replace(tiny.labels, samples_per_variant=800, drawn_variants=0),
        rollout=replace(tiny.rollout, episodes=32, batch_size=16),
    )  # fmt: skip


@pytest.fixture(scope="module")
def other(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same shop under another name."""
    folder = tmp_path_factory.mktemp("other")
    shutil.copytree(small_dataset, folder, dirs_exist_ok=True)
    settings = json.loads((folder / "dataset.json").read_text()) | {"name": "other"}
    (folder / "dataset.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def learned(small_dataset: Path, other: Path, recipe: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "two"
    done = run_training(
        [small_dataset, other], out, recipe, lambda *_: None, command="orpr train", test_days=[180, 30], also_dl=True,
        log_dir=out.with_name("log"),
    )  # fmt: skip
    assert isinstance(done, Learned)
    assert done.before == {"bakery": "2018-11-01", "other": "2019-03-31"}
    return out


def test_the_contract_names_the_cut_off_of_every_dataset(learned: Path) -> None:
    policy = Policy(learned)
    assert policy.contract["training_cut_offs"] == {"bakery": "2018-11-01", "other": "2019-03-31"}
    assert set(policy.manifest["datasets"]) == {"bakery", "other"}
    assert policy.manifest["command"] == "orpr train"


def test_golden_cases_come_from_every_dataset_with_and_without_stock(learned: Path) -> None:
    with np.load(learned / "golden.npz") as golden:
        on_hand = golden["input.on_hand"]
        assert len(on_hand) == 48
        assert 0 < np.isnan(on_hand).sum() < 24
        assert (np.isnan(golden["input.on_order"]).all(axis=1) == np.isnan(on_hand)).all()


def test_what_it_learned_from_is_frozen_in_histograms_that_a_command_makes_again_to_the_byte(
    learned: Path, small_dataset: Path, other: Path, tmp_path: Path
) -> None:
    histograms = Policy(learned).histograms
    assert histograms is not None
    assert len({count.sum() for count in histograms.counts.values()}) == 1
    assert histograms.counts["inventory_days"].sum() == 6000  # half of them from each dataset
    again = Path(shutil.copytree(learned, tmp_path / learned.name))
    (again / "histograms.json").unlink()
    panels = [read_panel(folder) for folder in (small_dataset, other)]
    hashes = {panel.name: folder_hash(folder) for panel, folder in zip(panels, (small_dataset, other), strict=True)}
    assert freeze(again, panels, hashes) == 6000
    for name in ("histograms.json", "manifest.json", "policy.onnx"):
        assert (again / name).read_bytes() == (learned / name).read_bytes(), name
    with pytest.raises(ValueError, match="trained on, file by file: bakery"):
        freeze(again, panels, hashes | {"other": "0"})
    with pytest.raises(ValueError, match="file by file"):
        freeze(again, panels[:1], hashes)


def test_the_command_needs_every_dataset_of_the_bundle(
    learned: Path, small_dataset: Path, other: Path, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(learned, tmp_path / learned.name))
    (bundle / "histograms.json").write_text("{}")
    words = ["histograms", str(bundle), "--data", str(small_dataset)]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, ValueError)
    assert (bundle / "histograms.json").read_text() == "{}"
    done = CliRunner().invoke(app, [*words, "--data", str(other)])
    assert done.exit_code == 0, done.output
    assert "6000 decisions" in done.output
    assert Policy(bundle).histograms is not None


def test_histograms_do_not_read_behind_the_cut_off(learned: Path, small_dataset: Path) -> None:
    panel, spec = read_panel(small_dataset), ObservationSpec(1)
    last = panel.period_of(date(2018, 11, 1))
    future = {name: getattr(panel, name).copy() for name in ("units_sold", "in_stock")}
    for column in future.values():
        column[:, last + 1 :] = 0.0
    found = [
        frozen_histograms(learned / "policy.onnx", [(Observer(one, spec), last)])
        for one in (panel, replace(panel, **future))
    ]
    assert found[0] is not None
    assert found[1] is not None
    for name, counts in found[0].counts.items():
        np.testing.assert_array_equal(counts, found[1].counts[name], name)


def test_the_policy_before_its_replays_is_kept_and_decides_otherwise(learned: Path) -> None:
    policies = [Policy(learned), Policy(learned.with_name("two-dl"))]
    assert policies[1].manifest["config"]["rollout"]["epochs"] == 0
    assert policies[0].manifest["config_sha256"] != policies[1].manifest["config_sha256"]
    losses = [json.loads((learned.with_name(name) / "report.json").read_text())["losses"] for name in ("two", "two-dl")]
    assert set(losses[0]) - set(losses[1]) == {"rollout"}
    assert losses[0]["joint"] == losses[1]["joint"]


def test_nothing_but_bundles_and_the_log_is_left(learned: Path) -> None:
    assert {path.name for path in learned.parent.iterdir()} == {"two", "two-dl", "log"}
    assert any(path.name.startswith("events.out.tfevents") for path in learned.with_name("log").iterdir())


@pytest.mark.parametrize(
    ("names", "days", "said"),
    [
        (["small", "other"], [180, 30, 7], r"test-days must be given once or 2 times, once for each --data; got 3"),
        (["small", "small"], [180], "two datasets have the same name: bakery, bakery"),
    ],
)
def test_datasets_that_do_not_fit_together_are_refused(
    small_dataset: Path, other: Path, recipe: TrainConfig, tmp_path: Path, names: list[str], days: list[int], said: str
) -> None:
    folders = [{"small": small_dataset, "other": other}[name] for name in names]
    with pytest.raises(ValueError, match=said):
        run_training(folders, tmp_path / "out", recipe, lambda *_: None, command="", test_days=days)
    assert list(tmp_path.iterdir()) == []
