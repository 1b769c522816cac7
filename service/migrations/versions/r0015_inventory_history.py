"""Every count of stock that was told, beside the newest one, from which experiments are read; begins with what is there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add it; stock that was drawn for a dataset without any was never counted."""
    columns = ("date", "location_id", "item_id", "on_hand")
    told = op.create_table(
        "inventory_history",
        sa.Column("date", sa.Date(), primary_key=True),
        sa.Column("location_id", sa.String(), primary_key=True),
        sa.Column("item_id", sa.String(), primary_key=True),
        sa.Column("on_hand", sa.Float(), nullable=False),
    )
    newest = sa.table("inventory", *map(sa.column, columns), sa.column("drawn", sa.Boolean()))
    counted = sa.select(*(newest.c[name] for name in columns)).where(sa.not_(newest.c.drawn))
    op.execute(sa.insert(told).from_select(list(columns), counted))


def downgrade() -> None:
    """Take it away; the newest counts stay."""
    op.drop_table("inventory_history")
