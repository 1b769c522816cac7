"""One outcome of one experiment, measured in every way that the report shows. Arrays in, JSON out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from orpr.experiment.effects import (
    LEVEL,
    Estimate,
    difference_in_differences,
    difference_of_means,
    event_study,
    on_the_treated,
)
from orpr.experiment.placebo import permutation, placebo_start, varies
from simulator.panel import F64, I64, Bools, Panel

RESAMPLES = 2000
DOUBTFUL = 0.05  # p-value of the leads or of a placebo below which the effect is in doubt


class Measured(NamedTuple):
    """An outcome of M series over the periods before the start and, from column `start` on, after it."""

    values: F64  # (M, T) NaN where unknown
    treated: Bools  # (M,)
    pair: I64 | None  # (M,)
    start: int
    location: I64 | None = None  # (M,) numbers of locations

    @property
    def clusters(self) -> I64 | None:
        """(M,) locations, where each is treated as a whole or not at all; else None, and each series counts for itself."""
        return None if self.location is None else whole_locations(self.treated, self.location)

    @property
    def after(self) -> Bools:
        """(T,)"""
        return np.arange(self.values.shape[1]) >= self.start

    def complete(self) -> tuple[Measured, Bools]:
        """Only series with observations before and after, in whole pairs; and which those are (M,)."""
        known = np.isfinite(self.values)
        kept: Bools = np.logical_and(known[:, : self.start].any(axis=1), known[:, self.start :].any(axis=1))
        if self.pair is not None:
            kept = np.logical_and(kept, ~np.isin(self.pair, self.pair[~kept]))
        pair, location = (None if one is None else one[kept] for one in (self.pair, self.location))
        return Measured(self.values[kept], self.treated[kept], pair, self.start, location), kept


def locations_of(panel: Panel) -> I64:
    """(N,) the number of each series' location."""
    return np.unique(panel.items.location_id.astype(str), return_inverse=True)[1].astype(np.int64)


def whole_locations(treated: Bools, location: I64) -> I64 | None:
    """What may hang together: locations that have a bad week have it with all their series.

    Args:
        treated: (M,).
        location: (M,) numbers of locations.

    Returns:
        (M,) the locations, where none has series of both groups and one has several; else None.
    """
    both = np.intersect1d(location[treated], location[~treated])
    return None if len(both) or len(np.unique(location)) == len(location) else location


def measure(
    outcome: Measured, *, bin_periods: int, gap: int, permutations: int, rng: np.random.Generator,
    exposed: Bools | None,
) -> dict[str, Any]:  # fmt: skip
    """Table, difference in differences, event study and placebos of one outcome.

    Args:
        outcome: M series.
        bin_periods: periods of a bin of the event study.
        gap: periods between before and after that were left out.
        permutations: draws of placebo treatments.
        rng: draws them.
        exposed: (M,) who was really treated; None where nobody knows.

    Raises:
        ValueError: where too few series can be measured, or the outcome never varies.
    """
    used, kept = outcome.complete()
    values, treated, after = used.values, used.treated, used.after
    if values.size and not varies(values):
        raise ValueError("it is the same for every series and period")
    by = used.clusters
    effect = difference_in_differences(values, treated, after, clusters=by)
    by_pair = None if used.pair is None else difference_in_differences(values, treated, after, clusters=used.pair)
    means = _means(values, treated, after)
    result: dict[str, Any] = {
        "series": len(values), "left_out": len(outcome.values) - len(values),
        "clustered_by": "series" if by is None else "location", "means": means,
        "difference_before": difference_of_means(values[:, ~after], treated, clusters=by)._asdict(),
        "difference_after": difference_of_means(values[:, after], treated, clusters=by)._asdict(),
        "difference_after_relative": _relative(means["treated"]["after"], means["control"]["after"]),
        "did": effect._asdict(), "did_relative": _against(effect, means["treated"]["after"]),
        "did_std_error_by_pair": by_pair.std_error if by_pair else None,
        "event_study": _or_why(lambda: _event_study(used, bin_periods, gap)),
        "placebo_start": _or_why(lambda: _placebo(used)),
        "permutation": permutation(values, treated, after, used.pair, permutations, rng, clusters=by)._asdict(),
        "on_the_treated": None,
    }  # fmt: skip
    if exposed is not None and not np.array_equal(exposed[kept], treated):
        taken = exposed[kept]
        result["on_the_treated"] = _or_why(lambda: on_the_treated(values, treated, taken, after, clusters=by)._asdict())
    return result


