"""The policy behind the row DL+RL+expert: trained from a bundle and stand-ins' decisions, on nothing from the test window on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks.expert_policy import main
from tests.conftest import CHAMPION

ROOT = Path(__file__).parents[2]
SMALL = """
[labels]
drawn_variants = 0
samples_per_variant = 1000
[joint]
epochs = 0.0
[align]
epochs = 1.0
samples = 300
batch_size = 64
omega = 0.0
pareto = 0.0
curve = 1.0
compare_with = "policy"
kl_limit = 2.0
expert_share = 0.5
[rollout]
epochs = 0.0
"""


def test_it_is_a_bundle_that_says_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL, encoding="utf-8")
    out = tmp_path / "expert"
    base = ROOT / "service" / "bundles" / CHAMPION
    asked = ["--data", str(ROOT / "simulator" / "sample"), "--test-days", "180", "--from", str(base), "--out", str(out)]
    main([*asked, "--config", str(tmp_path / "small.toml")])
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["adapted_from"] == CHAMPION
    assert manifest["training_cut_offs"]["bakery"] == "2018-11-01"
    assert "expert_policy" in manifest["command"]
    trace = json.loads((out / "report.json").read_text())["alignment"]
    assert any(trace["expert"])  # experts' decisions were among the batches


def test_a_dataset_without_stand_ins_is_refused_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "other"
    data.mkdir()
    for file in (ROOT / "simulator" / "sample").iterdir():
        if file.is_file():
            (data / file.name).write_bytes(file.read_bytes())
    settings = json.loads((data / "dataset.json").read_text()) | {"name": "other"}
    (data / "dataset.json").write_text(json.dumps(settings))
    with pytest.raises(SystemExit):
        main(["--data", str(data), "--test-days", "180", "--from", "champion", "--out", str(tmp_path / "out")])
    assert "there are stand-ins for freshretail and bakery, not for other" in capsys.readouterr().err
