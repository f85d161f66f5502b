"""The Find module: shared convolutions, of which a word only scales the channels.

    out = ReLU(W2 * (gamma . ReLU(W1 [s0; s1] + b1)) + b2)

W1 (1 x 1) and W2 (3 x 3) are the same for all words and places in the layout; gamma, d numbers from N(0, 1) at first, is
the word's. Where there is no second input (the sentinel, 0) its half of W1 is not multiplied.

Source: Bahdanau et al. 2019 (arXiv 1811.12889), after Andreas et al. 2016.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FindModule(nn.Module):
    """``words`` makes the table of the gammas."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = self.numbers_per_word = channels
        self.mix = nn.Conv2d(2 * channels, channels, 1)
        self.convolve = nn.Conv2d(channels, channels, 3, padding=1)

    def words(self, vocabulary: int) -> nn.Embedding:
        """N(0, 1), which is torch's own."""
        return nn.Embedding(vocabulary, self.channels)

    def forward(self, numbers_BP: Tensor, first: Tensor, second: Tensor | None = None) -> Tensor:
        """(B, d, H, W) of one or two such maps, with the words' gammas (B, d)."""
        if second is None:
            mixed = F.conv2d(first, self.mix.weight[:, : self.channels], self.mix.bias)
        else:
            mixed = self.mix(torch.cat([first, second], dim=1))
        return self.convolve(mixed.relu() * numbers_BP[:, :, None, None]).relu()
