"""What the gate of a fine-tuned bundle said of it, as its manifest tells. Whether that is true nobody checks here."""

from __future__ import annotations

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
    words = [reason.encode("utf-8", "replace").decode() for reason in reasons if isinstance(reason, str)]
    return Gate(verdict=verdict, reasons=[" ".join(one.split())[:LONGEST_REASON] for one in words[:MOST_REASONS]])


def objection(manifest: dict[str, Any]) -> str | None:
    """Why a bundle must not be registered: its gate refused it, or it was fine-tuned and went through none. None: it may."""
    gate = gate_of(manifest)
    if gate is None:
        tuned = manifest.get("finetuned_from") is not None
        return "it was fine-tuned, and its manifest tells of no gate" if tuned else None
    if gate.verdict == PASSED:
        return None
    return "its gate refused it: " + ("; ".join(gate.reasons) or "no reason is given")
