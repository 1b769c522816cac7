"""Results on the screen and in `docs/results`: the backtest's table, its JSON and its picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

TITLES = ("method", "turnover days", "in stock", "fill rate", "holding", "stock-out", "total cost", "vs OR hindsight",
          "vs best PTO [95 %]", "vs GBM strong [95 %]")  # fmt: skip


def table_rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """The table as text, cheapest method first."""
    return [
        (
            row["method"] + (" (hindsight)" if row["hindsight"] else ""),
            f"{row['turnover_days']:.2f}", f"{row['in_stock_rate']:.1%}", f"{row['fill_rate']:.1%}",
            f"{row['holding_cost']:,.0f}", f"{row['stockout_cost']:,.0f}", f"{row['total_cost']:,.0f}",
            f"{row['against_or'] - 1:+.1%}", _interval(row["against_best_pto"]), _interval(row["against_gbm_strong"]),
        )
        for row in result["table"]
    ]  # fmt: skip


def _interval(ratio: list[float]) -> str:
    return f"{ratio[0]:.3f} [{ratio[1]:.3f}, {ratio[2]:.3f}]"


def screen_table(result: dict[str, Any]) -> Table:
    """The table for a terminal."""
    title = f"{result['dataset']}: {result['series']} series, {result['first']} to {result['last']}"
    table = Table(title=title, caption=f"best PTO: {result['best_pto']}; costs in {result['currency']}")
    for number, name in enumerate(TITLES):
        table.add_column(name, justify="left" if number == 0 else "right")
    for row in table_rows(result):
        table.add_row(*row, style="bold" if row[0] == "DL" else None)
    return table


def markdown(result: dict[str, Any], json_name: str, picture: str) -> str:
    """The results page; made by `orpr backtest`, never typed."""
    lines = [
        f"# Backtest: {result['dataset']}", "",
        f"{result['series']} series, {result['first']} to {result['last']}, costs in {result['currency']}. "
        f"{result['source']}.", "",
        f"Made by `{result['command']}` at commit `{result['commit'][:12]}`; numbers in [{json_name}]({json_name}).", "",
        f"![total cost of each method]({picture})", "",
        "| " + " | ".join(TITLES) + " |", "|---" + "|---:" * (len(TITLES) - 1) + "|",
    ]  # fmt: skip
    lines += ["| " + " | ".join(row) + " |" for row in table_rows(result)]
    lines += ["", f"Best PTO: {result['best_pto']}. Rows marked hindsight read the window itself and cannot be had in "
              "advance. Ratios are of total cost, with paired bootstrap intervals over series.", ""]  # fmt: skip
    if result["policy_against_best_pto_by_run"]:
        lines += ["## Runs of the policy", "", "DL is the mean of these runs; each was trained before the window.", "",
                  "| run | seed | config | total cost vs best PTO | training command |", "|---|---:|---|---:|---|"]  # fmt: skip
        for name, ratio in result["policy_against_best_pto_by_run"].items():
            run = result["runs"][name]
            lines.append(f"| {name} | {run['seed']} | {run['config']} | {ratio:.3f} | `{run['command']}` |")
        spread = list(result["policy_against_best_pto_by_run"].values())
        lines += ["", f"Mean {np.mean(spread):.3f}, standard deviation over runs {np.std(spread):.3f}.", ""]
    if result["series_where_the_policy_loses"]:
        lines += [
            "## Where the policy loses to the best PTO",
            "",
            f"| series | cost above, {result['currency']} |",
            "|---|---:|",
        ]
        lines += [
            f"| {x['series']} | {x['cost_above_best_pto']:,.0f} |" for x in result["series_where_the_policy_loses"]
        ]
    return "\n".join(lines) + "\n"


def write_results(result: dict[str, Any], folder: Path, stem: str) -> list[Path]:
    """The JSON, the page and the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{stem}.json", folder / f"{stem}.md", folder / f"{stem}.png"]
    paths[0].write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
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
    lines = ["| method | turnover days | in stock | total cost | vs best PTO [95 %] |", "|---|---:|---:|---:|---:|"]
    lines += [f"| {row[0]} | {row[1]} | {row[2]} | {row[6]} | {row[8]} |" for row in table_rows(result)]
    note = (
        f"{result['series']} series, {result['first']} to {result['last']}, {result['currency']}; DL is the mean of "
        f"{len(result['runs'])} seeds. Made by `orpr backtest`; command, every column and run: docs/results."
    )
    head, rest = text.split(begin, 1)
    tail = rest.split(end, 1)[1]
    page.write_text(head + "\n".join([begin, "", *lines, "", note, "", end]) + tail, encoding="utf-8")


def draw_costs(result: dict[str, Any], path: Path) -> None:
    """Holding and stock-out cost of each method as stacked bars."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = result["table"][::-1]
    names = [row["method"] + (" *" if row["hindsight"] else "") for row in rows]
    holding = np.array([row["holding_cost"] for row in rows]) / 1000
    lost = np.array([row["stockout_cost"] for row in rows]) / 1000
    figure, axis = plt.subplots(figsize=(9, 0.36 * len(rows) + 1.4), layout="constrained")
    axis.barh(names, holding, color="#4c78a8", label="holding")
    axis.barh(names, lost, left=holding, color="#e45756", label="lost sales")
    for at, row in enumerate(rows):
        axis.text(holding[at] + lost[at], at, f"  {row['against_or'] - 1:+.0%}", va="center", fontsize=8)
    axis.set_xlabel(f"cost over the window, thousand {result['currency']} (label: total against OR hindsight)")
    axis.set_title(f"{result['dataset']}, {result['first']} to {result['last']}   (* reads the window)")
    axis.margins(x=0.1)
    axis.legend(loc="upper right", frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
