"""`orpr experiment` from a dataset to a report, and what it says of wrong input."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from orpr.cli import app
from orpr.client import Client
from orpr.experiment.adherence import adherence_of, read_decisions
from orpr.experiment.assignments import Assignment
from orpr.experiment.report import ReportSettings, report, write_report
from orpr.experiment.words import page
from service.schemas import RecommendationItem
from simulator.canonical import read_panel
from simulator.panel import Panel
from tests.field import lived_dataset
from tests.panels import make_panel
from tests.pipeline.conftest import SAMPLE, Orpr, orpr_in
from tests.serving import running_service

FIRST, START, LAST = date(2018, 9, 1), date(2019, 3, 1), date(2019, 4, 30)
FED = (date(2019, 1, 20), date(2019, 4, 9))  # days whose stock the service is told
LOWER = 0.8  # the treatment's base stock over the old one
PICTURES = ("effects", "turnover_days", "in_stock_rate", "holding_cost", "lost_sale_cost", "units_sold")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample as it went until the start, the design made of it, and the sample as it went with the treatment."""
    here = tmp_path_factory.mktemp("field")
    series = pl.read_parquet(SAMPLE / "items.parquet").height
    untreated = lived_dataset(SAMPLE, here / "untreated", FIRST, START, np.ones(series))
    words = ("--data", untreated, "--share", 0.3, "--start", START, "--days", 60, "--out", here / "design")
    done = orpr_in(here)("experiment", "design", *words)
    assert done.returncode == 0, done.stderr
    (here / "design.txt").write_text(done.stdout)
    treated = pl.read_parquet(here / "design" / "assignment.parquet")["group"].to_numpy() == "treated"
    lived_dataset(SAMPLE, here / "treated", FIRST, START, np.where(treated, LOWER, 1.0))
    return here


@pytest.fixture(scope="module")
def panel(folder: Path) -> Panel:
    return read_panel(folder / "treated")


@pytest.fixture
def bare(folder: Path, tmp_path: Path) -> Path:
    """The sample as it went, without its inventory file."""
    here = tmp_path / "bare"
    here.mkdir()
    for path in (folder / "treated").iterdir():
        if path.stem != "inventory":
            (here / path.name).symlink_to(path)
    return here


@pytest.fixture
def assignment(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "design" / "assignment.parquet")


def decisions_of(assignment: pl.DataFrame, *, kept: float, version: str = "daily-9") -> list[dict[str, Any]]:
    """A decision a week for a share of the treated series, by the treatment, and for the rest by the old policy."""
    treated = assignment.filter((pl.col("group") == "treated") & pl.col("pair").is_not_null())
    own = round(kept * treated.height)
    return [
        {
            "item_id": item, "location_id": place, "order_date": (START + timedelta(days=7 * week)).isoformat(),
            "order_quantity": 5.0, "policy_version": version if n < own else "daily-6",
            "status": "ordered" if week else "changed", "id": f"d-{n}-{week}",
        }
        for n, (item, place) in enumerate(treated.select("item_id", "location_id").iter_rows()) for week in range(4)
    ]  # fmt: skip


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_design_writes_pairs_balance_power_and_pictures(folder: Path, assignment: pl.DataFrame) -> None:
    assert assignment.columns == ["item_id", "location_id", "group", "pair", "propensity"]
    assert assignment.height == 84
    assert (assignment["group"] == "treated").sum() == 25
    assert assignment["propensity"].is_between(0, 1).all()
    made = json.loads((folder / "design" / "design.json").read_text())
    assert assignment.filter(pl.col("group") == "control")["pair"].n_unique() == made["pairs"] >= 15
    assert made["last"] == "2019-02-28"
    assert made["power"]["metric"] == "turnover_days"
    assert 0.1 < made["power"]["detectable_effect"] < 1.5
    balance = pl.read_csv(folder / "design" / "balance.csv")
    assert balance["covariate"].to_list() == [row["covariate"] for row in made["balance"]]
    bad = balance.filter(pl.col("difference_after").abs() > 0.1)["covariate"].to_list()
    said = (folder / "design.txt").read_text()
    assert f"{made['pairs']} pairs of 25 treated series" in said
    assert all(name in said for name in bad)
    for name in ("love.png", "propensity.png"):
        with Image.open(folder / "design" / name) as image:
            assert len(image.getcolors() or []) > 8, name  # something is drawn


