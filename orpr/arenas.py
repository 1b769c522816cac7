"""glibc gives each thread a heap of its own and seldom gives one back: with many workers memory grows for hours.

So there are few heaps, and large blocks lie beside them in pages of their own, which go back when they are freed; glibc does so too, but
takes the largest block that it has seen freed for the new bound. A process that has many heaps keeps them, so this comes before libraries
that start threads as they are imported.
"""

from __future__ import annotations

import ctypes
import os
import platform

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # glibc's numbers for the options
OPTIONS = {
    "MALLOC_ARENA_MAX": (M_ARENA_MAX, 2),
    "MALLOC_MMAP_THRESHOLD_": (M_MMAP_THRESHOLD, 256 * 1024),  # bytes
}  # fmt: skip


def few_arenas() -> None:
    """Keep the heaps of this process few and small, where its allocator is glibc's and its environment does not say how."""
    if platform.libc_ver()[0] == "glibc":
        for name, (option, value) in OPTIONS.items():
            if name not in os.environ:
                ctypes.CDLL(None).mallopt(option, value)
