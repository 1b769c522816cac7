"""Every listing of the API page by page: each row once, in order, whatever is written between two pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI

from service.breaker import Finding
from service.hold_store import add_hold
from simulator.panel import Panel
from tests.service.test_feeds import ITEM

DAY = date(2019, 4, 30)
FIRST, LAST = "0 before all", "zz behind all"  # items that are added while somebody reads
Row = dict[str, Any]
Write = Callable[["Site"], Awaitable[None]]


class Site(NamedTuple):
    """What a listing is filled through."""

    client: httpx.AsyncClient
    app: FastAPI
    chain: Panel

    @property
    def places(self) -> list[str]:
        """Locations, in order."""
        return sorted(set(self.chain.items.location_id))

    async def send(self, method: str, path: str, body: Any) -> Any:
        answer = await self.client.request(method, f"/v1/{path}", json=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    def series(self) -> list[Row]:
        pairs = zip(self.chain.items.item_id, self.chain.items.location_id, strict=True)
        return [{"item_id": item, "location_id": place} for item, place in pairs]

    def ends(self) -> list[Row]:
        """A series before and one behind all others."""
        return [{"item_id": FIRST, "location_id": self.places[0]}, {"item_id": LAST, "location_id": self.places[-1]}]


async def nothing(_site: Site) -> None:
    """It is filled already."""


async def more_items(site: Site) -> None:
    await site.send("PUT", "items", [one | ITEM for one in site.ends()])


async def more_stock(site: Site) -> None:
    await more_items(site)
    await site.send("PUT", "inventory", [one | {"date": str(DAY), "on_hand": 3} for one in site.ends()])


async def counts(site: Site) -> None:
    for n in (2, 1, 0):
        rows = [one | {"date": str(DAY - timedelta(days=n)), "on_hand": 3} for one in site.series()[:4]]
        await site.send("PUT", "inventory", rows)


async def more_counts(site: Site) -> None:
    for n in (-9, 1):
        rows = [one | {"date": str(DAY + timedelta(days=n)), "on_hand": 4} for one in site.series()[:2]]
        await site.send("PUT", "inventory", rows)


async def more_history(site: Site) -> None:
    ends = [one | {"location_id": site.places[0]} for one in site.ends()]
    await site.send("PUT", "items", [one | ITEM for one in ends])
    await site.send("PUT", "history", [one | {"date": str(DAY), "units_sold": 3, "in_stock": 1} for one in ends])


async def orders(site: Site) -> None:
    rows = [one | {"arrival_date": f"2019-05-0{n}", "quantity": n} for one in site.series()[:4] for n in (1, 2, 3)]
    await site.send("PUT", "open-orders", rows)


async def more_orders(site: Site) -> None:
    await site.send(
        "PUT", "open-orders", [one | {"arrival_date": "2019-05-09", "quantity": 9} for one in site.series()[5:7]]
    )


async def days(site: Site) -> None:
    rows = [{"location_id": "NEW", "date": str(DAY + timedelta(days=2 * n)), "open": n % 2} for n in range(12)]
    await site.send("PUT", "calendar", rows)


async def more_days(site: Site) -> None:
    rows = [{"location_id": "NEW", "date": str(DAY + timedelta(days=n)), "open": 1} for n in (-1, 1, 99)]
    await site.send("PUT", "calendar", rows)


async def overrides(site: Site) -> None:
    common = {
        "selling_from": "2019-05-01",
        "selling_to": "2019-05-20",
        "mode": "set",
        "value": 9,
        "reason": "r",
        "author": "a",
    }
    for one in site.series():
        await site.send("POST", "overrides", common | one)


async def decisions(site: Site) -> None:
    items = [one | {"on_hand": 50, "open_orders": []} for one in site.series()]
    told = await site.send("POST", "recommendations", {"items": items, "as_of": str(DAY)})
    assert all(one["result"] for one in told["items"]), told


async def more_decisions(site: Site) -> None:
    items = [one | {"on_hand": 51, "open_orders": []} for one in site.series()[:2]]
    await site.send("POST", "recommendations", {"items": items, "as_of": str(DAY - timedelta(days=1))})


async def holds(site: Site) -> None:
    known = len((await site.client.get("/v1/holds", params={"limit": 500})).json()["items"])
    finding = Finding("zero_stock", 1.0, 0.5, True, "", "", "inventory", "Nothing is in stock.")
    with site.app.state.store.database.writing() as connection:
        for n in range(12):
            add_hold(connection, DAY + timedelta(days=known + n), ("", ""), [finding], "erp")


async def stops(site: Site) -> None:
    for n in range(12):
        made = await site.send("POST", "stops", {"location_id": site.places[n % 2], "reason": f"stock take {n}"})
        if n % 3 == 0:
            await site.send("DELETE", f"stops/{made['id']}", None)


class Listing(NamedTuple):
    """A listing: what narrows it, what orders it, what fills it, and what is written while it is read."""

    order: tuple[str, ...]
    fill: Write
    more: Write
    query: Row = {}  # noqa: RUF012 - read only


LISTINGS: dict[str, Listing] = {
    "items": Listing(("location_id", "item_id"), nothing, more_items),
    "history": Listing(("location_id", "item_id", "date"), nothing, more_history, {"from": "2019-04-25", "to": "2019-04-30"}),
    "inventory": Listing(("location_id", "item_id"), nothing, more_stock),
    "inventory/history": Listing(("date", "location_id", "item_id"), counts, more_counts),
    "open-orders": Listing((), orders, more_orders),
    "calendar": Listing(("location_id", "date"), days, more_days, {"location_id": "NEW"}),
    "overrides": Listing(("id",), overrides, overrides),
    "decisions": Listing(("created_at", "id"), decisions, more_decisions),
    "holds": Listing(("id",), holds, holds),
    "stops": Listing(("id",), stops, stops, {"ended": "true"}),
}  # fmt: skip


async def pages(site: Site, name: str, limit: int, between: Write = nothing) -> list[list[Row]]:
    """All pages; `between` is written after the first."""
    found: list[list[Row]] = []
    query: Row = LISTINGS[name].query | {"limit": limit}
    while True:
        told = (await site.client.get(f"/v1/{name}", params=query)).raise_for_status().json()
        found.append(told["items"])
        if told["next_cursor"] is None:
            return found
        if len(found) == 1:
            await between(site)
        query["cursor"] = told["next_cursor"]
        assert len(found) < 1000, "it goes on for ever"


def keys(rows: list[Row], order: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """What tells rows apart."""
    return [tuple(row[name] for name in order or row) for row in rows]


async def test_every_listing_of_the_api_is_among_these(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    taking = {
        path.removeprefix("/v1/")
        for path, routes in paths.items()
        if any(one["name"] in ("cursor", "limit") for one in routes.get("get", {}).get("parameters", []))
    }
    assert taking == set(LISTINGS)


@pytest.mark.parametrize("name", LISTINGS)
async def test_pages_of_any_length_are_the_whole_listing_in_order(
    client: httpx.AsyncClient, app: FastAPI, chain: Panel, name: str
) -> None:
    site, listing = Site(client, app, chain), LISTINGS[name]
    await listing.fill(site)
    (whole,) = await pages(site, name, 500)
    told = keys(whole, listing.order)
    assert len(whole) >= 12
    assert len(set(told)) == len(told)
    assert not listing.order or told == sorted(told)
    for limit in (1, 4, 5, len(whole) - 1, len(whole), len(whole) + 1):
        parts = await pages(site, name, limit)
        assert [row for part in parts for row in part] == whole
        assert [len(part) for part in parts[:-1]] == [limit] * (len(parts) - 1)
        assert 0 < len(parts[-1]) <= limit  # the last one names no further page, and no empty one follows


@pytest.mark.parametrize("name", LISTINGS)
async def test_what_is_written_between_two_pages_neither_doubles_nor_hides_a_row(
    client: httpx.AsyncClient, app: FastAPI, chain: Panel, name: str
) -> None:
    site, listing = Site(client, app, chain), LISTINGS[name]
    await listing.fill(site)
    (before,) = await pages(site, name, 500)
    read = [row for part in await pages(site, name, 5, listing.more) for row in part]
    (after,) = await pages(site, name, 500)
    assert len(after) > len(before)
    assert [row for row in read if row in before] == before
    assert len(set(keys(read, listing.order))) == len(read)
    place = after.index(before[4])  # where the first page ended: what came behind it is read
    assert read == before[:5] + after[place + 1 :]


@pytest.mark.parametrize("name", LISTINGS)
@pytest.mark.parametrize("limit", ["0", "-1", "5001", "x", "1e9", ""])
async def test_a_limit_that_is_none_is_refused(client: httpx.AsyncClient, name: str, limit: str) -> None:
    refused = await client.get(f"/v1/{name}", params={"limit": limit})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "limit")
