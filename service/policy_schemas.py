"""Bodies of the policy routes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from service.bundle_folders import VERSION
from service.fields import KeyName, Moment
from service.schemas import Body

Version = Annotated[str, Field(pattern=VERSION, description="Name of a bundle.", examples=["daily-5"])]
Alias = Annotated[
    Literal["champion", "challenger", "shadow"],
    Field(
        description="What the policy is to the service: who decides, or who only decides beside.", examples=["champion"]
    ),
]


class RegisterRequest(Body):
    """A bundle to take in."""

    version: Version


class ReasonRequest(Body):
    """Why an alias is changed; kept with the change."""

    reason: str = Field(
        min_length=1, max_length=500, description="Why.", examples=["4 % cheaper on the last eight weeks"]
    )


class AliasChange(BaseModel):
    """One change of an alias."""

    alias: Alias
    version: str | None = Field(
        description="Where it pointed from then on; null: the shipped champion, or no shadow.", examples=["daily-6"]
    )
    action: Literal["promote", "rollback", "shadow", "clear"] = Field(
        description="What was asked for.", examples=["promote"]
    )
    reason: str = Field(description="As it was given.", examples=["4 % cheaper on the last eight weeks"])
    at: Moment
    by: KeyName


class AliasState(BaseModel):
    """Where an alias points."""

    alias: Alias
    version: str | None = Field(description="null: nowhere.", examples=["daily-6"])
    before: str | None = Field(
        description="Where it pointed before; for the champion, where a rollback leads. null: nowhere.",
        examples=["daily-5"],
    )
    changed: AliasChange | None = Field(description="The last change; null where nobody has changed it.")


class StoredPolicy(BaseModel):
    """A policy that is registered, or that lies in the folders of bundles and could be."""

    version: str = Field(description="Name of the bundle.", examples=["daily-5"])
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


class PolicyDetail(StoredPolicy):
    """A policy and every change of an alias that named it."""

    changes: list[AliasChange] = Field(description="Oldest first.")


class PolicyList(BaseModel):
    """Every policy that is known, and which of them decides."""

    period_days: int = Field(description="Of the loaded dataset, days.", examples=[1])
    serving: str | None = Field(
        description="The version that this process answers with; null: none.", examples=["daily-5"]
    )
    pinned: bool = Field(
        description="ORPR_POLICY names a bundle, so that this process follows no champion.", examples=[False]
    )
    refused: str | None = Field(
        description="The last refusal since a policy was put in charge of this process.",
        examples=["daily-6: policy.onnx has another hash than it was registered with"],
    )
    aliases: list[AliasState] = Field(description="champion and shadow.")
    items: list[StoredPolicy] = Field(description="Registered ones first.")
