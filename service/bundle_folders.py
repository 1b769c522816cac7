"""Where bundles lie, and what they say of themselves. Nothing is verified here; `service.policy` does that.

Versions come from requests and from SQL: one is looked for by name in the folders that the operator named, and no name
leads out of them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from service.bundle import (
    BUNDLES,
    CHAMPION,
    FILES,
    MANIFEST,
    BundleRefused,
    PolicyNotFound,
    read_bundle_file,
    read_manifest,
    resolve_bundle,
)

VERSION = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
MOST = 1e15  # a number that every reader of JSON takes
_WORD = re.compile(r"[\w .:-]{1,60}")  # names and dates that may be passed on


class Description(NamedTuple):
    """What a bundle says of itself."""

    version: str
    period_days: int | None
    contract_id: str | None
    sha256: dict[str, str] | None  # of each of FILES, as they lie there
    metrics: dict[str, Any] | None


def bundle_folders(extra: Path | None) -> list[Path]:
    """Where bundles may lie: those that ship, and the operator's folder."""
    return [BUNDLES] if extra is None else [BUNDLES, extra]


def find_bundle(version: str, folders: Sequence[Path]) -> Path:
    """The folder of a version, in the first of the folders that has it.

    Raises:
        PolicyNotFound: when there is none.
    """
    for folder in folders if re.fullmatch(VERSION, version) else ():
        bundle = _inside(folder, version)
        if bundle is not None:
            return bundle
    raise PolicyNotFound(f"there is no policy {version!r} in the folders of bundles")


def _inside(folder: Path, version: str) -> Path | None:
    """The bundle, where it lies in the folder and can be read; a link may not lead out of it."""
    try:
        root = folder.resolve()
        bundle = (root / version).resolve()
        return bundle if bundle.is_relative_to(root) and (bundle / MANIFEST).is_file() else None
    except (OSError, RuntimeError):  # no right to look, or links in a circle
        return None


def found_versions(folders: Sequence[Path]) -> list[str]:
    """Every version that lies in the folders, in order."""
    return sorted({name for folder in folders for name in _names(folder) if _lies_in(name, folders)})


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def _lies_in(version: str, folders: Sequence[Path]) -> bool:
    return re.fullmatch(VERSION, version) is not None and any(_inside(folder, version) for folder in folders)


def is_shipped(version: str) -> bool:
    """Whether it comes with the package."""
    return _lies_in(version, [BUNDLES])


def shipped_champion(period_days: int) -> str | None:
    """The version that decides where nobody has promoted another; None where none is for that period length."""
    try:
        return resolve_bundle(CHAMPION, period_days).name
    except PolicyNotFound:
        return None


def describe(bundle: Path) -> Description:
    """What a bundle says of itself; None for what cannot be read."""
    try:
        manifest = read_manifest(bundle)
        hashes = {name: hashlib.sha256(read_bundle_file(bundle, name)).hexdigest() for name in FILES}
    except BundleRefused:
        return Description(bundle.name, None, None, None, None)
    period, contract = manifest.get("period_days"), manifest["contract_id"]
    return Description(
        bundle.name, period if isinstance(period, int) and 0 < period <= MOST else None,
        contract if isinstance(contract, str) and _WORD.fullmatch(contract) else None, hashes,
        metrics_of(bundle, manifest),
    )  # fmt: skip


def metrics_of(bundle: Path, manifest: dict[str, Any]) -> dict[str, Any] | None:
    """Metrics and cut-offs from the manifest, last losses of each stage from the report; None where there are none.

    Only finite numbers, plain words and dates are passed on. A report that is not the one that the manifest names is left out.
    """
    curves = _report(bundle, manifest).get("losses")
    losses = curves.items() if isinstance(curves, dict) else ()
    told = {
        "metrics": _plain(manifest.get("metrics")), "training_cut_offs": _plain(manifest.get("training_cut_offs")),
        "last_losses": _plain({name: curve[-1] for name, curve in losses if isinstance(curve, list) and curve}),
    }  # fmt: skip
    return {name: values for name, values in told.items() if values} or None


def _report(bundle: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    try:
        content = read_bundle_file(bundle, "report.json")
        report = json.loads(content)
    except (BundleRefused, ValueError, RecursionError):
        return {}
    hashes = manifest["sha256"]
    named = isinstance(hashes, dict) and hashes.get("report.json") == hashlib.sha256(content).hexdigest()
    return report if named and isinstance(report, dict) else {}


def _plain(told: object) -> dict[str, float | str]:
    if not isinstance(told, dict):
        return {}
    return {name: value for name, value in told.items() if _WORD.fullmatch(name) and _is_plain(value)}


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return _WORD.fullmatch(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST  # NaN is not either