def test_report_finds_what_the_lower_base_stock_did(folder: Path, assignment: pl.DataFrame, tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "decisions.ndjson", decisions_of(assignment, kept=1.0))
    done = orpr_in(tmp_path)(
        "experiment", "report", "--assignment", folder / "design" / "assignment.parquet", "--data", folder / "treated",
        "--start", START, "--decisions", lines, "--policy-version", "daily-9", "--settle-days", 9, "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["after"] == ["2019-03-10", "2019-04-30"]
    outcomes = {one["metric"]: one for one in found["outcomes"]}
    assert sorted(outcomes) == sorted(PICTURES[1:])

    effects = true_effects(folder, assignment)
    for metric, truth in effects.items():
        assert outcomes[metric]["did"]["low"] <= truth <= outcomes[metric]["did"]["high"], metric
        assert outcomes[metric]["did"]["p_value"] < 0.01, metric
        assert outcomes[metric]["permutation"]["p_value"] < 0.01, metric
    assert effects["turnover_days"] < -0.3
    assert outcomes["turnover_days"]["pooled"]["did"]["high"] < 0
    study = outcomes["turnover_days"]["event_study"]
    assert study["dates"][study["before"]] == "2019-03-10"  # the settling days are left out
    assert study["effect"][study["before"] - 1] == 0

    adherence = found["adherence"]
    assert (adherence["treated_share"], adherence["control_share"], adherence["automation_rate"]) == (1.0, 0.0, 0.75)
    assert outcomes["turnover_days"]["on_the_treated"] is None
    page = (tmp_path / "out" / "report.md").read_text()
    for name in PICTURES:
        assert f"({name}.png)" in page
        assert (tmp_path / "out" / f"{name}.png").stat().st_size > 2000
    assert "100.0 % of the treated series had one" in page
    assert "turnover days" in done.stdout


def true_effects(folder: Path, assignment: pl.DataFrame) -> dict[str, float]:
    """What the treatment did to the paired treated series, by the stock they would have had without it."""
    treated = assignment.filter((pl.col("group") == "treated") & pl.col("pair").is_not_null())
    keys = ["item_id", "location_id"]
    late, early = pl.col("date") >= date(2019, 3, 10), pl.col("date").is_between(date(2018, 12, 7), date(2019, 2, 28))
    stock = [pl.read_parquet(folder / name / "inventory.parquet").filter(late) for name in ("untreated", "treated")]
    change = stock[0].join(stock[1], on=[*keys, "date"], suffix="_new").join(treated, on=keys, how="semi")
    daily = (
        pl.read_parquet(folder / "treated" / "demand.parquet")
        .filter(early)
        .group_by(keys)
        .agg(pl.col("units_sold").mean())
    )
    costs = pl.read_parquet(SAMPLE / "items.parquet").select(*keys, "holding_cost_per_day")
    change = change.join(daily, on=keys).join(costs, on=keys)
    less = pl.col("on_hand_new") - pl.col("on_hand")
    return dict(
        zip(
            ("turnover_days", "holding_cost"),
            change.select(a=(less / pl.col("units_sold")).mean(), b=(less * pl.col("holding_cost_per_day")).mean()).row(
                0
            ),
            strict=True,
        )
    )


def found_by(panel: Panel, data: Path, table: pl.DataFrame, path: Path, **settings: Any) -> dict[str, Any]:
    table.write_parquet(path)
    asked = {"metrics": ["turnover_days"], "permutations": 19, "start": START, **settings}
    return report(panel, data, ReportSettings(assignment=path, **asked), lambda *_: None)


def test_half_kept_treatment_tells_the_effect_on_those_who_kept_to_it(
    panel: Panel, folder: Path, assignment: pl.DataFrame, tmp_path: Path
) -> None:
    lines = write_lines(tmp_path / "decisions.ndjson", decisions_of(assignment, kept=0.5))
    found = found_by(
        panel, folder / "treated", assignment, tmp_path / "a.parquet", decisions=lines, policy_versions=["daily-9"]
    )
    share = found["adherence"]["treated_share"]
    assert 0.4 < share < 0.6
    (one,) = found["outcomes"]
    assert one["on_the_treated"]["effect"] == pytest.approx(one["did"]["effect"] / share)
    late = [row | {"order_date": "2018-12-24"} for row in decisions_of(assignment, kept=1.0)]
    with pytest.raises(ValueError, match="none is for a series of the experiment from 2019-03-01"):
        found_by(panel, folder / "treated", assignment, tmp_path / "a.parquet", decisions=write_lines(lines, late))


def test_decisions_that_do_not_tell_the_groups_apart_leave_the_effect_and_say_so(
    panel: Panel, folder: Path, assignment: pl.DataFrame, tmp_path: Path
) -> None:
    """All that the service remembers, whose policies nobody has named: every series has a decision."""
    paired = assignment.filter(pl.col("pair").is_not_null()).select("item_id", "location_id")
    rows = [
        {"item_id": item, "location_id": place, "order_date": START.isoformat(), "order_quantity": 1.0, "policy_version": "daily-6"}
        for item, place in paired.iter_rows()
    ]  # fmt: skip
    lines = write_lines(tmp_path / "decisions.ndjson", rows)
    found = found_by(panel, folder / "treated", assignment, tmp_path / "a.parquet", decisions=lines)
    assert (found["adherence"]["treated_share"], found["adherence"]["control_share"]) == (1.0, 1.0)
    (one,) = found["outcomes"]
    assert one["did"]["effect"] < 0
    assert one["on_the_treated"] == {"not_told": "decisions: as many control as treated series were really treated"}
    assert "- turnover days: not told, decisions: as many control as treated" in page(
        found, "effects.png", {"turnover_days": "turnover_days.png"}
    )


def test_an_assignment_without_pairs_compares_all_treated_with_all_control(
    panel: Panel, folder: Path, assignment: pl.DataFrame, tmp_path: Path
) -> None:
    sticky = assignment.select("item_id", "location_id", group=pl.col("group").str.replace("left_out", "control"))
    found = found_by(panel, folder / "treated", sticky, tmp_path / "a.parquet")
    assert (found["treated"], found["control"], found["pairs"]) == (25, 59, None)
    assert found["outcomes"][0]["did_std_error_by_pair"] is None
    assert found["outcomes"][0]["did"]["high"] < 0


def test_a_dataset_without_inventory_tells_what_it_can(
    panel: Panel, assignment: pl.DataFrame, tmp_path: Path, bare: Path
) -> None:
    assignment.write_parquet(tmp_path / "a.parquet")
    asked = ReportSettings(assignment=tmp_path / "a.parquet", start=START, permutations=19)
    found = report(panel, bare, asked, lambda *_: None)
    assert [one["metric"] for one in found["outcomes"]] == ["in_stock_rate", "lost_sale_cost", "units_sold"]
    assert found["not_told"] == dict.fromkeys(("turnover_days", "holding_cost"), "the dataset has no inventory file")


def test_stock_that_the_service_was_told_stands_in_for_the_datasets(
    panel: Panel, folder: Path, assignment: pl.DataFrame, tmp_path: Path, bare: Path
) -> None:
    """Fed day by day over the API, pulled, and measured: the same numbers as from the dataset's own file."""
    told = pl.read_parquet(folder / "treated" / "inventory.parquet").filter(pl.col("date").is_between(*FED))
    (tmp_path / "service").mkdir()
    with running_service(tmp_path / "service") as service, Client(service.url, service.key) as erp:
        for day in told.partition_by("date"):
            erp.put_inventory(day)
        first = assignment.row(0, named=True)
        asked_for = RecommendationItem(item_id=first["item_id"], location_id=first["location_id"], on_hand=3)
        (answer,) = erp.recommend([asked_for], as_of=START).items
        there = ("experiment", "pull", "--out", tmp_path / "field", "--url", service.url, "--key", service.key)
        done = orpr_in(tmp_path)(*there, "--from", FED[0], "--to", FED[1])
        assert done.returncode == 0, done.stderr
        assert f"decisions 1, counts of stock {told.height:,}" in done.stdout
        wrong = orpr_in(tmp_path)(*there, "--from", FED[1], "--to", FED[0])
        assert wrong.returncode == 2, wrong.stderr
        assert f"to: {FED[0]} lies before from, {FED[1]}" in wrong.stderr
    assert answer.result is not None
    decided = read_decisions(tmp_path / "field" / "decisions.ndjson")
    assert decided.select("item_id", "order_quantity").row(0) == (first["item_id"], answer.result.order_quantity)
    asked = {"end": FED[1], "history_days": (START - FED[0]).days}
    pulled = tmp_path / "field" / "inventory.parquet"
    mine = found_by(panel, folder / "treated", assignment, tmp_path / "a.parquet", **asked)
    theirs = found_by(panel, bare, assignment, tmp_path / "a.parquet", inventory=pulled, **asked)
    assert mine["outcomes"] == theirs["outcomes"]


def test_what_a_short_history_cannot_check_is_said_and_not_drawn(
    panel: Panel, folder: Path, assignment: pl.DataFrame, tmp_path: Path
) -> None:
    found = found_by(panel, folder / "treated", assignment, tmp_path / "a.parquet", bin_days=60, permutations=199)
    paths = write_report(found, tmp_path / "out")
    assert sorted(path.name for path in paths) == ["effects.png", "report.json", "report.md"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["effects.png", "report.json", "report.md"]
    page = (tmp_path / "out" / "report.md").read_text()
    assert "No event study: bins of 60 periods: 1 before the start and 1 after it, 2 and 1 are needed." in page
    assert "not every check could be made" in page


Spoil = Callable[[pl.DataFrame], pl.DataFrame]


def cell(row: int, column: str, value: object) -> Spoil:
    return lambda table: table.with_columns(
        pl.when(pl.int_range(pl.len()) == row).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
    )


def lone_pair(table: pl.DataFrame) -> pl.DataFrame:
    return table.filter((pl.col("pair") != 0).fill_null(value=True) | (pl.col("group") != "control"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cell(2, "item_id", "gone"), r"a.parquet, column item_id, row 3: gone@.*not in the dataset"),
        (cell(2, "group", "test"), r"column group, row 3: 'test': must be one of treated, control, left_out"),
        (cell(2, "group", None), r"column group, row 3: must be one of"),
        (lambda t: pl.concat([t, t[:1]]), r"row 85: .*stands here twice"),
        (lone_pair, r"column pair, row \d+: 0: must be one treated and one control series, this one is 1 treated and 0 control"),
        (lambda t: t.with_columns(pair=pl.lit(None, pl.Int64)), r"no treated series can be compared"),
        (lambda t: t.with_columns(pair=pl.lit("x")), r"column pair, row 1: 'x': must be a whole number"),
        (lambda t: t.drop("group"), r"column group: the column is missing"),
        (lambda t: t.clear(), r"the file has no rows"),
    ],
)  # fmt: skip
def test_a_broken_assignment_is_named(
    panel: Panel, folder: Path, assignment: pl.DataFrame, tmp_path: Path, spoil: Spoil, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        found_by(panel, folder / "treated", spoil(assignment), tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": date(2019, 5, 1)}, "start: 2019-05-01 lies after the last recorded period, 2019-04-30"),
        ({"start": FIRST}, "start: 2018-09-01 leaves fewer than two periods before it; the history begins on 2018-09-01"),
        ({"end": date(2019, 2, 1)}, "end: 2019-02-01 lies before the start, 2019-03-01"),
        ({"end": date(2019, 5, 2)}, "end: 2019-05-02 lies after the last recorded period, 2019-04-30"),
        ({"settle_days": 61}, "settle_days: 61 days leave nothing of the experiment"),
        ({"metrics": ["profit"]}, "metric must be one of turnover_days, .*, got 'profit'"),
        ({"bin_days": 0}, "bin_days must be at least 1, got 0"),
        ({"policy_versions": ["daily-9"]}, "policy_version: it takes decisions"),
    ],
)  # fmt: skip
def test_wrong_dates_and_settings_are_named(
    panel: Panel, folder: Path, assignment: pl.DataFrame, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        found_by(panel, folder / "treated", assignment, tmp_path / "a.parquet", **settings)


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ({"order_quantity": -1.0}, r"decisions.ndjson, column order_quantity, row 1: -1.0: must be a number of at least 0"),
        ({"order_date": "1.3.2019"}, r"column order_date, row 1: '1.3.2019': must be a date"),
        ({"policy_version": None}, r"column policy_version, row 1: must not be empty"),
    ],
)  # fmt: skip
def test_a_broken_decision_is_named(
    panel: Panel, folder: Path, assignment: pl.DataFrame, tmp_path: Path, spoilt: dict[str, Any], message: str
) -> None:
    rows = decisions_of(assignment, kept=1.0)
    lines = write_lines(tmp_path / "decisions.ndjson", [rows[0] | spoilt, *rows[1:]])
    with pytest.raises(ValueError, match=message):
        found_by(panel, folder / "treated", assignment, tmp_path / "a.parquet", decisions=lines)
    write_lines(lines, rows)
    with pytest.raises(ValueError, match="no decision is by 'daily-8'; there are daily-9"):
        found_by(
            panel, folder / "treated", assignment, tmp_path / "a.parquet", decisions=lines, policy_versions=["daily-8"]
        )
    lines.write_text("{not json\n")
    with pytest.raises(ValueError, match=r"decisions.ndjson, column -: cannot be read as lines of JSON"):
        found_by(panel, folder / "treated", assignment, tmp_path / "a.parquet", decisions=lines)


