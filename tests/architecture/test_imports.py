"""What a room must not know; lint-imports reads the source, this starts the process."""

from __future__ import annotations

import subprocess
import sys

FORBIDDEN = ("solver", "training", "torch", "pulp", "ray", "numba", "simulator.sweep", "lightgbm", "matplotlib")


def test_the_service_starts_without_the_rooms_it_must_not_know() -> None:
    code = "import service.app, sys; print([m for m in sys.argv[1:] if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code, *FORBIDDEN], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_command_line_starts_without_torch() -> None:
    code = "import orpr.cli, sys; print([m for m in ('torch', 'service.app', 'numba') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
