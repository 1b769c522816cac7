"""The files of a policy bundle: where it lies, and what is read of it before anything is made of it.

A bundle is data from outside. Each file is read once, whole, and only as far as it is a plain file of a sane size; its manifest
names the others by their hashes.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulator.histograms import Histograms, read_told

BUNDLES = Path(__file__).parent / "bundles"
CHAMPION = "champion"
MANIFEST, GRAPH, GOLDEN = FILES = ("manifest.json", "policy.onnx", "golden.npz")
HISTOGRAMS = "histograms.json"  # only where the manifest names it
MOST_BYTES = 256 * 2**20  # of one file; the shipped graphs have 4


class PolicyNotFound(LookupError):
    """No policy of that name, or none for that period length."""

    reason = "missing"


class BundleRefused(ValueError):
    """A bundle that must not serve; `reason` is contract, hash, parity or missing."""

    def __init__(self, bundle: Path, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(f"policy bundle {bundle.name} refused ({reason}): {detail}")


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


def one_line(error: Exception) -> str:
    """What an error says, fit for a log and short."""
    return " ".join(str(error).encode("ascii", "backslashreplace").decode().split())[:200]


def check_unpacked_size(archive: bytes) -> None:
    """Raise ValueError where a zip archive unpacks to more than anybody means to hold."""
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


def manifest_in(bundle: Path, content: bytes) -> dict[str, Any]:
    """The manifest whose file holds `content`.

    Raises:
        BundleRefused: where it is none.
    """
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleRefused(bundle, "missing", f"{MANIFEST} cannot be read ({one_line(error)})") from None
    if not isinstance(manifest, dict) or not {"version", "contract_id", "sha256"} <= manifest.keys():
        raise BundleRefused(bundle, "contract", f"{MANIFEST} lacks version, contract_id or sha256")
    return manifest


def read_manifest(bundle: Path) -> dict[str, Any]:
    """What a bundle says of itself; nothing of it is verified.

    Raises:
        BundleRefused: when it cannot be read.
    """
    return manifest_in(bundle, read_bundle_file(bundle, MANIFEST))


def check_hashes(
    bundle: Path, found: dict[str, str], manifest: dict[str, Any], pinned: Mapping[str, str] | None
) -> None:
    """Hold files against what they should be.

    Args:
        bundle: whose files.
        found: SHA-256 of each of `FILES`.
        manifest: names those of graph and golden cases.
        pinned: those of the bundle as it was registered, if it was.

    Raises:
        BundleRefused: naming the file that is another one.
    """
    told = manifest["sha256"]
    for name in (GRAPH, GOLDEN):
        if not isinstance(told, dict) or told.get(name) != found[name]:
            raise BundleRefused(bundle, "hash", f"{name} is not the file that the manifest names")
    for name, digest in (pinned or {}).items():
        if found[name] != digest:
            raise BundleRefused(bundle, "hash", f"{name} is not the file that was registered")


def histograms_of(bundle: Path, manifest: dict[str, Any]) -> Histograms | None:
    """Of what a policy learned from; None where its manifest names none.

    Raises:
        BundleRefused: where they are not those that it names, or cannot be read.
    """
    if HISTOGRAMS not in manifest["sha256"]:
        return None
    content = read_bundle_file(bundle, HISTOGRAMS)
    if hashlib.sha256(content).hexdigest() != manifest["sha256"][HISTOGRAMS]:
        raise BundleRefused(bundle, "hash", f"{HISTOGRAMS} is not the file that the manifest names")
    try:
        return read_told(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise BundleRefused(bundle, "contract", f"{HISTOGRAMS} cannot be read ({one_line(error)})") from None
