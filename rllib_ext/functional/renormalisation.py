"""Min-max renormalisation of latents: what keeps rolled-out predictions on the scale of encodings (SPR, SGI).

Source: Schwarzer et al. 2021 (SPR), after MuZero. The epsilon is new: the released code divides by zero on a constant
map.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["EPSILON", "renormalise"]

EPSILON = 1e-5


def renormalise(latents_BX: Tensor) -> Tensor:
    """(z - min z) / (max z - min z + 1e-5) of every sample over all its other dimensions: into [0, 1).

    Where several elements are the smallest (all those that a ReLU cut), the first of them gets the gradient of the
    minimum; any choice is a subgradient. A constant sample becomes zeros, with finite gradients.
    """
    renormalised: Tensor = _Renormalise.apply(latents_BX.flatten(1))  # type: ignore[no-untyped-call]
    return renormalised.view_as(latents_BX)


class _Renormalise(torch.autograd.Function):
    """Written out because autograd's own shares the minimum's gradient among ties, in five passes over all elements."""

    @staticmethod
    def forward(ctx: Any, flat_BD: Tensor) -> Tensor:
        low_B1, lowest_B1 = flat_BD.min(dim=-1, keepdim=True)
        high_B1, highest_B1 = flat_BD.max(dim=-1, keepdim=True)
        span_B1 = high_B1 - low_B1 + EPSILON
        renormalised_BD = (flat_BD - low_B1).div_(span_B1)
        ctx.save_for_backward(renormalised_BD, span_B1, lowest_B1, highest_B1)
        return renormalised_BD

    @staticmethod
    def backward(ctx: Any, slope_BD: Tensor) -> Tensor:
        """With y = (z - l) / s: dz = dy / s; ds = -sum dy y / s; dl = -sum dy / s; s = h - l, so dh = ds, dl -= ds."""
        renormalised_BD, span_B1, lowest_B1, highest_B1 = ctx.saved_tensors
        found_BD: Tensor = slope_BD / span_B1
        by_span_B1 = -torch.einsum("bd,bd->b", found_BD, renormalised_BD).unsqueeze(-1)
        by_low_B1 = -found_BD.sum(dim=-1, keepdim=True) - by_span_B1
        found_BD.scatter_add_(-1, highest_B1, by_span_B1)
        found_BD.scatter_add_(-1, lowest_B1, by_low_B1)
        return found_BD
