"""Draws the report's figures from the values that are stored beside them. Computes nothing."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from PIL import Image

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

POLICY, BASE_STOCK, LABEL, DEMAND = "#c03d3e", "#3a6ea5", "#5f8f4e", "#8a8a8a"
COLOURS = (POLICY, BASE_STOCK, LABEL)
HOLDING, LOST, WASTED = "#4c78a8", "#e45756", "#8c6d31"
DPI = 100


@contextmanager
def picture(path: Path, rows: int, columns: int, size: tuple[float, float], **sharing: Any) -> Iterator[Any]:
    """Axes (rows, columns) to draw on, saved when all went well."""
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, **sharing)
    try:
        yield axes
        for axis in axes.flat:
            axis.spines[["top", "right"]].set_visible(False)
        _save(figure, path)
    finally:
        plt.close(figure)


def _save(figure: Any, path: Path) -> None:
    """As PNG with 128 colours: a third of the size, and nothing to see of it."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DPI, format="png")
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def draw_costs(case: dict[str, Any], path: Path) -> None:
    """Holding, stock-out and waste cost of each method as stacked bars."""
    rows = case["table"][::-1]
    names = [row["method"] + (" *" if row["hindsight"] else "") for row in rows]
    holding = np.array([row["holding_cost"] for row in rows]) / 1000
    lost = np.array([row["stockout_cost"] for row in rows]) / 1000
    wasted = np.array([row["waste_cost"] for row in rows]) / 1000
    with picture(path, 1, 1, (9, 0.36 * len(rows) + 1.4)) as axes:
        axis = axes[0, 0]
        axis.barh(names, holding, color=HOLDING, label="holding")
        axis.barh(names, lost, left=holding, color=LOST, label="lost sales")
        if wasted.any():
            axis.barh(names, wasted, left=holding + lost, color=WASTED, label="waste")
        for at, row in enumerate(rows):
            axis.text(
                holding[at] + lost[at] + wasted[at], at, f"  {row['against_or'] - 1:+.1%}", va="center", fontsize=8
            )
        for tick, row in zip(axis.get_yticklabels(), rows, strict=True):
            tick.set_fontweight("bold" if row["method"] == case["policy"] else "normal")
        axis.set_xlabel(f"cost over the window, thousand {case['currency']} (label: total against OR hindsight)")
        axis.set_title(f"{case['dataset']}, {case['first']} to {case['last']}   (* reads the window)", fontsize=11)
        axis.margins(x=0.1)
        axis.legend(loc="upper right", frameon=False)


def draw_learning(learning: dict[str, Any], path: Path) -> None:
    """The losses of each stage, and what an alignment logged."""
    stages = {name: values for name, values in learning["losses"].items() if values}
    aligned = learning.get("alignment") or {}
    logged = [("kl",), ("entropy",), ("rule", "pareto"), ("dominates", "dominated")] if aligned else []
    columns = max(len(stages), len(logged))
    with picture(path, 2 if aligned else 1, columns, (2.5 * columns, 4.6 if aligned else 2.5)) as axes:
        for axis in axes.flat:
            axis.set_visible(False)
        rows: list[tuple[Axes, str, dict[str, Any], tuple[str, ...]]] = [
            (axes[0, k], f"loss: {name}", stages, (name,)) for k, name in enumerate(stages)
        ]
        rows += [(axes[1, k], ", ".join(names), aligned, names) for k, names in enumerate(logged)]
        for axis, title, values, names in rows:
            axis.set_visible(True)
            for name, colour in zip(names, COLOURS, strict=False):
                share = np.arange(1, len(values[name]) + 1) / len(values[name])
                axis.plot(share, values[name], color=colour, label=name, lw=1.5, marker=".")
            axis.set_title(title, fontsize=10)
            axis.set_xlabel("share of the steps")
            if len(names) > 1:
                axis.legend(frameon=False, fontsize=8)


