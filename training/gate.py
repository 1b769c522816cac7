"""Whether a fine-tuned policy may take the champion's place: its report and its verdict, which the manifest keeps.

It is judged on series that the fine-tuning never saw, in promotion windows and in routine ones. A policy that pays for its
promotions with the rest of the year, or that has drifted far from what was trusted, is refused. Series are kept out, not days:
the challenger has learnt what other series sold in the judged days, which a champion trained earlier has not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from simulator.observation import FIELDS, Observer
from simulator.panel import F64, I64, Panel, test_window
from simulator.step import State
from training.ablations import decides
from training.backtest import Decide
from training.config import GateConfig
from training.methods import replay_of
from training.model import PolicyNetwork
from training.promotion_windows import PROMOTION, ROUTINE, as_rows, replay_windows

CHAMPION, CHALLENGER, DL_ONLY = "champion", "challenger", "DL only"
PASSED, REFUSED = "passed", "refused"


def held_out(panel: Panel, config: GateConfig, seed: int) -> I64:
    """Rows that fine-tuning leaves alone, drawn by seed and name; at least one, and never all.

    They stay the same from round to round but for what a new or delisted series changes: a champion that comes from an
    earlier round has not learnt from them either.

    Raises:
        ValueError: where there is one series only.
    """
    count = panel.series_count
    if count < 2:
        raise ValueError(f"gate.held_out: {panel.name} has {count} series; one has to be kept out and one learnt from")
    size = min(max(1, round(config.held_out * count)), count - 1)
    names = zip(panel.items.item_id, panel.items.location_id, strict=True)
    drawn = [hashlib.sha256(json.dumps([seed, *name]).encode()).digest() for name in names]
    return np.sort(np.array(sorted(range(count), key=drawn.__getitem__)[:size]))


def judge(
    panel: Panel, rows: I64, networks: Mapping[str, PolicyNetwork], config: GateConfig, seed: int
) -> dict[str, Any]:  # fmt: skip
    """The gate's report.

    Args:
        panel: the whole dataset up to today.
        rows: the series to judge on.
        networks: by name; `CHAMPION` and `CHALLENGER` among them.
        config: bounds, and how many days at the end are replayed.
        seed: of the bootstrap.

    Returns:
        JSON values: `verdict`, `reasons`, `window`, `demand`, `series`, `kl`, `margin`, `kl_limit`, `table`, `notes`.
    """
    window = test_window(panel, config.days)
    # What stock-outs hid counts: on sales alone a policy that holds too little looks cheap, and one that mends that dear.
    replay = replay_of(panel, window, "recovered")._replace(judged=rows)
    drift: list[float] = []
    policies: dict[str, Decide] = {name: decides(network) for name, network in networks.items()}
    policies[CHAMPION] = _watched(policies[CHAMPION], networks[CHAMPION], networks[CHALLENGER], drift)
    done = replay_windows(replay, policies)
    table = as_rows({name: found.totals for name, found in done.items()}, CHAMPION, seed)
    kl = float(np.mean(drift)) if drift else 0.0
    reasons = _reasons(table, kl, config)
    return {
        "verdict": REFUSED if reasons else PASSED, "reasons": reasons,
        "window": [panel.date_of(window.start).isoformat(), panel.date_of(window.stop - 1).isoformat()],
        "demand": replay.demand, "series": len(rows), "kl": kl, "margin": config.margin, "kl_limit": config.kl_limit, "table": table,
        "notes": _notes(table),
    }  # fmt: skip


def _notes(table: list[dict[str, Any]]) -> list[str]:
    """What a reader would miss in the table."""
    notes = []
    if not any(row["window"] == PROMOTION for row in table):
        notes.append("no promotion falls into the window")
    if not any(row["policy"] == DL_ONLY for row in table):
        notes.append("no DL only row: no policy before reinforcement was named")
    return notes


def _reasons(table: list[dict[str, Any]], kl: float, config: GateConfig) -> list[str]:
    """Why it is refused; a number that is none has not kept within its bound."""
    reasons = []
    routine = [row for row in table if row["policy"] == CHALLENGER and row["window"] == ROUTINE]
    if not routine:
        reasons.append("no routine period was judged; gate.days or gate.held_out is too small, or promotions never end")
    for row in routine:
        rise = row["total_cost_ratio"][0] - 1
        if not rise <= config.margin:
            reasons.append(f"routine total cost rises by {rise:.2%}, more than {config.margin:.2%}")
    if not kl <= config.kl_limit:
        reasons.append(f"actions drift by {kl:.3f} nats on average, more than {config.kl_limit:g}")
    return reasons


def _watched(decide: Decide, champion: PolicyNetwork, challenger: PolicyNetwork, drift: list[float]) -> Decide:
    """The champion's decisions, and beside them how far the challenger's distributions are from its own."""

    def watched(observer: Observer, rows: I64, t: int, state: State) -> F64:
        seen = observer.observe(rows, np.full(len(rows), t), state)
        if len(rows):
            fields = [torch.from_numpy(seen[field.name]) for field in FIELDS]
            with torch.no_grad():
                old, new = (torch.log_softmax(network(*fields)[0].logits, -1) for network in (champion, challenger))
            drift.extend((new.exp() * (new - old)).sum(dim=-1).tolist())
        return decide(observer, rows, t, state)

    return watched
