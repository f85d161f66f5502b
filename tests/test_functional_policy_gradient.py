"""RLOO, KL estimators, importance weights: closed forms, exact expectations, finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.functional.importance import (
    LOG_RATIO_LIMIT,
    effective_sample_size,
    importance_ratio,
    logp_difference,
    sequence_importance,
    truncated_importance,
)
from rllib_ext.functional.kl import k1, k2, k3, kl_penalised_reward, sequence_kl
from rllib_ext.functional.policy_gradient import leave_one_out, rloo_proximal, rloo_vanilla

EXACT = settings(derandomize=True, deadline=None, max_examples=60, database=None)
F64 = torch.float64


def random_normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def all_scored(rewards):
    return torch.ones_like(rewards, dtype=torch.bool)


# ----- leave-one-out advantages


def test_leave_one_out_closed_form():
    rewards = torch.tensor([[1.0, 2.0, 6.0]], dtype=F64)
    advantages, valid = leave_one_out(rewards, all_scored(rewards))
    torch.testing.assert_close(advantages, torch.tensor([[-3.0, -1.5, 4.5]], dtype=F64))
    torch.testing.assert_close(advantages, 3 / 2 * (rewards - rewards.mean()))
    assert valid.all()


def test_two_completions_have_their_difference_as_advantage():
    rewards = random_normal(5, 2)
    advantages, _ = leave_one_out(rewards, all_scored(rewards))
    torch.testing.assert_close(advantages[:, 0], rewards[:, 0] - rewards[:, 1])
    torch.testing.assert_close(advantages[:, 1], rewards[:, 1] - rewards[:, 0])


@pytest.mark.fault("D1")
def test_unscored_completions_enter_no_baseline():
    rewards = torch.tensor([[1.0, 100.0, 3.0], [5.0, 7.0, 9.0], [1.0, 2.0, 3.0]])
    scored = torch.tensor([[1, 0, 1], [0, 1, 0], [0, 0, 0]]).bool()
    advantages, valid = leave_one_out(rewards, scored)
    assert advantages.tolist() == [[-2.0, 0.0, 2.0], [0.0] * 3, [0.0] * 3]
    assert valid.tolist() == [[True, False, True], [False] * 3, [False] * 3]


@pytest.mark.fault("D1")
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_not_finite_counts_as_unscored(bad):
    rewards = torch.tensor([[1.0, bad, 3.0]])
    advantages, valid = leave_one_out(rewards, all_scored(rewards))
    assert advantages.tolist() == [[-2.0, 0.0, 2.0]]
    assert valid.tolist() == [[True, False, True]]


@pytest.mark.fault("D3")
def test_a_group_of_one_and_a_group_without_variance_move_nothing():
    advantages, valid = leave_one_out(torch.tensor([[5.0]]), torch.tensor([[True]]))
    assert advantages.item() == 0 and not valid.item()
    for group in range(2, 10):  # from 3 on, the mean of such rewards may round to 0.25 beside them
        constant = torch.full((1, group), 1e7 / 3)
        advantages, valid = leave_one_out(constant, all_scored(constant))
        assert (advantages == 0).all() and valid.all()


def test_leave_one_out_refuses_rewards_without_a_group():
    with pytest.raises(ValueError, match="completions a prompt"):
        leave_one_out(torch.zeros(4), torch.ones(4).bool())


@EXACT
@given(st.integers(0, 2**31 - 1), st.integers(1, 5), st.floats(-1e3, 1e3), st.floats(0.1, 10.0))
def test_advantages_ignore_a_shift_follow_a_scale_and_sum_to_zero(seed, group, shift, scale):
    rewards = random_normal(4, group, seed=seed)
    scored = torch.rand(4, group, generator=torch.Generator().manual_seed(seed)) < 0.7
    advantages, valid = leave_one_out(rewards, scored)
    moved, same = leave_one_out(scale * rewards + shift, scored)
    torch.testing.assert_close(moved, scale * advantages, rtol=1e-9, atol=1e-9)
    assert torch.equal(valid, same)
    torch.testing.assert_close(advantages.sum(-1), torch.zeros(4, dtype=F64), rtol=0, atol=1e-12)
    assert (advantages[~valid] == 0).all()


# ----- RLOO losses


def test_vanilla_closed_form_and_gradient():
    logps = torch.tensor([-3.0, -7.0], requires_grad=True)
    loss, metrics = rloo_vanilla(logps, torch.tensor([2.0, -0.5]), weights_B=torch.tensor([1.0, 3.0]))
    assert loss.tolist() == [6.0, -10.5]
    loss.sum().backward()
    assert logps.grad.tolist() == [-2.0, 1.5]
    assert metrics.weights_B.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("advantage", "ratio", "expected", "slope"),
    [
        (1.0, 1.5, -1.2, 0.0),  # a good sample that has moved far enough
        (1.0, 0.5, -0.5, -0.5),  # a good sample that moved the wrong way
        (-1.0, 0.5, 0.8, 0.0),  # a bad sample that has moved far enough
        (-1.0, 1.5, 1.5, 1.5),  # a bad sample that moved the wrong way: not clipped
        (2.0, 1.1, -2.2, -2.2),  # within the clip
        (0.0, 9.0, 0.0, 0.0),
    ],
)
def test_proximal_closed_form(advantage, ratio, expected, slope):
    logps = torch.tensor([math.log(ratio) - 4.0], dtype=F64, requires_grad=True)
    loss, metrics = rloo_proximal(
        logps, torch.tensor([-4.0], dtype=F64), torch.tensor([advantage], dtype=F64)
    )
    loss.backward()
    assert loss.item() == pytest.approx(expected)
    assert logps.grad.item() == pytest.approx(slope)
    assert metrics.ratios_B.item() == pytest.approx(ratio)
    assert metrics.clipped_B.item() == float(slope == 0.0 and advantage != 0.0)


def test_on_policy_both_forms_have_one_gradient():
    logps, advantages = random_normal(6).requires_grad_(), random_normal(6, seed=1)
    vanilla = torch.autograd.grad(rloo_vanilla(logps, advantages)[0].sum(), logps)[0]
    proximal, metrics = rloo_proximal(logps, logps.detach(), advantages)
    torch.testing.assert_close(torch.autograd.grad(proximal.sum(), logps)[0], vanilla)
    assert (metrics.ratios_B == 1).all() and (metrics.clipped_B == 0).all()


def test_expected_rloo_gradient_is_the_gradient_of_the_expected_reward():
    """All pairs of a five-armed bandit, weighted by their probability: unbiased, not just close."""
    logits, rewards = random_normal(5).requires_grad_(), random_normal(5, seed=1)
    log_policy = logits.log_softmax(-1)
    (exact,) = torch.autograd.grad((log_policy.exp() * rewards).sum(), logits, retain_graph=True)
    first, second = (index.flatten() for index in torch.meshgrid(*[torch.arange(5)] * 2, indexing="ij"))
    pairs = torch.stack([rewards[first], rewards[second]], dim=1)
    advantages, _ = leave_one_out(pairs, all_scored(pairs))
    loss = sum(rloo_vanilla(log_policy[arm], advantages[:, k])[0] for k, arm in enumerate((first, second)))
    chance = (log_policy[first] + log_policy[second]).exp().detach()
    (estimated,) = torch.autograd.grad((chance * loss / 2).sum(), logits)
    torch.testing.assert_close(estimated, -exact)


@pytest.mark.parametrize("weighted", [False, True])
def test_rloo_gradients_by_finite_differences(weighted):
    logps = (0.3 * random_normal(8)).requires_grad_()
    behaviour, advantages = 0.3 * random_normal(8, seed=1), random_normal(8, seed=2)
    weights = random_normal(8, seed=3).exp() if weighted else None
    for loss in (
        lambda x: rloo_vanilla(x, advantages, weights)[0],
        lambda x: rloo_proximal(x, behaviour, advantages, 0.2, weights)[0],
    ):
        assert torch.autograd.gradcheck(loss, logps, atol=1e-8, rtol=1e-5)


def test_only_the_policy_gets_a_gradient():
    logps, behaviour, advantages, weights = (random_normal(4, seed=i).requires_grad_() for i in range(4))
    rloo_proximal(logps, behaviour, advantages, 0.2, weights)[0].sum().backward()
    rloo_vanilla(logps, advantages, weights)[0].sum().backward()
    assert logps.grad is not None
    assert behaviour.grad is None and advantages.grad is None and weights.grad is None


@pytest.mark.fault("D4")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("gap", [5e4, -5e4])
def test_exploding_ratios_leave_loss_and_gradient_finite(dtype, gap):
    for advantage in (1.0, -1.0, 0.0):
        logps = torch.tensor([gap, 0.0], dtype=dtype, requires_grad=True)
        loss, metrics = rloo_proximal(logps, torch.zeros(2, dtype=dtype), torch.tensor([advantage] * 2))
        loss.sum().backward()
        assert loss.isfinite().all() and metrics.ratios_B.isfinite().all()
        assert logps.grad.isfinite().all() and logps.grad[0] == 0


def test_losses_refuse_settings_and_shapes_without_meaning():
    for clip in (-0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match="clip"):
            rloo_proximal(torch.zeros(2), torch.zeros(2), torch.zeros(2), clip)
    with pytest.raises(ValueError, match="shapes differ"):
        rloo_vanilla(torch.zeros(2), torch.zeros(2, 1))
    with pytest.raises(ValueError, match="weights_B"):
        rloo_vanilla(torch.zeros(2), torch.zeros(2), torch.zeros(1))


# ----- KL estimators


def test_estimators_closed_form():
    logps, reference = torch.tensor([[-1.0, -2.0]], dtype=F64), torch.tensor([[-1.5, -1.0]], dtype=F64)
    assert k1(logps, reference).tolist() == [[0.5, -1.0]]
    assert k2(logps, reference).tolist() == [[0.125, 0.5]]
    expected = torch.tensor([[math.exp(-0.5) - 0.5, math.e - 2.0]], dtype=F64)
    torch.testing.assert_close(k3(logps, reference), expected)


def test_expectations_of_k1_and_k3_are_the_divergence_and_k2_has_its_gradient():
    logits, reference = random_normal(6).requires_grad_(), random_normal(6, seed=1).log_softmax(-1)
    log_policy = logits.log_softmax(-1)
    chance = log_policy.exp()
    divergence = torch.nn.functional.kl_div(reference, log_policy, log_target=True, reduction="sum")
    torch.testing.assert_close((chance * k1(log_policy, reference)).sum(), divergence)
    torch.testing.assert_close((chance * k3(log_policy, reference)).sum(), divergence)
    (exact,) = torch.autograd.grad(divergence, logits, retain_graph=True)
    sampled = (chance.detach() * k2(log_policy, reference)).sum()
    torch.testing.assert_close(torch.autograd.grad(sampled, logits)[0], exact)


def test_estimators_gradients_by_finite_differences():
    logps, reference = random_normal(2, 3).requires_grad_(), random_normal(2, 3, seed=1)
    for estimator in (k1, k2, k3):
        assert torch.autograd.gradcheck(lambda x, f=estimator: f(x, reference), logps, atol=1e-8, rtol=1e-5)


@EXACT
@given(st.floats(-30, 0), st.floats(-30, 0))
def test_k2_and_k3_are_never_negative_and_nothing_is_zero_but_for_equals(first, second):
    logps, reference = torch.tensor([[first]], dtype=F64), torch.tensor([[second]], dtype=F64)
    assert k2(logps, reference) >= 0 and k3(logps, reference) >= 0
    assert k1(logps, reference) == -k1(reference, logps)
    assert k1(logps, logps) == k2(logps, logps) == k3(logps, logps) == 0


@pytest.mark.fault("D3")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_k3_is_finite_where_the_reference_is_far_more_certain(dtype):
    logps = torch.tensor([[-6e4, 0.0]], dtype=dtype, requires_grad=True)
    value = k3(logps, torch.tensor([[0.0, -6e4]], dtype=dtype))
    value.sum().backward()
    assert value.isfinite().all() and logps.grad.isfinite().all()


def test_reward_penalty_closed_form_and_edges():
    logps = torch.tensor([[-1.0, -2.0, math.nan], [-1.0, -1.0, -1.0], [0.0, 0.0, 0.0]])
    reference = torch.tensor([[-2.0, -2.5, 7.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 0, 0]]).bool()
    scores = torch.tensor([1.0, math.nan, 2.0])
    assert sequence_kl(logps, reference, mask).tolist() == [1.5, -3.0, 0.0]
    rewards = kl_penalised_reward(scores, logps, reference, mask, 0.1)
    assert rewards[0].item() == pytest.approx(0.85)
    assert rewards[1].isnan() and rewards[2] == 2.0
    assert kl_penalised_reward(scores, logps, reference, mask, 0.0)[0] == 1.0
    assert not kl_penalised_reward(scores.requires_grad_(), logps, reference, mask, 0.1).requires_grad
    with pytest.raises(ValueError, match="coefficient"):
        kl_penalised_reward(scores, logps, reference, mask, -0.1)


# ----- importance weights


def test_importance_closed_form():
    logps, behaviour = torch.tensor([-1.0, -1.0, -1.0]), torch.tensor([-1.0, -4.0, 0.0])
    torch.testing.assert_close(
        truncated_importance(logps, behaviour, 2.0), torch.tensor([1.0, 2.0, math.exp(-1)])
    )
    torch.testing.assert_close(
        importance_ratio(logps, behaviour), torch.tensor([1.0, math.exp(3), math.exp(-1)])
    )
    mask = torch.tensor([[1, 1, 0], [0, 0, 0]]).bool()
    tokens = torch.tensor([[-1.0, -1.0, math.nan], [math.nan] * 3])
    older = torch.tensor([[-1.5, -1.25, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(
        sequence_importance(tokens, older, mask, 5.0), torch.tensor([math.exp(0.75), 1.0])
    )


def test_weights_restore_the_expectation_where_the_cap_does_not_bind():
    policy, behaviour = random_normal(6).log_softmax(-1), random_normal(6, seed=1).log_softmax(-1)
    value = random_normal(6, seed=2)
    largest = (policy - behaviour).exp().max().item()
    corrected = (behaviour.exp() * truncated_importance(policy, behaviour, largest + 1) * value).sum()
    torch.testing.assert_close(corrected, (policy.exp() * value).sum())
    assert not torch.isclose((behaviour.exp() * value).sum(), corrected)


@pytest.mark.fault("D4")
@EXACT
@given(st.integers(0, 2**31 - 1), st.floats(1.0, 10.0), st.floats(0.0, 50.0))
def test_weights_stay_between_zero_and_the_cap_and_carry_no_gradient(seed, cap, spread):
    logps = (spread * random_normal(3, 4, seed=seed)).float().requires_grad_()
    weights = truncated_importance(logps, torch.zeros(3, 4), cap)
    assert (weights >= 0).all() and (weights <= cap).all()
    assert not weights.requires_grad
    assert (truncated_importance(logps, logps, cap) == 1).all()


def test_importance_ratio_gradient_by_finite_differences_and_its_limit():
    logps, behaviour = random_normal(5).requires_grad_(), random_normal(5, seed=1)
    assert torch.autograd.gradcheck(lambda x: importance_ratio(x, behaviour), logps, atol=1e-8, rtol=1e-5)
    ratio = importance_ratio(torch.tensor([1e30]), torch.tensor([0.0]))
    assert ratio.item() == pytest.approx(math.exp(LOG_RATIO_LIMIT))


def test_effective_sample_size():
    assert effective_sample_size(torch.full((3, 4), 7.0)).item() == pytest.approx(12.0)
    assert effective_sample_size(torch.tensor([0.0, 0.0, 5.0])).item() == pytest.approx(1.0)
    assert effective_sample_size(torch.tensor([1.0, 3.0])).item() == pytest.approx(16 / 10)
    masked = torch.tensor([1.0, 1.0, math.nan])
    assert effective_sample_size(masked, torch.tensor([True, True, False])).item() == pytest.approx(2.0)
    assert effective_sample_size(torch.zeros(3)) == 0
    assert effective_sample_size(torch.ones(3), torch.zeros(3).bool()) == 0
    assert effective_sample_size(torch.zeros(0)) == 0


@pytest.mark.fault("D4")
@EXACT
@given(st.integers(0, 2**31 - 1), st.floats(1e-30, 1e30))
def test_effective_sample_size_ignores_the_scale_and_lies_between_one_and_n(seed, scale):
    weights = random_normal(9, seed=seed).exp()
    size = effective_sample_size(weights)
    assert 1 <= size.item() <= 9
    torch.testing.assert_close(effective_sample_size((weights * scale).float()), size.float())


def test_logp_difference():
    ours, theirs = torch.tensor([[-1.0, -2.0, math.nan]]), torch.tensor([[-1.5, -1.0, 0.0]])
    difference = logp_difference(ours, theirs, torch.tensor([[True, True, False]]))
    assert difference.mean.item() == pytest.approx(0.75) and difference.maximum.item() == 1.0
    nothing = logp_difference(ours, theirs, torch.zeros(1, 3).bool())
    assert nothing.mean == 0 and nothing.maximum == 0
    empty = torch.zeros(0, 4)
    assert logp_difference(empty, empty, empty.bool()).maximum == 0


def test_a_cap_below_one_is_refused():
    for cap in (0.5, math.inf, math.nan):
        with pytest.raises(ValueError, match="cap"):
            truncated_importance(torch.zeros(1), torch.zeros(1), cap)


@EXACT
@given(st.integers(0, 4), st.integers(0, 2**31 - 1))
def test_padding_changes_no_reward_weight_or_divergence(extra, seed):
    ours, theirs = random_normal(3, 4, seed=seed), random_normal(3, 4, seed=seed + 1)
    mask = torch.arange(4) < torch.tensor([[4], [2], [0]])
    padding = torch.full((3, extra), math.nan, dtype=F64)
    wide = torch.cat([ours, padding], 1), torch.cat([theirs, padding], 1)
    wide_mask = torch.cat([mask, torch.zeros(3, extra).bool()], 1)
    scores = torch.zeros(3, dtype=F64)
    for narrow, padded in (
        (sequence_kl(ours, theirs, mask), sequence_kl(*wide, wide_mask)),
        (sequence_importance(ours, theirs, mask, 3.0), sequence_importance(*wide, wide_mask, 3.0)),
        (
            kl_penalised_reward(scores, ours, theirs, mask, 0.1),
            kl_penalised_reward(scores, *wide, wide_mask, 0.1),
        ),
        (logp_difference(ours, theirs, mask).mean, logp_difference(*wide, wide_mask).mean),
        (logp_difference(ours, theirs, mask).maximum, logp_difference(*wide, wide_mask).maximum),
    ):
        torch.testing.assert_close(narrow, padded)
