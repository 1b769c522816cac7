"""Work that never waits, so that it may be done on the event loop itself.

Handing a short question to another thread and back costs about as much as half of its answer, and a thread that just got its turn
may have to wait for another one. So a question is tried where it arrives. Whatever would wait, for the database, for Redis or
for another thread, says so first by `may_wait`, and the question is handed over after all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Work = Callable[[], None]
_at_once: ContextVar[list[Work] | None] = ContextVar("at_once", default=None)


class WouldWait(Exception):
    """What was tried cannot be done without waiting; nothing was done."""


@contextmanager
def at_once() -> Iterator[None]:
    """Inside, `may_wait` raises; what was left for `once_done` is done at the end, unless that happened."""
    left: list[Work] = []
    token = _at_once.set(left)
    try:
        yield
    except WouldWait:
        left.clear()
        raise
    finally:
        _at_once.reset(token)
        for work in left:
            work()


def may_wait() -> None:
    """Say that waiting begins.

    Raises:
        WouldWait: where nobody may wait.
    """
    if _at_once.get() is not None:
        raise WouldWait


def once_done(work: Work) -> None:
    """Do it now, or where work is tried only when it has gone well: what is handed over is not to be counted twice."""
    left = _at_once.get()
    if left is None:
        work()
    else:
        left.append(work)
