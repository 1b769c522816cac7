"""`service.md` from what was measured: ratios first, then times, then faults and the soak."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.rows import short
from tests.benchmarks.service.measure import AGAIN, ALONE, BARE, FRESH, GROUPS, KEPT, KEPT_AGAIN, NEW, Row
from tests.benchmarks.service.servers import NOOP, OURS, OURS_IN_PROCESS

ENOUGH = 100  # answers; of fewer the longest stands in place of the 99th percentile
COLD = tuple(GROUPS)[-1]
ASKED = {
    NEW: "new question", AGAIN: "the same question again", KEPT: "new question, remembered",
    KEPT_AGAIN: "the same question again, remembered", FRESH: "new question, nothing cached",
}  # fmt: skip
PARTS = {"speed": "service.json", "faults": "service-faults.json", "soak": "service-soak.json"}


class Aim(NamedTuple):
    """What an answer may cost, as a multiple of the bare run."""

    p50: float
    p99: float | None


AIMS = {1: Aim(3.0, 6.0), 100: Aim(1.4, None), 5000: Aim(1.1, None)}
AGAIN_S = 0.002  # the aim for one series that is asked about again


def write_page(folder: Path) -> Path:
    """The page from those of `PARTS` that are there."""
    path, lines = folder / "service.md", ["# The service under load", ""]
    found = {
        part: json.loads((folder / name).read_text(encoding="utf-8"))
        for part, name in PARTS.items()
        if (folder / name).exists()
    }
    if "speed" in found:
        lines += speed(found["speed"])
    if "faults" in found:
        lines += faults(found["faults"])
    if "soak" in found:
        lines += soak(found["soak"])
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return path


def made(part: dict[str, Any]) -> str:
    """Where its numbers come from."""
    where = part["machine"]
    libraries = ", ".join(f"{name} {number}" for name, number in where["libraries"].items())
    return (
        f"Made by `{part['command']}` at commit `{part['commit'][:12]}` on {where['cores']} cores ({where['processor']}, "
        f"{where['system']}), Python {where['python']}{'; ' if libraries else ''}{libraries}. {where['busy']:.1f} other processes "
        "were running when it began."
    )


def speed(part: dict[str, Any]) -> list[str]:
    """Ratios, the comparison, and the times behind them."""
    rows = [Row(**row) for row in part["rows"]]
    noop = [row for row in rows if row.who == NOOP and row.series == 1]
    floor = f" ({1000 * noop[0].p50:.2f} ms at the median for one series)" if noop else ""
    return [
        made(part) + " Numbers in [service.json](service.json). Absolute times move with the machine; the ratios, "
        "measured side by side in one run, are what to quote.", "",
        f"The dataset is the bakery sample with {part['shops']} times its shops and {part['products']} times its products, {part['all_series']:,} series. Load, server and, where there is one, Valkey share the "
        "cores; each is a process of its own on loopback, and contestants that are not being asked are stopped. Requests arrive at random "
        "(Poisson) at the stated rate, a third of what the slowest of the group can answer, the same moments for all; where hardly any would come "
        "at that rate, one after the other. A time counts from when the request "
        "was due to the last byte of its answer, waiting for a connection included: no coordinated omission. The load generator and "
        f"the HTTP server are in every time but that of the bare run; what they take alone is the row `{NOOP}`{floor}.", "",
        "![times by contestant](service.png)", "",
        "## Against the bare ONNX run of the same rows", "",
        "The bare run is the whole network alone, in the same chunks and threads, on features that lie ready in its memory; it wakes "
        "for the same arrivals in turn with the others, and only the run is timed. A ratio below 1 is no error: what the network makes of history, plans and "
        "attributes is kept with a feature row when that is built, which is most of its work, and an answer to a new question about other stock takes the rest of it. "
        "Questions that are remembered have the whole network run, for the same question has the same decision in every process. "
        "`nothing cached`: no answer about these series and this day was given before, so rows are built and read while the caller waits. "
        f"`{ALONE}`: one request after the other, so that no answer waits for another one and no core has to wake up. "
        f"With fewer than {ENOUGH} answers there is no 99th percentile.", "",
        *ratios(rows), "",
        "## Beside LitServe and a plain FastAPI app", "",
        "The same decision from the same bundle, and the same orders, checked. LitServe and FastAPI read history and items from the same "
        "database with the simulator's observation code, without a cache, for every request; `features in memory` have all of it made beforehand and only look it up. "
        "They run the network whole, check no key, count no requests, follow no overrides, give no receipt and remember nothing. Above 1, ORPR is ahead.", "",
        *comparison(rows), "",
        "## Times", "", *times(rows),
    ]  # fmt: skip


def ratios(rows: Sequence[Row]) -> list[str]:
    """How many bare runs an answer of ours takes."""
    lines = [
        "| series | question | cache | p50 | aim | p99 | aim | p99 / bare p50 | answers |",
        "|---:|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        if row.who not in (OURS, OURS_IN_PROCESS) or (row.group == COLD and row.how == NEW):
            continue
        bare, aim = (
            of(rows, row, BARE),
            AIMS.get(row.series) if row.how in (NEW, FRESH) and row.group != ALONE else None,
        )
        tail = [f"{row.p99 / bare.p99:.2f}", f"{row.p99 / bare.p50:.2f}"] if row.answers >= ENOUGH else ["–", "–"]
        wanted = [f"≤ {aim.p50:g}" if aim else "", f"≤ {aim.p99:g}" if aim and aim.p99 else ""]
        first = f"{row.p50 / bare.p50:.2f}"
        if row.how == AGAIN and row.series == 1:
            first, wanted[0] = f"{first} ({1000 * row.p50:.2f} ms)", f"≤ {1000 * AGAIN_S:g} ms"
        cells = [
            f"{row.series:,}", asked_of(row), cache_of(row), first, wanted[0], tail[0], wanted[1], tail[1], f"{row.answers:,}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def comparison(rows: Sequence[Row]) -> list[str]:
    """Each of the others against ours, where neither had the features, and where both had them."""
    lines = [
        "| series | against | ORPR's question | its p50 / ours | its p99 / ours | our throughput / its |",
        "|---:|---|---|---:|---:|---:|",
    ]
    for row in rows:
        if row.who in (BARE, NOOP, OURS, OURS_IN_PROCESS):
            continue
        for ours in [one for one in rows if (one.series, one.group, one.who) == (row.series, row.group, OURS)]:
            enough = min(row.answers, ours.answers) >= ENOUGH
            cells = [
                f"{row.series:,}", row.who, asked_of(ours), f"{row.p50 / ours.p50:.2f}",
                f"{row.p99 / ours.p99:.2f}" if enough else "–",
                f"{ours.throughput / row.throughput:.2f}",
            ]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def times(rows: Sequence[Row]) -> list[str]:
    """Every row as it was measured."""
    lines: list[str] = []
    for series, group in dict.fromkeys((row.series, row.group) for row in rows):
        members = [row for row in rows if (row.series, row.group) == (series, group)]
        rate = f"{members[0].rate:g} requests a second" if members[0].rate else "one after the other"
        lines += [
            f"### {series:,} series, {group}: {rate}", "",
            "| who | question | p50 | p90 | p99 | longest | answers | throughput, requests/s | series/s |",
            "|---|---|---:|---:|---:|---:|---:|---:|---:|",
        ]  # fmt: skip
        for row in members:
            cells = [
                row.who, ASKED[row.how], *(f"{1000 * one:,.2f} ms" for one in (row.p50, row.p90)),
                f"{1000 * row.p99:,.2f} ms" if row.answers >= ENOUGH else "–", f"{1000 * row.longest:,.2f} ms",
                f"{row.answers:,}", short(row.throughput), short(row.throughput * series) if row.who != NOOP else "–",
            ]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return lines


def of(rows: Sequence[Row], row: Row, who: str) -> Row:
    """Somebody else in the same group."""
    return next(one for one in rows if (one.series, one.group, one.who) == (row.series, row.group, who))


def asked_of(row: Row) -> str:
    """How it was asked."""
    return f"{ASKED[row.how]}, {ALONE}" if row.group == ALONE else ASKED[row.how]


def cache_of(row: Row) -> str:
    """Where ours keeps features."""
    return "Valkey" if row.who == OURS else "in process"


def faults(part: dict[str, Any]) -> list[str]:
    """What was done to it, and what was lost."""
    return [
        "## Faults", "", made(part) + f" {part['tests']} tests, {part['failed']} failed, {part['seconds'] / 60:.0f} minutes. Real servers and "
        "processes; each test counts what it tries, and fails where more is lost or wrong than stands here.", "",
        "| fault | tried | lost, doubled or wrong |", "|---|---|---|",
        *(f"| {row['fault']} | {row['tried']} | {row['lost']} |" for row in part["rows"]), "",
    ]  # fmt: skip


def soak(part: dict[str, Any]) -> list[str]:
    """Whether memory stays flat."""
    slope, end, last = part["rss_slope"], part["rss_slope_at_the_end"], part["samples"][-1]
    asked = sum(part["requests"].values())
    return [
        f"## {part['minutes']:g} minutes of mixed load", "",
        made(part) + f" Numbers in [{PARTS['soak']}]({PARTS['soak']}).", "",
        f"`orpr serve` with Valkey, {asked:,} requests at {part['rate']:g} a second: "
        + ", ".join(f"{count:,} {name}" for name, count in part["requests"].items())
        + f". {part['errors']} were refused or failed.", "",
        f"**Memory: {slope['mb_per_hour']:+.1f} MB an hour [{slope['low']:+.1f}, {slope['high']:+.1f}]** over the last "
        f"{slope['minutes']:g} minutes, {end['mb_per_hour']:+.1f} [{end['low']:+.1f}, {end['high']:+.1f}] over the last {end['minutes']:g}, by least squares on samples every {part['every_s']:g} s; the 95 % interval is from a block bootstrap of the residuals. "
        f"At the end {last['rss_mb']:.0f} MB, {last['open_files']} open files, {last['threads']} threads.", "",
        "![memory, open files, threads and p99 over time](service-soak.png)", "",
    ]  # fmt: skip
