"""Treated series drawn or given, their controls, and whether the two are alike."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from orpr.experiment.covariates import covariates_of
from orpr.experiment.design import DesignSettings, design
from orpr.experiment.matching import balance_table, nearest_pairs, propensity_logit, stratified_draw
from simulator.canonical import read_panel
from simulator.panel import F64, Panel
from tests.panels import DEFAULTS, make_panel, write_dataset

SERIES, DAYS, START = 500, 56, date(2024, 2, 26)  # the history ends the day before


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two categories, fast and slow series, long and short lead times, with stock."""
    rng = np.random.default_rng(7)
    keys = {"item_id": [f"i{n}" for n in range(SERIES)], "location_id": "here"}
    items = pl.DataFrame(keys).with_columns(
        *(pl.lit(value).alias(name) for name, value in DEFAULTS.items() if name != "lead_time_days"),
        lead_time_days=pl.Series(rng.integers(1, 15, SERIES)),
        category=pl.Series(np.where(rng.random(SERIES) < 0.3, "eggs", "meat")),
        unit_cost=pl.Series(rng.lognormal(1, 1, SERIES)),
    )
    rate = rng.lognormal(1.0, 1.0, SERIES)
    days = [START - timedelta(days=DAYS - t) for t in range(DAYS + 14)]
    rows = pl.DataFrame(keys).with_row_index("n").join(pl.DataFrame({"date": days}), how="cross")
    units = rng.poisson(rate[rows["n"].to_numpy()]).astype(float)
    stock = np.round(rate * rng.uniform(1, 12, SERIES))[rows["n"].to_numpy()] + rng.integers(0, 5, rows.height)
    demand = rows.drop("n").with_columns(units_sold=pl.Series(units), in_stock=pl.lit(1.0))
    inventory = rows.drop("n").with_columns(on_hand=pl.Series(stock))
    settings = {
        "name": "chain",
        "period_days": 1,
        "quantity": "discrete",
        "review_origin": "2024-01-01",
        "currency": "EUR",
    }
    tables = {"items": items, "demand": demand, "inventory": inventory}
    return write_dataset(tmp_path_factory.mktemp("chain"), settings, tables, "parquet")


@pytest.fixture(scope="module")
def panel(chain: Path) -> Panel:
    return read_panel(chain)


