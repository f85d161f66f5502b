"""A phrase as the mean of its words' vectors, which are trained.

v(phrase) = 1/n sum of the vectors of its n words; padding is in neither the sum nor n. Order is lost, as in the source
(Li et al. 2016 "AVG"; Jastrzębski et al. 2018). Any phrase has a vector, whether it was seen or not.

Gradients with respect to the table are sparse by default: a batch of 200 triples touches some hundreds of 21,000 rows,
and a dense optimizer would pay for all of them with every update.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rllib_ext.commonsense.triples import PADDING


class PhraseEncoder(nn.Module):
    """Word ids [B, L], 0 behind the last word, -> [B, D]. ``initial``: the vectors that training began with."""

    def __init__(self, words: int, size: int, *, sparse: bool = True) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(words, size, mode="mean", sparse=sparse, padding_idx=PADDING)
        self.register_buffer("initial", torch.zeros(words, size))

    @torch.no_grad()
    def begin(self, vectors_VD: NDArray[np.float32]) -> None:
        """Set the table and what it began with."""
        self.initial.copy_(torch.from_numpy(np.ascontiguousarray(vectors_VD)))
        self.table.weight.copy_(self.initial)

    def forward(self, phrases_BL: Tensor) -> Tensor:
        return self.table(phrases_BL)

    def squared_length(self, words_N: Tensor) -> Tensor:
        """The sum of the squares of these words' vectors: what L2 on the words of a batch is made of."""
        return self.table(words_N.unsqueeze(1)).square().sum()
