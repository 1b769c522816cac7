"""The service's decision path against the bare ONNX run of the same batch, in process and with a warm cache."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from orpr.progress import Report
from service.app import create_app
from service.bundle import resolve_bundle
from service.loading import load_panel
from service.memory import Recording
from service.recommender import How, Recommender
from service.schemas import RecommendationItem
from service.settings import Settings
from service.store import Store
from simulator.canonical import read_panel
from simulator.observation import Observer
from tests.benchmarks.rows import OURS, Contestant, Measured, race
from tests.benchmarks.service.whole import WholePolicy

SAMPLE = Path(__file__).parents[2] / "simulator" / "sample"
BATCHES = (1, 84)  # one series, and every series of the sample


def decisions(repeats: int, report: Report) -> list[Measured]:
    """One request of each size."""
    panel = read_panel(SAMPLE)
    policy = WholePolicy(resolve_bundle("champion", 1))
    observer = Observer(panel, policy.spec)
    keys = list(zip(panel.items.item_id, panel.items.location_id, strict=True))
    rows: list[Measured] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(database_url=f"sqlite:///{folder}/bench.db", spool=Path(folder) / "spool.db")
        store = Store(settings.database_url)
        load_panel(store, panel, "bench", draw_stock=True)
        store.close()
        app = create_app(settings)
        recommender: Recommender = app.state.recommender
        remembered = How(Recording("bench", ""))
        for count in BATCHES:
            asked = [RecommendationItem(item_id=i, location_id=p, on_hand=9.0) for i, p in keys[:count]]
            observation = observer.observe(np.arange(count), np.full(count, panel.last_recorded))
            contestants = [
                Contestant(OURS, lambda a=asked: recommender.answer(a, None), count,  # type: ignore[misc]
                           "the whole decision: stock, features, network, overrides, rules."),
                Contestant("orpr, remembered", lambda a=asked: recommender.answer(a, None, remembered), count,  # type: ignore[misc]
                           "the same, examined as a batch and written to the store."),
                Contestant("bare ONNX", lambda o=observation: policy.answer(o), count,  # type: ignore[misc]
                           "the network alone, on features that are ready: the floor."),
            ]  # fmt: skip
            rows += race(f"decision path, {count} series, warm cache", "decisions", contestants, repeats, report)
        app.state.store.close()
    return rows
