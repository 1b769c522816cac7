"""Keeps a process in line with the aliases in SQL, so that a promotion made in another process is followed here.

A thread looks once a second and loads off the request path. Where SQL does not answer, or the bundle that an alias names
does not hold, the policy in charge stays.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from service.bundle import CHAMPION, BundleRefused, PolicyNotFound
from service.bundle_folders import find_bundle, shipped_champion
from service.policy import Policy
from service.policy_store import CANARY, SHADOW, find_policy, newest_change, pins_of
from service.registry import Policies, check_period
from service.repeating import Repeating
from service.rollout import Canary
from service.store import Store

LOG = logging.getLogger(__name__)
LOOK_S = 1.0
AGAIN_S = 30.0  # a bundle that was refused is tried again so often: its folder may have been mended


class Wanted(NamedTuple):
    """What an alias asks for."""

    period_days: int | None  # None: of any length
    version: str | None  # None: nothing
    pins: dict[str, str] | None  # hashes of its files as registered; None where it is not


class Pointing(NamedTuple):
    """Where an alias points."""

    wanted: Wanted
    share: float | None = None  # per cent of the series, of a canary
    change: int | None = None  # its number, of a canary


class Tried(NamedTuple):
    """What was last tried for an alias."""

    pointing: Pointing
    held: bool
    at: float  # monotonic seconds


class Aliases:
    """Reads the aliases and puts the policies that they name where they belong."""

    def __init__(self, store: Store, policies: Policies, folders: Sequence[Path], *, champion: bool) -> None:
        """Follow nothing yet.

        Args:
            store: where the aliases are.
            policies: what to keep in line.
            folders: where bundles may lie.
            champion: whether to follow champion and canary; a process that is pinned to a bundle follows the shadow only.
        """
        self._store, self._policies, self.folders = store, policies, folders
        self._aliases = (CHAMPION, CANARY, SHADOW) if champion else (SHADOW,)
        self._tried: dict[str, Tried] = {}
        self._verified: tuple[Wanted, Policy] | None = None
        self._on_trial: tuple[Wanted, Policy] | None = None  # the canary, which another share does not load again
        self._turn = threading.Lock()
        self.repeating = Repeating("following the aliases of policies", self.look, LOOK_S)
        self._answering = True

    @property
    def period_days(self) -> int:
        """Of the loaded dataset."""
        dataset = self._store.dataset()
        return 1 if dataset is None else dataset.period_days

    def follow(self) -> None:
        """Look once.

        Raises:
            SQLAlchemyError: where the database does not answer; nothing has changed then.
        """
        with self._turn:
            period_days = self.period_days
            pointing = {alias: self._pointing(alias, period_days) for alias in self._aliases}
            failed = any(not tried.held for tried in self._tried.values())
            for alias, what in pointing.items():
                self._bring(alias, what)
            if failed and all(tried.held for tried in self._tried.values()):
                self._policies.refuse_nothing()

    def look(self) -> None:
        """Look once, whatever goes wrong."""
        try:
            self.follow()
        except SQLAlchemyError as error:
            if self._answering:
                LOG.warning(
                    "the aliases of policies cannot be read (%s); what is in charge stays", type(error).__name__
                )
            self._answering = False
        else:
            self._answering = True

    def verify(self, wanted: Wanted) -> Policy:
        """Load and check what is about to be wanted; it is put in place without loading it again.

        Raises:
            PolicyNotFound: where no folder has it.
            BundleRefused: where it does not hold.
        """
        policy = self._load(wanted)
        self._verified = wanted, policy
        return policy

    def _pointing(self, alias: str, period_days: int) -> Pointing:
        """Where an alias points now; the champion, where nobody was promoted, to what ships."""
        with self._store.database.reading() as connection:
            change = newest_change(connection, period_days, alias)
            version = None if change is None else change["version"]
            if version is None and alias == CHAMPION:
                version = shipped_champion(period_days)
            row = None if version is None else find_policy(connection, version)
        wanted = Wanted(period_days, version, None if row is None else pins_of(row))
        if change is None or alias != CANARY:
            return Pointing(wanted)
        return Pointing(wanted, change["share"], change["id"])

    def _bring(self, alias: str, pointing: Pointing) -> None:
        before, now = self._tried.get(alias), time.monotonic()
        if before is not None and before.pointing == pointing and (before.held or now < before.at + AGAIN_S):
            return
        wanted = pointing.wanted
        try:
            policy = None if wanted.version is None and alias != CHAMPION else self._take(wanted)
        except (BundleRefused, PolicyNotFound) as error:
            self._policies.refuse(error)
            self._tried[alias] = Tried(pointing, held=False, at=now)
            if alias == CANARY:  # none rather than one that others have ended: the champion decides
                self._put_canary(None, pointing)
            return
        if alias == SHADOW:
            self._policies.put_in_shadow(policy)
        elif alias == CANARY:
            self._put_canary(policy, pointing)
        elif policy is not None:
            self._policies.put_in_charge(policy)
        self._tried[alias] = Tried(pointing, held=True, at=now)

    def _put_canary(self, policy: Policy | None, pointing: Pointing) -> None:
        self._on_trial = None if policy is None else (pointing.wanted, policy)
        if policy is None or pointing.share is None or pointing.change is None:
            self._policies.put_canary(None)
            return
        self._policies.put_canary(Canary(policy, pointing.share, pointing.change))

    def _take(self, wanted: Wanted) -> Policy:
        """A policy that was verified a moment ago or is on trial already, or else is loaded now."""
        verified, self._verified = self._verified, None
        for known in (verified, self._on_trial):
            if known is not None and known[0] == wanted:
                return known[1]
        return self._load(wanted)

    def _load(self, wanted: Wanted) -> Policy:
        if wanted.version is None:
            raise PolicyNotFound(f"no shipped policy decides for periods of {wanted.period_days} days")
        bundle = find_bundle(wanted.version, self.folders)
        policy = Policy(bundle, wanted.pins)
        if wanted.period_days is not None:
            check_period(policy, bundle, wanted.period_days)
        if policy.version != wanted.version:
            raise BundleRefused(bundle, "contract", f"its manifest calls it {policy.version!r:.60}")
        return policy
