"""Message losses against exact expectations over all messages, finite differences and closed forms."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from rllib_ext.functional.messages import (
    gumbel_noise,
    message_loss,
    running_mean,
    straight_through,
    unigram_divergence,
)

ONES_23 = torch.ones(2, 3)


def test_policy_gradient_averages_to_the_gradient_of_the_expected_reward() -> None:
    """All 9 messages of two tokens, weighted by their probability, against the derivative of the exact expectation."""
    torch.manual_seed(0)
    logits_TV = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    rewards_VV = torch.randn(3, 3, dtype=torch.float64)
    baseline_T = torch.tensor([0.7, -0.4], dtype=torch.float64)  # any constant leaves the gradient as it is

    def expected() -> torch.Tensor:
        first_V, second_V = torch.softmax(logits_TV, dim=-1)
        return (first_V[:, None] * second_V[None] * rewards_VV).sum()

    exact = torch.autograd.grad(expected(), logits_TV)[0]
    total = torch.zeros_like(exact)
    for a, b in itertools.product(range(3), repeat=2):
        logps_TV = torch.log_softmax(logits_TV, dim=-1)
        logps_BT = torch.stack([logps_TV[0, a], logps_TV[1, b]])[None]
        ones = torch.ones_like(logps_BT)
        loss = message_loss(logps_BT, ones, baseline_T[None], rewards_VV[a, b][None], ones)
        chance = logps_BT.sum().exp().item()
        total -= chance * torch.autograd.grad(loss.policy_B.sum(), logits_TV)[0]
    torch.testing.assert_close(total, exact)


def test_sums_by_hand_and_no_gradient_where_none_belongs() -> None:
    logps = torch.tensor([[-1.0, -2.0, math.nan]], requires_grad=True)
    values = torch.tensor([[0.5, 1.0, math.inf]], requires_grad=True)
    entropies = torch.tensor([[0.3, 0.4, math.nan]])
    mask = torch.tensor([[True, True, False]])
    loss = message_loss(logps, entropies, values, torch.tensor([2.0]), mask)
    assert loss.policy_B.item() == pytest.approx(1.5 * 1.0 + 1.0 * 2.0)
    assert loss.baseline_B.item() == pytest.approx(1.5**2 + 1.0**2)
    assert loss.entropy_B.item() == pytest.approx(0.7)
    (by_logps,) = torch.autograd.grad(loss.policy_B.sum(), logps)
    assert by_logps.tolist() == [[-1.5, -1.0, 0.0]]
    (by_values,) = torch.autograd.grad(loss.baseline_B.sum(), values)
    assert by_values.tolist() == [[-3.0, -2.0, 0.0]]


def test_an_empty_message_gives_nothing_and_wrong_shapes_are_refused() -> None:
    empty = message_loss(ONES_23, ONES_23, ONES_23, torch.ones(2), torch.zeros(2, 3, dtype=torch.bool))
    assert all(item.tolist() == [0.0, 0.0] for item in (empty.policy_B, empty.baseline_B, empty.entropy_B))
    with pytest.raises(ValueError, match="rewards_B"):
        message_loss(ONES_23, ONES_23, ONES_23, torch.ones(3), ONES_23)


def test_straight_through_samples_softmax_and_has_the_soft_gradient() -> None:
    logits = torch.tensor([1.0, 0.0, -1.0, -math.inf])
    rows = logits.expand(200_000, 4)
    drawn = straight_through(rows, gumbel_noise(rows, torch.Generator().manual_seed(1)), temperature=7.0)
    assert set(drawn.sum(dim=-1).round(decimals=5).tolist()) == {1.0}
    frequencies = drawn.mean(dim=0)
    torch.testing.assert_close(frequencies, torch.softmax(logits, dim=-1), atol=5e-3, rtol=0)
    assert frequencies[3] == 0
    leaf, noise = torch.randn(2, 5, dtype=torch.float64, requires_grad=True), torch.randn(2, 5).double()
    weight = torch.randn(2, 5, dtype=torch.float64)
    (hard,) = torch.autograd.grad((straight_through(leaf, noise, 0.7) * weight).sum(), leaf)
    (soft,) = torch.autograd.grad((torch.softmax((leaf + noise) / 0.7, dim=-1) * weight).sum(), leaf)
    torch.testing.assert_close(hard, soft)
    with pytest.raises(ValueError, match="temperature"):
        straight_through(leaf, noise, 0.0)


def test_gumbel_noise_has_the_moments_of_a_gumbel() -> None:
    noise = gumbel_noise(torch.empty(400_000), torch.Generator().manual_seed(0))
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.01)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, abs=0.02)
    again = gumbel_noise(torch.empty(400_000), torch.Generator().manual_seed(0))
    assert torch.equal(noise, again)


def test_running_mean_is_the_mean_of_everything() -> None:
    values = torch.randn(37, generator=torch.Generator().manual_seed(3)).double()
    mean, count = 0.0, 0
    for part in (values[:1], values[1:10], values[10:10], values[10:]):
        mean, count = running_mean(mean, count, part)
    assert count == 37 and mean == pytest.approx(values.mean().item())


def test_divergence_of_vocabularies() -> None:
    same = torch.tensor([1.0, 2.0, 5.0])
    assert unigram_divergence(same, 10 * same) == pytest.approx(0.0, abs=1e-12)
    assert unigram_divergence(torch.tensor([1, 0]), torch.tensor([0, 4])) == pytest.approx(1.0)
    # p = (1, 0), q = (1/2, 1/2): JS = 1/2 log2(4/3) + 1/4 log2(2/3) + 1/4 log2 2
    expected = 0.5 * math.log2(4 / 3) + 0.25 * math.log2(2 / 3) + 0.25
    assert unigram_divergence(torch.tensor([3, 0]), torch.tensor([2, 2])) == pytest.approx(expected)
    assert math.isnan(unigram_divergence(torch.zeros(2), torch.ones(2)))
