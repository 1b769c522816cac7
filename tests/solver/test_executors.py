"""Shards on a real Ray of two workers answer with the same bits as this process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from solver.dual import CHUNK
from solver.executors import RayExecutor
from solver.lagrangian import Effort, Lagrangian
from solver.solution import LabelInfeasible
from tests.tables import market_tables, planners_bounds


@pytest.fixture
def two_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Ray cluster of this machine alone, gone afterwards."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # on the loopback only; a token would be written to the home folder
    import ray

    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # a short path: sockets are made in it
        ray.init(
            num_cpus=2, object_store_memory=100 * 2**20, include_dashboard=False, _node_ip_address="127.0.0.1",
            _temp_dir=folder, log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parents[2])}},
        )  # fmt: skip
        yield
        ray.shutdown()


def test_two_ray_workers_give_the_bits_of_one_process(two_workers: None) -> None:
    rng = np.random.default_rng(0)
    tables, location, category = market_tables(rng, 2 * CHUNK + 500, 20, periods=40)
    base, effort = Lagrangian(tables).solve(0.7), Effort(gap=1e-4)
    families = planners_bounds(rng, tables, location, category, base.choice)
    here, there = Lagrangian(tables, families), Lagrangian(tables, families, RayExecutor(workers=2))
    for alpha_loss in (0.7, 0.6):
        one, two = here.solve(alpha_loss, effort), there.solve(alpha_loss, effort)
        assert one.gap <= 1e-4
        np.testing.assert_array_equal(one.choice, two.choice)
        for name, multipliers in one.multipliers.items():
            np.testing.assert_array_equal(multipliers, two.multipliers[name])
        assert (one.bound, one.gap, one.iterations) == (two.bound, two.gap, two.iterations)
    errors = []
    for solver in (here, there):
        with pytest.raises(LabelInfeasible) as refused:
            solver.solve(0.8)
        errors.append(str(refused.value))
    assert errors[0] == errors[1]


def test_an_executor_without_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="workers and threads must be at least 1, got 0 and 1"):
        RayExecutor(workers=0)


def test_labels_are_solved_without_ray() -> None:
    code = "import solver.calibration, solver.executors, sys; print('ray' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
