"""Which override a decision followed, in a column with an index: labels and settlements look decisions up by it."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

INDEX = "ix_decisions_override"
FOLLOWED = sa.text("override_id IS NOT NULL")  # few decisions follow one
AT_ONCE = 500


def upgrade() -> None:
    """Add it; what decisions say of their inputs names the override."""
    op.add_column("decisions", sa.Column("override_id", sa.Integer()))
    decisions = sa.table("decisions", *map(sa.column, ("id", "inputs", "override_id")))
    connection = op.get_bind()
    found = sa.select(decisions.c.id, decisions.c.inputs).where(decisions.c.inputs.like('%"override": {%'))
    followed = [
        {"decision": row.id, "override": told["id"]}
        for row in connection.execute(found.execution_options(yield_per=AT_ONCE))
        if (told := json.loads(row.inputs)["override"]) is not None
    ]
    change = sa.update(decisions).where(decisions.c.id == sa.bindparam("decision"))
    for at in range(0, len(followed), AT_ONCE):
        connection.execute(change.values(override_id=sa.bindparam("override")), followed[at : at + AT_ONCE])
    op.create_index(INDEX, "decisions", ["override_id"], postgresql_where=FOLLOWED, sqlite_where=FOLLOWED)


def downgrade() -> None:
    """Take it away."""
    op.drop_index(INDEX, "decisions")
    with op.batch_alter_table("decisions") as batch:
        batch.drop_column("override_id")
