"""Batches that are held and released, stopped locations and categories; decisions know whether an order was due."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add them. Of older decisions nobody knows any more whether an order was due: those that ordered something count as due."""
    text, moment = sa.String(), sa.DateTime(timezone=True)
    op.create_table(
        "holds", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("order_date", sa.Date(), nullable=False),
        sa.Column("location_id", text, nullable=False), sa.Column("category", text, nullable=False),
        sa.Column("findings", text, nullable=False), sa.Column("version", sa.Integer(), nullable=False), sa.Column("state", text, nullable=False),
        sa.Column("made_for", text, nullable=False), sa.Column("created_at", moment, nullable=False),
        sa.Column("released_at", moment), sa.Column("released_by", text, nullable=False),
        sa.Column("reason", text, nullable=False), sa.Index("ix_holds_order_date", "order_date"),
    )  # fmt: skip
    op.create_table(
        "stops", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("location_id", text, nullable=False),
        sa.Column("category", text, nullable=False), sa.Column("reason", text, nullable=False),
        sa.Column("begun_at", moment, nullable=False), sa.Column("begun_by", text, nullable=False),
        sa.Column("ended_at", moment), sa.Column("ended_by", text, nullable=False),
    )  # fmt: skip
    with op.batch_alter_table("decisions") as batch:
        batch.add_column(sa.Column("review_due", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute(sa.text("UPDATE decisions SET review_due = (order_quantity > 0)"))


def downgrade() -> None:
    """Take them away. An older service orders where this one was stopped."""
    with op.batch_alter_table("decisions") as batch:
        batch.drop_column("review_due")
    op.drop_table("stops")
    op.drop_table("holds")
