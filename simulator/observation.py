"""What a policy may see at the end of period t, and the arrays that this becomes.

`visible` is the no-peeking rule of the input format: everything up to and including t; after t only promotions and
prices as far as they are known ahead, and open days and holidays. Nothing else in the project reads past t, and the
same function feeds training, backtest, scoring and the service, so there is one code path from a panel (built from
files or from stored history) to the arrays that enter the policy's graph. All of them are raw quantities in natural
units: scaling belongs to the graph.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.panel import F32, I64, Bools, Panel, shift_known_ahead
from simulator.rates import (
    RATE_SOURCES,
    YEAR_DAYS,
    Evidence,
    Rates,
    daily_rate,
    evidence,
    panel_rates,
    rate_sources,
)
from simulator.schedule import lead_and_review
from simulator.step import State

__all__ = [
    "FIELDS", "HASH_SEED", "HISTORY_FIELDS", "RATE_SOURCES", "STATE_FIELDS", "Evidence", "Field", "Observation",
    "ObservationSpec", "Observer", "Rates", "daily_rate", "evidence", "field_shape", "hash_bucket", "panel_rates",
    "rate_sources", "text_fields", "visible", "with_state",
]  # fmt: skip

HASH_SEED = "orpr-1"
NAME_TOKENS = 8
CODES = ("item_id", "location_id", "category", "parent_category", "region")


@dataclass(frozen=True)
class ObservationSpec:
    """Lengths of an observation, in periods. They follow from the period and stand in the contract."""

    period_days: int = 1
    name_buckets: int = 1024
    code_buckets: int = 1024

    def __post_init__(self) -> None:
        if self.period_days not in (1, 7):
            raise ValueError(f"period_days must be 1 or 7, got {self.period_days}")

    @property
    def history(self) -> int:
        """Periods of history: a year of whole weeks."""
        return YEAR_DAYS // self.period_days

    @property
    def recent(self) -> int:
        """Latest periods that become tokens one by one or in patches."""
        return 91 if self.period_days == 1 else 26

    @property
    def horizon(self) -> int:
        """Periods ahead: thirteen weeks."""
        return 91 // self.period_days

    @property
    def patch(self) -> int:
        """Periods in one token: a week where periods are days."""
        return 7 // self.period_days


def beyond_horizon(panel: Panel, spec: ObservationSpec) -> Bools:
    """(N,) whether an order has to last longer than a policy looks ahead; no policy decides for these."""
    return np.asarray(panel.lead_periods + panel.review_periods > spec.horizon)


class Field(NamedTuple):
    """One input of the policy's graph."""

    name: str
    length: str  # "" a number per series, else "history", "horizon", "history+horizon" or a count
    dtype: str
    unit: str
    meaning: str


HISTORY_FIELDS = (
    Field("units_sold", "history", "float32", "units", "sales of each period up to as_of"),
    Field("in_stock", "history", "float32", "share", "share of the selling time in stock"),
    Field("price", "history+horizon", "float32", "currency/unit", "effective price; ahead as far as known"),
    Field("promotion", "history+horizon", "float32", "flag", "promotion running; ahead as far as known"),
    Field("open", "history+horizon", "float32", "flag", "location open"),
    Field("holiday", "history+horizon", "float32", "flag", "public holiday"),
    Field("school_holiday", "history+horizon", "float32", "flag", "school holiday"),
    Field(
        "own_forecast",
        "horizon",
        "float32",
        "units/period",
        "the caller's own forecast, the newest made by as_of; NaN where none",
    ),
    Field(
        "as_of_day", "", "int64", "days since 1970-01-01", "first day of the period at whose end the order is placed"
    ),
    Field("lead_time_days", "", "float32", "days", "lead time in whole periods, as days"),
    Field("review_period_days", "", "float32", "days", "review period in whole periods, as days"),
    Field("unit_price", "", "float32", "currency/unit", "list price"),
    Field("unit_cost", "", "float32", "currency/unit", "purchase cost"),
    Field("lost_sale_cost", "", "float32", "currency/unit", "cost of one unit of unmet demand"),
    Field("holding_cost_per_day", "", "float32", "currency/unit/day", "cost of one unit left at a day's end"),
    Field("order_multiple", "", "float32", "units", "pack size; 0 means none"),
    Field("min_order_qty", "", "float32", "units", "minimum order; 0 means none"),
    Field("prior_daily_rate", "", "float32", "units/day", "what the rate is shrunk toward, or is without history"),
    Field("sales_share", "", "float32", "share", "of the category's sales at the location, last 28 days"),
    Field("expected_turnover_days", "", "float32", "days", "the planner's turnover target"),
    Field("name_tokens", str(NAME_TOKENS), "int64", "hash bucket", "words of the product name; 0 is padding"),
    Field("codes", str(len(CODES)), "int64", "hash bucket", "hashed " + ", ".join(CODES) + "; 0 is unknown"),
)
STATE_FIELDS = (
    Field("on_hand", "", "float32", "units", "stock at the end of as_of, before ordering"),
    Field("on_order", "horizon", "float32", "units", "open orders by the period ahead in which they can be sold"),
)
FIELDS = HISTORY_FIELDS + STATE_FIELDS

