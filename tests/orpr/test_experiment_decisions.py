"""Who was really treated, by the decisions of a running service."""

from __future__ import annotations

import re
import shlex
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from orpr.client import Client
from orpr.experiment.adherence import adherence_of, read_decisions
from orpr.experiment.assignments import TREATED, Assignment
from orpr.experiment.design import DesignSettings, design
from service.decision_schemas import OutcomeRequest
from service.schemas import RecommendationItem
from simulator.canonical import read_panel
from tests.bundles import make_bundle
from tests.conftest import CHAMPION, SAMPLE
from tests.pipeline.conftest import orpr_in
from tests.serving import Service, running_service

LAST = date(2019, 4, 30)
PAGE = Path(__file__).parents[2] / "docs" / "experiment.md"


def test_the_service_s_decisions_say_who_was_treated_as_the_page_fetches_them(
    service: Service, client: Client, small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = read_panel(small_dataset)
    names = list(zip(panel.items.item_id, panel.items.location_id, strict=True))
    asked = [RecommendationItem(item_id=item, location_id=place, on_hand=3) for item, place in names[:3]]
    decided = [one.result.decision_id for one in client.recommend(asked).items if one.result]
    client.tell_outcome(str(decided[0]), OutcomeRequest(status="ordered", quantity=None, note=""))
    client.tell_outcome(str(decided[1]), OutcomeRequest(status="changed", quantity=1, note=""))

    (line,) = re.findall(r"^    orpr (experiment pull .*)$", PAGE.read_text(), re.MULTILINE)
    monkeypatch.setenv("ORPR_API_KEY", service.key)
    done = orpr_in(tmp_path)(*shlex.split(line.replace("http://127.0.0.1:8000", service.url)))  # the page's own words
    assert done.returncode == 0, done.stderr
    decisions = read_decisions(tmp_path / "my-field" / "decisions.ndjson")
    assert decisions.height == 3

    treated = np.array([True, True, False, False])  # the third is of control and was asked for all the same
    assignment = Assignment(np.array([0, 5, 2, 3]), treated, None, 0)
    found = adherence_of(decisions, panel, assignment, LAST, LAST, [CHAMPION])
    assert found.exposed.tolist() == [True, False, True, False]
    assert (found.treated_share, found.control_share, found.decisions) == (0.5, 0.5, 2)
    assert (found.automation_rate, found.outcomes_told) == (1.0, 1)
    whole = adherence_of(decisions, panel, Assignment(np.arange(4), treated, None, 0), LAST, LAST, [])
    assert (whole.automation_rate, whole.treated_share, whole.policy_versions) == (0.5, 1.0, [CHAMPION])
    with pytest.raises(ValueError, match="none is for a series"):
        adherence_of(decisions, panel, assignment, LAST - timedelta(days=9), LAST - timedelta(days=1), [])


def test_a_design_for_a_canary_treats_the_series_that_the_service_gives_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All decisions of a real canary are on treated series, and all treated series have one."""
    version = "held-9"
    make_bundle(tmp_path / "bundles", version, days=9.0)
    monkeypatch.chdir(tmp_path)
    panel = read_panel(SAMPLE)
    settings = DesignSettings(start=LAST - timedelta(days=59), share=0.3, canary=version)
    assignment, result = design(panel, SAMPLE, settings)
    treated = set(assignment.filter(pl.col("group") == TREATED).select("item_id", "location_id").rows())
    assert (result["canary"], result["seed"]) == (version, None)
    assert 10 < len(treated) < 45
    with (
        running_service(tmp_path, SAMPLE, ORPR_BUNDLES=str(tmp_path / "bundles")) as service,
        Client(service.url, service.key) as client,
    ):
        client.register_policy(version)
        client.try_policy(version, 30, "the design")
        names = zip(panel.items.item_id, panel.items.location_id, strict=True)
        answers = client.recommend(
            [RecommendationItem(item_id=item, location_id=place, on_hand=3) for item, place in names]
        )
    tried = {(one.item_id, one.location_id) for one in answers.items if one.policy_version == version}
    assert tried == treated
