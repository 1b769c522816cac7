"""A report in words: the Markdown page, and the lines for the screen. Computes nothing."""

from __future__ import annotations

from typing import Any

from orpr.experiment.measures import DOUBTFUL

NAMES = {
    "turnover_days": "turnover days", "in_stock_rate": "in-stock rate", "holding_cost": "holding cost",
    "lost_sale_cost": "lost-sale cost (estimated)", "units_sold": "units sold",
}  # fmt: skip


def number(metric: str, value: float | None, *, signed: bool = False) -> str:
    """A value of an outcome; shares as percent, differences of shares as percentage points."""
    if value is None:
        return "unknown"
    sign = "+" if signed else ""
    if metric == "in_stock_rate":
        return f"{100 * value:{sign}.2f}{' points' if signed else ' %'}"
    return f"{value:{sign},.3g}" if abs(value) < 10 else f"{value:{sign},.1f}"


def interval(metric: str, found: dict[str, Any]) -> str:
    """An effect with its interval."""
    ends = ", ".join(number(metric, found[end], signed=True).removesuffix(" points") for end in ("low", "high"))
    return f"{number(metric, found['effect'], signed=True)} [{ends}]"


def percent(value: float | None) -> str:
    """A relative change."""
    return "" if value is None else f"{100 * value:+.1f} %"


def probability(value: float | None) -> str:
    """A p-value."""
    if value is None:
        return "unknown"
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def screen_lines(result: dict[str, Any]) -> list[str]:
    """One line an outcome."""
    lines = []
    for one in result["outcomes"]:
        relative = percent(one["did_relative"]["effect"])
        share = f", {relative}" if relative else ""
        lines.append(f"{NAMES[one['metric']]}: {interval(one['metric'], one['did'])}{share}; {doubts(one)}")
    return lines + [f"{NAMES[name]}: not told, {why}" for name, why in result["not_told"].items()]


def doubts(one: dict[str, Any]) -> str:
    """What the checks say against an effect."""
    found = []
    if (p := one["event_study"].get("lead_p")) is not None and p < DOUBTFUL:
        found.append(f"the groups had parted before the start (p {probability(p)})")
    if (p := one["placebo_start"].get("p_value")) is not None and p < DOUBTFUL:
        found.append(f"a made-up start shows an effect too (p {probability(p)})")
    if (p := one["did"]["p_value"]) is not None and p < DOUBTFUL <= one["permutation"]["p_value"]:
        found.append(f"treated drawn at random do as well (p {probability(one['permutation']['p_value'])})")
    untold = [name for name in ("event_study", "placebo_start") if "not_told" in one[name]]
    if not found and untold:
        return "not every check could be made"
    return "in doubt: " + ", ".join(found) if found else "no check speaks against it"


def page(result: dict[str, Any], effects: str, pictures: dict[str, str]) -> str:
    """The Markdown page; made by `orpr experiment report`, never typed."""
    pairs = f" in {result['pairs']} pairs" if result["pairs"] is not None else ""
    lines = [
        f"# Field experiment: {result['dataset']}", "",
        f"{result['treated']} treated and {result['control']} control series{pairs}, start {result['start']}; before: "
        f"{' to '.join(result['before'])}, after: {' to '.join(result['after'])}.", "",
        f"Made by `{result['command']}` at commit `{result['commit'][:12]}`; numbers in [report.json](report.json). "
        f"Intervals are 95 %, clustered by {result['outcomes'][0]['clustered_by']}.", "",
    ]  # fmt: skip
    if result["unmatched"]:
        lines += [f"{result['unmatched']} treated series have no pair and are not compared.", ""]
    lines += [f"![effects]({effects})", "", *_tables(result), *_adherence(result)]
    lines += ["## Checks", "", *_checks(result), ""]
    for one in result["outcomes"]:
        name, picture = NAMES[one["metric"]], pictures.get(one["metric"])
        drawn = f"![{name}]({picture})" if picture else f"No event study: {one['event_study']['not_told']}."
        lines += [f"## {name.capitalize()}", "", drawn, "", *_outcome(one)]
    if result["not_told"]:
        lines += ["## Not told", "", *(f"- {NAMES[name]}: {why}." for name, why in result["not_told"].items()), ""]
    return "\n".join(lines)


