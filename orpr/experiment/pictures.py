"""Draws the pictures of a design and of a report from the values that are stored beside them. Computes nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

from orpr.experiment.matching import UNBALANCED
from orpr.experiment.words import NAMES, percent
from training.pictures import picture

TREATED, CONTROL, SHADE = "#c03d3e", "#3a6ea5", "#eeeeee"
MOST = 100  # percent, where the axis of effects ends
MOST_ROWS = 40  # of a Love plot


def draw_love(result: dict[str, Any], path: Path) -> None:
    """Absolute standardised differences before and after matching, of the covariates that differ most."""
    worst = sorted(
        result["balance"],
        key=lambda row: -np.nanmax([_size(row["difference_before"]), _size(row["difference_after"]), 0.0]),
    )
    rows = sorted(worst[:MOST_ROWS], key=lambda row: abs(row["difference_before"] or 0))
    more = f", {len(worst) - len(rows)} covariates that differ less are not shown" if len(worst) > len(rows) else ""
    place = np.arange(len(rows))
    with picture(path, 1, 1, (8, 0.28 * len(rows) + 1.6)) as axes:
        axis = axes[0, 0]
        before = [_size(row["difference_before"]) for row in rows]
        after = [_size(row["difference_after"]) for row in rows]
        axis.axvspan(0, UNBALANCED, color=SHADE, zorder=0)
        axis.hlines(place, before, after, color="#bbbbbb", lw=1)
        axis.plot(before, place, "o", color="white", mec=CONTROL, ms=6, label="all candidates for control")
        axis.plot(after, place, "o", color=TREATED, ms=6, label="matched pairs")
        axis.set_yticks(place, [row["covariate"] for row in rows], fontsize=8)
        axis.set_xlim(0, max(1.2 * UNBALANCED, axis.get_xlim()[1]))
        axis.set_xlabel(f"absolute standardised mean difference (shaded: up to {UNBALANCED})")
        axis.set_title(f"{result['dataset']}: balance of {result['pairs']} pairs{more}", fontsize=11)
        axis.legend(frameon=False, fontsize=8, loc="lower right")


def _size(value: float | None) -> float:
    return np.nan if value is None else abs(value)


def draw_propensity(result: dict[str, Any], path: Path) -> None:
    """Figure 7: log odds of being treated, before and after matching."""
    logit = {name: np.array(values) for name, values in result["logit"].items()}
    edges = np.histogram_bin_edges(np.concatenate([logit["treated"], logit["candidates"]]), "auto")
    with picture(path, 1, 2, (9, 3.4), sharex=True) as axes:
        for axis, name, title in zip(
            axes[0], ("candidates", "control"), ("before matching", "after matching"), strict=True
        ):
            axis.hist(logit["treated"], edges, density=True, color=TREATED, alpha=0.5, label="treated")
            axis.hist(logit[name], edges, density=True, color=CONTROL, alpha=0.5, label="control")
            axis.set_title(title, fontsize=10)
            axis.set_xlabel("log odds of being treated")
            axis.legend(frameon=False, fontsize=8)
        axes[0, 0].set_ylabel("density")


def draw_effects(result: dict[str, Any], path: Path) -> None:
    """The difference in differences of every outcome, relative to what the treated would have had."""
    rows = [one for one in result["outcomes"] if one["did_relative"]["effect"] is not None][::-1]
    with picture(path, 1, 1, (8, 0.45 * max(len(rows), 1) + 1.3)) as axes:
        axis = axes[0, 0]
        axis.axvline(0, color="#999999", lw=1)
        for at, one in enumerate(rows):
            low, middle, high = (
                np.clip(100 * one["did_relative"][end], -MOST, MOST) for end in ("low", "effect", "high")
            )
            axis.plot([low, high], [at, at], color=TREATED, lw=2)
            axis.plot(middle, at, "o" if abs(middle) < MOST else ">" if middle > 0 else "<", color=TREATED, ms=7)
            axis.text(
                1.02, at, percent(one["did_relative"]["effect"]), transform=axis.get_yaxis_transform(), va="center"
            )
        axis.set_yticks(range(len(rows)), [NAMES[one["metric"]] for one in rows])
        axis.set_xlim(-MOST * 1.02, MOST * 1.02)
        axis.margins(y=0.25)
        axis.set_xlabel(
            "difference in differences, % of what would have been, 95 % interval by series (cut off at 100 %)"
        )
        axis.set_title(f"{result['dataset']}, {result['after'][0]} to {result['after'][1]}", fontsize=11)


def draw_outcome(one: dict[str, Any], result: dict[str, Any], path: Path) -> None:
    """Above the means of both groups, below the event study."""
    study = one["event_study"]
    scale = 100 if one["metric"] == "in_stock_rate" else 1
    with picture(path, 2, 1, (9, 6), sharex=True) as axes:
        means, effects = axes[:, 0]
        means.set_title(f"{NAMES[one['metric']]}, means of the groups", fontsize=10)
        effects.set_title("treated less control, against the last bin before the start", fontsize=10)
        middle_day = timedelta(days=result["bin_days"] / 2)
        days = [datetime.fromisoformat(day) + middle_day for day in study["dates"]]
        for name, colour in (("treated", TREATED), ("control", CONTROL)):
            means.plot(days, _scaled(study[name], scale), color=colour, marker="o", ms=4, lw=1.6, label=name)
        middle, low, high = (_scaled(study[name], scale) for name in ("effect", "low", "high"))
        effects.errorbar(days, middle, (middle - low, high - middle), fmt="o", color=TREATED, ms=5, lw=1.2, capsize=2)
        effects.axhline(0, color="#999999", lw=1)
        unit = "% of periods" if scale == 100 else one["unit"]
        means.set_ylabel(unit, fontsize=9)
        effects.set_ylabel("percentage points" if scale == 100 else unit, fontsize=9)
        effects.set_xlabel(f"middle of bins of {result['bin_days']} days; dashed: the start")
        locator = AutoDateLocator()  # type: ignore[no-untyped-call]
        effects.xaxis.set_major_locator(locator)
        effects.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        for axis in (means, effects):
            _mark_start(axis, datetime.fromisoformat(result["start"]))
        means.legend(frameon=False, fontsize=8)


def _scaled(values: list[float | None], scale: int) -> Any:
    return scale * np.array([np.nan if value is None else value for value in values])


def _mark_start(axis: Axes, start: datetime) -> None:
    axis.axvline(float(date2num(start)), color="#333333", lw=1, ls="--")  # type: ignore[no-untyped-call]
    axis.grid(axis="y", color="#e5e5e5", lw=0.6)
    axis.set_axisbelow(True)
