"""The timing of a round of fine-tuning still runs, and tells what was learnt from."""

from __future__ import annotations

import json
from pathlib import Path

from tests.benchmarks.finetuning import main

SAMPLE = Path(__file__).parents[2] / "simulator" / "sample"


def test_a_quick_round_tells_its_stages_and_what_it_learnt_from(tmp_path: Path) -> None:
    main([str(tmp_path), "--data", str(SAMPLE), "--labels", "60", "--threads", "1", "--quick"])
    (case,) = json.loads((tmp_path / "finetuning.json").read_text())["cases"]
    assert case["asked"] == 60
    assert 0 < case["learnt"] <= 60
    assert case["verdict"] in ("passed", "refused")
    assert {"label", "align", "OR only: align", "gate", "export"} <= case["stages"].keys()
    assert sum(case["stages"].values()) <= case["seconds"]
    text = (tmp_path / "finetuning.md").read_text()
    assert f"| bakery | {case['series']} | 60 | {case['learnt']} | finetune | 1 |" in text
