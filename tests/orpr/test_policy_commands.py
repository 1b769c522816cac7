"""`orpr policy` against a real service, also where its answers are lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bundles import make_bundle
from tests.conftest import CHAMPION
from tests.servers import Flaky
from tests.serving import Service, running_service

VERSION = "held-20"
Orpr = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    make_bundle(folder, VERSION, 20.0)
    return folder


@pytest.fixture(scope="module")
def service(small_dataset: Path, bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with running_service(folder, small_dataset, ORPR_BUNDLES=str(bundles)) as running:
        yield running


@pytest.fixture
def orpr(service: Service, tmp_path: Path) -> Orpr:
    """Run `orpr policy` with URL and key from the environment."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from orpr.cli import main; main()", "policy", *words]
        environment = {**os.environ, "ORPR_URL": service.url, "ORPR_API_KEY": service.key, "COLUMNS": "200"}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)

    return run


def test_a_policy_s_life_at_the_command_line(orpr: Orpr) -> None:
    said = [
        orpr("register", VERSION),
        orpr("shadow", VERSION, "--reason", "to see"),
        orpr("promote", VERSION, "--reason", "4 % cheaper"),
        orpr("list"),
        orpr("shadow", "--reason", "seen enough"),
        orpr("rollback", "--reason", "too much stock"),
    ]
    assert [one.returncode for one in said] == [0] * 6, [one.stderr for one in said]
    registered, shadowed, promoted, listed, ended, back = (one.stdout for one in said)
    assert f"{VERSION}: registered by planner" in registered
    assert f"shadow: {VERSION}" in shadowed
    assert f"champion: {VERSION}, before it {CHAMPION} (promote by planner: 4 % cheaper)" in promoted
    assert f"serving {VERSION}, periods of 1 days" in listed
    assert "champion shadow" in listed
    assert "ships, not registered" in listed
    assert "shadow: none" in ended
    assert f"champion: {CHAMPION} (rollback by planner: too much stock)" in back


def test_a_canary_s_life_at_the_command_line(orpr: Orpr) -> None:
    said = [
        orpr("register", VERSION),
        orpr("canary", VERSION, "--share", "10", "--reason", "passed its gate"),
        orpr("list"),
        orpr("canary", "--clear", "--reason", "seen enough"),
        orpr("canary", VERSION, "--share", "12.5", "--reason", "once more"),
        orpr("promote", VERSION, "--reason", "cheaper"),
        orpr("list"),
        orpr("rollback", "--reason", "too much stock"),
        orpr("show", VERSION),
    ]
    assert [one.returncode for one in said] == [0] * 9, [one.stderr for one in said]
    _, begun, listed, ended, again, promoted, after, _, shown = (one.stdout for one in said)
    assert f"canary: {VERSION}, 10 % of the series (canary by planner: passed its gate)" in begun
    assert "target_stock since" in listed
    assert "nothing to compare yet in 0 decisions" in listed
    assert f"canary: none, before it {VERSION} (clear by planner: seen enough)" in ended
    assert f"canary: {VERSION}, 12.5 % of the series" in again
    assert f"champion: {VERSION}, before it {CHAMPION} (promote by planner: cheaper)" in promoted
    assert f"canary: none, before it {VERSION} (promote by planner: cheaper)" in after
    assert f"{VERSION}: registered by planner on " in shown
    assert "gate: its manifest tells of none" in shown
    told = [line.partition("  ")[2] for line in shown.splitlines()[2:]]
    assert told[-6:] == [
        f"canary {VERSION}, 10 % of the series (canary by planner: passed its gate)",
        "canary none (clear by planner: seen enough)",
        f"canary {VERSION}, 12.5 % of the series (canary by planner: once more)",
        f"champion {VERSION} (promote by planner: cheaper)",
        "canary none (promote by planner: cheaper)",
        "champion none (rollback by planner: too much stock)",
    ]


def test_a_bundle_that_was_refused_shows_why(orpr: Orpr, bundles: Path) -> None:
    wild = make_bundle(bundles, "wild", 20.0)
    manifest = json.loads((wild / "manifest.json").read_text())
    gate = {"verdict": "refused", "reasons": ["actions drift"]}
    (wild / "manifest.json").write_text(json.dumps(manifest | {"gate": gate}))
    assert orpr("register", "wild").returncode == 2
    shown = orpr("show", "wild")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines() == ["wild: not registered; no alias points to it", "gate: refused; actions drift"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("canary", "--reason", "x"), "name either a VERSION or --clear"),
        (("canary", VERSION, "--clear"), "name either a VERSION or --clear"),
        (("canary", VERSION), "--reason: say why"),
        (("canary", "nobody", "--reason", "x"), "404 policy-unknown: version: there is no policy 'nobody'"),
        (("promote", "nobody", "--reason", "x"), "404 policy-unknown: version: there is no policy 'nobody'"),
        (("register", "../x"), "version: String should match pattern"),
        (("show", "nobody"), "404 policy-unknown: version: there is no policy 'nobody'"),
        (("register", "nobody"), "404 policy-unknown: version: there is no policy 'nobody'"),
        (
            ("promote", "weekly-2.1", "--reason", "x"),
            "409 policy-not-registered: version: 'weekly-2.1' is not registered",
        ),
        (("list", "--key", "wrong"), "401 unauthorized: X-API-Key: the API key is not known"),
        (("list", "--url", "nonsense"), "nonsense: the URL must be http(s)://HOST"),
    ],
)
def test_a_refusal_is_one_line(orpr: Orpr, words: tuple[str, ...], said: str) -> None:
    done = orpr(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_change_whose_answer_is_lost_is_made_once(orpr: Orpr, service: Service) -> None:
    with Flaky(service.url, "lost") as flaky:
        done = orpr("shadow", "--reason", "sent twice", "--url", flaky.url)
        assert len(flaky.seen) == 2
    assert done.returncode == 0, done.stderr
    assert "(clear by planner: sent twice)" in done.stdout


def test_a_service_that_does_not_recover_or_is_not_there_is_one_line(orpr: Orpr, service: Service) -> None:
    with Flaky(service.url, *["lost"] * 3) as flaky:
        done = orpr("list", "--url", flaky.url)
        gone = flaky.url
    for one in (done, orpr("list", "--url", gone)):
        assert one.returncode == 1
        assert "no answer after 3 tries" in one.stderr
        assert len(one.stderr.strip().splitlines()) == 1
