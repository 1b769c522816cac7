"""The whole network: raw observation in, inventory days out.

Three streams (sales, attributes, objectives), a Transformer encoder each, a module that weighs them, a forecasting
head and a VAE-logits head (section 3.1.1 of the ORPR paper). Every scaling, log, calendar, patch and mask is in here
and is exported with it: callers hand over natural units and never see a normalised number. All quantities are taken
relative to `daily_rate`, so a series multiplied by ten gets the same days.

It has two halves. `read` looks at history, plans and attributes; `choose` at costs, lead time and the stock of the
moment. Only the second depends on the state, so a simulation reads each decision once and then runs the small half
over and over. One file, as the halves share every mask and scale. It does not know labels, losses or how stock moves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from simulator.observation import FIELDS, Evidence, ObservationSpec, daily_rate, evidence
from training.config import STREAMS, ModelConfig

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
MIDDLE = len(QUANTILES) // 2
PAST_CHANNELS = 8
FUTURE_CHANNELS = 20
WINDOWS = (7, 14, 28, 56, 91, 182, 364)  # days whose mean demand the history is summed up in
SIGNALS = 2 * len(WINDOWS) + 10
STOCK_SIGNALS = 5 * len(QUANTILES) + 4
TINY = 1e-6
START_SPREAD, START_CENTRE, START_SCALE = 0.06, 0.35, 20.0  # the first guess of the decision head, on 0..1


class PolicyOutput(NamedTuple):
    """What the network answers; B decisions."""

    inventory_days: Tensor  # (B,) days, a value of the grid
    inventory_days_p10: Tensor  # (B,) days
    inventory_days_p90: Tensor  # (B,) days
    daily_rate: Tensor  # (B,) units a day
    logits: Tensor  # (B, V)
    forecast: Tensor  # (B, H, Q) units a period


class Context(NamedTuple):
    """What `read` found; nothing in it depends on the stock or on costs."""

    rate: Tensor  # (B,) units a day
    sales: Tensor  # (B, width)
    attributes: Tensor  # (B, width)
    signals: Tensor  # (B, SIGNALS) what simple sums say of history and plans
    scaled_forecast: Tensor  # (B, H, Q) periods of the daily rate
    promoted: Tensor  # (B,) share of the periods that the order is responsible for in which a promotion runs


class Latent(NamedTuple):
    """What training needs besides the output."""

    days: Tensor  # (B,) mean of the distribution over days, before it is put on the grid
    mean: Tensor  # (B, Z)
    log_variance: Tensor  # (B, Z)
    logits: Tensor  # (B, V)
    scaled_forecast: Tensor  # (B, H, Q) periods of the daily rate


def _finite(value: Tensor) -> Tensor:
    return torch.where(torch.isnan(value), torch.zeros_like(value), value)


def _safe_log(value: Tensor) -> Tensor:
    return torch.log(torch.clamp(value, min=TINY))


def _level(value: Tensor) -> Tensor:
    """The log of something that may be nothing."""
    return torch.log(value + 0.1)


def _mlp(inside: int, hidden: int, outside: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inside, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, outside))


def _encoder(config: ModelConfig, layers: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        config.width, config.heads, 3 * config.width, config.dropout, "gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(config.width), enable_nested_tensor=False)


def named(fields: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The observation's fields by name."""
    return dict(zip((field.name for field in FIELDS), fields, strict=True))


