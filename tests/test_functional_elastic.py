"""Averages and resets as algebra: tests 1, 3, 4, 5, 7 and 14 of the battery, on tensors alone."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.functional.elastic import (
    VARIANTS,
    Elastic,
    ElasticSettings,
    assign_,
    average_,
    distance,
    snapshot,
    trainable,
)


def weights(seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        "w": torch.randn(3, 2, generator=draw).to(dtype),
        "b": torch.randn(2, generator=draw).to(dtype),
        "steps": torch.tensor([seed]),
    }


def equal(left, right) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def move(state, seed: int) -> None:
    """A training step: every float tensor goes somewhere else."""
    draw = torch.Generator().manual_seed(seed)
    for tensor in state.values():
        if tensor.is_floating_point():
            tensor.add_(torch.randn(tensor.shape, generator=draw).to(tensor.dtype))


def resets(chosen: ElasticSettings, ticks: int) -> list[int]:
    """The 1-based ticks after which the online weights are reset, one tick at a time."""
    online = weights()
    elastic, found = Elastic(chosen, online), []
    for tick in range(1, ticks + 1):
        if elastic.tick(chosen.reset_unit, online) and elastic.reset(online).online:
            found.append(tick)
    return found


def test_01_decay_of_one_is_reset_to_init_and_decay_of_zero_changes_nothing() -> None:
    for decay in (1.0, 0.0):
        online = weights()
        first = snapshot(online)
        elastic = Elastic(ElasticSettings(ema_decay=decay, reset_every=4), online)
        for step in range(4):
            move(online, step + 1)
            elastic.tick("iteration", online)
        before = snapshot(online)
        assert elastic.reset(online).online
        assert equal(online, first if decay == 1.0 else before)


def test_01_a_decay_of_one_is_exact_beside_infinite_weights() -> None:
    mean, online = {"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([torch.inf, torch.nan])}
    average_(mean, online, 1.0)
    assert mean["w"].tolist() == [1.0, 2.0]


def test_03_online_becomes_the_average_exactly_and_the_average_init() -> None:
    online = weights()
    first = snapshot(online)
    elastic = Elastic(ElasticSettings(ema_decay=0.7, reset_every=5), online)
    for step in range(5):
        move(online, step + 1)
        elastic.tick("iteration", online)
    average = snapshot(elastic.ema)
    done = elastic.reset(online)
    assert done.online and done.average
    assert equal(online, average) and equal(elastic.ema, first)
    move(online, 99)
    elastic.tick("iteration", online)
    assert equal(elastic.init, first), "the initial weights are never written to"


def test_03_the_three_stores_share_no_memory() -> None:
    online = weights()
    elastic = Elastic(ElasticSettings(reset_every=1), online)
    for _ in range(2):
        stores = [online, elastic.ema, elastic.init, elastic.state_dict()["ema"]]
        places = [{tensor.data_ptr() for tensor in store.values()} for store in stores]
        assert sum(map(len, places)) == len(set.union(*places))
        elastic.tick("iteration", online)
        elastic.reset(online)


@settings(deadline=None)
@given(decay=st.floats(0.0, 1.0), ticks=st.integers(1, 30))
def test_04_constant_weights_are_approached_geometrically(decay: float, ticks: int) -> None:
    first = {"w": torch.tensor([1.0, -2.0], dtype=torch.float64)}
    elastic = Elastic(ElasticSettings(ema_decay=decay), first)
    online = {"w": torch.tensor([5.0, 7.0], dtype=torch.float64)}
    for _ in range(ticks):
        elastic.tick("iteration", online)
    kept = decay**ticks
    torch.testing.assert_close(elastic.ema["w"], kept * first["w"] + (1 - kept) * online["w"])
    assert elastic.init_weight_fraction == pytest.approx(kept)
    together = Elastic(ElasticSettings(ema_decay=decay), first)
    together.tick("iteration", online, amount=ticks)
    torch.testing.assert_close(together.ema["w"], elastic.ema["w"])


def test_05_phases_of_the_released_code() -> None:
    assert resets(ElasticSettings(reset_every=17, reset_offset=0), 50) == [1, 18, 35]
    assert resets(ElasticSettings(reset_every=260), 600) == [260, 520]
    assert resets(ElasticSettings(reset_every=None), 600) == []
    assert resets(ElasticSettings(reset_every=20, reset_offset=7), 50) == [7, 27, 47]


def test_05_no_reset_where_no_time_is_left_to_recover() -> None:
    chosen = ElasticSettings(reset_every=20, skip_last_reset_within=10, run_length=60)
    assert resets(chosen, 60) == [20, 40]
    with pytest.raises(ValueError, match=r"skip_last_reset_within is 3 without a run_length"):
        ElasticSettings(skip_last_reset_within=3)


def test_05_a_unit_that_advances_in_strides_is_reset_once_at_each_mark() -> None:
    chosen = ElasticSettings(reset_every=100, reset_unit="env_steps")
    online = weights()
    elastic, found = Elastic(chosen, online), []
    for step in range(1, 12):
        if elastic.tick("env_steps", online, amount=30):
            found.append(30 * step)
            elastic.reset(online)
    assert found == [120, 210, 300]


def test_the_average_may_be_put_back_less_often_than_the_weights() -> None:
    online = weights()
    chosen = ElasticSettings(reset_every=2, ema_reset_every=6)
    elastic, found = Elastic(chosen, online), []
    for tick in range(1, 13):
        if elastic.tick("iteration", online):
            done = elastic.reset(online)
            found.append((tick, done.online, done.average))
    assert found == [(t, True, t % 6 == 0) for t in range(2, 13, 2)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_puts_back_what_its_name_says(variant: str) -> None:
    online = weights()
    first = snapshot(online)
    elastic = Elastic(ElasticSettings(variant=variant, ema_decay=0.5, reset_every=2), online)
    for step in range(2):
        move(online, step + 1)
        elastic.tick("iteration", online)
    before, average = snapshot(online), snapshot(elastic.ema)
    due = elastic.due
    done = elastic.reset(online)
    assert done.online == due == (variant in ("reset_to_init", "reset_to_ema", "elastic_reset"))
    expected = {"reset_to_init": first, "reset_to_ema": average, "elastic_reset": average}
    assert equal(online, expected.get(variant, before))
    assert equal(elastic.ema, {"none": {}, "elastic_reset": first}.get(variant, average))


def test_07_frozen_weights_are_left_out_and_buffers_copied() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))
    model[0].requires_grad_(False)
    state, verbatim = trainable(model, keep=lambda name: not name.startswith("2.bias"))
    assert sorted(state) == [
        "1.bias", "1.num_batches_tracked", "1.running_mean", "1.running_var", "1.weight", "2.weight"
    ]  # fmt: skip
    elastic = Elastic(ElasticSettings(ema_decay=0.9), state, verbatim)
    model(torch.randn(8, 2) + 3)  # moves the running statistics
    with torch.no_grad():
        model[1].weight += 1
    state, _ = trainable(model, keep=lambda name: not name.startswith("2.bias"))
    elastic.tick("iteration", state)
    assert elastic.ema["1.num_batches_tracked"] == 1
    assert torch.equal(elastic.ema["1.running_mean"], model[1].running_mean)
    torch.testing.assert_close(elastic.ema["1.weight"], torch.full((3,), 1.1))


def test_07_the_average_of_half_precision_weights_is_float32() -> None:
    online = weights(dtype=torch.bfloat16)
    elastic = Elastic(ElasticSettings(ema_decay=0.999, reset_every=2000), online)
    with torch.no_grad():
        online["w"] += 1
    for _ in range(2000):
        elastic.tick("iteration", online)
    gone = (elastic.ema["w"] - elastic.init["w"].float()) / (online["w"] - elastic.init["w"]).float()
    torch.testing.assert_close(gone, torch.full_like(gone, 1 - 0.999**2000), rtol=1e-3, atol=0)
    elastic.reset(online)
    assert online["w"].dtype == torch.bfloat16
    torch.testing.assert_close(elastic.ema["w"], elastic.init["w"].float(), rtol=0, atol=0)


def test_14_tied_weights_are_averaged_once() -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = torch.nn.Embedding(5, 3), torch.nn.Linear(3, 5, bias=False)
            self.head.weight = self.embed.weight

    model = Tied()
    state, verbatim = trainable(model)
    assert list(state) == ["embed.weight"]
    first = model.embed.weight.detach().clone()
    elastic = Elastic(ElasticSettings(ema_decay=0.75, reset_every=1), state, verbatim)
    with torch.no_grad():
        model.head.weight += 4
    elastic.tick("iteration", state)
    elastic.reset(state)
    torch.testing.assert_close(model.head.weight, first + 1)
    assert model.head.weight is model.embed.weight


def test_08_a_driver_goes_on_from_its_state() -> None:
    chosen = ElasticSettings(ema_decay=0.8, reset_every=5, ema_unit="grad_steps", ema_every=2)

    def run(elastic, online, first, last):
        for step in range(first, last):
            move(online, step)
            elastic.tick("grad_steps", online)
            if elastic.tick("iteration", online):
                elastic.reset(online)

    whole = weights()
    uninterrupted = Elastic(chosen, whole)
    run(uninterrupted, whole, 0, 17)

    part = weights()
    saved = Elastic(chosen, part)
    run(saved, part, 0, 7)
    state, kept = copy.deepcopy(saved.state_dict()), snapshot(part)
    resumed = Elastic(chosen, kept)  # begins at other weights than the first run: they come with the state
    resumed.load_state_dict(state)
    run(resumed, kept, 7, 17)
    assert equal(kept, whole) and equal(resumed.ema, uninterrupted.ema)
    assert resumed.state_dict()["counts"] == uninterrupted.state_dict()["counts"]
    assert resumed.resets == 3


def test_08_another_period_makes_up_for_no_reset_of_the_past() -> None:
    online = weights()
    donor = Elastic(ElasticSettings(reset_every=50), online)
    donor.tick("iteration", online, amount=29)
    trial = Elastic(ElasticSettings(reset_every=10), online)
    trial.load_state_dict(donor.state_dict())
    assert not trial.due
    assert trial.tick("iteration", online), "the mark at 30 is still to come"


def test_a_state_of_another_model_is_refused_before_anything_is_copied() -> None:
    online = weights()
    elastic = Elastic(ElasticSettings(), online)
    other = Elastic(ElasticSettings(), {**weights(1), "w": torch.zeros(9)})
    with pytest.raises(ValueError, match=r"1 tensors differ in name or shape, 'w' first"):
        elastic.load_state_dict(other.state_dict())
    assert equal(elastic.ema, online)


def test_reset_critic_and_optimizer_are_asked_for_by_switches() -> None:
    online, critic = weights(), weights(5)
    first = snapshot(critic)
    elastic = Elastic(
        ElasticSettings(reset_every=1, reset_critic=True, reset_optimizer=True), online, critic=critic
    )
    move(critic, 3)
    elastic.tick("iteration", online)
    done = elastic.reset(online, critic)
    assert done.critic and done.optimizer and equal(critic, first)


def test_distance_is_euclidean_over_all_float_tensors() -> None:
    left, right = (
        {"a": torch.zeros(2), "n": torch.tensor(1)},
        {"a": torch.tensor([3.0, 0.0]), "n": torch.tensor(9)},
    )
    assert distance({**left, "b": torch.tensor([4.0])}, {**right, "b": torch.tensor([0.0])}) == 5.0
    with pytest.raises(ValueError, match="'b' first"):
        assign_(left, {**right, "b": torch.zeros(1)})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"variant": "elastic"}, "variant is 'elastic'; choose one of none, ema_only"),
        ({"ema_decay": 1.5}, r"ema_decay is 1.5; choose a finite value in \[0.0, 1.0\]"),
        ({"reset_every": 0}, "reset_every is 0"),
        ({"ema_unit": "epoch"}, "ema_unit is 'epoch'"),
    ],
)
def test_wrong_settings_are_named(setting: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ElasticSettings(**setting)
