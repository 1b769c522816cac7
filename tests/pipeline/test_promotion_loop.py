"""From a planner's override to a better policy and back, through the real service, the real script and the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from orpr.client import Client
from service.feed_schemas import HistoryRow
from service.override_schemas import OverrideRequest
from service.schemas import ItemAnswer, RecommendationItem
from tests.conftest import CHAMPION
from tests.serving import PROGRAM, Service, running_service

SCRIPT = Path(__file__).parents[2] / "deploy" / "promotions.sh"
PROMOTED = [date(2019, 5, day) for day in range(1, 21)]
DAYS = [date(2019, 4, 30), date(2019, 5, 1), date(2019, 5, 2)]
WAIT_S = 20
RECIPE = """
name = "loop"
threads = 1

[labels]
drawn_variants = 0
samples_per_variant = 400

[joint]
epochs = 0.0

[align]
moves = "promoted"
near = 0.25
omega = 0.0
pareto = 0.0
curve = 1.0
learning_rate = 3e-3
epochs = 1.0
samples = 200
batch_size = 16

[gate]
days = 14
held_out = 0.25
margin = 10.0  # what a few steps on eight series do to the cost is not what this is about
kl_limit = 100.0

[rollout]
epochs = 0.0
"""


class Loop(NamedTuple):
    """The service, its folder of bundles, and the dataset behind it."""

    service: Service
    bundles: Path
    data: Path
    folder: Path

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A command with the environment that cron would give it."""
        given = self._environment(more)
        return subprocess.run(command, cwd=self.folder, env=given, capture_output=True, text=True, check=False)

    def versions(self) -> list[str]:
        """The bundles that rounds have made."""
        return [path.name for path in self.bundles.iterdir() if not path.name.startswith(".")]

    def started(self, *command: str, **more: str) -> subprocess.Popen[bytes]:
        """The same in a process group of its own, not waited for."""
        quiet = subprocess.DEVNULL
        given = self._environment(more)
        return subprocess.Popen(command, cwd=self.folder, env=given, stdout=quiet, stderr=quiet, start_new_session=True)

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        return os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "ORPR_URL": self.service.url,
            "ORPR_API_KEY": self.service.key, "ORPR_DATA": str(self.data), "ORPR_BUNDLES": str(self.bundles),
            "ORPR_DATABASE_URL": self.service.database_url, "COLUMNS": "200", "NO_PROXY": "127.0.0.1", **more,
        }  # fmt: skip


