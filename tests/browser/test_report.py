"""The backtest's report as a reader opens it: one file, a real browser, nothing beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import Watch
from tests.conftest import Told


def test_the_report_opens_alone_with_all_its_pictures(visitor: Page, watch: Watch, told: Told, tmp_path: Path) -> None:
    shutil.copy(told.report / "index.html", tmp_path / "alone.html")
    visitor.goto((tmp_path / "alone.html").as_uri())
    expect(visitor).to_have_title("Backtest: bakery")
    images = visitor.locator("figure img")
    expect(images).to_have_count(7)
    sizes = images.evaluate_all("images => images.map(i => i.complete ? i.naturalWidth : 0)")
    assert all(size >= 800 for size in sizes)
    expect(visitor.get_by_role("heading", level=2).nth(0)).to_contain_text("Where DL loses to PTO")
    expect(visitor.locator("tr.policy").first).to_contain_text("DL")
    expect(visitor.locator("body")).to_contain_text("orpr backtest --as-typed")
    wide = visitor.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert not wide
    assert watch.complaints == []
    assert all(asked.startswith("file:") for asked in watch.hosts)
