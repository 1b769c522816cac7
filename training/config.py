"""Configuration: one frozen dataclass a stage, validated when made; TOML in, unknown keys fail."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

RECOVERED, IN_STOCK, AT_LEAST = "recovered", "in_stock", "at_least"
ALL, PROMOTED, BOTH = "all", "promoted", "both"
PRICED_ON = (RECOVERED, "sales", IN_STOCK)
FORECAST_ON = (IN_STOCK, AT_LEAST, RECOVERED)
STREAMS = ("sales", "attributes", "objectives")


def _positive(owner: object, *names: str) -> None:
    for name in names:
        if getattr(owner, name) <= 0:
            raise ValueError(f"{name} must be above 0, got {getattr(owner, name)}")


@dataclass(frozen=True)
class ModelConfig:
    """Size of the network."""

    width: int = 64  # of every token; the one size dial
    sales_layers: int = 2  # encoder layers of the sales stream
    side_layers: int = 1  # encoder layers of the attribute and objective streams
    heads: int = 4  # attention heads
    latent: int = 32  # dimensions of z
    code_dropout: float = (
        0.3  # chance that an item's codes and name are hidden in training, so that the policy transfers
    )
    dropout: float = 0.1
    promotion_head: bool = (
        False  # a correction for orders that promotions fall into; an alignment that moves those alone adds it
    )
    left_out: str = ""  # a stream that the decision does not hear, for ablations: "sales", "attributes" or "objectives"

    def __post_init__(self) -> None:
        _positive(self, "width", "sales_layers", "side_layers", "heads", "latent")
        if self.left_out not in ("", *STREAMS):
            raise ValueError(f"left_out must be empty or one of {', '.join(STREAMS)}, got {self.left_out!r}")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads ({self.heads}), got {self.width}")


@dataclass(frozen=True)
class StageConfig:
    """One training stage."""

    epochs: float = 4.0  # passes over its samples
    learning_rate: float = 1e-3  # peak; warms up over 5 % of the steps, then falls as a cosine
    batch_size: int = 512
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        _positive(self, "learning_rate", "batch_size")
        if self.epochs < 0:
            raise ValueError(f"epochs must be at least 0, got {self.epochs}")


@dataclass(frozen=True)
class LabelConfig:
    """Which decisions are labelled."""

    # What decisions are priced on: demand "recovered" behind stock-outs, "sales" as they were, or "in_stock": the sales of
    # intervals that were nearly always in stock, the others left out.
    demand: str = IN_STOCK
    # What the forecast learns: sales of periods "in_stock" throughout, the others left out; "at_least", the others count as
    # lower bounds; or demand "recovered" behind stock-outs. Days out of stock are busy ones: without them it comes out low.
    forecast: str = IN_STOCK
    # "in_stock" judges an interval's supply over at least so many days from its start on: a short one may be in stock
    # just because little was asked for, and pricing on such alone makes a policy hold too little where demand rises.
    supply_days: int = 14
    # Of each dataset's decisions, so many more that are priced on recovered demand, and forecasts of it: where shelves
    # are often empty, intervals in stock are those in which little was asked for.
    recovered_share: float = 0.0
    drawn_variants: int = 4  # further copies of the dataset with drawn lead times, review periods and critical ratios
    lumpy_share: float = 0.0  # of each dataset's decisions, so many more under drawn, slow and lumpy demand
    surge_share: float = 0.0  # of each dataset's decisions, so many more under drawn surges in promotions
    promotion_weight: float = 1.0  # of a decision that a promoted period depends on, against 1 of the others
    free_position: bool = (
        True  # train on curves as if the position were below every target; the file keeps the real ones
    )
    samples_per_variant: int = 60_000  # about how many decisions are taken from one copy, at most

    def __post_init__(self) -> None:
        if self.drawn_variants < 0:
            raise ValueError(f"drawn_variants must be at least 0, got {self.drawn_variants}")
        if self.demand not in PRICED_ON:
            raise ValueError(f"demand must be one of {', '.join(PRICED_ON)}, got {self.demand!r}")
        if self.forecast not in FORECAST_ON:
            raise ValueError(f"forecast must be one of {', '.join(FORECAST_ON)}, got {self.forecast!r}")
        if self.supply_days < 0:
            raise ValueError(f"supply_days must be at least 0, got {self.supply_days}")
        for name in ("lumpy_share", "recovered_share", "surge_share", "promotion_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        _positive(self, "samples_per_variant")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss parts."""

    label_temperature: float = 0.15  # days of lost sales; soft labels are exp(-(cost - least) / temperature)
    kl: float = 1e-4  # of the latent against N(0, I): the ELBO's second part
    joint: str = "cost"  # what the joint stage minimises: "cost" of the whole curve, or the "label"'s likelihood as the paper does
    readout: float = 1.0  # cost of the day that is read out, beside the expected cost over all days
    forecast: float = 1.0  # of the forecast's own loss in the joint stage; 0 only monitors it, as the paper does
    money_power: float = 0.5  # a decision weighs (daily rate x lost-sale cost) to this power

    def __post_init__(self) -> None:
        _positive(self, "label_temperature")
        if self.joint not in ("cost", "label"):
            raise ValueError(f'joint must be "cost" or "label", got {self.joint!r}')


