"""What the gate of a fine-tuned bundle said of it, as its manifest tells. Whether that is true nobody checks here."""

from __future__ import annotations

import math
from typing import Any

from service.policy_schemas import Gate

PASSED, REFUSED = "passed", "refused"
MOST_REASONS, LONGEST_REASON = 20, 500


def gate_of(manifest: dict[str, Any]) -> Gate | None:
    """The verdict and its reasons; None where the manifest has no gate. One that cannot be read has refused the bundle."""
    if "gate" not in manifest:
        return None
    told = manifest["gate"]
    verdict, reasons = (told.get("verdict"), told.get("reasons", [])) if isinstance(told, dict) else (None, None)
    if verdict not in (PASSED, REFUSED) or not isinstance(reasons, list):
        return Gate(verdict=REFUSED, reasons=["the gate in its manifest cannot be read"])
    words = [reason for reason in reasons if isinstance(reason, str)]
    return Gate(
        verdict=verdict, reasons=[_readable(word) for word in words[:MOST_REASONS]], finetuned_from=judged_against(manifest),
        margin=_number(told, "margin"), kl=_number(told, "kl"), kl_limit=_number(told, "kl_limit"),
    )  # fmt: skip


def judged_against(manifest: dict[str, Any]) -> str | None:
    """The version that it was fine-tuned from, beside which its gate has judged it; None: it was not fine-tuned."""
    version = manifest.get("finetuned_from")
    return _readable(version) if isinstance(version, str) else None


def objection(manifest: dict[str, Any]) -> str | None:
    """Why a bundle must not be registered: its gate refused it, or it was fine-tuned and went through none. None: it may."""
    gate = gate_of(manifest)
    if gate is None:
        tuned = manifest.get("finetuned_from") is not None
        return "it was fine-tuned, and its manifest tells of no gate" if tuned else None
    if gate.verdict == PASSED:
        return None
    return "its gate refused it: " + ("; ".join(gate.reasons) or "no reason is given")


def _readable(words: str) -> str:
    return " ".join(words.encode("utf-8", "replace").decode().split())[:LONGEST_REASON]


def _number(told: dict[str, Any], name: str) -> float | None:
    value = told.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return float(value)
