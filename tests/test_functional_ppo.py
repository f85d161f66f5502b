"""PPO's losses, token rewards, GAE, whitening: closed forms, finite differences, RLlib, properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.functional.advantages import gae, token_rewards, value_mask, whiten
from rllib_ext.functional.masking import masked_mean, masked_var
from rllib_ext.functional.ppo import clipped_policy, clipped_value

EXACT = settings(derandomize=True, deadline=None, max_examples=40, database=None)
F64 = torch.float64
UNIT = st.floats(0.0, 1.0)


def random_normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def prefix_mask(lengths, columns):
    return torch.arange(columns) < torch.tensor(lengths).unsqueeze(-1)


# ----- where the score goes


@pytest.mark.parametrize(("length", "place"), [(10, 10), (52, 52), (53, 52), (0, 0)])
def test_the_score_lands_one_after_the_last_token_if_there_is_room(length, place):
    mask, zeros = prefix_mask([length], 53), torch.zeros(1, 53)
    rewards = token_rewards(torch.tensor([2.5]), zeros, zeros, mask, 0.05)
    assert rewards.nonzero().tolist() == [[0, place]]
    assert rewards[0, place] == 2.5
    assert value_mask(mask)[0, place] and value_mask(mask).sum() == min(length + 1, 53)


def test_the_penalty_is_k1_at_real_tokens_and_nowhere_else():
    mask = prefix_mask([2], 4)
    logps = torch.tensor([[-1.0, -3.0, math.nan, 5.0]])
    reference = torch.tensor([[-2.0, -1.0, 0.0, math.nan]])
    rewards = token_rewards(torch.tensor([1.0]), logps, reference, mask, 0.1)
    torch.testing.assert_close(rewards, torch.tensor([[-0.1, 0.2, 1.0, 0.0]]))
    full = token_rewards(torch.tensor([1.0]), logps[:, :2], reference[:, :2], mask[:, :2], 0.1)
    torch.testing.assert_close(full, torch.tensor([[-0.1, 1.2]]))  # no room: score and penalty share a token


# ----- advantages


def test_gae_at_both_ends_of_the_trace():
    rewards = torch.tensor([[1.0, 2.0, 3.0, 99.0]], dtype=F64)
    values = torch.tensor([[0.5, 1.0, -1.0, 77.0]], dtype=F64)
    mask = prefix_mask([3], 4)
    monte_carlo, returns = gae(rewards, values, mask, trace_decay=1.0)
    assert monte_carlo.tolist() == [[5.5, 4.0, 4.0, 0.0]]
    assert returns.tolist() == [[6.0, 5.0, 3.0, 0.0]]
    one_step, _ = gae(rewards, values, mask, discount=0.5, trace_decay=0.0)
    assert one_step.tolist() == [[1.0, 0.5, 4.0, 0.0]]


def test_gae_by_hand():
    advantages, returns = gae(
        torch.tensor([[1.0, 2.0]], dtype=F64),
        torch.tensor([[3.0, 4.0]], dtype=F64),
        prefix_mask([2], 2),
        discount=0.5,
        trace_decay=0.5,
        bootstrap_B=torch.tensor([8.0]),
    )
    # delta_1 = 2 + 0.5 * 8 - 4 = 2; delta_0 = 1 + 0.5 * 4 - 3 = 0; A_0 = 0 + 0.25 * 2
    assert advantages.tolist() == [[0.5, 2.0]]
    assert returns.tolist() == [[3.5, 6.0]]


@pytest.mark.parametrize("truncated", [False, True])
def test_gae_agrees_with_rllib(truncated):
    rllib = pytest.importorskip("ray.rllib.utils.postprocessing.value_predictions")
    lengths, columns = [6, 1, 4], 6
    rewards, values, bootstrap = (
        random_normal(3, columns),
        random_normal(3, columns, seed=1),
        random_normal(3),
    )
    _, returns = gae(
        rewards,
        values,
        prefix_mask(lengths, columns),
        discount=0.9,
        trace_decay=0.8,
        bootstrap_B=bootstrap if truncated else None,
    )
    for row, length in enumerate(lengths):
        # RLlib's columns hold one extra step, whose value is the bootstrap of a truncated episode.
        ends = np.arange(length + 1) == length - 1
        theirs = rllib.compute_value_targets(
            values=np.append(values[row, :length], bootstrap[row]),
            rewards=np.append(rewards[row, :length], 0.0),
            terminateds=ends * (not truncated) * 1.0,
            truncateds=ends * truncated * 1.0,
            gamma=0.9,
            lambda_=0.8,
        )
        np.testing.assert_allclose(returns[row, :length], theirs[:length], rtol=0, atol=1e-6)


@EXACT
@given(st.integers(0, 2**31 - 1), UNIT, UNIT, st.integers(0, 3))
def test_gae_ignores_padding_and_is_linear_in_rewards_and_values(seed, discount, trace_decay, extra):
    rewards, values = random_normal(3, 5, seed=seed), random_normal(3, 5, seed=seed + 1)
    mask = prefix_mask([5, 3, 0], 5)
    settings_ = {"discount": discount, "trace_decay": trace_decay}
    advantages, returns = gae(rewards, values, mask, **settings_)
    padding = torch.full((3, extra), math.nan, dtype=F64)
    wide_mask = torch.cat([mask, torch.zeros(3, extra).bool()], 1)
    wide, _ = gae(torch.cat([rewards, padding], 1), torch.cat([values, padding], 1), wide_mask, **settings_)
    torch.testing.assert_close(wide[:, :5], advantages)
    assert (wide[:, 5:] == 0).all() and (advantages[2] == 0).all()
    doubled, _ = gae(2 * rewards, 2 * values, mask, **settings_)
    torch.testing.assert_close(doubled, 2 * advantages)
    torch.testing.assert_close((returns - advantages)[mask], values[mask])


def test_a_perfect_critic_leaves_no_advantage():
    rewards, mask = random_normal(2, 4), prefix_mask([4, 2], 4)
    values = torch.where(mask, rewards, 0.0).flip(-1).cumsum(-1).flip(-1)
    advantages, _ = gae(rewards, values, mask)
    torch.testing.assert_close(advantages, torch.zeros(2, 4, dtype=F64))


def test_gae_refuses_settings_without_meaning():
    values, mask = torch.zeros(1, 2), torch.ones(1, 2).bool()
    for setting in ({"discount": 1.1}, {"trace_decay": -0.1}):
        with pytest.raises(ValueError, match=next(iter(setting))):
            gae(values, values, mask, **setting)
    with pytest.raises(ValueError, match="bootstrap_B"):
        gae(values, values, mask, bootstrap_B=torch.zeros(3))


# ----- whitening


def test_whitening_shifts_the_mean_of_advantages_and_keeps_that_of_rewards():
    values, mask = 5 + 3 * random_normal(4, 6), prefix_mask([6, 1, 3, 0], 6)
    shifted, kept = whiten(values, mask), whiten(values, mask, shift_mean=False)
    assert abs(masked_mean(shifted, mask).item()) < 1e-12
    torch.testing.assert_close(masked_mean(kept, mask), masked_mean(values, mask))
    for whitened in (shifted, kept):  # biased variance of 1: with n - 1 it would be 0.9
        torch.testing.assert_close(
            masked_var(whitened, mask), torch.tensor(1.0, dtype=F64), rtol=1e-8, atol=0
        )
        assert (whitened[~mask] == 0).all()


@pytest.mark.fault("D3")
def test_whitening_of_constants_single_values_and_nothing():
    constant, everything = torch.full((2, 3), 4.0), torch.ones(2, 3).bool()
    assert (whiten(constant, everything) == 0).all()
    assert (whiten(constant, everything, shift_mean=False) == 4).all()
    alone = prefix_mask([1, 0], 3)
    assert whiten(constant, alone, shift_mean=False).tolist() == [[4.0, 0.0, 0.0], [0.0] * 3]
    assert (whiten(constant, torch.zeros(2, 3).bool()) == 0).all()


@EXACT
@given(st.integers(0, 2**31 - 1), st.floats(-100, 100), st.floats(0.1, 100))
def test_whitened_advantages_ignore_shift_and_scale(seed, shift, scale):
    values, mask = random_normal(3, 4, seed=seed), prefix_mask([4, 2, 3], 4)
    torch.testing.assert_close(
        whiten(scale * values + shift, mask), whiten(values, mask), rtol=1e-4, atol=1e-4
    )


# ----- policy loss


@pytest.mark.parametrize(
    ("advantage", "ratio", "expected", "slope"),
    [
        (1.0, 1.5, -1.2, 0.0),
        (1.0, 0.5, -0.5, -0.5),
        (-1.0, 0.5, 0.8, 0.0),
        (-1.0, 1.5, 1.5, 1.5),
        (2.0, 1.1, -2.2, -2.2),
    ],
)
def test_policy_loss_closed_form(advantage, ratio, expected, slope):
    logps = torch.tensor([[math.log(ratio), math.nan]], dtype=F64, requires_grad=True)
    other = torch.tensor([[0.0, math.nan]], dtype=F64)
    loss, metrics = clipped_policy(
        logps, other, torch.full((1, 2), advantage, dtype=F64), prefix_mask([1], 2)
    )
    loss.sum().backward()
    assert loss.tolist() == [[pytest.approx(expected), 0.0]]
    assert logps.grad.tolist() == [[pytest.approx(slope), 0.0]]
    assert metrics.ratios_BT.tolist() == [[pytest.approx(ratio), 0.0]]
    assert metrics.clipped_BT.tolist() == [[float(slope == 0.0), 0.0]]
    assert metrics.approx_kl_BT.tolist() == [[pytest.approx(math.log(ratio) ** 2 / 2), 0.0]]


@pytest.mark.fault("D3")
def test_before_the_first_update_the_ratio_is_exactly_one():
    logps, advantages = random_normal(2, 3).float(), random_normal(2, 3, seed=1).float()
    loss, metrics = clipped_policy(logps, logps, advantages, torch.ones(2, 3).bool())
    assert (metrics.ratios_BT == 1).all() and (metrics.approx_kl_BT == 0).all()
    assert torch.equal(loss, -advantages)


def test_policy_loss_gradient_by_finite_differences():
    logps = (0.3 * random_normal(3, 4)).requires_grad_()
    behaviour, advantages = 0.3 * random_normal(3, 4, seed=1), random_normal(3, 4, seed=2)
    weights, mask = random_normal(3, 4, seed=3).exp(), prefix_mask([4, 2, 0], 4)
    for weights_BT in (None, weights):
        assert torch.autograd.gradcheck(
            lambda x, w=weights_BT: clipped_policy(x, behaviour, advantages, mask, 0.2, w)[0],
            logps,
            atol=1e-8,
            rtol=1e-5,
        )


@pytest.mark.fault("D4")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("advantage", [1.0, -1.0, 0.0])
def test_policy_loss_is_finite_at_extreme_ratios(dtype, advantage):
    logps = torch.tensor([[6e4, -6e4, 0.0]], dtype=dtype, requires_grad=True)
    loss, metrics = clipped_policy(
        logps, torch.zeros(1, 3, dtype=dtype), torch.full((1, 3), advantage), torch.ones(1, 3).bool()
    )
    loss.sum().backward()
    assert loss.isfinite().all() and logps.grad.isfinite().all() and metrics.approx_kl_BT.isfinite().all()


# ----- value loss


@pytest.mark.parametrize(
    ("value", "expected", "slope", "clipped"),
    [
        (1.1, 0.5 * 0.9**2, -0.9, 0.0),  # within the clip: plain squared error
        (1.5, 0.5 * 0.8**2, 0.0, 1.0),  # moved to the return by more than 0.2: the nearer stop counts
        (0.5, 0.5 * 1.5**2, -1.5, 0.0),  # moved away from it: no clip
    ],
)
def test_value_loss_closed_form(value, expected, slope, clipped):
    values = torch.tensor([[value, math.nan]], dtype=F64, requires_grad=True)
    old, target = torch.tensor([[1.0, math.nan]], dtype=F64), torch.tensor([[2.0, math.nan]], dtype=F64)
    loss, metrics = clipped_value(values, old, target, prefix_mask([1], 2))
    loss.sum().backward()
    assert loss.tolist() == [[pytest.approx(expected), 0.0]]
    assert values.grad.tolist() == [[pytest.approx(slope), 0.0]]
    assert metrics.clipped_BT.tolist() == [[clipped, 0.0]]
    assert metrics.errors_BT.tolist() == [[pytest.approx(value - 2.0), 0.0]]


def test_value_loss_without_clip_is_half_the_squared_error():
    values, old, target = (random_normal(2, 3, seed=i) for i in range(3))
    loss, _ = clipped_value(values, old, target, torch.ones(2, 3).bool(), clip=None)
    torch.testing.assert_close(loss, 0.5 * torch.nn.functional.mse_loss(values, target, reduction="none"))


def test_value_loss_gradient_by_finite_differences():
    values = random_normal(3, 4).requires_grad_()
    old, target, mask = random_normal(3, 4, seed=1), random_normal(3, 4, seed=2), prefix_mask([4, 2, 0], 4)
    for clip in (0.2, None):
        assert torch.autograd.gradcheck(
            lambda x, c=clip: clipped_value(x, old, target, mask, c)[0], values, atol=1e-8, rtol=1e-5
        )


def test_only_policy_and_values_get_gradients():
    tensors = [random_normal(2, 3, seed=i).requires_grad_() for i in range(6)]
    logps, behaviour, advantages, weights, values, target = tensors
    mask = torch.ones(2, 3).bool()
    policy, _ = clipped_policy(logps, behaviour, advantages, mask, 0.2, weights)
    value, _ = clipped_value(values, behaviour, target, mask)
    (policy + value).sum().backward()
    assert [tensor.grad is not None for tensor in tensors] == [True, False, False, False, True, False]


@pytest.mark.fault("D3")
@EXACT
@given(st.integers(0, 4), st.integers(0, 2**31 - 1))
def test_an_empty_mask_and_padding_change_nothing(extra, seed):
    logps, other, advantages = (random_normal(3, 4, seed=seed + i) for i in range(3))
    mask = prefix_mask([4, 2, 0], 4)
    padding = torch.full((3, extra), math.nan, dtype=F64)
    wide = [torch.cat([tensor, padding], 1) for tensor in (logps, other, advantages)]
    wide_mask = torch.cat([mask, torch.zeros(3, extra).bool()], 1)
    for loss_function in (clipped_policy, clipped_value):
        narrow, padded = loss_function(logps, other, advantages, mask)[0], loss_function(*wide, wide_mask)[0]
        torch.testing.assert_close(masked_mean(padded, wide_mask), masked_mean(narrow, mask))
        assert (narrow[2] == 0).all() and (padded[:, 4:] == 0).all()
