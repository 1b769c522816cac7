"""Times by contestant as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.rows import COLOURS
from tests.benchmarks.service.measure import BARE, Row
from tests.benchmarks.service.page import ASKED, ENOUGH
from tests.benchmarks.service.servers import NOOP, OURS, OURS_IN_PROCESS


def draw(rows: Sequence[Row], path: Path) -> None:
    """A bar from p50 to p99 for each, on a logarithmic scale; a panel a size and group."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    keys = list(dict.fromkeys((row.series, row.group) for row in rows))
    panels = [[row for row in rows if (row.series, row.group) == key][::-1] for key in keys]
    heights = [len(panel) + 1.6 for panel in panels]
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(10, 0.27 * sum(heights)), layout="constrained", height_ratios=heights, squeeze=False
    )
    for (series, group), panel, axis in zip(keys, panels, axes[:, 0], strict=True):
        for at, row in enumerate(panel):
            low, high = 1000 * row.p50, 1000 * (row.p99 if row.answers >= ENOUGH else row.longest)
            colour = COLOURS[2 if row.who == OURS else 1 if row.who == OURS_IN_PROCESS else 0]
            axis.plot([low, high], [at, at], color=colour, linewidth=5, solid_capstyle="butt")
            axis.plot([low], [at], "o", color="black" if row.who == BARE else colour, markersize=6)
            axis.text(high, at, f"  {low:,.0f}" if low >= 100 else f"  {low:.3g}", va="center", fontsize=7.5)
        axis.set_yticks(range(len(panel)), [label(row) for row in panel], fontsize=8)
        axis.set_ylim(-0.7, len(panel) - 0.3)
        axis.set_xscale("log")
        axis.margins(x=0.12)
        axis.xaxis.set_major_formatter(lambda x, _: f"{x:,g}")
        axis.xaxis.set_minor_formatter(lambda x, _: f"{x:,g}" if f"{x:.0e}"[0] in "25" else "")
        axis.tick_params(axis="x", which="both", labelsize=7.5)
        rate = f"{panel[0].rate:g} requests/s" if panel[0].rate else "one after the other"
        axis.set_title(f"{series:,} series, {group}, {rate}: ms, p50 (dot, number) to p99", loc="left", fontsize=9)
        # of fewer than ENOUGH answers, to the longest
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x", which="major", color="#e5e5e5")
        axis.set_axisbelow(True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def label(row: Row) -> str:
    """Who, and what was asked where that differs within a panel."""
    return (
        row.who if row.who in (BARE, NOOP) or row.who not in (OURS, OURS_IN_PROCESS) else f"{row.who}: {ASKED[row.how]}"
    )
