"""A full disk under the real service: what was acknowledged is there, what was not is not, and reads go on.

The disk is full twice over: by the kernel's limit on file sizes, which needs no rights, and, where the tests may mount one, as a
small file system of its own with nothing left.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.servers import Server, serving, until
from tests.faults.test_postgres_restarted import SCOPE, listed

WRITES = int(os.environ.get("ORPR_FAULT_DISK_WRITES", "25"))  # before, while and after
DISK = 32 << 20  # bytes of the small file system
LIMIT, MOUNT = "file size limit", "full file system"


class Disk:
    """Where the service writes, and how it is filled up and freed."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self._kind = folder, kind
        self._filler = folder / "filler"

    def fill(self, server: Server) -> None:
        """From now on nothing more goes in."""
        if self._kind == LIMIT:
            written = max(path.stat().st_size for path in self.folder.rglob("*-wal"))
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (written, resource.RLIM_INFINITY))
            return
        with self._filler.open("wb", buffering=0) as file:
            try:
                while file.write(b"\0" * 4096):
                    pass
            except OSError:
                return

    def free(self, server: Server) -> None:
        """There is room again."""
        if self._kind == LIMIT:
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        else:
            self._filler.unlink()


@contextmanager
def disk(folder: Path, kind: str) -> Iterator[Disk]:
    if kind == LIMIT:
        yield Disk(folder, kind)
        return
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        yield Disk(folder, kind)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


class Tried:
    """Overrides and decisions, with what was answered."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self.taken: dict[int, int] = {}
        self.decided: set[str] = set()
        self.refused = 0
        self.wrong: list[str] = []
        self._turn = 0

    def write(self) -> None:
        """One override and one decision, under keys of their own; whether they are taken or not."""
        self._turn += 1
        key = {"Idempotency-Key": f"k{self._turn}"}
        made = self._http.post("/v1/overrides", json=SCOPE | {"value": self._turn, "reason": "x" * 400}, headers=key)
        if made.status_code == 201:
            self.taken[self._turn] = made.json()["id"]
        else:
            self._refuse(made)
        item = {"item_id": "B101", "location_id": "S20", "on_hand": self._turn, "open_orders": []}
        told = self._http.post("/v1/recommendations", json={"items": [item]})
        if told.status_code == 200:
            self.decided.add(told.json()["items"][0]["result"]["decision_id"])
        else:
            self._refuse(told)

    def _refuse(self, answer: httpx.Response) -> None:
        self.refused += 1
        said = answer.status_code, answer.json()["type"], answer.headers.get("retry-after")
        if said != (503, "store-unavailable", "2"):
            self.wrong.append(answer.text)

    def read(self) -> dict[str, Any]:
        """What needs no room."""
        item = {"item_id": "B101", "location_id": "S17", "on_hand": 3}
        answer = self._http.post("/v1/recommendations", json={"items": [item], "record": False})
        found: dict[str, Any] = answer.raise_for_status().json()["items"][0]["result"]
        return found


@pytest.mark.parametrize("kind", [LIMIT, MOUNT])
def test_on_a_full_disk_nothing_acknowledged_is_lost_and_nothing_refused_is_there(
    tmp_path: Path, kind: str, record_testsuite_property: Callable[[str, object], None]
) -> None:
    with disk(tmp_path, kind) as full, serving(tmp_path, ORPR_LOG_LEVEL="error") as server, server.client() as http:
        tried = Tried(http)
        for _ in range(WRITES):
            tried.write()
        assert (tried.refused, len(tried.taken)) == (0, WRITES)
        full.fill(server)
        while tried.refused < WRITES:
            tried.write()
            assert tried.read()["on_hand"] == 3
        assert http.get("/readyz").status_code == 200
        full.free(server)
        until(lambda: http.get("/readyz").json()["store"] == "ok")
        refused, before = tried.refused, len(tried.taken)
        for _ in range(WRITES):
            tried.write()
        until(lambda: len(listed(http, "/v1/decisions")) >= len(tried.decided))
        overrides, decisions = listed(http, "/v1/overrides"), listed(http, "/v1/decisions")
        counted = tried.read()["override"]["id"]
    stored, told = {one["id"]: one["value"] for one in overrides}, {one["id"] for one in decisions}
    lost = len(set(tried.taken.values()) - stored.keys()) + len(tried.decided - told)
    halves = len(stored.keys() - set(tried.taken.values())) + len(told - tried.decided)
    record_testsuite_property(
        f"fault: disk full ({kind})",
        f"{len(tried.taken)} overrides and {len(tried.decided)} decisions taken, {refused} refused with 503 while it was full; "
        f"{lost} lost, {halves} stored though refused, {len(tried.wrong)} other errors",
    )
    assert tried.wrong == []
    assert (lost, halves) == (0, 0)
    assert stored == {number: float(n) for n, number in tried.taken.items()}
    assert (tried.refused, len(tried.taken)) == (refused, before + WRITES)
    assert counted == max(stored)
