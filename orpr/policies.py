"""Policies from anywhere: a bundle, a Python function, or a service, all as functions that a backtest can replay.

A Python function gets one dict of what may be seen at the end of a period and answers with another:

    def decide(seen):
        return {"inventory_days": 1.5 * (seen["lead_time_days"] + seen["review_period_days"])}

`seen` holds the fields of `simulator.observation.FIELDS`, each (B,) or (B, length), NaN where unknown: among them the
stock `on_hand` (B,) and the open orders `on_order` (B, horizon) by period of arrival; besides, `item_id` and
`location_id` (B,) texts. The answer holds `inventory_days` (B,) with
or without `daily_rate` (B,) units a day (ours where absent), or `target_stock` (B,) units, which wins over both.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from orpr.remote import RemotePolicy
from service.bundle import resolve_bundle
from service.policy import Policy
from simulator.observation import Observer
from simulator.panel import F64, I64
from simulator.step import State
from training.backtest import Contender, Decide
from training.methods import forecast_base_stock

SeenPolicy = Callable[[dict[str, Any]], Mapping[str, Any]]
ANSWERS = ("inventory_days", "daily_rate", "target_stock")
BUNDLE_ROW = "DL"
URLS = ("http://", "https://")


class Source(NamedTuple):
    """One policy as the command line names it."""

    row: str  # the row of the table; policies of one row are runs of one recipe
    run: str
    loaded: Policy | SeenPolicy | RemotePolicy
    bundle: Path | None = None  # its folder


def load_policy(spec: str, period_days: int) -> Source:
    """The policy that `[ROW=]WHERE` names.

    WHERE is a bundle's path, version or alias, `module:function` or `file.py:function`, or the URL of a service. ROW is
    the name of its row in the table: `DL` for bundles and WHERE, without folders, for the rest unless given.

    Raises:
        ValueError: where a function cannot be found.
        PolicyNotFound, BundleRefused: where a bundle cannot be used.
    """
    row, where = _named(spec)
    if where.startswith(URLS):
        remote = RemotePolicy(where)
        return Source(row or remote.name, remote.name, remote)
    if ":" in where and not Path(where).exists():
        return Source(row or Path(where).name, where, _function(where))
    bundle = resolve_bundle(where, period_days)
    policy = Policy(bundle)
    return Source(row or BUNDLE_ROW, policy.version, policy, bundle)


def contenders_of(source: Source) -> list[Contender]:
    """What a backtest replays of it; a bundle also stands as a PTO on its own forecast. Made anew for every replay."""
    if isinstance(source.loaded, Policy):
        decide, on_forecast = _bundle_decides(source.loaded)
        forecast_row = f"PTO gamma, {source.row} forecast"
        return [
            Contender(source.row, source.run, decide),
            Contender(forecast_row, f"{source.run} forecast", on_forecast),
        ]
    if isinstance(source.loaded, RemotePolicy):
        return [Contender(source.row, source.run, source.loaded.decide)]
    return [Contender(source.row, source.run, _seen_decide(source.run, source.loaded))]


def _named(spec: str) -> tuple[str, str]:
    found = re.fullmatch(r"([^=:/]+)=(.+)", spec)
    return ("", spec) if found is None or Path(spec).exists() else (found[1].strip(), found[2])


# -------------------------------------------------------------------------------------------------------------- bundles


def _bundle_decides(policy: Policy) -> tuple[Decide, Decide]:
    """The bundle's own targets, and the base stock on its forecast, which no stock changes: the graph runs once."""
    known: dict[int, F64] = {}

    def own(observer: Observer, rows: I64, t: int, state: State) -> F64:
        periods = np.full(len(rows), t)
        answer = policy.answer(observer.observe(rows, periods, state))
        known[t] = forecast_base_stock(observer.panel, rows, periods, answer.forecast)
        return answer.inventory_days.astype(np.float64) * answer.daily_rate

    def on_forecast(observer: Observer, rows: I64, t: int, state: State) -> F64:
        if t not in known:
            own(observer, rows, t, state)
        return known[t]

    return own, on_forecast


# ------------------------------------------------------------------------------------------------------------ functions


def _function(where: str) -> SeenPolicy:
    place, name = where.rsplit(":", 1)
    try:
        module = _file_module(Path(place)) if place.endswith(".py") else _named_module(place)
    except Exception as error:  # whatever a foreign module raises on import
        raise ValueError(f"policy {where}: {place} cannot be imported ({type(error).__name__}: {error})") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"policy {where}: {place} has no function {name!r}")
    return function  # type: ignore[no-any-return]


def _named_module(name: str) -> object:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    return importlib.import_module(name)


def _file_module(path: Path) -> object:
    if not path.is_file():
        raise ValueError("there is no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _seen_decide(name: str, function: SeenPolicy) -> Decide:
    def decide(observer: Observer, rows: I64, t: int, state: State) -> F64:
        items, day = observer.panel.items, observer.panel.date_of(t)
        seen: dict[str, Any] = dict(observer.observe(rows, np.full(len(rows), t), state))
        seen |= {"item_id": items.item_id[rows], "location_id": items.location_id[rows]}
        try:
            answer = function(seen)
        except Exception as error:
            raise RuntimeError(f"policy {name} failed on {day}: {type(error).__name__}: {error}") from error
        values = _checked(answer, observer, rows, f"policy {name} on {day}")
        if "target_stock" in values:
            return values["target_stock"]
        rate: F64 = observer.rates.daily_rate[rows, t]
        return values["inventory_days"] * values.get("daily_rate", rate)

    return decide


def _checked(answer: object, observer: Observer, rows: I64, who: str) -> dict[str, F64]:
    """The answer as arrays.

    Raises:
        ValueError: naming the field, what is wrong with it, and the first series that has it.
    """
    if not isinstance(answer, Mapping) or not {"inventory_days", "target_stock"} & answer.keys():
        raise ValueError(f"{who}: the answer must be a dict with inventory_days or target_stock, got {answer!r:.80}")
    unknown = sorted(str(key) for key in answer.keys() - set(ANSWERS))
    if unknown:
        raise ValueError(f"{who}: the answer may hold {', '.join(ANSWERS)}, got {', '.join(unknown)}")
    checked: dict[str, F64] = {}
    for field, given in answer.items():
        try:
            values = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{who}: {field} must be numbers, got {given!r:.80}") from None
        if values.shape != (len(rows),):
            raise ValueError(f"{who}: {field} must have shape ({len(rows)},), got {values.shape}")
        bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
        if len(bad):
            series = observer.panel.names[int(rows[bad[0]])]
            raise ValueError(f"{who}: {field} must be finite and at least 0, got {values[bad[0]]} for {series}")
        checked[field] = values
    return checked