def draw_segments(figure: dict[str, Any], path: Path) -> None:
    """Figure 2: for each segment and method the middle 80 % as a line, the middle half as a bar, the median as a dot."""
    segments, methods = figure["segments"], figure["methods"]
    with picture(path, 1, 2, (10, 4.2), sharex=True) as axes:
        for axis, key, title in zip(
            axes[0], ("days", "beyond"), ("inventory days", "days beyond the protection interval"), strict=True
        ):
            for k, method in enumerate(methods):
                place = np.arange(len(segments)) + (k - (len(methods) - 1) / 2) * 0.24
                spreads = [segment["methods"][method][key] for segment in segments]
                known = [(x, s) for x, s in zip(place, spreads, strict=True) if s]
                at, found = [x for x, _ in known], [s for _, s in known]
                colour = COLOURS[k]
                axis.vlines(at, [s["p10"] for s in found], [s["p90"] for s in found], color=colour, lw=1.2)
                axis.vlines(at, [s["p25"] for s in found], [s["p75"] for s in found], color=colour, lw=7, alpha=0.55)
                axis.plot(at, [s["p50"] for s in found], "o", color="white", mec=colour, ms=5, label=method)
            labels = [f"{segment['segment']}\n{segment['series']}" for segment in segments]
            axis.set_xticks(range(len(segments)), labels)
            axis.set_title(title, fontsize=10)
            axis.grid(axis="y", color="#e5e5e5", lw=0.6)
            axis.set_axisbelow(True)
        axes[0, 1].axhline(0, color="#999999", lw=0.8)
        axes[0, 0].set_ylabel("days")
        axes[0, 0].set_xlabel("segment, and its number of series")
        axes[0, 1].set_xlabel("segment, and its number of series")
        axes[0, 0].legend(frameon=False, fontsize=8)


def draw_cycles(figure: dict[str, Any], path: Path) -> None:
    """Figure 3: days above, demand below; one line a year, the last in full colour, the window shaded."""
    years = figure["years"]
    weeks = np.arange(len(years[-1]["demand_index"]))
    with picture(path, 2, 1, (10, 6), sharex=True, height_ratios=(2, 1)) as axes:
        above, below = axes[:, 0]
        for age, year in enumerate(reversed(years)):
            name = f"to {year['last']}"
            fade = 0.9 / (age + 1) ** 0.7
            style = {"lw": 2.0 if age == 0 else 1.2, "alpha": fade}
            if sum(value is not None for value in year["demand_index"]) > 1:
                _line(above, weeks, year["days"]["OR epoch label"], LABEL, f"OR epoch label, {name}", **style)
                _line(below, weeks, year["demand_index"], DEMAND, name, **style)
        for method, colour in zip(
            [m for m in years[-1]["days"] if m != "OR epoch label"], (POLICY, BASE_STOCK), strict=False
        ):
            _line(above, weeks, years[-1]["days"][method], colour, f"{method}, inside the window", lw=2.2)
        known = [week for week in weeks if any(year["demand_index"][week] is not None for year in years)]
        below.set_xlim(known[0] - 1, len(weeks))
        first = len(weeks) - figure["window_weeks"]
        for axis in (above, below):
            axis.axvspan(max(first, 0) - 0.5, len(weeks) - 0.5, color="#f3efe2", zorder=0)
            axis.grid(axis="y", color="#e5e5e5", lw=0.6)
        above.set_ylabel("mean inventory days")
        below.set_ylabel("demand index")
        above.set_title("Shaded: the window", fontsize=10)
        above.legend(frameon=False, fontsize=8, ncols=2)
        below.legend(frameon=False, fontsize=8, ncols=4)
        begin = date.fromisoformat(years[-1]["first"])
        shown = weeks[known[0] :: 4 if len(known) > 26 else 1]
        below.set_xticks(shown, [(begin + timedelta(weeks=int(w))).strftime("%d %b") for w in shown], fontsize=8)
        below.set_xlabel("week that begins on (dates of the last year)")


