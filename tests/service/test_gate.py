"""A bundle that its gate refused is not registered, nor a fine-tuned one that went through none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.bundle import MANIFEST
from service.settings import Settings
from tests.service.conftest import HIGH, LOW

PATH = "/v1/policies"
REASONS = ["routine total cost is 0.9 % worse, at most 0.5 % may be", "actions drift: KL 0.31 above 0.20"]
GATES: list[tuple[dict[str, Any], str]] = [
    ({"gate": {"verdict": "refused", "reasons": REASONS}}, "; ".join(REASONS)),
    ({"gate": {"verdict": "refused", "reasons": REASONS}, "finetuned_from": "daily-6.1"}, REASONS[1]),
    ({"gate": {"verdict": "refused"}}, "no reason is given"),
    ({"finetuned_from": "daily-6.1"}, "its manifest tells of no gate"),
    ({"gate": None}, "cannot be read"),
    ({"gate": {"verdict": "PASSED", "reasons": []}}, "cannot be read"),
    ({"gate": {"verdict": ["passed"], "reasons": []}}, "cannot be read"),
    ({"gate": {"verdict": "passed", "reasons": "none"}}, "cannot be read"),
    ({"gate": ["passed"], "finetuned_from": ""}, "cannot be read"),
]


@pytest.fixture
def settings(database_url: str, bundles: Path, tmp_path: Path) -> Settings:
    return Settings(database_url=database_url, bundles=bundles, spool=tmp_path / "spool.db")


def tell(bundle: Path, **fields: Any) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps(manifest | fields))


@pytest.mark.parametrize(("fields", "said"), GATES)
async def test_what_the_gate_has_not_let_pass_is_refused_with_its_reasons(
    client: httpx.AsyncClient, bundles: Path, fields: dict[str, Any], said: str
) -> None:
    tell(bundles / HIGH, **fields)
    refused = await client.post(PATH, json={"version": HIGH})
    assert (refused.status_code, refused.json()["type"]) == (409, "policy-gate")
    assert HIGH in refused.json()["detail"]
    assert said in refused.json()["detail"]
    for path, body in (("promote", {"reason": "x"}), ("canary", {"reason": "x", "share": 10})):
        answer = await client.post(f"{PATH}/{HIGH}/{path}", json=body)
        assert (answer.status_code, answer.json()["type"]) == (409, "policy-not-registered")
    detail = (await client.get(f"{PATH}/{HIGH}")).raise_for_status().json()
    assert (detail["registered"], detail["gate"] is None) == (False, "gate" not in fields)


async def test_what_has_passed_is_registered_and_shown_with_its_gate(client: httpx.AsyncClient, bundles: Path) -> None:
    gate = {
        "verdict": "passed",
        "reasons": ["routine total cost is 0.1 % better"],
        "kl": 0.02,
        "kl_limit": 0.2,
        "margin": "?",
    }
    tell(bundles / HIGH, gate=gate, finetuned_from="daily-6.1")
    assert (await client.post(PATH, json={"version": HIGH})).status_code == 201
    shown = (await client.get(f"{PATH}/{HIGH}")).json()["gate"]
    assert shown == gate | {"margin": None, "finetuned_from": "daily-6.1"}
    (await client.post(f"{PATH}/{HIGH}/promote", json={"reason": "passed"})).raise_for_status()


async def test_what_was_trained_from_scratch_needs_none(client: httpx.AsyncClient, bundles: Path) -> None:
    tell(bundles / LOW, finetuned_from=None)
    for version in (LOW, HIGH, "daily-6.1"):
        assert (await client.post(PATH, json={"version": version})).status_code == 201
        assert (await client.get(f"{PATH}/{version}")).json()["gate"] is None


async def test_reasons_of_any_kind_make_a_readable_answer(client: httpx.AsyncClient, bundles: Path) -> None:
    reasons = ["\ud800 half a letter", 7, "two\nlines\x00", "x" * 9000, *["more"] * 90]
    tell(bundles / HIGH, gate={"verdict": "refused", "reasons": reasons})
    refused = await client.post(PATH, json={"version": HIGH})
    assert (refused.status_code, refused.json()["type"]) == (409, "policy-gate")
    shown = (await client.get(f"{PATH}/{HIGH}")).raise_for_status().json()["gate"]["reasons"]
    assert shown[0] == "? half a letter"
    assert (len(shown), len(shown[2])) == (20, 500)


async def test_a_registered_policy_whose_folder_is_gone_is_still_shown(
    app: FastAPI, client: httpx.AsyncClient, bundles: Path
) -> None:
    tell(bundles / HIGH, gate={"verdict": "passed", "reasons": []}, finetuned_from="daily-6.1")
    (await client.post(PATH, json={"version": HIGH})).raise_for_status()
    shutil.rmtree(bundles / HIGH)
    detail = (await client.get(f"{PATH}/{HIGH}")).raise_for_status().json()
    assert (detail["registered"], detail["gate"]) == (True, None)
    assert app.state.policies.ready


async def test_a_verdict_beside_a_champion_that_is_in_charge_no_more_does_not_count(
    client: httpx.AsyncClient, bundles: Path
) -> None:
    async def ask(version: str, path: str, **more: Any) -> httpx.Response:
        return await client.post(f"{PATH}/{version}/{path}", json={"reason": "x"} | more)

    passed = {"verdict": "passed", "reasons": []}
    tell(bundles / LOW, gate=passed, finetuned_from="daily-6.1")
    tell(bundles / HIGH, gate=passed, finetuned_from="daily-6.1")
    for version in (LOW, HIGH):
        (await client.post(PATH, json={"version": version})).raise_for_status()
    (await ask(HIGH, "canary", share=10)).raise_for_status()
    (await ask(LOW, "promote")).raise_for_status()
    (await ask(HIGH, "canary", share=20)).raise_for_status()  # it is tried beside the new one, under guardrails
    (await client.request("DELETE", f"{PATH}/canary", params={"reason": "x"})).raise_for_status()
    for path, more in (("promote", {}), ("canary", {"share": 10})):
        refused = await ask(HIGH, path, **more)
        assert (refused.status_code, refused.json()["type"]) == (409, "policy-judged-otherwise")
        assert all(name in refused.json()["detail"] for name in (HIGH, "daily-6.1", LOW))
    (await client.post(f"{PATH}/rollback", json={"reason": "x"})).raise_for_status()
    (await ask(HIGH, "promote")).raise_for_status()
    (await client.post(f"{PATH}/rollback", json={"reason": "x"})).raise_for_status()
    (await ask(LOW, "promote")).raise_for_status()
    (await ask(HIGH, "promote")).raise_for_status()  # it was in charge before
