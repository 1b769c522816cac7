"""Every operation of the API that writes, while a real PostgreSQL is away and where it is lost at the commit: it is refused, nothing
of it is stored, and the same request does its work once when the database is back.

The operations are those of the OpenAPI document: one that is new there needs a body here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import sqlalchemy as sa

from service.app import create_app
from service.settings import Settings
from service.tables import metadata
from tests.bundles import make_bundle
from tests.databases import Postgres
from tests.faults.conftest import Behind, back, gone, served, socket_of, through
from tests.faults.proxy import Mode, running_proxy

SERIES = {"item_id": "B101", "location_id": "S17"}
WHY = {"reason": "r"}
OVERRIDE = {
    "selling_from": "2019-05-01",
    "selling_to": "2019-12-31",
    "mode": "set",
    "value": 60,
    "reason": "r",
    "author": "a",
}
NEW_ITEM = SERIES | {
    "lost_sale_cost": 1.1, "holding_cost_per_day": 0.02, "lead_time_days": 3, "review_period_days": 7, "review_offset_days": 0,
    "min_order_qty": 0, "order_multiple": 0,
}  # fmt: skip
KEYS = "idempotency_keys"
ANY = {"If-Match": "*"}


class Call(NamedTuple):
    """A request that is taken while the database is there."""

    body: Any = None
    headers: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    of: str = ""  # what stands in its path, see `Site.made`


CALLS = {
    "POST /v1/decisions/{decision_id}/outcome": Call({"status": "changed", "quantity": 7}, of="decision"),
    "PUT /v1/items": Call([NEW_ITEM | {"item_id": name} for name in ("B-one", "B-two")]),
    "PUT /v1/history": Call(
        [SERIES | {"date": f"2019-04-{day}", "units_sold": 41.5, "in_stock": 1} for day in (29, 30)]
    ),
    "PUT /v1/inventory": Call(
        [{"item_id": "B101", "location_id": place, "date": "2019-04-30", "on_hand": 641.5} for place in ("S17", "S20")]
    ),
    "PUT /v1/open-orders": Call([SERIES | {"arrival_date": f"2019-05-0{day}", "quantity": 12.5} for day in (2, 3)]),
    "PUT /v1/calendar": Call([{"location_id": "S17", "date": f"2019-05-0{day}", "open": 0} for day in (7, 8)]),
    "POST /v1/overrides": Call(SERIES | OVERRIDE),
    "POST /v1/overrides/bulk": Call({"overrides": [SERIES | OVERRIDE | {"value": value} for value in (5, 6)]}),
    "PATCH /v1/overrides/{override_id}": Call({"value": 9}, ANY, "changed"),
    "DELETE /v1/overrides/{override_id}": Call(None, ANY, "withdrawn"),
    "POST /v1/overrides/{override_id}/approval": Call(None, ANY, "pending"),
    "POST /v1/holds/{hold_id}/release": Call(WHY | {"version": 1}, of="hold"),
    "POST /v1/stops": Call(WHY | {"location_id": "S33"}),
    "DELETE /v1/stops/{stop_id}": Call(of="stop"),
    "POST /v1/policies": Call({"version": "new-9"}),
    "POST /v1/policies/{version}/shadow": Call(WHY, of="second"),
    "DELETE /v1/policies/shadow": Call(),
    "POST /v1/policies/{version}/canary": Call(WHY | {"share": 10}, of="third"),
    "DELETE /v1/policies/canary": Call(),
    "POST /v1/policies/{version}/promote": Call(WHY, of="second"),
    "POST /v1/policies/rollback": Call(WHY),
}
READING = {
    "POST /v1/recommendations",
    "POST /v1/what-if",
    "POST /v1/overrides/preview",
}  # they answer, and store no write


class Site(NamedTuple):
    """A service whose PostgreSQL stands behind a proxy, and a connection past that."""

    behind: Behind
    direct: sa.Engine
    made: dict[str, str]  # what there is to change, by name

    def send(self, name: str, key: str) -> httpx.Response:
        """A request of `CALLS`."""
        method, path = name.split()
        call = CALLS[name]
        path = re.sub(r"\{.*\}", self.made.get(call.of, ""), path)
        headers = {"Idempotency-Key": key} | call.headers
        return self.behind.http.request(method, path, headers=headers, json=call.body)

    def contents(self) -> dict[str, tuple[int, int]]:
        """Of each table how many rows it has, and a sum over what stands in them."""
        with self.direct.connect() as connection:
            counted = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM"
            return {name: tuple(connection.execute(sa.text(f"{counted} {name} t")).one()) for name in metadata.tables}


@contextmanager
def standing(postgres: Postgres, loaded: str, folder: Path) -> Iterator[Site]:
    """A site with something to change for each call."""
    for days, version in ((3.0, "first-3"), (20.0, "second-20"), (7.0, "third-7"), (9.0, "new-9")):
        make_bundle(folder / "bundles", version, days)
    url = postgres.new(loaded)
    with running_proxy(socket_of(url)) as proxy:
        settings = Settings(
            database_url=through(url, proxy), spool=folder / "spool.db", planner=False, bundles=folder / "bundles",
            approval_money=0.0, requests_per_minute=1_000_000,
        )  # fmt: skip
        app = create_app(settings)
        mine, other = (app.state.keys.add(name) for name in ("test", "somebody else"))
        direct = sa.create_engine(url)
        with served(app) as base, httpx.Client(base_url=base, headers={"X-API-Key": mine}, trust_env=False) as http:
            http.timeout = httpx.Timeout(60)
            yield Site(Behind(app, http, proxy), direct, prepared(http, other))
        direct.dispose()


def prepared(http: httpx.Client, other: str) -> dict[str, str]:
    """What there is to change; an override that another key wrote waits for approval."""
    made: dict[str, str] = {"second": "second-20", "third": "third-7"}

    def done(path: str, body: Any, **headers: str) -> Any:
        return http.post(path, json=body, headers=headers).raise_for_status().json()

    told = done("/v1/recommendations", {"items": [SERIES | {"on_hand": 50}]})
    made["decision"] = told["items"][0]["result"]["decision_id"]
    chain = [{"item_id": "B101", "location_id": one["location_id"], "on_hand": 0} for one in rows(http, "/v1/items")]
    done("/v1/recommendations", {"items": chain})
    made["hold"] = str(rows(http, "/v1/holds")[0]["id"])
    made["stop"] = str(done("/v1/stops", WHY | {"location_id": "S31"})["id"])
    for name in ("changed", "withdrawn"):
        made[name] = str(done("/v1/overrides", SERIES | OVERRIDE)["id"])
    pending = done("/v1/overrides", SERIES | OVERRIDE, **{"X-API-Key": other})
    assert pending["state"] == "pending"
    made["pending"] = str(pending["id"])
    for version in ("first-3", "second-20", "third-7"):
        done("/v1/policies", {"version": version})
    done("/v1/policies/first-3/promote", WHY)
    return made


def rows(http: httpx.Client, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get(path).raise_for_status().json()["items"]
    return found


class Tally:
    """What was tried, for the report."""

    def __init__(self) -> None:
        self.refused = self.stored = self.done = 0


@pytest.fixture(scope="module")
def tally(record_testsuite_property: Callable[[str, object], None]) -> Iterator[Tally]:
    made = Tally()
    yield made
    record_testsuite_property(
        "fault: PostgreSQL lost under every write of the API",
        f"{len(CALLS)} operations, {made.refused} times answered 503 with Retry-After, before and at the commit, {made.done} done "
        f"when it was back; {made.stored} stored though refused",
    )


@pytest.fixture(scope="module")
def site(postgres: Postgres, loaded_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with standing(postgres, loaded_database, tmp_path_factory.mktemp("site")) as made:
        yield made


def refusal(answer: httpx.Response) -> tuple[object, ...]:
    """What matters of it."""
    told = answer.json()
    return answer.status_code, answer.headers["content-type"], told.get("type"), answer.headers.get("retry-after")


REFUSED = (503, "application/problem+json", "store-unavailable", "2")


def test_every_write_of_the_document_has_a_body_here(site: Site) -> None:
    paths = site.behind.app.openapi()["paths"]
    writing = {f"{how.upper()} {path}" for path, ways in paths.items() for how in ways if how != "get"}
    assert writing == CALLS.keys() | READING


@pytest.mark.parametrize("mode", [Mode.CLOSED, Mode.FROZEN])
def test_no_write_is_taken_while_the_database_is_away(site: Site, tally: Tally, mode: Mode) -> None:
    before = site.contents()
    gone(site.behind, mode)
    answers = {name: refusal(site.send(name, f"{mode.name} {name}")) for name in CALLS}
    back(site.behind)
    tally.refused += sum(answer == REFUSED for answer in answers.values())
    tally.stored += site.contents() != before
    assert answers == dict.fromkeys(CALLS, REFUSED)
    assert site.contents() == before


@contextmanager
def lost_at_the_commit(site: Site) -> Iterator[list[str]]:
    """The connections are cut when all of a write but its commit is done; tells when that has happened."""
    happened: list[str] = []

    def cut(_connection: sa.Connection) -> None:
        happened.append("commit")
        site.behind.proxy.set(Mode.CLOSED)

    engine = site.behind.app.state.store.database.engine
    sa.event.listen(engine, "commit", cut)
    try:
        yield happened
    finally:
        sa.event.remove(engine, "commit", cut)
        back(site.behind)


@pytest.mark.parametrize("name", CALLS)
def test_a_write_that_loses_the_database_at_its_commit_is_not_there_and_is_done_once_when_it_is_sent_again(
    site: Site, tally: Tally, name: str
) -> None:
    before = site.contents()
    with lost_at_the_commit(site) as happened:
        refused = refusal(site.send(name, name))
    tally.refused += refused == REFUSED
    tally.stored += site.contents() != before
    assert (refused, happened) == (REFUSED, ["commit"])
    assert site.contents() == before
    done = site.send(name, name)
    after = site.contents()
    assert done.is_success, done.text
    assert "idempotency-replayed" not in done.headers
    assert {table for table in before if after[table] != before[table]} > {KEYS}
    again = site.send(name, name)
    assert (again.headers["idempotency-replayed"], again.json()) == ("true", done.json())
    assert site.contents() == after
    tally.done += 1