@pytest.fixture(scope="module")
def confounded(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Managers chose: fast series of short lead times, eggs before meat. Some series of every kind."""
    fast = np.log(np.nanmean(panel.units_sold, axis=1) + 0.1)
    wish = 1.2 * fast - 0.15 * panel.items.lead_time_days + 1.2 * (panel.items.category == "eggs") - 2.2
    chosen = np.random.default_rng(2).random(SERIES) < 1 / (1 + np.exp(-wish))
    path = tmp_path_factory.mktemp("treated") / "treated.csv"
    pl.DataFrame({"item_id": panel.items.item_id[chosen].tolist(), "location_id": "here"}).write_csv(path)
    return path


def test_matching_balances_a_confounded_choice(panel: Panel, chain: Path, confounded: Path) -> None:
    settings = DesignSettings(start=START, treated=confounded, days=14)
    assignment, result = design(panel, chain, settings)
    balance = {row["covariate"]: row for row in result["balance"]}
    for name in ("mean_demand (log)", "lead_time_days", "category eggs", "logit of the propensity"):
        assert abs(balance[name]["difference_before"]) > 0.2, name
        assert abs(balance[name]["difference_after"]) < 0.1, name
        assert not balance[name]["unbalanced"], name
    assert result["pairs"] > 60
    assert result["pairs"] + result["unmatched"] == result["treated"] == pl.read_csv(confounded).height
    assert result["constant_covariates"] == ["in_stock_rate", "unit_price (log)", "review_period_days"]

    pairs = assignment.drop_nulls("pair").group_by("pair").agg("group", "propensity")
    assert pairs.height == result["pairs"]
    assert all(sorted(group) == ["control", "treated"] for group in pairs["group"])
    odds = assignment.with_columns((pl.col("propensity") / (1 - pl.col("propensity"))).log().alias("logit"))
    gaps = odds.drop_nulls("pair").group_by("pair").agg((pl.col("logit").max() - pl.col("logit").min()).alias("gap"))
    assert gaps["gap"].max() <= result["calliper_logit"] + 1e-9  # type: ignore[operator]


def test_a_pair_shares_its_category_where_asked(panel: Panel, chain: Path, confounded: Path) -> None:
    for within, shared in ((True, True), (False, False)):
        settings = DesignSettings(start=START, treated=confounded, days=14, within_category=within)
        table = design(panel, chain, settings)[0].with_columns(category=pl.Series(panel.items.category.tolist()))
        kinds = table.drop_nulls("pair").group_by("pair").agg(pl.col("category").n_unique())["category"]
        assert (kinds.max() == 1) == shared


def test_nothing_from_the_start_on_is_read(panel: Panel, chain: Path, confounded: Path, tmp_path: Path) -> None:
    late = pl.col("date") >= START
    tables = {name: pl.read_parquet(chain / f"{name}.parquet") for name in ("items", "demand", "inventory")}
    for name, column in (("demand", "units_sold"), ("inventory", "on_hand")):
        tables[name] = tables[name].with_columns(pl.when(late).then(999.0).otherwise(column).alias(column))
    settings = {
        "name": "chain",
        "period_days": 1,
        "quantity": "discrete",
        "review_origin": "2024-01-01",
        "currency": "EUR",
    }
    other = write_dataset(tmp_path / "other", settings, tables, "parquet")
    asked = DesignSettings(start=START, treated=confounded, days=14)
    ours, theirs = design(panel, chain, asked), design(read_panel(other), other, asked)
    assert ours[0].equals(theirs[0])
    assert ours[1]["power"] == theirs[1]["power"]
    later = DesignSettings(start=START + timedelta(days=7), treated=confounded, days=14)
    assert not design(read_panel(other), other, later)[0].equals(design(panel, chain, later)[0])


def test_the_power_of_lost_sales_reads_nothing_from_the_start_on(panel: Panel, chain: Path, confounded: Path) -> None:
    """What a stock-out hid is estimated from the days around it."""
    rng = np.random.default_rng(3)
    share = np.where(rng.random(panel.units_sold.shape) < 0.1, 0.5, 1.0).astype(np.float32)
    ours = replace(panel, in_stock=share)
    late, share_then = panel.units_sold.copy(), share.copy()
    late[:, panel.period_of(START) :] *= 20
    share_then[:, panel.period_of(START) :] = 0.2
    theirs = replace(panel, units_sold=late, in_stock=share_then)
    asked = DesignSettings(start=START, treated=confounded, days=14, metric="lost_sale_cost")
    assert design(ours, chain, asked)[1]["power"] == design(theirs, chain, asked)[1]["power"]


def test_what_never_varied_has_no_power(panel: Panel, chain: Path, confounded: Path, tmp_path: Path) -> None:
    """Nothing ever ran out here, and the dataset has no stock: the first outcome that says anything is what was sold."""
    bare = tmp_path / "bare"
    shutil.copytree(chain, bare, ignore=shutil.ignore_patterns("inventory*"))
    asked = DesignSettings(start=START, treated=confounded, days=14)
    power = design(panel, bare, asked)[1]["power"]
    assert power["metric"] == "units_sold"
    assert power["detectable_effect"] > 0
    named = replace(asked, metric="in_stock_rate")
    assert design(panel, bare, named)[1]["power"]["not_told"] == "it is the same for every series and period"


def test_a_draw_takes_its_share_of_every_category_and_volume() -> None:
    rng = np.random.default_rng(0)
    strata, volume = np.repeat([0, 1, 2], [300, 150, 30]), rng.lognormal(0, 1, 480)
    third = np.searchsorted(np.quantile(volume, [1 / 3, 2 / 3]), volume)
    drawn = stratified_draw(strata, volume, 0.1, rng)
    assert drawn.sum() == 48
    for number in (0, 1, 2):
        assert abs(drawn[strata == number].sum() - 0.1 * (strata == number).sum()) <= 1
        for size in (0, 1, 2):
            cell = (strata == number) & (third == size)
            assert abs(drawn[cell].sum() - 0.1 * cell.sum()) <= 1
    again = [stratified_draw(strata, volume, 0.1, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2])
    often = np.mean([stratified_draw(strata, volume, 0.1, rng) for _ in range(2000)], axis=0)
    np.testing.assert_allclose(often, 0.1, atol=0.03)  # every series as likely as any other


def test_propensities_are_those_they_were_drawn_from_and_stay_finite_where_groups_part() -> None:
    rng = np.random.default_rng(0)
    covariates = rng.normal(size=(4000, 3))
    truth = covariates @ [1.0, -0.5, 0.0] - 1.0
    found = propensity_logit(covariates, rng.random(4000) < 1 / (1 + np.exp(-truth)))
    assert np.corrcoef(found, truth)[0, 1] > 0.99
    assert np.abs(found - truth).mean() < 0.15
    parted = propensity_logit(covariates, covariates[:, 0] > 0)
    assert np.isfinite(parted).all()
    assert parted[covariates[:, 0] > 0].min() > parted[covariates[:, 0] < -0.5].max()


def nearest(logit: list[float], treated: list[int], calliper: float, strata: list[int] | None = None) -> list[int]:
    kinds = None if strata is None else np.array(strata)
    return nearest_pairs(np.array(logit), np.array(treated, dtype=bool), calliper, kinds).tolist()


def test_a_control_is_used_once_and_none_beyond_the_calliper() -> None:
    assert nearest([0.0, 0.1, 0.3, 5.0], [1, 0, 0, 1], 0.5) == [0, 0, -1, -1]
    assert nearest([0.0, 0.05, 0.1, 0.3], [1, 1, 0, 0], 0.5) == [1, 0, 0, 1]  # the hardest first
    assert nearest([0.0, 0.05, 0.1], [1, 1, 0], 0.5) == [-1, 0, 0]
    assert nearest([0.0, 0.1, 0.3], [1, 0, 0], 0.5, [1, 0, 1]) == [0, -1, 0]


def test_the_balance_table_is_what_one_computes_by_hand() -> None:
    column: F64 = np.array([[4.0], [6.0], [1.0], [3.0], [5.0], [9.0]])
    treated, pair = np.array([1, 1, 0, 0, 0, 0], dtype=bool), np.array([0, 1, -1, 0, 1, -1])
    (row,) = balance_table(["x"], column, treated, pair)
    spread = np.sqrt((2.0 + np.var([1, 3, 5, 9], ddof=1)) / 2)
    assert (row.mean_treated, row.mean_control, row.mean_matched_control) == (5.0, 4.5, 4.0)
    assert row.difference_before == pytest.approx(0.5 / spread)
    assert row.difference_after == pytest.approx(1.0 / spread)
    assert (row.variance_ratio_before, row.variance_ratio_after) == (
        pytest.approx(2 / np.var([1, 3, 5, 9], ddof=1)),
        1.0,
    )
    assert row.unbalanced


def test_covariates_are_what_the_history_says() -> None:
    sold = np.array([[2.0, 2, 2, 2, 4, 4, 4, 4], [0.0, 3, 0, 3, 0, 3, 0, 3], [1.0, 1, 1, 1, 1, 1, 1, 1]])
    in_stock = np.ones((3, 8))
    in_stock[2, :2] = 0.5  # its sales were cut short
    items = {"unit_price": [np.nan, 2.0, 4.0], "lead_time_days": [1, 2, 3]}
    found = covariates_of(make_panel(sold, in_stock=in_stock, items=items), np.full((3, 8), 6.0), range(8))
    column = dict(zip(found.names, found.values.T, strict=True))
    np.testing.assert_allclose(np.expm1(column["mean_demand (log)"]), [3.0, 1.5, 1.25])
    np.testing.assert_allclose(column["demand_variability"], [1 / 3, 1.0, np.sqrt(3) / 4 / 1.25])
    np.testing.assert_allclose(column["trend"], [2 / 3, 0.0, -0.5 / 1.25])
    np.testing.assert_allclose(column["zero_share"], [0.0, 0.5, 0.0])
    np.testing.assert_allclose(column["in_stock_rate"], [1.0, 1.0, 0.75])
    np.testing.assert_allclose(np.expm1(column["turnover_days (log)"]), [2.0, 4.0, 6.0])
    np.testing.assert_allclose(np.exp(column["unit_price (log)"]), [np.sqrt(8), 2.0, 4.0])  # unknown: the median
    np.testing.assert_array_equal(column["unit_price (log) unknown"], [1.0, 0.0, 0.0])
    assert "review_period_days" in found.constant


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "exactly one"), ({"canary": "v", "treated": Path("t.csv")}, "canary: say with share"), ({"canary": "v", "share": 0.005}, "at least 0.01"), ({"share": 0.7}, "share must be above 0 and at most 0.5.*0.7"),
        ({"share": 0.1, "days": 0}, "days must be above 0, got 0"), ({"share": 0.1, "calliper": -1.0}, "calliper must"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DesignSettings(start=START, **wrong)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("i1", "here"), ("gone", "here")], "treated.csv, column item_id, row 2: gone@here: this series is not in the dataset"),
        ([("i1", "here"), ("i2", "here"), ("i1", "here")], "row 3.*i1.*stands here twice"),
        ([("i1", "")], "location_id, row 1.*must not be empty"), ([], "the file has no rows"),
        ([(f"i{n}", "here") for n in range(SERIES)], "every series is treated"),
    ],
)  # fmt: skip
def test_wrong_treated_series_are_named(
    panel: Panel, chain: Path, tmp_path: Path, rows: list[tuple[str, str]], message: str
) -> None:
    path = tmp_path / "treated.csv"
    pl.DataFrame(rows, schema={"item_id": pl.String, "location_id": pl.String}, orient="row").write_csv(path)
    with pytest.raises(ValueError, match=message):
        design(panel, chain, DesignSettings(start=START, treated=path))


def test_groups_that_have_nothing_in_common_find_no_pairs(panel: Panel, chain: Path, tmp_path: Path) -> None:
    path = tmp_path / "treated.csv"
    slow = panel.items.lead_time_days > 7
    pl.DataFrame({"item_id": panel.items.item_id[slow].tolist(), "location_id": "here"}).write_csv(path)
    with pytest.raises(ValueError, match=r"calliper: no treated series has a control within 0\.001"):
        design(panel, chain, DesignSettings(start=START, treated=path, calliper=0.001))
    with pytest.raises(ValueError, match="leaves fewer than two periods before it; the history begins on 2024-01-01"):
        design(panel, chain, DesignSettings(start=date(2024, 1, 2), treated=path))
