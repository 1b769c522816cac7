"""Terms of locations are kept while they are true and asked for, and no longer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import polars as pl
import pytest

from service.datasets import Dataset
from service.store import Store
from service.terms import MOST_DAYS, TermsByPlace
from simulator.panel import Panel

DAY = date(2019, 4, 30)


class Counted(Store):
    """Tells of which locations items were read."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.read: list[str] = []

    def items_at(self, places: list[str], of: Sequence[str] = ()) -> pl.DataFrame:
        self.read += places
        return super().items_at(places, of)


@pytest.fixture
def store(database_url: str) -> Iterator[Counted]:
    opened = Counted(database_url)
    yield opened
    opened.close()


@pytest.fixture
def dataset(store: Store) -> Dataset:
    found = store.dataset()
    assert found is not None
    return found


def test_a_location_keeps_its_latest_days(store: Counted, dataset: Dataset, chain: Panel) -> None:
    terms, place = TermsByPlace(store), chain.items.location_id[0]
    days = [DAY - timedelta(days=n) for n in range(MOST_DAYS + 1)]
    first = [terms.at(place, dataset, day) for day in days]
    assert len(store.read) == len(days)
    for day, before in zip(days[1:], first[1:], strict=True):
        assert terms.at(place, dataset, day) is before
    assert len(store.read) == len(days)
    assert terms.at(place, dataset, days[0]).spans == first[0].spans
    assert len(store.read) == len(days) + 1


def test_what_has_changed_is_read_anew_and_nothing_else(store: Counted, dataset: Dataset, chain: Panel) -> None:
    terms = TermsByPlace(store)
    one, other = sorted(set(chain.items.location_id))[:2]
    for place in (one, other):
        terms.at(place, dataset, DAY)
    terms.forget([one, "nowhere"])
    for place in (one, other):
        terms.at(place, dataset, DAY)
    assert store.read == [one, other, one]
    terms.forget(None)
    terms.at(other, dataset, DAY)
    assert store.read == [one, other, one, other]


def test_of_locations_that_do_not_exist_only_the_latest_are_known(
    store: Counted, dataset: Dataset, chain: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.terms.MOST_NOWHERE", 2)
    terms, place = TermsByPlace(store), chain.items.location_id[0]
    terms.at(place, dataset, DAY)
    for name in ("a", "b", "c", "b"):
        assert terms.of([("B101", name)], dataset, DAY)[1] == [None]
    assert store.read == [place, "a", "b", "c"]
    assert set(terms._held) == {place, "b", "c"}
    terms.at(place, dataset, DAY)
    terms.forget(["b"])
    terms.of([("B101", "b")], dataset, DAY)
    assert store.read == [place, "a", "b", "c", "b"]
