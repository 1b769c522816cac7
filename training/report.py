"""One HTML file that tells a backtest: the verdict from the numbers, where the policy loses, tables and figures.

The file needs nothing beside it: pictures are inside. The same pictures and the values behind them are written next to
it. Every sentence with a number in it is made from the result.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from training.backtest import Backtest
from training.figures import (
    around_promotions,
    cycles_over_the_year,
    days_by_segment,
    epoch_days,
    trade_off_by_category,
)
from training.one_series import of_backtest
from training.sentences import headline, picked_in_words, segment_ratio, table_rows, titles, verdicts

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 75rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: 0 } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd }
p.under { color: #666; margin-top: .2rem } code { background: #f4f4f4; padding: .1em .3em; overflow-wrap: anywhere }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid #eee; white-space: nowrap }
th { color: #666; font-weight: 600; white-space: normal; vertical-align: bottom } tr.policy td { font-weight: 700 }
th.text, td.text { text-align: left } p.headline { font-size: 1.15rem; font-weight: 600 } figure { margin: 1rem 0 } figure img { max-width: 100%; height: auto }
figcaption { color: #444; font-size: .9rem } li { margin: .2rem 0 }
"""
TEXTS = {"method", "series", "segment", "run", "row", "kind", "recipe", "trained up to", "commit", "training command"}


class Figure(NamedTuple):
    """A picture, the values behind it, and what it says."""

    stem: str
    title: str
    values: dict[str, Any]
    draw: Callable[[dict[str, Any], Path], None]
    caption: str


def write_report(result: dict[str, Any], replayed: Backtest, folder: Path) -> Path:
    """Write `index.html`, `backtest.json`, and a PNG and a JSON file for each figure.

    Args:
        result: what `orpr backtest` says, with provenance and scenarios.
        replayed: the same backtest of the dataset as given, for the figures.
        folder: made where it is missing; files of these names are replaced.

    Returns:
        The path of `index.html`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "backtest.json", result)
    figures = figures_of(result, replayed)
    for figure in figures:
        if figure.values is not result:
            _write_json(folder / f"{figure.stem}.json", figure.values)
        figure.draw(figure.values, folder / f"{figure.stem}.png")
    page = folder / "index.html"
    page.write_text(html_of(result, figures, folder), encoding="utf-8")
    return page


def figures_of(result: dict[str, Any], replayed: Backtest) -> list[Figure]:
    """The figures that this dataset has; without a promotion in the window there is no Figure 4."""
    from training import pictures

    epochs = epoch_days(replayed.replay, replayed.seed)
    promotions = around_promotions(replayed, epochs)
    window = f"{result['first']} to {result['last']}"
    figures = [
        Figure("costs", "Cost of every method", result, pictures.draw_costs,
               f"Holding and lost sales over the window, {window}. The values are the table's."),
        Figure("days-by-segment", "Figure 2: days by segment", days_by_segment(replayed), pictures.draw_segments,
               "Dot: median decision; bar: the middle half; line: the middle 80 %. The OR label is one number a series. "
               "On the right the protection interval (lead time + review period − 1) is taken off, so that series with "
               f"different lead times compare. Decisions of {window}."),
        Figure("cycles-over-the-year", "Figure 3: cycles over the year", cycles_over_the_year(replayed, epochs),
               pictures.draw_cycles,
               "The OR epoch label is hindsight: the days at which each single order would have been cheapest. Years are "
               f"laid over each other by week. It knows demand and needs no safety stock: compare its course, not its height. The policy is shown inside the window only, {window}: a bundle was "
               "trained before it."),
    ]  # fmt: skip
    if replayed.policy:
        trade_off = trade_off_by_category(replayed)
        figures += [
            Figure("trade-off-by-category", "Figure 5: turnover and in-stock rate by category", trade_off,
                   pictures.draw_trade_off,
                   "Up and to the left is better on both. The OR label is hindsight at the turnover of the real stock or the "
                   f"incumbent. Shown are {len(trade_off['categories'])} of {trade_off['of']} categories, by what the best base stock "
                   "costs in them."),
            Figure("one-series", "Figure 6: stock, sales and demand of one series", of_backtest(replayed, _policy_rows(result)), pictures.draw_trajectories,
                   "Of the tenth of all series that lost most money under the first of these, the one whose last takes off the share of "
                   "lost sales that it takes off all together; in promotions, where the window has any."),
        ]  # fmt: skip
    learning = next((run["learning"] for run in result["runs"].values() if run.get("learning", {}).get("losses")), None)
    if learning is not None:
        figures.append(
            Figure("learning", "How it learned", learning, pictures.draw_learning,
                   "The first bundle's losses by stage, each point the mean of a twentieth of its steps; units differ between "
                   "stages. Where it was aligned by RLOO, the lower row has what was logged: the KL to the policy before, the entropy of "
                   "its distribution, the parts of the reward, and how often a sample dominates its rival or is dominated.")
        )  # fmt: skip
    if promotions is not None:
        figures.append(
            Figure("around-promotions", "Figure 4: build-up and taper around promotions", promotions,
                   pictures.draw_promotions,
                   f"Means over {promotions['events']} promotions of {promotions['series']} series that begin inside the "
                   f"window with {promotions['days'][-1]} days on both sides. Usual demand is the daily rate known before these days. "
                   "A target holds until the next review. Thin lines: each day; thick: the mean of seven. Shaded: days on which "
                   "most of them run. Bottom left: each promotion counts the same; light is a high target.")
        )  # fmt: skip
    return figures


def _policy_rows(result: dict[str, Any]) -> list[str]:
    """The row of each policy; the other runs are base stocks on a policy's forecast."""
    return [run["row"] for run in result["runs"].values() if "kind" in run]


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")