@dataclass(frozen=True)
class RolloutConfig(StageConfig):
    """DirectBackprop through whole replays."""

    epochs: float = 6.0
    learning_rate: float = 5e-4
    batch_size: int = 256  # stretches
    episodes: int = 4096  # stretches of each copy of a dataset
    variants: int = 3  # copies of a dataset, the first with its own lead times and costs
    periods: int = 56  # length of a stretch
    least_stretches: float = 3.0  # a dataset whose history is shorter is not replayed: it would teach its accidents

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self, "episodes", "variants", "periods")
        if self.least_stretches < 0:
            raise ValueError(f"least_stretches must be at least 0, got {self.least_stretches:g}")


@dataclass(frozen=True)
class AlignConfig(StageConfig):
    """RLOO, Algorithm 1."""

    epochs: float = 2.0
    learning_rate: float = 2e-4
    batch_size: int = 256  # decisions
    samples: int = 60_000  # decisions in all
    samples_per_state: int = 8  # k
    horizon: int = 28  # H: periods after the decision
    omega: float = 0.5  # of the rule reward; the simulator's gets the rest
    alpha: float = 2.0  # of a change in the wrong direction
    gamma: float = 1.0  # focal exponent
    beta: float = 0.05  # of the KL to the policy before alignment
    compare_with: str = "label"  # whose action the simulated one is held against: "label", or "policy" before alignment
    pareto: float = 1.0  # of Pareto dominance in the simulator's reward
    saving: float = 0.0  # of the saving in days of lost sales a period in the simulator's reward; the paper has none
    portfolio: float = 0.0  # of stock and stock-outs saved over all series together; the paper has none
    service: float = 0.5  # of stock-outs in it; at 1 scaling every action gains nothing, below it less stock gains
    curve: float = 0.0  # of the order's own cost curve, known for every action; the paper has none
    # Where on the curve a sample is priced: 1 where it falls; below, that share of the way from the mean to it. It is the mean
    # that is deployed, and as curves are steeper below their bottom than above it, samples far around pull it up.
    near: float = 1.0
    kl_limit: float = 0.5  # nats; above it alignment stops
    expert_share: float = 0.3  # of the batches that are experts' decisions, where there are any
    expert: float = 1.0  # of the reward by experts' days
    # Which orders learn: "all"; "promoted" ones alone by a head of their own, so that routine orders stay exactly as they were;
    # or "both", apart: promoted ones teach that head, the others the rest of the small half.
    moves: str = ALL
    promotion_rate: float = 3e-3  # learning rate of the head for promoted orders, which begins at nothing

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self, "samples", "horizon", "kl_limit", "promotion_rate")
        if self.samples_per_state < 2:
            raise ValueError(f"samples_per_state must be at least 2, got {self.samples_per_state}")
        if not 0 <= self.omega <= 1:
            raise ValueError(f"omega must lie between 0 and 1, got {self.omega}")
        if self.alpha <= 1:
            raise ValueError(f"alpha must be above 1, got {self.alpha}")
        if self.compare_with not in ("label", "policy"):
            raise ValueError(f'compare_with must be "label" or "policy", got {self.compare_with!r}')
        if self.moves not in (ALL, PROMOTED, BOTH):
            raise ValueError(f'moves must be "{ALL}", "{PROMOTED}" or "{BOTH}", got {self.moves!r}')
        if not 0 < self.near <= 1:
            raise ValueError(f"near must be above 0 and at most 1, got {self.near:g}")
        if not 0 <= self.expert_share < 1:
            raise ValueError(f"expert_share must be at least 0 and below 1, got {self.expert_share}")
        for name in ("gamma", "beta", "pareto", "saving", "portfolio", "curve", "service", "expert"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")

    @property
    def simulates(self) -> bool:
        """Whether a part of the reward is what follows an order in the simulator."""
        return self.omega < 1 and (self.pareto > 0 or self.saving > 0 or self.portfolio > 0)


@dataclass(frozen=True)
class ExpertConfig:
    """Which experts' decisions are learnt from, and how much they weigh."""

    half_life_days: int = 180  # a label that is older than the newest by so much weighs half
    stale_days: int = 730  # one that is older than that is left out
    lost_weight: float = 0.5  # of a decision that cost more than the policy's own would have
    surge: float = 3.0  # demand may be so many times the usual before a label counts as absurd
    absurd: float = 3.0  # a label that costs so many times what the policy's own number costs is

    def __post_init__(self) -> None:
        _positive(self, "half_life_days", "stale_days", "absurd")
        if self.surge < 1:
            raise ValueError(f"surge must be at least 1, got {self.surge:g}")
        if not 0 <= self.lost_weight <= 1:
            raise ValueError(f"lost_weight must lie between 0 and 1, got {self.lost_weight:g}")


@dataclass(frozen=True)
class GateConfig:
    """When a fine-tuned policy may take the champion's place."""

    held_out: float = 0.2  # share of the series that fine-tuning never sees; the gate judges on them
    days: int = 56  # the last so many
    margin: float = 0.005  # by which routine total cost may rise
    kl_limit: float = 0.5  # nats; how far actions may drift on average

    def __post_init__(self) -> None:
        _positive(self, "days", "kl_limit")
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out must lie between 0 and 1, got {self.held_out:g}")
        if self.margin < 0:
            raise ValueError(f"margin must be at least 0, got {self.margin:g}")


@dataclass(frozen=True)
class TrainConfig:
    """Everything a training run depends on besides the data and the seed."""

    name: str = "default"
    model: ModelConfig = field(default_factory=ModelConfig)
    labels: LabelConfig = field(default_factory=LabelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    forecast: StageConfig = field(default_factory=lambda: StageConfig(epochs=3.0))
    head: StageConfig = field(default_factory=lambda: StageConfig(epochs=1.0))
    joint: StageConfig = field(default_factory=lambda: StageConfig(epochs=5.0, learning_rate=5e-4))
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    align: AlignConfig = field(default_factory=lambda: AlignConfig(epochs=0.0))
    experts: ExpertConfig = field(default_factory=ExpertConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    seed: int = 0
    threads: int = 2
    mixed_precision: bool = True  # products of the encoders in bfloat16 while training; the bundle is float32

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the manifest."""
        return asdict(self)


def load_config(path: Path | None, **overrides: Any) -> TrainConfig:
    """The configuration of a TOML file, with top-level overrides.

    Raises:
        ValueError: naming the key that is unknown or the value that is out of bounds.
    """
    raw: dict[str, Any] = {} if path is None else tomllib.loads(path.read_text(encoding="utf-8"))
    made = _build(TrainConfig(), raw | {k: v for k, v in overrides.items() if v is not None}, "")
    assert isinstance(made, TrainConfig)
    return made


def _build(base: Any, raw: dict[str, Any], where: str) -> Any:
    known = {f.name for f in fields(base)}
    changes: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in known:
            raise ValueError(f"unknown key {where}{key}; known are {', '.join(sorted(known))}")
        current = getattr(base, key)
        if isinstance(value, dict) and is_dataclass(current):
            changes[key] = _build(current, value, f"{where}{key}.")
            continue
        whole_for_float = isinstance(current, float) and type(value) is int
        if type(value) is not type(current) and not whole_for_float:
            raise ValueError(f"{where}{key} must be a {type(current).__name__}, got {value!r}")
        changes[key] = value
    return replace(base, **changes)
