"""Overrides settled: which decisions followed one, what the history says of the time after, and the sums.

What a settlement is stands in `service.settling`. A decision is settled once the history holds every period that it counts. Of a
series that is no longer recorded that is so a week later than of one that is: what is missing then was not sold.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from service.asked import state_of
from service.datasets import Dataset
from service.decided import rules_then, span_then, stock_then
from service.decision_store import Row
from service.label_store import REJECTED, followed, label_rows, ordered_otherwise
from service.override_store import find_override
from service.problems import ProblemError
from service.series import CHUNK, Series
from service.settlement_schemas import MOST_LINES, ReplayedOrder, Settlement, SettlementLine
from service.settling import Case, Replayed, Settled, settle
from service.store import Store
from simulator.canonical import assemble
from simulator.observation import ObservationSpec
from simulator.panel import Panel
from simulator.schedule import LOOK_BACK
from simulator.step import State

MOST_SETTLED = 20_000  # decisions of one override in one answer
AT_ONCE = CHUNK  # decisions of one replay, so that no more is read than their series
SPAN_DAYS = 91  # between the first and the last order of one replay
GRACE_DAYS = 7  # of a series that is no longer recorded
_DATE = {"date": pl.Date}


class Told(NamedTuple):
    """A decision to settle, read back."""

    place: int  # in what was asked for
    case: Case
    inputs: dict[str, Any]

    @property
    def kind(self) -> tuple[str, str]:
        """What has to be alike in one replay."""
        return self.inputs["ordering_mode"], self.inputs["rules"]["rounding"]


class Settlements:
    """Settles decisions against the stored history."""

    def __init__(self, store: Store, dataset: Callable[[], Dataset]) -> None:
        self._store, self._dataset = store, dataset

    def of_override(self, override_id: int, series: Series | None = None) -> Settlement:
        """What an override earned, on all that it covers or on one series.

        Raises:
            ProblemError: 404, 422 where too many decisions followed it, or 503 without a dataset.
        """
        dataset = self._dataset()
        with self._store.database.reading() as connection:
            override = find_override(connection, override_id)
            ids = followed(connection, override_id, series, MOST_SETTLED)
            if override is None:
                detail = f"there is no override {override_id}"
                raise ProblemError(404, "override-unknown", "There is no such override", detail)
            if ids is None:
                detail = f"more than {MOST_SETTLED:,} orders followed override {override_id}; GET /v1/overrides/export has each"
                raise ProblemError(422, "settlement-too-large", "Too many orders to settle at once", detail)
            lines: list[SettlementLine] = []
        for at in range(0, len(ids), AT_ONCE):
            with self._store.database.reading() as connection:
                rows = label_rows(connection, ids[at : at + AT_ONCE], observed=False)
            lines += self.lines(rows)
        last = dataset.last_recorded
        return _summed(override_id, lines, dataset, over=last is not None and override["selling_to"] <= last)

    def lines(self, rows: Sequence[Row], *, as_ordered: bool = False) -> list[SettlementLine]:
        """Settle decisions, in their order.

        Args:
            rows: as `label_store.label_rows` reads them.
            as_ordered: whether one that was ordered otherwise is settled by that quantity, not by what was advised.

        Raises:
            ProblemError: 503 without a dataset.
        """
        dataset = self._dataset()
        found = {n: _line(row, "nothing_ordered", None) for n, row in enumerate(rows) if row["status"] == REJECTED}
        passed: list[Told] = []
        for n, row in enumerate(rows):
            if n in found:
                continue
            inputs = json.loads(row["inputs"])
            case = case_of(row, inputs, dataset.period_days, as_ordered=as_ordered)
            if case is None:
                found[n] = _line(row, "no_history", None)
            elif dataset.last_recorded is None or dataset.last_recorded < _end(case, dataset):
                found[n] = _line(row, "too_early", _end(case, dataset))
            else:
                passed.append(Told(n, case, inputs))
        for part in _parts(passed):
            for one, line in zip(part, self._settled([rows[one.place] for one in part], part, dataset), strict=True):
                found[one.place] = line
        return [found[n] for n in range(len(rows))]

    def _settled(self, rows: list[Row], part: list[Told], dataset: Dataset) -> list[SettlementLine]:
        """Lines of decisions that are alike in kind and near in time, whose periods the dataset has passed."""
        panel, recorded = self._history([one.case for one in part], dataset)
        index = {key: n for n, key in enumerate(zip(panel.items.item_id, panel.items.location_id, strict=True))}
        lines: list[SettlementLine] = []
        good: list[int] = []
        for n, (row, one) in enumerate(zip(rows, part, strict=True)):
            end = _end(one.case, dataset)
            known = one.case.series in index
            whole = recorded.get(one.case.series, date.min) >= end or _is_over(end, dataset)
            lines.append(_line(row, "too_early" if known else "no_history", end if known else None))
            if known and whole:
                good.append(n)
        if good:
            at = np.array([index[part[n].case.series] for n in good])
            settled = _replay(panel, at, [part[n] for n in good])
            for k, n in enumerate(good):
                lines[n] = _line(rows[n], "settled", lines[n].settled_until, settled, k)
        return lines

    def _history(self, cases: Sequence[Case], dataset: Dataset) -> tuple[Panel, dict[Series, date]]:
        """The cases' series around their time, and the last day that is recorded of each in it."""
        series = sorted({case.series for case in cases})
        begin = min(case.day for case in cases)
        end = max(_end(case, dataset) for case in cases)
        periods = LOOK_BACK // dataset.period_days + 2 * max(case.periods for case in cases)
        around = timedelta(days=periods * dataset.period_days)  # as far as closed days may move orders and receipts
        demand = self._store.sales(series, begin, end + timedelta(days=GRACE_DAYS))
        calendar = self._store.calendar_days(sorted({place for _, place in series}), begin - around, end + around)
        edge = pl.DataFrame([{"item_id": "", "location_id": "", "date": begin - around}], schema_overrides=_DATE)
        origin = date.fromisoformat(dataset.settings["review_origin"])
        settings = dataset.settings | {"review_origin": origin}
        table = pl.concat([edge, demand], how="diagonal")
        panel = assemble(settings, self._store.items_of(series), table, calendar)
        known = demand.filter(pl.col("units_sold").is_not_null())
        newest = known.group_by("item_id", "location_id").agg(pl.col("date").max())
        return panel, {(item, place): day for item, place, day in newest.iter_rows()}


