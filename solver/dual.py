"""The Lagrangian dual of the multiple-choice model, summed over series in fixed chunks.

With a multiplier mu for every row of every family,

    L(mu) = sum over i of min over v of (stock[i, v] + sum over k of mu[row_ik] a_k[i, v]) - mu . bounds

is a lower bound on the model's optimum, concave in mu, with the chosen candidates' usage minus bounds as a
supergradient (Everett 1963; Fisher 1981). A shard knows a run of series, no bound and no other shard. Sums run in order
within a chunk of `CHUNK` series and chunks are added in order, so every split into shards gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

import numba
import numpy as np

from simulator.panel import F32, F64, I64
from solver.constraints import Family

CHUNK = 4096
PROBES = 5  # candidates that a spread is taken from
FAR = 36.0  # exp(-36) is below what a sum of 90 weights can feel


class Seconds(NamedTuple):
    """Every series' first choice and how near it is to another one; a candidate with the same coefficients is no other."""

    choice: I64  # (n,) candidate of least reduced value
    regret: F64  # (n,) least reduced value of another candidate above it; infinite where there is none
    flip: F64  # (n,) least relative change of multipliers that could make another candidate the first


class Near(NamedTuple):
    """Some series that are near another choice."""

    series: I64  # places among all
    flip: F64
    regret: F64


