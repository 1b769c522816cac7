"""A log of changes, which processes follow; open orders are found by series."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make it, empty, and the index."""
    op.create_table(
        "changes", sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(), nullable=False), sa.Column("named", sa.String()),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False), sqlite_autoincrement=True,
    )  # fmt: skip
    op.create_index("ix_open_orders_series", "open_orders", ["location_id", "item_id"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_open_orders_series", "open_orders")
    op.drop_table("changes")
