"""Which override counts: the most specific one, item before category before location before all, and of those the newest."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import httpx
import pytest

from simulator.panel import Panel

PATH, ANSWERS = "/v1/overrides", "/v1/recommendations"
FIELDS = {"selling_from": "2019-05-01", "selling_to": "2019-06-30", "mode": "set", "reason": "festival",
          "author": "ann"}  # fmt: skip
SCOPES = {  # the most specific one first
    "item at a location": ("item_id", "location_id"),
    "item": ("item_id",),
    "category at a location": ("category", "location_id"),
    "category": ("category",),
    "location": ("location_id",),
    "all": (),
}
ORDER = list(SCOPES)
PAIRS = [(narrow, wide) for n, narrow in enumerate(ORDER) for wide in ORDER[n + 1 :]]
Series = dict[str, str]


@pytest.fixture
async def grid(client: httpx.AsyncClient, chain: Panel) -> list[Series]:
    """Six series; the others share item, location or category with the first, or nothing at all."""
    item, (here, there, yonder) = chain.items.item_id[0], chain.items.location_id[:3]
    (row,) = (await client.get("/v1/items", params={"item_id": item, "location_id": here})).json()["items"]
    made = [
        {"item_id": item, "location_id": here, "category": "bread"},
        {"item_id": item, "location_id": there, "category": "bread"},
        {"item_id": item, "location_id": yonder, "category": "cake"},
        {"item_id": "other bread", "location_id": here, "category": "bread"},
        {"item_id": "some cake", "location_id": here, "category": "cake"},
        {"item_id": "some cake", "location_id": there, "category": "cake"},
    ]
    rows = [row | {"expected_daily_demand": 60.0} | one for one in made]
    (await client.put("/v1/items", json=rows)).raise_for_status()
    return made


def covers(scope: str, grid: list[Series]) -> list[bool]:
    """Whether an override for the first series' scope is one for each of them."""
    return [all(one[field] == grid[0][field] for field in SCOPES[scope]) for one in grid]


async def create(client: httpx.AsyncClient, scope: str, grid: list[Series], value: float) -> int:
    named = {field: grid[0][field] for field in SCOPES[scope]}
    made = await client.post(PATH, json=FIELDS | named | {"value": value})
    number: int = made.raise_for_status().json()["id"]
    return number


async def withdraw(client: httpx.AsyncClient, number: int) -> None:
    (await client.delete(f"{PATH}/{number}", headers={"If-Match": "*"})).raise_for_status()


async def counting(client: httpx.AsyncClient, grid: list[Series]) -> list[tuple[int, float] | None]:
    """Number of the override that counts for each series and the days that it is answered with, or None."""
    items = [{name: one[name] for name in ("item_id", "location_id")} | {"on_hand": 5} for one in grid]
    told = (await client.post(ANSWERS, json={"items": items, "record": False})).raise_for_status().json()["items"]
    results: list[dict[str, Any]] = [one["result"] for one in told]
    return [(one["override"]["id"], one["inventory_days"]) if one["override"] else None for one in results]


@pytest.mark.parametrize("scope", ORDER)
async def test_an_override_counts_for_all_series_of_its_scope_and_for_no_other(
    client: httpx.AsyncClient, grid: list[Series], scope: str
) -> None:
    assert await counting(client, grid) == [None] * len(grid)
    number = await create(client, scope, grid, 7)
    assert await counting(client, grid) == [(number, 7) if covered else None for covered in covers(scope, grid)]
    await withdraw(client, number)
    assert await counting(client, grid) == [None] * len(grid)


@pytest.mark.parametrize(("narrow", "wide"), PAIRS, ids=[f"{narrow} before {wide}" for narrow, wide in PAIRS])
async def test_of_two_scopes_the_more_specific_one_counts_though_the_other_is_newer(
    client: httpx.AsyncClient, grid: list[Series], narrow: str, wide: str
) -> None:
    older = await create(client, narrow, grid, 7)
    newer = await create(client, wide, grid, 8)
    expected = [
        (older, 7) if mine else (newer, 8) if theirs else None
        for mine, theirs in zip(covers(narrow, grid), covers(wide, grid), strict=True)
    ]
    assert expected[0] == (older, 7)
    assert await counting(client, grid) == expected
    await withdraw(client, older)
    assert (await counting(client, grid))[0] == (newer, 8)


@pytest.mark.parametrize("scope", ORDER)
async def test_of_one_scope_the_newest_counts(client: httpx.AsyncClient, grid: list[Series], scope: str) -> None:
    """By when it was stored: a change of an older one does not make it newer."""
    older = await create(client, scope, grid, 9)
    newer = await create(client, scope, grid, 8)
    (await client.patch(f"{PATH}/{older}", json={"value": 7}, headers={"If-Match": "*"})).raise_for_status()
    assert (await counting(client, grid))[0] == (newer, 8)
    await withdraw(client, newer)
    assert (await counting(client, grid))[0] == (older, 7)


async def test_all_scopes_together_count_one_after_another_as_the_more_specific_are_withdrawn(
    client: httpx.AsyncClient, grid: list[Series]
) -> None:
    made = [(await create(client, scope, grid, 5 + n), 5 + n) for n, scope in enumerate(ORDER)]
    assert (await counting(client, grid))[0] == made[0]
    for (number, _), following in pairwise(made):
        await withdraw(client, number)
        assert (await counting(client, grid))[0] == following