class PolicyNetwork(nn.Module):
    """`forward` takes the fields of an observation in order and returns `(PolicyOutput, Latent)`."""

    grid: Tensor

    def __init__(self, config: ModelConfig, spec: ObservationSpec, grid: list[float]) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        width, patch = config.width, spec.patch
        self.register_buffer("grid", torch.tensor(grid, dtype=torch.float32))
        self.past_embed = nn.Linear(PAST_CHANNELS * patch, width)
        self.future_embed = nn.Linear(FUTURE_CHANNELS * patch, width)
        tokens = spec.recent // patch + spec.horizon // patch
        self.position = nn.Parameter(torch.randn(1, tokens, width) * 0.02)
        self.sales_encoder = _encoder(config, config.sales_layers)
        self.pool = nn.Linear(width, 1)
        self.signal_embed = nn.Linear(SIGNALS, width)
        self.code_embed = nn.Embedding(spec.code_buckets, width, padding_idx=0)
        self.name_embed = nn.Embedding(spec.name_buckets, width, padding_idx=0)
        self.number_embed = nn.Linear(8, width)
        self.attribute_encoder = _encoder(config, config.side_layers)
        self.forecast_head = _mlp(3 * width, 2 * width, patch * len(QUANTILES), config.dropout)
        self.service_embed = nn.Linear(3, width)
        self.share_embed = nn.Linear(3, width)
        self.signal_again = nn.Linear(SIGNALS, width)
        self.stock_embed = nn.Linear(STOCK_SIGNALS, width)
        self.objective_encoder = _encoder(config, config.side_layers)
        self.weigh = nn.Linear(3 * width, 3)
        self.fuse = _mlp(3 * width, 2 * width, 2 * width, config.dropout)
        inside = 2 * width + STOCK_SIGNALS + SIGNALS + 3
        self.decision_head = _mlp(inside, 2 * width, 2 * config.latent, config.dropout)
        self.to_logits = nn.Linear(config.latent, len(grid))
        self._start_from_the_forecast()
        self.promotion_head: nn.Sequential | None = None
        if config.promotion_head:
            self.promotion_head = self._new_promotion_head()

    def add_promotion_head(self) -> None:
        """Give it a correction for promoted orders, where it has none. It changes nothing until it is trained."""
        if self.promotion_head is None:
            self.config = replace(self.config, promotion_head=True)
            self.promotion_head = self._new_promotion_head()

    def _new_promotion_head(self) -> nn.Sequential:
        heard = self.decision_head[0]
        assert isinstance(heard, nn.Linear)
        made = _mlp(heard.in_features + 1, self.config.width, self.config.latent, self.config.dropout)
        last = made[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        return made

    def _start_from_the_forecast(self) -> None:
        """Give W and b a first guess that makes sense: a bell over days around the forecast of the interval.

        On u = log(1 + days) the bell -(u - c)^2 / (2 s^2) is linear in its centre c, so W z + b can hold it: z[0] moves
        the centre, the bias holds the curvature, and the other columns are cosines over u that bend it. Training may
        move all of it. Started at random instead, neighbouring days share nothing and the head hardly learns.
        """
        u = torch.log1p(self.grid) / torch.log1p(self.grid[-1])
        inverse = 1.0 / START_SPREAD**2
        with torch.no_grad():
            waves = torch.arange(1, self.config.latent, dtype=torch.float32)
            self.to_logits.weight[:, 1:] = torch.cos(torch.pi * waves * u[:, None]) / (1 + 0.2 * waves)
            self.to_logits.weight[:, 0] = u * inverse / START_SCALE
            self.to_logits.bias.copy_(START_CENTRE * u * inverse - 0.5 * u**2 * inverse)
            last = self.decision_head[-1]
            assert isinstance(last, nn.Linear)
            last.weight.mul_(0.1)
            last.bias.zero_()
            last.bias[self.config.latent :] = -3.0

    # ---------------------------------------------------------------------------------------------------------- masks

    def _ahead(self, like: Tensor) -> Tensor:
        return torch.arange(1, self.spec.horizon + 1, device=like.device)

    def _intervals(self, x: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """(B, H) flags: periods that the order has to last, those before it comes, those it is responsible for."""
        ahead = self._ahead(x["lead_time_days"])[None, :]
        days = self.spec.period_days
        lead, review = x["lead_time_days"][:, None] / days, x["review_period_days"][:, None] / days
        protection = (ahead < lead + review).to(torch.float32)
        before = protection * (ahead < lead)
        return protection, before, protection - before

    def _calendar(self, as_of_day: Tensor, last_seen: Tensor) -> list[Tensor]:
        """Eight (B, H) waves: weekday and time of year of every period ahead.

        The time of year is told only to series that have seen this season a year ago: a dataset of one spring teaches
        dates, not seasons.
        """
        day = as_of_day[:, None] + (self._ahead(as_of_day) * self.spec.period_days)[None, :]
        # Cycles are taken in whole numbers: float32 remainders of 20,000 days differ between runtimes in the third digit.
        week = torch.remainder(day + 3, 7).to(torch.float32) * (2 * torch.pi / 7)
        year = torch.remainder(day * 10_000, 3_652_425).to(torch.float32) * (2 * torch.pi / 3_652_425)
        waves = [wave(k * week) for k in (1, 2) for wave in (torch.sin, torch.cos)]
        met = last_seen.amax(dim=1, keepdim=True)
        return waves + [wave(k * year) * met for k in (1, 2) for wave in (torch.sin, torch.cos)]

    # ----------------------------------------------------------------------------------------------------------- read

    def read(self, x: dict[str, Tensor]) -> Context:
        """What history, plans and attributes say; costs and stock are not looked at."""
        history = self.spec.history
        promotion, open_flag = x["promotion"][:, :history], x["open"][:, :history]
        rate = daily_rate(
            x["units_sold"], x["in_stock"], promotion, open_flag, x["prior_daily_rate"], self.spec.period_days
        )
        scale = self._scale(rate)
        found = evidence(x["units_sold"], x["in_stock"], promotion, open_flag)
        found = found._replace(demand=torch.clamp(found.demand / scale[:, None], max=30.0))
        profile = self._first_forecast(x, found, scale)
        ahead = [profile, found.demand[:, : self.spec.horizon], found.seen[:, : self.spec.horizon]]
        signals = self._signals(x, found, ahead)
        tokens = torch.cat([self._past(x, found), self._future(x, ahead)], dim=1) + self.position
        sales = self.sales_encoder(tokens)
        attributes = self.attribute_encoder(self._attribute_tokens(x, scale)).mean(dim=1)
        pooled = (sales * torch.softmax(self.pool(sales), dim=1)).sum(dim=1) + self.signal_embed(signals)
        scaled = self._forecast(sales, torch.cat([pooled, attributes], dim=-1), profile)
        return Context(rate, pooled, attributes, signals, scaled, self._promoted(x))

    def _promoted(self, x: dict[str, Tensor]) -> Tensor:
        _, _, responsible = self._intervals(x)
        runs = (_finite(x["promotion"])[:, self.spec.history :] > 0).to(torch.float32)
        return (runs * responsible).sum(dim=1) / responsible.sum(dim=1).clamp(min=1.0)

    def _scale(self, rate: Tensor) -> Tensor:
        """(B,) units a period."""
        return torch.clamp(rate * self.spec.period_days, min=TINY)

    def _first_forecast(self, x: dict[str, Tensor], found: Evidence, scale: Tensor) -> Tensor:
        """(B, H) what the forecasting head corrects, in rates: the caller's forecast, or else mean demand by weekday over the
        last eight weeks, shrunk toward one rate."""
        given = x["own_forecast"] / scale[:, None]
        weeks, patch = 8, self.spec.patch
        weight = found.weight[:, -weeks * patch :]
        total = (found.demand[:, -weeks * patch :] * weight).reshape(-1, weeks, patch).sum(dim=1)
        profile = (total + 1.0) / (weight.reshape(-1, weeks, patch).sum(dim=1) + 1.0)
        repeated = profile.repeat(1, self.spec.horizon // patch)
        return torch.where(torch.isnan(given), repeated, given.clamp(0.0, 30.0))

    def _past(self, x: dict[str, Tensor], found: Evidence) -> Tensor:
        """(B, S, width) the last 91 days."""
        history = self.spec.history
        past = slice(history - self.spec.recent, history)
        price = x["price"]
        known = ~torch.isnan(price)
        mean_price = _finite(price)[:, past].sum(dim=1) / known[:, past].sum(dim=1).clamp(min=1)
        relative = (_safe_log(_finite(price)) - _safe_log(mean_price)[:, None]).clamp(-2.0, 2.0) * known
        channels = [
            torch.log1p(found.demand)[:, past], found.seen[:, past], _finite(x["promotion"])[:, past],
            _finite(x["holiday"])[:, past], _finite(x["school_holiday"])[:, past],
            1 - (x["open"] == 0).to(torch.float32)[:, past], relative[:, past],
            torch.isnan(x["units_sold"]).to(torch.float32)[:, past],
        ]  # fmt: skip
        embedded: Tensor = self.past_embed(self._patches(channels))
        return embedded

    def _future(self, x: dict[str, Tensor], expected: list[Tensor]) -> Tensor:
        """(B, S, width) what is known of the periods ahead, and what the same season brought a year ago."""
        horizon = self.spec.horizon
        future = slice(self.spec.history, None)
        profile, last_year, last_seen = expected
        protection, _, responsible = self._intervals(x)
        promotion, holiday = x["promotion"], x["holiday"]
        channels = [
            torch.log1p(profile), torch.log1p(last_year), last_seen,
            _finite(promotion)[:, future], torch.isnan(promotion)[:, future].to(torch.float32),
            _finite(promotion)[:, :horizon], _finite(holiday)[:, future], _finite(holiday)[:, :horizon],
            _finite(x["school_holiday"])[:, future], 1 - (x["open"] == 0).to(torch.float32)[:, future],
            protection, responsible, *self._calendar(x["as_of_day"], last_seen),
        ]  # fmt: skip
        embedded: Tensor = self.future_embed(self._patches(channels))
        return embedded

    def _patches(self, channels: list[Tensor]) -> Tensor:
        """(B, S, C x patch) of C channels (B, S x patch)."""
        return torch.stack(channels, dim=-1).reshape(channels[0].shape[0], -1, len(channels) * self.spec.patch)

    def _signals(self, x: dict[str, Tensor], found: Evidence, expected: list[Tensor]) -> Tensor:
        """(B, SIGNALS) means of the history over windows, how sure they are, and simple forecasts of the interval."""
        protection, before, responsible = self._intervals(x)
        profile, last_year, last_seen = expected
        last_year = torch.where(last_seen > 0, last_year, profile)
        columns = []
        for days in WINDOWS:
            recent = slice(-days // self.spec.period_days, None)
            count = found.seen[:, recent].sum(dim=1)
            mean = (found.demand * found.seen)[:, recent].sum(dim=1) / count.clamp(min=1.0)
            columns += [_level(mean), torch.log1p(count) * 0.2]
        for days in (28, 91):
            recent = slice(-days // self.spec.period_days, None)
            seen, demand = found.seen[:, recent], found.demand[:, recent]
            count = seen.sum(dim=1).clamp(min=1.0)
            mean = (demand * seen).sum(dim=1) / count
            spread = torch.sqrt(((demand - mean[:, None]) ** 2 * seen).sum(dim=1) / count + TINY)
            sold = ((demand > 0).to(torch.float32) * seen).sum(dim=1) / count
            columns += [spread.clamp(max=10.0), sold]
        columns += [_level((profile * protection).sum(dim=1)), _level((last_year * protection).sum(dim=1))]
        columns += [_level((profile * responsible).sum(dim=1)), _level((last_year * responsible).sum(dim=1))]
        columns += [torch.log1p(before.sum(dim=1)), torch.log1p(responsible.sum(dim=1))]
        return torch.stack(columns, dim=-1)

    def _attribute_tokens(self, x: dict[str, Tensor], scale: Tensor) -> Tensor:
        """(B, 7, width) codes, name and numbers."""
        codes, names = x["codes"], x["name_tokens"]
        if self.training and self.config.code_dropout > 0:
            shown = (torch.rand(codes.shape[0], 1, device=codes.device) >= self.config.code_dropout).to(codes.dtype)
            codes, names = codes * shown, names * shown
        words = (names > 0).to(torch.float32)
        name = self.name_embed(names).sum(dim=1) / words.sum(dim=1, keepdim=True).clamp(min=1)
        price, cost = x["unit_price"], x["unit_cost"]
        margin = torch.where(torch.isnan(cost / price), torch.zeros_like(price), 1 - cost / price)
        numbers = torch.stack(
            [
                torch.log(x["lead_time_days"]), torch.log(x["review_period_days"]),
                _finite(_safe_log(price)), torch.isnan(price).to(torch.float32), margin.clamp(-1.0, 1.0),
                torch.log1p(_finite(x["order_multiple"]) / scale), torch.log1p(_finite(x["min_order_qty"]) / scale),
                torch.clamp(_safe_log(x["order_multiple"] / scale), -5.0, 5.0),
            ],
            dim=-1,
        )  # fmt: skip
        return torch.cat([self.code_embed(codes), name[:, None, :], self.number_embed(numbers)[:, None, :]], dim=1)

    def _forecast(self, sales: Tensor, known: Tensor, profile: Tensor) -> Tensor:
        """(B, H, Q) non-crossing quantiles of demand a period, in rates: the weekday forecast, corrected."""
        ahead = sales[:, -(self.spec.horizon // self.spec.patch) :]
        raw = self.forecast_head(torch.cat([ahead, known[:, None, :].expand(-1, ahead.shape[1], -1)], dim=-1))
        raw = raw.reshape(raw.shape[0], self.spec.horizon, len(QUANTILES))
        gaps = nn.functional.softplus(raw - 1.0)
        below = torch.flip(torch.cumsum(torch.flip(gaps[..., :MIDDLE], [-1]), dim=-1), [-1])
        above = torch.cumsum(gaps[..., MIDDLE + 1 :], dim=-1)
        centre = torch.log1p(profile)[..., None] + raw[..., MIDDLE : MIDDLE + 1]
        logs = torch.cat([centre - below, centre, centre + above], dim=-1)
        return torch.expm1(torch.clamp(logs, 0.0, 4.0))

    # --------------------------------------------------------------------------------------------------------- choose

    def choose(self, x: dict[str, Tensor], context: Context) -> Latent:
        """The distribution over days, given costs and stock.

        Args:
            x: only lead time, review period, costs, share, turnover target and the state fields are read.
            context: of the same decisions.
        """
        stock, start = self._stock(x, context)
        stock, costs = self._heard("objectives", stock), self._heard("objectives", self._costs(x))
        signals = self._heard("sales", context.signals)
        embedded = [
            self.service_embed(costs), self.share_embed(self._share(x)), self.signal_again(signals),
            self.stock_embed(stock),
        ]  # fmt: skip
        objectives = self.objective_encoder(torch.stack(embedded, dim=1)).mean(dim=1)
        found = zip(STREAMS, (context.sales, context.attributes, objectives), strict=True)
        streams = torch.stack([self._heard(name, stream) for name, stream in found], dim=1)  # (B, 3, width)
        weights = torch.softmax(self.weigh(streams.flatten(1)), dim=1) * 3
        fused = self.fuse((streams * weights[:, :, None]).flatten(1))
        heard = torch.cat([fused, stock, signals, costs], dim=-1)
        mean, log_variance = self.decision_head(heard).chunk(2, dim=-1)
        anchor = torch.log1p(start) / torch.log1p(self.grid[-1]) - START_CENTRE
        mean = torch.cat([mean[:, :1] + START_SCALE * anchor[:, None], mean[:, 1:]], dim=-1)
        if self.promotion_head is not None:
            share = context.promoted[:, None]
            mean = mean + (share > 0).to(torch.float32) * self.promotion_head(torch.cat([heard, share], dim=-1))
        log_variance = log_variance.clamp(-8.0, 2.0)
        z = mean
        if self.training:
            z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        logits = self.to_logits(z)
        days = (torch.softmax(logits, dim=-1) * self.grid).sum(dim=-1)
        return Latent(days, mean, log_variance, logits, context.scaled_forecast)

    def _heard(self, stream: str, value: Tensor) -> Tensor:
        return torch.zeros_like(value) if self.config.left_out == stream else value

    def _costs(self, x: dict[str, Tensor]) -> Tensor:
        """(B, 3) critical ratios."""
        lost, held = x["lost_sale_cost"], x["holding_cost_per_day"]
        ratio = lost / torch.clamp(lost + held * x["review_period_days"], min=TINY)
        daily = lost / torch.clamp(lost + held, min=TINY)
        return torch.stack([ratio, torch.logit(ratio, eps=1e-4), torch.logit(daily, eps=1e-4)], dim=-1)

    def _share(self, x: dict[str, Tensor]) -> Tensor:
        turnover = x["expected_turnover_days"]
        known = (~torch.isnan(turnover)).to(torch.float32)
        return torch.stack([x["sales_share"], torch.log1p(_finite(turnover)), known], dim=-1)

    def _stock(self, x: dict[str, Tensor], context: Context) -> tuple[Tensor, Tensor]:
        """(B, STOCK_SIGNALS) the stock beside the forecast, and (B,) days that the forecast alone would ask for.

        What is lost before the order arrives need not be ordered: demand of the lead time beyond stock and receipts,
        (max over its periods of demand so far - supply so far)+, which is exact for lost sales.
        """
        scale = self._scale(context.rate)[:, None]
        protection, before, responsible = self._intervals(x)
        forecast = context.scaled_forecast
        known = (~torch.isnan(x["on_hand"])).to(torch.float32)[:, None]
        on_hand, on_order = _finite(x["on_hand"])[:, None] / scale, _finite(x["on_order"]) / scale
        supply = on_hand + torch.cumsum(on_order, dim=1)
        gap = torch.cumsum(forecast, dim=1) - supply[..., None]
        short = (gap * before[..., None]).amax(dim=1).clamp(min=0.0) * known  # (B, Q) lost before the order comes
        coming = (on_order * before).sum(dim=1, keepdim=True)
        waiting = (forecast * before[..., None]).sum(dim=1)
        left = (on_hand + coming - waiting + short).clamp(min=0.0) * known  # (B, Q) there when it comes
        lasting = (forecast * protection[..., None]).sum(dim=1)
        selling = (forecast * responsible[..., None]).sum(dim=1)
        position = on_hand + on_order.sum(dim=1, keepdim=True)
        wanted = (lasting - short).clamp(min=0.0)
        signals = [
            torch.log1p(short), _level(left), _level(lasting), _level(selling), _level(wanted),
            _level(on_hand) * known, _level(position) * known, (_level(position) - _level(lasting[:, 2:3])) * known, known,
        ]  # fmt: skip
        return torch.cat(signals, dim=-1).clamp(-8.0, 8.0), wanted[:, MIDDLE] * self.spec.period_days

    # -------------------------------------------------------------------------------------------------------- forward

    def forward(self, *fields: Tensor) -> tuple[PolicyOutput, Latent]:
        """Answer B decisions.

        Args:
            fields: the observation's fields, in the order of `observation.FIELDS`.
        """
        x = named(fields)
        context = self.read(x)
        latent = self.choose(x, context)
        return self.answer(context, latent), latent

    def answer(self, context: Context, latent: Latent) -> PolicyOutput:
        """The read-out: the grid value nearest to the distribution's mean, and its spread."""
        cumulative = torch.cumsum(torch.softmax(latent.logits, dim=-1), dim=-1)
        last = len(self.grid) - 1
        at = torch.argmin(torch.abs(self.grid[None, :] - latent.days[:, None]), dim=-1)
        low = (cumulative < 0.1).sum(dim=-1).clamp(max=last)
        high = (cumulative < 0.9).sum(dim=-1).clamp(max=last)
        forecast = context.scaled_forecast * self._scale(context.rate)[:, None, None]
        return PolicyOutput(self.grid[at], self.grid[low], self.grid[high], context.rate, latent.logits, forecast)
