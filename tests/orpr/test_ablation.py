"""`orpr ablate`: every variant is trained, kept and judged before the test window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orpr.ablation import Windows, run_ablation, write_ablation
from simulator.canonical import read_panel
from simulator.observation import FIELDS, ObservationSpec, Observer
from simulator.ordering import inventory_days_grid
from simulator.step import State
from training.ablations import variants_of
from training.config import STREAMS, ModelConfig, TrainConfig, load_config
from training.model import PolicyNetwork, named
from training.run import named_config

WINDOWS = Windows(test_days=180, days=30)


@pytest.fixture(scope="module")
def recipe() -> TrainConfig:
    tiny = load_config(named_config("tiny"))
    few = {name: replace(getattr(tiny, name), epochs=1.0, batch_size=64) for name in ("forecast", "head", "joint")}
    return replace(
        tiny, labels=replace(tiny.labels, samples_per_variant=400, drawn_variants=0),
        align=replace(tiny.align, epochs=1.0, samples=200), rollout=replace(tiny.rollout, episodes=32, batch_size=16), **few,
    )  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def found(small_dataset: Path, recipe: TrainConfig, weights: Path) -> dict[str, Any]:
    return run_ablation(small_dataset, recipe, [0, 1], WINDOWS, weights, lambda *_: None, command="orpr ablate")


def test_every_variant_is_judged_before_the_test_window(found: dict[str, Any], recipe: TrainConfig) -> None:
    assert [row["name"] for row in found["variants"]] == [variant.name for variant in variants_of(recipe)]
    assert (found["first"], found["last"]) == ("2018-10-03", "2018-11-01")
    assert found["variants"][0]["against_base"] == (1.0, 1.0, 1.0)
    different = [
        row["against_base"][0] for row in found["variants"][1:] if row["group"] in ("stages", "streams", "size")
    ]
    assert len(set(different)) == len(different)
    assert all(len(row["seeds_against_best_pto"]) == 2 for row in found["variants"])
    sizes = {row["name"]: row["parameters"] for row in found["variants"]}
    assert sizes["0.1 M"] == pytest.approx(1e5, rel=0.3)
    assert sizes["0.9 M"] == pytest.approx(9e5, rel=0.3)
    assert sizes["4 M"] == pytest.approx(4e6, rel=0.3)


def test_what_is_trained_already_is_read_and_gives_the_same(
    found: dict[str, Any], small_dataset: Path, recipe: TrainConfig, weights: Path
) -> None:
    files = sorted(weights.rglob("*.npz"))
    assert len(files) == 2 * len(variants_of(recipe))
    steps: list[str] = []
    again = run_ablation(
        small_dataset, recipe, [0, 1], WINDOWS, weights, lambda _stage, _step, _steps, words: steps.append(words),
        command="orpr ablate",
    )  # fmt: skip
    assert not any(steps)  # nothing was trained
    assert again == found


def test_the_page_and_the_picture_show_every_variant(found: dict[str, Any], tmp_path: Path) -> None:
    _, page, picture = write_ablation(found, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert all(f"| {row['name']} |" in text for row in found["variants"])
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_that_is_left_out_is_not_heard(small_dataset: Path, stream: str) -> None:
    """Its inputs may change as they like; the decision may move with the rest only."""
    panel = read_panel(small_dataset)
    torch.manual_seed(0)
    network = PolicyNetwork(ModelConfig(width=16, left_out=stream), ObservationSpec(), inventory_days_grid().tolist())
    network.eval()
    count = panel.series_count
    state = State(np.full(count, 5.0), np.zeros((count, 3)))
    seen = Observer(panel, ObservationSpec()).observe(np.arange(count), np.full(count, 600), state)
    x = named(tuple(torch.from_numpy(seen[field.name]) for field in FIELDS))
    with torch.no_grad():
        context = network.read(x)
        changed = dict(x)
        other = context
        if stream == "sales":
            other = context._replace(sales=context.sales + 1, signals=context.signals + 1)
        elif stream == "attributes":
            other = context._replace(attributes=context.attributes + 1)
        else:
            changed |= {"lost_sale_cost": x["lost_sale_cost"] * 5}
        heard = network.choose(x, context).logits
        torch.testing.assert_close(network.choose(changed, other).logits, heard)
        whole = PolicyNetwork(ModelConfig(width=16), ObservationSpec(), inventory_days_grid().tolist()).eval()
        whole.load_state_dict(network.state_dict())
        assert not torch.allclose(whole.choose(changed, other).logits, whole.choose(x, context).logits)


def test_a_base_without_anything_to_vary_is_refused(recipe: TrainConfig) -> None:
    with pytest.raises(ValueError, match=r"align\.epochs must be above 0"):
        variants_of(replace(recipe, align=replace(recipe.align, epochs=0.0)))


def test_an_unknown_stream_is_refused() -> None:
    with pytest.raises(ValueError, match=r"left_out must be empty or one of sales, .*, got 'weather'"):
        ModelConfig(left_out="weather")
