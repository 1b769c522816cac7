"""`orpr overrides` against a real service: labels into a file, settlements onto the screen."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import httpx
import polars as pl
import pytest

from orpr.client import Client
from service.decision_schemas import OutcomeRequest
from service.override_schemas import OverrideRequest, StoredOverride
from service.schemas import RecommendationItem
from tests.serving import Service

ORDERED = date(2019, 4, 15)  # two weeks before the history ends
Orpr = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def orpr(service: Service, tmp_path: Path) -> Orpr:
    """Run `orpr overrides` with URL and key from the environment."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from orpr.cli import main; main()", "overrides", *words]
        environment = {**os.environ, "ORPR_URL": service.url, "ORPR_API_KEY": service.key, "COLUMNS": "200"}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)

    return run


@pytest.fixture(scope="module")
def made(service: Service) -> StoredOverride:
    """An override of every series that ann made, followed by the orders of a day; of one series without an override twice as
    much was ordered a week before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        with Client(service.url, service.key, waits_s=()) as client:
            items = [
                RecommendationItem(item_id=one.item_id, location_id=one.location_id, on_hand=20, open_orders=[])
                for one in client.items()
            ]
            early = [one for one in answered(client, items, ORDERED - timedelta(days=7)) if one[1]]
            quantity = 2 * early[0][1]
            client.tell_outcome(early[0][0], OutcomeRequest(status="changed", quantity=quantity))
            body = OverrideRequest(
                selling_from=ORDERED, selling_to=ORDERED + timedelta(days=14), mode="uplift", value=50, reason="Easter",
                author="ann", promotion_id="EASTER19",
            )  # fmt: skip
            stored = client.create_override(body)
            assert len([one for one in answered(client, items, ORDERED) if one[1]]) >= 4
            return stored


def answered(client: Client, items: list[RecommendationItem], day: date) -> list[tuple[str, float]]:
    told = client.recommend(items, as_of=day).items
    return [(one.result.decision_id or "", one.result.order_quantity) for one in told if one.result is not None]


def test_labels_are_pulled_into_a_file_with_what_each_earned(
    orpr: Orpr, client: Client, made: StoredOverride, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "labels.parquet"
    done = orpr("pull", "--out", str(out))
    assert done.returncode == 0, done.stderr
    table = pl.read_parquet(out)
    assert f"{table.height} labels of 2 authors" in done.stdout
    assert done.stderr == ""
    assert [path.name for path in out.parent.iterdir()] == ["labels.parquet"]
    assert pl.read_parquet_metadata(out)["orpr.period_days"] == "1"
    followed = table.filter(pl.col("kind") == "override")
    assert followed["author"].unique().to_list() == ["ann"]
    assert followed["promotion_id"].unique().to_list() == ["EASTER19"]
    assert followed["order_date"].unique().to_list() == [ORDERED]
    assert (followed["expert_inventory_days"] > followed["policy_inventory_days"]).all()
    assert table.filter(pl.col("kind") == "executed")["author"].to_list() == ["planner"]
    told = client.settlement(made.id)
    assert told.decisions == followed.height >= 4
    money = dict(followed.select("decision_id", "settled_money").iter_rows())
    assert {line.decision_id: line.money for line in told.lines} == pytest.approx(money, nan_ok=True)
    assert any(money.values())
    assert told.money == pytest.approx(sum(value or 0 for value in money.values()))


def test_labels_are_pulled_by_order_dates(orpr: Orpr, made: StoredOverride, tmp_path: Path) -> None:
    before = str(ORDERED - timedelta(days=1))
    assert orpr("pull", "--out", "all.parquet").returncode == 0
    for words, name in ((("--to", before), "early"), (("--from", str(ORDERED)), "late")):
        assert orpr("pull", "--out", f"{name}.parquet", *words).returncode == 0
    early, late, whole = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("early", "late", "all"))
    assert (early.height, late.height) == (1, whole.height - 1)
    assert pl.concat([early, late]).equals(whole)


def test_a_settlement_is_told_order_by_order(orpr: Orpr, client: Client, made: StoredOverride) -> None:
    done = orpr("settle", str(made.id))
    assert done.returncode == 0, done.stderr
    told = client.settlement(made.id)
    assert f"override {made.id}: {told.state}, {told.settled} of {told.decisions} orders" in done.stdout
    assert f"{told.money:+,.2f} EUR" in done.stdout
    largest = told.lines[0]
    assert abs(largest.money or 0) > 0
    assert f"{largest.money:+,.2f}" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("settle", "4711"), "404 override-unknown: there is no override 4711"),
        (("pull", "--out", "x.parquet", "--from", "yesterday"), "from must be a date, YYYY-MM-DD, got 'yesterday'"),
        (
            ("pull", "--out", "x.parquet", "--from", "2019-05-01", "--to", "2019-04-01"),
            "must not lie before order_from",
        ),
        (("pull", "--out", "x.parquet", "--key", "wrong"), "401 unauthorized"),
    ],
)
def test_what_is_refused_is_one_line_and_writes_nothing(
    orpr: Orpr, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = orpr(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_is_no_file_is_one_line_and_leaves_the_file_that_is_there(orpr: Orpr, tmp_path: Path) -> None:
    """Something else than the service listens: a page for everything."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>welcome</html>")

        def log_message(self, *_: object) -> None: ...

    (tmp_path / "labels.parquet").write_bytes(b"before")
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = orpr("pull", "--out", "labels.parquet", "--url", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert done.returncode == 2
    assert "is no file of labels" in done.stderr
    assert (tmp_path / "labels.parquet").read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_export_is_whole_over_http(service: Service, made: StoredOverride) -> None:
    answer = httpx.get(f"{service.url}/v1/overrides/export", headers={"X-API-Key": service.key}, trust_env=False)
    assert int(answer.raise_for_status().headers["Content-Length"]) == len(answer.content) > 1000