def draw_promotions(figure: dict[str, Any], path: Path) -> None:
    """Figure 4: demand, targets, stock, and the shares of high and low targets, by day from the promotion's start."""
    days, methods = figure["days"], list(figure["stock_days"])
    with picture(path, 2, 2, (10, 6.8), sharex=True) as axes:
        (demand, target), (shares, stock) = axes
        _smoothed(demand, days, figure["demand"], "#444444", "demand")
        demand.set_ylabel("times usual demand")
        demand.set_title("demand", fontsize=10)
        for method, colour in zip(methods, COLOURS, strict=False):
            _line(target, days, figure["target_days"][method], colour, method, lw=2)
            _smoothed(stock, days, figure["stock_days"][method], colour, method)
        _line(target, days, figure["target_days"]["OR epoch label"], "#333333", "OR epoch label", lw=1.5, ls="--")
        target.set_title("target stock in force (axis does not begin at 0)", fontsize=10)
        stock.set_title("stock left at the day's end", fontsize=10)
        for axis in (target, stock):
            axis.set_ylabel("days of usual demand")
            axis.legend(frameon=False, fontsize=8, ncols=2)
        for axis in (demand, stock):
            axis.set_ylim(bottom=0)
        for axis in (demand, target, stock):
            axis.grid(axis="y", color="#e5e5e5", lw=0.6)
        target.margins(y=0.25)
        _stacked_shares(shares, figure)
        for axis in axes.flat:
            _shade_promotion(axis, figure)
        for axis in axes[1]:
            axis.set_xlabel("days from the promotion's first day")


