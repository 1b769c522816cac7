"""A real Valkey that is cut off or frozen: answers are the same, and overrides count at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.conftest import Behind
from tests.faults.proxy import Mode

PATH = "/v1/recommendations"
Item = Callable[..., dict[str, Any]]
OVERRIDE = {
    "selling_from": "2019-01-01",
    "selling_to": "2019-12-31",
    "mode": "set",
    "value": 33,
    "reason": "r",
    "author": "a",
}


DAYS = [f"2019-04-{day}" for day in (30, 29, 28, 27, 26)]  # more than a process keeps rows of for one series


def asked(behind: Behind, *items: dict[str, Any], day: str = DAYS[0]) -> list[dict[str, Any]]:
    answer = behind.http.post(PATH, json={"items": list(items), "as_of": day, "record": False})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
    return [one | {"feature_age_s": None} for one in found]  # a row that was read anew is younger


@pytest.mark.parametrize("mode", [Mode.CLOSED, Mode.FROZEN])
def test_without_the_cache_answers_are_the_same_and_an_override_counts_in_the_next(
    cached: Behind, item: Item, mode: Mode
) -> None:
    items = [item(row, on_hand=3) for row in range(4)]
    before = asked(cached, *items)
    cached.proxy.set(mode)
    assert asked(cached, *items) == before  # the process has these rows itself
    assert all(one["problem"] is None for one in asked(cached, *items, day=DAYS[1]))
    assert cached.app.state.features_cache.errors > 0
    made = cached.http.post("/v1/overrides", json=item() | OVERRIDE).raise_for_status().json()
    told = asked(cached, *items)
    assert told[0]["result"]["override"]["id"] == made["id"]
    assert told[0]["result"]["inventory_days"] == 33
    assert told[1:] == before[1:]
    cached.http.delete(f"/v1/overrides/{made['id']}", headers={"If-Match": "*"}).raise_for_status()
    assert asked(cached, *items) == before
    cached.proxy.set(Mode.OPEN)
    assert asked(cached, *items) == before
    assert cached.http.get("/readyz").status_code == 200


def test_answers_under_a_cache_that_comes_and_goes_are_never_another_series(cached: Behind, item: Item) -> None:
    plain = {(row, day): asked(cached, item(row, on_hand=3), day=day)[0] for row in range(8) for day in DAYS}
    for turn in range(40):
        cached.proxy.set((Mode.OPEN, Mode.CLOSED, Mode.FROZEN)[turn % 3])
        cached.app.state.features_cache.rest_until = 0.0  # ask it each time, though it has just failed
        rows = [(turn + step) % 8 for step in range(3)]
        for day in DAYS:
            told = asked(cached, *(item(row, on_hand=3) for row in rows), day=day)
            assert told == [plain[row, day] for row in rows]
