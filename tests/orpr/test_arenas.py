"""However many threads a service has, its memory lies in few heaps."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

HEAP = 64 * 2**20  # bytes that glibc's heaps of threads are aligned to
THREADS = """
import re, sys, threading
if sys.argv[1] == "few":
    from orpr.arenas import few_arenas
    few_arenas()
meeting = threading.Barrier(24)
def hold():
    kept = [bytes(50_000) for _ in range(40)]
    meeting.wait()
    del kept
threads = [threading.Thread(target=hold) for _ in range(24)]
[one.start() for one in threads]
[one.join() for one in threads]
print(sum(int(line.split("-")[0], 16) % int(sys.argv[2]) == 0 for line in open("/proc/self/maps") if "rw-p" in line))
"""


def heaps(how: str, **variables: str) -> int:
    """Heaps of threads in a process of its own after 24 threads have held memory at once."""
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"} | variables
    command = [sys.executable, "-c", THREADS, how, str(HEAP)]
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_heaps_are_few_unless_told_otherwise() -> None:
    assert heaps("usual") > 1
    assert heaps("few") <= 1  # beside the first one, which is no thread's
    assert heaps("few", MALLOC_ARENA_MAX="8") > 1


def test_serving_asks_for_them_before_anything_that_starts_threads() -> None:
    code = (
        "import orpr.service_commands, sys; print([m for m in ('numpy', 'polars', 'onnxruntime') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
