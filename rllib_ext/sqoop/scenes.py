"""Scenes for training and for the three examinations, as tensors; every one follows from the run's seed.

An examination set is drawn once. ``seen``: the training pairs in fresh scenes; ``unseen_val`` and ``unseen_test``:
pairs that training never asks about, which are not there where #rhs/lhs leaves no pair out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.sqoop import Pairs, Scenes, SqoopGenerator

FRESH = 8192  # scenes drawn at a time where none comes twice
SETS = ("seen", "unseen_val", "unseen_test")
_TRAIN, _ORDER = 0, 1  # what a draw is for, beside the sets
Batch = dict[str, Tensor]


def _random(*of: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(of))


def as_tensors(scenes: Scenes) -> Batch:
    """image (N, H, W, C) uint8, question (N, 3), answer (N,)."""
    return {name: torch.from_numpy(getattr(scenes, name)) for name in ("image", "question", "answer")}


def examinations(generator: SqoopGenerator, pairs: Pairs, scenes: int, seed: int) -> dict[str, Batch]:
    """Name of a set -> so many scenes."""
    asked = {"seen": pairs.train, "unseen_val": pairs.unseen_val, "unseen_test": pairs.unseen_test}
    return {
        name: as_tensors(generator.sample(asked[name], scenes, _random(seed, 2 + at)))
        for at, name in enumerate(SETS)
        if len(asked[name])
    }


class SceneStream:
    """Batches for ever. An epoch is ``kept`` scenes in an order of its own, or (0) as many new ones as `FRESH`, or a
    batch.

    What is left of an epoch and fills no batch is not used. Where it stands is two numbers: an epoch's scenes and their
    order are drawn from (seed, epoch), so a stream that is set there goes on as it would have.
    """

    def __init__(self, generator: SqoopGenerator, pairs: Pairs, *, kept: int, batch: int, seed: int) -> None:
        self.generator, self.pairs, self.kept, self.batch, self.seed = generator, pairs, kept, batch, seed
        self.epoch, self.position = 0, 0
        self._drawn: tuple[int, Batch, Tensor] | None = None

    def __iter__(self) -> SceneStream:
        return self

    def __next__(self) -> Batch:
        if self._drawn is None or self._drawn[0] != self.epoch:
            self._draw()
        _, scenes, order = self._drawn  # type: ignore[misc]
        rows = order[self.position : self.position + self.batch]
        self.position += self.batch
        if self.position + self.batch > len(order):
            self.epoch, self.position = self.epoch + 1, 0
        return {name: values.index_select(0, rows) for name, values in scenes.items()}

    def _draw(self) -> None:
        count = self.kept or max(FRESH, self.batch + self.batch % 2)
        if self.kept and self._drawn is not None:
            scenes = self._drawn[1]
        else:
            random = _random(self.seed, _TRAIN, 0 if self.kept else self.epoch)
            scenes = as_tensors(self.generator.sample(self.pairs.train, count, random))
        order = _random(self.seed, _ORDER, self.epoch).permutation(count)
        self._drawn = self.epoch, scenes, torch.from_numpy(order)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if not self.kept:
            self._drawn = None
        self.epoch, self.position = int(state["epoch"]), int(state["position"])
