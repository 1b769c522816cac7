"""A real Chromium, and what a visitor does with it first.

    python -m tests.browser.running docs/planner.png

takes the picture of the planner page that the documents show.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.serving import Service, running_service

PATIENCE_MS = 30_000
WINDOW = {"width": 1280, "height": 800}
ARGUMENTS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip


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
        page.locator("canvas").last.wait_for()
        page.wait_for_timeout(1500)
        page.screenshot(path=path)


if __name__ == "__main__":
    take_picture(Path(sys.argv[1]))
