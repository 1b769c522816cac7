"""The tables of the first service: a dataset, overrides and keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TABLES = ("datasets", "items", "history", "calendar", "inventory", "open_orders", "overrides", "forecasts", "api_keys")


def upgrade() -> None:
    """Make them."""
    text, real, day, moment = sa.String(), sa.Float(), sa.Date(), sa.DateTime(timezone=True)

    def key() -> tuple[sa.Column[str], sa.Column[str]]:
        return sa.Column("location_id", text, primary_key=True), sa.Column("item_id", text, primary_key=True)

    op.create_table(
        "datasets", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("settings", text, nullable=False),
        sa.Column("fingerprint", text, nullable=False), sa.Column("first_recorded", day),
        sa.Column("last_recorded", day), sa.Column("loaded_at", moment, nullable=False),
    )  # fmt: skip
    op.create_table("items", *key(), sa.Column("category", text), sa.Column("attributes", text, nullable=False))
    op.create_table(
        "history", *key(), sa.Column("date", day, primary_key=True), sa.Column("units_sold", real),
        sa.Column("in_stock", real), sa.Column("price", real), sa.Column("promotion", sa.Boolean()),
        sa.Column("recorded_at", moment, nullable=False),
    )  # fmt: skip
    op.create_table(
        "calendar", sa.Column("location_id", text, primary_key=True), sa.Column("date", day, primary_key=True),
        *(sa.Column(name, real) for name in ("open", "holiday", "school_holiday", "order_open", "delivery_open")),
    )  # fmt: skip
    op.create_table(
        "inventory", *key(), sa.Column("date", day, nullable=False), sa.Column("on_hand", real, nullable=False),
        sa.Column("drawn", sa.Boolean(), nullable=False),
    )  # fmt: skip
    op.create_table(
        "open_orders", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("item_id", text, index=True),
        sa.Column("location_id", text), sa.Column("arrival_date", day, nullable=False),
        sa.Column("quantity", real, nullable=False),
    )  # fmt: skip
    op.create_table(
        "overrides", sa.Column("id", sa.Integer(), primary_key=True),
        *(sa.Column(name, text, nullable=False) for name in ("item_id", "location_id", "category")),
        *(sa.Column(name, day, nullable=False, index=True) for name in ("selling_from", "selling_to")),
        sa.Column("mode", text, nullable=False), sa.Column("value", real, nullable=False),
        sa.Column("reason", text, nullable=False), sa.Column("author", text, nullable=False),
        sa.Column("created_at", moment, nullable=False),
    )  # fmt: skip
    op.create_table(
        "forecasts", sa.Column("item_id", text, primary_key=True), sa.Column("location_id", text, primary_key=True),
        sa.Column("made_on", day, primary_key=True), sa.Column("date", day, primary_key=True),
        sa.Column("units", real, nullable=False),
    )  # fmt: skip
    op.create_table(
        "api_keys", sa.Column("digest", text, primary_key=True), sa.Column("name", text, nullable=False),
        sa.Column("created_at", moment, nullable=False),
    )  # fmt: skip


def downgrade() -> None:
    """Drop them, and all that they hold."""
    for name in reversed(TABLES):
        op.drop_table(name)
