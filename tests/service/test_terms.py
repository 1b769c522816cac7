"""Terms of locations are kept while they are true and asked for, and no longer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from service.datasets import Dataset
from service.store import Store
from service.terms import MOST_DAYS, TermsByPlace
from simulator.panel import Panel

DAY = date(2019, 4, 30)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store(database_url)
    yield opened
    opened.close()


@pytest.fixture
def dataset(store: Store) -> Dataset:
    found = store.dataset()
    assert found is not None
    return found


class Counted(TermsByPlace):
    """Counts what it reads from the store."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.read: list[str] = []
        own = store.items_at
        store.items_at = lambda places, of=(): self.read.extend(places) or own(places, of)  # type: ignore[method-assign]


def test_a_location_keeps_its_latest_days(store: Store, dataset: Dataset, chain: Panel) -> None:
    terms, place = Counted(store), chain.items.location_id[0]
    days = [DAY - timedelta(days=n) for n in range(MOST_DAYS + 1)]
    first = [terms.at(place, dataset, day) for day in days]
    assert len(terms.read) == len(days)
    for day, before in zip(days[1:], first[1:], strict=True):
        assert terms.at(place, dataset, day) is before
    assert len(terms.read) == len(days)
    assert terms.at(place, dataset, days[0]).spans == first[0].spans
    assert len(terms.read) == len(days) + 1


def test_what_has_changed_is_read_anew_and_nothing_else(store: Store, dataset: Dataset, chain: Panel) -> None:
    terms = Counted(store)
    one, other = sorted(set(chain.items.location_id))[:2]
    for place in (one, other):
        terms.at(place, dataset, DAY)
    terms.forget([one, "nowhere"])
    for place in (one, other):
        terms.at(place, dataset, DAY)
    assert terms.read == [one, other, one]
    terms.forget(None)
    terms.at(other, dataset, DAY)
    assert terms.read == [one, other, one, other]


def test_of_locations_that_do_not_exist_only_the_latest_are_known(
    store: Store, dataset: Dataset, chain: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.terms.MOST_NOWHERE", 2)
    terms, place = Counted(store), chain.items.location_id[0]
    terms.at(place, dataset, DAY)
    for name in ("a", "b", "c", "b"):
        assert terms.of([("B101", name)], dataset, DAY)[1] == [None]
    assert terms.read == [place, "a", "b", "c"]
    assert set(terms._held) == {place, "b", "c"}
    terms.at(place, dataset, DAY)
    terms.forget(["b"])
    terms.of([("B101", "b")], dataset, DAY)
    assert terms.read == [place, "a", "b", "c", "b"]
