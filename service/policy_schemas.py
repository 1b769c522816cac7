"""Bodies of the policy routes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from service.bundle_folders import VERSION
from service.schemas import Body

Version = Annotated[str, Field(pattern=VERSION, description="Name of a bundle.", examples=["daily-5"])]
Alias = Literal["champion", "challenger", "shadow"]


class RegisterRequest(Body):
    """A bundle to take in."""

    version: Version


class ReasonRequest(Body):
    """Why an alias is changed; kept with the change."""

    reason: str = Field(min_length=1, max_length=500, examples=["4 % cheaper on the last eight weeks"])


class AliasChange(BaseModel):
    """One change of an alias."""

    alias: Alias
    version: str | None = Field(description="Where it pointed from then on; null: the shipped champion, or no shadow.")
    action: Literal["promote", "rollback", "shadow", "clear"]
    reason: str
    at: datetime
    by: str = Field(description="Name of the API key.")


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

    version: str = Field(examples=["daily-5"])
    period_days: int | None = Field(description="Length of the periods that it decides for.", examples=[1])
    contract_id: str | None = Field(examples=["ddd1495a35c9f34d"])
    sha256: dict[str, str] | None = Field(
        description="Of each file: where registered, what it must be; else what it is now. null: unreadable."
    )
    metrics: dict[str, Any] | None = Field(description="What its manifest and report tell of its training.")
    shipped: bool = Field(description="It comes with the package.")
    registered: bool
    registered_at: datetime | None = None
    registered_by: str | None = Field(None, description="Name of the API key.")
    aliases: list[Alias] = Field(description="That point to it, for the loaded dataset's periods.")


class PolicyDetail(StoredPolicy):
    """A policy and every change of an alias that named it."""

    changes: list[AliasChange] = Field(description="Oldest first.")


class PolicyList(BaseModel):
    """Every policy that is known, and which of them decides."""

    period_days: int = Field(description="Of the loaded dataset.")
    serving: str | None = Field(description="The version that this process answers with; null: none.")
    pinned: bool = Field(description="ORPR_POLICY names a bundle, so that this process follows no champion.")
    refused: str | None = Field(description="The last refusal since a policy was put in charge of this process.")
    aliases: list[AliasState]
    items: list[StoredPolicy]