@pytest.fixture
def loop(small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    (tmp_path / "recipe.toml").write_text(RECIPE)
    with running_service(tmp_path, small_dataset, ORPR_BUNDLES=str(bundles)) as service:
        yield Loop(service, bundles, small_dataset, tmp_path)


def test_an_override_becomes_a_policy_that_is_tried_promoted_and_rolled_back(loop: Loop) -> None:
    items = pl.read_parquet(loop.data / "items.parquet")
    asked = [
        RecommendationItem(item_id=item, location_id=place, on_hand=10.0, open_orders=[])
        for item, place in items.select("item_id", "location_id").iter_rows()
    ]
    with Client(loop.service.url, loop.service.key, waits_s=()) as client:
        client.put_history(announced(asked))
        before = client.recommend(asked, as_of=DAYS[0], record=False).items
        override = client.create_override(
            OverrideRequest(
                selling_from=date(2019, 5, 1),
                selling_to=date(2019, 5, 20),
                mode="set",
                value=9.0,
                promotion_id="MAY19",
                reason="May promotion",
                author="ann",
            )
        )
        effective = [client.recommend(asked, as_of=day).items for day in DAYS]
        assert all(_result(answer).inventory_days == 9.0 for answer in effective[0])
        assert any(_result(answer).inventory_days != 9.0 for answer in before)

        version = _round(loop)
        told = client.policy(version)
        assert told.gate is not None
        assert told.gate.verdict == "passed"
        assert client.decision(_id(effective[0][0])).policy_version == CHAMPION

        client.withdraw_override(override.id, version=override.version)
        client.try_policy(version, 50, "passed its gate")
        canaried = _until(
            lambda: client.recommend(asked, as_of=DAYS[0]).items, lambda found: version in _versions(found)
        )
        assert _versions(canaried) == {CHAMPION, version}
        assert {answer.policy_alias for answer in canaried if answer.policy_version == version} == {"canary"}

        client.promote_policy(version, "the canary held")
        promoted = _until(
            lambda: client.recommend(asked, as_of=DAYS[1]).items, lambda found: _versions(found) == {version}
        )
        client.roll_back_policy("too much stock")
        back = _until(
            lambda: client.recommend(asked, as_of=DAYS[2]).items, lambda found: _versions(found) == {CHAMPION}
        )

        for answers in (effective[0], canaried, promoted, back):  # the log explains each answer
            for answer in answers:
                stored = client.decision(_id(answer))
                assert stored.policy_version == answer.policy_version
                assert stored.answer["inventory_days"] == _result(answer).inventory_days
                assert (stored.inputs["override"] is not None) == (answers is effective[0])
        assert {change.action for change in client.policy(version).changes} >= {"shadow", "canary", "promote"}
        (champion,) = (alias for alias in client.policies().aliases if alias.alias == "champion")
        assert champion.changed is not None
        assert (champion.changed.action, champion.changed.reason) == ("rollback", "too much stock")
    for answers in (effective[0], canaried, promoted, back):
        again = loop.run(sys.executable, "-c", PROGRAM, "replay", _id(answers[-1]))
        assert again.returncode == 0, again.stdout + again.stderr


def announced(asked: list[RecommendationItem]) -> list[HistoryRow]:
    """The promotion in the feed: what is not known before an order teaches nothing."""
    return [
        HistoryRow(item_id=one.item_id, location_id=one.location_id, date=day, units_sold=None, in_stock=None, promotion=True)
        for one in asked for day in PROMOTED
    ]  # fmt: skip


def overridden(loop: Loop, client: Client) -> list[RecommendationItem]:
    """An announced promotion with an override, and a night's orders that follow it."""
    items = pl.read_parquet(loop.data / "items.parquet").select("item_id", "location_id").rows()
    asked = [RecommendationItem(item_id=item, location_id=place, on_hand=10.0, open_orders=[]) for item, place in items]
    client.put_history(announced(asked))
    client.create_override(
        OverrideRequest(
            selling_from=PROMOTED[0],
            selling_to=PROMOTED[-1],
            mode="set",
            value=9.0,
            reason="May promotion",
            author="ann",
        )
    )
    client.recommend(asked, as_of=DAYS[0])
    return asked


def _round(loop: Loop) -> str:
    """One weekly round as cron runs it; the version that it registered."""
    done = loop.run("sh", str(SCRIPT), ORPR_RECIPE=str(loop.folder / "recipe.toml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "labels of 1 author" in done.stdout
    assert "gate: passed" in done.stdout
    (version,) = loop.versions()
    assert f"shadow: {version}" in done.stdout
    return version


def test_what_the_gate_refuses_is_not_registered(loop: Loop) -> None:
    (loop.folder / "recipe.toml").write_text(
        RECIPE.replace("kl_limit = 100.0", "kl_limit = 1e-9").replace("days = 14", "days = 120")
    )
    with Client(loop.service.url, loop.service.key, waits_s=()) as client:
        overridden(loop, client)
        done = loop.run("sh", str(SCRIPT), ORPR_RECIPE=str(loop.folder / "recipe.toml"))
        assert done.returncode == 1, done.stdout + done.stderr
        assert "gate: refused; actions drift by" in done.stdout
        assert not any(one.version.startswith("promotions-") and one.registered for one in client.policies().items)


def test_a_round_that_was_killed_goes_on_with_its_labels_and_its_version(loop: Loop) -> None:
    begun = loop.bundles / ".round" / "version"
    with Client(loop.service.url, loop.service.key, waits_s=()) as client:
        asked = overridden(loop, client)
        with loop.started("sh", str(SCRIPT), ORPR_RECIPE=str(loop.folder / "recipe.toml")) as killed:
            until = time.monotonic() + WAIT_S
            while not begun.is_file():
                assert time.monotonic() < until, "no round was begun"
                time.sleep(0.05)
            beside = loop.run("sh", str(SCRIPT), ORPR_RECIPE=str(loop.folder / "recipe.toml"))
            assert (beside.returncode, beside.stderr) == (1, "another round is running\n")
            os.killpg(killed.pid, signal.SIGKILL)
        version = begun.read_text().strip()
        client.recommend(asked, as_of=DAYS[1])  # more decisions: labels that are pulled now would be others
        done = loop.run("sh", str(SCRIPT), ORPR_RECIPE=str(loop.folder / "recipe.toml"))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "labels of 1 author" not in done.stdout
        assert f"shadow: {version}" in done.stdout
        assert client.policy(version).registered
    assert loop.versions() == [version]
    assert not begun.parent.exists()


def test_a_round_without_labels_registers_nothing(loop: Loop) -> None:
    done = loop.run("sh", str(SCRIPT), ORPR_RECIPE=str(loop.folder / "recipe.toml"))
    assert done.returncode != 0
    assert "holds no labels" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert loop.versions() == []


def _result(answer: ItemAnswer):  # type: ignore[no-untyped-def]
    assert answer.result is not None, answer.problem
    return answer.result


def _id(answer: ItemAnswer) -> str:
    number = _result(answer).decision_id
    assert number is not None
    return str(number)


def _versions(answers: list[ItemAnswer]) -> set[str | None]:
    return {answer.policy_version for answer in answers}


def _until(ask: Callable[[], list[ItemAnswer]], good: Callable[[list[ItemAnswer]], bool]) -> list[ItemAnswer]:
    """Ask until it is good: processes follow an alias within a second or so."""
    until = time.monotonic() + WAIT_S
    while not good(found := ask()):
        assert time.monotonic() < until, _versions(found)
        time.sleep(0.2)
    return found
