"""The tables of the system of record, as the newest migration leaves them (a test compares the two)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    false,
    text,
)
from sqlalchemy.types import TypeDecorator


class Moment(TypeDecorator[datetime]):
    """A point in time, UTC and aware on either side; SQLite keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002 - SQLAlchemy names it
        """Into the database."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        """Out of the database."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData()
_FOLLOWED = text("override_id IS NOT NULL")  # few decisions follow one
_OPEN = text("status = 'open'")


def _key() -> tuple[Column[str], Column[str]]:
    """Location first: every read names locations."""
    return Column("location_id", String, primary_key=True), Column("item_id", String, primary_key=True)


datasets = Table(
    "datasets", metadata, Column("id", Integer, primary_key=True), Column("settings", String, nullable=False),
    Column("fingerprint", String, nullable=False), Column("first_recorded", Date), Column("last_recorded", Date),
    Column("loaded_at", Moment(), nullable=False),
    Column("revision", Integer, nullable=False, server_default="0"),  # drawn at every feed that observations rest on
)  # fmt: skip
places = Table(  # a revision is drawn at every feed for the location that observations rest on
    "places", metadata, Column("location_id", String, primary_key=True), Column("revision", Integer, nullable=False),
)  # fmt: skip
items = Table(
    "items", metadata, *_key(), Column("category", String), Column("attributes", String, nullable=False),
)  # fmt: skip
history = Table(
    "history", metadata, *_key(), Column("date", Date, primary_key=True), Column("units_sold", Float),
    Column("in_stock", Float), Column("price", Float), Column("promotion", Boolean),
    Column("recorded_at", Moment(), nullable=False),
)  # fmt: skip
history_blocks = Table(  # the same packed for reading, see blocks.py
    "history_blocks", metadata, *_key(), Column("number", Integer, primary_key=True),
    Column("packed", LargeBinary, nullable=False),
)  # fmt: skip
calendar = Table(
    "calendar", metadata, Column("location_id", String, primary_key=True), Column("date", Date, primary_key=True),
    Column("open", Float), Column("holiday", Float), Column("school_holiday", Float), Column("order_open", Float),
    Column("delivery_open", Float),
)  # fmt: skip
inventory = Table(
    "inventory", metadata, *_key(), Column("date", Date, nullable=False), Column("on_hand", Float, nullable=False),
    Column("drawn", Boolean, nullable=False),
)  # fmt: skip
inventory_history = Table(  # every count that was told; by day, as counts come and are read
    "inventory_history", metadata, Column("date", Date, primary_key=True), *_key(),
    Column("on_hand", Float, nullable=False),
)  # fmt: skip
open_orders = Table(
    "open_orders", metadata, Column("id", Integer, primary_key=True), Column("item_id", String, index=True),
    Column("location_id", String), Column("arrival_date", Date, nullable=False),
    Column("quantity", Float, nullable=False), Index("ix_open_orders_series", "location_id", "item_id"),
)  # fmt: skip
overrides = Table(
    "overrides", metadata, Column("id", Integer, primary_key=True), Column("item_id", String, nullable=False),
    Column("location_id", String, nullable=False), Column("category", String, nullable=False),
    Column("selling_from", Date, nullable=False, index=True), Column("selling_to", Date, nullable=False, index=True),
    Column("mode", String, nullable=False), Column("value", Float, nullable=False),
    Column("promotion_id", String, nullable=False, server_default=""),
    Column("reason", String, nullable=False), Column("author", String, nullable=False),
    Column("state", String, nullable=False, server_default="active"),  # active | pending | deleted
    Column("version", Integer, nullable=False, server_default="1"),
    Column("changed_by", String, nullable=False, server_default=""),  # name of the key
    Column("created_at", Moment(), nullable=False), Column("changed_at", Moment()),
)  # fmt: skip
override_versions = Table(
    "override_versions", metadata, Column("override_id", Integer, primary_key=True),
    Column("version", Integer, primary_key=True), Column("action", String, nullable=False),
    Column("at", Moment(), nullable=False), Column("by", String, nullable=False), Column("fields", String, nullable=False),
)  # fmt: skip
idempotency_keys = Table(
    "idempotency_keys", metadata, Column("caller", String, primary_key=True), Column("key", String, primary_key=True),
    Column("digest", String, nullable=False), Column("status", Integer), Column("body", String), Column("etag", String),
    Column("created_at", Moment(), nullable=False, index=True),
)  # fmt: skip
decisions = Table(
    "decisions", metadata, Column("id", String, primary_key=True), Column("location_id", String, nullable=False),
    Column("item_id", String, nullable=False), Column("order_date", Date, nullable=False),
    Column("expected_receipt_date", Date, nullable=False), Column("order_quantity", Float, nullable=False),
    Column("status", String, nullable=False),  # open | superseded | seen | ordered | changed | rejected
    Column("ordered_quantity", Float),  # by its outcome
    Column("review_due", Boolean, nullable=False, server_default=false()),  # an order was due that day
    Column("policy_version", String, nullable=False), Column("client_ref", String, nullable=False),
    Column("made_for", String, nullable=False),  # name of the key
    Column("created_at", Moment(), nullable=False), Column("inputs", String, nullable=False),  # JSON
    Column("answer", String, nullable=False),  # JSON
    Column("observation", LargeBinary, nullable=False),  # packed and compressed, what the policy read
    Column("override_id", Integer),  # the override that it followed; none: the policy's own
    Index("ix_decisions_series", "location_id", "item_id", "order_date"),
    Index("ix_decisions_order_date", "order_date", "created_at", "id"),  # lists are read in the order of the last two
    Index("ix_decisions_client_ref", "client_ref", "created_at", "id"), Index("ix_decisions_page", "created_at", "id"),
    Index("ix_decisions_override", "override_id", postgresql_where=_FOLLOWED, sqlite_where=_FOLLOWED),
    Index("ix_decisions_open", "location_id", "item_id", "order_date", "id", postgresql_where=_OPEN, sqlite_where=_OPEN),
)  # fmt: skip
holds = Table(
    "holds", metadata, Column("id", Integer, primary_key=True), Column("order_date", Date, nullable=False),
    Column("location_id", String, nullable=False), Column("category", String, nullable=False),
    Column("findings", String, nullable=False),  # JSON list
    Column("version", Integer, nullable=False),  # a release names the one that was seen
    Column("state", String, nullable=False),  # held | released
    Column("made_for", String, nullable=False), Column("created_at", Moment(), nullable=False),
    Column("released_at", Moment()), Column("released_by", String, nullable=False),
    Column("reason", String, nullable=False), Index("ix_holds_order_date", "order_date"),
)  # fmt: skip
stops = Table(
    "stops", metadata, Column("id", Integer, primary_key=True), Column("location_id", String, nullable=False),
    Column("category", String, nullable=False), Column("reason", String, nullable=False),
    Column("begun_at", Moment(), nullable=False), Column("begun_by", String, nullable=False),
    Column("ended_at", Moment()), Column("ended_by", String, nullable=False),
)  # fmt: skip
decision_outcomes = Table(
    "decision_outcomes", metadata, Column("decision_id", String, primary_key=True),
    Column("number", Integer, primary_key=True), Column("status", String, nullable=False), Column("quantity", Float),
    Column("note", String, nullable=False), Column("at", Moment(), nullable=False), Column("by", String, nullable=False),
)  # fmt: skip
changes = Table(
    "changes", metadata, Column("number", Integer, primary_key=True), Column("kind", String, nullable=False),
    Column("named", String),  # JSON list of what was changed; null: all
    Column("at", Moment(), nullable=False), sqlite_autoincrement=True,  # a number is never given twice
)  # fmt: skip
forecasts = Table(
    "forecasts", metadata, Column("item_id", String, primary_key=True), Column("location_id", String, primary_key=True),
    Column("made_on", Date, primary_key=True), Column("date", Date, primary_key=True),
    Column("units", Float, nullable=False),
)  # fmt: skip
api_keys = Table(
    "api_keys", metadata, Column("digest", String, primary_key=True), Column("name", String, nullable=False),
    Column("scopes", String, nullable=False, server_default="erp planner ops"),
    Column("created_at", Moment(), nullable=False), Column("expires_at", Moment()), Column("revoked_at", Moment()),
)  # fmt: skip
policies = Table(  # rows are added and never changed: the hashes are pins
    "policies", metadata, Column("version", String, primary_key=True), Column("period_days", Integer, nullable=False),
    Column("contract_id", String, nullable=False), Column("graph_sha256", String, nullable=False),
    Column("golden_sha256", String, nullable=False), Column("manifest_sha256", String, nullable=False),
    Column("location", String, nullable=False),  # folder of the bundle as it was registered
    Column("metrics", String),  # JSON, what its manifest or report tells
    Column("registered_at", Moment(), nullable=False), Column("registered_by", String, nullable=False),
)  # fmt: skip
policy_aliases = Table(  # an audit trail: rows are added and never changed; the newest of an alias is in force
    "policy_aliases", metadata, Column("id", Integer, primary_key=True), Column("period_days", Integer, nullable=False),
    Column("alias", String, nullable=False),  # champion | challenger | shadow | canary
    Column("version", String),  # none: the shipped champion, or no shadow or canary
    Column("action", String, nullable=False),  # promote | rollback | shadow | canary | clear | guardrail
    Column("reason", String, nullable=False), Column("at", Moment(), nullable=False),
    Column("by", String, nullable=False),  # name of the key; of a guardrail: orpr
    Column("share", Float),  # per cent of the series, of a canary
    Index("ix_policy_aliases_newest", "period_days", "alias", "id"),
)  # fmt: skip
shadow_decisions = Table(
    "shadow_decisions", metadata, Column("decision_id", String, primary_key=True),
    Column("version", String, primary_key=True), Column("inventory_days", Float, nullable=False),
    Column("target_stock", Float, nullable=False), Column("order_quantity", Float, nullable=False),
)  # fmt: skip
canary_figures = Table(  # what has come together since a change of the alias let a canary run, against one champion
    "canary_figures", metadata, Column("change_id", Integer, primary_key=True, autoincrement=False),
    Column("champion_version", String, primary_key=True),
    *(
        Column(name, Integer, nullable=False)
        for name in ("asked", "failed", "decisions", "orders", "runs", "slow_runs")
    ),
    *(
        Column(name, Float, nullable=False)
        for name in ("target_value", "champion_target_value", "order_value", "champion_order_value")
    ),
)  # fmt: skip
canary_orders = Table(  # series whose first order by a canary has been compared, by the change with which it began
    "canary_orders", metadata, Column("change_id", Integer, primary_key=True, autoincrement=False), *_key(),
)  # fmt: skip
