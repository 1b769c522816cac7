"""Settings from the environment."""

from __future__ import annotations

import stat
from datetime import time
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _parts(given: object) -> object:
    return tuple(part.strip() for part in given.split(",") if part.strip()) if isinstance(given, str) else given


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parts)]  # in the environment separated by commas


class Hours(NamedTuple):
    """Between which hours of a day goods are sold or leave."""

    first: float
    last: float


def _hours(given: object) -> object:
    if not isinstance(given, str):
        return given
    try:
        first, last = (float(part) for part in given.split("-"))
    except ValueError:
        raise ValueError(f"hours are written as 8-20, got {given!r}") from None
    if not 0 <= first < last <= 24:
        raise ValueError(f"hours lie between 0 and 24, the first before the last, got {given!r}")
    return Hours(first, last)


class Settings(BaseSettings):
    """Every setting of the service; each is an environment variable with the prefix `ORPR_`."""

    model_config = SettingsConfigDict(env_prefix="ORPR_", frozen=True)

    database_url: str = Field("sqlite:///.orpr/orpr.db", description="SQLAlchemy URL of the system of record.")
    spool: Path = Field(
        Path(".orpr/spool.db"), description="Where decisions wait on disk while the database does not answer."
    )
    redis_url: str | None = Field(
        None, description="Redis or Valkey for feature rows and counts; in-process where empty."
    )
    redis_timeout_s: float = Field(0.05, gt=0, description="Longest wait for Redis before answering without it.")
    feature_ttl_s: int = Field(86_400, gt=0, description="How long a feature row lives in Redis, give or take a tenth.")
    policy: str = Field("champion", description="Bundle that serves: a path, a shipped version, or champion.")
    bundles: Path | None = Field(None, description="Folder of bundles that may be registered besides the shipped ones.")
    session_secret: SecretStr = Field(
        SecretStr(""), description="Signs the planner pages' cookie; drawn at start where empty."
    )
    transport: Literal["", "tls", "plain"] = Field(
        "", description="How requests come from other machines: tls where a proxy in front ends it, plain where it is "
        "accepted that anyone on the way reads along. Empty: none come, only loopback addresses are served.",
    )  # fmt: skip
    hosts: Listed = Field((), description="Names by which the service is reached beside loopback and its own address.")
    origins: Listed = Field((), description="Sites whose pages may write beside the service's own, as https://name.")
    proxies: Listed = Field(
        ("127.0.0.1",), description="Addresses or networks of proxies whose X-Forwarded-For and -Proto are believed."
    )
    selling_hours: Annotated[Hours, NoDecode, BeforeValidator(_hours)] = Field(
        Hours(8, 20),
        description="Hours of a day in which goods are sold or leave, as 8-20, for stock that was counted during one.",
    )
    planner: bool = Field(True, description="Whether the planner page is there.")  # noqa: FBT003
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged.")
    oidc_issuer: str | None = Field(
        None, description="Issuer whose tokens are taken beside API keys, as it names itself."
    )
    oidc_audience: str | None = Field(None, description="The audience that its tokens must be for.")
    oidc_claim: str = Field(
        "scope", min_length=1, description="The claim with scopes or roles; dots lead into objects."
    )
    max_body_bytes: int = Field(32_000_000, gt=0, description="Largest request body.")
    body_wait_s: float = Field(60, gt=0, description="Longest time for a request's body to arrive.")
    max_in_work: int = Field(
        32, gt=0, le=36, description="How many requests are worked on at once; work is done by 40 threads, of which "
        "probes and the planner page need some.",
    )  # fmt: skip
    max_wait_s: float = Field(1, gt=0, description="How long a request waits for its turn before it is sent away.")
    requests_per_minute: int = Field(12_000, gt=0, description="How often one key may ask.")
    bad_keys_per_minute: int = Field(60, gt=0, description="How often one address may ask without a good key.")
    history_max_age_days: int = Field(14, ge=0, description="Oldest history that an answer may rest on.")

    decision_expiry_days: int = Field(
        7, ge=0, description="For how many days after its order day a decision without an outcome counts as on order."
    )
    hold_batch_money: float | None = Field(
        None, gt=0, description="A batch whose orders cost more than this is held, in the dataset's currency."
    )
    hold_location_money: float | None = Field(
        None, gt=0, description="The orders of a location that cost more than this are held."
    )
    hold_growth: float = Field(3.0, gt=1, description="Orders that cost more than this times the last ones are held.")
    hold_fall: float = Field(
        5.0, gt=1, description="Orders that cost less than the last ones divided by this are held."
    )
    hold_zero_stock_share: float = Field(
        0.5, ge=0, lt=1, description="Orders are held where a larger share of the series has nothing on hand."
    )
    hold_history_end_share: float = Field(
        0.2, ge=0, lt=1, description="Orders are held where the history of a larger share of the series ends early."
    )
    approval_money: float | None = Field(
        None, ge=0, description="Overrides whose orders change by more than this wait for a second person's approval; "
        "in the dataset's currency, empty: none has to.",
    )  # fmt: skip

    canary_decisions: int = Field(
        50, gt=0, description="How many decisions a guardrail of a canary rests on at the least."
    )
    canary_above: float = Field(
        1.5, gt=1, description="A canary ends whose target stock or orders cost more than this times the champion's."
    )
    canary_below: float = Field(
        0.67,
        gt=0,
        lt=1,
        description="A canary ends whose target stock or orders cost less than this times the champion's.",
    )
    canary_failed_share: float = Field(
        0.01, ge=0, lt=1, description="A canary ends that fails to answer more than this share of its series."
    )
    canary_slower: float = Field(
        3.0,
        gt=1,
        description="A canary ends whose network mostly takes more than this times as long as the champion's.",
    )

    cut_off: time | None = Field(
        None, description="By when each location has to be answered every day, as 03:30 (UTC) or 03:30+01:00."
    )
    metric_locations: int = Field(
        300, ge=0, description="Locations that have time series of their own: those that are furthest behind."
    )

    def prepare(self) -> None:
        """Make the folder and the file of a SQLite database, for its owner only; a file that others may read is closed to
        them.

        Raises:
            PermissionError: where it belongs to somebody else.
        """
        path = Path(self.database_url.removeprefix("sqlite:///"))
        if not self.database_url.startswith("sqlite:///") or path.name in ("", ":memory:"):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        for file in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
            if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o007:
                file.chmod(stat.S_IMODE(file.stat().st_mode) & 0o770)
