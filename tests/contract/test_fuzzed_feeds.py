"""Feeds under anything: a table that can be stored, or a problem document; never another exception."""

# ruff: noqa: PT017 - a property of either a value or an error; neither has to come

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DataError

from service.feed_forms import JSON, NDJSON, PARQUET, table_of
from service.feeds import Feeds
from service.problems import ProblemError
from service.store import Store
from tests.contract.fuzzing import days, many, plain, recording, texts, values
from tests.service.conftest import chain, loaded_file

__all__ = ["chain", "loaded_file"]
recorded = recording("feeds")


@many
@given(st.sampled_from([JSON, NDJSON, PARQUET, f"{JSON}; charset=utf-8", ""]), st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_table_or_a_problem(form: str, body: bytes, whole: bool) -> None:
    try:
        assert table_of(body, form, whole=whole).height > 0
    except ProblemError as error:
        assert error.problem.status in (415, 422)


@many
@given(st.sampled_from([JSON, NDJSON]), values | st.lists(st.dictionaries(texts, plain, max_size=3), max_size=4))
def test_any_json_is_a_table_or_a_problem(form: str, body: Any) -> None:
    sent = json.dumps(body) if form == JSON else "\n".join(map(json.dumps, body if isinstance(body, list) else [body]))
    try:
        table_of(sent.encode("utf-8", "surrogatepass"), form)
    except ProblemError as error:
        assert error.problem.status == 422


@many
@given(st.data())
def test_a_parquet_file_with_any_damage_is_a_table_or_a_problem(data: st.DataObject) -> None:
    kept = io.BytesIO()
    pl.DataFrame({"item_id": ["a", "b"], "on_hand": [1.0, None], "date": [date(2019, 4, 30)] * 2}).write_parquet(kept)
    body = bytearray(kept.getvalue())
    for place, byte in data.draw(st.lists(st.tuples(st.integers(0, len(body) - 1), st.integers(0, 255)), max_size=4)):
        body[place] = byte
    try:
        table_of(
            bytes(body[: data.draw(st.integers(0, len(body)))]) if data.draw(st.booleans()) else bytes(body), PARQUET
        )
    except ProblemError as error:
        assert error.problem.status == 422


COLUMNS = {
    "items": ["category", "unit_price", "lost_sale_cost", "holding_cost_per_day", "lead_time_days", "review_period_days",
              "review_offset_days", "orderable_until", "shelf_life_days", "status", "order_weekdays", "order_multiple"],
    "history": ["date", "units_sold", "in_stock", "price", "promotion"],
    "inventory": ["date", "on_hand"],
    "open_orders": ["arrival_date", "quantity"],
    "calendar": ["date", "open", "holiday", "order_open"],
}  # fmt: skip
cells = (
    plain
    | days
    | st.sampled_from([0, 1, 3, 7, "1", "1,3,5", "active", 0.5, 1e300, "2019-04-30T00:00:00Z", "nan", "0x10"])
)


@pytest.fixture(scope="module")
def store(loaded_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    path = tmp_path_factory.mktemp("parsers") / "orpr.db"
    path.write_bytes(loaded_file.read_bytes())
    opened = Store(f"sqlite:///{path}")
    yield opened
    opened.close()


@pytest.mark.parametrize("feed", COLUMNS)
@many
@given(data=st.data())
def test_any_row_of_a_feed_is_stored_or_a_problem(store: Store, feed: str, data: st.DataObject) -> None:
    """What the checks let through can be stored, but for texts that no database takes."""
    known = {"item_id": "B101", "location_id": "S17"}
    rows = [
        {**known, **{name: data.draw(cells, name) for name in COLUMNS[feed]}, **data.draw(st.dictionaries(texts, plain, max_size=1))}
        for _ in range(data.draw(st.integers(1, 2)))
    ]  # fmt: skip
    body = json.dumps(rows).encode("utf-8", "surrogatepass")
    try:
        act = getattr(Feeds(store), feed)(body, JSON)
    except ProblemError as error:
        assert error.problem.status == 422
        return
    with store.database.engine.connect() as connection:  # never committed
        try:
            act(connection)
        except DataError:
            pass
        finally:
            connection.rollback()
