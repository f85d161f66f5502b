"""Positive listening: its two terms in closed form, and which policy each of them moves."""

from __future__ import annotations

import math

import pytest
import torch

from rllib_ext.functional.listening import positive_listening


def test_closed_form() -> None:
    heard = torch.tensor([[math.log(0.5), math.log(0.5)], [math.log(0.9), math.log(0.1)]])
    deaf = torch.tensor([[math.log(0.5), math.log(0.5)], [math.log(0.2), math.log(0.8)]])
    distance, imitation = positive_listening(heard, deaf)
    assert distance.tolist() == pytest.approx([0.0, -1.4])
    assert imitation.tolist() == pytest.approx([math.log(2), -0.9 * math.log(0.2) - 0.1 * math.log(0.8)])


def test_each_term_moves_one_policy_only() -> None:
    heard, deaf = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    distance, imitation = positive_listening(heard, deaf)
    moved, still = torch.autograd.grad(distance.sum(), (heard, deaf), retain_graph=True, allow_unused=True)
    assert moved.abs().sum() > 0 and still is None
    still, moved = torch.autograd.grad(imitation.sum(), (heard, deaf), allow_unused=True)
    assert moved.abs().sum() > 0 and still is None


def test_actions_that_are_illegal_in_both_add_nothing() -> None:
    lowest = torch.finfo(torch.float32).min
    heard, deaf = torch.tensor([[1.0, 2.0, lowest]]), torch.tensor([[0.5, 0.1, lowest]])
    for with_it, without in zip(
        positive_listening(heard, deaf), positive_listening(heard[:, :2], deaf[:, :2]), strict=True
    ):
        assert torch.allclose(with_it, without) and torch.isfinite(with_it).all()
