"""Heap that nobody uses goes back to the system now and then.

glibc gives back only what lies at a heap's end; a feature row or a remembered answer that happens to lie there holds all that
was freed below it, and memory grows for hours although nothing is kept.
"""

from __future__ import annotations

import ctypes
import platform

from service.repeating import Repeating

EVERY_S = 10.0  # often enough that little gathers: then a time takes a few milliseconds


def trim() -> None:
    """Give it back, where the allocator is glibc's. Other threads run on meanwhile."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def trimming() -> Repeating:
    """Does so again and again, from its start on."""
    return Repeating("giving memory back", trim, EVERY_S)
