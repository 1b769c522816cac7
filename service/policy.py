"""A policy bundle, checked and ready to answer.

A bundle is data from outside until proven: its hashes, its contract and its answers on the golden cases must hold, and
nothing in it is unpickled. What does not hold is refused with the reason; the caller keeps what it has.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from simulator.contract import OUTPUTS, contract_id, interface
from simulator.observation import FIELDS, Observation, ObservationSpec
from simulator.panel import F32

BUNDLES = Path(__file__).parent / "bundles"
CHAMPION = "champion"
PARITY = 1e-4  # of 1 + the largest magnitude in the decision's output
PARITY_OUTPUTS = ("daily_rate", "logits", "forecast")
CHUNK = 64  # rows of one ONNX run: larger batches gain nothing and hold memory


class PolicyNotFound(LookupError):
    """No policy of that name, or none for that period length."""


class BundleRefused(ValueError):
    """A bundle that must not serve; `reason` is contract, hash, parity or missing."""

    def __init__(self, bundle: Path, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(f"policy bundle {bundle.name} refused ({reason}): {detail}")


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

    def __init__(self, bundle: Path) -> None:
        """Load and verify.

        Raises:
            BundleRefused: when files are missing, or hash, contract or parity does not hold.
        """
        self.manifest = _manifest(bundle)
        _check_hashes(bundle, self.manifest)
        self._session = _session(bundle)
        self.contract = _check_contract(bundle, self._session, self.manifest)
        self.version = str(self.manifest["version"])
        self.period_days = int(self.contract["period_days"])
        self.ordering_mode = str(self.contract["ordering_mode"])
        self.spec = ObservationSpec(self.period_days)
        self.parity = self._check_parity(bundle)

    def answer(self, observation: Observation) -> PolicyAnswer:
        """Decide B series at once, in chunks."""
        count = len(observation["as_of_day"])
        parts = [
            self._session.run(None, {field.name: observation[field.name][at : at + CHUNK] for field in FIELDS})
            for at in range(0, count, CHUNK)
        ]
        return PolicyAnswer(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _check_parity(self, bundle: Path) -> float:
        try:
            with np.load(bundle / "golden.npz", allow_pickle=False) as golden:
                cases = {name: golden[name] for name in golden.files}
            answer = self.answer({field.name: cases[f"input.{field.name}"] for field in FIELDS})
            gaps = {name: _gap(cases[f"output.{name}"], getattr(answer, name)) for name in PARITY_OUTPUTS}
        except Exception as error:  # a broken archive or shape raises a different class for every kind
            raise BundleRefused(bundle, "parity", f"the golden cases cannot be replayed ({_line(error)})") from None
        for name, gap in gaps.items():
            if not gap <= PARITY:  # also where it is not a number
                raise BundleRefused(bundle, "parity", f"{name} is off by {gap:.2e}, allowed is {PARITY:.0e}")
        return max(gaps.values())


def _gap(expected: F32, found: F32) -> float:
    """The largest difference, relative to 1 + the decision's largest magnitude."""
    if expected.shape != found.shape:
        raise ValueError(f"shape {found.shape}, golden is {expected.shape}")
    size = 1 + np.abs(expected).reshape(len(expected), -1).max(axis=1)
    return float((np.abs(found - expected).reshape(len(expected), -1) / size[:, None]).max())


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _manifest(bundle: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleRefused(bundle, "missing", f"manifest.json cannot be read ({_line(error)})") from None
    if not isinstance(manifest, dict) or not {"version", "contract_id", "sha256"} <= manifest.keys():
        raise BundleRefused(bundle, "contract", "manifest.json lacks version, contract_id or sha256")
    return manifest


def _check_hashes(bundle: Path, manifest: dict[str, Any]) -> None:
    hashes = manifest["sha256"]
    for name in ("policy.onnx", "golden.npz"):
        try:
            found = hashlib.sha256((bundle / name).read_bytes()).hexdigest()
        except OSError as error:
            raise BundleRefused(bundle, "missing", f"{name} cannot be read ({_line(error)})") from None
        if not isinstance(hashes, dict) or hashes.get(name) != found:
            raise BundleRefused(bundle, "hash", f"{name} is not the file that the manifest names")


def _session(bundle: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(bundle / "policy.onnx"), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a different class for every kind of broken file
        raise BundleRefused(bundle, "contract", f"policy.onnx cannot be loaded ({_line(error)})") from None


def _check_contract(bundle: Path, session: onnxruntime.InferenceSession, manifest: dict[str, Any]) -> dict[str, Any]:
    try:
        contract: dict[str, Any] = json.loads(session.get_modelmeta().custom_metadata_map["contract"])
        ours = contract_id(interface(int(contract["period_days"]), str(contract["ordering_mode"])))
    except (KeyError, TypeError, ValueError) as error:
        raise BundleRefused(bundle, "contract", f"the graph carries no usable contract ({_line(error)})") from None
    theirs = contract_id(contract)
    if not theirs == ours == manifest["contract_id"]:
        raise BundleRefused(bundle, "contract", f"its contract is {theirs}, this service speaks {ours}")
    names = ([i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()])
    if names != ([field.name for field in FIELDS], [name for name, *_ in OUTPUTS]):
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
    value = _manifest(bundle).get("period_days")
    return int(value) if isinstance(value, int) else None
