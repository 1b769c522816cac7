"""Keys say what they may do, and can end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add it; keys that exist may do all that they could before."""
    with op.batch_alter_table("api_keys") as batch:
        batch.add_column(sa.Column("scopes", sa.String(), nullable=False, server_default="erp planner ops"))
        batch.add_column(sa.Column("expires_at", sa.DateTime(timezone=True)))
        batch.add_column(sa.Column("revoked_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    """Take it away. Keys that are no longer good go, for the older service would take them."""
    op.execute(sa.text("DELETE FROM api_keys WHERE revoked_at IS NOT NULL OR expires_at < CURRENT_TIMESTAMP"))
    with op.batch_alter_table("api_keys") as batch:
        for name in ("revoked_at", "expires_at", "scopes"):
            batch.drop_column(name)
