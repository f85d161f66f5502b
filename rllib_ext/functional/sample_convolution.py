"""Convolutions in which every example of a batch has weights of its own, without a loop over the batch.

The modules of a neural module network are written by the words of each question, so no two examples need share a
kernel. A batch of B maps with C channels is one map with B * C channels in B groups: the grouped convolution computes
exactly the B separate ones. It was the fastest of four equal forms here (unfold and a batched product, strided windows,
nine shifts, groups); a loop over the batch costs 4 times as much at 64 channels of 16 x 16, 11 times at 16 of 6 x 6.

Shapes: B batch, C channels read, O channels written, H x W map, K x K kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["sample_convolution", "sample_mixing"]


def sample_convolution(maps_BCHW: Tensor, weights_BOCKK: Tensor, biases_BO: Tensor) -> Tensor:
    """(B, O, H, W): example b convolved with ``weights_BOCKK[b]`` and padded to its own size; K must be odd.

    Equal to ``conv2d(maps[b], weights[b], biases[b], padding=K // 2)`` for every b, in value and in gradient.
    """
    batch, channels, height, width = maps_BCHW.shape
    if weights_BOCKK.ndim != 5 or weights_BOCKK.shape[0] != batch or weights_BOCKK.shape[2] != channels:
        raise ValueError(
            f"sample_convolution: maps have shape {tuple(maps_BCHW.shape)} and weights {tuple(weights_BOCKK.shape)}; "
            "give weights (batch, out, in, kernel, kernel) with the batch and channels of the maps."
        )
    written, kernel = weights_BOCKK.shape[1], weights_BOCKK.shape[-1]
    if biases_BO.shape != (batch, written) or kernel % 2 == 0:
        raise ValueError(
            f"sample_convolution: biases have shape {tuple(biases_BO.shape)}, kernels {kernel}; give biases "
            f"({batch}, {written}) and odd kernels."
        )
    together = F.conv2d(
        maps_BCHW.reshape(1, batch * channels, height, width),
        weights_BOCKK.reshape(batch * written, channels, kernel, kernel),
        biases_BO.reshape(-1),
        padding=kernel // 2,
        groups=batch,
    )
    return together.view(batch, written, height, width)


def sample_mixing(maps_BCHW: Tensor, weights_BOC: Tensor, biases_BO: Tensor) -> Tensor:
    """(B, O, H, W): the same with kernels of one pixel, which is a product of matrices for every example."""
    batch, channels, height, width = maps_BCHW.shape
    if weights_BOC.ndim != 3 or weights_BOC.shape[0] != batch or weights_BOC.shape[2] != channels:
        raise ValueError(
            f"sample_mixing: maps have shape {tuple(maps_BCHW.shape)} and weights {tuple(weights_BOC.shape)}; give "
            "weights (batch, out, in) with the batch and channels of the maps."
        )
    mixed = torch.baddbmm(biases_BO[:, :, None], weights_BOC, maps_BCHW.flatten(2))
    return mixed.view(batch, weights_BOC.shape[1], height, width)
