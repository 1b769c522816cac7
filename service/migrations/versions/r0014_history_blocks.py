"""History packed in blocks of 128 days beside its rows, from which feature rows are built; filled with what is there."""

from __future__ import annotations

from datetime import date

import numpy as np
import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

DAYS = 128
EPOCH = date(1970, 1, 1).toordinal()
FIELDS = ("units_sold", "in_stock", "price", "promotion")
HISTORY = sa.table(
    "history", sa.column("location_id"), sa.column("item_id"), sa.column("date", sa.Date()), *map(sa.column, FIELDS)
)


def upgrade() -> None:
    """Add them."""
    blocks = op.create_table(
        "history_blocks",
        sa.Column("location_id", sa.String(), primary_key=True),
        sa.Column("item_id", sa.String(), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
    )
    bind = op.get_bind()
    h = HISTORY.c
    for (place,) in bind.execute(sa.select(h.location_id).distinct()).all():
        packed: dict[tuple[str, int], np.ndarray] = {}
        rows = sa.select(h.item_id, h.date, *(h[field] for field in FIELDS)).where(h.location_id == place)
        for item, day, *values in bind.execute(rows):
            number, at = divmod(day.toordinal() - EPOCH, DAYS)
            block = packed.setdefault((item, number), np.full((len(FIELDS), DAYS), np.nan, dtype="<f4"))
            block[:, at] = [np.nan if value is None else value for value in values]
        lines = [
            {"location_id": place, "item_id": item, "number": number, "packed": block.tobytes()}
            for (item, number), block in packed.items()
        ]
        op.bulk_insert(blocks, lines)


def downgrade() -> None:
    """Take them away; the rows that they were made of are there."""
    op.drop_table("history_blocks")
