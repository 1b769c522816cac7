"""The head for promoted orders: nothing until it is trained, and routine orders never notice that it is there."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from service.policy import Policy
from simulator.observation import FIELDS, Observer
from simulator.panel import Panel
from tests.training.test_experts import CONFIG, labels_of
from training.align import _logits, _logits_apart, traces_of
from training.config import ALL, BOTH, PROMOTED, AlignConfig, TrainConfig
from training.dataset import TrainingSet, promoted_orders
from training.experts import Sifted, sift
from training.export import Case, export_bundle
from training.known import Past
from training.loop import Run
from training.model import PolicyNetwork
from training.run import network_of, train

END = 1035
ALIGN = AlignConfig(
    epochs=1.0, samples=400, batch_size=64, promotion_rate=5e-3, horizon=21, kl_limit=100.0, omega=0.0, pareto=0.0, curve=1.0,
    near=0.25, moves=PROMOTED, expert_share=0.5, expert=4.0,
)  # fmt: skip


@pytest.fixture
def recipe(tiny: TrainConfig) -> TrainConfig:
    """Fine-tuning of promoted orders alone."""
    return replace(tiny, joint=replace(tiny.joint, epochs=0.0), align=ALIGN, rollout=replace(tiny.rollout, epochs=0.0))


def promoted_days(panel: Panel) -> list[tuple[int, int]]:
    """Each series and a period whose order a promotion falls into."""
    every = np.arange(400, 1000)
    found = [every[promoted_orders(panel, np.full(600, n), every)] for n in range(panel.series_count)]
    return [(n, int(one[0])) for n, one in enumerate(found) if len(one)]


def experts_of(data: TrainingSet) -> Sifted:
    """Twice the days of the policy in promotions."""
    days = promoted_days(data.copies[0].source.panel)
    parts = [labels_of(data, [n], t, [6.0], [3.0]) for n, t in days]
    told = [name for name in parts[0]._fields if name not in ("observation", "ordered_more", "override_days")]
    columns = {name: np.concatenate([getattr(one, name) for one in parts]) for name in told}
    seen = {name: np.concatenate([one.observation[name] for one in parts]) for name in parts[0].observation}
    return sift(parts[0]._replace(**columns, observation=seen), data, CONFIG, PROMOTED)


def logits(network: PolicyNetwork, data: TrainingSet, *, promoted: bool) -> torch.Tensor:
    copied = data.copies[0]
    rows = np.flatnonzero(promoted_orders(copied.source.panel, copied.series, copied.period) == promoted)[:300]
    network.eval()
    with torch.no_grad():
        return network(*data.batch(copied, rows).fields)[0].logits


def test_a_new_head_changes_no_answer(training_set: TrainingSet, network: PolicyNetwork) -> None:
    other = copy.deepcopy(network)
    other.add_promotion_head()
    for promoted in (True, False):
        assert torch.equal(
            logits(network, training_set, promoted=promoted), logits(other, training_set, promoted=promoted)
        )
    assert other.config.promotion_head
    before = other.promotion_head
    other.add_promotion_head()
    assert other.promotion_head is before


def test_promoted_orders_learn_and_routine_ones_stay_to_the_last_bit(
    training_set: TrainingSet, network: PolicyNetwork, recipe: TrainConfig
) -> None:
    tuned = train(
        training_set, recipe, Run(0, lambda *_: None), copy.deepcopy(network), None, experts_of(training_set)
    ).network
    assert torch.equal(logits(network, training_set, promoted=False), logits(tuned, training_set, promoted=False))
    moved = (logits(network, training_set, promoted=True) != logits(tuned, training_set, promoted=True)).any(dim=1)
    assert moved.float().mean() > 0.99
    state = network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in tuned.state_dict().items() if name in state)


def test_where_both_learn_each_kind_of_order_teaches_its_own_part(
    training_set: TrainingSet, network: PolicyNetwork
) -> None:
    """The first step from the same weights: gradients of promoted orders in the head alone, of the others beside it."""
    tuned = copy.deepcopy(network)
    tuned.add_promotion_head()
    (part, *_) = traces_of(tuned, training_set, replace(ALIGN, moves=ALL), np.random.default_rng(0))
    promoted = (part.context.promoted > 0).numpy()
    assert 0 < promoted.mean() < 1
    for rows, in_head in ((np.flatnonzero(promoted), True), (np.flatnonzero(~promoted), False)):
        tuned.zero_grad()
        _logits_apart(tuned, part, rows).square().sum().backward()
        moved = [name for name, value in tuned.named_parameters() if value.grad is not None and value.grad.any()]
        assert {name.startswith("promotion_head") for name in moved} == {in_head}
    together = np.arange(part.size)
    torch.testing.assert_close(_logits_apart(tuned, part, together), _logits(tuned, part, together))


def test_where_both_learn_both_move(training_set: TrainingSet, network: PolicyNetwork, recipe: TrainConfig) -> None:
    recipe = replace(recipe, align=replace(ALIGN, moves=BOTH, learning_rate=1e-3))
    tuned = train(
        training_set, recipe, Run(0, lambda *_: None), copy.deepcopy(network), None, experts_of(training_set)
    ).network
    for promoted in (True, False):
        before, after = (logits(one, training_set, promoted=promoted) for one in (network, tuned))
        assert not torch.equal(before, after)


@pytest.mark.parametrize("moves", [PROMOTED, BOTH])
def test_a_run_that_was_broken_off_goes_on_to_the_same_weights(
    training_set: TrainingSet, network: PolicyNetwork, recipe: TrainConfig, tmp_path: Path, moves: str
) -> None:
    experts = experts_of(training_set)
    recipe = replace(recipe, align=replace(ALIGN, moves=moves))

    def tuned(run: Run) -> dict[str, torch.Tensor]:
        return train(training_set, recipe, run, copy.deepcopy(network), None, experts).network.state_dict()

    def breaks_off(_stage: str, step: int, _steps: int, _trace: dict[str, float]) -> None:
        if step == 5:
            raise KeyboardInterrupt

    whole = tuned(Run(0, lambda *_: None))
    with pytest.raises(KeyboardInterrupt):
        tuned(Run(0, breaks_off, tmp_path / "run.npz", "same", every_s=0.0))
    again = tuned(Run(0, lambda *_: None, tmp_path / "run.npz", "same"))
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


def test_labels_of_orders_without_a_known_promotion_are_named_and_left_out(training_set: TrainingSet) -> None:
    panel = training_set.copies[0].source.panel
    (series, period), *_ = promoted_days(panel)
    routine = next(t for t in range(period, 1000) if not promoted_orders(panel, np.array([series]), np.array([t]))[0])
    with pytest.raises(ValueError, match="no promotion was known for the days that it covers"):
        sift(labels_of(training_set, [series], routine, [6.0], [3.0]), training_set, CONFIG, PROMOTED)
    assert sift(labels_of(training_set, [series], routine, [6.0], [3.0]), training_set, CONFIG).labels.size == 1
    found = sift(labels_of(training_set, [series], period, [6.0], [3.0]), training_set, CONFIG, PROMOTED)
    assert (found.labels.size, found.findings) == (1, [])


def test_where_nothing_is_promoted_it_says_so(
    few: Panel, tiny: TrainConfig, recipe: TrainConfig, network: PolicyNetwork
) -> None:
    plain = replace(few, promotion=np.zeros_like(few.promotion))
    data = TrainingSet([Past(plain, END)], tiny.labels, tiny.seed, tiny.loss.money_power)
    with pytest.raises(ValueError, match=r"align\.moves: no promoted decision"):
        train(data, recipe, Run(0, lambda *_: None), copy.deepcopy(network))


def test_the_bundle_carries_it_and_serves_in_halves(
    training_set: TrainingSet, network: PolicyNetwork, recipe: TrainConfig, few: Panel, tmp_path: Path
) -> None:
    tuned = train(
        training_set, recipe, Run(0, lambda *_: None), copy.deepcopy(network), None, experts_of(training_set)
    ).network
    manifest = {
        "training_cut_offs": {few.name: "2018-01-01"}, "commit": "", "period_days": 1,
        "config": replace(recipe, model=tuned.config).as_dict(),
    }  # fmt: skip
    export_bundle(tuned, [Case(Observer(few, training_set.spec), END - 1)], tmp_path / "tuned", manifest, {})
    policy = Policy(tmp_path / "tuned")  # parity holds
    assert policy.graph.width
    again = network_of(tmp_path / "tuned", training_set.spec)
    copied = training_set.copies[0]
    rows = np.flatnonzero(promoted_orders(few, copied.series, copied.period))[:50]
    fields = training_set.batch(copied, rows).fields
    seen = {field.name: column.numpy() for field, column in zip(FIELDS, fields, strict=True)}
    with torch.no_grad():
        np.testing.assert_allclose(policy.answer(seen).logits, again(*fields)[0].logits, rtol=1e-3, atol=1e-3)
