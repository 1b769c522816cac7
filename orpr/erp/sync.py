"""One night between an ERP and a service: what happened goes in, orders come back as drafts, the service learns their fate.

1. The ERP is read. Where that fails nothing was written anywhere.
2. Drafts of earlier runs are compared with what the service believes of them: ordered, changed, or gone.
3. Items, sales, stock and open orders go into the service. The service expects an order until its receipt date; a draft that
   nobody has confirmed by then goes among the open orders, else it would be bought again every night.
4. All series are asked for; what is due is written into the ERP as drafts, and told as ordered document by document.

A run that broke off is made good by the next: step 2 finds its drafts by the decision numbers that they carry. Two runs that
read the same ERP are given the same decisions, so what the other has drafted meanwhile is recognised and left out before step 4
writes; only runs that write in the same moment, each before the other's first draft is there, would draft an order twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import polars as pl

from orpr.client import Client
from orpr.erp.records import COMING, KEY, Draft, Erp, ErpItem, Order, Series, Snapshot, added_up, understood
from service.decision_schemas import DecisionBrief, OutcomeRequest
from service.feed_schemas import ItemRow
from service.schemas import RecommendationItem

LOOK_BACK_DAYS = 14  # for how long a draft is followed after the longest lead time
SLACK_DAYS = 2  # between an order date and the ERP's time stamp, in whatever zone
PLACED = ("ordered", "changed")
Coming = tuple[str, str, date, float]  # a row of COMING


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """What the ERP does not say of an item that is new to the service."""

    margin: float = 0.3  # share of the price, where price or cost is missing
    carrying_rate: float = 0.25  # cost of holding stock, share of its value a year
    lead_time_days: int = 7
    review_period_days: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            raise ValueError(f"margin must lie between 0 and 1, got {self.margin:g}")
        if self.carrying_rate < 0:
            raise ValueError(f"carrying_rate must be at least 0, got {self.carrying_rate:g}")
        for name in ("lead_time_days", "review_period_days"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class Synced(NamedTuple):
    """What a run did."""

    series: int  # asked for
    told: int  # outcomes of earlier drafts
    documents: list[str]  # written into the ERP, by name
    orders: int  # in them
    withheld: int  # advised, but taken out of the ERP by somebody today
    unanswered: dict[str, int]  # series by what kept them from an answer


def synchronise(erp: Erp, client: Client, day: date, days: int, assumed: Assumed) -> Synced:
    """Run one sync.

    Args:
        erp: read, and written to.
        client: of the service, which must have a daily dataset loaded.
        day: at whose end the orders are placed; the ERP's stock is taken to be the one at its end.
        days: how many days of sales are sent, `day` the last.
        assumed: of new items.

    Raises:
        ErpError, ServiceProblem, Unanswered: where either side refuses or fails; the next run goes on from there.
    """
    if days < 1:
        raise ValueError(f"days must be at least 1, got {days}")
    first = day - timedelta(days=days - 1)
    with understood(erp.name):
        snapshot = erp.read(first, day)
    reference = f"sync {erp.name}"
    stored = {(row.item_id, row.location_id): row for row in client.items()}
    since = day - timedelta(days=_longest_lead(snapshot, stored, assumed) + LOOK_BACK_DAYS)
    told, refused, unconfirmed = _settle(erp, client, reference, since, day)
    with understood(erp.name):
        snapshot = snapshot._replace(coming=added_up([*snapshot.coming.rows(), *unconfirmed], COMING))
    series, unpriced = _feed(client, snapshot, stored, first, day, assumed)
    unanswered = Counter(snapshot.left_out)
    if unpriced:
        unanswered["without price and cost"] = unpriced
    orders = _asked(client, series, day, reference, unanswered) if series else []
    wanted = [order for order in orders if (order.item_id, order.location_id) not in refused]
    withheld = len(orders) - len(wanted)
    if wanted:
        there = {number for draft in erp.drafts(day - timedelta(days=SLACK_DAYS)) for number in draft.decisions}
        wanted = [
            order for order in wanted if order.decision_id not in there
        ]  # else another run has drafted it meanwhile
    documents = []
    for name, held in _proposed(erp, wanted, day):
        documents.append(name)
        for order in held:
            client.tell_outcome(order.decision_id, OutcomeRequest(status="ordered", note=f"{erp.name} {name}"))
    return Synced(len(series), told, documents, len(wanted), withheld, dict(unanswered))


def _proposed(erp: Erp, wanted: Sequence[Order], day: date) -> Iterator[tuple[str, list[Order]]]:
    with understood(erp.name):
        yield from erp.propose(wanted, day)


# ------------------------------------------------------------------------------------------------------ earlier drafts


def _longest_lead(snapshot: Snapshot, stored: dict[Series, ItemRow], assumed: Assumed) -> int:
    """Days that an order takes at the longest, by what either side knows."""
    told = [item.lead_time_days for item in snapshot.items if item.lead_time_days is not None]
    return max([assumed.lead_time_days, *told, *(row.lead_time_days for row in stored.values())])


def _settle(
    erp: Erp, client: Client, reference: str, first: date, day: date
) -> tuple[int, set[Series], list[Coming]]:  # fmt: skip
    """Tell the service what became of its advice since `first`; how often, the series whose drafts of `day` somebody took out, and the
    drafts that nobody has confirmed until their receipt, as rows of COMING."""
    with understood(erp.name):
        drafts = erp.drafts(first - timedelta(days=SLACK_DAYS))
    dates = [first + timedelta(days=n) for n in range((day - first).days + 1)]
    briefs = [brief for one in dates for brief in client.decisions(client_ref=reference, order_date=one)]
    standing = drafted_units(drafts, briefs)
    told, refused = 0, set[Series]()
    for brief in briefs:
        outcome = outcome_of(brief, standing.get(brief.id, 0.0), day)
        if outcome is not None:
            client.tell_outcome(brief.id, outcome)
            told += 1
        status = brief.status if outcome is None else outcome.status
        if status == "rejected" and brief.order_date == day:
            refused.add((brief.item_id, brief.location_id))
    return told, refused, list(unconfirmed_rows(drafts, briefs, day))


def unconfirmed_rows(drafts: Sequence[Draft], briefs: Sequence[DecisionBrief], day: date) -> Iterator[Coming]:
    """What stands in drafts that the service does not expect any more on `day`, as rows of COMING."""
    left = drafted_units([draft._replace(units=draft.unconfirmed) for draft in drafts], briefs)
    for brief in briefs:
        units = left.get(brief.id, 0.0)
        if units > 0 and brief.expected_receipt_date <= day:
            yield brief.item_id, brief.location_id, brief.expected_receipt_date, units


def drafted_units(drafts: Sequence[Draft], briefs: Sequence[DecisionBrief]) -> dict[str, float]:
    """Units that stand in the ERP, by decision.

    Where a document holds several decisions on one item, because drafts were merged, each has its own quantity as far as it
    goes, and the last one the rest.
    """
    known, found = {brief.id: brief for brief in briefs}, dict[str, float]()
    for draft in drafts:
        held = [known[number] for number in draft.decisions if number in known]
        for item, units in draft.units.items():
            left, mine = units, [brief for brief in held if brief.item_id == item]
            for n, brief in enumerate(mine):
                share = left if n == len(mine) - 1 else min(left, brief.order_quantity)
                found[brief.id] = found.get(brief.id, 0.0) + share
                left -= share
    return found


def outcome_of(brief: DecisionBrief, drafted: float, day: date) -> OutcomeRequest | None:
    """What is to be told of a decision; None where the service knows it already, or nothing is known yet.

    Args:
        brief: as the service believes.
        drafted: units that stand in the ERP under its number.
        day: of the run; what was advised today is perhaps still to be written.
    """
    if brief.status == "seen":
        return None
    if drafted > 0:
        if brief.status in PLACED and brief.ordered_quantity == drafted:
            return None
        if drafted == brief.order_quantity:
            return OutcomeRequest(status="ordered")
        return OutcomeRequest(status="changed", quantity=drafted)
    lost = brief.status == "open" and brief.order_date < day and brief.order_quantity > 0
    return OutcomeRequest(status="rejected", note="no draft in the ERP") if lost or brief.status in PLACED else None


# ---------------------------------------------------------------------------------------------------------------- feeds


def _feed(
    client: Client, snapshot: Snapshot, stored: dict[Series, ItemRow], first: date, day: date, assumed: Assumed
) -> tuple[list[Series], int]:  # fmt: skip
    """Send everything; the series that the service can be asked for, and how many have neither price nor cost."""
    rows = {}
    for item in snapshot.items:
        row = item_row(item, stored.get((item.item_id, item.location_id)), assumed)
        if row is not None:
            rows[item.item_id, item.location_id] = row
    series = sorted(rows)
    if series:
        changed = [row for key, row in rows.items() if row != stored.get(key)]
        if changed:
            client.put_items(changed)
        keys = pl.DataFrame(series, schema=KEY, orient="row")
        stock = keys.join(snapshot.stock, on=list(KEY), how="left")
        stock = stock.with_columns(pl.col("on_hand").fill_null(0.0).clip(lower_bound=0.0))
        known = pl.DataFrame([key for key in series if key in stored], schema=KEY, orient="row")
        seen = [(row.item_id, row.location_id, row.date, row.in_stock) for row in client.history(first, day)]
        was_in_stock = pl.DataFrame(seen, schema={**KEY, "date": pl.Date(), "in_stock": pl.Float64()}, orient="row")
        history = history_rows(stock, known, snapshot.sold, was_in_stock, first, day)
        if not history.is_empty():
            client.put_history(history)
        client.put_inventory(stock.with_columns(pl.lit(day).alias("date")))
        client.put_open_orders(coming_rows(keys, snapshot.coming, day))
    return series, len(snapshot.items) - len(series)


def item_row(item: ErpItem, stored: ItemRow | None, assumed: Assumed) -> ItemRow | None:
    """An item as the service is to know it: what the ERP says, else what is stored, else what is assumed.

    None where it is new and has neither price nor cost. Lost-sale and holding costs are set once and then left to planners.
    """
    said = {name: value for name, value in item._asdict().items() if value is not None}
    if stored is not None:
        return stored.model_copy(update=said)
    price, cost = item.unit_price, item.unit_cost
    if price is None and cost is None:
        return None
    price = price if price is not None else (cost or 0.0) / (1 - assumed.margin)
    cost = cost if cost is not None else price * (1 - assumed.margin)
    fields = {
        "lost_sale_cost": max(0.0, price - cost), "holding_cost_per_day": cost * assumed.carrying_rate / 365,
        "lead_time_days": assumed.lead_time_days, "review_period_days": assumed.review_period_days,
        "review_offset_days": 0, "min_order_qty": 0.0, "order_multiple": 0.0,
    }  # fmt: skip
    return ItemRow.model_validate(fields | said | {"unit_price": price, "unit_cost": cost})


def history_rows(
    stock: pl.DataFrame, known: pl.DataFrame, sold: pl.DataFrame, was_in_stock: pl.DataFrame, first: date, last: date
) -> pl.DataFrame:
    """Sales of every series on every day; a day without a sale is a 0, and more returns than sales are none.

    Of `in_stock` the ERP says nothing. What the service knows of it is kept, and a last day that sold nothing and ends with
    nothing on hand was out of stock.

    Args:
        stock: all series, as STOCK at the end of `last`.
        known: those that the service has already; of others nothing is said before their first sale.
        sold: as SOLD, one row per series and date.
        was_in_stock: in_stock as the service knows it.
        first: first day.
        last: last day.
    """
    names = list(KEY)
    dated = [*names, "date"]
    days = pl.DataFrame({"date": pl.date_range(first, last, eager=True)})
    start = sold.filter(pl.col("units_sold") > 0).group_by(names).agg(pl.col("date").min().alias("start"))
    start = pl.concat([start.join(known, on=names, how="anti"), known.with_columns(pl.lit(first).alias("start"))])
    grid = stock.join(start, on=names).join(days, how="cross").filter(pl.col("date") >= pl.col("start"))
    rows = grid.join(sold, on=dated, how="left").join(was_in_stock, on=dated, how="left")
    units = pl.col("units_sold").fill_null(0.0).clip(lower_bound=0.0)
    empty = (pl.col("date") == last) & (pl.col("on_hand") == 0) & (units == 0)
    return rows.select(*dated, units, pl.when(empty).then(0.0).otherwise("in_stock").alias("in_stock"))


def coming_rows(keys: pl.DataFrame, coming: pl.DataFrame, day: date) -> pl.DataFrame:
    """All that is on order; a 0 for each series that nothing is on order of, which clears what was known."""
    mine = coming.filter(pl.col("quantity") > 0).join(keys, on=list(KEY), how="semi")
    nothing = keys.join(mine, on=list(KEY), how="anti")
    zeros = nothing.with_columns(pl.lit(day).alias("arrival_date"), pl.lit(0.0).alias("quantity"))
    return pl.concat([mine.select(*COMING), zeros.select(*COMING)])


# --------------------------------------------------------------------------------------------------------------- orders


def _asked(
    client: Client, series: Sequence[Series], day: date, reference: str, unanswered: Counter[str]
) -> list[Order]:
    """What is to be ordered; series without an answer are counted by the type of their problem."""
    items = [RecommendationItem(item_id=item, location_id=place) for item, place in series]
    orders = []
    for answer in client.recommend(items, as_of=day, client_ref=reference).items:
        if answer.result is None:
            unanswered[answer.problem.type if answer.problem else "no answer"] += 1
        elif answer.result.order_quantity > 0 and answer.result.decision_id is not None:
            found, key = answer.result, (answer.item_id, answer.location_id)
            orders.append(Order(answer.result.decision_id, *key, found.order_quantity, found.expected_receipt_date))
    return orders
