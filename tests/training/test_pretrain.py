"""The training set and the three stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from simulator.observation import FIELDS, ObservationSpec, Observer
from simulator.ordering import inventory_days_grid
from simulator.panel import Panel
from simulator.rates import panel_rates
from solver.labels import epochs_of, history_window
from training.checkpoint import load_weights, save_weights
from training.config import LabelConfig, ModelConfig, TrainConfig, load_config
from training.dataset import TrainingSet
from training.known import Past
from training.loop import Run
from training.losses import cost_of_days
from training.model import PolicyNetwork
from training.pretrain import decision_loss, label_loss
from training.run import Result, named_config, train

END = 1035


def quiet(config: TrainConfig) -> Run:
    return Run(config.seed, lambda *_: None)


def test_nothing_from_the_cut_off_on_reaches_training(few: Panel, tiny: TrainConfig) -> None:
    """Sales, stock-outs, prices after the end are replaced; observations, curves, weights, targets stay the same."""
    in_stock = np.ones_like(few.in_stock)
    in_stock[:, ::9] = 0.5
    few = replace(few, in_stock=in_stock)
    later = {name: getattr(few, name).copy() for name in ("units_sold", "in_stock", "price")}
    for column in later.values():
        column[:, END:] = 7.0
    changed = replace(few, **later)
    labels = replace(tiny.labels, lumpy_share=0.5, recovered_share=0.5, forecast="at_least")
    sets = [TrainingSet([Past(panel, END)], labels, 3, 0.5) for panel in (few, changed)]
    assert sets[0].size == sets[1].size
    assert len(sets[0].known) == 3  # real, drawn and recovered
    for one, other in zip(sets[0].copies, sets[1].copies, strict=True):
        np.testing.assert_array_equal(one.curves, other.curves)
        np.testing.assert_array_equal(one.weight, other.weight)
        last = np.argsort(one.period)[-40:]
        left, right = sets[0].batch(one, last), sets[1].batch(other, last)
        torch.testing.assert_close(left.demand, right.demand, equal_nan=True)
        assert torch.equal(left.censored, right.censored)
        for a, b in zip(left.fields, right.fields, strict=True):
            torch.testing.assert_close(a, b, equal_nan=True)


def test_every_decision_is_over_before_the_cut_off(training_set: TrainingSet) -> None:
    for copy in training_set.copies:
        panel = copy.observer.panel
        over = copy.period + panel.lead_periods[copy.series] + panel.review_periods[copy.series]
        assert over.max() <= END


def test_a_curve_of_a_free_position_has_its_least_cost_where_the_real_one_has(few: Panel) -> None:
    """Without a position the curve is not flat at its left end, but what is best stays best where an order is due."""
    from solver.labels import cost_curves

    epochs = epochs_of(few, panel_rates(few), history_window(few, 400))
    grid = inventory_days_grid()
    real = cost_curves(few, epochs, grid)
    lift = epochs.inventory_position
    free = cost_curves(
        few, epochs._replace(inventory_position=lift * 0, stock_before_arrival=epochs.stock_before_arrival - lift), grid
    )
    best = real.argmin(axis=1)
    orders = grid[best] * epochs.daily_rate > epochs.inventory_position + 1
    rows = np.flatnonzero(orders)
    assert len(rows) > 100
    cost = free[rows, best[rows]] - free[rows].min(axis=1)
    unit = (epochs.daily_rate * few.items.lost_sale_cost[epochs.series])[rows]
    assert np.quantile(cost / unit, 0.99) < 0.05


def test_a_small_network_overfits_one_batch(training_set: TrainingSet, tiny: TrainConfig) -> None:
    torch.manual_seed(0)
    model = replace(tiny.model, dropout=0.0, code_dropout=0.0)
    network = PolicyNetwork(model, training_set.spec, training_set.grid.tolist())
    batch = training_set.batch(training_set.copies[0], np.arange(32))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    first = last = 0.0
    for step in range(150):
        _, latent = network(*batch.fields)
        loss = decision_loss(latent, batch, network.grid, tiny.loss)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        last = float(loss.detach())
        first = last if step == 0 else first
    floor = 2 * float((batch.weight * batch.curves.min(dim=1).values).mean())
    assert last - floor < 0.35 * (first - floor)


def test_training_lowers_the_cost_of_the_days_it_reads_out(
    training_set: TrainingSet, trained: Result, tiny: TrainConfig
) -> None:
    torch.manual_seed(tiny.seed)
    fresh = PolicyNetwork(tiny.model, training_set.spec, training_set.grid.tolist()).eval()
    batch = training_set.batch(training_set.copies[0], np.arange(0, len(training_set.copies[0].series), 7))
    costs = []
    with torch.no_grad():
        for network in (fresh, trained.network):
            _, latent = network(*batch.fields)
            costs.append(float(cost_of_days(latent.days, network.grid, batch.curves).mean()))
    assert costs[1] < 0.8 * costs[0]


def test_the_same_seed_trains_the_same_weights(training_set: TrainingSet, tiny: TrainConfig) -> None:
    short = replace(tiny, forecast=replace(tiny.forecast, epochs=0.05), head=replace(tiny.head, epochs=0.05),
                    joint=replace(tiny.joint, epochs=0.05), threads=1, rollout=replace(tiny.rollout, epochs=0.2))  # fmt: skip
    one, two = (train(training_set, short, quiet(short)).network.state_dict() for _ in range(2))
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


def test_the_second_stage_leaves_the_encoder_alone(training_set: TrainingSet, tiny: TrainConfig) -> None:
    only_head = replace(tiny, forecast=replace(tiny.forecast, epochs=0), joint=replace(tiny.joint, epochs=0),
                        head=replace(tiny.head, epochs=0.1), rollout=replace(tiny.rollout, epochs=0))  # fmt: skip
    torch.manual_seed(tiny.seed)
    before = PolicyNetwork(tiny.model, training_set.spec, training_set.grid.tolist()).state_dict()
    after = train(training_set, only_head, quiet(only_head)).network.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith(("decision_head", "to_logits")) for name in moved)


def test_a_series_ten_times_as_large_gets_the_same_days(few: Panel, trained: Result) -> None:
    """Scale-free: units only scale the rate. The one exception is whole units, which matter less in a larger series."""
    items = replace(few.items, order_multiple=few.items.order_multiple * 0)
    small = replace(few, quantity="continuous", items=items)
    large = replace(small, units_sold=few.units_sold * 10)
    rows, periods = np.arange(6), np.full(6, 1000)
    answers = []
    for panel in (small, large):
        observation = Observer(panel, ObservationSpec(1)).observe(rows, periods)
        with torch.no_grad():
            answers.append(trained.network(*(torch.from_numpy(observation[f.name]) for f in FIELDS)))
    torch.testing.assert_close(answers[1][0].daily_rate, 10 * answers[0][0].daily_rate)
    torch.testing.assert_close(answers[1][1].days, answers[0][1].days, rtol=0.02, atol=0.02)


def test_the_time_of_year_is_told_only_of_seasons_that_a_series_has_seen(few: Panel, trained: Result) -> None:
    """Four weeks later on the calendar changes nothing for a young series: nobody knows what its season will bring."""
    young = replace(few, units_sold=few.units_sold.copy())
    young.units_sold[:, :900] = np.nan
    forecasts = {}
    for name, panel in (("old", few), ("young", young)):
        observation = dict(Observer(panel, ObservationSpec(1)).observe(np.arange(6), np.full(6, 1000)))
        for later in (0, 28):
            moved = observation | {"as_of_day": observation["as_of_day"] + later}
            with torch.no_grad():
                output, _ = trained.network(*(torch.from_numpy(moved[f.name]) for f in FIELDS))
            forecasts[name, later] = output.forecast
    torch.testing.assert_close(forecasts["young", 0], forecasts["young", 28])
    assert not torch.allclose(forecasts["old", 0], forecasts["old", 28])


def test_a_gap_a_year_ago_does_not_hide_the_season(trained: Result) -> None:
    horizon = trained.network.spec.horizon
    seen = torch.ones(3, horizon)
    seen[1, 5:15], seen[2] = 0.0, 0.0
    year = torch.stack(trained.network._calendar(torch.full((3,), 17_000), seen)[4:])
    torch.testing.assert_close(year[:, 1], year[:, 0])
    assert year[:, 0].abs().amax(dim=0).min() > 0
    assert not year[:, 2].any()


def test_a_series_without_any_history_gets_a_sane_answer(few: Panel, trained: Result) -> None:
    empty = replace(few, units_sold=few.units_sold.copy(), in_stock=few.in_stock.copy())
    empty.units_sold[0], empty.in_stock[0] = np.nan, np.nan
    observation = Observer(empty, ObservationSpec(1)).observe(np.array([0]), np.array([1000]))
    with torch.no_grad():
        output, _ = trained.network(*(torch.from_numpy(observation[f.name]) for f in FIELDS))
    assert 0 < output.inventory_days.item() <= 90
    assert output.daily_rate.item() > 0
    assert all(torch.isfinite(value).all() for value in output)


def test_weights_come_back_as_they_were_saved_and_others_are_refused(
    trained: Result, tiny: TrainConfig, tmp_path: Path
) -> None:
    save_weights(trained.network, tmp_path / "weights.npz")
    grid = inventory_days_grid().tolist()
    again = PolicyNetwork(tiny.model, ObservationSpec(1), grid)
    load_weights(again, tmp_path / "weights.npz")
    for name, value in trained.network.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    other = PolicyNetwork(ModelConfig(width=32), ObservationSpec(1), grid)
    with pytest.raises(ValueError, match="another network"):
        load_weights(other, tmp_path / "weights.npz")


def test_adapting_runs_the_joint_stage_only(training_set: TrainingSet, trained: Result, tiny: TrainConfig) -> None:
    network = PolicyNetwork(tiny.model, training_set.spec, training_set.grid.tolist())
    network.load_state_dict(trained.network.state_dict())
    short = replace(tiny, joint=replace(tiny.joint, epochs=0.05))
    assert list(train(training_set, short, quiet(short), network).losses) == ["joint", "rollout"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("speed = 3", "speed"),
        ("[joint]\nlearning_rat = 1e-3", "joint.learning_rat"),
        ("[joint]\nlearning_rate = -1.0", "learning_rate"),
        ("[model]\nwidth = 30", "width"),
        ('seed = "one"', "seed"),
        ("model = 3", "model"),
        ('[labels]\ndemand = "wishes"', "demand"),
        ("[labels]\nrecovered_share = -1.0", "recovered_share"),
        ('[labels]\nforecast = "sales"', "forecast"),
        ('[loss]\njoint = "both"', "joint"),
        ('[align]\ncompare_with = "nobody"', "compare_with"),
    ],
)
def test_a_bad_config_fails_before_training_starts(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=named):
        load_config(path)


def test_flags_override_the_file() -> None:
    assert load_config(named_config("tiny"), seed=7, threads=None).seed == 7


def test_a_history_without_a_known_outcome_cannot_be_learned_from(few: Panel) -> None:
    unknown = replace(few, units_sold=few.units_sold * np.float32(np.nan))
    with pytest.raises(ValueError, match="no decision"):
        TrainingSet([Past(unknown, END)], LabelConfig(drawn_variants=0), 0, 0.5)


@pytest.mark.parametrize(
    "name",
    [
        "adapt",
        "adapt-recovered",
        "default",
        "foundation",
        "foundation-rl",
        "orpr",
        "tiny",
        "weekly",
        "weekly-foundation",
    ],
)
def test_every_shipped_recipe_can_be_read(name: str) -> None:
    assert load_config(named_config(name)).name == name


def test_the_paper_s_joint_stage_minimises_the_labels_and_leaves_the_forecast_alone(
    training_set: TrainingSet, tiny: TrainConfig
) -> None:
    torch.manual_seed(0)
    network = PolicyNetwork(tiny.model, training_set.spec, training_set.grid.tolist()).eval()
    batch = training_set.batch(training_set.copies[0], np.arange(16))
    with torch.no_grad():
        _, latent = network(*batch.fields)
        faithful = replace(tiny.loss, joint="label", forecast=0.0)
        assert decision_loss(latent, batch, network.grid, faithful) == label_loss(latent, batch, tiny.loss)
        assert decision_loss(latent, batch, network.grid, tiny.loss) != label_loss(latent, batch, tiny.loss)


def test_only_supplied_intervals_are_priced_where_that_is_asked(few: Panel, tiny: TrainConfig) -> None:
    """Half of the days half empty: every interval left is in stock for nine tenths, and priced on plain sales.

    Judged over four weeks, an interval may have empty shelves; the four weeks may not.
    """
    in_stock = np.ones_like(few.in_stock)
    in_stock[:, 500:700] = 0.5
    patchy = replace(few, in_stock=in_stock)
    labels = replace(tiny.labels, drawn_variants=0, samples_per_variant=20_000, supply_days=0)
    sets = {
        name: TrainingSet([Past(patchy, END)], replace(labels, demand=name), 0, 0.5)
        for name in ("in_stock", "sales", "recovered")
    }
    longer = TrainingSet([Past(patchy, END)], replace(labels, demand="in_stock", supply_days=28), 0, 0.5).copies[0]
    for n, t in zip(longer.series, longer.period, strict=True):
        first = min(t + 1, END - 28)
        assert in_stock[n, first : first + 28].mean() >= 0.9 - 1e-6
    assert any(in_stock[n, t + 1 : t + 3].mean() < 0.9 for n, t in zip(longer.series, longer.period, strict=True))
    copy = sets["in_stock"].copies[0]
    cycle = (patchy.lead_periods + patchy.review_periods)[copy.series]
    shares = [in_stock[n, t + 1 : t + c].mean() for n, t, c in zip(copy.series, copy.period, cycle, strict=True)]
    assert min(shares) >= 0.9 - 1e-6
    assert 0.7 * sets["sales"].size < sets["in_stock"].size < 0.9 * sets["sales"].size
    np.testing.assert_array_equal(sets["in_stock"].known[0].demand, sets["sales"].known[0].demand)
    assert sets["recovered"].known[0].demand[:, 500:700].sum() > 1.2 * sets["sales"].known[0].demand[:, 500:700].sum()


def test_decisions_on_recovered_demand_are_added_and_their_forecast_knows_days_out_of_stock(
    few: Panel, tiny: TrainConfig
) -> None:
    """A share of the usual number comes on top, from intervals whose shelf was empty too; the others stay as they were."""
    in_stock = np.ones_like(few.in_stock)
    in_stock[:, 500:1000:2] = 0.5
    patchy = replace(few, in_stock=in_stock)
    labels = replace(tiny.labels, drawn_variants=0)
    plain = TrainingSet([Past(patchy, END)], labels, 0, 0.5)
    mixed = TrainingSet([Past(patchy, END)], replace(labels, recovered_share=0.5), 0, 0.5)
    always_full = TrainingSet([Past(few, END)], replace(labels, recovered_share=0.5), 0, 0.5)
    assert len(always_full.copies) == 1  # nothing is hidden there
    first, added = mixed.copies
    assert len(first.series) == len(plain.copies[0].series)
    assert 0.4 * labels.samples_per_variant < len(added.series) < 0.6 * labels.samples_per_variant
    lead = (patchy.lead_periods + patchy.review_periods)[added.series]
    shares = [in_stock[n, t + 1 : t + k].mean() for n, t, k in zip(added.series, added.period, lead, strict=True)]
    assert min(shares) < 0.8
    completed = mixed.known[1].future[:, 500:1000:2]
    sold = patchy.units_sold[:, 500:1000:2]
    assert np.isnan(mixed.known[0].future[:, 500:1000:2]).all()
    told = np.isfinite(completed) & (sold > 0)
    assert told.mean() > 0.5
    assert (completed >= sold - 1e-3)[told].all()
    assert completed[told].sum() > 1.1 * sold[told].sum()


def test_a_forecast_learns_what_it_is_told_of_days_out_of_stock(few: Panel, tiny: TrainConfig) -> None:
    """Left out, at least what they sold, or the demand behind them; days in stock are the same in all three."""
    in_stock = np.ones_like(few.in_stock)
    in_stock[:, 500:1000:2] = 0.5
    patchy = replace(few, in_stock=in_stock)
    labels = replace(tiny.labels, drawn_variants=0)
    batches = {}
    for which in ("in_stock", "at_least", "recovered"):
        data = TrainingSet([Past(patchy, END)], replace(labels, demand="sales", forecast=which), 0, 0.5)
        copy = data.copies[0]
        rows = np.flatnonzero((copy.period > 600) & (copy.period < 800))[:64]
        batches[which] = data.batch(copy, rows)
    out = batches["at_least"].censored
    assert 0.3 < out.float().mean() < 0.7
    assert not batches["in_stock"].censored.any()
    assert not batches["recovered"].censored.any()
    left, least, behind = (batches[which].demand for which in ("in_stock", "at_least", "recovered"))
    assert torch.isnan(left[out]).all()
    torch.testing.assert_close(left[~out], least[~out], equal_nan=True)
    whole = torch.isfinite(left)
    torch.testing.assert_close(left[whole], behind[whole])
    assert (least[out] > 0).all()
    told = out & torch.isfinite(behind)
    assert (behind[told] >= least[told] - 1e-3).all()
    assert behind[told].sum() > 1.1 * least[told].sum()
