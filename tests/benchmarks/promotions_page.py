"""Table 2 as a Markdown page; `promotions.py` makes the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.promotion_windows import PROMOTION, ROUTINE

Ratio = Sequence[float] | None  # the number, and the ends of its 95 % interval

DL, GUIDED, EXPERT, AUTONOMOUS, INCUMBENT = "DL", "OR-guided RL", "OR+expert RL", "autonomous", "incumbent"
EVERYWHERE = "OR+expert RL, all orders"
LOST, COST, RISE = 0.14, 0.012, 0.005  # what experts are to take off in promotions, and may add to routine total cost
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
        "rows are means over seeds. Behind each number stands what it is beside DL's, in per cent (in stock: in points), and the 95 % interval of that. "
        "Of the autonomous policy half of the gain is asked: of the experts' aim, or of what they gained where that is more. Where the incumbent, a base stock, has a ratio below 1, this DL holds too little by itself, and a part of every "
        "gain is the mending of that.", "",
    ]  # fmt: skip
    for case in cases:
        lines += [
            f"## {case['dataset']}", "",
            f"DL is {case['dl']}; the others learn on from {case['dl_trained_before']}; judged {case['first']} to {case['last']} in stores that no expert knows; "
            f"{case['labels']} labels; seeds {', '.join(map(str, case['seeds']))} of all but DL; costs in {case['currency']}. Made by `{case['command']}` at commit `{case['commit'][:12]}`.", "",
        ]  # fmt: skip
        for demand, table in case["tables"].items():
            lines += [
                f"### {WORDS[demand]}, {table['series']} series",
                "",
                *aims(table["rows"]),
                "",
                *_table(table["rows"]),
                "",
            ]
        lines += [
            f"![one series under three policies](promotions-{case['dataset']}.png)", "",
            f"One series on {'recovered demand' if 'recovered' in case['tables'] else 'its sales'}, seed {case['seeds'][0]}: of the tenth that "
            "lost most money in promotions under DL, the one whose experts take off the share that they take off all series together.", "",
        ]  # fmt: skip
    return "\n".join(lines)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| window | policy | turnover, days | in stock | holding | stock-out | total cost | lost sales |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = (
            f"{row['turnover_days']:.2f} {_change(row['turnover_ratio'])}",
            f"{row['in_stock_rate']:.1%} {_points(row['in_stock_gain'])}",
            f"{row['holding_cost']:,.0f} {_change(row['holding_ratio'])}",
            f"{row['stockout_cost']:,.0f} {_change(row['stockout_ratio'])}",
            f"{row['total_cost']:,.0f} {_change(row['total_cost_ratio'])}",
            _change(row["lost_sales_ratio"]),
        )
        own = [cell.split(" ")[0] for cell in cells[:-1]] + [""]
        lines.append(f"| {row['window']} | {row['policy']} | {' | '.join(own if row['policy'] == DL else cells)} |")
    return lines


def _change(ratio: Ratio) -> str:
    return "(of nothing)" if ratio is None else _percents([one - 1 for one in ratio])


def _points(gain: Ratio) -> str:
    return "(of nothing)" if gain is None else _percents(gain)


def _percents(shares: Sequence[float]) -> str:
    middle, low, high = (f"{100 * share:+.1f}" for share in shares)
    return f"{middle} [{low}, {high}]"


def aims(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What was asked of the experts' policy and of the autonomous one, what came out, and whether that is enough."""
    found = {(row["window"], row["policy"]): row for row in rows}
    lines = ["| asked | found, % | |", "|---|---:|---|"]
    gained: dict[str, float] = {}
    for policy, share in ((EXPERT, 1.0), (AUTONOMOUS, 0.5)):
        for what, name, least in (("lost sales", "lost_sales_ratio", LOST), ("total cost", "total_cost_ratio", COST)):
            ratio = found[PROMOTION, policy][name]
            asked = share * max(least, gained.get(name, 0.0))
            gained.setdefault(name, 0.0 if ratio is None else 1 - ratio[0])
            lines.append(_aim(f"{policy}: {what} in promotions at least {100 * asked:.1f} % lower", ratio, 1 - asked))
        rise = found[ROUTINE, policy]["total_cost_ratio"]
        lines.append(_aim(f"{policy}: routine total cost at most {100 * RISE:.1f} % higher", rise, 1 + RISE))
    return lines


def _aim(asked: str, ratio: Ratio, most: float) -> str:
    if ratio is None:
        return f"| {asked} | DL lost none | |"
    verdict = "reached" if ratio[0] <= most else "missed"
    if ratio[1] <= most < ratio[2]:
        verdict += "; the interval holds the aim"
    return f"| {asked} | {_change(ratio)} | {verdict} |"