def test_a_status_that_is_no_text_is_named_and_one_that_nobody_knows_says_nothing(tmp_path: Path) -> None:
    row = {
        "item_id": "i0",
        "location_id": "here",
        "order_date": "2019-03-01",
        "order_quantity": 1.0,
        "policy_version": "daily-9",
    }
    with pytest.raises(ValueError, match=r"decisions.ndjson, column status: List\(String\): must be text"):
        read_decisions(write_lines(tmp_path / "decisions.ndjson", [row | {"status": ["ordered"]}]))
    found = read_decisions(write_lines(tmp_path / "decisions.ndjson", [row | {"status": 7}]))
    panel = make_panel(np.ones((2, 9)), start=START)
    assigned = Assignment(np.arange(2), np.array([True, False]), None, 0)
    told = adherence_of(found, panel, assigned, START, START, [])
    assert (told.treated_share, told.outcomes_told) == (1.0, 0)


def test_a_superseded_decision_treats_nobody(
    panel: Panel, folder: Path, assignment: pl.DataFrame, tmp_path: Path
) -> None:
    rows = decisions_of(assignment, kept=1.0)
    rows = [row | {"status": "superseded"} if row["id"].startswith("d-0-") else row for row in rows]
    lines = write_lines(tmp_path / "decisions.ndjson", rows)
    found = found_by(panel, folder / "treated", assignment, tmp_path / "a.parquet", decisions=lines)
    assert found["adherence"]["treated_share"] == pytest.approx(1 - 1 / found["treated"])


