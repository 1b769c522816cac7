"""Which locations were fed and answered when, and which have missed the cut-off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta, timezone
from math import inf, isnan
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from service.app import create_app
from service.changes import DATASET, INVENTORY, Change, Mark
from service.places import feeds_before
from service.punctuality import Punctuality, last_cut_off
from service.settings import Settings
from service.tables import changes, datasets, decisions
from service.telemetry import Telemetry
from simulator.panel import Panel
from tests.scraping import Scrape, scrape
from tests.service.conftest import client_of

PATH, DAY = "/v1/recommendations", "2019-04-30"
MISSED, AGE = "orpr_location_missed_cut_off", "orpr_feed_age_seconds"


@pytest.fixture
def settings(database_url: str, tmp_path: Any) -> Settings:
    """The cut-off went by a moment ago."""
    passed = datetime.now(UTC) - timedelta(seconds=1)
    return Settings(database_url=database_url, spool=tmp_path / "spool.db", cut_off=passed.time())


@contextmanager
def started(settings: Settings) -> Iterator[FastAPI]:
    """Another process' app, started now."""
    made = create_app(settings)
    try:
        yield made
    finally:
        made.state.store.close()


@pytest.fixture
def other(settings: Settings) -> Iterator[FastAPI]:
    """A second process' app over the same database."""
    with started(settings) as made:
        yield made


async def ask(client: httpx.AsyncClient, chain: Panel, rows: list[int], **fields: Any) -> None:
    asked = [
        {"item_id": chain.items.item_id[n], "location_id": chain.items.location_id[n], "on_hand": 50} for n in rows
    ]
    (await client.post(PATH, json={"items": asked, "as_of": DAY} | fields)).raise_for_status()


async def from_outside(app: FastAPI) -> Scrape:
    app.state.view.refresh()
    async with client_of(app, "outside") as client:
        return await scrape(client)


async def test_a_location_that_nobody_asks_for_misses_its_cut_off(
    app: FastAPI, other: FastAPI, client: httpx.AsyncClient, chain: Panel
) -> None:
    places = list(chain.items.location_id)
    assert (await scrape(client)).by(MISSED, "location") == dict.fromkeys(places, 1)
    await ask(client, chain, [0, 1])
    for found in (await scrape(client), await from_outside(other)):  # whichever process answered
        assert found.by(MISSED, "location") == {place: place not in places[:2] for place in places}
        assert found.of("orpr_locations_missed_cut_off") == len(places) - 2
        assert found.of("orpr_locations") == len(places)
        told = found.by("orpr_location_last_answered_timestamp_seconds", "location")
        assert {place for place, at in told.items() if at} == set(places[:2])
        assert told[places[0]] == pytest.approx(datetime.now(UTC).timestamp(), abs=60)


async def test_questions_that_are_not_remembered_are_no_answers(client: httpx.AsyncClient, chain: Panel) -> None:
    await ask(client, chain, [0], record=False)
    assert (await scrape(client)).of(MISSED, location=chain.items.location_id[0]) == 1


@pytest.mark.parametrize(("hours", "missed"), [(11, 0), (13, 1)])
async def test_who_was_answered_for_the_night_before_is_missing_after_a_restart(
    app: FastAPI, settings: Settings, client: httpx.AsyncClient, chain: Panel, hours: int, missed: int
) -> None:
    await ask(client, chain, [0])
    with app.state.store.database.writing() as connection:
        earlier = datetime.now(UTC) - timedelta(hours=hours)
        connection.execute(sa.update(decisions).values(created_at=earlier))
    with started(settings) as again:
        assert (await from_outside(again)).of(MISSED, location=chain.items.location_id[0]) == missed


async def test_a_location_that_is_held_is_not_answered(client: httpx.AsyncClient, chain: Panel) -> None:
    asked = [
        {"item_id": item, "location_id": place, "on_hand": 0}
        for item, place in zip(chain.items.item_id, chain.items.location_id, strict=True)
    ]
    (await client.post(PATH, json={"items": asked, "as_of": DAY})).raise_for_status()
    assert set((await scrape(client)).by(MISSED, "location").values()) == {1}


async def test_without_a_cut_off_nothing_is_missed(settings: Settings, chain: Panel) -> None:
    with started(settings.model_copy(update={"cut_off": None})) as made:
        found = await from_outside(made)
    assert found.by(MISSED, "location") == {}
    assert isnan(found.of("orpr_locations_missed_cut_off"))


async def test_feeds_grow_old_by_location_in_every_process(
    app: FastAPI, other: FastAPI, client: httpx.AsyncClient, settings: Settings, chain: Panel
) -> None:
    item, place = chain.items.item_id[0], chain.items.location_id[0]
    long_ago = datetime.now(UTC) - timedelta(days=2)
    with app.state.store.database.writing() as connection:
        connection.execute(sa.update(datasets).values(loaded_at=long_ago))
        connection.execute(sa.update(changes).values(at=long_ago))
    key = {"item_id": item, "location_id": place}
    (await client.put("/v1/inventory", json=[key | {"date": DAY, "on_hand": 3}])).raise_for_status()
    (await client.put("/v1/open-orders", json=[key | {"arrival_date": "2030-01-01", "quantity": 5}])).raise_for_status()
    with started(settings) as again:
        for process in (other, again):
            found = await from_outside(process)
            fresh = {feed: found.of(AGE, location=place, feed=feed) for feed in ("inventory", "open_orders", "history")}
            assert fresh["inventory"] < 3600
            assert fresh["open_orders"] < 3600
        assert fresh["history"] == pytest.approx(2 * 86400, abs=3600)  # of the loading
        assert found.of("orpr_feed_age_seconds_most", feed="inventory") == pytest.approx(2 * 86400, abs=3600)
        sent = await client.put("/v1/history", json=[key | {"date": DAY, "units_sold": 4, "in_stock": 1}])
        assert sent.status_code == 200, sent.text
        found = await from_outside(again)
    assert found.of(AGE, location=place, feed="history") < 3600
    assert found.of(AGE, location=chain.items.location_id[1], feed="history") > 86400


