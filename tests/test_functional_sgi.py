"""SGI's losses: closed forms, masks on made-up episodes, and the draws of goals."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from rllib_ext.functional.categorical import support
from rllib_ext.functional.goal_conditioned import (
    distance,
    double_q_target,
    draw_goals,
    progress_reward,
    synthetic_goals,
)
from rllib_ext.functional.self_predictive import (
    chord,
    diversity,
    effective_rank,
    inverse_dynamics,
    random_pair_chord,
    reachable,
    self_prediction,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_f8_03_the_loss_is_two_minus_two_cosines() -> None:
    predictions, targets = torch.randn(2, 6, 5, 32, generator=seeded(), dtype=torch.float64)
    loss, terms = self_prediction(predictions, targets, torch.ones(6, 5))
    expected = 2 - 2 * F.cosine_similarity(predictions, targets, dim=-1)
    torch.testing.assert_close(terms, expected)
    torch.testing.assert_close(loss, expected.mean(-1))


def test_f8_03_masks_on_made_up_episodes() -> None:
    # Ends: nowhere; with the anchor's own step; with the third; with the last.
    terminals = torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    valid = reachable(terminals)
    assert valid.tolist() == [[True] * 4, [False] * 4, [True, True, False, False], [True, True, True, False]]
    by_hand = [[math.prod(1 - row[j] for j in range(k)) for k in range(1, 5)] for row in terminals.tolist()]
    assert valid.long().tolist() == by_hand
    assert reachable(torch.tensor([[1, 1]])).tolist() == [[False, False]]
    predictions = torch.randn(4, 4, 8, requires_grad=True)
    loss, _ = self_prediction(predictions, torch.randn(4, 4, 8), valid)
    loss.sum().backward()
    reached = predictions.grad.abs().sum(-1) > 0
    assert torch.equal(reached, valid)
    assert loss[1] == 0.0


def test_targets_get_no_gradient_and_equal_vectors_no_rounding() -> None:
    vectors = torch.randn(3, 2, 16, requires_grad=True)
    loss, _ = self_prediction(vectors.detach() * 3.0, vectors, torch.ones(3, 2))
    assert not loss.requires_grad
    assert loss.abs().max() < 1e-12  # 2 - 2 cos would be off by 1e-7 in float32


def test_the_chord_is_four_for_opposites_and_survives_zeros() -> None:
    x = torch.randn(5, 7)
    torch.testing.assert_close(chord(x, -2 * x), torch.full((5,), 4.0))
    zeros = torch.zeros(2, 7, requires_grad=True)
    chord(zeros, torch.ones(2, 7)).sum().backward()
    assert torch.isfinite(zeros.grad).all()


def test_inverse_loss_of_uniform_logits_is_ln_a_and_masks() -> None:
    actions, valid = torch.tensor([[0, 3], [1, 2]]), torch.tensor([[True, True], [True, False]])
    loss, right = inverse_dynamics(torch.zeros(2, 2, 4), actions, valid)
    assert loss.tolist() == pytest.approx([math.log(4), math.log(4) / 2])
    sure = F.one_hot(actions, 4) * 50.0
    loss, right = inverse_dynamics(sure, actions, valid)
    assert loss.max() < 1e-6 and right.tolist() == [[True, True], [True, False]]


def test_f8_04_rewards_of_a_path_telescope() -> None:
    path = torch.rand(12, 3, 64, generator=seeded(), dtype=torch.float64)
    goals = torch.rand(3, 64, generator=seeded(1), dtype=torch.float64)
    for kind in ("exp", "norm"):
        rewards = sum(progress_reward(now, then, goals, kind=kind) for now, then in pairwise(path))
        expected = 10 * (distance(path[0], goals, kind) - distance(path[-1], goals, kind))
        torch.testing.assert_close(rewards, expected)


def test_f8_04_a_step_onto_the_goal_earns_the_whole_distance() -> None:
    goal, start = torch.rand(1, 20), torch.rand(1, 20)
    torch.testing.assert_close(progress_reward(start, 3 * goal, goal), 10 * distance(start, goal))
    assert distance(goal, goal).item() == 0.0


def test_distances_are_the_formulas() -> None:
    x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])  # a right angle: chord 2
    assert distance(x, y).item() == pytest.approx(1 - math.exp(-10))
    assert distance(x, y, "norm").item() == pytest.approx(10.0)
    with pytest.raises(ValueError, match=r"'cosine'.*exp, norm"):
        distance(x, y, "cosine")


def test_goals_follow_the_recipe() -> None:
    latents = torch.rand(4, 30, generator=seeded())
    draws = draw_goals(torch.ones(4), 30, seeded(2), swap=0.0)
    noise = draws.noise_BD / draws.noise_BD.norm(dim=-1, keepdim=True)
    share = draws.share_B[:, None]
    mixed = share * noise + (1 - share) * latents
    unit = mixed / mixed.norm(dim=-1, keepdim=True)
    low, high = unit.min(-1, keepdim=True).values, unit.max(-1, keepdim=True).values
    goals = synthetic_goals(latents, draws)
    torch.testing.assert_close(goals, (unit - low) / (high - low), atol=2e-4, rtol=1e-4)
    assert (draws.share_B < 0.5).all() and draws.source_B.tolist() == [0, 1, 2, 3]


def test_goals_are_swapped_at_their_rate_and_never_for_one_that_is_not_there() -> None:
    valid = torch.arange(4000) % 4 != 0
    draws = draw_goals(valid, 1, seeded(), swap=0.2)
    own = draws.source_B == torch.arange(4000)
    assert not own[~valid].any()
    assert valid[draws.source_B].all()
    assert own[valid].float().mean().item() == pytest.approx(0.8, abs=0.03)
    none = draw_goals(torch.zeros(8), 1, seeded(), swap=0.0)
    assert ((none.source_B >= 0) & (none.source_B < 8)).all()


def test_the_target_takes_the_online_choice_at_the_target_value() -> None:
    values = support(-10, 10, 51)
    online, target = torch.zeros(2, 3, 51), torch.zeros(2, 3, 51)
    online[:, 1, 50] = 30.0  # the online network prefers action 1
    target[:, 1, 25] = 60.0  # which the target network finds worth 0
    target[:, 2, 50] = 60.0
    rewards, discounts = torch.tensor([2.0, -4.0]), torch.tensor([0.99, 0.0])
    found = double_q_target(rewards, discounts, online, target, values)
    torch.testing.assert_close(found @ values, rewards, atol=1e-4, rtol=0)
    assert found[0, 30].item() == pytest.approx(1.0, abs=1e-4)


def test_monitors_tell_spread_from_collapse() -> None:
    alike, apart = torch.ones(8, 16) * torch.arange(1, 9)[:, None], torch.eye(16)[:8]
    assert diversity(alike).item() == pytest.approx(1.0) and diversity(apart).item() == pytest.approx(0.0)
    assert random_pair_chord(alike).item() == pytest.approx(0.0, abs=1e-6)
    assert random_pair_chord(apart).item() == pytest.approx(2.0)
    assert effective_rank(alike).item() == pytest.approx(1.0, abs=1e-3)
    assert effective_rank(apart).item() == pytest.approx(8.0)
    assert effective_rank(torch.zeros(3, 5)).item() == 1.0
    x = torch.randn(6, 9, generator=seeded())
    pairs = [F.cosine_similarity(x[i], x[j], dim=0) for i in range(6) for j in range(6) if i != j]
    assert diversity(x).item() == pytest.approx(float(torch.stack(pairs).mean()), abs=1e-6)
    assert math.isnan(diversity(x[:1]).item())
