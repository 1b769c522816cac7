"""Experts' labels: which are left out and why, what the others weigh, and that an alignment follows them."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from simulator.observation import FIELDS, Observer
from simulator.panel import F64, I64, Panel
from simulator.step import State
from training.align import advice_of, align
from training.backprop import choosing_parameters
from training.config import AlignConfig, ExpertConfig, GateConfig
from training.dataset import TrainingSet
from training.experts import Labels, sift
from training.gate import CHALLENGER, CHAMPION, REFUSED, held_out, judge
from training.loop import Run, resume
from training.model import PolicyNetwork

CONFIG = ExpertConfig()


def labels_of(data: TrainingSet, rows: list[int], period: int, expert: list[float], policy: list[float]) -> Labels:
    """Decisions of some series, all after one period, with little stock."""
    copy = data.copies[0]
    panel = copy.source.panel
    at: I64 = np.array(rows)
    count = len(rows)
    stock = State(np.full(count, 1.0), np.zeros((count, 1)))
    seen = Observer(panel, data.spec, copy.source.rates).observe(at, np.full(count, period), stock)
    text = np.full(count, "", dtype=object)
    day = int(np.datetime64(panel.date_of(period), "D").astype(int))
    return Labels(
        panel.items.item_id[at], panel.items.location_id[at], np.full(count, "ann", dtype=object), text,
        np.full(count, day), np.array(expert), np.array(policy), np.full(count, np.nan), seen,
    )  # fmt: skip


def test_bad_labels_are_named_and_left_out(training_set: TrainingSet) -> None:
    labels = labels_of(training_set, [0, 1, 2, 3, 4, 4], 900, [3.0, 3.0, 60.0, 3.0, 4.0, 1.0], [2.0] * 6)
    outcome = labels.outcome.copy()
    outcome[1] = "rejected"
    day = labels.order_day.copy()
    day[0] -= 1000
    found = sift(labels._replace(outcome=outcome, order_day=day), training_set, CONFIG)
    assert [(finding.row, finding.reason) for finding in found.findings] == [
        (0, "stale"), (1, "rejected"), (2, "absurd"), (4, "contradictory"), (5, "contradictory"),
    ]  # fmt: skip
    assert found.labels.item_id.tolist() == [labels.item_id[3]]
    assert str(labels.item_id[2]) in found.findings[2].detail
    assert "60 days where the policy says 2" in found.findings[2].detail


def test_where_no_label_is_left_the_error_says_why(training_set: TrainingSet) -> None:
    labels = labels_of(training_set, [0], 900, [80.0], [2.0])
    with pytest.raises(ValueError, match=r"none of 1 labels can be learnt from: .*80 days"):
        sift(labels, training_set, CONFIG)


def test_weights_follow_the_author_s_record_the_age_and_the_outcome(training_set: TrainingSet) -> None:
    """ann earned twice and lost once: 2 (1 + 2) / (2 + 3); ben is unknown: 1. A lost decision weighs half, 180 days half."""
    labels = labels_of(training_set, [0, 1, 2, 3, 4], 900, [3.0] * 5, [2.0] * 5)
    author = np.array(["ann", "ann", "ann", "ben", "ben"], dtype=object)
    settled = np.array([5.0, 1.0, -2.0, np.nan, np.nan])
    day = labels.order_day - np.array([0, 0, 0, 0, 180])
    found = sift(labels._replace(author=author, settled_money=settled, order_day=day), training_set, CONFIG)
    expected = np.array([1.2, 1.2, 0.6, 1.0, 0.5])
    np.testing.assert_allclose(found.weight, expected / 0.9, rtol=1e-6)  # 0.9 is the mean of the ages' weights


def test_an_author_who_always_errs_is_heard_less_also_when_alone(training_set: TrainingSet) -> None:
    """Of three labels the absurd one teaches nothing, but its loss is known too: 2 (1 + 0) / (2 + 3), and lost ones weigh half."""
    labels = labels_of(training_set, [0, 1, 2], 900, [3.0, 3.0, 60.0], [2.0] * 3)
    found = sift(labels._replace(settled_money=np.array([-1.0, -2.0, -90.0])), training_set, CONFIG)
    np.testing.assert_allclose(found.weight, [0.2, 0.2], rtol=1e-6)


def test_an_order_that_a_rule_had_changed_says_nothing_of_the_policy(training_set: TrainingSet) -> None:
    """Advised by the item's minimum were 50 where 8.75 were wanted; the buyer took 30: less than advised, more than wanted."""
    labels = labels_of(training_set, [0, 1, 2, 3], 900, [8.0, 8.0, 3.0, 3.0], [3.75, 3.75, 2.0, 4.0])
    found = sift(labels._replace(ordered_more=np.array([-20.0, 20.0, np.nan, -5.0])), training_set, CONFIG)
    assert [(finding.row, finding.reason) for finding in found.findings] == [(0, "unclear")]
    assert "+4.25 days by an order of -20 units" in found.findings[0].detail


