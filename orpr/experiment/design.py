"""`orpr experiment design`: treated series, a control for each, and what an experiment with them can find."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from orpr.experiment.assignments import CONTROL, LEFT_OUT, TREATED, read_treated
from orpr.experiment.covariates import covariates_of
from orpr.experiment.matching import (
    CALLIPER,
    balance_table,
    nearest_pairs,
    pooled_deviation,
    propensity_logit,
    stratified_draw,
)
from orpr.experiment.measures import locations_of, whole_locations
from orpr.experiment.panel import history_before, outcomes_of
from orpr.experiment.placebo import detectable, varies
from orpr.files import write_whole
from orpr.provenance import code_commit, command_line, folder_hash
from simulator.panel import F64, I64, Bools, Panel
from simulator.rates import group_codes
from simulator.stock import read_inventory

LEAST_CANARY = 0.01  # of all series, as the service takes


@dataclass(frozen=True)
class DesignSettings:
    """What is asked for; times in days."""

    start: date
    treated: Path | None = None  # file with the treated series
    share: float | None = None  # of all series, drawn, where there is no file
    canary: str | None = None  # version; the share is then what its canary takes
    seed: int = 0
    history_days: int = 182  # before the start
    days: int = 30  # planned length, for the power
    inventory: Path | None = None  # in place of the dataset's file
    metric: str | None = None  # main outcome; the first that can be told and varies where None
    calliper: float = CALLIPER  # standard deviations of the logit
    within_category: bool = False  # a pair shares its category

    def __post_init__(self) -> None:
        if (self.treated is None) == (self.share is None):
            raise ValueError("treated or share: exactly one of them must be given")
        if self.canary is not None and (self.share is None or self.share < LEAST_CANARY):
            raise ValueError(f"canary: say with share how large it will be, at least {LEAST_CANARY}; got {self.share}")
        if self.share is not None and not 0 < self.share <= 0.5:
            raise ValueError(
                f"share must be above 0 and at most 0.5, so that each can have a control, got {self.share}"
            )
        for name in ("history_days", "days", "calliper"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")


def design(panel: Panel, data: Path, settings: DesignSettings) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Choose, match and judge.

    Args:
        panel: the dataset read from `data`; nothing from the start on is read.
        data: its folder.
        settings: what is asked for.

    Returns:
        The assignment, one row per series: `item_id`, `location_id`, `group` (treated, control, left_out), `pair` (number, null without
        one), `propensity`; and everything else as JSON.

    Raises:
        ValueError: naming what is wrong; where no treated series finds a control.
    """
    asked = history_before(panel, settings.start, settings.history_days)
    history = range(asked.start, min(asked.stop, panel.last_recorded + 1))
    on_hand = read_inventory(panel, data, settings.inventory)
    found = covariates_of(panel, on_hand, history)
    category = group_codes(panel.items.category)
    treated = _treated(panel, settings, category, found.volume)
    logit = propensity_logit(found.values, treated)
    calliper = settings.calliper * pooled_deviation(logit, treated)
    pair = nearest_pairs(logit, treated, calliper, category if settings.within_category else None)
    if not (pair >= 0).any():
        raise ValueError(
            f"calliper: no treated series has a control within {settings.calliper} standard deviations of the logit"
        )
    names, columns = [*found.names, "logit of the propensity"], np.column_stack([found.values, logit])
    balance = balance_table(names, columns, treated, pair)
    result = _head(panel, data, settings, history) | {
        "series": panel.series_count, "treated": int(treated.sum()), "pairs": int(pair.max()) + 1,
        "unmatched": int((treated & (pair < 0)).sum()), "calliper_logit": calliper,
        "constant_covariates": found.constant, "balance": [row._asdict() for row in balance],
        "logit": {
            "treated": logit[treated].tolist(), "candidates": logit[~treated].tolist(),
            "control": logit[~treated & (pair >= 0)].tolist(),
        },
        "power": _power(panel, on_hand, settings, history, treated, pair),
    }  # fmt: skip
    return _assignment(panel, treated, pair, logit), finite(result)


