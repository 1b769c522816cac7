"""One service and one browser for a module's tests; every test has a browser profile of its own."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.running import PATIENCE_MS, WINDOW, log_in, running_browser
from tests.bundles import make_bundle
from tests.serving import Service, running_service

SHADOW = "held-9"  # a bundle that may be registered


class Watch:
    """What the browser did: which hosts it asked, and what it complained about."""

    def __init__(self, page: Page) -> None:
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        page.on("request", lambda request: self._ask(request.url))
        page.on("websocket", lambda channel: self._ask(channel.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)

    def _ask(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob"):
            self.hosts.add(parts.hostname or url)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    make_bundle(folder / "bundles", SHADOW, days=9.0)
    with running_service(folder, ORPR_BUNDLES=str(folder / "bundles")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed before other modules' tests: Playwright's own event loop lies under everything while it is open."""
    with running_browser() as running:
        yield running


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Page]:
    """A browser tab of someone who has not logged in."""
    context = browser.new_context(viewport=WINDOW)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


@pytest.fixture
def watch(visitor: Page) -> Watch:
    return Watch(visitor)


@pytest.fixture
def planner(visitor: Page, watch: Watch, service: Service) -> Page:
    """The planner page after logging in through the form."""
    log_in(visitor, service)
    visitor.get_by_text("bakery, 84 series").wait_for()
    return visitor