Observation = dict[str, np.ndarray]  # Field.name -> (B,) or (B, length)


def field_shape(field: Field, spec: ObservationSpec) -> tuple[int, ...]:
    """The shape behind the batch axis."""
    if field.length == "":
        return ()
    if field.length == "history":
        return (spec.history,)
    if field.length == "horizon":
        return (spec.horizon,)
    if field.length == "history+horizon":
        return (spec.history + spec.horizon,)
    return (int(field.length),)


# ---------------------------------------------------------------------------------------------------------- no peeking


def visible(panel: Panel, rows: I64, periods: I64, spec: ObservationSpec) -> dict[str, F32]:
    """Exactly what may be read of `rows` at the ends of `periods`; everything else is NaN.

    Args:
        panel: where to read.
        rows: (B,) series.
        periods: (B,) as-of period of each; it may lie before or after the panel's axis.
        spec: lengths.

    Returns:
        (B, history) for `units_sold` and `in_stock`, (B, history + horizon) for the others.
    """
    promotion_ahead, price_ahead = shift_known_ahead(panel)
    ahead = {"units_sold": 0, "in_stock": 0, "price": price_ahead, "promotion": promotion_ahead}
    offsets = np.arange(-spec.history + 1, spec.horizon + 1)
    together = len(periods) > 0 and bool((periods == periods[0]).all())  # one day of many series is read in one piece
    seen: dict[str, F32] = {}
    for name in ("units_sold", "in_stock", "price", "promotion", "open", "holiday", "school_holiday"):
        limit = min(ahead.get(name, spec.horizon), spec.horizon)
        length = spec.history if name in ("units_sold", "in_stock") else spec.history + spec.horizon
        column: F32 = getattr(panel, name)
        if together:
            seen[name] = _readable(column[rows], int(periods[0]) - spec.history + 1, length, int(periods[0]) + limit)
            continue
        t = periods[:, None] + offsets[None, :length]
        readable = (t >= 0) & (t < panel.period_count) & (offsets[None, :length] <= limit)
        taken = column[rows[:, None], np.clip(t, 0, panel.period_count - 1)]
        seen[name] = np.where(readable, taken, np.float32(np.nan))
    return seen


def _readable(known: F32, first: int, length: int, last: int) -> F32:
    """(B, length) periods from `first` on, of which those up to `last` may be read."""
    taken = np.full((len(known), length), np.nan, dtype=np.float32)
    begin, end = max(first, 0), min(first + length, last + 1, known.shape[1])
    if begin < end:
        taken[:, begin - first : end - first] = known[:, begin:end]
    return taken


# --------------------------------------------------------------------------------------------------------- observation


def hash_bucket(text: str, buckets: int) -> int:
    """A stable bucket from 1 to buckets - 1; 0 stands for the empty text.

    BLAKE2b with the seed as its key; both stand in the contract, the raw strings in the golden cases.
    """
    if not text:
        return 0
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=HASH_SEED.encode()).digest()
    return 1 + int.from_bytes(digest, "little") % (buckets - 1)


