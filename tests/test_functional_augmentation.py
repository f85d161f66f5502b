"""Shift and intensity of frames: crops of the widened picture, one for the whole stack, repeatable."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from rllib_ext.functional.augmentation import augment, draw_intensities, draw_shifts, shift
from rllib_ext.functional.renormalisation import renormalise


def frames(batch: int = 5) -> torch.Tensor:
    drawn = torch.randint(0, 256, (batch, 4, 84, 84), generator=torch.Generator().manual_seed(1))
    return drawn.to(torch.uint8)


def test_f8_06_shift_is_a_crop_of_the_replicate_padded_stack() -> None:
    given = frames(81)
    corners = torch.cartesian_prod(torch.arange(9), torch.arange(9))
    padded = F.pad(given.float(), (4, 4, 4, 4), mode="replicate").to(torch.uint8)
    found = shift(given, corners, 4)
    for sample, (row, column) in enumerate(corners.tolist()):  # the same crop for all four frames
        assert torch.equal(found[sample], padded[sample, :, row : row + 84, column : column + 84])
    assert found.dtype == torch.uint8
    assert torch.equal(found[40], given[40])  # the middle corner is no shift


def test_no_padding_is_no_shift() -> None:
    assert torch.equal(shift(frames(), draw_shifts(5, 0, torch.Generator()), 0), frames())


def test_draws_reach_every_corner_and_stay_within() -> None:
    drawn = draw_shifts(5000, 4, torch.Generator().manual_seed(0))
    assert {tuple(pair) for pair in drawn.tolist()} == {(y, x) for y in range(9) for x in range(9)}
    factors = draw_intensities(5000, 0.05, torch.Generator().manual_seed(0))
    assert factors.min().item() == pytest.approx(0.9) and factors.max().item() == pytest.approx(1.1)
    assert factors.mean().item() == pytest.approx(1.0, abs=0.003)


def test_a_stack_is_brightened_by_one_factor() -> None:
    given = torch.full((6, 4, 84, 84), 100, dtype=torch.uint8)
    found = augment(given, torch.Generator().manual_seed(3)).flatten(1)
    factors = found[:, 0] * 255 / 100
    assert torch.equal(found, found[:, :1].expand_as(found))
    assert len(set(factors.tolist())) == 6 and ((factors - 1).abs() <= 0.1001).all()


def test_the_generator_decides() -> None:
    first, again, other = (augment(frames(), torch.Generator().manual_seed(seed)) for seed in (7, 7, 8))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_renormalised_samples_span_zero_to_one_each_by_itself() -> None:
    given = torch.randn(3, 8, 7, 7) * torch.tensor([1.0, 10.0, 100.0]).view(3, 1, 1, 1)
    found = renormalise(given).flatten(1)
    assert found.min(1).values.tolist() == [0.0] * 3
    assert found.max(1).values.tolist() == pytest.approx([1.0] * 3, abs=1e-4)


def test_a_constant_sample_has_finite_gradients() -> None:
    given = torch.ones(1, 2, 7, 7, requires_grad=True)
    renormalise(given).sum().backward()
    assert torch.isfinite(given.grad).all()


def test_the_written_gradient_is_that_of_the_formula() -> None:
    given = torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(renormalise, (given,))
    cut = (
        torch.randn(4, 60).relu().requires_grad_()
    )  # many are the smallest: whoever gets the gradient, it is the same sum
    low, high = cut.amin(1, keepdim=True), cut.amax(1, keepdim=True)
    weights = torch.randn(4, 60)
    (peer,) = torch.autograd.grad((((cut - low) / (high - low + 1e-5)) * weights).sum(), cut)
    (found,) = torch.autograd.grad((renormalise(cut) * weights).sum(), cut)
    torch.testing.assert_close(found[cut > 0], peer[cut > 0])
    torch.testing.assert_close(found.sum(1), peer.sum(1), atol=1e-4, rtol=1e-4)
