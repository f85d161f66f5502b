"""What an update of SGIRainbow moves and how far: gradients, averages, rates, resets, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sgi_fixture import batch_of, learner_of, random_windows, small, some_stacks, tensors_of, update

from rllib_ext.errors import BadConfig, NonFinite
from rllib_ext.functional import rainbow
from rllib_ext.functional.categorical import expectation, support
from rllib_ext.sgi.noisy import NoisyLinear
from rllib_ext.sgi.rainbow.learner import parameter_groups
from rllib_ext.sgi.rainbow.module import approach


def gradients(learner, columns) -> dict[str, torch.Tensor]:
    batch = tensors_of(columns)
    out = learner.networks.forward_train(batch)
    loss = learner.compute_loss_for_module(
        module_id="default_policy", config=learner.config, batch=batch, fwd_out=out
    )
    learner.networks.zero_grad()
    loss.backward()
    named = learner.networks.named_parameters()
    return {name: p.grad.abs().sum() for name, p in named if p.grad is not None}


def snapshot(learner) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in learner.networks.state_dict().items()}


def test_f8_02_every_part_of_a_noisy_dueling_head_learns_and_averages_do_not() -> None:
    learner = learner_of(small())
    found = gradients(learner, random_windows())
    moved = {name for name, size in found.items() if size > 0}
    for layer in ("first.advantage", "first.value", "advantage_out", "value_out"):
        assert {f"head.{layer}.weight", f"head.{layer}.weight_sigma"} <= moved
    assert {"dynamics.first.weight", "predictor.weight", "encoder.layers.0.weight"} <= moved
    assert not any(name.startswith("average_") for name in found)


def test_without_spr_nothing_of_it_learns_and_without_noise_there_is_none() -> None:
    learner = learner_of(small(spr_weight=0.0, noisy=False))
    found = gradients(learner, random_windows(spr_steps=1))
    assert not any(name.startswith(("dynamics", "predictor")) for name in found)
    assert not any(isinstance(layer, NoisyLinear) for layer in learner.networks.modules())


def test_masked_steps_and_rows_of_weight_zero_teach_nothing() -> None:
    learner = learner_of(small(augmentation=False, noisy=False))
    columns = random_windows()
    columns["masks"][:, 1:] = 0
    columns["weights"][2:] = 0
    first = gradients(learner, columns)
    changed = {name: column.copy() for name, column in columns.items()}
    changed["frames"][:, 5:] = 7  # what masked steps lead to
    changed["returns"][2:] = 5.0  # (frames of such rows do count: the dynamics normalises over the batch)
    second = gradients(learner, changed)
    for name in first:
        assert torch.allclose(first[name], second[name], rtol=1e-5, atol=1e-7), name


def test_priorities_are_the_divergence_and_come_back_once() -> None:
    learner = learner_of(small(augmentation=False, noisy=False))
    columns = random_windows()
    batch = tensors_of(columns)
    with torch.no_grad():
        out = learner.networks.forward_train(batch)
    gradients(learner, columns)
    ((index, priority),) = learner.take_priorities()
    assert learner.take_priorities() == []
    assert index.tolist() == columns["index"].tolist()
    logits = out["logits"][torch.arange(6), batch["actions"][:, 0]]
    target = rainbow.double_target(
        out["select"], out["evaluate"], batch["returns"], batch["discounts"], -10, 10
    )
    expected = (torch.xlogy(target, target) - target * logits.log_softmax(-1)).sum(-1)
    np.testing.assert_allclose(priority, expected.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_the_double_target_takes_the_action_of_one_and_the_value_of_the_other() -> None:
    torch.manual_seed(0)
    select, evaluate = torch.randn(4, 3, 11), torch.randn(4, 3, 11)
    returns, discounts = torch.tensor([0.5, -1.0, 2.0, 0.0]), torch.tensor([0.9, 0.5, 0.0, 1.0])
    target = rainbow.double_target(select, evaluate, returns, discounts, -10, 10)
    values = support(-10, 10, 11)
    best = expectation(select, values).argmax(-1)
    means = expectation(evaluate, values)[torch.arange(4), best]
    torch.testing.assert_close((target @ values)[2:3], returns[2:3])  # no bootstrap: the return alone
    inside = (returns + discounts * means)[[1]]
    torch.testing.assert_close((target @ values)[[1]], inside, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(target.sum(-1), torch.ones(4))


def test_a_priority_is_zero_at_a_perfect_prediction_and_its_gradient_is_that_of_the_loss() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 2, 7, dtype=torch.float64, requires_grad=True)
    actions = torch.tensor([0, 1, 0])
    target = logits.detach()[torch.arange(3), actions].softmax(-1)
    loss, priority = rainbow.distributional_loss(logits, actions, target)
    assert torch.allclose(priority, torch.zeros(3, dtype=torch.float64), atol=1e-12)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert gradient.abs().max() < 1e-12


# ----- averages


def test_averages_follow_by_the_formula_and_tau_one_copies() -> None:
    learner = learner_of(small(encoder="S-BN", spr_tau=0.25))
    before = snapshot(learner)
    update(learner, random_windows())
    after = snapshot(learner)
    for name, tensor in after.items():
        if not name.startswith("average_encoder.") or not tensor.is_floating_point():
            continue
        online = after[name.replace("average_encoder", "encoder")]
        expected = before[name] + 0.25 * (online - before[name])
        if "running" in name:  # batch statistics moved the average's own too, before it followed
            continue
        torch.testing.assert_close(tensor, expected)
    assert not torch.equal(after["encoder.layers.0.weight"], before["encoder.layers.0.weight"])


@pytest.mark.parametrize("tau", [0.0, 0.3, 1.0])
def test_approach_at_its_edges(tau: float) -> None:
    torch.manual_seed(0)
    online, average = torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    online.weight.data.normal_(), online.num_batches_tracked.fill_(7)
    before = average.weight.detach().clone()
    approach(average, online, tau)
    torch.testing.assert_close(average.weight, (1 - tau) * before + tau * online.weight)
    assert int(average.num_batches_tracked) == 7
    if tau == 1:
        assert torch.equal(average.weight, online.weight)


def test_a_target_is_kept_only_where_it_differs_from_the_network() -> None:
    same, slow = learner_of(small()), learner_of(small(target_tau=0.005))
    assert not hasattr(same.networks, "target_head")
    before = slow.networks.target_head.value_out.weight.clone()
    assert torch.equal(before, slow.networks.head.value_out.weight)
    update(slow, random_windows())
    now, online = slow.networks.target_head.value_out.weight, slow.networks.head.value_out.weight
    torch.testing.assert_close(now, before + 0.005 * (online - before))


# ----- rates and refusals


def test_groups_cover_every_parameter_once_and_have_their_rates(tmp_path) -> None:
    learner = learner_of(small(lr=3e-4, encoder_lr=2e-6, first_layers_lr=5e-5))
    groups = parameter_groups(learner.networks)
    ids = [id(p) for group in groups.values() for p in group]
    learnt = [p for p in learner.networks.parameters() if p.requires_grad]
    assert sorted(ids) == sorted(map(id, learnt))
    rates = {name.rpartition("default_policy_")[2]: optimizer.param_groups[0]["lr"]
             for name, optimizer in learner._named_optimizers.items()}  # fmt: skip
    assert rates == {"encoder": 2e-6, "first_layers": 5e-5, "rest": 3e-4}
    update(learner, random_windows())
    assert {o.param_groups[0]["lr"] for o in learner._named_optimizers.values()} == {2e-6, 5e-5, 3e-4}


def test_adams_first_step_moves_each_group_by_its_rate() -> None:
    learner = learner_of(small(encoder_lr=1e-6, first_layers_lr=3e-5, lr=1e-3, adam_eps=1e-12))
    before = snapshot(learner)
    update(learner, random_windows())
    after = snapshot(learner)
    for name, rate in (
        ("encoder.layers.0.weight", 1e-6), ("head.first.value.weight", 3e-5), ("head.value_out.weight", 1e-3),
    ):  # fmt: skip
        moved = (after[name] - before[name]).abs().max().item()
        assert moved == pytest.approx(rate, rel=0.05), name


def test_a_frozen_encoder_stays_to_the_bit_with_its_statistics() -> None:
    learner = learner_of(small(encoder="S-BN", freeze_encoder=True))
    before = snapshot(learner)
    update(learner, random_windows())
    after = snapshot(learner)
    for name in before:
        if name.startswith(("encoder.", "average_encoder.")):
            assert torch.equal(before[name], after[name]), name
    assert not torch.equal(before["head.value_out.weight"], after["head.value_out.weight"])


def test_a_gradient_that_is_no_number_ends_the_run_before_it_is_applied() -> None:
    learner = learner_of(small())
    before = snapshot(learner)
    columns = random_windows()
    columns["weights"][0] = np.nan
    with pytest.raises(NonFinite, match="norm of the gradient is nan at update 1"):
        update(learner, columns)
    for name, now in learner.networks.named_parameters():
        assert torch.equal(before[name], now), name


def test_gradients_are_cut_to_the_norm_that_was_asked_for() -> None:
    learner = learner_of(small(grad_clip=0.01))
    found = {"a": torch.full((3,), 4.0), "b": torch.full((4,), 3.0)}
    cut = learner.postprocess_gradients(found)
    assert math.sqrt(sum(float(g.square().sum()) for g in cut.values())) == pytest.approx(0.01, rel=1e-4)


# ----- resets


def test_a_reset_shrinks_the_encoder_redraws_the_head_and_forgets_moments() -> None:
    learner = learner_of(small(reset_every=2, shrink=0.8, perturb=0.2, target_tau=0.1))
    update(learner, random_windows())
    learner.networks.random.manual_seed(3)
    held = snapshot(learner)
    learner.reset_networks()
    now = snapshot(learner)
    drawn = (now["encoder.layers.0.weight"] - 0.8 * held["encoder.layers.0.weight"]) / 0.2
    bound = 1 / math.sqrt(4 * 8 * 8)  # torch's own first weights of that convolution
    assert drawn.abs().max() <= bound + 1e-6 and drawn.abs().max() > 0.9 * bound
    assert not torch.allclose(now["head.value_out.weight"], held["head.value_out.weight"])
    assert (now["head.first.value.weight_sigma"] == now["head.first.value.weight_sigma"][0, 0]).all()
    for average, online in (
        ("average_encoder", "encoder"),
        ("target_encoder", "encoder"),
        ("target_head", "head"),
    ):
        for name in (n for n in now if n.startswith(average + ".")):
            assert torch.equal(now[name], now[name.replace(average, online, 1)])
    assert all(not optimizer.state for optimizer in learner._named_optimizers.values())


def test_resets_come_every_so_many_updates_and_repeat_with_the_seed() -> None:
    ends = []
    for _ in range(2):
        learner = learner_of(small(reset_every=2))
        for step in range(4):
            update(learner, random_windows(seed=step))
        assert learner.resets == 2
        ends.append(snapshot(learner))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


# ----- configs


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"freeze_encoder": True, "reset_every": 10}, "a reset shrinks the encoder"),
        ({"gamma": 1.0, "gamma_last": 0.9}, "both must be below 1"),
        ({"lr": [[0, 1e-4], [10, 1e-5]]}, "schedules are not supported"),
    ],
)
def test_settings_at_odds_are_refused(settings, message) -> None:
    with pytest.raises((BadConfig, ValueError), match=message):
        small(**settings).validate()


def test_a_wrong_environment_answers_with_the_nearest() -> None:
    with pytest.raises(Exception, match="Did you mean 'Pong'"):
        small(env="Atari100k/Pnog").validate()
    with pytest.raises(BadConfig, match="Atari100k/Pong"):
        small(env="CartPole-v1").validate()


def test_q_values_are_expectations_of_the_means_in_eval_mode() -> None:
    learner = learner_of(small())
    net = learner.networks.eval()
    stacks = some_stacks()
    logits = net.head(net.encoder(stacks))
    torch.testing.assert_close(net.q_values(stacks), logits.softmax(-1) @ torch.linspace(-10, 10, 51))
    out = net.forward_inference({"obs": stacks})
    torch.testing.assert_close(out["action_dist_inputs"], net.q_values(stacks))
    assert batch_of(random_windows()).count == 6
