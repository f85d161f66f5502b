"""Convolutions with weights of their own for every example, and the exact mixture of two layouts."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from rllib_ext.functional.layout_mixture import layout_mixture, layout_mixture_loss
from rllib_ext.functional.sample_convolution import sample_convolution, sample_mixing


def loop(maps: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor) -> torch.Tensor:
    pad = weights.shape[-1] // 2
    return torch.stack(
        [F.conv2d(m[None], w, b, padding=pad)[0] for m, w, b in zip(maps, weights, biases, strict=True)]
    )


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_c3_models_04_the_batched_convolution_is_the_loop(kernel: int) -> None:
    torch.manual_seed(0)
    maps = torch.randn(5, 3, 6, 7, requires_grad=True)
    weights, biases = (
        torch.randn(5, 4, 3, kernel, kernel, requires_grad=True),
        torch.randn(5, 4, requires_grad=True),
    )
    found, expected = sample_convolution(maps, weights, biases), loop(maps, weights, biases)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    upstream = torch.randn_like(found)
    for ours, theirs in zip(
        torch.autograd.grad(found, (maps, weights, biases), upstream),
        torch.autograd.grad(expected, (maps, weights, biases), upstream),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)
    if kernel == 1:
        torch.testing.assert_close(
            sample_mixing(maps, weights[..., 0, 0], biases), expected, atol=1e-5, rtol=1e-5
        )


def test_shapes_that_would_broadcast_are_refused() -> None:
    maps, weights, biases = torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 3, 3, 3), torch.zeros(2, 4)
    for wrong in (
        (maps, weights[:1], biases),
        (maps, weights, biases[:1]),
        (maps, weights[..., :2, :2], biases),
    ):
        with pytest.raises(ValueError, match="sample_convolution"):
            sample_convolution(*wrong)
    with pytest.raises(ValueError, match="sample_mixing"):
        sample_mixing(maps, weights[:1, ..., 0, 0], biases)
    with pytest.raises(ValueError, match="layout_mixture_loss"):
        layout_mixture_loss(
            torch.zeros(2, 2), torch.zeros(2, 2), torch.zeros(()), torch.zeros(1, dtype=torch.long)
        )


def test_the_mixture_is_normalised_and_its_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    tree, chain = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    logit, answers = torch.tensor(-0.7, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    total = layout_mixture(tree, chain, logit).exp().sum(1)
    torch.testing.assert_close(total, torch.ones(4, dtype=torch.float64))
    inputs = tuple(one.clone().requires_grad_() for one in (tree, chain, logit))
    assert torch.autograd.gradcheck(lambda *of: layout_mixture_loss(*of, answers)[0], inputs)


def test_the_gradient_of_the_layout_is_p_minus_the_responsibility() -> None:
    tree, chain = torch.tensor([[2.0, -1.0]]), torch.tensor([[0.3, 0.1]])
    logit = torch.tensor(0.4, requires_grad=True)
    losses, found = layout_mixture_loss(tree, chain, logit, torch.tensor([0]))
    losses.sum().backward()
    assert float(logit.grad) == pytest.approx(float(found.p_tree - found.responsibility), abs=1e-6)


def test_where_both_branches_fit_the_layout_stands_still() -> None:
    logit = torch.tensor(-2.0, requires_grad=True)
    sure = torch.tensor([[-20.0, 20.0]])
    layout_mixture_loss(sure, sure.clone(), logit, torch.tensor([1]))[0].sum().backward()
    assert float(logit.grad) == pytest.approx(0.0, abs=1e-6)


def test_a_certain_and_wrong_mixture_has_a_finite_loss_and_the_floor_of_the_release_bounds_it() -> None:
    wrong, logit, answer = torch.tensor([[200.0, -200.0]]), torch.tensor(0.0), torch.tensor([1])
    exact, _ = layout_mixture_loss(wrong, wrong, logit, answer)
    assert float(exact) == pytest.approx(400.0)
    floored, _ = layout_mixture_loss(wrong, wrong, logit, answer, floor=1e-6)
    assert float(floored) == pytest.approx(-math.log(1e-6), rel=1e-5)
