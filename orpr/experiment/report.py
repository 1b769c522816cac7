"""`orpr experiment report`: what the treated series did that the others did not, and whether to believe it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from orpr.experiment.adherence import Adherence, adherence_of, read_decisions
from orpr.experiment.assignments import Assignment, read_assignment
from orpr.experiment.design import finite
from orpr.experiment.measures import Measured, locations_of, measure, pooled_turnover
from orpr.experiment.panel import Outcome, Window, experiment_window, outcomes_of, stock_and_sales
from orpr.progress import Report
from orpr.provenance import code_commit, command_line, folder_hash
from simulator.panel import F64, Panel
from simulator.stock import read_inventory


@dataclass(frozen=True)
class ReportSettings:
    """What is asked for; times in days."""

    assignment: Path
    start: date
    end: date | None = None  # included; the last recorded day where None
    metrics: list[str] = field(default_factory=list)  # all that can be told where empty
    decisions: Path | None = None
    inventory: Path | None = None  # in place of the dataset's file
    policy_versions: list[str] = field(default_factory=list)  # that are the treatment
    history_days: int = 84  # before the start
    settle_days: int = 0  # after it, left out
    bin_days: int = 7  # of the event study
    permutations: int = 999
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("history_days", 1), ("settle_days", 0), ("bin_days", 1), ("permutations", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.policy_versions and self.decisions is None:
            raise ValueError("policy_version: it takes decisions to tell whose they are")


def report(panel: Panel, data: Path, settings: ReportSettings, progress: Report) -> dict[str, Any]:
    """Measure every outcome.

    Args:
        panel: the dataset read from `data`.
        data: its folder.
        settings: what is asked for.
        progress: called as (stage, outcomes done, outcomes).

    Returns:
        The report as JSON.

    Raises:
        ValueError: naming field, row and value of what is wrong.
    """
    window = experiment_window(panel, settings.start, settings.end, settings.history_days, settings.settle_days)
    assignment = read_assignment(settings.assignment, panel)
    on_hand = read_inventory(panel, data, settings.inventory)
    told, reasons = outcomes_of(panel, on_hand, window.before, settings.metrics)
    adherence = _adherence(panel, assignment, settings, window)
    measured = []
    for number, outcome in enumerate(told):
        progress("outcomes", number, len(told), outcome.name)
        try:
            measured.append(_measure(outcome, panel, on_hand, assignment, window, settings, adherence))
        except ValueError as error:
            if settings.metrics:
                raise ValueError(f"metric: {outcome.name} cannot be told: {error}") from None
            reasons[outcome.name] = str(error)
    if not measured:
        raise ValueError("metric: no outcome can be told: " + "; ".join(f"{k}: {v}" for k, v in reasons.items()))
    result: dict[str, Any] = finite({
        **_head(panel, data, assignment, window, settings),
        "adherence": adherence.as_json() if adherence else None, "outcomes": measured, "not_told": reasons,
    })  # fmt: skip
    return result


def _adherence(panel: Panel, assignment: Assignment, settings: ReportSettings, window: Window) -> Adherence | None:
    if settings.decisions is None:
        return None
    decisions = read_decisions(settings.decisions)
    end = panel.date_of(window.after.stop - 1)
    return adherence_of(decisions, panel, assignment, settings.start, end, settings.policy_versions)


def _measure(
    outcome: Outcome, panel: Panel, on_hand: F64 | None, assignment: Assignment, window: Window, settings: ReportSettings,
    adherence: Adherence | None,
) -> dict[str, Any]:  # fmt: skip
    all_series = Measured(
        outcome.values[assignment.rows][:, window.columns], assignment.treated, assignment.pair, len(window.before),
        locations_of(panel)[assignment.rows],
    )  # fmt: skip
    found = measure(
        all_series, bin_periods=max(settings.bin_days // panel.period_days, 1),
        gap=window.after.start - window.before.stop, permutations=settings.permutations,
        rng=np.random.default_rng(settings.seed), exposed=None if adherence is None else adherence.exposed,
    )  # fmt: skip
    study, placebo = found["event_study"], found["placebo_start"]
    if "offsets" in study:
        study["dates"] = [panel.date_of(window.before.stop + offset).isoformat() for offset in study["offsets"]]
    if "period" in placebo:
        placebo["start"] = panel.date_of(window.before.start + placebo["period"]).isoformat()
    if outcome.name == "turnover_days" and on_hand is not None:
        cut = [values[assignment.rows][:, window.columns] for values in stock_and_sales(panel, on_hand)]
        found["pooled"] = pooled_turnover(
            cut[0],
            cut[1],
            assignment.treated,
            assignment.pair,
            len(window.before),
            np.random.default_rng(settings.seed),
            clusters=all_series.clusters,
        )
    return {"metric": outcome.name, "unit": outcome.unit, **found}


def _head(panel: Panel, data: Path, assignment: Assignment, window: Window, settings: ReportSettings) -> dict[str, Any]:
    return {
        "dataset": panel.name, "currency": panel.currency, "command": command_line(), "commit": code_commit(),
        "data_sha256": folder_hash(data), "start": settings.start.isoformat(),
        "before": [panel.date_of(t).isoformat() for t in (window.before.start, window.before.stop - 1)],
        "after": [panel.date_of(t).isoformat() for t in (window.after.start, window.after.stop - 1)],
        "treated": int(assignment.treated.sum()), "control": int((~assignment.treated).sum()),
        "pairs": None if assignment.pair is None else int(assignment.treated.sum()),
        "unmatched": assignment.unmatched, "bin_days": settings.bin_days, "seed": settings.seed,
    }  # fmt: skip


def write_report(result: dict[str, Any], out: Path) -> list[Path]:
    """`report.md`, `report.json`, `effects.png`, and a picture of each outcome's event study."""
    from orpr.experiment.pictures import draw_effects, draw_outcome
    from orpr.experiment.words import page

    out.mkdir(parents=True, exist_ok=True)
    pictures = {one["metric"]: f"{one['metric']}.png" for one in result["outcomes"] if "dates" in one["event_study"]}
    paths = [out / name for name in ("report.md", "report.json", "effects.png", *pictures.values())]
    paths[1].write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    draw_effects(result, paths[2])
    for one in result["outcomes"]:
        if one["metric"] in pictures:
            draw_outcome(one, result, out / pictures[one["metric"]])
    paths[0].write_text(page(result, "effects.png", pictures), encoding="utf-8")
    return paths
