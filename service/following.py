"""The thread that keeps a process' view up to date, and stores what was spooled once the database is back."""

from __future__ import annotations

import logging
import threading

from sqlalchemy.exc import SQLAlchemyError

from service.spool import Spool
from service.store import Store
from service.view import View

LOG = logging.getLogger(__name__)
EVERY_S = 0.2


class Following:
    """Runs from `start` to `stop`."""

    def __init__(self, view: View, spool: Spool, store: Store) -> None:
        self._view, self._spool, self._store = view, spool, store
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="following", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a reading that hangs is left behind."""
        self._stop.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                self.step()
            except SQLAlchemyError as error:
                LOG.debug("the database does not answer (%s)", type(error).__name__)
            except Exception as error:  # the next step may go well, and nobody else would store what waits
                LOG.error("the store could not be followed", exc_info=error)

    def step(self) -> None:
        """Once.

        Raises:
            SQLAlchemyError: where the database does not answer.
        """
        self._store.prepare()
        waiting = self._spool.look()
        if not self._view.try_refresh():  # before anything else: it finds out whether the database answers
            return
        if waiting:
            self._spool.drain(self._store.database)
            if not self._view.try_refresh():
                return
        if not self._spool.waiting:  # all that waited is stored, and was read from there
            self._view.expect_no_more()
