"""The order in which a supervised stage reads its rows: a function of the seed and the epoch, and of nothing else.

That is what lets a stage stop at any update and go on elsewhere: the position in the data is the number of updates,
and no generator has to be wound forward. With ``group_by_length`` rows of like length share a batch, longest batch
first, as transformers' own sampler does it; without it the order is a plain shuffle (N+). With ``whole_batches`` the
rows that would make a last, smaller batch of an epoch are left to the next one: 116,722 rows in batches of 128 are
911 updates, as in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from rllib_ext.llm.supervised_settings import Training
from rllib_ext.runtime.seeding import SeedTree


class EpochOrder(Sampler):
    """Row numbers of one epoch after another; ``epoch`` says which comes next."""

    def __init__(self, rows: Sequence[dict[str, Any]], settings: Training) -> None:
        self._lengths = [len(row["input_ids"]) for row in rows]
        self._settings = settings
        self.epoch = 0

    def __len__(self) -> int:
        rows, batch = len(self._lengths), self._settings.batch_size
        return rows - rows % batch if self._settings.whole_batches and rows >= batch else rows

    def __iter__(self) -> Iterator[int]:
        settings = self._settings
        generator = SeedTree(settings.seed).child("order", self.epoch).torch()
        chosen = torch.randperm(len(self._lengths), generator=generator)[: len(self)].tolist()
        if not settings.group_by_length:
            return iter(chosen)
        lengths = [self._lengths[index] for index in chosen]
        grouped = get_length_grouped_indices(lengths, settings.batch_size, generator=generator)
        return iter([chosen[place] for place in grouped])

    @property
    def updates_per_epoch(self) -> int:
        return max(1, math.ceil(len(self) / self._settings.batch_size))

    @property
    def updates(self) -> int:
        """Optimizer updates of the whole stage, unless time ends it first."""
        return self._settings.max_steps or math.ceil(self._settings.epochs * self.updates_per_epoch)
