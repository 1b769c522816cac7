"""Feature rows of stored series: from the cache, else built from SQL by the simulator's observation code."""

from __future__ import annotations

import logging
import struct
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from datetime import date, timedelta
from functools import cache
from hashlib import blake2b
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from service.at_once import may_wait
from service.caches import Cache
from service.database import UNANSWERED
from service.datasets import Dataset
from service.rows import pack, row_size
from service.series import Series
from service.store import Store
from simulator.canonical import assemble_days
from simulator.contract import contract_id, interface
from simulator.forecast_table import with_forecast_rows
from simulator.observation import ObservationSpec, Observer
from simulator.panel import I64
from simulator.rates import RATE_SOURCES, panel_rates, rate_sources

LOG = logging.getLogger(__name__)
MARK = 4  # bytes behind a cached row: the dataset's revision where it rests on other locations too, else zeros
TIME = struct.Struct("<d")  # behind them when it was built, seconds since 1970
PRINT = 16  # a digest of the row; after it what the policy in charge made of the row, see `Policy.read`, or nothing
TAIL = MARK + TIME.size + PRINT
WAIT_S = 30.0  # for a row that another request is building


class RowsUnread(Exception):
    """Some rows are not in the cache, and the database that they come from does not answer."""

    def __init__(self, missing: list[int]) -> None:
        super().__init__(f"{len(missing)} feature rows cannot be built")
        self.missing = missing  # places in what was asked for


class Found(NamedTuple):
    """Rows of B series."""

    blobs: list[bytes]
    prints: list[bytes]  # a digest of each
    ages_s: list[float]
    read: list[bytes]  # what the policy in charge made of each, where it has read it


class Reader(Protocol):
    """A policy, which reads rows ahead of the questions."""

    spec: ObservationSpec
    reader: bytes  # what it made of a row begins with this, where it makes anything

    def read(self, blobs: list[bytes]) -> list[bytes]: ...


