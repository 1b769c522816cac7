"""Table 2's benchmark on a part of the sample: everybody takes part, nobody sees the judged window, experts know other stores."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simulator.panel import Panel
from tests.benchmarks.promotions import (
    Case,
    Recipes,
    _knows,
    _networks,
    _supervised,
    run_case,
    write,
)
from tests.benchmarks.promotions_page import AUTONOMOUS, DL, EVERYWHERE, EXPERT, GUIDED, INCUMBENT, aims
from tests.conftest import CHAMPION
from training.config import TrainConfig, load_config
from training.run import named_config

CASE = Case("bakery", 180, 60)


def small(name: str) -> TrainConfig:
    """A shipped recipe, cut down to seconds."""
    whole = load_config(named_config(name), threads=1)
    return replace(
        whole, labels=replace(whole.labels, samples_per_variant=1000),
        joint=replace(whole.joint, epochs=min(whole.joint.epochs, 0.5)),
        align=replace(whole.align, samples=300, batch_size=16, epochs=min(whole.align.epochs, 1.0)),
        rollout=replace(whole.rollout, epochs=0.0),
    )  # fmt: skip


@pytest.fixture(scope="module")
def recipes() -> Recipes:
    tiny, alone = small("tiny"), small("autonomous")
    return Recipes(
        replace(tiny, align=replace(tiny.align, epochs=0.0)),
        small("finetune"),
        small("finetune-all"),
        replace(
            alone, labels=replace(alone.labels, surge_share=1.0)
        ),  # of so few decisions a tenth may hold no promotion
    )


@pytest.fixture(scope="module")
def some(bakery: Panel) -> Panel:
    return bakery.take(np.arange(0, 84, 2))


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """No progress bars in tests."""


def test_every_policy_has_a_row_in_every_window_and_the_page_tells_them(
    some: Panel, recipes: Recipes, tmp_path: Path
) -> None:
    case: dict[str, Any] = run_case(some, CASE, recipes, [0], silent)
    for table in case["tables"].values():
        found = {(row["window"], row["policy"]) for row in table["rows"]}
        policies = (INCUMBENT, DL, GUIDED, EXPERT, EVERYWHERE, AUTONOMOUS)
        assert found == {(window, name) for window in ("promotion", "routine", "all") for name in policies}
        costs = {row["policy"]: row["total_cost"] for row in table["rows"] if row["window"] == "all"}
        assert len(set(costs.values())) == len(policies)
    assert case["labels"] > 10
    write([case | {"command": "python -m tests.benchmarks.promotions", "commit": "0" * 40}], tmp_path)
    write([], tmp_path)  # what another run left stays
    assert [one["dataset"] for one in json.loads((tmp_path / "promotions.json").read_text())["cases"]] == ["bakery"]
    page = (tmp_path / "promotions.md").read_text()
    assert page.count(f"| {EXPERT} |") == 3  # of three windows; the bakery tells of no stock-outs, so one demand
    assert page.count("| asked | found, % | |") == 1
    assert page.count("| OR+expert RL: ") == 3
    assert (tmp_path / "promotions-bakery.png").read_bytes().startswith(b"\x89PNG")


def beside_dl(lost: float, cost: float, routine: float) -> dict[str, dict[str, Any]]:
    """Ratios of one policy, each known to a hundredth."""
    near = {name: [one, one - 0.01, one + 0.01] for name, one in (("lost", lost), ("cost", cost), ("routine", routine))}
    return {
        "promotion": {"lost_sales_ratio": near["lost"], "total_cost_ratio": near["cost"]},
        "routine": {"lost_sales_ratio": None, "total_cost_ratio": near["routine"]},
    }


def test_the_page_says_which_aims_are_reached() -> None:
    made = {EXPERT: beside_dl(0.80, 0.995, 1.0), AUTONOMOUS: beside_dl(0.91, 0.95, 1.05)}
    rows = [{"window": window, "policy": name} | one for name, found in made.items() for window, one in found.items()]
    found = [line.strip("| ").split(" | ") for line in aims(rows)[2:]]
    assert found == [
        ["OR+expert RL: lost sales in promotions at least 14.0 % lower", "-20.0 [-21.0, -19.0]", "reached"],
        ["OR+expert RL: total cost in promotions at least 1.2 % lower", "-0.5 [-1.5, +0.5]", "missed; the interval holds the aim"],
        ["OR+expert RL: routine total cost at most 0.5 % higher", "+0.0 [-1.0, +1.0]", "reached; the interval holds the aim"],
        ["autonomous: lost sales in promotions at least 10.0 % lower", "-9.0 [-10.0, -8.0]", "missed; the interval holds the aim"],
        ["autonomous: total cost in promotions at least 0.6 % lower", "-5.0 [-6.0, -4.0]", "reached"],
        ["autonomous: routine total cost at most 0.5 % higher", "+5.0 [+4.0, +6.0]", "missed"],
    ]  # fmt: skip


def test_a_bundle_that_has_seen_what_the_others_learn_from_is_no_dl(bakery: Panel) -> None:
    champion = Path("service/bundles") / CHAMPION  # trained up to the sample's last 180 days
    end = bakery.last_recorded + 1 - 180
    assert _supervised(bakery, end, champion, silent).spec.period_days == 1
    with pytest.raises(ValueError, match=r"learnt from bakery up to 2018-11-01; here DL ends before 2018-11-01"):
        _supervised(bakery, end - 1, champion, silent)


def test_nobody_has_seen_the_judged_window(some: Panel, recipes: Recipes) -> None:
    stop = some.last_recorded + 1
    learn_end = stop - CASE.judged
    assert 0 < sum(_knows(place) for place in some.items.location_id) < some.series_count
    other = some.units_sold.copy()
    other[:, learn_end:] = np.random.default_rng(1).permutation(other[:, learn_end:], axis=1)
    weights = []
    for panel in (some, replace(some, units_sold=other)):
        dl = _supervised(panel, learn_end - CASE.learnt, recipes.dl, silent)
        made, _ = _networks(dl, panel, learn_end - CASE.learnt, learn_end, recipes, 0, silent)
        weights.append({name: network.state_dict() for name, network in made.items()})
    for name, state in weights[0].items():
        for key, value in state.items():
            assert torch.equal(value, weights[1][name][key]), (name, key)
