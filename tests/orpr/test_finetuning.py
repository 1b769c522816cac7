"""`orpr finetune`: a file of experts' decisions to a bundle with the gate's verdict; bad files and bad gates."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from orpr.cli import app
from orpr.expert_file import read_labels
from orpr.finetuning import _of_series, gate_in_words, run_finetuning
from service.policy import Policy
from simulator.canonical import read_panel
from simulator.observation import ObservationSpec, Observer
from simulator.step import State
from tests.conftest import CHAMPION
from tests.expert_files import write_labels
from training.ablations import decides
from training.config import TrainConfig, load_config
from training.dataset import promoted_orders
from training.experts import Labels
from training.run import named_config, network_of

BUNDLE = Path(__file__).parents[2] / "service" / "bundles" / CHAMPION


def cut_down(name: str) -> TrainConfig:
    """A shipped recipe, cut down to seconds."""
    whole = load_config(named_config(name), threads=1)
    return replace(
        whole, labels=replace(whole.labels, samples_per_variant=800),
        align=replace(whole.align, samples=400, batch_size=64, epochs=1.0, learning_rate=1e-3),
        gate=replace(whole.gate, held_out=0.25, days=60),
    )  # fmt: skip


@pytest.fixture(scope="module")
def recipe() -> TrainConfig:
    return cut_down("finetune")


@pytest.fixture(scope="module")
def overrides(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every series held half as much again as the champion would, before three of its promotions."""
    panel = read_panel(small_dataset)
    policy, spec = Policy(BUNDLE), ObservationSpec(1)
    observer = Observer(panel, spec)
    parts = []
    rows, late = np.arange(panel.series_count), np.arange(800, 1200)
    promoted = [late[promoted_orders(panel, np.full(len(late), n), late)] for n in rows]
    for turn in range(3):
        periods = np.array([one[(1 + turn) * len(one) // 4] for one in promoted])
        seen = observer.observe(rows, periods, State(np.full(len(rows), 5.0), np.zeros((len(rows), 2))))
        days = policy.answer(seen).inventory_days.astype(np.float64)
        text = np.full(len(rows), "", dtype=object)
        parts.append(
            Labels(
                panel.items.item_id, panel.items.location_id, np.full(len(rows), "ann", dtype=object), text,
                np.array([np.datetime64(panel.date_of(int(t)), "D").astype(int) for t in periods]), days * 1.5, days,
                np.full(len(rows), np.nan), seen,
            )
        )  # fmt: skip
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in Labels._fields if name not in ("observation", "ordered_more", "override_days")
    }  # fmt: skip
    seen = {name: np.concatenate([part.observation[name] for part in parts]) for name in parts[0].observation}
    path = tmp_path_factory.mktemp("labels") / "overrides.parquet"
    write_labels(Labels(**columns, observation=seen), path)
    return path


def test_labels_come_back_as_they_were_written(overrides: Path) -> None:
    labels = read_labels(overrides, ObservationSpec(1))
    assert labels.size == 24
    np.testing.assert_allclose(labels.expert_days, 1.5 * labels.policy_days)
    assert labels.observation["on_order"].shape == (24, ObservationSpec(1).horizon)
    assert np.isnan(labels.settled_money).all()


def test_a_challenger_carries_the_gate_s_verdict(
    small_dataset: Path, overrides: Path, recipe: TrainConfig, tmp_path: Path
) -> None:
    out = tmp_path / "challenger"
    done = run_finetuning(
        small_dataset, overrides, out, recipe, lambda *_: None, command="orpr finetune", start_from="champion", dl=CHAMPION
    )  # fmt: skip
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["gate"] == json.loads(json.dumps(done.gate))
    assert manifest["finetuned_from"] == CHAMPION
    assert manifest["experts"]["labels"] == 18  # two of eight series are kept out
    rows = {(row["window"], row["policy"]): row for row in done.gate["table"]}
    assert {policy for _, policy in rows} == {"champion", "challenger", "OR only", "DL only"}
    assert rows["all", "DL only"]["total_cost_ratio"][0] == pytest.approx(1.0)  # it is the champion here
    assert done.gate["series"] == 2
    assert done.gate["kl"] > 0
    assert "no DL only row: no policy before reinforcement was named" not in done.gate["notes"]
    Policy(out)  # parity and contract hold
    words = gate_in_words(done)
    assert words[0] == "18 labels learnt from, 0 left out, 6 of series that the gate judges on"
    first, last = done.gate["window"]
    assert words[-1].startswith("gate: ")
    assert f"(2 series, {first} to {last}, drift " in words[-1]
    with pytest.raises(ValueError, match="holds a bundle already; a version is made once"):
        run_finetuning(small_dataset, overrides, out, recipe, lambda *_: None, command="", start_from="champion")
    assert json.loads((out / "manifest.json").read_text()) == manifest


@pytest.mark.parametrize("name", ["a b", ".hidden", "ü", "x" * 101])
def test_a_version_that_no_service_would_register_is_refused_first(
    small_dataset: Path, overrides: Path, recipe: TrainConfig, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ValueError, match="cannot be a policy's version"):
        run_finetuning(
            small_dataset, overrides, tmp_path / name, recipe, lambda *_: None, command="", start_from="champion"
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_a_challenger_beyond_the_bounds_is_refused(small_dataset: Path, overrides: Path, tmp_path: Path) -> None:
    recipe = cut_down("finetune-all")
    reckless = replace(
        recipe, gate=replace(recipe.gate, kl_limit=1e-6, margin=0.0),
        align=replace(recipe.align, learning_rate=1e-3, beta=0.0, kl_limit=50.0, epochs=2.0, expert=20.0),
    )  # fmt: skip
    done = run_finetuning(
        small_dataset, overrides, tmp_path / "wild", reckless, lambda *_: None, command="", start_from="champion"
    )  # fmt: skip
    assert done.gate["verdict"] == "refused"
    drift, routine = sorted(done.gate["reasons"])
    assert drift.startswith("actions drift by")
    assert routine.startswith("routine total cost rises by")
    assert "no DL only row: no policy before reinforcement was named" in done.gate["notes"]
    assert json.loads((tmp_path / "wild" / "manifest.json").read_text())["gate"]["verdict"] == "refused"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"expert_inventory_days": -1.0}, "row 1, column expert_inventory_days: -1.0 cannot be learnt from"),
        ({"on_hand": None}, "row 1, column on_hand: None cannot be learnt from"),
        ({"observation": b"abc"}, "row 1, column observation: 0 bytes"),
    ],
)  # fmt: skip
def test_a_bad_file_is_named_with_row_column_and_value(
    small_dataset: Path, overrides: Path, recipe: TrainConfig, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    table = pl.read_parquet(overrides)
    ((name, value),) = change.items()
    first = table.head(1).with_columns(pl.lit(value, dtype=table.schema[name]).alias(name))
    pl.concat([first, table.tail(-1)]).write_parquet(tmp_path / "bad.parquet")
    with pytest.raises(ValueError, match=said):
        run_finetuning(
            small_dataset, tmp_path / "bad.parquet", tmp_path / "out", recipe, lambda *_: None, command="",
            start_from="champion",
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"expert_inventory_days": "many"}, "column expert_inventory_days: must be a number, is String"),
        ({"settled_money": "some"}, "column settled_money: must be a number, is String"),
        ({"order_date": "2019-04-30"}, "column order_date: must be a date, is String"),
        ({"order_date": 20_000}, "column order_date: must be a date, is Int"),
        ({"item_id": 7}, "column item_id: must be text, is Int"),
        ({"arriving": 3.0}, "column arriving: must be a list of numbers, is Float64"),
        ({"arriving": ["two"]}, r"column arriving: must be a list of numbers, is List\(String\)"),
        ({"observation": "seen"}, "column observation: must be bytes, is String"),
    ],
)  # fmt: skip
def test_a_column_of_another_form_is_named(overrides: Path, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    ((name, value),) = change.items()
    column = pl.lit(pl.Series([value])).first() if isinstance(value, list) else pl.lit(value)
    pl.read_parquet(overrides).with_columns(column.alias(name)).write_parquet(tmp_path / "bad.parquet")
    with pytest.raises(ValueError, match=said):
        read_labels(tmp_path / "bad.parquet", ObservationSpec(1))


def test_columns_that_hold_nothing_are_no_outcome_no_money_and_nothing_on_order(
    overrides: Path, tmp_path: Path
) -> None:
    table = pl.read_parquet(overrides)
    empty = table.with_columns(pl.lit(None).alias(name) for name in ("outcome", "settled_money", "arriving"))
    empty.write_parquet(tmp_path / "empty.parquet")
    found = read_labels(tmp_path / "empty.parquet", ObservationSpec(1))
    assert set(found.outcome) == {""}
    assert np.isnan(found.settled_money).all()
    assert found.observation["on_order"].sum() == 0


def test_labels_of_series_that_are_gone_do_not_stop_a_round(
    small_dataset: Path, overrides: Path, tmp_path: Path
) -> None:
    panel, spec = read_panel(small_dataset), ObservationSpec(1)
    table = pl.read_parquet(overrides)
    gone = table.head(2).with_columns(pl.lit("nobody").alias("item_id"))
    pl.concat([gone, table.tail(-2)]).write_parquet(tmp_path / "gone.parquet")
    labels, findings, judged = _of_series(read_labels(tmp_path / "gone.parquet", spec), panel, np.array([5]))
    assert [(finding.row, finding.reason) for finding in findings] == [(0, "unknown"), (1, "unknown")]
    assert "the dataset has no series 'nobody' at" in findings[0].detail
    assert (labels.size, judged) == (19, 3)  # of 24 labels two are gone and three of the one series kept out
    gone.write_parquet(tmp_path / "all.parquet")
    with pytest.raises(ValueError, match=r"row 1: the dataset has no series 'nobody' at .* no other label"):
        _of_series(read_labels(tmp_path / "all.parquet", spec), panel, np.array([5]))


def test_a_file_that_is_none_is_one_line(small_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "no.parquet").write_text("no")
    words = [
        "finetune",
        "--overrides",
        str(tmp_path / "no.parquet"),
        "--data",
        str(small_dataset),
        "--out",
        str(tmp_path / "o"),
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code != 0
    assert "is no Parquet file that can be read" in str(done.exception)


def test_the_champion_that_the_gate_replays_decides_as_its_bundle_does(small_dataset: Path) -> None:
    panel, spec = read_panel(small_dataset), ObservationSpec(1)
    rows, network = np.arange(panel.series_count), network_of(BUNDLE, spec)
    state = State(np.full(len(rows), 5.0), np.zeros((len(rows), 2)))
    observer = Observer(panel, spec)
    answer = Policy(BUNDLE).answer(observer.observe(rows, np.full(len(rows), 1100), state))
    targets = decides(network)(observer, rows, 1100, state)
    np.testing.assert_allclose(targets, answer.inventory_days.astype(np.float64) * answer.daily_rate, rtol=1e-4)
