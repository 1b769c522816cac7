"""What a policy may see at the end of period t, and the one definition of `daily_rate`.

`visible` is the no-peeking rule of the input format: everything up to and including t; after t only promotions and
prices as far as they are known ahead, and open days and holidays. Nothing else in the project reads past t, and the
same function feeds training, backtest, scoring and the service, so there is one code path from a panel (built from
files or from stored history) to the arrays that enter the policy's graph. All of them are raw quantities in natural
units: scaling belongs to the graph.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace

from simulator.panel import F32, F64, I64, Panel, shift_known_ahead

Array = Any

RECENT_DAYS = 28  # the window of the recent mean
YEAR_DAYS = 364  # the window of the long mean: whole weeks, so that weekdays line up a year apart
SHRINK_DAYS = 7.0  # observed days that weigh as much as the prior
PROMOTION_WEIGHT = 0.05  # a promoted day's weight in the mean: it speaks only where nothing else does
FULL_STOCK, LEAST_STOCK = 0.95, 0.3  # in stock at least this: taken as is; less than that: not taken at all
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


class Field(NamedTuple):
    """One input of the policy's graph."""

    name: str
    length: str  # "" a number per series, else "history", "history+horizon" or a count
    dtype: str
    unit: str
    meaning: str


FIELDS = (
    Field("units_sold", "history", "float32", "units", "sales of each period up to as_of"),
    Field("in_stock", "history", "float32", "share", "share of the selling time in stock"),
    Field("price", "history+horizon", "float32", "currency/unit", "effective price; ahead as far as known"),
    Field("promotion", "history+horizon", "float32", "flag", "promotion running; ahead as far as known"),
    Field("open", "history+horizon", "float32", "flag", "location open"),
    Field("holiday", "history+horizon", "float32", "flag", "public holiday"),
    Field("school_holiday", "history+horizon", "float32", "flag", "school holiday"),
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

Observation = dict[str, np.ndarray]  # Field.name -> (B,) or (B, length)


def field_shape(field: Field, spec: ObservationSpec) -> tuple[int, ...]:
    """The shape behind the batch axis."""
    if field.length == "":
        return ()
    if field.length == "history":
        return (spec.history,)
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
    seen: dict[str, F32] = {}
    for name in ("units_sold", "in_stock", "price", "promotion", "open", "holiday", "school_holiday"):
        limit = min(ahead.get(name, spec.horizon), spec.horizon)
        length = spec.history if name in ("units_sold", "in_stock") else spec.history + spec.horizon
        column: F32 = getattr(panel, name)
        t = periods[:, None] + offsets[None, :length]
        readable = (t >= 0) & (t < panel.period_count) & (offsets[None, :length] <= limit)
        taken = column[rows[:, None], np.clip(t, 0, panel.period_count - 1)]
        seen[name] = np.where(readable, taken, np.float32(np.nan))
    return seen


# ---------------------------------------------------------------------------------------------------------- daily rate


class Evidence(NamedTuple):
    """What each period says about demand; all (..., T)."""

    demand: Array  # sales, corrected where the shelf was empty for part of the time
    seen: Array  # 0..1 how much of the period was observed
    weight: Array  # `seen`, with promoted periods turned down


def evidence(units_sold: Array, in_stock: Array, promotion: Array, open_flag: Array) -> Evidence:
    """Demand of each period as far as its sales tell it.

    In stock for at least 0.95 of the time: sales are demand. Between 0.3 and 0.95: sales are scaled up by the time in
    stock, and the period counts for that share. Less, unknown or closed: not observed. A promoted period weighs 0.05,
    so that promotions lift the mean only where a series knows nothing else.
    """
    xp = array_namespace(units_sold)
    zero = xp.zeros_like(units_sold)
    stock = xp.where(xp.isnan(in_stock), zero + 1, in_stock)
    usable = ~xp.isnan(units_sold) & (stock >= LEAST_STOCK) & ~(open_flag == 0)
    share = xp.where(stock >= FULL_STOCK, zero + 1, stock)
    seen = xp.where(usable, share, zero)
    demand = xp.where(usable, units_sold / xp.where(usable, share, zero + 1), zero)
    weight = xp.where(promotion > 0, seen * PROMOTION_WEIGHT, seen)
    return Evidence(demand, seen, weight)


def _blend(recent: tuple[Array, ...], year: tuple[Array, ...], prior: Array, sold: Array, period_days: int) -> Array:
    """(recent, year) are sums of (seen, weight, weight x demand); see `daily_rate`."""
    xp = array_namespace(prior)
    zero = xp.zeros_like(prior)
    known_prior = xp.where(xp.isnan(prior), zero, prior) * period_days
    pull = xp.where(xp.isnan(prior), zero, zero + SHRINK_DAYS)

    def mean(sums: tuple[Array, ...]) -> Array:
        return sums[2] / xp.where(sums[1] > 0, sums[1], zero + 1)

    year_days = year[0] * period_days
    long = (year_days * mean(year) + pull * known_prior) / xp.where(year_days + pull > 0, year_days + pull, zero + 1)
    recent_days = recent[0] * period_days
    rate = (recent_days * mean(recent) + SHRINK_DAYS * long) / (recent_days + SHRINK_DAYS)
    floor = sold * (1e-3 * period_days / YEAR_DAYS)
    return xp.maximum(rate, floor) / period_days


def daily_rate(
    units_sold: Array, in_stock: Array, promotion: Array, open_flag: Array, prior_daily_rate: Array, period_days: int
) -> Array:
    """Units a day that a series sells: the number that turns inventory days into units.

    The mean over the last 28 days, shrunk toward the mean over the last 364 days, which is shrunk toward the prior,
    each by 7 days' weight against the days observed. Positive wherever a sale fell in the last 364 days. The same
    function runs on NumPy arrays and inside the exported graph.

    Args:
        units_sold, in_stock: (B, history), NaN where unknown.
        promotion, open_flag: (B, history) flags, NaN where unknown.
        prior_daily_rate: (B,) units a day, NaN where there is none.
        period_days: days in a period.
    """
    xp = array_namespace(units_sold)
    found = evidence(units_sold, in_stock, promotion, open_flag)
    recent = RECENT_DAYS // period_days
    columns = (found.seen, found.weight, found.weight * found.demand)
    sold = xp.sum(xp.where(xp.isnan(units_sold), xp.zeros_like(units_sold), units_sold), axis=1)
    return _blend(
        tuple(xp.sum(c[:, -recent:], axis=1) for c in columns),
        tuple(xp.sum(c, axis=1) for c in columns),
        prior_daily_rate, sold, period_days,
    )  # fmt: skip


def _window_sums(values: F32, window: int) -> F64:
    """(N, T) sum of the last `window` columns up to and including each."""
    total = np.cumsum(values, axis=1, dtype=np.float64)
    before = np.zeros_like(total)
    before[:, window:] = total[:, :-window] if window < total.shape[1] else 0.0
    return np.maximum(total - before, 0.0)


class Rates(NamedTuple):
    """Rates of a whole panel, each column t computed from what was known at the end of t; all (N, T)."""

    daily_rate: F64  # units a day
    prior_daily_rate: F64  # units a day, NaN where there is none
    sales_share: F64  # 0..1
    has_history: np.ndarray  # whether the series itself was ever observed


def panel_rates(panel: Panel) -> Rates:
    """`daily_rate` for every series and period at once, with the priors and shares it needs."""
    days = panel.period_days
    found = evidence(panel.units_sold, panel.in_stock, panel.promotion, panel.open)
    columns = (found.seen, found.weight, found.weight * found.demand)
    recent = tuple(_window_sums(c, RECENT_DAYS // days) for c in columns)
    year = tuple(_window_sums(c, YEAR_DAYS // days) for c in columns)
    sold = _window_sums(np.nan_to_num(panel.units_sold), YEAR_DAYS // days)
    sold_recently = _window_sums(np.nan_to_num(panel.units_sold), RECENT_DAYS // days)
    own = year[2] / np.where(year[1] > 0, year[1], 1.0) / days
    has_history = year[1] > 0
    prior, share = _priors(panel, own, has_history, sold_recently)
    return Rates(_blend(recent, year, prior, sold, days), prior, share, has_history)


def _priors(panel: Panel, own: F64, has_history: np.ndarray, sold_recently: F64) -> tuple[F64, F64]:
    """Category-at-location means; without own history the reference item, the category anywhere, the expectation."""
    items = panel.items
    places, category = items.location_id, items.category
    group = _codes_of([f"{c}\0{p}" for c, p in zip(category, places, strict=True)])
    anywhere = _codes_of(list(category))
    local = _group_mean(own, has_history, group)
    wide = _group_mean(own, has_history, anywhere)
    expected = np.broadcast_to(items.expected_daily_demand[:, None], own.shape)
    prior = np.where(np.isnan(local), wide, local)
    prior = np.where(np.isnan(prior), expected, prior)
    index = {key: n for n, key in enumerate(zip(items.item_id, places, strict=True))}
    for n, (reference, place) in enumerate(zip(items.reference_item_id, places, strict=True)):
        other = index.get((reference, place)) if reference else None
        if other is not None:
            prior[n] = np.where(~has_history[n] & has_history[other], own[other], prior[n])
    total = _group_sum(sold_recently, group)
    share = np.divide(sold_recently, total, out=np.zeros_like(total), where=total > 0)
    return prior, share


def _codes_of(texts: list[str]) -> I64:
    return np.unique(np.array(texts, dtype=str), return_inverse=True)[1].astype(np.int64)


def _group_sum(values: F64, group: I64) -> F64:
    sums = np.zeros((int(group.max(initial=0)) + 1, values.shape[1]))
    np.add.at(sums, group, values)
    return sums[group]


def _group_mean(values: F64, known: np.ndarray, group: I64) -> F64:
    count = _group_sum(known.astype(np.float64), group)
    return np.where(count > 0, _group_sum(np.where(known, values, 0.0), group) / np.maximum(count, 1.0), np.nan)


RATE_SOURCES = ("history", "reference_item", "category", "expected_daily_demand", "none")


def rate_sources(panel: Panel, rates: Rates, t: int) -> list[str]:
    """Where each series' rate at the end of `t` comes from, one of `RATE_SOURCES`."""
    items = panel.items
    known = dict(zip(zip(items.item_id, items.location_id, strict=True), rates.has_history[:, t], strict=True))
    categories = {c for c, has in zip(items.category, rates.has_history[:, t], strict=True) if has}
    sources = []
    for n in range(panel.series_count):
        reference = (items.reference_item_id[n], items.location_id[n])
        if rates.has_history[n, t]:
            sources.append("history")
        elif known.get(reference, False):
            sources.append("reference_item")
        elif items.category[n] in categories:
            sources.append("category")
        else:
            sources.append("expected_daily_demand" if np.isfinite(items.expected_daily_demand[n]) else "none")
    return sources


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
        items, days = panel.items, panel.period_days
        self._numbers = {
            "lead_time_days": panel.lead_periods * days,
            "review_period_days": panel.review_periods * days,
            "unit_price": items.unit_price,
            "unit_cost": items.unit_cost,
            "lost_sale_cost": items.lost_sale_cost,
            "holding_cost_per_day": items.holding_cost_per_day,
            "order_multiple": np.where(items.order_multiple > 0, items.order_multiple, float(panel.discrete)),
            "min_order_qty": items.min_order_qty,
            "expected_turnover_days": items.expected_turnover_days,
        }

    def observe(self, rows: I64, periods: I64) -> Observation:
        """The observation of `rows` at the ends of `periods`, both (B,); the fields are `FIELDS` in order."""
        t = np.clip(periods, 0, self.panel.period_count - 1)
        made: dict[str, np.ndarray] = dict(visible(self.panel, rows, periods, self.spec))
        made |= {name: column[rows].astype(np.float32) for name, column in self._numbers.items()}
        made |= {name: column[rows] for name, column in self._texts.items()}
        made["as_of_day"] = self.panel.start_day + periods.astype(np.int64) * self.panel.period_days
        made["prior_daily_rate"] = self.rates.prior_daily_rate[rows, t].astype(np.float32)
        made["sales_share"] = self.rates.sales_share[rows, t].astype(np.float32)
        return {field.name: made[field.name] for field in FIELDS}
