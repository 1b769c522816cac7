"""The planner page as a planner meets it: a real browser, the real service, nothing replaced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from orpr.client import Client
from service.override_store import active_overrides
from service.store import Store
from tests.browser.conftest import SHADOW, Watch
from tests.browser.running import PATIENCE_MS, log_in
from tests.serving import Service

expect.set_options(timeout=PATIENCE_MS)
ROWS = ".series tbody tr"


def answers(service: Service, series: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """What the API says of some series."""
    body = {"items": [{"item_id": item, "location_id": place} for item, place in series]}
    headers = {"X-API-Key": service.key}
    response = httpx.post(f"{service.url}/v1/recommendations", json=body, headers=headers, trust_env=False, timeout=30)
    items: list[dict[str, Any]] = response.raise_for_status().json()["items"]
    return [item["result"] for item in items]


def choose(page: Page, item: str, place: str) -> None:
    page.get_by_role("button", name=f"Show {item} at {place}", exact=True).click()
    expect(page.locator(".act")).to_contain_text(item)
    expect(page.get_by_text(f"Override {item} at {place}")).to_be_visible()


def stored_overrides(service: Service) -> int:
    store = Store(service.database_url)
    try:
        with store.database.reading() as connection:
            return len(active_overrides(connection))
    finally:
        store.close()


@pytest.fixture
def shadow(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A third policy beside the incumbent and the champion."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Client(service.url, service.key, waits_s=()) as client:
        client.register_policy(SHADOW)
        client.shadow_policy(SHADOW, "to compare")
        yield
        client.end_shadow("compared")


@pytest.mark.usefixtures("shadow")
def test_a_planner_looks_back_on_what_each_of_three_policies_would_have_done(planner: Page, service: Service) -> None:
    choose(planner, "B101", "S17")
    planner.get_by_role("button", name="Look back eight weeks").click()
    expect(planner.get_by_label("Stock, demand and lost sales of the last eight weeks")).to_be_visible()
    told = httpx.get(
        f"{service.url}/v1/look-back/S17/B101", headers={"X-API-Key": service.key}, trust_env=False, timeout=30
    ).json()
    said = planner.get_by_text("Replayed from the same stock")
    assert [one["alias"] for one in told["policies"]] == ["incumbent", "champion", "shadow"]
    for one in told["policies"]:
        expect(said).to_contain_text(f"{one['alias']} {one['turnover_days']:.1f} days of stock")
    expect(planner.get_by_role("button", name="Look back eight weeks")).to_have_count(0)
    choose(planner, "B101", "S33")
    expect(said).to_have_count(0)


def test_the_page_needs_a_login(visitor: Page, service: Service) -> None:
    visitor.goto(service.url)
    assert visitor.url == f"{service.url}/login"
    assert "B101" not in visitor.content()
    log_in(visitor, service)
    expect(visitor).to_have_title("Planner – ORPR")
    cookie = visitor.context.cookies()[0]
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    visitor.get_by_role("button", name="Log out planner").click()
    expect(visitor.get_by_label("API key")).to_be_visible()
    visitor.goto(service.url)
    assert visitor.url == f"{service.url}/login"


def test_a_wrong_key_is_refused(visitor: Page, service: Service) -> None:
    log_in(visitor, service, key="orpr_wrong")
    expect(visitor.get_by_role("alert")).to_have_text(
        "This API key is not known, or no planner key. Check it and try again."
    )
    assert visitor.context.cookies() == []


def test_the_live_channel_is_closed_without_the_cookie(visitor: Page, service: Service) -> None:
    path = "/_nicegui_ws/socket.io/?EIO=4&transport="
    assert httpx.get(f"{service.url}{path}polling", trust_env=False).status_code == 401
    visitor.goto(f"{service.url}/login")
    opened = visitor.evaluate(
        """path => new Promise(done => {
            const channel = new WebSocket(path);
            channel.onopen = () => done(true);
            channel.onerror = () => done(false);
        })""",
        f"{path}websocket",
    )
    assert opened is False


def test_the_table_lists_every_series_by_urgency_and_says_what_is_drawn(planner: Page, service: Service) -> None:
    expect(planner.locator(ROWS)).to_have_count(84)
    cells = [row.split("\t") for row in planner.locator(ROWS).all_inner_texts()]
    series = [(row[0].strip(), row[1].strip()) for row in cells]
    assert len(set(series)) == 84
    found = answers(service, series)
    urgency = [(not one["review_due"], one["inventory_position"] / one["target_stock"]) for one in found]
    assert urgency == sorted(urgency)
    expect(planner.locator(".note")).to_contain_text("costs and lead times drawn from MABIM")
    expect(planner.locator(".note")).to_contain_text("Stock on hand is drawn, not counted, for 84 of 84 series")


def test_choosing_a_series_draws_its_chart_and_says_what_to_order(planner: Page, service: Service) -> None:
    choose(planner, "B101", "S17")
    expect(planner.locator("canvas").last).to_be_visible()
    told = answers(service, [("B101", "S17")])[0]
    assert told["review_due"]
    expect(planner.locator(".act")).to_contain_text(f"Order {told['order_quantity']:,.0f} units of B101 for S17")
    question, headers = {"item_id": "B101", "location_id": "S17"}, {"X-API-Key": service.key}
    priced = httpx.post(f"{service.url}/v1/what-if", json=question, headers=headers, trust_env=False, timeout=30).json()
    least = f"By the forecast {priced['cheapest_days']:g} days cost least"
    expect(planner.locator(".why").last).to_contain_text(least)
    expect(planner.locator(".why").first).to_contain_text(f"{told['inventory_days']:g} days of stock")
    expect(planner.locator("tr.chosen")).to_contain_text("S17")


def test_a_series_can_be_chosen_with_the_keyboard(planner: Page) -> None:
    planner.get_by_role("button", name="Show B109 at S5", exact=True).focus()
    planner.keyboard.press("Enter")
    expect(planner.locator(".act")).to_contain_text("B109 for S5")


def test_an_override_changes_the_recommendation_at_once(planner: Page, service: Service) -> None:
    choose(planner, "B101", "S28")
    planner.get_by_label("Value").fill("9")
    planner.get_by_label("Reason").fill("May Day")
    planner.get_by_label("Author").fill("ann")
    planner.get_by_role("button", name="Store override").click()
    expect(planner.locator(".message")).to_contain_text("is stored: 9 days")
    expect(planner.locator(".why").first).to_contain_text("the override makes it 9 days of stock")
    expect(planner.locator(".flag").first).to_contain_text("by ann: set 9 days, because “May Day”")
    expect(planner.locator("tr.chosen")).to_contain_text("set 9")
    path = f"{service.url}/v1/recommendations/S28/B101"
    told = httpx.get(path, headers={"X-API-Key": service.key}, trust_env=False).raise_for_status().json()
    assert told["items"][0]["result"]["inventory_days"] == 9
    assert told["items"][0]["result"]["override"]["author"] == "ann"


def test_a_past_override_says_what_it_earned_in_units_and_money(planner: Page, service: Service) -> None:
    """Orders of a week in April followed it; the history goes on for long enough after them."""
    headers = {"X-API-Key": service.key}
    item = {"item_id": "B101", "location_id": "S24"}
    body = item | {
        "selling_from": "2019-04-08", "selling_to": "2019-04-14", "mode": "at_least", "value": 9, "reason": "Easter", "author": "ann",
    }  # fmt: skip
    with httpx.Client(base_url=service.url, headers=headers, trust_env=False, timeout=30) as client:
        number = client.post("/v1/overrides", json=body).raise_for_status().json()["id"]
        asked = {"items": [item | {"on_hand": 50, "open_orders": []}]}
        for day in range(1, 15):
            client.post("/v1/recommendations", json=asked | {"as_of": f"2019-04-{day:02}"}).raise_for_status()
        told = client.get(f"/v1/overrides/{number}/settlement").raise_for_status().json()
    assert told["state"] == "settled"
    choose(planner, "B101", "S24")
    past = planner.locator(".past")
    expect(past).to_have_count(1)
    expect(past).to_contain_text(f"No. {number}: at least 9 days, selling 2019-04-08 to 2019-04-14, by ann: Easter")
    verb = "earned" if told["money"] >= 0 else "cost"
    expect(past).to_contain_text(f"By replay it {verb} {abs(told['money']):,.2f}".rstrip("0").rstrip("."))
    expect(past).to_contain_text("units more sold" if told["saved_units"] else "as much sold")
    expect(past).to_contain_text(f"{told['stock_periods']:,.0f} unit-days more in stock")


def test_an_invalid_override_says_why_and_stores_nothing(planner: Page, service: Service) -> None:
    before = stored_overrides(service)
    choose(planner, "B109", "S4")
    planner.get_by_label("From").fill("2019-05-09")
    planner.get_by_label("To (").fill("2019-05-03")
    planner.get_by_label("Value").fill("9")
    planner.get_by_label("Reason").fill("a slip")
    planner.get_by_role("button", name="Store override").click()
    expect(planner.locator(".message")).to_contain_text("To (2019-05-03) must not lie before From (2019-05-09)")
    planner.get_by_label("Value").fill("")
    planner.get_by_label("Reason").fill("")
    planner.get_by_label("To (").fill("2019-05-09")
    planner.get_by_role("button", name="Store override").click()
    expect(planner.locator(".message")).to_contain_text(
        "Value: give a number of 0 or more; an uplift may go down to -100. Reason: say why"
    )
    assert stored_overrides(service) == before


def test_the_page_complains_of_nothing_and_asks_no_other_host(planner: Page, watch: Watch) -> None:
    choose(planner, "B109", "S5")
    expect(planner.locator("canvas").last).to_be_visible()
    planner.wait_for_timeout(1000)
    assert watch.complaints == []
    assert watch.hosts == {"127.0.0.1"}
