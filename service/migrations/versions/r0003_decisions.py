"""Every recommendation is remembered as a decision, with what it saw and what became of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add them."""
    text, moment = sa.String(), sa.DateTime(timezone=True)
    op.create_table(
        "decisions", sa.Column("id", text, primary_key=True), sa.Column("location_id", text, nullable=False),
        sa.Column("item_id", text, nullable=False), sa.Column("order_date", sa.Date(), nullable=False),
        sa.Column("expected_receipt_date", sa.Date(), nullable=False),
        sa.Column("order_quantity", sa.Float(), nullable=False),
        sa.Column("ordered_quantity", sa.Float()),
        *(sa.Column(name, text, nullable=False) for name in ("status", "policy_version", "client_ref", "made_for")),
        sa.Column("created_at", moment, nullable=False), sa.Column("inputs", text, nullable=False),
        sa.Column("answer", text, nullable=False), sa.Column("observation", sa.LargeBinary(), nullable=False),
        sa.Index("ix_decisions_series", "location_id", "item_id", "order_date"),
    )  # fmt: skip
    op.create_table(
        "decision_outcomes", sa.Column("decision_id", text, primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True), sa.Column("status", text, nullable=False),
        sa.Column("quantity", sa.Float()), sa.Column("note", text, nullable=False),
        sa.Column("at", moment, nullable=False), sa.Column("by", text, nullable=False),
    )  # fmt: skip


def downgrade() -> None:
    """Forget them all."""
    op.drop_table("decision_outcomes")
    op.drop_table("decisions")
