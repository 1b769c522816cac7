"""`orpr score`: one decision for every series of a dataset, as FORMAT's acceptance command says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from orpr.files import write_whole
from service.bundle import resolve_bundle
from service.decide import Answer, answer_of, decide
from service.policy import Policy, PolicyAnswer
from simulator.baselines import expected_by
from simulator.canonical import DataError, Problem, read_history, with_stock
from simulator.observation import Observation, ObservationSpec, Observer, beyond_horizon
from simulator.ordering import rules_of
from simulator.panel import Bools, Panel
from simulator.rates import rate_sources
from simulator.schedule import review_schedule
from simulator.step import State

CHUNK = 512


class Scored(NamedTuple):
    """What was written."""

    series: int
    set_aside: int
    as_of: date
    version: str


def score(
    data: Path, policy_name: str, out: Path, *, progress: Callable[[str, int, int], None], state: Path | None = None, open_orders: Path | None = None,
    as_of: date | None = None, quarantine: Path | None = None,
) -> Scored:  # fmt: skip
    """Decide every series at the end of a period and write the answers.

    Args:
        data: canonical dataset.
        policy_name: bundle path, version or alias.
        out: Parquet file to write.
        state, open_orders: replace the dataset's own files.
        as_of: a day of the period at whose end is decided; the last recorded one where None.
        quarantine: where given, series with bad data are set aside in this file and the rest is answered.
        progress: called as (stage, done, total).

    Raises:
        DataError: where data is bad and no quarantine is given, or no stock is known.
        PolicyNotFound: where there is no such policy.
    """
    problems: list[Problem] = []
    aside = problems if quarantine is not None else None
    panel = read_history(data, set_aside=aside)
    t = period_at(panel, as_of)
    panel = with_stock(panel, data, state=state, open_orders=open_orders, as_of=t, set_aside=aside)
    panel = _with_known_stock(panel, aside, state.name if state else "state.parquet")
    policy = _policy(policy_name, panel.period_days)
    observer = Observer(panel, policy.spec)
    rows = np.arange(panel.series_count)
    far = beyond_horizon(panel, policy.spec)
    parts: list[PolicyAnswer] = []
    for at in range(0, len(rows), CHUNK):
        chunk = rows[at : at + CHUNK]
        stock = State(panel.on_hand[chunk], panel.open_orders[chunk])
        seen = observer.observe(chunk, np.full(len(chunk), t), stock)
        parts.append(_with_base_stock(policy.answer(seen), seen, policy.spec, far[chunk]))
        progress("score", min(at + CHUNK, len(rows)), len(rows))
    answer = answer_of(PolicyAnswer(*(np.concatenate(column) for column in zip(*parts, strict=True))))
    table = _table(panel, observer, answer, t, policy.ordering_mode, policy.version)
    files = {out: table}
    if quarantine is not None:
        files[quarantine] = problem_table(problems)
    write_whole(files)
    return Scored(panel.series_count, len({p.series for p in problems}), panel.date_of(t), policy.version)


def period_at(panel: Panel, as_of: date | None) -> int:
    """The as-of period.

    Raises:
        ValueError: for a day outside the recorded history.
    """
    last = panel.last_recorded
    if last < 0:
        raise DataError([Problem("demand.parquet", "units_sold", None, "", "no sale is recorded at all")])
    if as_of is None:
        return last
    t = panel.period_of(as_of)
    if not 0 <= t <= last:
        raise ValueError(f"as-of must lie between {panel.start} and {panel.date_of(last)}, got {as_of}")
    return t


def _with_base_stock(answer: PolicyAnswer, seen: Observation, spec: ObservationSpec, far: Bools) -> PolicyAnswer:
    """The answer with a gamma base stock for the orders `far`, which have to last longer than the policy looks ahead."""
    if not far.any():
        return answer
    target, rate = expected_by(seen, spec).base_stock, answer.daily_rate
    days = np.divide(target, rate, out=np.zeros_like(target), where=rate > 0).astype(np.float32)
    named = ("inventory_days", "inventory_days_p10", "inventory_days_p90")
    return answer._replace(**{name: np.where(far, days, getattr(answer, name)) for name in named})


def _policy(name: str, period_days: int) -> Policy:
    policy = Policy(resolve_bundle(name, period_days))
    if policy.period_days != period_days:
        raise ValueError(
            f"policy {policy.version} decides for periods of {policy.period_days} days, the data has {period_days}"
        )
    return policy


def _with_known_stock(panel: Panel, aside: list[Problem] | None, file: str) -> Panel:
    missing = np.flatnonzero(np.isnan(panel.on_hand))
    if not len(missing):
        return panel
    items = panel.items
    problems = [
        Problem(file, "on_hand", None, panel.names[n], "no stock is given for this series",
                (items.item_id[n], items.location_id[n]))
        for n in missing
    ]  # fmt: skip
    if aside is None or len(missing) == panel.series_count:
        raise DataError(problems)
    aside += problems
    return panel.take(np.flatnonzero(np.isfinite(panel.on_hand)))


def _table(panel: Panel, observer: Observer, answer: Answer, t: int, mode: str, version: str) -> pl.DataFrame:
    nobody: list[None] = [None] * panel.series_count
    rules = rules_of(panel, on=panel.date_of(t))
    made = decide(
        answer, panel.on_hand, panel.open_orders.sum(axis=1), rules, mode, list(nobody), np.zeros(len(nobody))
    )
    sources = rate_sources(panel, observer.rates, t)
    return pl.DataFrame(
        {
            "item_id": list(panel.items.item_id),
            "location_id": list(panel.items.location_id),
            "as_of": [panel.date_of(t)] * panel.series_count,
            "inventory_days": made.inventory_days,
            "daily_rate": made.daily_rate,
            "target_stock": made.target_stock,
            "inventory_position": made.inventory_position,
            "raw_order_quantity": made.order.raw_order_quantity,
            "order_quantity": made.order.order_quantity,
            "review_due": review_schedule(panel, range(t, t + 1)).due[:, 0],
            "source": [
                who if s == "history" else f"{who}, rate from {s}"
                for who, s in zip(_who(panel, observer, answer), sources, strict=True)
            ],
            "policy_version": [version] * panel.series_count,
        }
    )


def _who(panel: Panel, observer: Observer, answer: Answer) -> list[str]:
    far = beyond_horizon(panel, observer.spec)
    return ["baseline" if beyond else answer.source for beyond in far]


def problem_table(problems: list[Problem]) -> pl.DataFrame:
    """What was set aside and why."""
    rows = [
        {"item_id": (p.series or ("", ""))[0], "location_id": (p.series or ("", ""))[1], "file": p.file,
         "column": p.column, "row": p.row, "value": p.value, "reason": p.message}
        for p in problems
    ]  # fmt: skip
    schema = {"item_id": pl.String, "location_id": pl.String, "file": pl.String, "column": pl.String,
              "row": pl.Int64, "value": pl.String, "reason": pl.String}  # fmt: skip
    return pl.DataFrame(rows, schema=schema)
