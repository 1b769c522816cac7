"""A policy bundle, checked and ready to answer.

A bundle is data from outside until proven: its hashes, its contract and its answers on the golden cases must hold, and
nothing in it is unpickled. Each file is read once, and what is checked is what serves. What does not hold is refused with
the reason; the caller keeps what it has.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from service.bundle import (
    FILES,
    GOLDEN,
    GRAPH,
    MANIFEST,
    BundleRefused,
    check_hashes,
    check_unpacked_size,
    histograms_of,
    manifest_in,
    one_line,
    read_bundle_file,
)
from service.graph import Graph, cut, load
from service.rows import Seen
from service.said import Said
from simulator.contract import OUTPUTS, contract_id, interface
from simulator.observation import FIELDS, Observation, ObservationSpec
from simulator.panel import F32

LOG = logging.getLogger(__name__)
PARITY = 1e-4  # of 1 + the largest magnitude in the decision's output
PARITY_OUTPUTS = ("daily_rate", "logits", "forecast")
SAME_DAYS = 0.9  # share of golden cases; logits that are all but equal may tip over to the next value of the grid
READER = 16  # bytes that name a graph before a context
MOST_SAID = 4096  # answers that are kept, 2.4 KB each
MOST_WORKERS = 4  # chunks of large batches that run at once; one request is not to take a large machine

Made = TypeVar("Made")


class Chunks(NamedTuple):
    """Rows of one ONNX run."""

    most: int  # larger batches gain nothing and hold memory
    least: int  # fewer are not worth another thread


READING, CHOOSING = Chunks(64, 16), Chunks(256, 64)  # choosing alone takes a small part of the time


class PolicyAnswer(NamedTuple):
    """What a policy says of B decisions; see the contract."""

    inventory_days: F32  # (B,) days
    inventory_days_p10: F32  # (B,) days
    inventory_days_p90: F32  # (B,) days
    daily_rate: F32  # (B,) units a day
    logits: F32  # (B, V)
    forecast: F32  # (B, H, Q) units a period


class Policy:
    """One verified bundle behind ONNX Runtime; safe to share between threads."""

    def __init__(self, bundle: Path, pinned: Mapping[str, str] | None = None) -> None:
        """Load and verify.

        Args:
            bundle: its folder.
            pinned: SHA-256 of each of `FILES` as the bundle was registered; None: the manifest's word counts.

        Raises:
            BundleRefused: when files are missing, or hash, contract or parity does not hold.
        """
        files = {name: read_bundle_file(bundle, name) for name in FILES}
        self.hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        self.manifest = manifest_in(bundle, files[MANIFEST])
        check_hashes(bundle, self.hashes, self.manifest, pinned)
        self.graph = _graph(bundle, files[GRAPH])
        metadata = _metadata(bundle, self.graph, files[GRAPH])
        self.contract = _check_contract(bundle, self.graph, metadata, self.manifest)
        self.reader = bytes.fromhex(self.hashes[GRAPH])[:READER]
        self.version = str(self.manifest["version"])
        self.period_days = int(self.contract["period_days"])
        self.ordering_mode = str(self.contract["ordering_mode"])
        self.spec = ObservationSpec(self.period_days)
        self._said = Said([tuple(output["shape"][1:]) for output in self.contract["outputs"]], MOST_SAID)
        self._at_once = min(os.cpu_count() or 1, MOST_WORKERS)
        self._workers = ThreadPoolExecutor(self._at_once, "policy")
        cases = _golden(bundle, files[GOLDEN])
        self.parity = self._check_parity(bundle, cases)
        self.graph = cut(self.graph, files[GRAPH], {field.name: cases[f"input.{field.name}"] for field in FIELDS})
        if not self.graph.width:
            LOG.warning("the graph of policy %s is in one piece: every question runs the whole network", self.version)
        self.histograms = histograms_of(bundle, self.manifest)  # of what it learned from; None: it carries none

    def answer(self, observation: Observation) -> PolicyAnswer:
        """Decide B series at once."""

        def part(begin: int, end: int) -> list[np.ndarray]:
            seen = {field.name: observation[field.name][begin:end] for field in FIELDS}
            return self.graph.choose(self.graph.read(seen), seen)

        return self._answered(len(observation["as_of_day"]), READING, part)

    def answer_to(self, seen: Seen) -> PolicyAnswer:
        """The same for packed rows; what was said lately is not worked out again."""
        keys = seen.digests()
        if keys is None:
            return self.run(seen)
        rows = self._said.find(keys)
        new = [n for n, row in enumerate(rows) if row is None]
        if new:
            fresh = seen if len(new) == len(rows) else seen.take(new)
            answer = self.run(fresh)
            kept = self._said.keep([keys[n] for n in new], answer)
            if len(new) == len(rows):
                return answer
            for n, row in zip(new, kept, strict=True):
                rows[n] = row
        return PolicyAnswer(*self._said.outputs([row for row in rows if row is not None]))

    def run(self, seen: Seen) -> PolicyAnswer:
        """The same by the network in any case; rows that it has read already are not read again."""

        def part(begin: int, end: int) -> list[np.ndarray]:
            context, unread = seen.contexts(begin, end, self.reader, self.graph.width)
            if unread and self.graph.width:
                told = seen.part(begin, end, self.graph.reading)
                context[unread] = self.graph.read({name: column[unread] for name, column in told.items()})
            return self.graph.choose(context, seen.part(begin, end, self.graph.choosing))

        return self._answered(len(seen), CHOOSING if seen.read_by(self.reader) else READING, part)

    def read(self, blobs: list[bytes]) -> list[bytes]:
        """Contexts of packed rows, to be kept beside them; nothing where the graph is in one piece."""
        if not self.graph.width:
            return [b""] * len(blobs)
        seen = Seen(blobs, self.spec, None)

        def part(begin: int, end: int) -> F32:
            return self.graph.read(seen.part(begin, end, self.graph.reading))

        parts = self._in_chunks(len(blobs), READING, part)
        return [self.reader + context.tobytes() for part in parts for context in part]

    def _answered(self, count: int, chunks: Chunks, part: Callable[[int, int], list[np.ndarray]]) -> PolicyAnswer:
        parts = self._in_chunks(count, chunks, part)
        return PolicyAnswer(*(parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))))

    def _in_chunks(self, count: int, chunks: Chunks, work: Callable[[int, int], Made]) -> list[Made]:
        """Do it in chunks of about one size, side by side on the machine's cores where there are more than a few rows."""
        size = min(chunks.most, max(chunks.least, -(-count // self._at_once)))
        parts = -(-count // size)
        if parts <= 1:
            return [work(0, count)]
        ends = [count * n // parts for n in range(parts + 1)]
        return list(self._workers.map(work, ends, ends[1:]))

    def _check_parity(self, bundle: Path, cases: dict[str, np.ndarray]) -> float:
        try:
            answer = self.answer({field.name: cases[f"input.{field.name}"] for field in FIELDS})
            gaps = {name: _gap(cases[f"output.{name}"], getattr(answer, name)) for name in PARITY_OUTPUTS}
            same = float((cases["output.inventory_days"] == answer.inventory_days).mean())
        except Exception as error:  # a broken shape raises a different class for every kind
            raise _cannot_be_replayed(bundle, error) from None
        for name, gap in gaps.items():
            if not gap <= PARITY:  # also where it is not a number
                raise BundleRefused(bundle, "parity", f"{name} is off by {gap:.2e}, allowed is {PARITY:.0e}")
        if not same >= SAME_DAYS:
            raise BundleRefused(bundle, "parity", f"inventory_days are the golden ones in {same:.0%} of the cases only")
        return max(gaps.values())


def _gap(expected: F32, found: F32) -> float:
    """The largest difference, relative to 1 + the decision's largest magnitude."""
    if expected.shape != found.shape:
        raise ValueError(f"shape {found.shape}, golden is {expected.shape}")
    size = 1 + np.abs(expected).reshape(len(expected), -1).max(axis=1)
    return float((np.abs(found - expected).reshape(len(expected), -1) / size[:, None]).max())


def _golden(bundle: Path, content: bytes) -> dict[str, np.ndarray]:
    try:
        check_unpacked_size(content)
        with np.load(io.BytesIO(content), allow_pickle=False) as golden:
            return {name: golden[name] for name in golden.files}
    except Exception as error:  # as above, of archives
        raise _cannot_be_replayed(bundle, error) from None


def _cannot_be_replayed(bundle: Path, error: Exception) -> BundleRefused:
    return BundleRefused(bundle, "parity", f"the golden cases cannot be replayed ({one_line(error)})")


def _graph(bundle: Path, content: bytes) -> Graph:
    try:
        return load(content)
    except Exception as error:  # ONNX Runtime raises a different class for every kind of broken file
        raise BundleRefused(bundle, "contract", f"{GRAPH} cannot be loaded ({one_line(error)})") from None


def _metadata(bundle: Path, graph: Graph, content: bytes) -> dict[str, str]:
    """The graph's metadata, where its weights lie within it: no hash covers those in another file.

    A graph names such a file under the key `location`, a word that ours have nowhere but in the contract.
    """
    try:
        metadata = graph.metadata
    except UnicodeDecodeError as error:
        raise BundleRefused(bundle, "contract", f"the graph's metadata is no text ({one_line(error)})") from None
    if content.count(b"location") > sum(text.encode().count(b"location") for text in metadata.values()):
        raise BundleRefused(bundle, "contract", f"{GRAPH} names weights outside of itself")
    return metadata


def _check_contract(bundle: Path, graph: Graph, metadata: dict[str, str], manifest: dict[str, Any]) -> dict[str, Any]:
    try:
        contract: dict[str, Any] = json.loads(metadata["contract"])
        ours = contract_id(interface(int(contract["period_days"]), str(contract["ordering_mode"])))
    except Exception as error:  # a forged contract may hold anything: no numbers, endless ones, lists in lists
        raise BundleRefused(bundle, "contract", f"the graph carries no usable contract ({one_line(error)})") from None
    theirs = contract_id(contract)
    if not theirs == ours == manifest["contract_id"]:
        raise BundleRefused(bundle, "contract", f"its contract is {theirs}, this service speaks {ours}")
    outputs = [(name, "tensor(float)") for name, *_ in OUTPUTS]
    if (list(graph.choosing), graph.outputs) != ([field.name for field in FIELDS], outputs):
        raise BundleRefused(bundle, "contract", "the graph's inputs or outputs are not those of its contract")
    return contract
