"""`orpr policy` against a real service, and against one that falters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from orpr.policy_commands import ask
from tests.bundles import make_bundle
from tests.conftest import CHAMPION
from tests.serving import Service, running_service

VERSION = "held-20"
Orpr = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def service(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    bundles = tmp_path_factory.mktemp("bundles")
    make_bundle(bundles, VERSION, 20.0)
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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("promote", "nobody", "--reason", "x"), "404 version: there is no policy 'nobody'"),
        (("register", "nobody"), "404 version: there is no policy 'nobody'"),
        (("promote", "weekly-2", "--reason", "x"), "409 version: 'weekly-2' is not registered"),
        (("list", "--key", "wrong"), "401 X-API-Key: the API key is not known"),
        (("list", "--url", "nonsense"), "url: 'nonsense' is no URL"),
    ],
)
def test_a_refusal_is_one_line(orpr: Orpr, words: tuple[str, ...], said: str) -> None:
    done = orpr(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@contextmanager
def faltering(*statuses: int) -> Iterator[tuple[str, list[str]]]:
    """A service that answers with these statuses one after another, and the keys that it was sent."""
    keys: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status = statuses[min(len(keys), len(statuses) - 1)]
            keys.append(self.headers["Idempotency-Key"])
            content = json.dumps({"detail": "wait"} if status != 200 else {"version": VERSION}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", keys
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_change_that_is_sent_again_has_the_same_key() -> None:
    with faltering(503, 503, 200) as (url, keys):
        assert ask(url, "k", "POST", "", {"version": VERSION}, waits_s=(0.0, 0.0)) == {"version": VERSION}
    assert len(keys) == 3
    assert len(set(keys)) == 1
    with faltering(200) as (url, others):
        ask(url, "k", "POST", "", {"version": VERSION})
    assert others[0] not in keys


def test_a_service_that_does_not_recover_or_is_not_there_is_one_line() -> None:
    with faltering(503) as (url, _keys), pytest.raises(RuntimeError, match="no answer after 2 tries: 503 wait"):
        ask(url, "k", "POST", "", {"version": VERSION}, waits_s=(0.0,))
    with pytest.raises(RuntimeError, match="no answer after 1 tries: ConnectError"):
        ask(url, "k", "POST", "", {"version": VERSION}, waits_s=())
