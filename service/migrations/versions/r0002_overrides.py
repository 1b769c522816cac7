"""Overrides can be changed, withdrawn and approved, every version is kept; writes can be repeated by key."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TEXTS = ("item_id", "location_id", "category", "mode", "reason", "author")
DAYS = ("selling_from", "selling_to")


def upgrade() -> None:
    """Add them; overrides that exist become active ones of version 1."""
    text, moment = sa.String(), sa.DateTime(timezone=True)
    op.create_table(
        "override_versions", sa.Column("override_id", sa.Integer(), primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True), sa.Column("action", text, nullable=False),
        sa.Column("at", moment, nullable=False), sa.Column("by", text, nullable=False),
        sa.Column("fields", text, nullable=False),
    )  # fmt: skip
    op.create_table(
        "idempotency_keys", sa.Column("caller", text, primary_key=True), sa.Column("key", text, primary_key=True),
        sa.Column("digest", text, nullable=False), sa.Column("status", sa.Integer()), sa.Column("body", text),
        sa.Column("etag", text), sa.Column("created_at", moment, nullable=False, index=True),
    )  # fmt: skip
    with op.batch_alter_table("overrides") as batch:
        batch.add_column(sa.Column("promotion_id", text, nullable=False, server_default=""))
        batch.add_column(sa.Column("state", text, nullable=False, server_default="active"))
        batch.add_column(sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
        batch.add_column(sa.Column("changed_by", text, nullable=False, server_default=""))
        batch.add_column(sa.Column("changed_at", moment))
    _remember_first_versions()


def _remember_first_versions() -> None:
    columns: list[Any] = [sa.column("id"), sa.column("value"), *map(sa.column, TEXTS), *(sa.column(d, sa.Date()) for d in DAYS),
               sa.column("created_at", sa.DateTime(timezone=True))]  # fmt: skip
    rows = op.get_bind().execute(sa.select(*columns).select_from(sa.table("overrides"))).mappings().all()
    versions = sa.table("override_versions", *map(sa.column, ("override_id", "version", "action", "by", "fields")),
                        sa.column("at", sa.DateTime(timezone=True)))  # fmt: skip
    for row in rows:
        fields = {name: row[name] for name in (*TEXTS, "value")} | {name: row[name].isoformat() for name in DAYS}
        fields |= {"promotion_id": "", "state": "active"}
        first = {"override_id": row["id"], "version": 1, "action": "created", "by": "", "at": row["created_at"]}
        op.get_bind().execute(sa.insert(versions).values(**first, fields=json.dumps(fields)))


def downgrade() -> None:
    """Take them away. What is not in effect goes, for the older service would follow it; so do uplifts, which it does
    not know."""
    op.execute(sa.text("DELETE FROM overrides WHERE state <> 'active' OR mode = 'uplift'"))
    with op.batch_alter_table("overrides") as batch:
        for name in ("changed_at", "changed_by", "version", "state", "promotion_id"):
            batch.drop_column(name)
    op.drop_table("idempotency_keys")
    op.drop_table("override_versions")
