"""Feeds change the dataset bit by bit: a number says which state of it cached rows belong to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add it."""
    with op.batch_alter_table("datasets") as batch:
        batch.add_column(sa.Column("revision", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Take it away."""
    with op.batch_alter_table("datasets") as batch:
        batch.drop_column("revision")
