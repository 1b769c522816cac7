"""Locations and their revisions, so that a feed for one of them leaves the cached rows of the others good."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add them."""
    places = op.create_table(
        "places",
        sa.Column("location_id", sa.String(), primary_key=True),
        sa.Column("revision", sa.Integer(), nullable=False),
    )
    known = op.get_bind().execute(sa.text("SELECT DISTINCT location_id FROM items")).scalars().all()
    if known:
        op.bulk_insert(places, [{"location_id": place, "revision": secrets.randbits(31)} for place in known])


def downgrade() -> None:
    """Take them away."""
    op.drop_table("places")
