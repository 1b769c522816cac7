"""Where shards are held and asked: threads of this process, or Ray actors (extra `[ray]`).

An executor knows nothing of the model. Per question only multipliers go out and sums come back; answers are in the
order of the shards, so both executors give the same bits. Ray is imported when its executor is made, not before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numba

from solver.dual import Shard

Ask = Callable[..., list[Any]]  # (method of Shard, its arguments) -> every shard's answer, in order


class Executor(Protocol):
    """Holds the series and passes questions on."""

    def scatter(self, shard: Shard) -> Ask:
        """Take all series; the shards live as long as what is returned."""
        ...


class LocalExecutor:
    """One shard in this process; the compiled passes use its threads."""

    def scatter(self, shard: Shard) -> Ask:
        """Hold the shard as it is."""
        return lambda method, *arguments: [getattr(shard, method)(*arguments)]


class RayExecutor:
    """Shards in Ray actors, on whatever cluster `ray.init` has joined.

    Args:
        workers: actors, each with a run of whole chunks.
        threads: cores that each actor reserves and computes with.
    """

    def __init__(self, workers: int = 2, threads: int = 1) -> None:
        if workers < 1 or threads < 1:
            raise ValueError(f"workers and threads must be at least 1, got {workers} and {threads}")
        import ray

        self._ray = ray
        self._workers = workers
        self._actor: Any = ray.remote(num_cpus=threads)(_Holder)
        self._threads = threads

    def scatter(self, shard: Shard) -> Ask:
        """Send every actor its shard, once."""
        actors = [self._actor.remote(part, self._threads) for part in shard.split(self._workers)]

        def ask(method: str, *arguments: Any) -> list[Any]:
            return list(self._ray.get([actor.ask.remote(method, *arguments) for actor in actors]))

        return ask


class _Holder:
    """What lives in an actor."""

    def __init__(self, shard: Shard, threads: int) -> None:
        self._shard = shard
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))

    def ask(self, method: str, *arguments: Any) -> Any:
        return getattr(self._shard, method)(*arguments)
