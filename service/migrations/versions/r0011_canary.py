"""A canary: an alias has a share of the series, and what its guardrails count is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

COUNTS = ("asked", "failed", "decisions", "orders", "runs", "slow_runs")
SUMS = ("target_value", "champion_target_value", "order_value", "champion_order_value")


def upgrade() -> None:
    """Add the share and two tables; no canary runs."""
    with op.batch_alter_table("policy_aliases") as batch:
        batch.add_column(sa.Column("share", sa.Float()))
    op.create_table(
        "canary_figures", sa.Column("change_id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("champion_version", sa.String(), primary_key=True),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in COUNTS),
        *(sa.Column(name, sa.Float(), nullable=False) for name in SUMS),
    )  # fmt: skip
    op.create_table(
        "canary_orders", sa.Column("change_id", sa.Integer(), primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.String(), primary_key=True) for name in ("location_id", "item_id")),
    )  # fmt: skip


def downgrade() -> None:
    """Forget the canaries, whose changes an older service cannot read: the champion decides for all series."""
    op.execute("DELETE FROM policy_aliases WHERE alias = 'canary'")
    for name in ("canary_orders", "canary_figures"):
        op.drop_table(name)
    with op.batch_alter_table("policy_aliases") as batch:
        batch.drop_column("share")