# ------------------------------------------------------------------------------------------------------------ the page


def html_of(result: dict[str, Any], figures: Sequence[Figure], folder: Path) -> str:
    """The whole page; the figures' pictures are read from `folder`."""
    pictures = {figure.stem: _figure(figure, folder) for figure in figures}
    title = f"Backtest: {result['dataset']}"
    under = (
        f"{result['series']} series, {result['first']} to {result['last']}, costs in {result['currency']}. Replayed: "
        f"{result['replayed']}; {result['rules']}. {result['source']}"
    )
    missing = "" if "around-promotions" in pictures else "<p>No promotion begins inside the window: no Figure 4.</p>"
    parts = [
        f"<h1>{escape(title)}</h1><p class='under'>{escape(under)}</p>",
        f"<p class='headline'>{escape(headline(result))}</p>", _list(verdicts(result)),
        *(_losses(result, found) for found in result["losses"]),
        "<h2>Every method</h2>", _methods(result), pictures["costs"],
        "<h2>By segment</h2>", f"<p>{escape(result['segments']['cuts'])}</p>", _segments(result),
        *(picture for stem, picture in pictures.items() if stem != "costs"), missing,
        *(_scenario(case) for case in result["scenarios"]),
        "<h2>Runs</h2>", _runs(result),
        "<h2>How to read this</h2>", _list(_reading(result)),
        "<h2>How it was made</h2>", _provenance(result),
    ]  # fmt: skip
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'><link rel='icon' href='data:,'>"
        f"<style>{STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _figure(figure: Figure, folder: Path) -> str:
    inside = base64.b64encode((folder / f"{figure.stem}.png").read_bytes()).decode()
    return (
        f"<figure><h3>{escape(figure.title)}</h3><img alt='{escape(figure.title, quote=True)}' "
        f"src='data:image/png;base64,{inside}'><figcaption>{escape(figure.caption)}</figcaption></figure>"
    )