def _smoothed(axis: Axes, days: list[int], values: list[float | None], colour: str, name: str) -> None:
    """Each day thinly, and the mean of the seven days around it, which takes the weekday out."""
    known = np.array([np.nan if v is None else v for v in values])
    width = 7 // (days[1] - days[0])
    if width < 3:
        axis.plot(days, known, color=colour, label=name, lw=2)
        return
    axis.plot(days, known, color=colour, lw=0.8, alpha=0.45)
    mean = np.convolve(known, np.ones(width) / width, "valid")
    axis.plot(days[width // 2 : len(days) - width // 2], mean, color=colour, label=name, lw=2.2)


def _stacked_shares(axis: Axes, figure: dict[str, Any]) -> None:
    """The lightest shade is the highest target, as in the paper's figure."""
    shades = ("#3b0f0f", "#7c2a2a", "#c03d3e", "#e59a8f", "#f8ddd6")
    steps = figure["share_steps"]
    names = [f"below {steps[0]:g}", *(f"{a:g} to {b:g}" for a, b in pairwise(steps)),
             f"above {steps[-1]:g}"]  # fmt: skip
    floor = np.zeros(len(figure["days"]))
    width = figure["days"][1] - figure["days"][0]
    for share, shade, name in zip(figure["target_shares"], shades, names, strict=True):
        axis.bar(figure["days"], share, width, bottom=floor, color=shade, label=name)
        floor += np.array(share)
    axis.set_ylim(0, 1)
    axis.set_ylabel("share of promotions")
    axis.set_title(f"{figure['shares_of']}: target over its own mean of these days", fontsize=10)
    axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=5, frameon=False, handlelength=1)


def _shade_promotion(axis: Axes, figure: dict[str, Any]) -> None:
    """Days on which more than half of the promotions run."""
    on = [day for day, share in zip(figure["days"], figure["promoted_share"], strict=True) if share > 0.5 and day >= 0]
    if on:
        width = figure["days"][1] - figure["days"][0]
        axis.axvspan(on[0] - width / 2, on[-1] + width / 2, color="#f3e6b8", alpha=0.5, zorder=0)
        for edge in (on[0] - width / 2, on[-1] + width / 2):
            axis.axvline(edge, color="#b8a040", lw=0.8)


def _line(axis: Axes, x: Sequence[Any] | Any, y: list[float | None], colour: str, name: str, **style: Any) -> None:
    axis.plot(x, [np.nan if v is None else v for v in y], color=colour, label=name, **style)


def draw_trade_off(figure: dict[str, Any], path: Path) -> None:
    """Figure 5: for each category a point a method, turnover days against in-stock rate; up and left is better."""
    categories, methods = figure["categories"], figure["methods"]
    columns = min(3, len(categories))
    rows = -(-len(categories) // columns)
    colours = dict(zip(methods, mpl.colormaps["tab10"](np.arange(len(methods)) % 10), strict=True))
    with picture(path, rows, columns, (max(3.6 * columns, 8.2), 3.2 * rows + 0.8)) as axes:
        for axis in axes.flat:
            axis.set_visible(False)
        for axis, category in zip(axes.flat, categories, strict=False):
            axis.set_visible(True)
            for method in methods:
                point = category["methods"][method]
                marker = "s" if method == methods[0] else "o"
                axis.plot(
                    point["turnover_days"],
                    100 * point["in_stock_rate"],
                    marker,
                    color=colours[method],
                    ms=8,
                    label=method,
                )
            axis.set_title(f"{category['category'] or 'no category'} ({category['series']} series)", fontsize=10)
            axis.margins(0.15)
            axis.set_xlabel("turnover days")
            axis.set_ylabel("in stock, % of periods")
        handles, names = axes[0, 0].get_legend_handles_labels()
        axes[0, 0].figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=9)


def draw_ablation(result: dict[str, Any], path: Path) -> None:
    """A dot and its interval for each variant's cost against the base; left is better."""
    rows = result["variants"][::-1]
    groups = list(dict.fromkeys(row["group"] for row in result["variants"]))
    colours = dict(zip(groups, mpl.colormaps["tab10"](np.arange(len(groups)) % 10), strict=True))
    with picture(path, 1, 1, (9, 0.3 * len(rows) + 1.4)) as axes:
        axis = axes[0, 0]
        axis.axvline(1.0, color=DEMAND, lw=1)
        for at, row in enumerate(rows):
            value, low, high = row["against_base"]
            axis.plot([low, high], [at, at], color=colours[row["group"]], lw=2)
            axis.plot(value, at, "o", color=colours[row["group"]], ms=6)
        axis.set_yticks(range(len(rows)), [f"{row['name']}  ({row['group']})" for row in rows])
        axis.set_xlabel(f"total cost against {result['variants'][0]['name']}, paired 95 % interval over series")
        axis.set_title(
            f"{result['dataset']}, {result['first']} to {result['last']}, {len(result['seeds'])} seeds", fontsize=11
        )


def draw_trajectories(example: dict[str, Any], path: Path) -> None:
    """Figure 6: stock, sales and demand of one series, a row a policy; promoted periods are shaded, lost sales filled."""
    policies = example["policies"]
    each = [np.array([told["on_hand"], np.add(told["sales"], told["lost_sales"])]) for told in policies.values()]
    top = max(float(one.max()) for one in each)
    promoted, period = np.array(example["promoted"]), "day" if example["period_days"] == 1 else "week"
    counted, where = (promoted, " in promotions") if promoted.any() else (~promoted, "")
    stock = f"stock at the end of the {period}"
    with picture(path, len(policies), 1, (9, 2.1 * len(policies)), sharex=True) as axes:
        for axis, (name, told) in zip(axes[:, 0], policies.items(), strict=True):
            at = np.arange(len(told["on_hand"]))
            sales, demand = np.array(told["sales"]), np.add(told["sales"], told["lost_sales"])
            axis.fill_between(at, 0, 1.05 * top, where=promoted, step="mid", color="#eeeeee", lw=0, label="promoted")
            axis.step(at, told["on_hand"], where="mid", color=BASE_STOCK, lw=1.5, label=stock)
            axis.fill_between(at, sales, demand, color=LOST, alpha=0.6, step="mid", lw=0, label="lost sales")
            axis.step(at, demand, where="mid", color="#222222", lw=1.2, label="demand")
            lost, asked = (demand - sales)[counted].sum(), demand[counted].sum()
            axis.set_title(f"{name}: {lost:,.1f} of {asked:,.1f} units lost{where}", fontsize=10, loc="left")
            axis.set_ylim(0, 1.05 * top)
        axes[0, 0].legend(frameon=False, fontsize=8, ncols=4, loc="upper right", bbox_to_anchor=(1, 1.3))
        axes[-1, 0].set_xlabel(f"{period}s from {example['first']}, {example['series']}")
