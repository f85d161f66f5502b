"""Batches by their number of tokens, each a function of its number alone.

Rows are sorted by length with ties in random order, cut into batches whose padded size stays within the budget, and the
batches are shuffled. Lengths sort the same way in every epoch, so every epoch has the same number n of batches, and batch
k is batch k mod n of epoch k div n: no state, no cursor to restore.

Source: token-count batching of the published game (2,000 tokens in pretraining, 1,024 in play). A row that is longer
than the budget is a batch of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rllib_ext.errors import BadData
from rllib_ext.language_games.pivot.vocabulary import PAD
from rllib_ext.runtime.seeding import SeedTree

Ids = list[list[int]]


class Batches:
    """The batches of aligned columns of token ids: ``columns[c][i]`` is row i of column c."""

    def __init__(self, columns: Sequence[Ids], budget: int, seeds: SeedTree) -> None:
        if not columns or not columns[0] or len({len(column) for column in columns}) != 1:
            raise BadData(f"columns of {[len(column) for column in columns]} rows cannot make batches.")
        self._columns, self._seeds = columns, seeds
        self._lengths_N = np.array([max(map(len, row)) for row in zip(*columns, strict=True)])
        self._edges = _edges(np.sort(self._lengths_N), budget)
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self._edges) - 1

    def batch(self, number: int) -> tuple[Tensor, ...]:
        """Batch ``number``, counted from 0 over all epochs: a padded tensor (B, T) for each column."""
        epoch, place = divmod(number, len(self))
        rows = self.rows(epoch, place)
        return tuple(pad([column[row] for row in rows]) for column in self._columns)

    def rows(self, epoch: int, place: int) -> list[int]:
        """The rows of one batch of one epoch."""
        if epoch != self._epoch:
            rng = self._seeds.child("epoch", epoch).numpy()
            ties_N = rng.permutation(len(self._lengths_N))
            self._order = ties_N[np.argsort(self._lengths_N[ties_N], kind="stable")]
            self._shuffled = rng.permutation(len(self))
            self._epoch = epoch
        chosen = int(self._shuffled[place])
        found: list[int] = self._order[self._edges[chosen] : self._edges[chosen + 1]].tolist()
        return found


def _edges(sorted_N: np.ndarray, budget: int) -> list[int]:
    """Where batches begin in the sorted order, and the end: longest row times rows stays within the budget."""
    edges = [0]
    for index, length in enumerate(sorted_N.tolist()):
        if index > edges[-1] and length * (index + 1 - edges[-1]) > budget:
            edges.append(index)
    return [*edges, len(sorted_N)]


def pad(rows: Ids) -> Tensor:
    """(B, T) int64, padded on the right."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[PAD] * (width - len(row))] for row in rows], dtype=torch.int64)
