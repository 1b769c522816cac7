"""A thread that does one thing again and again for as long as the process answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

LOG = logging.getLogger(__name__)
STOP_S = 2.0  # for so long an end waits; work that hangs, as on a frozen database, is left behind


class Repeating:
    """Runs from `start` to `stop`. What goes wrong is logged, for the next time may go well and nobody else would do it."""

    def __init__(
        self, name: str, work: Callable[[], object], every_s: float, *, usual: tuple[type[Exception], ...] = (),
        after_error_s: float = 0.0, once_more: bool = False,
    ) -> None:  # fmt: skip
        """Nothing runs yet.

        Args:
            name: of the thread.
            work: what to do.
            every_s: rest between two times, seconds.
            usual: errors that others report, as that the database does not answer.
            after_error_s: rest after any other error, seconds.
            once_more: whether it is done a last time at the end.
        """
        self._name, self._work, self._every_s, self._usual = name, work, every_s, usual
        self._after_error_s, self._once_more = after_error_s, once_more
        self.stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self.stopped.clear()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self.stopped.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def _run(self) -> None:
        while not self.stopped.wait(self._every_s):
            self._try()
        if self._once_more:
            self._try()

    def _try(self) -> None:
        try:
            self._work()
        except self._usual as error:
            LOG.debug("%s: not now (%s)", self._name, type(error).__name__)
        except Exception as error:  # whatever it is, the process goes on answering
            LOG.error("%s failed", self._name, exc_info=error)
            self.stopped.wait(self._after_error_s)
