"""The way through, as a user walks it: files in, one command, files out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from simulator.baselines import pto_gamma
from simulator.canonical import read_panel
from tests.conftest import WEEKLY_CHAMPION
from tests.pipeline.conftest import Orpr

COLUMNS = ["item_id", "location_id", "as_of", "inventory_days", "daily_rate", "target_stock", "inventory_position",
           "raw_order_quantity", "order_quantity", "review_due", "source", "policy_version"]  # fmt: skip


def check_identity(table: pl.DataFrame) -> None:
    raw = np.maximum(0, table["target_stock"].to_numpy() - table["inventory_position"].to_numpy())
    np.testing.assert_allclose(table["raw_order_quantity"].to_numpy(), raw, rtol=1e-6)


def test_score_answers_every_series_with_the_columns_of_the_format(orpr: Orpr, data: Path, tmp_path: Path) -> None:
    done = orpr("score", "--data", data, "--policy", "champion", "--out", tmp_path / "out.parquet")
    assert done.returncode == 0, done.stderr
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table.columns == COLUMNS
    assert table.height == 4
    assert table["source"].unique().to_list() == ["policy"]
    check_identity(table)
    assert table["order_quantity"].to_list()[3] == 0
    assert str(table["as_of"][0]) == "2019-04-30"


def test_score_at_an_earlier_day_reads_nothing_after_it(orpr: Orpr, data: Path, tmp_path: Path) -> None:
    words = ("score", "--data", data, "--policy", "champion", "--as-of", "2019-01-15")
    assert orpr(*words, "--out", tmp_path / "a.parquet").returncode == 0
    demand = pl.read_parquet(data / "demand.parquet")
    later = pl.col("date") > pl.date(2019, 1, 15)
    demand.with_columns(
        pl.when(later).then(777.0).otherwise("units_sold").cast(pl.Float32).alias("units_sold")
    ).write_parquet(data / "demand.parquet")
    assert orpr(*words, "--out", tmp_path / "b.parquet").returncode == 0
    assert pl.read_parquet(tmp_path / "a.parquet").equals(pl.read_parquet(tmp_path / "b.parquet"))


def test_an_order_that_has_to_last_longer_than_the_policy_looks_ahead_gets_a_base_stock(
    orpr: Orpr, data: Path, tmp_path: Path
) -> None:
    assert orpr("score", "--data", data, "--policy", "champion", "--out", tmp_path / "a.parquet").returncode == 0
    items = pl.read_parquet(data / "items.parquet")
    far = pl.int_range(pl.len()) == 1
    lead = pl.when(far).then(100).otherwise("lead_time_days").cast(items["lead_time_days"].dtype)
    items.with_columns(lead.alias("lead_time_days")).write_parquet(data / "items.parquet")
    done = orpr("score", "--data", data, "--policy", "champion", "--out", tmp_path / "b.parquet")
    assert done.returncode == 0, done.stderr
    usual, found = (pl.read_parquet(tmp_path / name).to_dicts() for name in ("a.parquet", "b.parquet"))
    panel = read_panel(data)
    expected = pto_gamma(panel, range(panel.last_recorded, panel.last_recorded + 1), 28)[1, 0]
    assert found[1]["target_stock"] == pytest.approx(expected, rel=1e-3)
    assert [found[n] for n in (0, 2, 3)] == [usual[n] for n in (0, 2, 3)]


def test_given_stock_and_open_orders_replace_the_dataset_s(orpr: Orpr, data: Path, tmp_path: Path) -> None:
    state = pl.read_parquet(data / "state.parquet").with_columns(on_hand=pl.lit(3.0))
    state.write_csv(tmp_path / "stock.csv")
    orders = state.select("item_id", "location_id").with_columns(
        arrival_date=pl.lit("2019-05-02"), quantity=pl.lit(4.0)
    )
    orders.write_csv(tmp_path / "orders.csv")
    done = orpr("score", "--data", data, "--policy", "champion", "--state", tmp_path / "stock.csv",
                "--open-orders", tmp_path / "orders.csv", "--out", tmp_path / "out.parquet")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert pl.read_parquet(tmp_path / "out.parquet")["inventory_position"].to_list() == [7.0] * 4


def test_a_bad_value_is_one_line_exit_2_and_no_file(orpr: Orpr, data: Path, tmp_path: Path) -> None:
    demand = pl.read_parquet(data / "demand.parquet")
    demand[10, "units_sold"] = -5.0
    demand.write_parquet(data / "demand.parquet")
    done = orpr("score", "--data", data, "--policy", "champion", "--out", tmp_path / "out.parquet")
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    for part in ("demand.parquet", "units_sold", "row 11", "-5"):
        assert part in lines[0]
    assert not (tmp_path / "out.parquet").exists()


def test_quarantine_sets_the_bad_series_aside_and_answers_the_rest(orpr: Orpr, data: Path, tmp_path: Path) -> None:
    demand = pl.read_parquet(data / "demand.parquet")
    demand[10, "units_sold"] = -5.0
    demand.write_parquet(data / "demand.parquet")
    done = orpr(
        "score",
        "--data",
        data,
        "--policy",
        "champion",
        "--out",
        tmp_path / "out.parquet",
        "--quarantine",
        tmp_path / "bad.parquet",
    )
    assert done.returncode == 0, done.stderr
    aside = pl.read_parquet(tmp_path / "bad.parquet")
    assert aside.height == 1
    assert aside["column"][0] == "units_sold"
    assert pl.read_parquet(tmp_path / "out.parquet").height == 3


def test_missing_stock_is_refused_and_not_guessed(orpr: Orpr, data: Path, tmp_path: Path) -> None:
    (data / "state.parquet").unlink()
    done = orpr("score", "--data", data, "--policy", "champion", "--out", tmp_path / "out.parquet")
    assert done.returncode == 2
    assert "on_hand" in done.stderr
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--policy", "nobody"], "nobody"),
        (["--policy", "champion", "--as-of", "soon"], "soon"),
        (["--policy", "champion", "--as-of", "2031-01-01"], "2031-01-01"),
    ],
)
def test_a_wrong_call_is_exit_2_and_names_what_is_wrong(
    orpr: Orpr, data: Path, tmp_path: Path, words: list[str], named: str
) -> None:
    done = orpr("score", "--data", data, *words, "--out", tmp_path / "out.parquet")
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_weekly_data_are_answered_by_the_weekly_champion(orpr: Orpr, weekly: Path, tmp_path: Path) -> None:
    done = orpr("score", "--data", weekly, "--policy", "champion", "--out", tmp_path / "out.parquet")
    assert done.returncode == 0, done.stderr
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table["source"].unique().to_list() == ["policy"]
    assert table["policy_version"].unique().to_list() == [WEEKLY_CHAMPION]
    check_identity(table)
    assert table["inventory_days"].is_between(7, 30).all()


@pytest.mark.parametrize("flags", [[], ["--by-week"]], ids=["daily", "weekly"])
def test_train_makes_a_bundle_that_scores_and_adapts(
    orpr: Orpr, data: Path, weekly: Path, flags: list[str], tmp_path: Path
) -> None:
    """Daily data teach a policy for either period; the weekly one is then asked about, and adapted to, weekly data."""
    words = ["train", "--data", data, "--out", tmp_path / "mine", "--config", "tiny", *flags]
    trained = orpr(*words)
    assert trained.returncode == 0, trained.stderr
    manifest = json.loads((tmp_path / "mine" / "manifest.json").read_text())
    assert manifest["version"] == "mine"
    assert manifest["command"] == " ".join(["orpr", *map(str, words)])
    folder = weekly if flags else data
    done = orpr("score", "--data", folder, "--policy", tmp_path / "mine", "--out", tmp_path / "out.parquet")
    assert done.returncode == 0, done.stderr
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table["policy_version"].unique().to_list() == ["mine"]
    check_identity(table)
    adapted = orpr(
        "train", "--data", folder, "--from", tmp_path / "mine", "--out", tmp_path / "again", "--config", "tiny"
    )
    assert adapted.returncode == 0, adapted.stderr
    again = json.loads((tmp_path / "again" / "manifest.json").read_text())
    assert again["adapted_from"] == "mine"
    assert again["training_cut_offs"].items() >= manifest["training_cut_offs"].items()


def test_a_lead_time_beyond_the_horizon_is_answered_by_the_baseline(orpr: Orpr, data: Path, tmp_path: Path) -> None:
    items = pl.read_parquet(data / "items.parquet")
    items[0, "lead_time_days"] = 120
    items.write_parquet(data / "items.parquet")
    done = orpr("score", "--data", data, "--policy", "champion", "--out", tmp_path / "out.parquet")
    assert done.returncode == 0, done.stderr
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table["source"].to_list() == ["baseline", "policy", "policy", "policy"]
    assert table["inventory_days"][0] > 90
    check_identity(table)


def test_given_stock_is_read_instead_of_a_broken_default(orpr: Orpr, data: Path, tmp_path: Path) -> None:
    pl.read_parquet(data / "state.parquet").write_parquet(tmp_path / "good.parquet")
    (data / "state.parquet").write_bytes(b"broken")
    words = ("score", "--data", data, "--policy", "champion", "--out", tmp_path / "out.parquet")
    assert orpr(*words).returncode == 2
    assert orpr(*words, "--state", tmp_path / "good.parquet").returncode == 0


def test_label_writes_curves_and_their_provenance(orpr: Orpr, data: Path, tmp_path: Path) -> None:
    done = orpr("label", "--data", data, "--out", tmp_path / "labels", "--test-days", 180)
    assert done.returncode == 0, done.stderr
    file = tmp_path / "labels" / "labels-0000000.parquet"
    table = pl.read_parquet(file)
    provenance = json.loads(pl.read_parquet_metadata(file)["orpr"])
    grid = np.array(provenance["grid"])
    curves = np.stack(table["cost_curve"].to_list())
    assert curves.shape == (table.height, len(grid))
    np.testing.assert_allclose(table["inventory_days"].to_numpy(), grid[curves.argmin(axis=1)])
    assert str(table["covers_until"].max()) < provenance["before"] == "2018-11-02"
    again = orpr("label", "--data", data, "--out", tmp_path / "labels", "--test-days", 180)
    assert "1 of 1 files kept" in again.stdout
    assert "is a file" in orpr("label", "--data", data, "--out", file).stderr


def test_rules_lists_what_suppliers_rules_cost(orpr: Orpr, data: Path, tmp_path: Path) -> None:
    items = pl.read_parquet(data / "items.parquet").with_columns(order_multiple=pl.Series([60.0, 0.0, 1.0, 12.0]))
    items.write_parquet(data / "items.parquet")
    done = orpr("rules", "--data", data, "--out", tmp_path / "rules.parquet", "--days", 200)
    assert done.returncode == 0, done.stderr
    table = pl.read_parquet(tmp_path / "rules.parquet")
    packs = table.filter(pl.col("rule") == "order_multiple")
    assert packs.height == 2
    assert packs["cost_per_year"][0] > 0
    assert table["cost_per_year"].is_sorted(descending=True)
    assert json.loads(pl.read_parquet_metadata(tmp_path / "rules.parquet")["orpr"])["last"] == "2019-04-30"
    assert "order_multiple" in done.stdout


def test_pareto_draws_the_trade_off_under_limits_and_marks_the_real_turnover(
    orpr: Orpr, data: Path, tmp_path: Path
) -> None:
    words = ("pareto", "--data", data, "--out", tmp_path / "points.parquet", "--points", 6, "--by-category")
    done = orpr(*words)
    assert done.returncode == 0, done.stderr
    assert "calibrated by category" in done.stdout
    free = pl.read_parquet(tmp_path / "points.parquet")
    assert set(free["point"]) >= {"1", "calibrated", "calibrated by category"}
    assert free.group_by("point").len()["len"].unique().to_list() == [4]
    free_record = json.loads(pl.read_parquet_metadata(tmp_path / "points.parquet")["orpr"])
    assert free_record["turnover_source"] == "replayed incumbent"
    place = pl.read_parquet(data / "items.parquet")["location_id"][0]
    pl.DataFrame({"location_id": [place], "volume": [150.0]}).write_parquet(data / "limits.parquet")
    assert "by_category cannot be combined with a limits file" in orpr(*words).stderr
    words = words[:-1]
    assert orpr(*words).returncode == 0
    bound = pl.read_parquet(tmp_path / "points.parquet").filter(location_id=place)
    assert bound["inventory_days"].max() < free.filter(location_id=place)["inventory_days"].max()
    pl.DataFrame({"location_id": [place], "volume": [0.0]}).write_parquet(data / "limits.parquet")
    impossible = orpr(*words)
    assert impossible.returncode == 2
    assert f"location_capacity[{place}]" in impossible.stderr


def test_check_says_what_is_in_a_dataset(orpr: Orpr, data: Path) -> None:
    done = orpr("check", "--data", data)
    assert done.returncode == 0
    assert "4 series" in done.stdout


def test_backtest_prints_every_row_and_writes_its_page(orpr: Orpr, data: Path, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("# Page\n<!-- backtest -->\nold\n<!-- /backtest -->\nend\n")
    done = orpr(
        "backtest", "--data", data, "--test-days", 60, "--results", tmp_path / "results", "--page", tmp_path / "page.md"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "results" / "backtest-bakery.json").read_text())
    methods = {row["method"] for row in result["table"]}
    assert methods == {"OR hindsight", "clairvoyant", "OR label", "PTO normal 14", "PTO normal 28", "PTO gamma 14",
                       "PTO gamma 28", "PTO gamma, DL forecast", "BM_50", "BM_85", "incumbent", "constant days",
                       "GBM plain", "GBM strong", "DL"}  # fmt: skip
    costs = {row["method"]: row["total_cost"] for row in result["table"]}
    assert costs["clairvoyant"] == min(costs.values())
    assert all(name in done.stdout for name in ("GBM strong", "clairvoyant", "DL"))
    assert (tmp_path / "results" / "backtest-bakery.png").stat().st_size > 10_000
    assert "| GBM strong |" in (tmp_path / "page.md").read_text()
    assert "old" not in (tmp_path / "page.md").read_text()


def test_a_policy_that_was_trained_on_the_window_is_not_backtested(orpr: Orpr, data: Path) -> None:
    done = orpr("backtest", "--data", data, "--test-days", 365)
    assert done.returncode == 2
    assert "was trained on bakery up to" in done.stderr


def test_export_again_keeps_the_answers(orpr: Orpr, tmp_path: Path) -> None:
    from service.bundle import resolve_bundle
    from service.policy import Policy
    from tests.pipeline.conftest import SAMPLE
    from training.export import check_parity

    shipped = resolve_bundle("champion", 1)
    done = orpr("export", "--from", shipped, "--data", SAMPLE, "--out", tmp_path / "twin")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "twin" / "golden.npz") as golden:  # of the sample alone, whatever the old cases came from
        seen, said = (
            {name.removeprefix(kind): golden[name] for name in golden.files if name.startswith(kind)}
            for kind in ("input.", "output.")
        )
    check_parity(shipped / "policy.onnx", seen, said)
    assert Policy(tmp_path / "twin").version == "twin"


def test_import_makes_a_dataset_that_trains_and_scores(orpr: Orpr, tmp_path: Path) -> None:
    lines = ["when,sku,pieces,each"]
    rng = np.random.default_rng(5)
    for day in range(120):
        for sku in ("A", "B"):
            lines += [f"2024-{1 + day // 28:02d}-{1 + day % 28:02d},{sku},{int(rng.poisson(4)) + 1},2.50"]
    (tmp_path / "sales.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "stock.csv").write_text("sku,when,on_hand\nA,2024-05-08,7\nB,2024-05-08,-2\n")
    done = orpr("import", "--sales", tmp_path / "sales.csv", "--stock", tmp_path / "stock.csv", "--out", tmp_path / "made",
                "--map", "when=date", "--map", "sku=item_id", "--map", "sales.pieces=quantity", "--map", "sales.each=unit_price")  # fmt: skip
    assert done.returncode == 0, done.stderr
    scored = orpr("score", "--data", tmp_path / "made", "--policy", "champion", "--out", tmp_path / "out.parquet")
    assert scored.returncode == 0, scored.stderr
    assert sorted(pl.read_parquet(tmp_path / "out.parquet")["inventory_position"].to_list()) == [0.0, 7.0]


@pytest.mark.parametrize(
    "command",
    [
        "import",
        "check",
        "label",
        "rules",
        "pareto",
        "train",
        "backtest",
        "ablate",
        "export",
        "score",
        "serve",
        "key",
        "replay",
        "demo",
    ],
)
def test_every_command_explains_itself(orpr: Orpr, command: str) -> None:
    done = orpr(command, "--help")
    assert done.returncode == 0
    assert len(done.stdout) > 200
