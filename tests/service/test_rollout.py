"""Which series a canary has: the same ones always and everywhere, about as many as its share says, others than another canary's."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import pytest

from service.rollout import members

NAMES = [(f"SKU-{n:05}", f"S{n % 37}") for n in range(20_000)]
FEW = [
    ("B101", "S17"),
    ("B101", "S20"),
    ("Käse 250 g", "Köln"),
    ("", ""),
    ("ab", "c"),
    ("a", "bc"),
    ("7", "7"),
    ("x" * 200, "y"),
]

WRITTEN_DOWN = [True, True, False, True, True, False, True, False]


@pytest.mark.parametrize("share", [1, 10, 33.3, 50])
def test_the_share_is_about_right_over_many_names(share: float) -> None:
    """Within four standard deviations of as many draws."""
    found = sum(members("daily-6", share, NAMES))
    expected = len(NAMES) * share / 100
    assert abs(found - expected) < 4 * (expected * (1 - share / 100)) ** 0.5


def test_the_share_is_about_right_within_each_location() -> None:
    mine = members("daily-6", 50, NAMES)
    for place in {place for _, place in NAMES}:
        here = [one for one, (_, at) in zip(mine, NAMES, strict=True) if at == place]
        assert 0.38 < sum(here) / len(here) < 0.62


def test_a_larger_share_takes_more_to_those_that_a_smaller_one_has() -> None:
    shares = [members("daily-6", share, NAMES) for share in (1, 5, 10, 50)]
    for smaller, larger in itertools.pairwise(shares):
        assert not any(mine and not theirs for mine, theirs in zip(smaller, larger, strict=True))
        assert sum(smaller) < sum(larger)


def test_another_canary_meets_other_series() -> None:
    one, other = (members(version, 50, NAMES) for version in ("daily-6", "daily-7"))
    both = sum(mine and theirs for mine, theirs in zip(one, other, strict=True))
    assert 0.23 < both / len(NAMES) < 0.27  # as by chance


def test_a_series_belongs_alone_as_it_does_among_others() -> None:
    assert [members("daily-6", 50, [one])[0] for one in NAMES[:300]] == members("daily-6", 50, NAMES)[:300]
    assert members("daily-6", 50, []) == []


def test_another_process_and_another_release_find_the_same_ones() -> None:
    """Written down, because a hash that changes would move series between policies in the middle of a trial."""
    code = f"from service.rollout import members; print(members('daily-6', 50, {FEW!r}))"
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == str(members("daily-6", 50, FEW)) == str(WRITTEN_DOWN)
