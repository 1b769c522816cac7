"""The thread that keeps a process' view up to date, and stores what was spooled once the database is back."""

from __future__ import annotations

import logging
import threading

from sqlalchemy.exc import SQLAlchemyError

from service.database import Database
from service.spool import Spool
from service.view import View

LOG = logging.getLogger(__name__)
EVERY_S = 0.2


class Following:
    """Runs from `start` to `stop`."""

    def __init__(self, view: View, spool: Spool, database: Database) -> None:
        self._view, self._spool, self._database = view, spool, database
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
            self.step()

    def step(self) -> None:
        """Once."""
        if not self._view.try_refresh() or self._database.down:
            return
        try:
            self._spool.drain(self._database)
        except SQLAlchemyError as error:
            LOG.warning("spooled decisions wait on (%s)", type(error).__name__)