def _or_why(part: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A part that there are not enough periods, series or differences for says so; the effect stands without it."""
    try:
        return part()
    except ValueError as error:
        return {"not_told": str(error)}


def _means(values: F64, treated: Bools, after: Bools) -> dict[str, dict[str, float]]:
    return {
        name: {
            "before": float(np.nanmean(values[group][:, ~after])),
            "after": float(np.nanmean(values[group][:, after])),
        }
        for name, group in (("treated", treated), ("control", ~treated))
    }


def _relative(ours: float, theirs: float) -> float:
    return ours / theirs - 1 if theirs != 0 else float("nan")


def _against(effect: Estimate, after: float) -> dict[str, float]:
    """The effect and its ends against what the treated would have had without it."""
    without = after - effect.effect
    return {
        name: getattr(effect, name) / without if without > 0 else float("nan") for name in ("effect", "low", "high")
    }


def _event_study(used: Measured, size: int, gap: int) -> dict[str, Any]:
    """Whole bins, counted from the start in both directions, in which both groups were seen."""
    total = used.values.shape[1]
    edges = [used.start - size * k for k in range(used.start // size, 0, -1)]
    edges += [used.start + size * k for k in range((total - used.start) // size)]
    binned = _known_mean([used.values[:, edge : edge + size] for edge in edges]) if edges else used.values[:, :0]
    ours, theirs = (np.isfinite(binned[rows]).any(axis=0) for rows in (used.treated, ~used.treated))
    seen: Bools = np.logical_and(ours, theirs)
    binned, edges = binned[:, seen], [edge for edge, both in zip(edges, seen, strict=True) if both]
    before = sum(edge < used.start for edge in edges)
    if before < 2 or before == len(edges):
        raise ValueError(
            f"bins of {size} periods: {before} before the start and {len(edges) - before} after it, 2 and 1 are needed"
        )
    kept = np.isfinite(binned[:, :before]).any(axis=1) & np.isfinite(binned[:, before:]).any(axis=1)
    by = None if used.clusters is None else used.clusters[kept]
    found = event_study(binned[kept], used.treated[kept], before - 1, np.arange(before - 1), clusters=by)
    groups = {"treated": used.treated, "control": ~used.treated}
    return {
        "offsets": [edge - used.start + (gap if edge >= used.start else 0) for edge in edges], "before": before,
        **found._asdict(), **{name: np.nanmean(binned[rows], axis=0) for name, rows in groups.items()},
    }  # fmt: skip


def _known_mean(parts: list[F64]) -> F64:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a bin without observations has the mean NaN
        return np.column_stack([np.nanmean(part, axis=1) for part in parts])


def _placebo(used: Measured) -> dict[str, Any]:
    """A made-up start in the middle of what lies before the real one."""
    period = used.start // 2
    past = used.values[:, : used.start]
    return {"period": period, **placebo_start(past, used.treated, period, clusters=used.clusters)._asdict()}


def pooled_turnover(
    stock: F64, sales: F64, treated: Bools, pair: I64 | None, start: int, rng: np.random.Generator, *,
    clusters: I64 | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Turnover of each group as a whole: its stock over its sales of the same phase, as in the paper's tables 3 and 4.

    Intervals are of a bootstrap over pairs, or over the series or clusters of each group where there are none.

    Args:
        stock: (M, T) units at the periods' ends, NaN where unknown.
        sales: (M, T) units a day, NaN in the same places.
        treated: (M,).
        pair: (M,) or None.
        start: first column after the start.
        rng: draws the resamples.
        clusters: (M,) numbers of what is drawn as a whole; pairs say nothing then.
    """
    sums = np.stack(
        [np.nansum(x[:, cut], axis=1) for cut in (slice(start), slice(start, None)) for x in (stock, sales)]
    )
    if clusters is not None:
        _, first, of_series = np.unique(clusters, return_index=True, return_inverse=True)
        sums = np.stack([np.bincount(of_series, one) for one in sums])
        treated, pair = treated[first], None
    ours, theirs = np.flatnonzero(treated), np.flatnonzero(~treated)
    if pair is not None:
        ours, theirs = ours[np.argsort(pair[ours])], theirs[np.argsort(pair[theirs])]
    points = _turnovers(sums, ours[None, :], theirs[None, :])[:, 0]
    first = rng.integers(0, len(ours), (RESAMPLES, len(ours)))
    second = first if pair is not None else rng.integers(0, len(theirs), (RESAMPLES, len(theirs)))
    drawn = _turnovers(sums, ours[first], theirs[second])
    named = dict(
        zip(("treated_before", "control_before", "treated_after", "control_after"), points.tolist(), strict=True)
    )
    return named | {
        "difference_after": _with_interval(points[2] - points[3], drawn[2] - drawn[3]),
        "difference_after_relative": _relative(points[2], points[3]),
        "did": _with_interval(_double(points), _double(drawn)), "resamples": RESAMPLES,
    }  # fmt: skip


def _turnovers(sums: F64, ours: I64, theirs: I64) -> F64:
    """(4, B) days: treated and control before, treated and control after."""
    rows = [
        sums[2 * phase][group].sum(axis=1) / np.maximum(sums[2 * phase + 1][group].sum(axis=1), 1e-12)
        for phase in (0, 1)
        for group in (ours, theirs)
    ]
    return np.stack(rows)


def _double(turnovers: F64) -> Any:
    return turnovers[2] - turnovers[0] - (turnovers[3] - turnovers[1])


def _with_interval(effect: float, drawn: F64) -> dict[str, float]:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"effect": float(effect), "low": float(low), "high": float(high)}
