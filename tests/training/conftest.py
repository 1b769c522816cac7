"""A small training set from six series of the sample, and a policy trained on it for a few seconds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from simulator.panel import Panel
from training.config import TrainConfig, load_config
from training.dataset import TrainingSet
from training.known import Past
from training.loop import Run
from training.model import PolicyNetwork
from training.run import Result, named_config, train

END = 1035  # the first period of the sample's last 180 days


@pytest.fixture(scope="session")
def few(bakery: Panel) -> Panel:
    """Six series."""
    return bakery.take(np.arange(0, 84, 14))


@pytest.fixture(scope="session")
def tiny() -> TrainConfig:
    return load_config(named_config("tiny"))


@pytest.fixture(scope="session")
def training_set(few: Panel, tiny: TrainConfig) -> TrainingSet:
    return TrainingSet([Past(few, END)], tiny.labels, tiny.seed, tiny.loss.money_power)


@pytest.fixture(scope="session")
def trained(training_set: TrainingSet, tiny: TrainConfig) -> Result:
    return train(training_set, tiny, Run(tiny.seed, lambda *_: None))


@pytest.fixture
def network(trained: Result) -> Iterator[PolicyNetwork]:
    """The trained network, as it was afterwards."""
    before = {name: value.clone() for name, value in trained.network.state_dict().items()}
    yield trained.network
    trained.network.load_state_dict(before)
    for parameter in trained.network.parameters():
        parameter.requires_grad = True