def test_a_wrong_call_is_one_line_exit_2_and_no_file(folder: Path, orpr: Orpr, tmp_path: Path) -> None:
    words = ("--assignment", folder / "design" / "assignment.parquet", "--data", folder / "treated")
    done = orpr("experiment", "report", *words, "--start", "2019-13-01", "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (2, "orpr: start must be a date, YYYY-MM-DD, got '2019-13-01'\n")
    assert not (tmp_path / "out").exists()


def test_weekly_data_start_with_a_week(weekly: Path, tmp_path: Path) -> None:
    def run(*words: object) -> Result:
        return CliRunner().invoke(app, ["experiment", *(str(word) for word in words), "--data", str(weekly)])

    words = ("design", "--share", 0.34, "--out", tmp_path / "out", "--calliper", 5, "--days", 28)
    refused = run(*words, "--start", "2019-03-05")
    assert "start: 2019-03-05 is not the first day of a period; the nearest are 2019-03-02 and 2019-03-09" in str(
        refused.exception
    )
    assert run(*words, "--start", "2019-03-02").exit_code == 0
    table = tmp_path / "out" / "assignment.parquet"
    done = run(
        "report", "--assignment", table, "--start", "2019-03-02", "--history-days", 182, "--out", tmp_path / "report"
    )
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert found["before"] == ["2018-09-01", "2019-02-23"]
    assert len(found["outcomes"][0]["event_study"]["dates"]) == 26 + 8
