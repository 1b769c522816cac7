"""Settings from the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every setting of the service; each is an environment variable with the prefix `ORPR_`."""

    model_config = SettingsConfigDict(env_prefix="ORPR_", frozen=True)

    database_url: str = Field("sqlite:///.orpr/orpr.db", description="SQLAlchemy URL of the system of record.")
    spool: Path = Field(
        Path(".orpr/spool.db"), description="Where decisions wait on disk while the database does not answer."
    )
    redis_url: str | None = Field(None, description="Redis or Valkey for the feature cache; in-process where empty.")
    redis_timeout_s: float = Field(0.05, gt=0, description="Longest wait for Redis before answering without it.")
    feature_ttl_s: int = Field(86_400, gt=0, description="How long a cached feature row may live.")
    policy: str = Field("champion", description="Bundle that serves: a path, a shipped version, or champion.")
    session_secret: SecretStr = Field(
        SecretStr(""), description="Signs the planner pages' cookie; drawn at start where empty."
    )
    max_body_bytes: int = Field(32_000_000, gt=0, description="Largest request body.")
    history_max_age_days: int = Field(14, ge=0, description="Oldest history that an answer may rest on.")

    decision_expiry_days: int = Field(
        7, ge=0, description="For how many days after its order day a decision without an outcome counts as on order."
    )
    approval_money: float | None = Field(
        None, ge=0, description="Overrides whose orders change by more than this wait for a second person's approval; "
        "in the dataset's currency, empty: none has to.",
    )  # fmt: skip

    def prepare(self) -> None:
        """Make the folder of a SQLite file."""
        if self.database_url.startswith("sqlite:///"):
            Path(self.database_url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
