"""Rules and dashboard ask for what there is, and the runbook has a word on every alert."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.routing import APIRoute

from service.routes import decisions, feeds, holds, operations, overrides, policies, recommendations, what_if
from service.telemetry import Telemetry

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
NAME = re.compile(r"\borpr_[a-z0-9_]+\b")
RECORDED = re.compile(r"\borpr:[a-z0-9_:]+\b")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads((DEPLOY / "grafana" / "orpr.json").read_text())["panels"]
    return panels


def asked() -> list[str]:
    """Every PromQL expression."""
    return [rule["expr"] for rule in rules()] + [target["expr"] for one in dashboard() for target in one["targets"]]


def sample_names() -> set[str]:
    """What the service exposes, also before anything has happened."""
    found: set[str] = set()
    for metric in Telemetry().registry.collect():
        ends = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(metric.type, [""])
        found |= {metric.name + end for end in ends}
    return found


def test_every_metric_that_is_asked_for_is_exposed_and_every_one_exposed_is_asked_for_or_said_why_not() -> None:
    named = {name for expression in asked() for name in NAME.findall(expression)}
    assert named - sample_names() == set()
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in named}
    unused = {re.sub(r"_(bucket|count|sum)$", "", name) for name in sample_names()} - families
    assert unused == {
        "orpr_changes_applied_total", "orpr_drift_decisions", "orpr_location_last_answered_timestamp_seconds",
        "orpr_overrides_written_total", "orpr_shadow_days_difference",
    }  # fmt: skip  # to look something up by hand


def test_every_recorded_series_that_is_asked_for_is_recorded() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert {name for expression in asked() for name in RECORDED.findall(expression)} <= recorded


def test_levels_stand_on_edges_of_the_histograms_and_routes_exist() -> None:
    edges: dict[str, set[str]] = {}
    told = Telemetry()
    told.latency.labels("x")
    for metric in told.registry.collect():
        for sample in metric.samples:
            if sample.name.endswith("_bucket"):
                edges.setdefault(sample.name, set()).add(sample.labels["le"])
    found = [
        (name, edge)
        for expression in asked()
        for name, labels in re.findall(r"(orpr_[a-z_]+_bucket)\{(.*?)\}\[", expression)
        for listed in re.findall(r'\ble=~?"([^"]+)"', labels)
        for edge in listed.split("|")
    ]
    assert len(found) >= 4
    for name, edge in found:
        assert edge in edges[name], (name, edge)
    modules = (decisions, feeds, holds, operations, overrides, policies, recommendations, what_if)
    routes = {route.path for module in modules for route in module.router.routes if isinstance(route, APIRoute)}
    asked_for = {route for expression in asked() for route in re.findall(r'route="([^"]+)"', expression)}
    assert asked_for
    assert asked_for <= routes


def test_every_alert_calls_somebody_says_what_is_wrong_and_has_its_paragraph() -> None:
    page = (DEPLOY / "RUNBOOK.md").read_text()
    alerts = [rule for rule in rules() if "alert" in rule]
    for rule in alerts:
        assert rule["labels"]["severity"] in ("critical", "warning", "none"), rule["alert"]
        assert rule["annotations"]["summary"].endswith("."), rule["alert"]
        assert re.search(rf"^### {rule['alert']}\n\n.{{60}}", page, re.M | re.S), rule["alert"]
    assert set(re.findall(r"^### (\w+)$", page, re.M)) == {rule["alert"] for rule in alerts}
    assert {"Watchdog", "OrprAbsent", "OrprLocationMissedCutOff"} <= {rule["alert"] for rule in alerts}


def test_panels_are_questions_that_do_not_lie_on_each_other() -> None:
    panels = dashboard()
    assert all(panel["title"].endswith("?") for panel in panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Debian's prometheus has promtool")
def test_rules_do_what_they_say() -> None:
    for words in (["check", "rules", str(RULES)], ["test", "rules", str(RULES.with_name("rules_test.yml"))]):
        done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_weekly_round_is_started_alike_by_cron_and_by_kubernetes() -> None:
    """Both give the script what it cannot do without, at one time; the image has it where they look, and one try is all."""
    script = (DEPLOY / "promotions.sh").read_text(encoding="utf-8")
    needed = set(re.findall(r"\$\{(ORPR_\w+):\?\}", script))
    (line,) = (found for found in script.splitlines() if re.match(r"#\s+(\S+ ){5}", found) and "PATH=" in found)
    fields = line.removeprefix("#").split()
    assert {word.split("=")[0] for word in fields if word.startswith("ORPR_")} == needed
    job = yaml.safe_load((DEPLOY / "promotions.yaml").read_text(encoding="utf-8"))["spec"]
    assert job["schedule"] == " ".join(fields[:5])
    pod = job["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {one["name"] for one in container["env"]} == needed
    assert container["command"] == fields[-1:]
    dockerfile = (DEPLOY.parent / "Dockerfile").read_text(encoding="utf-8")
    training = dockerfile[dockerfile.index("AS training") : dockerfile.rindex("FROM ")]
    assert f"COPY deploy/promotions.sh {fields[-1]}" in training
    assert (pod["restartPolicy"], job["jobTemplate"]["spec"]["backoffLimit"], job["concurrencyPolicy"]) == (
        "Never",
        0,
        "Forbid",
    )
    assert {one["name"] for one in pod["volumes"]} == {one["name"] for one in container["volumeMounts"]}
    assert os.access(DEPLOY / "promotions.sh", os.X_OK)