class Shard(NamedTuple):
    """A run of series; K families."""

    packed: F64  # (n, 1 + K, V) stock value, then each family's coefficients
    rows: I64  # (n, K) row of each series among all rows of all families, -1 for none
    spread: F64  # (n, 1 + K) largest minus smallest of some entries, kept off zero
    row_count: int  # M
    first: int  # place of the first series among all

    def sums(self, multipliers: F64, softness: float, yardstick: int) -> F64:
        """(chunks, 1 + M + M^2) least reduced values, the usage of their candidates, and the dual's curvature.

        The dual is piecewise linear, but over many series it bends like a smooth function. Its curvature is taken from
        weights exp(-regret / (softness x spread)) over each series' candidates: the covariance of what they use.

        Args:
            multipliers: (M,) at least 0.
            softness: how wide the weights reach, relative to `spread[:, yardstick]`.
            yardstick: 0 for the model itself; k prices nothing but rows, and measures by family k - 1.
        """
        out = np.zeros((self._chunks, 1 + self.row_count * (1 + self.row_count)))
        scale = np.ascontiguousarray(self.spread[:, yardstick]) * softness
        with _threads(self._chunks):
            _sums(self.packed, self.rows, scale, multipliers, 1.0 if yardstick == 0 else 0.0, out)
        return out

    def choices(self, multipliers: F64) -> I64:
        """(n,) the candidate of least reduced value; the first of equals."""
        return self._seconds(multipliers).choice

    def near(self, multipliers: F64, flips: int, regrets: int, per_row: int) -> Near:
        """The series nearest to another choice: `flips` by flip, `regrets` by regret, `per_row` by flip in each row."""
        seconds = self._seconds(multipliers)
        kept = np.union1d(
            smallest(seconds.flip, self.rows, self.row_count, flips, per_row),
            smallest(seconds.regret, self.rows, self.row_count, regrets, 0),
        )
        return Near(kept + self.first, seconds.flip[kept], seconds.regret[kept])

    def _seconds(self, multipliers: F64) -> Seconds:
        count = len(self.packed)
        found = Seconds(np.empty(count, dtype=np.int64), np.empty(count), np.empty(count))
        with _threads(self._chunks):
            _seconds(self.packed, self.rows, multipliers, *found)
        return found

    @property
    def _chunks(self) -> int:
        return -(-len(self.packed) // CHUNK)

    def split(self, parts: int) -> list[Shard]:
        """At most `parts` shards of whole chunks, in order."""
        edges = [self._chunks * part // parts * CHUNK for part in range(parts + 1)]
        return [
            Shard(self.packed[a:b], self.rows[a:b], self.spread[a:b], self.row_count, self.first + a)
            for a, b in pairwise(edges)
            if b > a
        ]


def shard_of(stock_value: F32 | F64, families: Sequence[Family]) -> Shard:
    """All series as one shard."""
    tables = [stock_value, *(family.coefficients for family in families)]
    packed = np.empty((stock_value.shape[0], len(tables), stock_value.shape[1]))
    for k, table in enumerate(tables):
        packed[:, k] = table
    some = packed[:, :, np.linspace(0, packed.shape[2] - 1, PROBES).astype(np.int64)]
    spread = some.max(axis=2) - some.min(axis=2)
    floor = np.maximum(1e-6 * spread.mean(axis=0), 1e-12)
    return Shard(packed, all_rows(families), np.maximum(spread, floor), row_starts(families)[-1], 0)


def all_rows(families: Sequence[Family]) -> I64:
    """(N, K) the row of each series in each family, counted through all families; -1 for none."""
    return np.stack(
        [np.where(family.rows >= 0, family.rows + start, -1)
         for family, start in zip(families, row_starts(families), strict=False)], axis=1,
    )  # fmt: skip


def row_starts(families: Sequence[Family]) -> list[int]:
    """Place of each family's first row among all rows, and the number of rows at the end."""
    return [0, *np.cumsum([len(family.bounds) for family in families]).tolist()]


def smallest(score: F64, rows: I64, row_count: int, count: int, per_row: int) -> I64:
    """Places of the `count` smallest finite scores and of the `per_row` smallest in every row; the earlier of equals."""
    order = np.argsort(score, kind="stable")
    order = order[: np.searchsorted(score[order], np.inf)]
    wanted = np.arange(len(order)) < count
    for k in range(rows.shape[1] if per_row else 0):
        row = rows[order, k]
        grouped = np.argsort(row, kind="stable")
        sizes = np.bincount(row + 1, minlength=row_count + 1)
        rank = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        wanted[grouped] |= (rank < per_row) & (row[grouped] >= 0)
    return np.asarray(order[wanted])


@contextmanager
def _threads(chunks: int) -> Iterator[None]:
    """No more threads than chunks: waking one that has nothing to do costs more than a small pass."""
    usual = numba.get_num_threads()
    numba.set_num_threads(min(usual, max(chunks, 1)))
    try:
        yield
    finally:
        numba.set_num_threads(usual)


@numba.njit(inline="always")  # type: ignore[untyped-decorator]
def _reduce(entry, rows, multipliers, weight, reduced):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Reduced values of one series' candidates into `reduced`; the place of the smallest."""
    candidates = reduced.shape[0]
    for v in range(candidates):
        reduced[v] = weight * entry[0, v]
    for k in range(rows.shape[0]):
        if rows[k] >= 0 and multipliers[rows[k]] != 0.0:
            price = multipliers[rows[k]]
            for v in range(candidates):
                reduced[v] += price * entry[1 + k, v]
    best = 0
    for v in range(1, candidates):
        if reduced[v] < reduced[best]:
            best = v
    return best


@numba.njit(parallel=True, cache=False)  # type: ignore[untyped-decorator]
def _sums(packed, rows, scale, multipliers, weight, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    series, width, candidates = packed.shape
    families, row_count = width - 1, multipliers.shape[0]
    for c in numba.prange(out.shape[0]):
        reduced, shift = np.empty(candidates), np.empty(families)
        mean, second = np.empty(families), np.empty((families, families))
        total = out[c]
        for i in range(c * CHUNK, min(series, (c + 1) * CHUNK)):
            best = _reduce(packed[i], rows[i], multipliers, weight, reduced)
            low = reduced[best]
            total[0] += low
            mean[:] = 0.0
            second[:] = 0.0
            weights = 0.0
            for v in range(candidates):
                far = (reduced[v] - low) / scale[i]
                if far < FAR:
                    w = np.exp(-far)
                    weights += w
                    for k in range(families):
                        shift[k] = packed[i, 1 + k, v] - packed[i, 1 + k, best]
                        mean[k] += w * shift[k]
                        for j in range(k + 1):
                            second[k, j] += w * shift[k] * shift[j]
            for k in range(families):
                a = rows[i, k]
                if a < 0:
                    continue
                total[1 + a] += packed[i, 1 + k, best]
                for j in range(k + 1):
                    b = rows[i, j]
                    if b < 0:
                        continue
                    bend = (second[k, j] - mean[k] * mean[j] / weights) / (weights * scale[i])
                    total[1 + row_count * (1 + a) + b] += bend
                    if a != b:
                        total[1 + row_count * (1 + b) + a] += bend


@numba.njit(parallel=True, cache=False)  # type: ignore[untyped-decorator]
def _seconds(packed, rows, multipliers, choice, regret, flip):  # type: ignore[no-untyped-def]  # pragma: no cover
    series, width, candidates = packed.shape
    for c in numba.prange((series + CHUNK - 1) // CHUNK):
        reduced = np.empty(candidates)
        for i in range(c * CHUNK, min(series, (c + 1) * CHUNK)):
            best = _reduce(packed[i], rows[i], multipliers, 1.0, reduced)
            choice[i] = best
            regret[i] = np.inf
            flip[i] = np.inf
            for v in range(candidates):
                other = packed[i, 0, v] != packed[i, 0, best]
                moved = 0.0
                for k in range(width - 1):
                    shift = abs(packed[i, 1 + k, v] - packed[i, 1 + k, best])
                    other = other or shift > 0.0
                    if rows[i, k] >= 0:
                        moved += multipliers[rows[i, k]] * shift
                if other:
                    more = reduced[v] - reduced[best]
                    regret[i] = min(regret[i], more)
                    if moved > 0.0:
                        flip[i] = min(flip[i], more / moved)