def case_of(row: Row, inputs: dict[str, Any], period_days: int, *, as_ordered: bool) -> Case | None:
    """A decision as it is settled, see `Settlements.lines`; None where its periods have another length than the dataset's."""
    answer = json.loads(row["answer"])
    first, last = span_then(inputs)
    lead, rest = divmod((first - row["order_date"]).days, period_days)
    review, left = divmod((last - first).days + 1, period_days)
    if rest or left or lead < 1 or review < 1:
        return None
    return Case(
        series=(row["item_id"], row["location_id"]),
        day=row["order_date"],
        lead=lead,
        review=review,
        daily_rate=answer["daily_rate"],
        target=answer["target_stock"],
        policy_target=answer["policy_days"] * answer["daily_rate"],
        quantity=row["ordered_quantity"] if as_ordered and ordered_otherwise(row) else None,
    )


def _end(case: Case, dataset: Dataset) -> date:
    """First day of the last period that is counted."""
    return case.day + timedelta(days=case.periods * dataset.period_days)


def _is_over(end: date, dataset: Dataset) -> bool:
    return dataset.last_recorded is not None and dataset.last_recorded >= end + timedelta(days=GRACE_DAYS)


def _parts(told: Sequence[Told]) -> Iterator[list[Told]]:
    """Decisions that may be replayed together."""
    part: list[Told] = []
    for one in sorted(told, key=lambda one: (one.kind, one.case.day)):
        alike = part and one.kind == part[0].kind and (one.case.day - part[0].case.day).days <= SPAN_DAYS
        if part and (not alike or len(part) == AT_ONCE):
            yield part
            part = []
        part.append(one)
    if part:
        yield part


def _replay(panel: Panel, at: np.ndarray, told: Sequence[Told]) -> Settled:
    spec = ObservationSpec(panel.period_days)
    held = [state_of([stock_then(one.inputs)], one.case.day, spec) for one in told]
    state = State(np.concatenate([one.on_hand for one in held]), np.concatenate([one.pipeline for one in held]))
    rules = rules_then([one.inputs for one in told])
    return settle(panel, at, [one.case for one in told], state, rules, told[0].inputs["ordering_mode"])


def _line(row: Row, state: str, until: date | None, settled: Settled | None = None, n: int = 0) -> SettlementLine:
    return SettlementLine.model_validate(
        {
            "decision_id": row["id"], "item_id": row["item_id"], "location_id": row["location_id"],
            "order_date": row["order_date"], "state": state, "settled_until": until,
            "stood": None if settled is None else _order(settled.stood, n),
            "policy": None if settled is None else _order(settled.policy, n),
            "saved_units": None if settled is None else settled.saved_units[n],
            "money": None if settled is None else settled.money[n],
            "demand_understated": None if settled is None else bool(settled.understated[n]),
        }
    )  # fmt: skip


def _order(replayed: Replayed, n: int) -> ReplayedOrder:
    columns = {name: float(getattr(replayed, name)[n]) for name in Replayed._fields}
    return ReplayedOrder(**columns, total_cost=float(replayed.total_cost[n]))


def _summed(override_id: int, lines: list[SettlementLine], dataset: Dataset, *, over: bool) -> Settlement:
    """The sums of an override whose selling dates are `over` in the history, or not."""
    settled = [line for line in lines if line.state == "settled"]
    waiting = not over or any(line.state in ("too_early", "no_history") for line in lines)
    state = "settled" if settled else "nothing_ordered"
    if waiting:
        state = "partly" if settled else "too_early"
    both = [(line.stood, line.policy) for line in settled if line.stood is not None and line.policy is not None]
    return Settlement.model_validate(
        {
            "override_id": override_id, "state": state, "currency": str(dataset.settings["currency"]),
            "decisions": len(lines), "settled": len(settled),
            "saved_units": sum(line.saved_units or 0.0 for line in settled),
            "stock_periods": sum(stood.stock_periods - policy.stock_periods for stood, policy in both),
            "wasted_units": sum(stood.wasted_units - policy.wasted_units for stood, policy in both),
            "money": sum(line.money or 0.0 for line in settled),
            "demand_understated": any(line.demand_understated for line in settled),
            "lines": sorted(lines, key=lambda line: -abs(line.money or 0.0))[:MOST_LINES],
        }
    )  # fmt: skip
