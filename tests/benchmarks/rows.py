"""How contestants are timed side by side, and the table, JSON and picture of what came out.

It does not know what the contestants do. Rates are compared, not times: where the full amount of a work would take
a contestant minutes it gets a smaller amount of the same work, and its note says so.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from orpr.progress import Report
from orpr.provenance import code_commit

OURS = "orpr"
COLOURS = ("#b8b8b8", "#9ebcda", "#4c78a8")  # others, our other ways, orpr
LIBRARIES = ("numpy", "numba", "scipy", "onnxruntime", "highspy", "pulp", "stockpyl", "or-gym-inventory", "dynaplex")


class Measured(NamedTuple):
    """One contestant on one work."""

    work: str
    who: str  # `orpr` is what every other one is compared with
    seconds: float  # median over the repeats
    amount: float  # units of the work done in one repeat
    unit: str
    note: str  # what this contestant really does, where it is not quite the same

    @property
    def rate(self) -> float:
        """Units per second."""
        return self.amount / self.seconds


class Contestant(NamedTuple):
    """Somebody ready to start: all building is done, only the work itself is in `run`."""

    who: str
    run: Callable[[], Any]
    amount: float
    note: str = ""


def race(
    work: str, unit: str, contestants: Sequence[Contestant], repeats: int, report: Report,
    agree: Callable[[str, Any], None] | None = None,
) -> list[Measured]:  # fmt: skip
    """Time all contestants in turn, `repeats` times over, so that a busy moment of the machine hits all alike.

    Args:
        work: its name in the table.
        unit: what the amounts count.
        contestants: at least one.
        repeats: timed rounds, after one round that is not timed.
        report: told after every run.
        agree: given each contestant's name and the result of its untimed run; raises where the result is not the one
            that the work must have.
    """
    rounds: list[list[float]] = [[] for _ in contestants]
    total = (repeats + 1) * len(contestants)
    for number in range(repeats + 1):
        for at, contestant in enumerate(contestants):
            if number:
                rounds[at].append(_seconds(contestant.run))
            else:
                result = contestant.run()
                if agree:
                    agree(contestant.who, result)
            report(work, number * len(contestants) + at + 1, total, contestant.who)
    return [
        Measured(work, contestant.who, statistics.median(times), contestant.amount, unit, contestant.note)
        for contestant, times in zip(contestants, rounds, strict=True)
    ]


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def machine(libraries: Sequence[str] = LIBRARIES) -> dict[str, Any]:
    """Where the numbers were made, and with which releases of the libraries that matter to them."""
    found = {}
    for name in libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "busy": os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,  # processes running, before we began
        "system": platform.system(),
        "python": platform.python_version(),
        "libraries": found,
    }


def processor() -> str:
    """Its model where the system tells, or else its kind."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def write(rows: Sequence[Measured], where: dict[str, Any], repeats: int, folder: Path) -> list[Path]:
    """`speed.json`, `speed.md` and `speed.png` in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"speed.{ending}" for ending in ("json", "md", "png")]
    made = {"commit": code_commit(), "repeats": repeats, "machine": where}
    results = {
        **made,
        "rows": [{**row._asdict(), "rate": row.rate, "orpr_rate_over_this": _lead(row, rows)} for row in rows],
    }
    paths[0].write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    paths[1].write_text(page(rows, made), encoding="utf-8")
    draw(rows, paths[2])
    return paths


def page(rows: Sequence[Measured], made: dict[str, Any]) -> str:
    """The page; made by `make bench`, never typed."""
    where = made["machine"]
    libraries = ", ".join(f"{name} {number}" for name, number in where["libraries"].items())
    lines = [
        "# Speed", "",
        f"Made by `make bench` at commit `{made['commit'][:12]}` on {where['cores']} cores ({where['processor']}, {where['system']}), "
        f"Python {where['python']}; {libraries}. Numbers in [speed.json](speed.json).", "",
        f"Contestants took turns, at least {made['repeats']} timed rounds after one that was not (compilation falls there); medians. "
        f"What is built beforehand is not timed. {where['busy']:.1f} other processes were running when it began. Absolute times move with the machine; the last column, the ratio of rates within one run, is what to quote.", "",
        "![rates by contestant](speed.png)",
    ]  # fmt: skip
    for work in works(rows):
        mine = [row for row in rows if row.work == work]
        lines += ["", f"## {work[0].upper()}{work[1:]}", ""]
        lines += [f"| who | time | amount | {mine[0].unit}/s | orpr's rate / its rate |", "|---|---:|---:|---:|---:|"]
        lines += [
            f"| {row.who} | {duration(row.seconds)} | {row.amount:,.0f} | {short(row.rate)} | {_ratio(_lead(row, rows))} |"
            for row in mine
        ]
        notes = [f"- {row.who}: {row.note}" for row in mine if row.note]
        lines += ["", *notes] if notes else []
    return "\n".join(lines) + "\n"


def works(rows: Sequence[Measured]) -> list[str]:
    """The works in the order they were measured."""
    return list(dict.fromkeys(row.work for row in rows))


def _lead(row: Measured, rows: Sequence[Measured]) -> float | None:
    """Our rate over this row's on the same work; None where we do not compete."""
    ours = [other for other in rows if other.work == row.work and other.who == OURS]
    return ours[0].rate / row.rate if ours else None


def _ratio(lead: float | None) -> str:
    if lead is None:
        return ""
    if lead < 1:
        return f"1/{1 / lead:.3g}"
    return f"{lead:,.0f}" if lead >= 100 else f"{lead:.3g}"


def duration(seconds: float) -> str:
    """Seconds, or milliseconds below one second."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def short(rate: float) -> str:
    """A rate with its thousands, millions or billions named."""
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if rate >= size:
            return f"{rate / size:.3g} {name}"
    return f"{rate:.3g}"


def draw(rows: Sequence[Measured], path: Path) -> None:
    """Rates as bars on a logarithmic scale, one panel a work."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    panels = [[row for row in rows if row.work == work][::-1] for work in works(rows)]
    heights = [len(panel) + 1.2 for panel in panels]
    figure, axes = plt.subplots(
        len(panels),
        1,
        figsize=(9, 0.34 * sum(heights) + 0.4),
        layout="constrained",
        height_ratios=heights,
        squeeze=False,
    )
    for panel, axis in zip(panels, axes[:, 0], strict=True):
        rates = [row.rate for row in panel]
        axis.barh(
            [row.who for row in panel],
            rates,
            color=[COLOURS[(row.who == OURS) + row.who.startswith(OURS)] for row in panel],
        )
        for at, rate in enumerate(rates):
            axis.text(rate, at, f"  {short(rate)}/s", va="center", fontsize=8)
        axis.set_xscale("log")
        axis.set_xlim(10 ** (len(str(int(min(rates)))) - 1.5), max(rates) * 6)
        axis.set_title(f"{panel[0].work}: {panel[0].unit} a second", loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
