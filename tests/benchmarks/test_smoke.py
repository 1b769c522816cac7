"""The benchmarks still run, everybody takes part, and nobody is timed on other work. No speed is asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulator.rollout import follow, rollout
from tests.benchmarks.peers import installed
from tests.benchmarks.replays import Totals, python_loop, random_replay
from tests.benchmarks.rows import Contestant, Measured, page, race
from tests.benchmarks.simulation import agreeing_with, replay_world, targets_of
from tests.benchmarks.speed import main

OURSELVES = {"orpr", "orpr, trajectory", "orpr, NumPy", "plain NumPy", "plain Python"}
PEERS = {"DynaPlex": "dynaplex", "or-gym-inventory": "or_gym_inventory", "stockpyl": "stockpyl"}
MACHINE = {"cores": 2, "processor": "any", "busy": 0.0, "system": "any", "python": "3", "libraries": {}}


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """No progress bars in tests."""


def test_a_quick_run_measures_everybody_who_is_installed(tmp_path: Path) -> None:
    main([str(tmp_path), "--quick"])
    rows = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))["rows"]
    assert all(row["rate"] > 0 and row["amount"] > 0 for row in rows)
    took_part = {row["who"] for row in rows if row["work"].startswith("replay")}
    assert took_part == OURSELVES | {name for name, module in PEERS.items() if installed(module)}
    works = {row["work"] for row in rows}
    assert {row["work"] for row in rows if row["who"] == "orpr"} == works
    text = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert all(f"| {row['who']} |" in text for row in rows)
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_a_contestant_that_does_other_work_is_not_timed() -> None:
    replay = random_replay(20, 30)
    reference = rollout(replay_world(replay), follow(targets_of(replay)))
    calls = []

    def generous() -> Totals:
        calls.append("generous")
        found = python_loop(replay)
        return found._replace(lost_sales=found.lost_sales * 0.99)

    with pytest.raises(AssertionError, match="generous"):
        race("replay", "steps", [Contestant("generous", generous, 1)], 3, silent, agreeing_with(reference))
    assert len(calls) == 1


def test_contestants_take_turns_and_the_first_round_is_not_timed() -> None:
    calls: list[str] = []
    contestants = [Contestant(who, lambda name=who: calls.append(name), 10) for who in ("one", "two")]  # type: ignore[misc]
    rows = race("work", "steps", contestants, 2, silent)
    assert calls == ["one", "two"] * 3
    assert [row.who for row in rows] == ["one", "two"]


def test_the_page_compares_rates_and_not_times() -> None:
    rows = [
        Measured("count", "orpr", 2.0, 4_000, "steps", ""),
        Measured("count", "slow", 1.0, 4, "steps", "a smaller amount"),
        Measured("count", "fast", 1.0, 8_000, "steps", ""),
    ]
    text = page(rows, {"commit": "0" * 40, "repeats": 7, "machine": MACHINE})
    assert "| slow | 1.00 s | 4 | 4 | 500 |" in text
    assert "| fast | 1.00 s | 8,000 | 8 k | 1/4 |" in text
    assert "- slow: a smaller amount" in text
