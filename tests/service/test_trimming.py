"""Heap that nobody uses goes back to the system while the service runs."""

from __future__ import annotations

import platform
import subprocess
import sys
import threading

import pytest

from service.app import create_app
from service.settings import Settings

# Sixty megabytes in blocks of a kilobyte, freed below one that is kept. Prints how much lies in memory after each step.
HELD = """
import time
import psutil
from service import trimming
process = psutil.Process()
blocks = [bytes(1000) for _ in range(60_000)]
kept = blocks[-1]
full = process.memory_info().rss
del blocks
freed = process.memory_info().rss
trimming.EVERY_S = 0.01
giving = trimming.trimming()
giving.start()
until = time.monotonic() + 20
while process.memory_info().rss > full - 50e6 and time.monotonic() < until:
    time.sleep(0.01)
giving.stop()
print(full - freed, full - process.memory_info().rss)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_memory_below_a_block_that_is_kept_goes_back() -> None:
    run = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    by_itself, with_it = map(int, run.stdout.split())
    assert by_itself < 10e6
    assert with_it > 50e6


async def test_it_runs_for_as_long_as_the_service(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"planner": False}))

    def runs() -> bool:
        return any(one.name == "giving memory back" for one in threading.enumerate())

    async with app.router.lifespan_context(app):
        assert runs()
    assert not runs()