def text_fields(panel: Panel, spec: ObservationSpec) -> dict[str, I64]:
    """Hashed names (N, 8) and codes (N, 5)."""
    names = np.zeros((panel.series_count, NAME_TOKENS), dtype=np.int64)
    for n, name in enumerate(panel.items.name):
        for k, word in enumerate(str(name).lower().split()[:NAME_TOKENS]):
            names[n, k] = hash_bucket(word, spec.name_buckets)
    codes = np.zeros((panel.series_count, len(CODES)), dtype=np.int64)
    for k, code in enumerate(CODES):
        column = getattr(panel.items, code)
        buckets = {text: hash_bucket(f"{code}={text}" if text else "", spec.code_buckets) for text in set(column)}
        codes[:, k] = [buckets[text] for text in column]
    return {"name_tokens": names, "codes": codes}


class Observer:
    """Builds observations of one panel; holds what all of them share (rates, hashed texts)."""

    def __init__(self, panel: Panel, spec: ObservationSpec, rates: Rates | None = None) -> None:
        if spec.period_days != panel.period_days:
            raise ValueError(f"the policy's period_days is {spec.period_days}, the dataset's is {panel.period_days}")
        self.panel = panel
        self.spec = spec
        self.rates = panel_rates(panel) if rates is None else rates
        self._texts = text_fields(panel, spec)
        items = panel.items
        self._numbers = {
            "unit_price": items.unit_price,
            "unit_cost": items.unit_cost,
            "lost_sale_cost": items.lost_sale_cost,
            "holding_cost_per_day": items.holding_cost_per_day,
            "order_multiple": np.where(items.order_multiple > 0, items.order_multiple, float(panel.discrete)),
            "min_order_qty": items.min_order_qty,
            "expected_turnover_days": items.expected_turnover_days,
        }

    def observe(self, rows: I64, periods: I64, state: State | None = None) -> Observation:
        """What is seen of `rows` at the ends of `periods`, both (B,); the fields are `FIELDS` in order.

        Args:
            rows: series.
            periods: as-of period of each.
            state: their stock then, before ordering; unknown where None.
        """
        t = np.clip(periods, 0, self.panel.period_count - 1)
        made: dict[str, np.ndarray] = dict(visible(self.panel, rows, periods, self.spec))
        made |= {name: column[rows].astype(np.float32) for name, column in self._numbers.items()}
        made |= {name: column[rows] for name, column in self._texts.items()}
        lead, review = lead_and_review(self.panel, rows, periods)
        made["lead_time_days"] = (lead * self.panel.period_days).astype(np.float32)
        made["review_period_days"] = (review * self.panel.period_days).astype(np.float32)
        given = self.panel.forecasts
        made["own_forecast"] = (
            np.full((len(rows), self.spec.horizon), np.nan, dtype=np.float32)
            if given is None
            else given.ahead(rows, periods, self.spec.horizon)
        )
        made["as_of_day"] = self.panel.start_day + periods.astype(np.int64) * self.panel.period_days
        before = periods < 0  # nothing was known yet, not even of the peers
        made["prior_daily_rate"] = np.where(before, np.nan, self.rates.prior_daily_rate[rows, t]).astype(np.float32)
        made["sales_share"] = np.where(before, 0.0, self.rates.sales_share[rows, t]).astype(np.float32)
        return with_state({field.name: made[field.name] for field in HISTORY_FIELDS}, self.spec, state)


def with_state(observation: Observation, spec: ObservationSpec, state: State | None) -> Observation:
    """The observation with its `STATE_FIELDS`; NaN where no stock is known.

    Orders that arrive beyond the horizon are put into its last period: they count in the position all the same.
    """
    count = len(observation["as_of_day"])
    on_hand = np.full(count, np.nan, dtype=np.float32)
    on_order = np.full((count, spec.horizon), np.nan, dtype=np.float32)
    if state is not None:
        on_hand = np.asarray(state.on_hand, dtype=np.float32)
        pipeline = np.asarray(state.pipeline, dtype=np.float32)
        near = pipeline[:, : spec.horizon]
        on_order = np.zeros((count, spec.horizon), dtype=np.float32)
        on_order[:, : near.shape[1]] = near
        on_order[:, -1] += pipeline[:, spec.horizon :].sum(axis=1)
        on_order[np.isnan(on_hand)] = np.nan  # what is on order says little while nobody knows what is there
    return observation | {"on_hand": on_hand, "on_order": on_order}
