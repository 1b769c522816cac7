"""Classical lost-sales problems: `python -m tests.benchmarks.classical FOLDER` writes classical.json and classical.md.

The exact oracles of `solver.optimal` beside the values printed in the literature's table.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from solver.optimal import (
    CostBounds,
    LostSales,
    StockPolicy,
    best_base_stock,
    best_capped_base_stock,
    optimal_cost,
    poisson_pmf,
)

GAP = 1e-6  # currency per period between the certified bounds
MARGIN = 3  # units by which the optimum's box is widened for the check


class PrintedPolicy(NamedTuple):
    """A policy and its cost as the table prints them."""

    cost: float
    target_stock: int
    max_order_qty: int


class Printed(NamedTuple):
    """One cell."""

    optimum: float
    base_stock: PrintedPolicy
    capped: PrintedPolicy


def _printed(optimum: float, base: tuple[float, int], capped: tuple[float, int, int]) -> Printed:
    return Printed(optimum, PrintedPolicy(*base, base[1]), PrintedPolicy(*capped))


# (lost-sale cost, textbook lead time): holding cost 1, Poisson demand of mean 5
PRINTED = {
    (4, 1): _printed(4.041, (4.163, 12), (4.065, 12, 6)),
    (4, 2): _printed(4.395, (4.639, 16), (4.406, 17, 5)),
    (4, 3): _printed(4.599, (4.975, 20), (4.631, 21, 5)),
    (4, 4): _printed(4.729, (5.198, 25), (4.798, 26, 5)),
    (9, 1): _printed(5.438, (5.548, 13), (5.481, 14, 6)),
    (9, 2): _printed(6.094, (6.316, 19), (6.119, 19, 6)),
    (9, 3): _printed(6.531, (6.864, 23), (6.616, 24, 6)),
    (9, 4): _printed(6.836, (7.271, 28), (6.912, 29, 5)),
}

HEAD = f"""# Classical problems, solved exactly

Lost sales, holding cost 1, lost-sale cost p, Poisson demand of mean 5, long-run average cost per period. The problems are
those of Zipkin (2008), *Old and new methods for lost-sales inventory systems*, Operations Research 56(5); capped base-stock is
the policy of Xin (2021), Operations Research 69. *Printed* is the table in the literature, to three decimals, that this project
compares itself with. L is the textbook's lead time: an order placed after the receipt in t arrives L later. On the clock
`arrive-sell-count-order` it is placed a step earlier, at the end of t - 1, so L is `lead_time` = L + 1.

Every base-stock level that could be cheapest and every pair (S, r) up to the optimum's own limit on the position was
priced. The cost of the policy named lies between the bounds, which are at most {GAP} apart. The optimum is that of all
policies inside a box of positions and orders (`limits` in `solver/optimal.py`); *box widened* is what its cost changes by when
the box is {MARGIN} units wider in both. Nothing larger than the bounds' distance may show there.

Made by `python -m tests.benchmarks.classical docs/results`; seconds are of one run on one core and move with the machine.

| p | L | policy | printed | ours | difference | lower bound | upper bound | box widened | seconds |
|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|"""


def problem_of(lost_sale_cost: float, textbook_lead: int) -> LostSales:
    """A problem of the table on this project's clock."""
    return LostSales(
        holding_cost=1.0,
        lost_sale_cost=float(lost_sale_cost),
        lead_time=textbook_lead + 1,
        demand_pmf=poisson_pmf(5.0),
    )


def _row(policy: str, printed: float, bounds: CostBounds, seconds: float) -> dict[str, Any]:
    ours = round(bounds.cost, 3)
    return {
        "policy": policy, "printed": printed, "ours": ours, "difference": round(ours - printed, 3),
        "lower": bounds.lower, "upper": bounds.upper, "seconds": seconds,
    }  # fmt: skip


def _searched(name: str, found: StockPolicy, printed: PrintedPolicy, seconds: float) -> dict[str, Any]:
    """A row that says which policy was found, and which was printed."""
    return _row(name, printed.cost, found.bounds, seconds) | {
        "target_stock": found.target_stock,
        "max_order_qty": found.max_order_qty,
        "printed_target_stock": printed.target_stock,
        "printed_max_order_qty": printed.max_order_qty,
    }


def cells() -> list[dict[str, Any]]:
    """Three rows for every cell of the table."""
    optimal_cost(problem_of(4, 1))  # compiles
    rows = []
    for (p, textbook_lead), printed in sorted(PRINTED.items()):
        problem = problem_of(p, textbook_lead)
        began = time.perf_counter()
        optimum = optimal_cost(problem, GAP)
        after_optimum = time.perf_counter()
        base = best_base_stock(problem, GAP)
        after_base = time.perf_counter()
        capped = best_capped_base_stock(problem, GAP)
        after_capped = time.perf_counter()
        change = optimal_cost(problem, GAP, MARGIN).cost - optimum.cost
        place = {"p": p, "textbook_lead_time": textbook_lead, "lead_time": problem.lead_time}
        row = _row("optimal", printed.optimum, optimum, after_optimum - began) | {"box_widened": change}
        rows += [
            place | row,
            place | _searched("base stock", base, printed.base_stock, after_base - after_optimum),
            place | _searched("capped base stock", capped, printed.capped, after_capped - after_base),
        ]
    return rows


def _line(row: dict[str, Any]) -> str:
    name = row["policy"]
    if name == "base stock":
        name += f" (S = {row['target_stock']})"
    if name == "capped base stock":
        name += f" (S = {row['target_stock']}, r = {row['max_order_qty']})"
    widened = f"{row['box_widened']:+.0e}" if "box_widened" in row else ""
    return (
        f"| {row['p']} | {row['textbook_lead_time']} | {name} | {row['printed']:.3f} | {row['ours']:.3f} "
        f"| {row['difference']:+.3f} | {row['lower']:.6f} | {row['upper']:.6f} | {widened} | {row['seconds']:.2f} |"
    )


def _off(row: dict[str, Any]) -> str | None:
    """What differs from the table, in words."""
    where = f"p = {row['p']}, L = {row['textbook_lead_time']}, {row['policy']}"
    if row["difference"]:
        return f"- {where}: printed {row['printed']:.3f}, exact between {row['lower']:.6f} and {row['upper']:.6f}."
    if any(row.get(f"printed_{key}") != row.get(key) for key in ("target_stock", "max_order_qty")):
        printed = (row["printed_target_stock"], row["printed_max_order_qty"])
        return f"- {where}: printed with {printed}, found with {(row['target_stock'], row['max_order_qty'])}."
    return None


def main(folder: Path) -> None:
    """Solve and write."""
    rows = cells()
    folder.mkdir(parents=True, exist_ok=True)
    results = {"machine": platform.processor() or platform.machine(), "gap": GAP, "margin": MARGIN, "rows": rows}
    (folder / "classical.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    differing = [line for line in map(_off, rows) if line]
    agree = f"{len(rows) - len(differing)} of {len(rows)} values agree with the table to its last digit"
    lines = [
        HEAD,
        *map(_line, rows),
        "",
        agree + ("; these do not:" if differing else "."),
        *([""] if differing else []),
    ]
    page = "\n".join(lines + differing) + "\n"
    (folder / "classical.md").write_text(page, encoding="utf-8")
    sys.stdout.write(page)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