def _tables(result: dict[str, Any]) -> list[str]:
    lines = ["## A/B and difference in differences", "",
             "| outcome | unit | control before | control after | treated before | treated after | difference after [95 %] | of control | "
             "difference in differences [95 %] | of what would have been | p |",
             "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    for one in result["outcomes"]:
        metric, means = one["metric"], one["means"]
        cells = [
            number(metric, means[group][phase]) for group in ("control", "treated") for phase in ("before", "after")
        ]
        relative = percent(one["difference_after_relative"])
        lines.append(
            f"| {NAMES[metric]} | {one['unit']} | {' | '.join(cells)} | {interval(metric, one['difference_after'])} | {relative} | "
            f"{interval(metric, one['did'])} | {percent(one['did_relative']['effect'])} | {probability(one['did']['p_value'])} |"
        )
    pooled = next((one["pooled"] for one in result["outcomes"] if "pooled" in one), None)
    if pooled:
        cells = [
            f"{pooled[f'{group}_{phase}']:.2f}" for group in ("control", "treated") for phase in ("before", "after")
        ]
        lines.append(
            f"| turnover of the group | days | {' | '.join(cells)} | {interval('turnover_days', pooled['difference_after'])} | "
            f"{percent(pooled['difference_after_relative'])} | "
            f"{interval('turnover_days', pooled['did'])} | | |"
        )
    lines += ["", "Turnover days of a series are its stock over its own mean daily sales before the start. Turnover of the group is all "
              "its stock over all its sales of the phase, its interval from a bootstrap." if pooled else ""]  # fmt: skip
    return [*lines, ""]


def _adherence(result: dict[str, Any]) -> list[str]:
    found = result["adherence"]
    if found is None:
        return []
    lines = ["## Who was really treated", "",
             f"Of {found['decisions']} decisions, those by {', '.join(f'`{v}`' for v in found['policy_versions'])} count as the treatment: "
             f"{100 * found['treated_share']:.1f} % of the treated series had one, and {100 * found['control_share']:.1f} % of the "
             "control series."]  # fmt: skip
    if found["automation_rate"] is not None:
        lines[-1] += (f" Of {found['outcomes_told']} whose outcome was told, {100 * found['automation_rate']:.1f} % were "
                      "ordered as advised.")  # fmt: skip
    moved = [one for one in result["outcomes"] if one["on_the_treated"]]
    if moved:
        lines += ["", "The effect on the series that were really treated, the assignment being the instrument:", ""]
        lines += [f"- {NAMES[one['metric']]}: {_moved(one)}" for one in moved]
    return [*lines, ""]


def _moved(one: dict[str, Any]) -> str:
    found = one["on_the_treated"]
    return f"not told, {found['not_told']}" if "not_told" in found else interval(one["metric"], found)


def _checks(result: dict[str, Any]) -> list[str]:
    lines = ["| outcome | groups parallel before, joint F of the leads | made-up start [95 %] | treated drawn at random, p | verdict |",
             "|---|---:|---:|---:|---|"]  # fmt: skip
    for one in result["outcomes"]:
        study, placebo, drawn = one["event_study"], one["placebo_start"], one["permutation"]
        leads = study.get("not_told") or _leads(study)
        made_up = placebo.get("not_told") or f"{placebo['start']}: {interval(one['metric'], placebo)}"
        lines.append(
            f"| {NAMES[one['metric']]} | {leads} | {made_up} | {probability(drawn['p_value'])} of {drawn['draws']} draws | {doubts(one)} |"
        )
    return lines


def _leads(study: dict[str, Any]) -> str:
    first, second = study["lead_degrees"]
    if study["lead_p"] is None:
        return f"{first} leads are too many for so few series"
    return f"F({first}, {second}) = {study['lead_f']:.2f}, p {probability(study['lead_p'])}"


def _outcome(one: dict[str, Any]) -> list[str]:
    metric = one["metric"]
    lines = [f"{one['series']} series; {one['left_out']} left out, because they or their pair have no observation before or after.",
             f"Difference before: {interval(metric, one['difference_before'])}."]  # fmt: skip
    if one["did_std_error_by_pair"] is not None:
        lines.append(
            f"Standard error {one['did']['std_error']:.4g} clustered by {one['clustered_by']}, {one['did_std_error_by_pair']:.4g} by pair."
        )
    return [" ".join(lines), ""]
