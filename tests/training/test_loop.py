"""Stages that are broken off go on as if nothing had happened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from training.config import AlignConfig, StageConfig, TrainConfig
from training.dataset import TrainingSet
from training.loop import Batches, Run, Trace, run_stage, twentieths
from training.run import Result, train


class PulledPlug(Exception):
    """What happens to long trainings."""


@pytest.fixture(scope="module")
def recipe(tiny: TrainConfig) -> TrainConfig:
    """Every stage, a few steps each."""
    return replace(
        tiny, forecast=replace(tiny.forecast, epochs=0.1), head=replace(tiny.head, epochs=0.1),
        joint=replace(tiny.joint, epochs=0.2), rollout=replace(tiny.rollout, epochs=3.0, episodes=64, batch_size=16),
        align=AlignConfig(epochs=1.0, samples=400, batch_size=32, horizon=21, kl_limit=50.0),
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(training_set: TrainingSet, recipe: TrainConfig) -> Result:
    return train(training_set, recipe, Run(recipe.seed, lambda *_: None))


@pytest.mark.parametrize(("stage", "step"), [("forecast", 3), ("head", 2), ("joint", 5), ("align", 6), ("rollout", 7)])
def test_a_run_goes_on_from_its_checkpoint_to_the_same_weights(
    training_set: TrainingSet, recipe: TrainConfig, whole: Result, tmp_path: Path, stage: str, step: int
) -> None:
    def pull(at: str, done: int, _steps: int, _trace: Trace) -> None:
        if (at, done) == (stage, step):
            raise PulledPlug

    def run(report: object) -> Run:
        return Run(recipe.seed, report, tmp_path / "run.npz", "this run", every_s=0.0)  # type: ignore[arg-type]

    with pytest.raises(PulledPlug):
        train(training_set, recipe, run(pull))
    seen: list[tuple[str, int]] = []
    again = train(training_set, recipe, run(lambda at, done, _steps, _trace: seen.append((at, done))))
    assert (stage, step) in seen  # the last step before the plug was pulled had not been saved
    assert ("forecast", 1) not in seen
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name
    assert again.losses == whole.losses
    assert again.alignment == whole.alignment


def test_the_checkpoint_of_another_run_is_left_alone(
    training_set: TrainingSet, recipe: TrainConfig, tmp_path: Path
) -> None:
    short = replace(recipe, joint=replace(recipe.joint, epochs=0.0), align=replace(recipe.align, epochs=0.0),
                    rollout=replace(recipe.rollout, epochs=0.0))  # fmt: skip
    path = tmp_path / "run.npz"
    train(training_set, short, Run(short.seed, lambda *_: None, path, "one", every_s=0.0))
    seen: list[int] = []
    train(training_set, short, Run(short.seed, lambda _s, done, *_: seen.append(done), path, "other", every_s=0.0))
    assert seen[0] == 1


def test_a_log_in_twentieths_keeps_its_mean() -> None:
    values = list(np.arange(40.0))
    assert len(twentieths(values)) == 20
    assert np.mean(twentieths(values)) == np.mean(values)
    assert twentieths([3.0]) == [3.0]
    assert twentieths([]) == []


def test_a_parameter_may_learn_at_a_rate_of_its_own() -> None:
    """Adam's first step is as long as its rate, whatever the gradient."""
    slow, fast = (torch.nn.Parameter(torch.zeros(3)) for _ in range(2))
    network = torch.nn.ParameterList([slow, fast])
    config = StageConfig(epochs=1.0, learning_rate=1e-3, weight_decay=0.0)
    batches = Batches(1, lambda _rng: [None])
    run_stage(
        network, "align", [slow, fast], config, batches, lambda _: ((slow + fast).sum(), {}), Run(0, lambda *_: None),
        rates={fast: 1e-1},
    )  # fmt: skip
    torch.testing.assert_close(slow.detach(), torch.full((3,), -1e-3))
    torch.testing.assert_close(fast.detach(), torch.full((3,), -1e-1))
