"""Feature rows: what a policy sees of one series at one as-of day besides its stock, as one packed blob."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache, cached_property
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from simulator.observation import HISTORY_FIELDS, STATE_FIELDS, Observation, ObservationSpec, field_shape, with_state
from simulator.panel import F32
from simulator.rates import RATE_SOURCES
from simulator.step import State

MOST_DIGESTS = 256  # a whole night's questions are hardly asked twice, and would push out all others


class Slot(NamedTuple):
    """Where a field of the observation lies in a packed row."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


@cache
def _layout(spec: ObservationSpec) -> dict[str, Slot]:
    slots: dict[str, Slot] = {}
    at = 1
    for field in HISTORY_FIELDS:
        shape, dtype = field_shape(field, spec), np.dtype(field.dtype)
        end = at + int(np.prod(shape, dtype=int)) * dtype.itemsize
        slots[field.name] = Slot(field.name, dtype, shape, at, end)
        at = end
    return slots


@cache
def row_size(spec: ObservationSpec) -> int:
    """Bytes of one packed row."""
    return max(slot.end for slot in _layout(spec).values())


def pack(observation: Observation, sources: list[str]) -> list[bytes]:
    """One blob per decision: the rate's source, then the fields in their order, little endian as in memory."""
    return [
        bytes([RATE_SOURCES.index(source)])
        + b"".join(np.ascontiguousarray(observation[field.name][n]).tobytes() for field in HISTORY_FIELDS)
        for n, source in enumerate(sources)
    ]


def source_of(blob: bytes) -> str:
    """Where the rate of a packed row comes from."""
    return RATE_SOURCES[blob[0]]


def unpack(blobs: Sequence[bytes], spec: ObservationSpec, names: Collection[str] | None = None) -> Observation:
    """The fields of packed rows, as `pack` took them; all of them, or those of some names and no other bytes than lie between."""
    slots = [slot for name, slot in _layout(spec).items() if names is None or name in names]
    if not slots:
        return {}
    if any(len(blob) != row_size(spec) for blob in blobs):
        raise ValueError(f"feature rows of {sorted({len(blob) for blob in blobs})} bytes, expected {row_size(spec)}")
    first, last = min(slot.begin for slot in slots), max(slot.end for slot in slots)
    table = np.frombuffer(b"".join([blob[first:last] for blob in blobs]), dtype=np.uint8).reshape(
        len(blobs), last - first
    )
    observation: Observation = {}
    for name, dtype, shape, begin, end in slots:
        column = np.ascontiguousarray(table[:, begin - first : end - first]).view(dtype)
        observation[name] = column.reshape(len(blobs), *shape)
    return observation


class Seen:
    """What a policy sees of B series: packed rows and their stock. Unpacked where somebody looks, a part at a time, for
    thousands of rows are many times larger than the caches of a core."""

    def __init__(
        self, blobs: list[bytes], spec: ObservationSpec, state: State | None, changed: Observation | None = None,
        prints: list[bytes] | None = None, read: list[bytes] | None = None,
    ) -> None:  # fmt: skip
        """B series.

        Args:
            blobs: a packed row of each.
            spec: lengths.
            state: their stock; None: unknown.
            changed: fields (B, ...) that are otherwise than in the rows.
            prints: a digest of each row; None: unknown.
            read: what a network made of each row before its stock was known, see `Policy.read`; None: nothing did.
        """
        self._prints, self._read = prints, read
        self.blobs, self.spec, self._state, self._changed = blobs, spec, state, changed or {}

    def __len__(self) -> int:
        return len(self.blobs)

    def part(self, begin: int, end: int, names: Collection[str]) -> Observation:
        """Some fields of series `begin` to `end`."""
        seen = unpack(self.blobs[begin:end], self.spec, names)
        seen |= {name: column[begin:end] for name, column in self._changed.items() if name in names}
        return seen | {name: column[begin:end] for name, column in self._stock.items() if name in names}

    def contexts(self, begin: int, end: int, reader: bytes, width: int) -> tuple[F32, list[int]]:
        """What a network made of series `begin` to `end` before their stock was known.

        Args:
            begin: first of them.
            end: behind the last one.
            reader: the network.
            width: floats of a context.

        Returns:
            (end - begin, width) contexts, and the places of those that it has not read.
        """
        count, size = end - begin, len(reader) + 4 * width
        told = [b""] * count if self._read is None else self._read[begin:end]
        unread = [n for n, one in enumerate(told) if len(one) != size or not one.startswith(reader)]
        if len(unread) == count:
            return np.empty((count, width), dtype=np.float32), unread
        blank = bytes(size)
        joined = b"".join(told if not unread else [one if len(one) == size else blank for one in told])
        return np.frombuffer(joined, dtype=np.uint8).reshape(count, size)[:, len(reader) :].copy().view(
            np.float32
        ), unread

    def read_by(self, reader: bytes) -> bool:
        """Whether a network has read all of it."""
        return self._read is not None and all(one.startswith(reader) for one in self._read)

    def unread(self) -> Seen:
        """The same as if no network had read any of it."""
        return Seen(self.blobs, self.spec, self._state, self._changed)

    def field(self, name: str) -> np.ndarray:
        """(B, ...) one field of the observation."""
        if name in self._changed:
            return self._changed[name]
        if name in self._stock:
            return self._stock[name]
        slot = _layout(self.spec)[name]
        count = int(np.prod(slot.shape, dtype=int))
        columns = [np.frombuffer(blob, slot.dtype, count, slot.begin) for blob in self.blobs]
        return np.stack(columns).reshape(len(columns), *slot.shape)

    @cached_property
    def _stock(self) -> Observation:
        counted = with_state({"as_of_day": np.empty(len(self))}, self.spec, self._state)
        return {field.name: counted[field.name] for field in STATE_FIELDS}

    def digests(self) -> list[bytes] | None:
        """A digest of all that is seen of each series; None where fields are otherwise than in the rows, or of very many."""
        held, prints = self._state, self._prints
        if held is None or prints is None or self._changed or len(self) > MOST_DIGESTS:
            return None
        stock = np.concatenate([held.on_hand[:, None], held.pipeline], axis=1)
        return [blake2b(row + line.tobytes(), digest_size=16).digest() for row, line in zip(prints, stock, strict=True)]

    def take(self, rows: Sequence[int]) -> Seen:
        """Some of the series."""
        held, at = self._state, np.array(rows, dtype=np.int64)
        state = None if held is None else State(held.on_hand[at], held.pipeline[at])
        changed = {name: column[at] for name, column in self._changed.items()}
        prints, read = ([one[n] for n in rows] if one is not None else None for one in (self._prints, self._read))
        return Seen([self.blobs[n] for n in rows], self.spec, state, changed, prints, read)

    def but(self, **fields: np.ndarray) -> Seen:
        """The same with other values (B, ...) of some fields, which nobody has read."""
        return Seen(self.blobs, self.spec, self._state, self._changed | fields)
