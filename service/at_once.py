"""Work that never waits, so that it may be done on the event loop itself.

Handing a short question to another thread and back costs about as much as half of its answer, and a thread that just got its turn
may have to wait for another one. So a question is tried where it arrives. Whatever would wait, for the database, for Redis or
for another thread, says so first by `may_wait`, and the question is handed over after all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_at_once: ContextVar[bool] = ContextVar("at_once", default=False)


class WouldWait(Exception):
    """What was tried cannot be done without waiting; nothing was done."""


@contextmanager
def at_once() -> Iterator[None]:
    """Inside, `may_wait` raises."""
    token = _at_once.set(True)
    try:
        yield
    finally:
        _at_once.reset(token)


def may_wait() -> None:
    """Say that waiting begins.

    Raises:
        WouldWait: where nobody may wait.
    """
    if _at_once.get():
        raise WouldWait
