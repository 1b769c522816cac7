"""Lists of decisions, by day, by run or of all, read their pages from an index and sort nothing."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

PAGES = {"ix_decisions_order_date": ["order_date"], "ix_decisions_client_ref": ["client_ref"], "ix_decisions_page": []}


def upgrade() -> None:
    """Add them."""
    for name, columns in PAGES.items():
        op.create_index(name, "decisions", [*columns, "created_at", "id"])


def downgrade() -> None:
    """Take them away."""
    for name in PAGES:
        op.drop_index(name, "decisions")
