"""Bodies of the policy routes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from service.bundle_folders import VERSION
from service.fields import KeyName, Moment
from service.schemas import Body

Version = Annotated[str, Field(pattern=VERSION, description="Name of a bundle.", examples=["daily-6.1"])]
Alias = Annotated[
    Literal["champion", "challenger", "canary", "shadow"],
    Field(
        description="What the policy is to the service: who decides, who decides for a share of the series, or who only decides "
        "beside.", examples=["champion"],
    ),
]  # fmt: skip
Share = Annotated[
    float | None, Field(description="Per cent of the series that a canary decides; null for all else.", examples=[10])
]


class RegisterRequest(Body):
    """A bundle to take in."""

    version: Version


class ReasonRequest(Body):
    """Why an alias is changed; kept with the change."""

    reason: str = Field(
        min_length=1, max_length=500, description="Why.", examples=["4 % cheaper on the last eight weeks"]
    )


class CanaryRequest(ReasonRequest):
    """For how many series a policy decides, and why."""

    share: float = Field(ge=1, le=50, description="Per cent of the series.", examples=[10])


class AliasChange(BaseModel):
    """One change of an alias."""

    alias: Alias
    version: str | None = Field(
        description="Where it pointed from then on; null: the shipped champion, or no shadow or canary.",
        examples=["daily-6.1"],
    )
    action: Literal["promote", "rollback", "shadow", "canary", "clear", "guardrail"] = Field(
        description="What was asked for; guardrail: the service itself ended a canary.", examples=["promote"]
    )
    share: Share = None
    reason: str = Field(description="As it was given.", examples=["4 % cheaper on the last eight weeks"])
    at: Moment
    by: KeyName


class AliasState(BaseModel):
    """Where an alias points."""

    alias: Alias
    version: str | None = Field(description="null: nowhere.", examples=["daily-6.1"])
    before: str | None = Field(
        description="Where it pointed before; for the champion, where a rollback leads. null: nowhere.",
        examples=["daily-6.1"],
    )
    share: Share = None
    changed: AliasChange | None = Field(description="The last change; null where nobody has changed it.")


class StoredPolicy(BaseModel):
    """A policy that is registered, or that lies in the folders of bundles and could be."""

    version: str = Field(description="Name of the bundle.", examples=["daily-6.1"])
    period_days: int | None = Field(description="Length of the periods that it decides for, days.", examples=[1])
    contract_id: str | None = Field(
        description="Of its graph: what goes in and comes out. null: unreadable.", examples=["ddd1495a35c9f34d"]
    )
    sha256: dict[str, str] | None = Field(
        description="Of each file: where registered, what it must be; else what it is now. null: unreadable.",
        examples=[{"policy.onnx": "9f2c1d0e5b7a48361f0c9d8e7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c2d1e0f9a8b"}],
    )
    metrics: dict[str, Any] | None = Field(
        description="What its manifest and report tell of its training.", examples=[{"training_cut_off": "2018-11-01"}]
    )
    shipped: bool = Field(description="It comes with the package.", examples=[True])
    registered: bool = Field(description="Only registered ones can be promoted.", examples=[True])
    registered_at: Moment | None = None
    registered_by: str | None = Field(None, description="Name of the API key.", examples=["ops"])
    aliases: list[Alias] = Field(
        description="That point to it, for the loaded dataset's periods.", examples=[["champion"]]
    )


class Gate(BaseModel):
    """What a fine-tuned bundle's gate said of it before it came here, by its manifest."""

    verdict: Literal["passed", "refused"] = Field(
        description="Only what has passed can be registered.", examples=["passed"]
    )
    reasons: list[str] = Field(
        description="Why, in its own words.", examples=[["routine total cost is 0.9 % worse, at most 0.5 % may be"]]
    )
    finetuned_from: str | None = Field(
        default=None, description="Version beside which it was judged; only while that one is in charge can it be tried or promoted. "
        "Null: it was not fine-tuned.", examples=["daily-6.1"],
    )  # fmt: skip
    margin: float | None = Field(
        default=None, description="Share, 0 to 1, by which routine total cost was allowed to rise.", examples=[0.005]
    )
    kl: float | None = Field(
        default=None, description="KL divergence of its days from the champion's, nats.", examples=[0.02]
    )
    kl_limit: float | None = Field(default=None, description="The highest that was allowed, nats.", examples=[0.2])


class GuardrailState(BaseModel):
    """What one guardrail of a canary has come to since it began."""

    guardrail: str = Field(description="target_stock, order_value, failures or latency.", examples=["target_stock"])
    value: float | None = Field(
        description="Number of times that the canary's cost is the champion's, or for failures and latency a share, 0 to 1; null "
        "where there is nothing to tell yet.", examples=[1.08],
    )  # fmt: skip
    lowest: float | None = Field(description="The lowest normal value, number; null: any.", examples=[0.67])
    highest: float = Field(description="The highest normal value, number.", examples=[1.5])
    counted: int = Field(description="Number of decisions, series or runs that it rests on.", examples=[312])
    needed: int = Field(description="Number of them from which on it can end the canary.", examples=[50])
    sentence: str = Field(
        description="The same in words.", examples=["first orders of 312 series cost 5,230.00, the champion's 4,843.00"]
    )


class CanaryState(BaseModel):
    """The policy that decides for a share of the series, and how it does."""

    version: str = Field(description="Name of the bundle.", examples=["daily-6.1"])
    share: float = Field(description="Per cent of the series that it decides.", examples=[10])
    since: Moment
    by: KeyName
    reason: str = Field(description="As it was given.", examples=["passed its gate"])
    compared_with: str = Field(description="The champion that the figures compare it with.", examples=["daily-6.1"])
    guardrails: list[GuardrailState] = Field(description="Each of them; one that trips ends the canary.")


class PolicyDetail(StoredPolicy):
    """A policy, and every change that pointed an alias to it or took it from there."""

    gate: Gate | None = Field(None, description="null where its manifest tells of none.")
    canary: CanaryState | None = Field(None, description="null where it is none now.")
    changes: list[AliasChange] = Field(description="Oldest first.")


class PolicyList(BaseModel):
    """Every policy that is known, and which of them decides."""

    period_days: int = Field(description="Of the loaded dataset, days.", examples=[1])
    serving: str | None = Field(
        description="The version that this process answers with; null: none.", examples=["daily-6.1"]
    )
    pinned: bool = Field(
        description="ORPR_POLICY names a bundle, so that this process follows no champion.", examples=[False]
    )
    refused: str | None = Field(
        description="The last refusal since a policy was put in charge of this process.",
        examples=["daily-6.1: policy.onnx has another hash than it was registered with"],
    )
    aliases: list[AliasState] = Field(description="champion, canary and shadow.")
    canary: CanaryState | None = Field(description="null where none runs.")
    items: list[StoredPolicy] = Field(description="Registered ones first.")
