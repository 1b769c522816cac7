"""What keeps a process' view up to date, and stores what was spooled once the database is back."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError

from service.repeating import Repeating
from service.spool import Spool
from service.store import Store
from service.view import View

EVERY_S = 0.2


class Following:
    """`step` by `step`, in the thread `repeating`."""

    def __init__(self, view: View, spool: Spool, store: Store) -> None:
        self._view, self._spool, self._store = view, spool, store
        self.repeating = Repeating("following the store", self.step, EVERY_S, usual=(SQLAlchemyError,))

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
