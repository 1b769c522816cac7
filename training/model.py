"""The whole network: raw observation in, inventory days out.

Three streams (sales, attributes, objectives), a Transformer encoder each, a module that weighs them, a forecasting
head and a VAE-logits head (section 3.1.1 of the ORPR paper). Every scaling, log, calendar, patch and mask is in here
and is exported with it: callers hand over natural units and never see a normalised number. All quantities are taken
relative to `daily_rate`, so a series multiplied by ten gets the same days.

It does not know labels, losses or how stock moves.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from simulator.observation import FIELDS, ObservationSpec, daily_rate, evidence
from training.config import ModelConfig

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
PAST_CHANNELS = 8
FUTURE_CHANNELS = 20
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


class Latent(NamedTuple):
    """What training needs besides the output."""

    days: Tensor  # (B,) mean of the distribution over days, before it is put on the grid
    mean: Tensor  # (B, Z)
    log_variance: Tensor  # (B, Z)
    scaled_forecast: Tensor  # (B, H, Q) periods of the daily rate


def _finite(value: Tensor) -> Tensor:
    return torch.where(torch.isnan(value), torch.zeros_like(value), value)


def _safe_log(value: Tensor) -> Tensor:
    return torch.log(torch.clamp(value, min=TINY))


def _mlp(inside: int, hidden: int, outside: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inside, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, outside))


def _encoder(config: ModelConfig, layers: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        config.width, config.heads, 3 * config.width, config.dropout, "gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(config.width), enable_nested_tensor=False)


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
        self.code_embed = nn.Embedding(spec.code_buckets, width, padding_idx=0)
        self.name_embed = nn.Embedding(spec.name_buckets, width, padding_idx=0)
        self.number_embed = nn.Linear(8, width)
        self.attribute_encoder = _encoder(config, config.side_layers)
        self.service_embed = nn.Linear(3, width)
        self.share_embed = nn.Linear(3, width)
        self.cover_embed = nn.Linear(8, width)
        self.objective_encoder = _encoder(config, config.side_layers)
        self.pool = nn.Linear(width, 1)
        self.weigh = nn.Linear(3 * width, 3)
        self.fuse = _mlp(3 * width, 2 * width, 2 * width, config.dropout)
        self.forecast_head = _mlp(3 * width, 2 * width, patch * len(QUANTILES), config.dropout)
        self.decision_head = _mlp(2 * width + len(QUANTILES) + 8, 2 * width, 2 * config.latent, config.dropout)
        self.to_logits = nn.Linear(config.latent, len(grid))
        self._start_from_the_forecast()

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

    # ------------------------------------------------------------------------------------------------------- features

    def _calendar(self, as_of_day: Tensor) -> Tensor:
        """(B, H, 8) weekday and time of year of every period ahead."""
        ahead = torch.arange(1, self.spec.horizon + 1, device=as_of_day.device) * self.spec.period_days
        day = as_of_day[:, None] + ahead[None, :]
        # Cycles are taken in whole numbers: float32 remainders of 20,000 days differ between runtimes in the third digit.
        week = torch.remainder(day + 3, 7).to(torch.float32) * (2 * torch.pi / 7)
        year = torch.remainder(day * 10_000, 3_652_425).to(torch.float32) * (2 * torch.pi / 3_652_425)
        waves = [torch.sin(week), torch.cos(week), torch.sin(2 * week), torch.cos(2 * week)]
        waves += [torch.sin(year), torch.cos(year), torch.sin(2 * year), torch.cos(2 * year)]
        return torch.stack(waves, dim=-1)

    def _profile(self, demand: Tensor, weight: Tensor) -> Tensor:
        """(B, patch) mean demand by weekday over the last eight weeks, shrunk toward one rate."""
        weeks, patch = 8, self.spec.patch
        recent = slice(-weeks * patch, None)
        total = (demand * weight)[:, recent].reshape(-1, weeks, patch).sum(dim=1)
        count = weight[:, recent].reshape(-1, weeks, patch).sum(dim=1)
        return (total + 1.0) / (count + 1.0)

    def _sales_tokens(self, x: dict[str, Tensor], scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (B, S, width), the weekday forecast (B, H) and last year's demand (B, H), in rates."""
        spec, history = self.spec, self.spec.history
        promotion, open_flag = x["promotion"], x["open"]
        found = evidence(x["units_sold"], x["in_stock"], promotion[:, :history], open_flag[:, :history])
        demand = torch.clamp(found.demand / scale[:, None], max=30.0)
        price = x["price"]
        known_price = ~torch.isnan(price)
        recent_price = _finite(price)[:, history - spec.recent : history]
        mean_price = recent_price.sum(dim=1) / known_price[:, history - spec.recent : history].sum(dim=1).clamp(min=1)
        relative = torch.where(
            known_price, _safe_log(_finite(price)) - _safe_log(mean_price)[:, None], torch.zeros_like(price)
        ).clamp(-2.0, 2.0)
        past = slice(history - spec.recent, history)
        past_channels = torch.stack(
            [
                torch.log1p(demand)[:, past], found.seen[:, past], _finite(promotion)[:, past],
                _finite(x["holiday"])[:, past], _finite(x["school_holiday"])[:, past],
                1 - (open_flag == 0).to(torch.float32)[:, past], relative[:, past],
                torch.isnan(x["units_sold"]).to(torch.float32)[:, past],
            ],
            dim=-1,
        )  # fmt: skip
        profile = self._profile(demand, found.weight).repeat(1, spec.horizon // spec.patch)
        last_year, last_seen = demand[:, : spec.horizon], found.seen[:, : spec.horizon]
        protection, responsible = self._intervals(x)
        future = slice(history, None)
        future_channels = torch.cat(
            [
                torch.stack(
                    [
                        torch.log1p(profile), torch.log1p(last_year), last_seen,
                        _finite(promotion)[:, future], torch.isnan(promotion)[:, future].to(torch.float32),
                        _finite(promotion)[:, : spec.horizon], _finite(x["holiday"])[:, future],
                        _finite(x["holiday"])[:, : spec.horizon], _finite(x["school_holiday"])[:, future],
                        1 - (open_flag == 0).to(torch.float32)[:, future], protection, responsible,
                    ],
                    dim=-1,
                ),
                self._calendar(x["as_of_day"]),
            ],
            dim=-1,
        )  # fmt: skip
        batch = demand.shape[0]
        tokens = torch.cat(
            [
                self.past_embed(past_channels.reshape(batch, -1, PAST_CHANNELS * spec.patch)),
                self.future_embed(future_channels.reshape(batch, -1, FUTURE_CHANNELS * spec.patch)),
            ],
            dim=1,
        )
        return tokens + self.position, profile, torch.where(last_seen > 0, last_year, profile)

    def _intervals(self, x: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(B, H) flags: periods that the order has to last, and those it is responsible for."""
        days = self.spec.period_days
        ahead = torch.arange(1, self.spec.horizon + 1, device=x["lead_time_days"].device)
        lead, review = x["lead_time_days"][:, None] / days, x["review_period_days"][:, None] / days
        protection = (ahead[None, :] < lead + review).to(torch.float32)
        return protection, protection * (ahead[None, :] >= lead).to(torch.float32)

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

    def _objective_tokens(self, x: dict[str, Tensor], cover: Tensor) -> Tensor:
        """(B, 3, width) service, share and cover."""
        lost, held = x["lost_sale_cost"], x["holding_cost_per_day"]
        cycle = held * x["review_period_days"]
        ratio = lost / torch.clamp(lost + cycle, min=TINY)
        daily = lost / torch.clamp(lost + held, min=TINY)
        service = torch.stack([ratio, torch.logit(ratio, eps=1e-4), torch.logit(daily, eps=1e-4)], dim=-1)
        turnover = x["expected_turnover_days"]
        known = (~torch.isnan(turnover)).to(torch.float32)
        share = torch.stack([x["sales_share"], torch.log1p(_finite(turnover)), known], dim=-1)
        embedded = [self.service_embed(service), self.share_embed(share), self.cover_embed(cover)]
        return torch.stack(embedded, dim=1)

    def _cover(self, x: dict[str, Tensor], scale: Tensor, profile: Tensor, last_year: Tensor) -> Tensor:
        """(B, 8) what simple forecasts say of the protection interval, and how sure the history is."""
        protection, responsible = self._intervals(x)
        history = self.spec.history
        found = evidence(x["units_sold"], x["in_stock"], x["promotion"][:, :history], x["open"][:, :history])
        recent = (found.demand / scale[:, None])[:, -28 // self.spec.period_days :].clamp(max=30.0)
        seen = found.seen[:, -28 // self.spec.period_days :]
        count = seen.sum(dim=1).clamp(min=1)
        mean = (recent * seen).sum(dim=1) / count
        spread = torch.sqrt(((recent - mean[:, None]) ** 2 * seen).sum(dim=1) / count + TINY)
        sold = ((recent > 0).to(torch.float32) * seen).sum(dim=1) / count
        return torch.stack(
            [
                torch.log((profile * protection).sum(dim=1) + 0.1), torch.log((last_year * protection).sum(dim=1) + 0.1),
                torch.log(protection.sum(dim=1)), torch.log(responsible.sum(dim=1).clamp(min=1.0)),
                mean.clamp(max=10.0), spread.clamp(max=10.0), sold,
                torch.log1p(scale) * 0.2,
            ],
            dim=-1,
        )  # fmt: skip

    # -------------------------------------------------------------------------------------------------------- forward

    def forward(self, *fields: Tensor) -> tuple[PolicyOutput, Latent]:
        """Answer B decisions.

        Args:
            fields: the observation's fields, in the order of `observation.FIELDS`.
        """
        x = dict(zip((field.name for field in FIELDS), fields, strict=True))
        history = self.spec.history
        rate = daily_rate(
            x["units_sold"], x["in_stock"], x["promotion"][:, :history], x["open"][:, :history],
            x["prior_daily_rate"], self.spec.period_days,
        )  # fmt: skip
        scale = torch.clamp(rate * self.spec.period_days, min=TINY)  # units a period
        tokens, profile, last_year = self._sales_tokens(x, scale)
        sales = self.sales_encoder(tokens)
        cover = self._cover(x, scale, profile, last_year)
        attributes = self.attribute_encoder(self._attribute_tokens(x, scale)).mean(dim=1)
        objectives = self.objective_encoder(self._objective_tokens(x, cover)).mean(dim=1)
        attention = torch.softmax(self.pool(sales), dim=1)
        streams = torch.stack([(sales * attention).sum(dim=1), attributes, objectives], dim=1)  # (B, 3, width)
        weights = torch.softmax(self.weigh(streams.flatten(1)), dim=1) * 3
        fused = self.fuse((streams * weights[:, :, None]).flatten(1))
        scaled = self._forecast(sales, fused, profile)
        return self._decide(x, rate, fused, cover, scaled)

    def _forecast(self, sales: Tensor, fused: Tensor, profile: Tensor) -> Tensor:
        """(B, H, Q) non-crossing quantiles of demand a period, in rates: the weekday forecast, corrected."""
        ahead = sales[:, -(self.spec.horizon // self.spec.patch) :]
        context = fused[:, None, :].expand(-1, ahead.shape[1], -1)
        raw = self.forecast_head(torch.cat([ahead, context], dim=-1))
        raw = raw.reshape(raw.shape[0], self.spec.horizon, len(QUANTILES))
        middle = len(QUANTILES) // 2
        gaps = nn.functional.softplus(raw - 1.0)
        below = torch.flip(torch.cumsum(torch.flip(gaps[..., :middle], [-1]), dim=-1), [-1])
        above = torch.cumsum(gaps[..., middle + 1 :], dim=-1)
        centre = torch.log1p(profile)[..., None] + raw[..., middle : middle + 1]
        logs = torch.cat([centre - below, centre, centre + above], dim=-1)
        return torch.expm1(torch.clamp(logs, 0.0, 4.0))

    def _decide(
        self, x: dict[str, Tensor], rate: Tensor, fused: Tensor, cover: Tensor, scaled: Tensor
    ) -> tuple[PolicyOutput, Latent]:
        protection, _ = self._intervals(x)
        expected = torch.log((scaled * protection[..., None]).sum(dim=1) + 0.1)
        mean, log_variance = self.decision_head(torch.cat([fused, expected, cover], dim=-1)).chunk(2, dim=-1)
        interval = (scaled[..., len(QUANTILES) // 2] * protection).sum(dim=1)
        anchor = torch.log1p(interval) / torch.log1p(self.grid[-1]) - START_CENTRE
        mean = torch.cat([mean[:, :1] + START_SCALE * anchor[:, None], mean[:, 1:]], dim=-1)
        log_variance = log_variance.clamp(-8.0, 2.0)
        z = mean
        if self.training:
            z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        logits = self.to_logits(z)
        probability = torch.softmax(logits, dim=-1)
        days = (probability * self.grid).sum(dim=-1)
        cumulative = torch.cumsum(probability, dim=-1)
        last = len(self.grid) - 1
        at = torch.argmin(torch.abs(self.grid[None, :] - days[:, None]), dim=-1)
        low = (cumulative < 0.1).sum(dim=-1).clamp(max=last)
        high = (cumulative < 0.9).sum(dim=-1).clamp(max=last)
        forecast = scaled * torch.clamp(rate * self.spec.period_days, min=TINY)[:, None, None]
        output = PolicyOutput(self.grid[at], self.grid[low], self.grid[high], rate, logits, forecast)
        return output, Latent(days, mean, log_variance, scaled)
