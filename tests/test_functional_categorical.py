"""C51: the projection against its definition, the dueling form, and that the value branch learns."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.functional.categorical import (
    cross_entropy,
    divergence,
    dueling,
    expectation,
    project,
    support,
)

LOW, HIGH, ATOMS = -10.0, 10.0, 51


def by_definition(probabilities, reward: float, discount: float, low: float, high: float) -> list[float]:
    """The triangular kernel of the paper's algorithm 1, atom by atom."""
    values = support(low, high, len(probabilities)).tolist()
    spacing = (high - low) / (len(probabilities) - 1)
    moved = [min(max(reward + discount * value, low), high) for value in values]
    return [
        sum(p * max(0.0, 1.0 - abs(at - value) / spacing) for p, at in zip(probabilities, moved, strict=True))
        for value in values
    ]


@settings(max_examples=50, deadline=None)
@given(reward=st.floats(-30, 30), discount=st.floats(0, 1), seed=st.integers(0, 1000))
def test_f8_02_projection_is_the_brute_force_one(reward: float, discount: float, seed: int) -> None:
    drawn = torch.randn(1, ATOMS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    probabilities = drawn.softmax(-1)
    rewards, discounts = torch.tensor([[reward], [discount]], dtype=torch.float64)
    found = project(probabilities, rewards, discounts, LOW, HIGH)
    expected = torch.tensor(by_definition(probabilities[0].tolist(), reward, discount, LOW, HIGH))
    torch.testing.assert_close(found[0].float(), expected, atol=1e-5, rtol=1e-4)
    assert found.sum().item() == pytest.approx(1.0)


def test_projection_keeps_the_mean_where_nothing_is_cut() -> None:
    values = support(LOW, HIGH, ATOMS)
    inner = torch.zeros(3, ATOMS)
    inner[torch.arange(3), torch.tensor([20, 25, 31])] = 1.0
    rewards, discounts = torch.tensor([0.3, -1.7, 0.0]), torch.tensor([0.99, 0.5, 0.0])
    found = project(inner, rewards, discounts, LOW, HIGH) @ values
    torch.testing.assert_close(found, rewards + discounts * (inner @ values), atol=1e-5, rtol=0)


def test_projection_on_the_atoms_is_exact_to_the_ends() -> None:
    identity = torch.eye(ATOMS)
    zeros, ones = torch.zeros(ATOMS), torch.ones(ATOMS)
    torch.testing.assert_close(project(identity, zeros, ones, LOW, HIGH), identity, atol=2e-5, rtol=0)
    beyond = project(identity, torch.full((ATOMS,), 99.0), ones, LOW, HIGH)
    assert (beyond[:, -1] == 1.0).all() and beyond[:, :-1].abs().max() == 0.0


def test_f8_02_dueling_sends_a_gradient_to_the_value_branch() -> None:
    value = torch.zeros(2, ATOMS, requires_grad=True)
    advantage = torch.zeros(2, 4, ATOMS, requires_grad=True)
    logits = dueling(value, advantage)
    target = torch.nn.functional.one_hot(torch.tensor([3, 40]), ATOMS).float()
    cross_entropy(logits[:, 1], target).sum().backward()
    # softmax - target for V; for A of the chosen action 3/4 of it, and -1/4 for every other.
    expected = torch.full((2, ATOMS), 1 / ATOMS) - target
    torch.testing.assert_close(value.grad, expected)
    torch.testing.assert_close(advantage.grad[:, 1], 0.75 * expected)
    torch.testing.assert_close(advantage.grad[:, 0], -0.25 * expected)


def test_dueling_centres_advantages_over_actions() -> None:
    value, advantage = torch.randn(2, ATOMS), torch.randn(2, 4, ATOMS)
    torch.testing.assert_close(dueling(value, advantage).mean(1), value)


def test_expectation_of_a_single_atom_is_its_value() -> None:
    logits = torch.full((1, 2, ATOMS), -1e9)
    logits[0, 0, 0], logits[0, 1, 30] = 0.0, 0.0
    assert expectation(logits, support(LOW, HIGH, ATOMS))[0].tolist() == pytest.approx([-10.0, 2.0])


def test_cross_entropy_of_flat_logits_is_the_log_of_the_atoms() -> None:
    target = torch.rand(3, ATOMS).softmax(-1)
    found = cross_entropy(torch.zeros(3, ATOMS), target)
    assert found.tolist() == pytest.approx([math.log(ATOMS)] * 3)


def test_divergence_is_zero_at_the_target_and_the_peer_elsewhere() -> None:
    target = torch.randn(4, ATOMS).softmax(-1)
    logits = torch.randn(4, ATOMS)
    peer = torch.nn.functional.kl_div(logits.log_softmax(-1), target, reduction="none").sum(-1)
    torch.testing.assert_close(divergence(logits, target), peer)
    assert divergence(target.log(), target).max() < 1e-5
    certain = torch.zeros(1, ATOMS)
    certain[0, 7] = 1.0
    assert divergence(torch.zeros(1, ATOMS), certain).item() == pytest.approx(math.log(ATOMS))
