"""ONNX Runtime's own builds for Linux report to their maker unless they are told not to; ours are told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CHAMPION

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "service" / "bundles" / CHAMPION / "policy.onnx"
RUN = f"onnxruntime.InferenceSession({str(MODEL)!r})"


def left_behind(home: Path, script: str) -> list[Path]:
    """Files in a home of its own after a script; what is to be sent is first kept there."""
    # Nothing else of ours: many a variable of a build server switches it off.
    environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ} | {
        "HOME": str(home)
    }
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=True, timeout=120)
    return [path for path in home.rglob("*") if path.is_file() and "numba" not in path.parts]


@pytest.mark.parametrize("room", ["service", "training"])
def test_nothing_is_kept_for_sending_where_ours_is_imported_first(tmp_path: Path, room: str) -> None:
    assert left_behind(tmp_path, f"import {room}, onnxruntime; {RUN}") == []


def test_without_ours_something_would_be(tmp_path: Path) -> None:
    """So that the test above can fail; once this fails, the library has changed and the switch may go."""
    assert left_behind(tmp_path, f"import onnxruntime; {RUN}") != []
