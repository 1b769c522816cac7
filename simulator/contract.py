"""The contract between who trains a policy and who serves it: names, shapes, units, padding, grid, clock.

Both sides build it from the same tables, so a bundle made by other code has another `contract_id` and is refused.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from simulator.clock import CLOCK
from simulator.observation import FIELDS, HASH_SEED, ObservationSpec, field_shape
from simulator.ordering import ORDER_UP_TO, inventory_days_grid

CONTRACT_VERSION = 3
FORECAST_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
# The name of a tensor (batch, some width) inside of a graph that may be run in two halves: everything before it depends on
# HISTORY_FIELDS alone, and whatever needs more of them than stock and costs lies before it. No graph has to have one.
CONTEXT = "context"
OUTPUTS = (
    ("inventory_days", (), "days", "the decision, a value of the grid"),
    ("inventory_days_p10", (), "days", "10 % point of the distribution over days"),
    ("inventory_days_p90", (), "days", "90 % point of the distribution over days"),
    ("daily_rate", (), "units/day", "what a day is worth in units"),
    ("logits", ("days",), "1", "raw logits over the grid"),
    ("forecast", ("horizon", len(FORECAST_QUANTILES)), "units/period", "demand quantiles 0.1, 0.25, 0.5, 0.75, 0.9"),
)


def interface(period_days: int, ordering_mode: str = ORDER_UP_TO) -> dict[str, Any]:
    """The part of the contract that code depends on; two bundles with the same are interchangeable."""
    spec, grid = ObservationSpec(period_days), inventory_days_grid().tolist()
    sizes = {"days": len(grid), "horizon": spec.horizon}
    return {
        "contract_version": CONTRACT_VERSION,
        "clock": CLOCK,
        "period_days": period_days,
        "ordering_mode": ordering_mode,
        "grid": grid,
        "inputs": [
            {
                "name": field.name, "shape": ["batch", *field_shape(field, spec)], "dtype": field.dtype,
                "unit": field.unit, "padding": "NaN" if field.dtype == "float32" else "0", "meaning": field.meaning,
            }
            for field in FIELDS
        ],
        "outputs": [
            {
                "name": name, "shape": ["batch", *(sizes.get(s, s) if isinstance(s, str) else s for s in shape)],
                "dtype": "float32", "unit": unit, "meaning": meaning,
            }
            for name, shape, unit, meaning in OUTPUTS
        ],
        "hash": {
            "algorithm": "BLAKE2b, 8 bytes, little endian, modulo buckets - 1, plus 1",
            "seed": HASH_SEED, "name_buckets": spec.name_buckets, "code_buckets": spec.code_buckets,
        },
    }  # fmt: skip


def contract_id(contract: dict[str, Any]) -> str:
    """First 16 hex digits of the SHA-256 of the interface inside `contract`; keys beyond it do not count."""
    keys = sorted(interface(1))
    text = json.dumps({key: contract.get(key) for key in keys}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
