"""The real service in a process of its own over a dataset, the bakery sample unless told."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from orpr.serving import load_dataset
from service.keys import Keys
from service.settings import Settings
from service.store import Store

SAMPLE = Path(__file__).parents[1] / "simulator" / "sample"
START_S = 60
PROGRAM = "from orpr.cli import main; main()"


class Service(NamedTuple):
    """Where it listens, a key that it knows, and its database."""

    url: str
    key: str
    database_url: str


@contextmanager
def running_service(folder: Path, data: Path = SAMPLE, program: str = PROGRAM, **variables: str) -> Iterator[Service]:
    """The service on a free port with a dataset loaded; `folder` holds all that it writes.

    Args:
        folder: one of its own.
        data: a dataset.
        program: what Python runs.
        variables: settings of the service, such as `ORPR_DATABASE_URL` where several share a database.
    """
    settings = Settings(database_url=variables.get("ORPR_DATABASE_URL", f"sqlite:///{folder}/orpr.db"))
    load_dataset(settings, data, draw_stock=True)
    store = Store(settings.database_url)
    key = Keys(store.database).add("planner")
    store.close()
    port, log = free_port(), folder / "service.txt"
    command = [sys.executable, "-c", program, "serve", "--port", str(port)]
    environment = os.environ | variables | {"ORPR_DATABASE_URL": settings.database_url}
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out, env=environment)
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}", process, log)
            yield Service(f"http://127.0.0.1:{port}", key, settings.database_url)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    said = log.read_text(encoding="utf-8")
    assert "Traceback" not in said, said


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"the service did not become ready:\n{log.read_text(encoding='utf-8')}")
