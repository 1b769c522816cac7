"""The real service in a process of its own over the bakery sample, and a real Chromium.

    python -m tests.browser.running docs/planner.png

takes the picture of the planner page that the documents show.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from orpr.serving import load_dataset
from service.settings import Settings
from service.store import Store

SAMPLE = Path(__file__).parents[2] / "simulator" / "sample"
PATIENCE_MS = 30_000
START_S = 60
WINDOW = {"width": 1280, "height": 800}
ARGUMENTS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip


class Service(NamedTuple):
    """Where it listens, a key that it knows, and its database."""

    url: str
    key: str
    database_url: str


@contextmanager
def running_service(folder: Path) -> Iterator[Service]:
    """The service on a free port with the sample loaded; `folder` holds all that it writes."""
    settings = Settings(database_url=f"sqlite:///{folder}/orpr.db")
    load_dataset(settings, SAMPLE, draw_stock=True)
    store = Store(settings.database_url)
    key = store.add_key("planner")
    store.close()
    port, log = _free_port(), folder / "service.txt"
    command = [sys.executable, "-c", "from orpr.cli import main; main()", "serve", "--port", str(port)]
    environment = os.environ | {"ORPR_DATABASE_URL": settings.database_url}
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


def _free_port() -> int:
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


@contextmanager
def running_browser() -> Iterator[Browser]:
    """The Chromium on PATH, else Playwright's own."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        try:
            yield started
        finally:
            started.close()


def log_in(page: Page, service: Service, key: str | None = None) -> None:
    """Type a key into the form that an unknown visitor is sent to."""
    page.goto(service.url)
    page.get_by_label("API key").fill(service.key if key is None else key)
    page.get_by_role("button", name="Log in").click()


def take_picture(path: Path) -> None:
    """The page with a series chosen."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_service(Path(folder)) as service,
        running_browser() as browser,
    ):
        page = browser.new_page(viewport=WINDOW)  # type: ignore[arg-type]
        page.set_default_timeout(PATIENCE_MS)
        log_in(page, service)
        page.get_by_role("button", name="Show B101 at S29").click()
        page.locator("canvas").wait_for()
        page.wait_for_timeout(1500)
        page.screenshot(path=path)


if __name__ == "__main__":
    take_picture(Path(sys.argv[1]))
