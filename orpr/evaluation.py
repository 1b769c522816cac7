"""`orpr backtest`: policies and a dataset in, every method under every scenario as plain values out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from orpr.policies import Source, contenders_of, load_policy
from orpr.provenance import code_commit, folder_hash
from orpr.remote import RemotePolicy
from service.policy import Policy
from simulator.canonical import read_panel
from simulator.panel import I64, Panel, test_window
from simulator.stock import read_inventory, read_orders
from training.backtest import Backtest, backtest
from training.backtest_values import as_json
from training.methods import CATEGORY_MEAN, GBM_PICKED, Replay, replay_of
from training.scenarios import (
    AS_GIVEN,
    COLD,
    LEAD_TIMES,
    SCENARIOS,
    apply_scenario,
    drawn_lead_times,
    new_series,
    orders_before,
)

Report = Callable[[str, int, int], None]


class Evaluation(NamedTuple):
    """What `orpr backtest` found."""

    result: dict[str, Any]  # JSON values; see docs/backtest.md
    replayed: Backtest  # the dataset as given, for the figures


def run_backtest(
    data: Path, policies: Sequence[str], test_days: int, seed: int, progress: Report, *, command: str,
    replay: str = "sales", scenarios: Sequence[str] = (), min_in_stock: float = 0.0, restarts: int = 1,
) -> Evaluation:  # fmt: skip
    """Replay all methods on the last `test_days` of a dataset, as it is and under each scenario.

    Args:
        data: canonical dataset.
        policies: `[ROW=]WHERE` each; see `orpr.policies.load_policy`.
        test_days: length of the window at the end of the history.
        seed: of the bootstrap and the boosted trees.
        progress: called as (stage, step, steps).
        command: the command line that asked for this.
        replay: `sales` or `recovered`.
        scenarios: of `training.scenarios.SCENARIOS`.
        min_in_stock: judge no series that was in stock for a smaller share of the window, whose sales hide demand; methods
            learn from it all the same, as nobody knows beforehand.
        restarts: so many windows of `test_days` one after another, the last at the end; each opens anew, and what happens
            before its first orders can arrive does not count where there are several.

    Raises:
        ValueError: when a policy was trained on part of the window, or a name is not known.
    """
    _check_asked(scenarios, restarts)
    panel = read_panel(data)
    window = test_window(panel, test_days * restarts)
    each = len(window) // restarts
    sources = _sources(policies, panel, window)
    supplied = _in_stock(panel, window, min_in_stock)
    inventory = read_inventory(panel, data)
    orders = orders_before(panel, window, read_orders(panel, data)) if LEAD_TIMES in scenarios else None
    made: list[dict[str, Any]] = []
    found: list[Backtest] = []
    for name in (AS_GIVEN, *dict.fromkeys(scenarios)):
        changed, words = apply_scenario(panel, name, window.start)
        contenders = [contender for source in sources for contender in contenders_of(source)]
        replays = [replay_of(changed, range(start, start + each), replay) for start in window[::each]]
        replays = [_judging(replayed, supplied, new_series(panel) if name in COLD else None) for replayed in replays]
        if name == LEAD_TIMES and orders is not None:
            drawn = [drawn_lead_times(replayed, orders, seed) for replayed in replays]
            replays, words = [replayed for replayed, _ in drawn], drawn[0][1]
        words += _restarted(restarts, each)
        found.append(backtest(replays, contenders, _named(progress, name), seed=seed, inventory=inventory))
        made.append({"scenario": name, "rules": words} | as_json(found[-1]))
    result, *others = made
    for source in sources:
        result["runs"][source.run] |= _about(source)
    result |= {"command": command, "commit": code_commit(), "data_sha256": folder_hash(data), "scenarios": others}
    return Evaluation(result, found[0])


def _sources(policies: Sequence[str], panel: Panel, window: range) -> list[Source]:
    """The policies, none of which was trained on part of the window."""
    sources = [load_policy(spec, panel.period_days) for spec in policies]
    _check_names(sources)
    for source in sources:
        _check_cut_off(source, panel, window)
    return sources


def _check_asked(scenarios: Sequence[str], restarts: int) -> None:
    for name in scenarios:
        if name not in SCENARIOS:
            raise ValueError(f"scenario must be one of {', '.join(SCENARIOS)}, got {name!r}")
    if restarts < 1:
        raise ValueError(f"restarts must be at least 1, got {restarts}")


def _restarted(windows: int, each: int) -> str:
    """The rules of several windows in words."""
    if windows == 1:
        return ""
    return f"; {windows} windows of {each} periods, each from a fresh opening stock and without what its first orders cannot change"


def _named(progress: Report, scenario: str) -> Report:
    if scenario == AS_GIVEN:
        return progress
    return lambda stage, step, steps: progress(f"{stage}, {scenario}", step, steps)


def _judging(replay: Replay, supplied: I64 | None, new: I64 | None) -> Replay:
    """The replay with the series that its results are about, and the row that this choice calls for."""
    if new is None:
        return replay if supplied is None else replay._replace(judged=supplied, beside=GBM_PICKED)
    judged = new if supplied is None else np.intersect1d(new, supplied)
    if not len(judged):
        raise ValueError("min_in_stock leaves none of the new series of a cold start")
    return replay._replace(judged=judged, beside=CATEGORY_MEAN)


def _in_stock(panel: Panel, window: range, least: float) -> I64 | None:
    """The series whose mean `in_stock` over the window is at least `least`, unknown counts as in stock; None: all."""
    if not 0 <= least <= 1:
        raise ValueError(f"min_in_stock must lie between 0 and 1, got {least}")
    share = np.nan_to_num(panel.in_stock[:, window.start : window.stop], nan=1.0).mean(axis=1)
    kept = np.flatnonzero(share >= least)
    if not len(kept):
        raise ValueError(f"min_in_stock {least} leaves no series; the largest share is {share.max():.3f}")
    return None if len(kept) == panel.series_count else kept


def _check_names(sources: list[Source]) -> None:
    names = [source.run for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"policy: {', '.join(twice)} is named twice")


def _check_cut_off(source: Source, panel: Panel, window: range) -> None:
    """A policy must not have seen the window. Of datasets that it was not trained on its contract says nothing."""
    if not isinstance(source.loaded, Policy):
        return
    seen = source.loaded.contract["training_cut_offs"].get(panel.name)
    if seen is not None and date.fromisoformat(seen) >= panel.date_of(window.start):
        raise ValueError(
            f"policy {source.run} was trained on {panel.name} up to {seen}, "
            f"the window starts on {panel.date_of(window.start)}"
        )


def _about(source: Source) -> dict[str, Any]:
    """Where a run comes from, as far as it tells."""
    if isinstance(source.loaded, RemotePolicy):
        remote = source.loaded
        return {
            "kind": "service", "version": remote.version, "answers": remote.answers,
            "overrides_set_aside": remote.overridden, "answered_by_baseline": remote.from_baseline,
        }  # fmt: skip
    if not isinstance(source.loaded, Policy):
        return {"kind": "function"}
    manifest = source.loaded.manifest
    config = manifest["config"]
    return {
        "kind": "bundle", "version": source.loaded.version, "seed": config["seed"], "config": config["name"],
        "training_cut_offs": manifest["training_cut_offs"], "commit": manifest["commit"],
        "parameters": manifest["parameters"], "command": manifest.get("command"), "learning": _learning(source),
    }  # fmt: skip


def _learning(source: Source) -> dict[str, Any]:
    """How the bundle's training went; empty where its folder does not tell. Serving never reads this file."""
    assert source.bundle is not None
    path = source.bundle / "report.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
