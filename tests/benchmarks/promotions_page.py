"""Table 2 as a Markdown page; `promotions.py` makes the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

WORDS = {"sales": "Sales as they were, series in stock for nine tenths of the window", "recovered": "Recovered demand"}


def page(cases: Sequence[dict[str, Any]]) -> str:
    """The Markdown page."""
    lines = [
        "# Promotions", "",
        "The paper's Table 2 on real promotions; numbers in [promotions.json](promotions.json).", "",
        "DL is a supervised policy that has seen nothing from the date given on. The others go on from it with what happened until the judged "
        "window: Algorithm 1 with the solver alone, the same with experts' decisions, and by itself, with surges drawn into promotions. "
        "All three teach promoted orders by a head of their own, and the others apart from them. `all orders` is the recipe `finetune-all`, by which experts teach routine orders too. **The experts are stand-ins**: for each item and week the multiple of DL's days that would have been cheapest in "
        "hindsight for its promoted orders on *other* stores than those judged, before the judged window, priced on what full shelves would "
        "have sold. Costs and lead times are drawn "
        "(see [the data](../format.md)).", "",
        "A promotion window is a series' promoted periods, days at more than 5 % below list price among them, and the review cycle behind each. "
        "Policies know flagged promotions four weeks ahead; freshretail's prices only afterwards. Intervals are paired bootstraps over series; "
        "rows are means over seeds. Where the incumbent, a base stock, has a ratio below 1, this DL holds too little by itself, and a part of every "
        "gain is the mending of that.", "",
    ]  # fmt: skip
    for case in cases:
        lines += [
            f"## {case['dataset']}", "",
            f"DL is {case['dl']}; the others learn on from {case['dl_trained_before']}; judged {case['first']} to {case['last']} in stores that no expert knows; "
            f"{case['labels']} labels; seeds {', '.join(map(str, case['seeds']))} of all but DL; costs in {case['currency']}. Made by `{case['command']}` at commit `{case['commit'][:12]}`.", "",
        ]  # fmt: skip
        for demand, table in case["tables"].items():
            lines += [f"### {WORDS[demand]}, {table['series']} series", "", *_table(table["rows"]), ""]
        lines += [
            f"![one series under three policies](promotions-{case['dataset']}.png)", "",
            f"One series on {'recovered demand' if 'recovered' in case['tables'] else 'its sales'}, seed {case['seeds'][0]}: of the tenth that "
            "lost most money in promotions under DL, the one whose experts take off the share that they take off all series together.", "",
        ]  # fmt: skip
    return "\n".join(lines)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| window | policy | turnover days | in stock | holding | stock-out | total cost vs DL [95 %] | lost sales vs DL [95 %] |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cost, lost = (_ratio(row[name]) for name in ("total_cost_ratio", "lost_sales_ratio"))
        lines.append(
            f"| {row['window']} | {row['policy']} | {row['turnover_days']:.2f} | {row['in_stock_rate']:.1%} | "
            f"{row['holding_cost']:,.0f} | {row['stockout_cost']:,.0f} | {cost} | {lost} |"
        )
    return lines


def _ratio(ratio: Sequence[float] | None) -> str:
    return "DL lost none" if ratio is None else f"{ratio[0]:.3f} [{ratio[1]:.3f}, {ratio[2]:.3f}]"
