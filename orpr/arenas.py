"""glibc gives each thread a heap of its own and seldom gives one back: with many workers memory grows for hours.

A process that has such a heap keeps it, so this comes before libraries that start threads as they are imported.
"""

from __future__ import annotations

import ctypes
import os
import platform

M_ARENA_MAX, MOST = -8, 2  # the first is glibc's number for the option


def few_arenas() -> None:
    """Keep the heaps of this process few, where its allocator is glibc's and `MALLOC_ARENA_MAX` does not say how many."""
    if platform.libc_ver()[0] == "glibc" and "MALLOC_ARENA_MAX" not in os.environ:
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, MOST)