def test_an_order_against_the_override_that_it_followed_is_contradictory(training_set: TrainingSet) -> None:
    """Of three overrides for more the buyer did less, even more, and next to nothing; a fourth label followed none."""
    labels = labels_of(training_set, [0, 1, 2, 3], 900, [2.0, 5.0, 3.1, 2.0], [3.0, 3.0, 3.0, 3.0])
    found = sift(labels._replace(override_days=np.array([4.0, 4.0, 4.0, np.nan])), training_set, CONFIG)
    assert [(finding.row, finding.reason) for finding in found.findings] == [(0, "contradictory")]
    assert "less than the policy's was ordered, and the override asked for the opposite" in found.findings[0].detail


def test_orders_of_one_week_that_cover_other_days_do_not_contradict(training_set: TrainingSet) -> None:
    """On Wednesday more for Thursday and Friday, on Friday less for the weekend and Monday, with a day of lead time."""
    labels = labels_of(training_set, [4, 4, 0], 900, [4.0, 1.0, 3.0], [2.0, 2.0, 2.0])
    seen = labels.observation | {
        "lead_time_days": np.array([1, 1, 1], dtype=np.float32),
        "review_period_days": np.array([2, 3, 2], dtype=np.float32),
    }
    labels = labels._replace(observation=seen, order_day=labels.order_day + np.array([0, 2, 0]))
    assert sift(labels, training_set, CONFIG).findings == []
    late = labels._replace(order_day=labels.order_day - np.array([0, 1, 0]))
    assert {one.reason for one in sift(late, training_set, CONFIG).findings} == {"contradictory"}
    seen["lead_time_days"] = np.array([10, 1, 1], dtype=np.float32)  # the later order comes before the earlier one
    assert sift(late, training_set, CONFIG).findings == []


@pytest.mark.parametrize(("direction", "said"), [(1.5, "more"), (0.6, "less")])
def test_an_alignment_follows_the_experts(
    training_set: TrainingSet, network: PolicyNetwork, direction: float, said: str
) -> None:
    labels = labels_of(training_set, [0, 1, 2, 3, 4, 5], 900, [1.0] * 6, [1.0] * 6)
    before = decided(network, labels)
    found = sift(labels._replace(expert_days=before * direction, policy_days=before), training_set, CONFIG)
    advice = advice_of(network, found)
    config = AlignConfig(
        epochs=4.0, samples=2000, batch_size=64, learning_rate=2e-3, horizon=21, beta=0.0, kl_limit=100.0,
        expert_share=0.9, omega=0.0, pareto=0.0,
    )  # fmt: skip
    run = Run(0, lambda *_: None)
    assert align(network, training_set, config, run, advice) == ""
    after = decided(network, labels)
    moved = after > before if said == "more" else after < before
    assert moved.mean() >= 0.8
    assert np.abs(after - before * direction).mean() < 0.6 * np.abs(before - before * direction).mean()
    logged = run.traces["align"]
    assert np.mean(logged["expert"][-10:]) > np.mean(logged["expert"][:10])
    assert len(logged["expert"]) == pytest.approx(0.9 * len(logged["kl"]), rel=0.05)


def test_more_days_than_anybody_can_decide_count_as_the_most(training_set: TrainingSet, network: PolicyNetwork) -> None:
    """A few units of what hardly sells are years of it; the error that an order so far off makes would drown all others."""
    labels = labels_of(training_set, [0, 1], 900, [5000.0, 3.0], [60.0, 2.0])
    found = sift(labels, training_set, CONFIG)
    assert found.labels.size == 2
    advice = advice_of(network, found)
    np.testing.assert_array_equal(advice.reference, [training_set.grid[-1], 3.0])