async def test_of_a_long_log_the_newest_feeds_are_read(
    app: FastAPI, client: httpx.AsyncClient, chain: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = list(zip(chain.items.item_id, chain.items.location_id, strict=True))
    for item, place in keys[:3]:
        row = {"item_id": item, "location_id": place, "date": DAY, "on_hand": 3}
        (await client.put("/v1/inventory", json=[row])).raise_for_status()
    monkeypatch.setattr("service.places.MOST_TEXT", 2 * len('[["B101", "S17"]]'))
    with app.state.store.database.reading() as connection:
        found = feeds_before(connection)
    assert [(one.kind, one.keys) for one in found] == [
        (DATASET, None), (INVENTORY, frozenset({keys[2]})), (INVENTORY, frozenset({keys[1]})),
    ]  # fmt: skip


async def test_of_many_locations_those_furthest_behind_have_series_of_their_own(
    settings: Settings, chain: Panel
) -> None:
    with started(settings.model_copy(update={"metric_locations": 3})) as made:
        async with client_of(made, "test") as client:
            await ask(client, chain, list(range(10)))
            found = await scrape(client)
    assert found.by(MISSED, "location") == {chain.items.location_id[10]: 1, chain.items.location_id[11]: 1} | {
        min(chain.items.location_id[:10]): 0
    }
    assert found.of("orpr_locations_missed_cut_off") == 2
    assert len({dict(labels)["location"] for name, labels in found if name == AGE}) == 3


async def test_a_new_location_is_expected_as_soon_as_it_has_items(client: httpx.AsyncClient, app: FastAPI) -> None:
    known = (await client.get("/v1/items", params={"limit": 1})).json()["items"][0]
    (await client.put("/v1/items", json=[known | {"location_id": "S99"}])).raise_for_status()
    assert (await from_outside(app)).of(MISSED, location="S99") == 1


@pytest.mark.parametrize(
    ("now", "cut_off", "last"),
    [
        ("2026-03-05T03:30:00+00:00", "03:30", "2026-03-05T03:30:00+00:00"),
        ("2026-03-05T03:29:59+00:00", "03:30", "2026-03-04T03:30:00+00:00"),
        ("2026-03-05T23:00:00+00:00", "00:30+02:00", "2026-03-06T00:30:00+02:00"),
        ("2026-03-05T22:00:00+00:00", "00:30+02:00", "2026-03-05T00:30:00+02:00"),
    ],
)
def test_the_last_cut_off_is_the_newest_that_has_passed(now: str, cut_off: str, last: str) -> None:
    of_day = time.fromisoformat(cut_off)
    of_day = of_day if of_day.tzinfo else of_day.replace(tzinfo=UTC)
    assert last_cut_off(datetime.fromisoformat(now), of_day) == datetime.fromisoformat(last)


def test_a_time_without_a_zone_is_utc() -> None:
    """Half an hour ago in UTC; read in another zone it would not have come yet, or long be over."""
    passed = (datetime.now(UTC) - timedelta(minutes=30)).time().replace(microsecond=0)
    for given in (passed, passed.replace(tzinfo=UTC), _shifted(passed)):
        telemetry = Telemetry()
        punctuality = Punctuality(telemetry, given, 10)
        punctuality.show({"a"})
        assert telemetry.registry.get_sample_value("orpr_locations_missed_cut_off") == 1


def _shifted(of_day: time) -> time:
    there = timezone(timedelta(hours=5))
    return datetime.combine(datetime.now(UTC), of_day, UTC).astimezone(there).timetz()


def test_what_was_never_fed_is_infinitely_old_and_the_newest_feed_counts() -> None:
    telemetry = Telemetry()
    punctuality, now = Punctuality(telemetry, None, 10), datetime.now(UTC)
    punctuality.show({"a", "b"})
    assert telemetry.registry.get_sample_value(AGE, {"location": "a", "feed": "inventory"}) == inf
    keys = frozenset({("x", "a")})
    punctuality.noticed([
        Change(Mark(9, now - timedelta(hours=1)), INVENTORY, keys), Change(Mark(8, now - timedelta(hours=3)), INVENTORY, keys),
        Change(Mark(7, now - timedelta(hours=2)), INVENTORY, None), Change(Mark(1, now - timedelta(hours=5)), DATASET, None),
    ])  # fmt: skip
    punctuality.show({"a", "b"})
    ages = {
        (place, feed): telemetry.registry.get_sample_value(AGE, {"location": place, "feed": feed})
        for place in ("a", "b") for feed in ("inventory", "history")
    }  # fmt: skip
    hours = {name: round((age or 0) / 3600) for name, age in ages.items()}
    assert hours == {("a", "inventory"): 1, ("b", "inventory"): 2, ("a", "history"): 5, ("b", "history"): 5}


async def test_a_cut_off_that_is_no_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORPR_CUT_OFF", "half past three")
    with pytest.raises(ValueError, match="cut_off"):
        Settings()
    monkeypatch.setenv("ORPR_CUT_OFF", "03:30+01:00")
    assert Settings().cut_off == time(3, 30, tzinfo=timezone(timedelta(hours=1)))