def _treated(panel: Panel, settings: DesignSettings, category: I64, volume: F64) -> Bools:
    if settings.treated is not None:
        return read_treated(settings.treated, panel)
    assert settings.share is not None
    if settings.canary is not None:
        return _canary(panel, settings.canary, settings.share)
    return stratified_draw(category, volume, settings.share, np.random.default_rng(settings.seed))


def _canary(panel: Panel, version: str, share: float) -> Bools:
    """The series that a service will give to a version's canary."""
    from service.rollout import members

    treated = np.array(
        members(version, round(100 * share, 9), list(zip(panel.items.item_id, panel.items.location_id, strict=True)))
    )
    if not treated.any():
        raise ValueError(f"share: a canary of {100 * share:g} % of {version} has none of the {len(treated)} series")
    return treated


def _head(panel: Panel, data: Path, settings: DesignSettings, history: range) -> dict[str, Any]:
    return {
        "dataset": panel.name, "command": command_line(), "commit": code_commit(), "data_sha256": folder_hash(data),
        "start": settings.start.isoformat(), "first": panel.date_of(history.start).isoformat(),
        "last": panel.date_of(history.stop - 1).isoformat(), "seed": settings.seed if settings.share and settings.canary is None else None, "canary": settings.canary,
        "within_category": settings.within_category, "calliper": settings.calliper,
    }  # fmt: skip


def _power(
    panel: Panel, on_hand: F64 | None, settings: DesignSettings, history: range, treated: Bools, pair: I64
) -> dict[str, Any]:
    """The smallest effect on the main outcome that the matched pairs would find, or why it cannot be told."""
    told, _ = outcomes_of(panel, on_hand, history, [settings.metric] if settings.metric else [], until=history.stop)
    matched = pair >= 0
    past = [one.values[matched, history.start : history.stop] for one in told]
    outcome, values = next((found for found in zip(told, past, strict=True) if varies(found[1])), (told[0], past[0]))
    head = {"metric": outcome.name, "unit": outcome.unit, "days": settings.days}
    try:
        whole = whole_locations(treated[matched], locations_of(panel)[matched])
        found = detectable(values, treated[matched], settings.days, panel.period_days, clusters=whole)
    except ValueError as error:
        return head | {"not_told": str(error)}
    return head | {"detectable_effect": found.effect, **{k: v for k, v in found._asdict().items() if k != "effect"}}


def _assignment(panel: Panel, treated: Bools, pair: I64, logit: F64) -> pl.DataFrame:
    group = np.where(treated, TREATED, np.where(pair >= 0, CONTROL, LEFT_OUT))
    return pl.DataFrame(
        {
            "item_id": panel.items.item_id.tolist(), "location_id": panel.items.location_id.tolist(),
            "group": group.tolist(), "pair": [int(p) if p >= 0 else None for p in pair],
            "propensity": 1 / (1 + np.exp(-np.clip(logit, -700, 700))),
        },
        schema={"item_id": pl.String, "location_id": pl.String, "group": pl.String, "pair": pl.Int64, "propensity": pl.Float64},
    )  # fmt: skip


def write_design(assignment: pl.DataFrame, result: dict[str, Any], out: Path) -> list[Path]:
    """`assignment.parquet`, `balance.csv`, `design.json`, `love.png`, `propensity.png`."""
    from orpr.experiment.pictures import draw_love, draw_propensity

    names = ("assignment.parquet", "balance.csv", "design.json", "love.png", "propensity.png")
    paths = [out / name for name in names]
    provenance = {name: result[name] for name in ("start", "command", "commit", "data_sha256", "seed")}
    write_whole({paths[0]: assignment}, {"orpr": json.dumps(provenance)})
    pl.DataFrame(result["balance"], infer_schema_length=None).write_csv(paths[1])
    paths[2].write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    draw_love(result, paths[3])
    draw_propensity(result, paths[4])
    return paths


def finite(value: Any) -> Any:
    """The same with null for what is not a number, as JSON has none; NumPy numbers become Python's."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, np.ndarray):
        return finite(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
