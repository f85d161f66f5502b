"""The augmentation of frames in SPR, DrQ and SGI: a random shift of a few pixels, and a random brightness.

Sources: Kostrikov et al. 2020 (DrQ); Schwarzer et al. 2021 (SPR), whose settings are the defaults: 4 pixels, 5 %.

Random numbers come from a generator that is handed in, so that a run can go on where it stopped; they are drawn on the
CPU and moved. Frames stay bytes until the last operation: a quarter of the memory that floats would take.

Left out: other augmentations (rotations, blurs), which these methods do not use.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

__all__ = ["augment", "draw_intensities", "draw_shifts", "shift"]


def draw_shifts(batch: int, pad: int, generator: Generator) -> Tensor:
    """Corners (row, column) of the crops, uniform in {0, .., 2 pad}, (B, 2); ``pad`` itself is no shift."""
    return torch.randint(0, 2 * pad + 1, (batch, 2), generator=generator)


def draw_intensities(batch: int, scale: float, generator: Generator) -> Tensor:
    """Factors 1 + scale n, n normal and cut to [-2, 2], (B,)."""
    return 1.0 + scale * torch.randn(batch, generator=generator).clamp_(-2.0, 2.0)


def shift(stacks_BCHW: Tensor, corners_B2: Tensor, pad: int) -> Tensor:
    """Crops of H x W, at ``corners_B2``, of the images widened by ``pad`` copies of their border pixels.

    All channels of a sample have the same crop: they are frames of one moment's stack, and motion must not be torn.
    The type is kept.
    """
    if pad == 0:
        return stacks_BCHW
    batch, channels, height, width = stacks_BCHW.shape
    padded = F.pad(stacks_BCHW, (pad, pad, pad, pad), mode="replicate")
    b, c, h, w = padded.stride()
    side = 2 * pad + 1
    windows = padded.as_strided((batch, side, side, channels, height, width), (b, h, w, c, h, w))
    corners_B2 = corners_B2.to(stacks_BCHW.device)
    rows = torch.arange(batch, device=stacks_BCHW.device)
    return windows[rows, corners_B2[:, 0], corners_B2[:, 1]]


def augment(
    frames_BCHW: Tensor,
    generator: Generator,
    *,
    pad: int = 4,
    scale: float = 0.05,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Bytes (B, C, H, W) -> ``dtype``, about [0, 1], each sample shifted and brightened by draws of its own."""
    batch = len(frames_BCHW)
    shifted = shift(frames_BCHW, draw_shifts(batch, pad, generator), pad)
    factors_B = draw_intensities(batch, scale, generator).to(frames_BCHW.device) / 255.0
    return shifted * factors_B.to(dtype).view(-1, 1, 1, 1)
