"""One backtest of a part of the sample: what its JSON holds, that its numbers agree, and what its report says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orpr.evaluation import run_backtest
from orpr.results import markdown, rewrite_block
from simulator.metrics import series_totals, unit_totals
from simulator.rollout import follow, rollout
from tests.conftest import CHAMPION, Told
from training.sentences import compared, headline, verdicts

NUMBER = (int, float)
RATIO = [NUMBER, NUMBER, NUMBER]
CASE: dict[str, Any] = {
    "schema": str, "scenario": str, "rules": str, "dataset": str, "source": str, "currency": str, "first": str,
    "last": str, "windows": int, "period_days": int, "series": int, "replayed": str, "seed": int, "best_pto": str, "policy": str,
    "table": [{
        "method": str, "hindsight": bool, "turnover_days": NUMBER, "in_stock_rate": NUMBER, "fill_rate": NUMBER,
        "holding_cost": NUMBER, "stockout_cost": NUMBER, "waste_cost": NUMBER, "total_cost": NUMBER, "against_or": NUMBER,
        "against_best_pto": RATIO, "against_gbm_strong": RATIO,
    }],
    "comparisons": [{"against": str, "ratio": RATIO}],
    "losses": [{"against": str, "series_that_lose": int, "cost_above": NUMBER, "worst": [{
        "series": str, "segment": str, "policy_cost": NUMBER, "rival_cost": NUMBER, "cost_above": NUMBER,
    }]}],
    "segments": {"cuts": str, "table": [{
        "segment": str, "series": int, "value_share": NUMBER, "methods": dict, "policy_against_best_pto": RATIO,
    }]},
    "runs": dict,
}  # fmt: skip
WHOLE = CASE | {"command": str, "commit": str, "data_sha256": str, "scenarios": [CASE]}


@pytest.fixture(scope="module")
def written(told: Told) -> dict[str, Any]:
    """The JSON as a reader finds it."""
    found: dict[str, Any] = json.loads((told.report / "backtest.json").read_text(), parse_constant=_refuse)
    return found


def _refuse(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


def check(value: Any, shape: Any, where: str) -> None:
    """The value has exactly the keys and types of the shape."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        assert set(value) == set(shape), where
        for key, inner in shape.items():
            check(value[key], inner, f"{where}.{key}")
    elif isinstance(shape, list) and len(shape) > 1:
        assert len(value) == len(shape), where
        for n, inner in enumerate(shape):
            check(value[n], inner, f"{where}[{n}]")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for n, found in enumerate(value):
            check(found, shape[0], f"{where}[{n}]")
    else:
        assert isinstance(value, shape), where
        assert shape is bool or not isinstance(value, bool), where


def test_the_json_has_the_fields_that_the_documents_name(written: dict[str, Any]) -> None:
    check(written, WHOLE, "result")
    page = (Path(__file__).parents[2] / "docs" / "backtest.md").read_text(encoding="utf-8")
    for key in WHOLE:
        assert f"`{key}`" in page, key


def test_every_policy_is_a_row_and_the_first_is_the_one_that_is_judged(written: dict[str, Any]) -> None:
    rows = {row["method"] for row in written["table"]}
    assert {"DL", "PTO gamma, DL forecast", "cycles"} <= rows
    assert written["policy"] == "DL"
    assert written["best_pto"].startswith("PTO")
    assert "forecast" not in written["best_pto"]
    assert {run["row"] for run in written["runs"].values()} == {"DL", "PTO gamma, DL forecast", "cycles"}
    assert written["runs"][CHAMPION]["command"].startswith("orpr train ")


def test_costs_of_segments_and_losses_add_up_to_the_table(written: dict[str, Any], told: Told) -> None:
    rows = {row["method"]: row for row in written["table"]}
    for method in ("DL", written["best_pto"], "OR label"):
        parts = [segment["methods"][method]["total_cost"] for segment in written["segments"]["table"]]
        assert sum(parts) == pytest.approx(rows[method]["total_cost"])
    assert sum(segment["series"] for segment in written["segments"]["table"]) == written["series"] == 8
    assert sum(segment["value_share"] for segment in written["segments"]["table"]) == pytest.approx(1)
    totals = told.evaluation.replayed.totals
    for found in written["losses"]:
        excess = totals["DL"].total_cost - totals[found["against"]].total_cost
        assert found["series_that_lose"] == (excess > 0).sum()
        assert found["cost_above"] == pytest.approx(excess[excess > 0].sum())
        above = [x["cost_above"] for x in found["worst"]]
        assert above == sorted(above, reverse=True)


def test_a_row_is_what_its_stored_targets_cost(told: Told) -> None:
    done = told.evaluation.replayed
    replay = done.replay
    for method in ("DL", "PTO gamma, DL forecast", "PTO gamma 28"):
        record = rollout(replay.world, follow(done.targets[method]))
        total = series_totals(unit_totals(record), replay.panel.items, replay.panel.period_days)
        assert total.total_cost == pytest.approx(done.totals[method].total_cost)


