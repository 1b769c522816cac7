"""A backtest in words: the table's cells and the verdicts, for the screen, the page and the report alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.methods import GBM_PICKED, GBM_STRONG

LEAST_SERIES = 5  # fewer resample to nearly nothing but themselves


def titles(case: dict[str, Any]) -> list[str]:
    """Names of the table's columns; waste has one only where something perished."""
    return list(_cells(case["table"][0], waste=_wastes(case)))


def table_rows(case: dict[str, Any]) -> list[tuple[str, ...]]:
    """The table as text, cheapest method first; one cell for each of `titles`."""
    return [tuple(_cells(row, waste=_wastes(case)).values()) for row in case["table"]]


def _wastes(case: dict[str, Any]) -> bool:
    return any(row["waste_cost"] > 0 for row in case["table"])


def _cells(row: dict[str, Any], *, waste: bool) -> dict[str, str]:
    cells = {
        "method": row["method"] + (" (hindsight)" if row["hindsight"] else ""),
        "turnover days": f"{row['turnover_days']:.2f}",
        "in stock": f"{row['in_stock_rate']:.1%}",
        "fill rate": f"{row['fill_rate']:.1%}",
        "holding": f"{row['holding_cost']:,.0f}",
        "stock-out": f"{row['stockout_cost']:,.0f}",
        "waste": f"{row['waste_cost']:,.0f}",
        "total cost": f"{row['total_cost']:,.0f}",
        "vs OR hindsight": f"{row['against_or'] - 1:+.1%}",
        "vs best PTO [95 %]": ratio_text(row["against_best_pto"]),
        "vs GBM strong [95 %]": ratio_text(row["against_gbm_strong"]),
    }
    return cells if waste else {name: cell for name, cell in cells.items() if name != "waste"}


def picked_in_words(result: dict[str, Any]) -> str:
    """What the trees knew that were trained on the judged series alone; nothing where the table has no such row."""
    if not any(row["method"] == GBM_PICKED for row in result["table"]):
        return ""
    return (
        f"; {GBM_PICKED} learnt from the judged series alone, so it knew beforehand which would be well supplied, where every "
        "other method learnt from all"
    )


def ratio_text(ratio: Sequence[float]) -> str:
    """A ratio with its interval."""
    return f"{ratio[0]:.3f} [{ratio[1]:.3f}, {ratio[2]:.3f}]"


def segment_ratio(segment: dict[str, Any]) -> str:
    """The policy against the best PTO in one segment; a handful of series gives no interval."""
    ratio = segment["policy_against_best_pto"]
    if ratio is None:
        return ""
    return ratio_text(ratio) if segment["series"] >= LEAST_SERIES else f"{ratio[0]:.3f} [too few series]"


def headline(case: dict[str, Any]) -> str:
    """The policy against the cheapest base stock and against the cheapest of all that could be had in advance."""
    if not case["comparisons"]:
        return "No policy was replayed."
    ratios = {found["against"]: found["ratio"] for found in case["comparisons"]}
    rivals = dict.fromkeys((case["best_pto"], case["comparisons"][0]["against"]))
    return f"Total cost of {case['policy']}: " + "; ".join(_short(rival, ratios[rival]) for rival in rivals) + "."


def _short(rival: str, ratio: Sequence[float]) -> str:
    value, low, high = ratio
    if low <= 1 <= high:
        return f"no difference shown against {rival} ({value - 1:+.1%})"
    return f"{abs(1 - value):.1%} {'below' if value < 1 else 'above'} {rival}"


def verdicts(case: dict[str, Any]) -> list[str]:
    """What the numbers say of the policy: against the rivals that matter, and where it loses."""
    if not case["policy"]:
        return ["No policy was replayed; the rows are its rivals."]
    rows = {row["method"]: row for row in case["table"]}
    mine, policy = rows[case["policy"]], case["policy"]
    wasted = f" and {mine['waste_cost']:,.0f} for waste" if _wastes(case) else ""
    sentences = [
        f"{policy} costs {mine['total_cost']:,.0f} {case['currency']}: {mine['holding_cost']:,.0f} for stock and "
        f"{mine['stockout_cost']:,.0f} for lost sales{wasted}, at {mine['turnover_days']:.2f} turnover days and "
        f"{mine['in_stock_rate']:.1%} in stock."
    ]
    ratios = {found["against"]: found["ratio"] for found in case["comparisons"]}
    cheapest = case["comparisons"][0]["against"]
    named = {case["best_pto"]: "the cheapest base stock on past sales", GBM_STRONG: "boosted trees on the same inputs",
             f"PTO gamma, {policy} forecast": "a base stock on the policy's own forecast",
             "incumbent": "the stand-in for a user's own rule"}  # fmt: skip
    named.setdefault(cheapest, "the cheapest row that could be had in advance")
    sentences += [f"{compared(policy, n, ratios[n])}, {words}." for n, words in named.items() if n in ratios]
    sentences += [
        f"{policy} loses to {found['against']} on {found['series_that_lose']} of {case['series']} series, by "
        f"{found['cost_above']:,.0f} {case['currency']} in all."
        for found in case["losses"]
    ]
    return sentences


def compared(policy: str, rival: str, ratio: Sequence[float]) -> str:
    """One comparison; a difference is claimed only where the whole interval lies on one side of 1."""
    value, low, high = ratio
    between = f"95 % interval {low - 1:+.1%} to {high - 1:+.1%}"
    if high < 1:
        return f"{policy} costs {1 - value:.1%} less ({between}) than {rival}"
    if low > 1:
        return f"{policy} costs {value - 1:.1%} more ({between}) than {rival}"
    return f"{policy} costs {value - 1:+.1%} ({between}), which shows no difference, against {rival}"
