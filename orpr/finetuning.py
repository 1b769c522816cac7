"""`orpr finetune`: a champion, experts' decisions and a dataset in; a challenger with the gate's verdict out."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from orpr.expert_file import read_labels
from orpr.learning import Show, reporter
from orpr.provenance import code_commit, file_hash, folder_hash
from service.bundle import resolve_bundle
from service.bundle_folders import VERSION
from simulator.canonical import read_panel
from simulator.observation import ObservationSpec
from simulator.panel import I64, Panel
from training.config import TrainConfig
from training.dataset import TrainingSet
from training.experts import Finding, Labels, Sifted, sift
from training.gate import CHALLENGER, CHAMPION, DL_ONLY, held_out, judge
from training.loop import Run
from training.model import PolicyNetwork
from training.run import Dataset, network_of, train, train_bundle

OR_ONLY = "OR only"


class Finetuned(NamedTuple):
    """What came of it."""

    gate: dict[str, Any]  # see `training.gate.judge`
    findings: list[Finding]  # labels that were left out
    learnt: int  # labels
    judged: int  # labels of the series that the gate judges on, which are not learnt from


def run_finetuning(
    data: Path, overrides: Path, out: Path, recipe: TrainConfig, show: Show, *, command: str, start_from: str,
    dl: str | None = None, log_dir: Path | None = None,
) -> Finetuned:  # fmt: skip
    """Fine-tune on everything recorded, but for the series that the gate judges on, and write the challenger.

    Args:
        data: canonical dataset.
        overrides: file of experts' decisions.
        out: the bundle's folder.
        recipe: with its gate.
        show: called after every step.
        command: the command line as it was typed.
        start_from: the champion: bundle, version or alias.
        dl: the policy before any reinforcement, for a row of the report.
        log_dir: where TensorBoard's event files go; none are written where None.

    Raises:
        ValueError: where a file does not hold, no label is left to learn from, or `out` is no new version.
    """
    _check_version(out)
    panel = read_panel(data)
    spec = ObservationSpec(panel.period_days)
    champion = resolve_bundle(start_from, panel.period_days)
    beside = {} if dl is None else {DL_ONLY: network_of(resolve_bundle(dl, panel.period_days), spec)}
    rows = held_out(panel, recipe.gate, recipe.seed)
    pulled = read_labels(overrides, spec)
    labels, gone, judged = _of_series(pulled, panel, rows)
    dataset = Dataset(
        panel.take(np.setdiff1d(np.arange(panel.series_count), rows)), panel.last_recorded + 1, folder_hash(data)
    )
    report, close = reporter(show, log_dir)
    found: list[Sifted] = []

    def choose(decisions: TrainingSet) -> Sifted:
        sifted = sift(labels, decisions, recipe.experts, recipe.align.moves)
        found.append(sifted._replace(findings=[*gone, *sifted.findings]))
        return found[0]

    def verdict(network: PolicyNetwork, decisions: TrainingSet) -> dict[str, Any]:
        guided = train(
            decisions,
            recipe,
            Run(recipe.seed, lambda stage, *rest: report(f"{OR_ONLY}: {stage}", *rest)),
            network_of(champion, spec),
        ).network
        networks = {CHAMPION: network_of(champion, spec), CHALLENGER: network, OR_ONLY: guided, **beside}
        show("gate", 0, 1, "")
        told = judge(panel, rows, networks, recipe.gate, recipe.seed)
        show("gate", 1, 1, told["verdict"])
        left_out = dict(Counter(finding.reason for finding in found[0].findings))
        experts = {
            "sha256": file_hash(overrides), "labels": found[0].labels.size, "left_out": left_out,
            "authors": len(np.unique(found[0].labels.author)),
        }  # fmt: skip
        return {"finetuned_from": champion.name, "experts": experts, "gate": told}

    told: dict[str, Any] = {}
    try:
        train_bundle(
            [dataset], recipe, out, commit=code_commit(), command=command, report=report, start_from=champion,
            experts=choose, judge=lambda network, decisions: told.setdefault("all", verdict(network, decisions)),
            rests_on=file_hash(overrides),
        )  # fmt: skip
    finally:
        close()
    return Finetuned(told["all"]["gate"], found[0].findings, found[0].labels.size, judged)


def _check_version(out: Path) -> None:
    """Raise before an hour's work where no service could register what comes of it."""
    if re.fullmatch(VERSION, out.name) is None:
        allowed = "letters, digits, '.', '_' and '-', the first a letter or a digit, at most 100 in all"
        raise ValueError(f"out: {out.name!r} cannot be a policy's version; it takes {allowed}")
    if (out / "manifest.json").exists():
        raise ValueError(f"out: {out} holds a bundle already; a version is made once, name another folder")


def _of_series(labels: Labels, panel: Panel, kept_out: I64) -> tuple[Labels, list[Finding], int]:
    """The labels of series that are learnt from, those of series that are gone, and how many are of series kept out.

    Raises:
        ValueError: where none is learnt from.
    """
    known = {pair: n for n, pair in enumerate(zip(panel.items.item_id, panel.items.location_id, strict=True))}
    mine = np.array([known.get(pair, -1) for pair in zip(labels.item_id, labels.location_id, strict=True)])
    gone = [
        Finding(
            row,
            "unknown",
            f"row {row + 1}: the dataset has no series {labels.item_id[row]!r} at {labels.location_id[row]!r}",
        )
        for row in np.flatnonzero(mine < 0).tolist()
    ]
    kept = np.flatnonzero((mine >= 0) & ~np.isin(mine, kept_out))
    if not len(kept):
        if gone:
            raise ValueError(f"overrides: {gone[0].detail}, and no other label can be learnt from")
        raise ValueError(f"overrides: all {labels.size} labels are of series that the gate keeps out; more are needed")
    return labels.take(kept), gone, labels.size - len(gone) - len(kept)


def gate_in_words(done: Finetuned) -> list[str]:
    """The report as lines: a row for each window and policy, and the verdict."""
    lines = [
        f"{done.learnt} labels learnt from, {len(done.findings)} left out, {done.judged} of series that the gate judges on"
    ]
    for row in done.gate["table"]:
        cost, low, high = row["total_cost_ratio"]
        lost = "the champion lost none" if row["lost_sales_ratio"] is None else f"{row['lost_sales_ratio'][0]:.3f}"
        lines.append(
            f"{row['window']:>9}  {row['policy']:<10} cost {cost:.3f} [{low:.3f}, {high:.3f}] of the champion's, lost sales "
            f"{lost}, in stock {row['in_stock_rate']:.1%}, {row['turnover_days']:.2f} days"
        )
    verdict = "; ".join([done.gate["verdict"], *done.gate["reasons"], *done.gate["notes"]])
    first, last = done.gate["window"]
    judged = f"{done.gate['series']} series, {first} to {last}, drift {done.gate['kl']:.3f} nats"
    return [*lines, f"gate: {verdict} ({judged})"]
