"""The Residual module: a small residual block, all of whose weights a word writes.

    z   = ReLU(W_p [s0; s1] + b_p)                          1 x 1, 2d -> d
    out = ReLU(z + W2 * ReLU(W1 * z + b1) + b2)             3 x 3

A word holds 2 (9 d^2 + d) + 2 d^2 + d = 20 d^2 + 3 d numbers, 82,112 at d = 64, in the order W1, W2, b1, b2, W_p, b_p.
Where there is no second input (the sentinel, 0) its half of W_p is not multiplied.

Source: Bahdanau et al. 2019 (arXiv 1811.12889) and its released code, which convolves in a loop over the batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rllib_ext.functional.sample_convolution import sample_convolution, sample_mixing


class ResidualModule(nn.Module):
    """Has no parameters of its own: ``words`` makes the table that they are read from."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        d = self.channels = channels
        self.sizes = [9 * d * d, 9 * d * d, d, d, 2 * d * d, d]
        self.numbers_per_word = sum(self.sizes)

    def words(self, vocabulary: int) -> nn.Embedding:
        """Uniform in +-1 / sqrt(fan in): 9 d for the 3 x 3 parts and their biases, 2 d for the 1 x 1 part."""
        table = nn.Embedding(vocabulary, self.numbers_per_word)
        d, large = self.channels, sum(self.sizes[:4])
        with torch.no_grad():
            table.weight[:, :large].uniform_(-1 / math.sqrt(9 * d), 1 / math.sqrt(9 * d))
            table.weight[:, large:].uniform_(-1 / math.sqrt(2 * d), 1 / math.sqrt(2 * d))
        return table

    def forward(self, numbers_BP: Tensor, first: Tensor, second: Tensor | None = None) -> Tensor:
        """(B, d, H, W) of one or two such maps, with the words' numbers (B, 20 d^2 + 3 d)."""
        batch, d = len(first), self.channels
        inner, outer, inner_bias, outer_bias, mix, mix_bias = numbers_BP.split(self.sizes, dim=1)
        mix = mix.reshape(batch, d, 2 * d)
        if second is None:
            z = sample_mixing(first, mix[:, :, :d], mix_bias).relu()
        else:
            z = sample_mixing(torch.cat([first, second], dim=1), mix, mix_bias).relu()
        kernel = (batch, d, d, 3, 3)
        hidden = sample_convolution(z, inner.reshape(kernel), inner_bias).relu()
        return (z + sample_convolution(hidden, outer.reshape(kernel), outer_bias)).relu()
