"""Policies are registered with their hashes, aliases say which decides, and a shadow's decisions are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add them; without a row the shipped policy stays the champion."""
    text, real, moment = sa.String(), sa.Float(), sa.DateTime(timezone=True)
    op.create_table(
        "policies", sa.Column("version", text, primary_key=True), sa.Column("period_days", sa.Integer(), nullable=False),
        *(sa.Column(name, text, nullable=False) for name in ("contract_id", "graph_sha256", "golden_sha256")),
        *(sa.Column(name, text, nullable=False) for name in ("manifest_sha256", "location")),
        sa.Column("metrics", text), sa.Column("registered_at", moment, nullable=False),
        sa.Column("registered_by", text, nullable=False),
    )  # fmt: skip
    op.create_table(
        "policy_aliases", sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("period_days", sa.Integer(), nullable=False), sa.Column("alias", text, nullable=False),
        sa.Column("version", text), sa.Column("action", text, nullable=False), sa.Column("reason", text, nullable=False),
        sa.Column("at", moment, nullable=False), sa.Column("by", text, nullable=False),
        sa.Index("ix_policy_aliases_newest", "period_days", "alias", "id"),
    )  # fmt: skip
    op.create_table(
        "shadow_decisions", sa.Column("decision_id", text, primary_key=True),
        sa.Column("version", text, primary_key=True),
        *(sa.Column(name, real, nullable=False) for name in ("inventory_days", "target_stock", "order_quantity")),
    )  # fmt: skip


def downgrade() -> None:
    """Forget them. The older service knows the shipped policies and `ORPR_POLICY` only, whatever was promoted."""
    for name in ("shadow_decisions", "policy_aliases", "policies"):
        op.drop_table(name)
