"""The circular game on tensors: losses that a receiver's gradient passes through (numpy's are `envs.games.circle`).

Angles are in degrees. The L1 distance has the slope 1 almost everywhere and 0 exactly at the target and opposite to it,
which is what PyTorch's |x| gives there.
"""

from __future__ import annotations

import torch
from torch import Tensor

CIRCLE = 360.0


def on_circle(angles: Tensor, compat_reflect: bool = False) -> Tensor:
    """As `envs.games.circle.on_circle`; the gradient is 1, and -1 where a negative angle is reflected."""
    if compat_reflect:
        return torch.fmod(angles, CIRCLE).abs()
    return torch.remainder(angles, CIRCLE)


def circular_loss(one: Tensor, other: Tensor, kind: str = "l1") -> Tensor:
    """As `envs.games.circle.circular_loss`: degrees in [0, 180]."""
    apart = (one - other).abs()
    apart = torch.minimum(apart, CIRCLE - apart)
    return apart if kind == "l1" else apart.square() / 180.0


def both_losses(
    angles: Tensor, targets: Tensor, bias: float, *, kind: str = "l1", compat_reflect: bool = False
) -> tuple[Tensor, Tensor]:
    """(sender's, receiver's) loss of unbounded angles; shapes broadcast."""
    reached = on_circle(angles, compat_reflect)
    return circular_loss(reached, targets, kind), circular_loss(
        reached, torch.remainder(targets + bias, CIRCLE), kind
    )
