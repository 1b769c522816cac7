"""What several test modules share: the bakery sample, read once."""

from __future__ import annotations

from pathlib import Path

import pytest

import simulator
from simulator.canonical import read_panel
from simulator.panel import Panel


@pytest.fixture(scope="session")
def bakery() -> Panel:
    """The dataset that comes with the package."""
    assert simulator.__file__ is not None
    return read_panel(Path(simulator.__file__).parent / "sample")
