"""Schemathesis over the whole OpenAPI document, against the real service: nothing fails, and nothing is answered that the
document does not name.

`ORPR_FUZZ_EXAMPLES=100` tries so many requests an operation beside the systematic ones; the suite tries a few.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.faults.servers import Server, serving

EXAMPLES = int(os.environ.get("ORPR_FUZZ_EXAMPLES", "4"))
STOPS = "^/v1/stops"  # a stop of everything would leave little to find in the other answers
# A request may follow the schema and still name nothing that is there, so that check is left out.
CONFIG = """
[checks]
positive_data_acceptance.enabled = false

# GET of these three asks for a policy of that name, so the router takes it.
[[operations]]
include-path = ["/v1/policies/rollback", "/v1/policies/shadow", "/v1/policies/canary"]
checks.allow_header_conformance.enabled = false
"""


def fuzzed(server: Server, folder: Path, *chosen: str) -> tuple[int, int, str]:
    """Run it; how many requests were made, how many failures were found, and what it said."""
    (folder / "schemathesis.toml").write_text(CONFIG)
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run", f"{server.url}/openapi.json",
        "--header", f"X-API-Key: {server.key}", "--seed", "7", "--max-examples", str(EXAMPLES),
        "--phases", "examples,coverage,fuzzing", "--workers", "1", "--continue-on-failure", "--generation-database", "none",
        "--suppress-health-check", "all", *chosen,
    ]  # fmt: skip
    environment = os.environ | {"NO_PROXY": "*", "no_proxy": "*", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    made = re.search(r"([\d,]+) generated", said)
    assert made is not None, said
    found = re.search(r"found (\d+)", said)
    failures = int(found[1]) if found is not None else 0
    return int(made[1].replace(",", "")), failures or done.returncode, said


def test_no_request_has_an_answer_that_the_document_does_not_name(
    tmp_path: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    limits = {"ORPR_BAD_KEYS_PER_MINUTE": "1000000", "ORPR_LOG_LEVEL": "error"}
    with serving(tmp_path, **limits) as server:
        runs = [fuzzed(server, tmp_path, f"--{how}-path-regex", STOPS) for how in ("exclude", "include")]
        with server.client() as http:
            assert http.get("/readyz").status_code == 200
            operations = sum(len(one) for one in http.get("/openapi.json").json()["paths"].values())
    made, failures = sum(run[0] for run in runs), sum(run[1] for run in runs)
    record_testsuite_property(
        "fault: schemathesis on the whole API",
        f"{made} requests to {operations} operations; {failures} answers that fail or that the document does not name",
    )
    assert failures == 0, "\n".join(said for _, found, said in runs if found)
