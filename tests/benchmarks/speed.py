"""How fast it is: `python -m tests.benchmarks.speed FOLDER` measures side by side and writes speed.json and speed.md.

Medians of several repeats in one run. Absolute times move with the machine; the ratios are what to quote.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from service.features import FeatureRows, MemoryCache
from service.loading import load_panel
from service.policy import Policy, resolve_bundle
from service.recommender import Recommender
from service.schemas import RecommendationItem
from service.settings import Settings
from service.store import Store
from simulator.canonical import read_panel
from simulator.observation import Observer
from simulator.ordering import ORDER_UP_TO, OrderRules
from simulator.rollout import World, follow, rollout
from simulator.step import State
from simulator.sweep import sweep

SAMPLE = Path(__file__).parents[2] / "simulator" / "sample"


def median_seconds(work: Callable[[], Any], repeats: int = 7) -> float:
    """Median wall time after one warm-up."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def drawn_world(series: int, periods: int) -> World:
    """Poisson demand, lead times 1 to 9, reviews every 1 to 7 periods."""
    rng = np.random.default_rng(0)
    review = rng.integers(1, 8, series)
    none, most = np.zeros(series), np.full(series, np.inf)
    return World(
        demand=rng.poisson(5, (series, periods)).astype(np.float64),
        review_due=np.arange(periods)[None, :] % review[:, None] == 0,
        lead_time=rng.integers(1, 10, series),
        rules=OrderRules(none, none + 1, most, none, most),
        initial=State(none + 20, np.zeros((series, 9))),
    )


def simulation() -> dict[str, Any]:
    """Sweep of every candidate, and the reference rollout of one rule."""
    days = np.arange(1.0, 91.0)
    world = drawn_world(5_000, 90)
    rate = np.full(world.demand.shape, 5.0)
    swept = median_seconds(lambda: sweep(world, rate, days, ORDER_UP_TO))
    targets = rate * 10
    rolled = median_seconds(lambda: rollout(world, follow(targets)))
    steps = world.demand.size
    return {
        "sweep, 5,000 series x 90 days x 90 candidates": {"seconds": swept, "steps_per_s": steps * 90 / swept},
        "rollout of one rule, NumPy": {"seconds": rolled, "steps_per_s": steps / rolled},
        "sweep against rollout, per step": {"ratio": (steps * 90 / swept) / (steps / rolled)},
    }


def serving() -> dict[str, Any]:
    """The decision path against the bare ONNX run of the same batch."""
    panel = read_panel(SAMPLE)
    policy = Policy(resolve_bundle("champion", 1))
    observer = Observer(panel, policy.spec)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(database_url=f"sqlite:///{folder}/bench.db")
        store = Store(settings.database_url)
        load_panel(store, panel, "bench", draw_stock=True)
        recommender = Recommender(settings, store, FeatureRows(store, MemoryCache()), lambda: policy)
        keys = list(zip(panel.items.item_id, panel.items.location_id, strict=True))
        for count in (1, 84):
            asked = [RecommendationItem(item_id=i, location_id=p, on_hand=9.0) for i, p in keys[:count]]
            observation = observer.observe(np.arange(count), np.full(count, panel.last_recorded))
            bare = median_seconds(lambda o=observation: policy.answer(o), 21)  # type: ignore[misc]
            whole = median_seconds(lambda a=asked: recommender.answer(a, None), 21)  # type: ignore[misc]
            found[f"decision path, {count} series, warm cache"] = {
                "bare_onnx_seconds": bare, "seconds": whole, "ratio": whole / bare,
            }  # fmt: skip
        store.close()
    return found


def main(folder: Path) -> None:
    """Measure and write."""
    results = {"machine": platform.processor() or platform.machine(), **simulation(), **serving()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "speed.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    lines = ["# Speed", "", "Made by `make bench`; medians of one run on this machine's cores, ratios side by side.", "",
             "| work | milliseconds | rate | ratio |", "|---|---:|---:|---:|"]  # fmt: skip
    for name, row in results.items():
        if isinstance(row, dict):
            cells = (
                f"{row['seconds'] * 1000:.2f}" if "seconds" in row else "",
                f"{row['steps_per_s'] / 1e6:,.0f} M steps/s" if "steps_per_s" in row else "",
                f"{row['ratio']:.1f}" if "ratio" in row else "",
            )
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "The ratio of the decision path is its time over the bare ONNX run of the same batch."]
    (folder / "speed.md").write_text("\n".join(lines) + "\n", encoding="utf-8")

    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