def test_drawn_packs_are_ordered_whole_and_said_to_be_drawn(written: dict[str, Any]) -> None:
    packs = written["scenarios"][0]
    assert packs["scenario"] == "packs"
    assert "drawn" in packs["rules"]
    assert written["rules"] == "the dataset's own order rules and costs"
    cost = {row["method"]: row["total_cost"] for row in packs["table"]}
    given = {row["method"]: row["total_cost"] for row in written["table"]}
    assert cost["clairvoyant"] > 1.2 * given["clairvoyant"]
    assert set(cost) == set(given)


def test_runs_of_one_row_are_averaged(told: Told) -> None:
    done = told.evaluation.replayed
    parts = [ratio for row, ratio in done.runs.values() if row == "cycles"]
    whole = done.totals["cycles"].total_cost.sum() / done.totals[done.best_pto].total_cost.sum()
    assert len(parts) == 2
    assert parts[0] != parts[1]
    assert whole == pytest.approx(np.mean(parts))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"policies": ["champion", "champion"]}, f"{CHAMPION} is named twice"),
        ({"scenarios": ["war"]}, "scenario must be one of packs, carrying, lead-times, cold-0, .*, got 'war'"),
        ({"scenarios": ["lead-times"]}, "scenario lead-times needs an orders file"),
        ({"min_in_stock": 1.5}, "min_in_stock must lie between 0 and 1, got 1.5"),
        ({"replay": "wishes"}, "replay must be one of sales, recovered, got 'wishes'"),
        ({"test_days": 365}, "was trained on bakery up to 2018-11-01, the window starts on 2018-05-01"),
        ({"policies": ["GBM strong=champion"]}, "'GBM strong' is the name of another method"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(small_dataset: Path, changes: dict[str, Any], said: str) -> None:
    words: dict[str, Any] = {
        "policies": ["champion"],
        "test_days": 30,
        "replay": "sales",
        "scenarios": [],
        "min_in_stock": 0.0,
    }
    words |= changes
    with pytest.raises(ValueError, match=said):
        run_backtest(
            small_dataset, words["policies"], words["test_days"], 0, lambda *_: None, command="",
            replay=words["replay"], scenarios=words["scenarios"], min_in_stock=words["min_in_stock"],
        )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ in words


def test_a_difference_is_claimed_only_where_the_interval_excludes_one() -> None:
    assert compared("DL", "X", (0.9, 0.85, 0.95)).startswith(
        "DL costs 10.0% less (95 % interval -15.0% to -5.0%) than X"
    )
    assert compared("DL", "X", (1.2, 1.1, 1.3)).startswith("DL costs 20.0% more")
    assert "shows no difference" in compared("DL", "X", (0.99, 0.95, 1.02))


def test_the_verdict_names_the_rivals_that_matter(written: dict[str, Any]) -> None:
    said = " ".join(verdicts(written))
    for name in (written["best_pto"], "GBM strong", "PTO gamma, DL forecast", "incumbent"):
        assert name in said
    assert f"of {written['series']} series" in said
    cheapest = next(r["method"] for r in written["table"] if not r["hindsight"] and r["method"] != "DL")
    assert cheapest in headline(written)


def test_the_report_has_every_figure_as_png_with_its_values(told: Told) -> None:
    names = {
        "costs",
        "days-by-segment",
        "cycles-over-the-year",
        "around-promotions",
        "learning",
        "trade-off-by-category",
        "one-series",
    }
    assert {path.stem for path in told.report.glob("*.png")} == names
    assert {path.stem for path in told.report.glob("*.json")} == (names - {"costs"}) | {"backtest"}
    for path in told.report.glob("*.png"):
        with Image.open(path) as image:
            assert image.width >= 800
            assert len(image.getcolors(maxcolors=256) or []) > 8
    assert sum(path.stat().st_size for path in told.report.iterdir()) < 600_000


def test_the_markdown_page_and_the_readme_block_come_from_the_same_table(
    written: dict[str, Any], tmp_path: Path
) -> None:
    page = markdown(written, "x.json", "x.png")
    for part in (
        "orpr backtest --as-typed",
        "`orpr train ",
        "## Scenario: packs",
        "## By segment",
        "cycles",
    ):
        assert part in page
    (tmp_path / "page.md").write_text("a\n<!-- backtest -->\nold\n<!-- /backtest -->\nz\n")
    rewrite_block(written, tmp_path / "page.md")
    block = (tmp_path / "page.md").read_text()
    assert "old" not in block
    assert block.startswith("a\n")
    assert block.endswith("z\n")
    assert "DL is the mean of 1 seed." in block
