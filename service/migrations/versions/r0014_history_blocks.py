"""History packed in blocks of 128 days beside its rows, from which feature rows are built; filled with what is there."""

from __future__ import annotations

from datetime import date

import numpy as np
import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

DAYS = 128
AT_ONCE = 100  # blocks of one statement
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
    bind, h = op.get_bind(), HISTORY.c
    if bind.dialect.name == "postgresql":  # what another process writes meanwhile would miss its block
        bind.execute(sa.text("LOCK TABLE history IN SHARE ROW EXCLUSIVE MODE"))
    rows = sa.select(h.location_id, h.item_id, h.date, *(h[field] for field in FIELDS))
    rows = rows.order_by(h.location_id, h.item_id, h.date)
    packed: dict[tuple[str, str, int], np.ndarray] = {}
    for place, item, day, *values in bind.execute(rows, execution_options={"yield_per": 20_000}):
        number, at = divmod(day.toordinal() - EPOCH, DAYS)
        if len(packed) >= AT_ONCE and (place, item, number) not in packed:
            _store(blocks, packed)
        block = packed.setdefault((place, item, number), np.full((len(FIELDS), DAYS), np.nan, dtype="<f4"))
        block[:, at] = [np.nan if value is None else value for value in values]
    _store(blocks, packed)


def _store(blocks: sa.Table, packed: dict[tuple[str, str, int], np.ndarray]) -> None:
    lines = [
        {"location_id": place, "item_id": item, "number": number, "packed": block.tobytes()}
        for (place, item, number), block in packed.items()
    ]
    if lines:
        op.bulk_insert(blocks, lines)
    packed.clear()


def downgrade() -> None:
    """Take them away; the rows that they were made of are there."""
    op.drop_table("history_blocks")
