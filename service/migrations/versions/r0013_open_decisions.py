"""Open decisions in an index of their own: each new one looks for the open one of its order, among ever more that are closed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

INDEX = "ix_decisions_open"
OPEN = sa.text("status = 'open'")


def upgrade() -> None:
    """Add it."""
    columns = ["location_id", "item_id", "order_date", "id"]
    op.create_index(INDEX, "decisions", columns, postgresql_where=OPEN, sqlite_where=OPEN)


def downgrade() -> None:
    """Remove it."""
    op.drop_index(INDEX, "decisions")