class FeatureRows:
    """Packed rows of stored series, through the cache."""

    def __init__(
        self, store: Store, cache: Cache, dataset: Callable[[], Dataset | None],
        reader: Callable[[], Reader | None] = lambda: None,
    ) -> None:  # fmt: skip
        """The rows of a store.

        Args:
            store: to build them from.
            cache: where they are kept.
            dataset: what is loaded now.
            reader: the policy in charge, if there is one.
        """
        self._store, self._cache, self._dataset, self._reader = store, cache, dataset, reader
        self._building: dict[str, Future[bytes]] = {}
        self._lock = threading.Lock()
        self.hits = self.misses = 0

    def rows(self, series: Sequence[Series], as_of: date, *, asked: bool = True) -> Found:
        """What is seen of `series` at the end of `as_of` besides their stock, packed.

        Args:
            series: known ones.
            as_of: the day.
            asked: whether somebody waits for them. Only then they count as hits and misses, and what another policy has read
                stays as it is.

        Raises:
            RuntimeError: when no dataset is loaded.
            RowsUnread: where some rows have to be built, and the database does not answer.
        """
        dataset = self._dataset()
        if dataset is None:
            raise RuntimeError("no dataset is loaded")
        keys = _keys(series, as_of, dataset)
        size, good = row_size(ObservationSpec(dataset.period_days)), _marks(dataset)

        def fits(row: bytes) -> bool:
            whole = len(row) >= size + TAIL
            return whole and row[size : size + MARK] in good and row[0] < len(RATE_SOURCES)

        values = self._cache.get_many(keys, fits)
        missing = [n for n, value in enumerate(values) if value is None]
        if missing:
            may_wait()
        if asked:
            self.hits, self.misses = self.hits + len(series) - len(missing), self.misses + len(missing)
        if missing:
            fresh = self._filled({keys[n]: series[n] for n in missing}, as_of, dataset)
            if unread := [n for n in missing if keys[n] not in fresh]:
                raise RowsUnread(unread)
            for n in missing:
                values[n] = fresh[keys[n]]
        whole = [value for value in values if value is not None]
        if not asked:
            whole = self._read_anew(keys, whole, size)
        now, end = time.time(), size + TAIL
        ages = [max(0.0, now - TIME.unpack_from(value, size + MARK)[0]) for value in whole]
        prints = [value[end - PRINT : end] for value in whole]
        return Found([value[:size] for value in whole], prints, ages, [value[end:] for value in whole])

    def _read_anew(self, keys: list[str], values: list[bytes], size: int) -> list[bytes]:
        """The same rows, all of them read by the policy in charge: another one was when some were built."""
        reader, end = self._reader(), size + TAIL
        old = [] if reader is None else [n for n, one in enumerate(values) if not one.startswith(reader.reader, end)]
        if reader is None or not old or not any(read := self._read([values[n][:size] for n in old], size)):
            return values
        fresh = {n: values[n][:end] + one for n, one in zip(old, read, strict=True)}
        self._cache.put_many({keys[n]: value for n, value in fresh.items()})
        return [fresh.get(n, value) for n, value in enumerate(values)]

    def _read(self, blobs: list[bytes], size: int) -> list[bytes]:
        """What the policy in charge makes of some rows, where it is one for such rows."""
        reader = self._reader()
        if reader is None or row_size(reader.spec) != size:
            return [b""] * len(blobs)
        try:
            return reader.read(blobs)
        except Exception:  # the rows are good; what is wrong with the policy is told where it is asked
            LOG.error("the policy in charge cannot read feature rows", exc_info=True)
            return [b""] * len(blobs)

    def _filled(self, missing: dict[str, Series], as_of: date, dataset: Dataset) -> dict[str, bytes]:
        """Rows by key; a row that another request is building already is waited for, and without those that cannot be built.

        So a crowd that asks for the same rows at once makes the work of one.
        """
        with self._lock:
            theirs = {key: self._building[key] for key in missing if key in self._building}
            mine = {key: series for key, series in missing.items() if key not in theirs}
            self._building |= {key: Future() for key in mine}
            promised = {key: self._building[key] for key in mine}
        built: dict[str, bytes] = {}
        try:
            built = self._built(mine, as_of, dataset) if mine else {}
        except UNANSWERED:
            pass  # whoever waits finds that nothing came
        finally:
            with self._lock:
                for key in mine:
                    del self._building[key]
            for key, future in promised.items():
                future.set_result(built.get(key, b""))
        wait(theirs.values(), WAIT_S)
        waited = {key: future.result() for key, future in theirs.items() if future.done()}
        return built | {key: blob for key, blob in waited.items() if blob}

    def _built(self, missing: dict[str, Series], as_of: date, dataset: Dataset) -> dict[str, bytes]:
        blobs, elsewhere = self._build(list(missing.values()), as_of, dataset)
        near, far = (mark + TIME.pack(time.time()) for mark in _marks(dataset))
        read = self._read(blobs, len(blobs[0]))
        rows = {
            key: blobs[n] + (far if n in elsewhere else near) + blake2b(blobs[n], digest_size=PRINT).digest() + read[n]
            for n, key in enumerate(missing)
        }
        self._cache.put_many(rows)
        return rows

    def _build(self, series: list[Series], as_of: date, dataset: Dataset) -> tuple[list[bytes], set[int]]:
        """Rows from SQL: the series and the peers that their category means need, a year back; and which of them rest on
        other locations.

        Categories are read at the series' own locations, and everywhere where a series has no history of its own: then
        its rate may come from its category elsewhere.
        """
        observer, rows, t = self._observer(self._store.peers(series), series, as_of, dataset)
        known = observer.rates.has_history[rows, min(t, observer.panel.period_count - 1)]
        if not known.all():
            observer, rows, t = self._observer(self._store.peers(series, everywhere=True), series, as_of, dataset)
        observation = observer.observe(rows, np.full(len(rows), t))
        sources = rate_sources(observer.panel, observer.rates, min(t, observer.panel.period_count - 1))
        return pack(observation, [sources[n] for n in rows]), set(np.flatnonzero(~known).tolist())

    @property
    def read_by(self) -> bytes:
        """Names the policy that reads what is built; empty where none is in charge."""
        reader = self._reader()
        return b"" if reader is None else reader.reader

    def observer(self, series: Series, as_of: date, back: int) -> tuple[Observer, I64, int]:
        """What sees one series at the end of `as_of` and of the `back` periods before; its row as an array, the as-of period.

        Raises:
            RuntimeError: when no dataset is loaded.
        """
        dataset = self._dataset()
        if dataset is None:
            raise RuntimeError("no dataset is loaded")
        return self._observer(self._store.peers([series]), [series], as_of, dataset, back)

    def _observer(
        self, peers: pl.DataFrame, series: list[Series], as_of: date, dataset: Dataset, back: int = 0
    ) -> tuple[Observer, I64, int]:
        """An observer of the last year and `back` periods of some items, the rows of `series` in it, and the as-of period."""
        spec, began = ObservationSpec(dataset.period_days), dataset.first_recorded
        first = as_of - timedelta(days=(spec.history + 1 + back) * spec.period_days)
        last = as_of + timedelta(days=spec.horizon * spec.period_days)
        near = list(peers.select("item_id", "location_id").iter_rows())
        days = self._store.days(near, first, last)
        calendar = self._store.calendar_days(sorted({place for _, place in near}), first, last)
        origin = date.fromisoformat(dataset.settings["review_origin"])
        settings = dataset.settings | {"review_origin": origin}
        begins = as_of if began is None else max(began, first)
        panel = assemble_days(settings, peers, days._asdict(), first, begins, calendar)
        panel = with_forecast_rows(panel, self._store.forecasts_of(series, first, last))
        index = {key: n for n, key in enumerate(near)}
        t = panel.period_of(as_of)
        end = min(max(t, 0), panel.period_count - 1) + 1
        rates = panel_rates(panel, range(max(end - 1 - back, 0), end))
        return Observer(panel, spec, rates), np.array([index[key] for key in series]), t


def _keys(series: Sequence[Series], as_of: date, dataset: Dataset) -> list[str]:
    """Cache keys: a feed for a location changes those of all its series, another dataset or contract those of all."""
    version = _row_version(dataset.period_days)
    first = "\x1f".join(("orpr", version, dataset.fingerprint, str(dataset.first_recorded), as_of.isoformat()))
    state = {place: f"{first}\x1f{dataset.revision_of(place)}\x1f{place}" for place in {place for _, place in series}}
    return [f"{state[place]}\x1f{item}" for item, place in series]


def _marks(dataset: Dataset) -> tuple[bytes, bytes]:
    """What stands behind a good row that rests on its own location, and behind one that rests on others too."""
    return bytes(MARK), dataset.revision.to_bytes(MARK, "little")


@cache
def _row_version(period_days: int) -> str:
    """Changes with what is packed into a row."""
    return contract_id(interface(period_days))
