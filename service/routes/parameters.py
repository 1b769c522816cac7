"""Query parameters that several routes take."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

OnlyItem = Annotated[str | None, Query(max_length=200, description="Only this SKU.", examples=["B101"])]
OnlyPlace = Annotated[str | None, Query(max_length=200, description="Only this DC or store.", examples=["S17"])]
Cursor = Annotated[
    str | None,
    Query(max_length=1000, description="`next_cursor` of the page before.", examples=["WyJTMTciLCAiQjEwMSJd"]),
]
Limit = Annotated[int, Query(ge=1, le=500, description="Rows of the page, at most.", examples=[100])]
FeedLimit = Annotated[int, Query(ge=1, le=5000, description="Rows of the page, at most.", examples=[1000])]
