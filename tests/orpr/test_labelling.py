"""Label files: broken off, grown, corrected, they end as if labelled in one go."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import orpr.labelling
from orpr.labelling import Labelled, write_labels
from simulator.panel import Panel
from tests.panels import random_panel

COLUMNS = ["item_id", "location_id", "as_of"]


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orpr.labelling, "PERIODS_IN_A_FILE", 300)


@pytest.fixture
def panel() -> Panel:
    """Seven series, always in stock, so that a history which grows changes nothing in its past."""
    made = random_panel(np.random.default_rng(2), 7, 150)
    sold = np.nan_to_num(made.units_sold)
    sold[-1] = 2
    return replace(made, units_sold=sold, in_stock=np.ones_like(sold))


def label(panel: Panel, out: Path, end: int) -> Labelled:
    data = out.parent / "data"
    data.mkdir(exist_ok=True)
    return write_labels(panel, data, out, end, lambda *_: None, recovered=True)


def everything(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "labels-*.parquet").sort(COLUMNS)


def test_a_run_that_was_broken_off_goes_on_where_it_stopped(panel: Panel, tmp_path: Path) -> None:
    whole = label(panel, tmp_path / "whole", 140)
    assert whole.files >= 3
    label(panel, tmp_path / "broken", 140)
    (tmp_path / "broken" / "labels-0000002.parquet").unlink()
    (tmp_path / "broken" / "labels-0000004.parquet").write_bytes(b"PAR1 half a file")
    done = label(panel, tmp_path / "broken", 140)
    assert done == Labelled(whole.labels, whole.files, whole.files - 2)
    assert everything(tmp_path / "broken").equals(everything(tmp_path / "whole"))


def test_a_history_that_has_grown_keeps_its_labels_and_adds_to_them(panel: Panel, tmp_path: Path) -> None:
    label(panel, tmp_path / "grown", 128)
    before = everything(tmp_path / "grown")
    grown = label(panel, tmp_path / "grown", 145)
    label(panel, tmp_path / "whole", 145)
    assert everything(tmp_path / "grown").equals(everything(tmp_path / "whole"))
    assert grown.labels > before.height
    kept = everything(tmp_path / "grown").join(before, on=COLUMNS, how="semi")
    assert kept.equals(before)


def test_only_what_a_correction_touches_is_labelled_anew(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(panel, tmp_path / "labels", 145)
    sold = panel.units_sold.copy()
    sold[3, 120] += 5
    corrected = replace(panel, units_sold=sold)
    priced: list[int] = []
    curves = orpr.labelling.cost_curves
    monkeypatch.setattr(
        orpr.labelling, "cost_curves", lambda part, epochs, grid: priced.extend(epochs.period) or curves(part, epochs, grid)
    )  # fmt: skip
    label(corrected, tmp_path / "labels", 145)
    assert priced
    assert min(priced) > 110  # nothing older is priced again
    label(corrected, tmp_path / "whole", 145)
    assert everything(tmp_path / "labels").equals(everything(tmp_path / "whole"))


def test_other_costs_or_fewer_series_leave_nothing_old_behind(panel: Panel, tmp_path: Path) -> None:
    label(panel, tmp_path / "labels", 145)
    dearer = replace(panel, items=replace(panel.items, lost_sale_cost=panel.items.lost_sale_cost * 2))
    assert label(dearer, tmp_path / "labels", 145).kept == 0
    few = panel.take(np.arange(3))
    label(few, tmp_path / "labels", 145)
    label(few, tmp_path / "whole", 145)
    assert everything(tmp_path / "labels").equals(everything(tmp_path / "whole"))


def test_other_settings_or_other_code_make_labels_anew(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(panel, tmp_path / "labels", 145)
    discrete = replace(panel, quantity="discrete")
    assert label(discrete, tmp_path / "labels", 145).kept == 0
    assert label(discrete, tmp_path / "labels", 145).kept > 0
    monkeypatch.setattr(orpr.labelling, "ROOMS", ("simulator/*.py",))
    assert label(discrete, tmp_path / "labels", 145).kept == 0


def test_series_stay_in_their_file_while_a_history_grows_and_foreign_files_are_left_alone(
    panel: Panel, tmp_path: Path
) -> None:
    label(panel, tmp_path / "labels", 130)
    files = sorted(path.name for path in (tmp_path / "labels").iterdir())
    (tmp_path / "labels" / "labels-mine.parquet").write_bytes(b"not ours")
    label(panel, tmp_path / "labels", 150)
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == sorted([*files, "labels-mine.parquet"])
    with pytest.raises(ValueError, match="nothing to label before"):
        label(panel, tmp_path / "none", 1)


def test_each_file_says_what_it_was_made_from(panel: Panel, tmp_path: Path) -> None:
    label(panel, tmp_path / "labels", 145)
    for path in (tmp_path / "labels").glob("*.parquet"):
        record = json.loads(pl.read_parquet_metadata(path)["orpr"])
        assert {"data_sha256", "commit", "grid", "ordering_mode", "before", "replayed", "incumbent"} <= record.keys()
        assert record["before"] == panel.date_of(145).isoformat()
        assert pl.read_parquet(path)["covers_until"].max() < panel.date_of(145)
