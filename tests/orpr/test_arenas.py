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


# A block of twenty megabytes comes and goes, then one of ten. Prints how many bytes of it got pages of their own.
LATER = """
import ctypes, sys
if sys.argv[1] == "few":
    from orpr.arenas import few_arenas
    few_arenas()
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]
tell = ctypes.CDLL(None).mallinfo2
tell.restype = Info
bytes(20_000_000)
before = tell().hblkhd
kept = bytes(10_000_000)
print(tell().hblkhd - before)
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_a_large_block_lies_apart_also_after_a_larger_one() -> None:
    def apart(how: str) -> int:
        return int(
            subprocess.run([sys.executable, "-c", LATER, how], capture_output=True, text=True, check=True).stdout
        )

    assert apart("usual") == 0
    assert apart("few") >= 10_000_000


def test_serving_asks_for_them_before_anything_that_starts_threads() -> None:
    code = (
        "import orpr.service_commands, sys; print([m for m in ('numpy', 'polars', 'onnxruntime') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
