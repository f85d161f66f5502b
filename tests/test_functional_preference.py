"""Preference losses and pair selection: closed forms, finite differences, properties, edges."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.functional.best_of_n import best, best_of_n
from rllib_ext.functional.preference import IPO_SMALLEST_BETA, best_and_worst, ipo, online_dpo, tied

EXACT = settings(derandomize=True, deadline=None, max_examples=60, database=None)
LOGPS = st.floats(-500, 0)


def random_logps(seed=0, pairs=6):
    generator = torch.Generator().manual_seed(seed)
    return [-20 * torch.rand(pairs, generator=generator, dtype=torch.float64) for _ in range(4)]


def as_tensors(values):
    return [torch.tensor([value], dtype=torch.float64) for value in values]


# ----- closed forms


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_dpo_closed_form(smoothing):
    loss, metrics = online_dpo(*as_tensors([-3.0, -5.0, -4.0, -4.5]), beta=0.2, label_smoothing=smoothing)
    margin = 0.2 * ((-3.0 + 4.0) - (-5.0 + 4.5))  # 0.3
    expected = (1 - smoothing) * math.log1p(math.exp(-margin)) + smoothing * math.log1p(math.exp(margin))
    assert loss.item() == pytest.approx(expected, abs=1e-12)
    assert metrics.margins_B.item() == pytest.approx(0.3)
    assert metrics.chosen_rewards_B.item() == pytest.approx(0.2)
    assert metrics.rejected_rewards_B.item() == pytest.approx(-0.1)
    assert metrics.accuracies_B.item() == 1.0


def test_ipo_closed_form():
    loss, metrics = ipo(*as_tensors([-3.0, -5.0, -4.0, -4.5]), beta=0.2)
    assert loss.item() == pytest.approx((1.5 - 2.5) ** 2)
    assert metrics.margins_B.item() == pytest.approx(0.3)
    at_target, _ = ipo(*as_tensors([-1.0, -3.5, 0.0, 0.0]), beta=0.2)
    assert at_target.item() == pytest.approx(0.0, abs=1e-12)


def test_before_the_first_update_dpo_is_log_two_and_pushes_the_pair_apart_with_half_beta():
    chosen, rejected, _, _ = random_logps()
    policy = [chosen.clone().requires_grad_(), rejected.clone().requires_grad_()]
    loss, metrics = online_dpo(*policy, chosen, rejected, beta=0.1)
    torch.testing.assert_close(loss, torch.full_like(loss, math.log(2)))
    loss.sum().backward()
    torch.testing.assert_close(policy[0].grad, torch.full_like(chosen, -0.05))
    torch.testing.assert_close(policy[1].grad, torch.full_like(chosen, 0.05))
    assert (metrics.accuracies_B == 0).all()  # a margin of 0 is not a correct preference


def test_smoothed_dpo_has_its_minimum_at_the_log_odds():
    target = math.log(0.9 / 0.1) / 0.5
    policy = torch.tensor([target], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.float64)
    online_dpo(policy, zero, zero, zero, beta=0.5, label_smoothing=0.1)[0].backward()
    assert abs(policy.grad.item()) < 1e-12


def test_best_of_n_is_the_negative_log_likelihood_summed_over_real_tokens():
    logps = torch.tensor([[-1.0, -2.0, -4.0], [-1.0, -3.0, math.nan], [math.nan] * 3], requires_grad=True)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [0, 0, 0]]).bool()
    loss, metrics = best_of_n(logps, mask)
    assert loss.tolist() == [7.0, 4.0, 0.0]
    assert metrics.lengths_B.tolist() == [3, 2, 0]
    torch.testing.assert_close(metrics.token_nll_B, torch.tensor([7 / 3, 2.0, 0.0]))
    loss.sum().backward()
    torch.testing.assert_close(logps.grad, -mask.float())


# ----- finite differences


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_dpo_gradient_by_finite_differences(smoothing):
    chosen, rejected, reference_chosen, reference_rejected = random_logps(1)

    def loss(policy_chosen, policy_rejected):
        return online_dpo(
            policy_chosen, policy_rejected, reference_chosen, reference_rejected, 0.3, smoothing
        )[0]

    assert torch.autograd.gradcheck(
        loss, (chosen.requires_grad_(), rejected.requires_grad_()), atol=1e-8, rtol=1e-5
    )


def test_ipo_and_best_of_n_gradients_by_finite_differences():
    chosen, rejected, reference_chosen, reference_rejected = random_logps(2)
    assert torch.autograd.gradcheck(
        lambda c, r: ipo(c, r, reference_chosen, reference_rejected, 0.3)[0],
        (chosen.requires_grad_(), rejected.requires_grad_()),
        atol=1e-8,
        rtol=1e-5,
    )
    logps = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]).bool()
    assert torch.autograd.gradcheck(lambda x: best_of_n(x, mask)[0], logps, atol=1e-8, rtol=1e-5)


@pytest.mark.parametrize("loss_function", [online_dpo, ipo])
def test_no_gradient_reaches_the_reference(loss_function):
    tensors = [values.requires_grad_() for values in random_logps(3)]
    loss_function(*tensors, 0.1)[0].sum().backward()
    assert tensors[0].grad is not None and tensors[1].grad is not None
    assert tensors[2].grad is None and tensors[3].grad is None


# ----- properties


@EXACT
@given(st.tuples(LOGPS, LOGPS, LOGPS, LOGPS), st.floats(0.0, 5.0), st.floats(0.0, 0.5))
def test_swapping_chosen_and_rejected_flips_the_margin(values, beta, smoothing):
    chosen, rejected, reference_chosen, reference_rejected = as_tensors(values)
    loss, metrics = online_dpo(chosen, rejected, reference_chosen, reference_rejected, beta, smoothing)
    swapped, other = online_dpo(rejected, chosen, reference_rejected, reference_chosen, beta, smoothing)
    torch.testing.assert_close(metrics.margins_B, -other.margins_B)
    torch.testing.assert_close(metrics.chosen_rewards_B, other.rejected_rewards_B)
    # log sigmoid(x) - log sigmoid(-x) = x, so the two losses differ by the margin and the smoothing
    torch.testing.assert_close(swapped - loss, (1 - 2 * smoothing) * metrics.margins_B, rtol=1e-9, atol=1e-9)


@EXACT
@given(st.tuples(LOGPS, LOGPS, LOGPS, LOGPS), st.floats(-100, 100))
def test_only_log_ratios_matter(values, shift):
    tensors = as_tensors(values)
    shifted = [tensors[0] + shift, tensors[1], tensors[2] + shift, tensors[3]]
    for loss_function in (online_dpo, ipo):
        torch.testing.assert_close(
            loss_function(*shifted, 0.1)[0], loss_function(*tensors, 0.1)[0], rtol=1e-9, atol=1e-9
        )


@EXACT
@given(
    st.lists(
        st.lists(st.tuples(st.integers(-2, 2), st.booleans()), min_size=4, max_size=4), min_size=1, max_size=5
    )
)
def test_pair_selection_agrees_with_sorting(rows):
    scores = torch.tensor([[float(score) for score, _ in row] for row in rows])
    scored = torch.tensor([[given for _, given in row] for row in rows])
    chosen, rejected, valid = best_and_worst(scores, scored)
    best_B, best_valid = best(scores, scored)
    for b, row in enumerate(rows):
        usable = [(score, k) for k, (score, given) in enumerate(row) if given]
        highest = min(((-score, k) for score, k in usable), default=(0, 0))
        lowest = min(usable, default=(0, 0))
        preference = len(usable) >= 2 and -highest[0] > lowest[0]
        assert valid[b].item() == preference
        expected = (highest[1], lowest[1]) if preference else (0, 0)
        assert (chosen[b].item(), rejected[b].item()) == expected
        assert tied(scores, scored)[b].item() == (len(usable) >= 2 and not preference)
        assert (best_B[b].item(), best_valid[b].item()) == (highest[1], bool(usable))


# ----- edges


@pytest.mark.fault("C4")
def test_ties_lone_scores_and_unscored_prompts_make_no_pair():
    scores = torch.tensor([[1.0, 1.0, 1.0], [3.0, 9.0, 9.0], [0.0, 0.0, 0.0], [2.0, 1.0, 2.0]])
    scored = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]]).bool()
    chosen, rejected, valid = best_and_worst(scores, scored)
    assert valid.tolist() == [False, False, False, True]
    assert tied(scores, scored).tolist() == [True, False, False, False]
    assert (chosen[3].item(), rejected[3].item()) == (0, 1)  # the first of the two best
    assert best(scores, scored)[1].tolist() == [True, True, False, True]


@pytest.mark.fault("D1")
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_counts_as_unscored(bad):
    scores, scored = torch.tensor([[bad, 1.0, 2.0], [bad, 1.0, bad]]), torch.ones(2, 3).bool()
    chosen, rejected, valid = best_and_worst(scores, scored)
    assert valid.tolist() == [True, False]
    assert (chosen[0].item(), rejected[0].item()) == (2, 1)
    assert best(scores, scored)[0].tolist() == [2, 1]


@pytest.mark.fault("D3")
def test_a_group_of_one_makes_no_pair():
    assert not best_and_worst(torch.tensor([[5.0]]), torch.tensor([[True]]))[2].any()


@pytest.mark.parametrize("select", [best_and_worst, tied, best])
def test_selection_refuses_scores_without_a_group(select):
    with pytest.raises(ValueError, match="completions a prompt"):
        select(torch.zeros(3), torch.ones(3).bool())
    with pytest.raises(ValueError, match="completions a prompt"):
        select(torch.zeros(3, 0), torch.ones(3, 0).bool())


@pytest.mark.fault("D3")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("size", [0.0, 1.5e4])
@pytest.mark.parametrize("loss_function", [online_dpo, ipo])
def test_loss_and_gradient_are_finite_at_extreme_log_ratios(dtype, size, loss_function):
    chosen = torch.tensor([size, -size], dtype=dtype, requires_grad=True)
    rejected = torch.tensor([-size, size], dtype=dtype, requires_grad=True)
    zero = torch.zeros(2, dtype=dtype)
    loss, metrics = loss_function(chosen, rejected, zero, zero, 0.1)
    assert loss.dtype == torch.float32 and loss.isfinite().all()
    loss.sum().backward()
    assert chosen.grad.dtype == dtype
    assert chosen.grad.isfinite().all() and rejected.grad.isfinite().all()
    assert metrics.margins_B.isfinite().all()


@pytest.mark.fault("D3")
def test_beta_zero_says_log_two_and_moves_nothing():
    chosen, rejected, reference_chosen, reference_rejected = random_logps(7)
    loss, metrics = online_dpo(chosen.requires_grad_(), rejected, reference_chosen, reference_rejected, 0.0)
    torch.testing.assert_close(loss, torch.full_like(loss, math.log(2)))
    loss.sum().backward()
    assert (chosen.grad == 0).all() and (metrics.accuracies_B == 0).all()


@pytest.mark.fault("D3")
def test_ipo_is_finite_down_to_its_smallest_beta_and_refuses_less():
    chosen = torch.zeros(1, requires_grad=True)
    zero = torch.zeros(1)
    loss, _ = ipo(chosen, zero, zero, zero, IPO_SMALLEST_BETA)
    loss.sum().backward()
    assert loss.isfinite().all() and chosen.grad.isfinite().all()
    for beta in (0.0, IPO_SMALLEST_BETA / 2, -1.0, math.nan):
        with pytest.raises(ValueError, match="beta"):
            ipo(zero, zero, zero, zero, beta)


@pytest.mark.parametrize(("beta", "smoothing"), [(-0.1, 0.0), (math.inf, 0.0), (0.1, -0.1), (0.1, 0.6)])
def test_dpo_refuses_settings_without_meaning(beta, smoothing):
    zero = torch.zeros(1)
    with pytest.raises(ValueError, match=r"online_dpo: (beta|label_smoothing)"):
        online_dpo(zero, zero, zero, zero, beta, smoothing)


def test_losses_refuse_to_broadcast():
    with pytest.raises(ValueError, match=r"reference_chosen_B \(3, 1\)"):
        online_dpo(torch.zeros(3), torch.zeros(3), torch.zeros(3, 1), torch.zeros(3), 0.1)


@pytest.mark.fault("D3")
def test_an_empty_batch_gives_an_empty_loss():
    nothing = torch.zeros(0)
    assert online_dpo(nothing, nothing, nothing, nothing, 0.1)[0].shape == (0,)
    assert [t.shape for t in best_and_worst(torch.zeros(0, 2), torch.zeros(0, 2).bool())] == [(0,)] * 3
