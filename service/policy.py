"""A policy bundle, checked and ready to answer.

A bundle is data from outside until proven: its hashes, its contract and its answers on the golden cases must hold, and
nothing in it is unpickled. Each file is read once, and what is checked is what serves. What does not hold is refused with
the reason; the caller keeps what it has.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from service.graph import FLOATS, Graph
from service.rows import Seen
from service.said import Said
from simulator.contract import OUTPUTS, contract_id, interface
from simulator.histograms import Histograms, read_told
from simulator.observation import FIELDS, Observation, ObservationSpec
from simulator.panel import F32

BUNDLES = Path(__file__).parent / "bundles"
CHAMPION = "champion"
MANIFEST, GRAPH, GOLDEN = FILES = ("manifest.json", "policy.onnx", "golden.npz")
HISTOGRAMS = "histograms.json"  # only where the manifest names it
MOST_BYTES = 256 * 2**20  # of one file; the shipped graphs have 4
PARITY = 1e-4  # of 1 + the largest magnitude in the decision's output
PARITY_OUTPUTS = ("daily_rate", "logits", "forecast")
SAME_DAYS = 0.9  # share of golden cases; logits that are all but equal may tip over to the next value of the grid
CHUNK = 64  # rows of one ONNX run: larger batches gain nothing and hold memory
READER = 16  # bytes that name a graph before a context
LEAST_CHUNK = 16  # fewer rows are not worth another thread
MOST_SAID = 4096  # answers that are kept, 2.4 KB each
MOST_WORKERS = 4  # chunks of large batches that run at once; one request is not to take a large machine


class PolicyNotFound(LookupError):
    """No policy of that name, or none for that period length."""

    reason = "missing"


class BundleRefused(ValueError):
    """A bundle that must not serve; `reason` is contract, hash, parity or missing."""

    def __init__(self, bundle: Path, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(f"policy bundle {bundle.name} refused ({reason}): {detail}")


Made = TypeVar("Made")


class PolicyAnswer(NamedTuple):
    """What a policy says of B decisions; see the contract."""

    inventory_days: F32  # (B,) days
    inventory_days_p10: F32  # (B,) days
    inventory_days_p90: F32  # (B,) days
    daily_rate: F32  # (B,) units a day
    logits: F32  # (B, V)
    forecast: F32  # (B, H, Q) units a period


class Policy:
    """One verified bundle behind one ONNX Runtime session; safe to share between threads."""

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
        self.manifest = _manifest(bundle, files[MANIFEST])
        _check_hashes(bundle, self.hashes, self.manifest, pinned)
        self.graph = _graph(bundle, files[GRAPH])
        metadata = _metadata(bundle, self.graph, files[GRAPH])
        self.contract = _check_contract(bundle, self.graph, metadata, self.manifest)
        self.graph.cut(files[GRAPH])
        self.reader = bytes.fromhex(self.hashes[GRAPH])[:READER]
        self.version = str(self.manifest["version"])
        self.period_days = int(self.contract["period_days"])
        self.ordering_mode = str(self.contract["ordering_mode"])
        self.spec = ObservationSpec(self.period_days)
        self._said = Said([tuple(output["shape"][1:]) for output in self.contract["outputs"]], MOST_SAID)
        self._at_once = min(os.cpu_count() or 1, MOST_WORKERS)
        self._workers = ThreadPoolExecutor(self._at_once, "policy")
        self.parity = self._check_parity(bundle, files[GOLDEN])
        self.histograms = _histograms(bundle, self.manifest)  # of what it learned from; None: it carries none

    def answer(self, observation: Observation) -> PolicyAnswer:
        """Decide B series at once."""

        def part(begin: int, end: int) -> list[np.ndarray]:
            seen = {field.name: observation[field.name][begin:end] for field in FIELDS}
            return self.graph.choose(self.graph.read(seen), seen)

        return self._in_parts(len(observation["as_of_day"]), part)

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
            if unread:
                told = seen.part(begin, end, self.graph.reading)
                context[unread] = self.graph.read({name: column[unread] for name, column in told.items()})
            return self.graph.choose(context, seen.part(begin, end, self.graph.choosing))

        return self._in_parts(len(seen), part)

    def read(self, blobs: list[bytes]) -> list[bytes]:
        """Contexts of packed rows, to be kept beside them; nothing where the graph is in one piece."""
        if not self.graph.width:
            return [b""] * len(blobs)
        seen = Seen(blobs, self.spec, None)
        parts = self._chunks(len(blobs), lambda begin, end: self.graph.read(seen.part(begin, end, self.graph.reading)))
        return [self.reader + context.tobytes() for part in parts for context in part]

    def _in_parts(self, count: int, part: Callable[[int, int], list[np.ndarray]]) -> PolicyAnswer:
        parts = self._chunks(count, part)
        return PolicyAnswer(*(parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))))

    def _chunks(self, count: int, work: Callable[[int, int], Made]) -> list[Made]:
        """Do it in chunks of about one size, side by side on the machine's cores where there are more than a few rows."""
        size = min(CHUNK, max(LEAST_CHUNK, -(-count // self._at_once)))
        chunks = -(-count // size)
        if chunks <= 1:
            return [work(0, count)]
        ends = [count * n // chunks for n in range(chunks + 1)]
        return list(self._workers.map(work, ends, ends[1:]))

    def _check_parity(self, bundle: Path, content: bytes) -> float:
        try:
            _check_unpacked_size(content)
            with np.load(io.BytesIO(content), allow_pickle=False) as golden:
                cases = {name: golden[name] for name in golden.files}
            answer = self.answer({field.name: cases[f"input.{field.name}"] for field in FIELDS})
            gaps = {name: _gap(cases[f"output.{name}"], getattr(answer, name)) for name in PARITY_OUTPUTS}
            same = float((cases["output.inventory_days"] == answer.inventory_days).mean())
        except Exception as error:  # a broken archive or shape raises a different class for every kind
            raise BundleRefused(bundle, "parity", f"the golden cases cannot be replayed ({_line(error)})") from None
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


def _line(error: Exception) -> str:
    return " ".join(str(error).encode("ascii", "backslashreplace").decode().split())[:200]


def _check_unpacked_size(archive: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as members:
        size = sum(member.file_size for member in members.infolist())
    if size > MOST_BYTES:
        raise ValueError(f"they unpack to {size:,} bytes, at most {MOST_BYTES:,} are read")


def read_bundle_file(bundle: Path, name: str) -> bytes:
    """One file of a bundle, whole.

    Raises:
        BundleRefused: when it is missing, too large or no plain file.
    """
    path = bundle / name
    try:
        if path.exists() and not path.is_file():  # reading a pipe would never end
            raise BundleRefused(bundle, "missing", f"{name} is no plain file")
        if path.stat().st_size > MOST_BYTES:
            raise BundleRefused(bundle, "missing", f"{name} is larger than {MOST_BYTES:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise BundleRefused(bundle, "missing", f"{name} cannot be read ({error.strerror})") from None


def _manifest(bundle: Path, content: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleRefused(bundle, "missing", f"{MANIFEST} cannot be read ({_line(error)})") from None
    if not isinstance(manifest, dict) or not {"version", "contract_id", "sha256"} <= manifest.keys():
        raise BundleRefused(bundle, "contract", f"{MANIFEST} lacks version, contract_id or sha256")
    return manifest


def read_manifest(bundle: Path) -> dict[str, Any]:
    """What a bundle says of itself; nothing of it is verified.

    Raises:
        BundleRefused: when it cannot be read.
    """
    return _manifest(bundle, read_bundle_file(bundle, MANIFEST))


def _check_hashes(
    bundle: Path, found: dict[str, str], manifest: dict[str, Any], pinned: Mapping[str, str] | None
) -> None:
    told = manifest["sha256"]
    for name in (GRAPH, GOLDEN):
        if not isinstance(told, dict) or told.get(name) != found[name]:
            raise BundleRefused(bundle, "hash", f"{name} is not the file that the manifest names")
    for name, digest in (pinned or {}).items():
        if found[name] != digest:
            raise BundleRefused(bundle, "hash", f"{name} is not the file that was registered")


def _histograms(bundle: Path, manifest: dict[str, Any]) -> Histograms | None:
    if HISTOGRAMS not in manifest["sha256"]:
        return None
    content = read_bundle_file(bundle, HISTOGRAMS)
    if hashlib.sha256(content).hexdigest() != manifest["sha256"][HISTOGRAMS]:
        raise BundleRefused(bundle, "hash", f"{HISTOGRAMS} is not the file that the manifest names")
    try:
        return read_told(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise BundleRefused(bundle, "contract", f"{HISTOGRAMS} cannot be read ({_line(error)})") from None


def _graph(bundle: Path, content: bytes) -> Graph:
    try:
        return Graph(content)
    except Exception as error:  # ONNX Runtime raises a different class for every kind of broken file
        raise BundleRefused(bundle, "contract", f"{GRAPH} cannot be loaded ({_line(error)})") from None


def _metadata(bundle: Path, graph: Graph, content: bytes) -> dict[str, str]:
    """The graph's metadata, where its weights lie within it: no hash covers those in another file.

    A graph names such a file under the key `location`, a word that ours have nowhere but in the contract.
    """
    try:
        metadata = graph.metadata
    except UnicodeDecodeError as error:
        raise BundleRefused(bundle, "contract", f"the graph's metadata is no text ({_line(error)})") from None
    if content.count(b"location") > sum(text.encode().count(b"location") for text in metadata.values()):
        raise BundleRefused(bundle, "contract", f"{GRAPH} names weights outside of itself")
    return metadata


def _check_contract(bundle: Path, graph: Graph, metadata: dict[str, str], manifest: dict[str, Any]) -> dict[str, Any]:
    try:
        contract: dict[str, Any] = json.loads(metadata["contract"])
        ours = contract_id(interface(int(contract["period_days"]), str(contract["ordering_mode"])))
    except Exception as error:  # a forged contract may hold anything: no numbers, endless ones, lists in lists
        raise BundleRefused(bundle, "contract", f"the graph carries no usable contract ({_line(error)})") from None
    theirs = contract_id(contract)
    if not theirs == ours == manifest["contract_id"]:
        raise BundleRefused(bundle, "contract", f"its contract is {theirs}, this service speaks {ours}")
    outputs = [(name, FLOATS) for name, *_ in OUTPUTS]
    if (list(graph.choosing), graph.outputs) != ([field.name for field in FIELDS], outputs):
        raise BundleRefused(bundle, "contract", "the graph's inputs or outputs are not those of its contract")
    return contract


def resolve_bundle(name: str, period_days: int, bundles: Path = BUNDLES) -> Path:
    """The folder of a bundle named by path, by version, or as `champion`.

    The champion is the shipped bundle of that period length.

    Raises:
        PolicyNotFound: when there is none.
    """
    if Path(name).is_dir():
        return Path(name)
    if name == CHAMPION:
        for bundle in sorted(path for path in bundles.iterdir() if (path / "manifest.json").is_file()):
            if _period_of(bundle) == period_days:
                return bundle
        raise PolicyNotFound(f"no shipped policy decides for periods of {period_days} days")
    if "/" not in name and (bundles / name / "manifest.json").is_file():
        return bundles / name
    raise PolicyNotFound(f"there is no policy {name!r}: neither a folder nor a version nor the alias {CHAMPION}")


def _period_of(bundle: Path) -> int | None:
    value = read_manifest(bundle).get("period_days")
    return int(value) if isinstance(value, int) else None