def _list(sentences: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences) + "</ul>"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]], bold: Sequence[bool] = ()) -> str:
    """Columns named in TEXTS stand to the left, numbers to the right."""
    kinds = [" class='text'" if name in TEXTS else "" for name in head]
    cells = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip(head, kinds, strict=True))
    lines = [
        f"<tr{' class=policy' if strong else ''}>"
        + "".join(f"<td{kind}>{escape(str(cell))}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row, strong in zip(rows, bold or [False] * len(rows), strict=True)
    ]  # fmt: skip
    return f"<div class='wide'><table><thead><tr>{cells}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"


def _methods(case: dict[str, Any]) -> str:
    return _table(titles(case), table_rows(case), [row["method"] == case["policy"] for row in case["table"]])


def _losses(result: dict[str, Any], found: dict[str, Any]) -> str:
    heading = f"<h2>{escape('Where ' + result['policy'] + ' loses to ' + found['against'])}</h2>"
    if not found["worst"]:
        return f"{heading}<p>On no series.</p>"
    money = result["currency"]
    head = (
        "series",
        "segment",
        f"{result['policy']}, {money}",
        f"{found['against']}, {money}",
        f"above, {money}",
        "above",
    )
    rows = [
        (x["series"], x["segment"], f"{x['policy_cost']:,.0f}", f"{x['rival_cost']:,.0f}", f"{x['cost_above']:,.0f}",
         f"{x['cost_above'] / max(x['rival_cost'], 1e-9):+.1%}")
        for x in found["worst"]
    ]  # fmt: skip
    total = f"{found['series_that_lose']} of {result['series']} series, {found['cost_above']:,.0f} {money} in all; the worst:"
    return f"{heading}<p>{escape(total)}</p>{_table(head, rows)}"


def _segments(result: dict[str, Any]) -> str:
    found = result["segments"]["table"]
    head = ["segment", "number", "value", "method", "turnover days", "in stock", "total cost", "vs best PTO [95 %]"]
    rows, bold = [], []
    for segment in found:
        for k, (method, metrics) in enumerate(segment["methods"].items()):
            mine = method == result["policy"]
            first = (segment["segment"], segment["series"], f"{segment['value_share']:.1%}") if k == 0 else ("", "", "")
            ratio = segment_ratio(segment) if mine else ""
            rows.append((*first, method, f"{metrics['turnover_days']:.2f}", f"{metrics['in_stock_rate']:.1%}",
                         f"{metrics['total_cost']:,.0f}", ratio))  # fmt: skip
            bold.append(mine)
    return _table(head, rows, bold)


def _scenario(case: dict[str, Any]) -> str:
    words = (
        f"{case['rules'].capitalize()}. Everything else as above; every method decides anew under the changed items."
    )
    title = escape("Scenario: " + case["scenario"])
    return f"<h2>{title}</h2><p>{escape(words)}</p>{_list(verdicts(case))}{_methods(case)}"


def _cut_offs(run: dict[str, Any]) -> str:
    if run["kind"] == "service":
        return "not told"
    return ", ".join(f"{name} {day}" for name, day in run.get("training_cut_offs", {}).items())


def _runs(result: dict[str, Any]) -> str:
    runs = {name: run for name, run in result["runs"].items() if "kind" in run}
    head = ("run", "row", "vs best PTO", "kind", "seed", "recipe", "trained up to", "commit", "training command")
    rows = [
        (name, run["row"], f"{run['against_best_pto']:.3f}", run["kind"], run.get("seed", ""), run.get("config", ""),
         _cut_offs(run), run.get("commit", "")[:12],
         run.get("command") or ("not recorded" if run["kind"] == "bundle" else ""))
        for name, run in runs.items()
    ]  # fmt: skip
    notes = [
        f"{name}: policy {run['version']}, {run['answers']:,} answers, {run['overrides_set_aside']:,} planners' overrides set "
        f"aside, {run['answered_by_baseline']:,} answered by the service's baseline. It answers from its own store: its "
        "items, calendars and costs, also under a scenario."
        for name, run in runs.items() if run["kind"] == "service"
    ]  # fmt: skip
    return _table(head, rows) + (_list(notes) if notes else "")


def _reading(result: dict[str, Any]) -> list[str]:
    return [
        "Every method replays the same demand from the same opening stock; an order placed at a day's end arrives after its "
        "lead time, unmet demand is lost.",
        "Rows marked hindsight read the window itself and cannot be had in advance: clairvoyant orders what will be sold, the "
        "floor unless packs or minimum orders lift it; OR hindsight is the best constant days of each series, constant "
        "days the best one number for all, the OR label the days of each series at the turnover of the real stock or the incumbent"
        + picked_in_words(result)
        + ".",
        f"Best PTO is the cheapest of the four base stocks on past sales ({result['best_pto']}); a base stock on the policy's "
        "own forecast is a row of its own, because it needs the policy.",
        "Intervals are paired bootstraps over series, so they say how far the mix of series matters, not how another season "
        "would turn out.",
        f"Demand replayed: {result['replayed']}. Sales hide what an empty shelf did not sell.",
    ]


def _provenance(result: dict[str, Any]) -> str:
    return (
        f"<p><code>{escape(result['command'])}</code></p><p>Code: commit <code>{escape(result['commit'])}</code>. Data: "
        f"SHA-256 <code>{escape(result['data_sha256'])}</code>. Numbers: backtest.json, and a JSON file beside each "
        "picture.</p>"
    )