def test_without_a_share_experts_teach_nothing(training_set: TrainingSet, network: PolicyNetwork) -> None:
    advice = advice_of(network, sift(labels_of(training_set, [0], 900, [3.0], [2.0]), training_set, CONFIG))
    config = AlignConfig(epochs=1.0, samples=200, batch_size=64, horizon=21, kl_limit=100.0, expert_share=0.0)
    run = Run(0, lambda *_: None)
    align(network, training_set, config, run, advice)
    assert "expert" not in run.traces["align"]


def test_the_gate_judges_on_the_same_series_when_one_is_listed(bakery: Panel) -> None:
    config = GateConfig(held_out=0.2)
    before, after = bakery.take(np.arange(1, 84)), bakery
    kept = [set(zip(*(getattr(p.items, n)[held_out(p, config, 7)] for n in ("item_id", "location_id")), strict=True))
            for p in (before, after)]  # fmt: skip
    assert [len(one) for one in kept] == [17, 17]
    assert len(kept[0] & kept[1]) >= 16
    assert held_out(bakery, config, 7).tolist() != held_out(bakery, config, 8).tolist()


def test_the_gate_lets_no_policy_pass_whose_numbers_are_none(few: Panel, network: PolicyNetwork) -> None:
    broken = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in choosing_parameters(broken):
            parameter.fill_(torch.nan)
    told = judge(few, np.arange(2), {CHAMPION: network, CHALLENGER: broken}, GateConfig(days=14), 0)
    assert told["verdict"] == REFUSED
    assert any(reason.startswith("actions drift") for reason in told["reasons"])


def test_the_gate_lets_nothing_pass_of_which_no_routine_period_was_judged(few: Panel, network: PolicyNetwork) -> None:
    promoted = replace(few, promotion=np.ones_like(few.promotion))
    told = judge(promoted, np.arange(2), {CHAMPION: network, CHALLENGER: network}, GateConfig(days=14), 0)
    assert {row["window"] for row in told["table"]} == {"promotion", "all"}
    assert told["verdict"] == REFUSED
    assert [reason.split(";")[0] for reason in told["reasons"]] == ["no routine period was judged"]
    assert told["demand"] == "recovered"


def decided(network: PolicyNetwork, labels: Labels) -> F64:
    """(E,) days."""
    network.eval()
    with torch.no_grad():
        output, _ = network(*(torch.from_numpy(labels.observation[field.name]) for field in FIELDS))
    days: F64 = output.inventory_days.double().numpy()
    return days


def test_a_share_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="expert_share"):
        replace(AlignConfig(), expert_share=1.0)


def test_a_fine_tuning_that_was_broken_off_goes_on_to_the_same_weights(
    training_set: TrainingSet, network: PolicyNetwork, tmp_path: Path
) -> None:
    """What experts' batches are held to is the policy before the alignment, not the one that it had become."""
    labels = labels_of(training_set, [0, 1, 2, 3, 4, 5], 900, [4.0] * 6, [3.0] * 6)
    experts = sift(labels, training_set, CONFIG)
    config = AlignConfig(
        epochs=1.0,
        samples=600,
        batch_size=64,
        learning_rate=2e-3,
        horizon=21,
        beta=0.5,
        kl_limit=100.0,
        expert_share=0.5,
    )
    start = {name: value.clone() for name, value in network.state_dict().items()}
    checkpoint = tmp_path / "run.npz"

    def aligned(run: Run) -> dict[str, torch.Tensor]:
        network.load_state_dict(start)
        resume(network, run)
        align(network, training_set, config, run, advice_of(network, experts))
        return {name: value.clone() for name, value in network.state_dict().items()}

    def breaks_off(_stage: str, step: int, _steps: int, _trace: dict[str, float]) -> None:
        if step == 8:
            raise KeyboardInterrupt

    whole = aligned(Run(0, lambda *_: None))
    with pytest.raises(KeyboardInterrupt):
        aligned(Run(0, breaks_off, checkpoint, "same", every_s=0.0))
    again = aligned(Run(0, lambda *_: None, checkpoint, "same"))
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
