"""Results on the screen and in `docs/results`: the backtest's tables, its JSON and its picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from training.sentences import picked_in_words, segment_ratio, table_rows, titles, verdicts


def screen_tables(result: dict[str, Any]) -> list[Table]:
    """One table for a terminal, and one more for each scenario."""
    return [_screen_table(case) for case in (result, *result["scenarios"])]


def _screen_table(case: dict[str, Any]) -> Table:
    title = f"{case['dataset']}: {case['series']} series, {case['first']} to {case['last']}; {case['rules']}"
    caption = f"best PTO: {case['best_pto']}; demand replayed: {case['replayed']}; costs in {case['currency']}"
    table = Table(title=title, caption=caption)
    for number, name in enumerate(titles(case)):
        table.add_column(name, justify="left" if number == 0 else "right")
    for row in table_rows(case):
        table.add_row(*row, style="bold" if row[0] == case["policy"] else None)
    return table


def markdown(result: dict[str, Any], json_name: str, picture: str) -> str:
    """The results page; made by `orpr backtest`, never typed."""
    lines = [
        f"# Backtest: {result['dataset']}", "",
        f"{result['series']} series, {result['first']} to {result['last']}, costs in {result['currency']}. "
        f"{result['source']}.", "",
        f"Made by `{result['command']}` at commit `{result['commit'][:12]}`; numbers in [{json_name}]({json_name}). "
        f"Replayed: {result['replayed']}, {result['rules']}.", "",
        f"![total cost of each method]({picture})", "",
        *(f"- {sentence}" for sentence in verdicts(result)), "",
        *_table(result),
        "", f"Best PTO: {result['best_pto']}, the cheapest of the four on past sales. Rows marked hindsight read the window "
        f"itself and cannot be had in advance{picked_in_words(result)}. Ratios are of total cost, with paired bootstrap intervals over series.", "",
    ]  # fmt: skip
    lines += [*_losses(result), *_segments(result)]
    for case in result["scenarios"]:
        lines += [f"## Scenario: {case['scenario']}", "", f"{case['rules'].capitalize()}.", "", *_table(case), ""]
    return "\n".join([*lines, *_runs(result)]) + "\n"


def _table(case: dict[str, Any]) -> list[str]:
    names = titles(case)
    lines = ["| " + " | ".join(names) + " |", "|---" + "|---:" * (len(names) - 1) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in table_rows(case)]


def _losses(result: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for found in result["losses"]:
        lines += [
            f"## Where {result['policy']} loses to {found['against']}", "",
            f"{found['series_that_lose']} of {result['series']} series, {found['cost_above']:,.0f} {result['currency']} in all.",
            "",
        ]  # fmt: skip
        if found["worst"]:
            lines += [f"| series | segment | cost above, {result['currency']} |", "|---|---|---:|"]
            lines += [f"| {x['series']} | {x['segment']} | {x['cost_above']:,.0f} |" for x in found["worst"]] + [""]
    return lines


def _segments(result: dict[str, Any]) -> list[str]:
    found = result["segments"]["table"]
    methods = list(found[0]["methods"])
    lines = ["## By segment", "", result["segments"]["cuts"], "",
             "| segment | series | value | " + " | ".join(f"{m}, total cost" for m in methods) + " | vs best PTO [95 %] |",
             "|---|---:|---:" + "|---:" * (len(methods) + 1) + "|"]  # fmt: skip
    for row in found:
        costs = " | ".join(f"{row['methods'][m]['total_cost']:,.0f}" for m in methods)
        cells = (row["segment"], row["series"], f"{row['value_share']:.1%}", costs, segment_ratio(row))
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return [*lines, ""]


def _runs(result: dict[str, Any]) -> list[str]:
    runs = {name: run for name, run in result["runs"].items() if "kind" in run}
    if not runs:
        return []
    lines = ["## Runs", "", "A row is the mean of its runs; bundles were trained before the window.", "",
             "| run | row | seed | config | total cost vs best PTO | training command |", "|---|---|---:|---|---:|---|"]  # fmt: skip
    for name, run in runs.items():
        command = f"`{run['command']}`" if run.get("command") else "not recorded" if run["kind"] == "bundle" else ""
        cells = (
            name,
            run["row"],
            run.get("seed", ""),
            run.get("config", run["kind"]),
            f"{run['against_best_pto']:.3f}",
        )
        lines.append("| " + " | ".join(map(str, cells)) + f" | {command} |")
    spread = [run["against_best_pto"] for run in runs.values() if run["row"] == result["policy"]]
    return [
        *lines,
        "",
        f"{result['policy']}: mean {np.mean(spread):.3f}, standard deviation over runs {np.std(spread):.3f}.",
    ]


def write_results(result: dict[str, Any], folder: Path) -> list[Path]:
    """The JSON, the page and the picture, named after the dataset and the demand that was replayed."""
    from training.pictures import draw_costs

    stem = f"backtest-{result['dataset']}" + ("" if result["replayed"] == "sales" else f"-{result['replayed']}")

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{stem}.json", folder / f"{stem}.md", folder / f"{stem}.png"]
    paths[0].write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    paths[1].write_text(markdown(result, paths[0].name, paths[2].name), encoding="utf-8")
    draw_costs(result, paths[2])
    return paths


def rewrite_block(result: dict[str, Any], page: Path) -> None:
    """Put a short table between the marks `<!-- backtest -->` and `<!-- /backtest -->` of a page.

    Raises:
        ValueError: when the page lacks the marks.
    """
    text = page.read_text(encoding="utf-8")
    begin, end = "<!-- backtest -->", "<!-- /backtest -->"
    if begin not in text or end not in text:
        raise ValueError(f"{page} has no place for the table: {begin} and {end} are missing")
    shown = ("method", "turnover days", "in stock", "total cost", "vs best PTO [95 %]")
    places = [titles(result).index(name) for name in shown]
    lines = ["| " + " | ".join(shown) + " |", "|---|---:|---:|---:|---:|"]
    lines += ["| " + " | ".join(row[place] for place in places) + " |" for row in table_rows(result)]
    seeds = sum(run["row"] == result["policy"] for run in result["runs"].values())
    note = (
        f"{result['series']} series, {result['first']} to {result['last']}, {result['currency']}; {result['policy']} is the mean of "
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}. Made by `orpr backtest`; command, every column and run: docs/results."
    )
    head, rest = text.split(begin, 1)
    tail = rest.split(end, 1)[1]
    page.write_text(head + "\n".join([begin, "", *lines, "", note, "", end]) + tail, encoding="utf-8")
