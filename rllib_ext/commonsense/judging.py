"""A frozen scorer that says of a triple: how plausible, how novel, and beside what in training.

This is what mining, scoring at scale and the reward share. The novelty is that of the vectors that training began with
(`novelty`), the probability that of `calibration`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rllib_ext.commonsense.buckets import NAMES
from rllib_ext.commonsense.calibration import Calibration
from rllib_ext.commonsense.novelty import NoveltyIndex
from rllib_ext.commonsense.triples import UNKNOWN, Text, Triples

BATCH = 1024


@dataclass(frozen=True)
class Judgement:
    """Of one triple. score: the logit. bucket: near, middle or far, by the judge's cuts. nearest: the training triple at
    that distance. unknown_words: of the triple, in the vocabulary of training.
    """

    triple: Text
    score: float
    probability: float
    novelty: float
    bucket: str
    nearest: Text
    unknown_words: int


class TripleJudge:
    """scorer: with ``score(heads [B, L], relations [B], tails [B, L])`` -> logits, as tensors. cuts: distances between
    the buckets.
    """

    def __init__(
        self, scorer: nn.Module, index: NoveltyIndex, calibration: Calibration, cuts: tuple[float, float]
    ) -> None:
        self.scorer, self.index, self.calibration = scorer.eval(), index, calibration
        self.cuts = (float(cuts[0]), float(cuts[1]))

    def score(self, triples: Triples) -> NDArray[np.float64]:
        """Logits [N]."""
        return score_triples(self.scorer, triples)

    def judge(self, texts: Sequence[Text]) -> list[Judgement]:
        """In order. A relation that the vocabulary lacks raises BadConfig; unknown words do not."""
        if not texts:
            return []
        triples = Triples.from_text(texts, self.index.vocabulary)
        scores, near = self.score(triples), self.index.nearest(triples)
        probabilities = self.calibration(scores)
        buckets = np.searchsorted(self.cuts, near.distance_N, side="left")
        unknown = (triples.heads == UNKNOWN).sum(1) + (triples.tails == UNKNOWN).sum(1)
        return [
            Judgement(
                triple=text,
                score=float(scores[at]),
                probability=float(probabilities[at]),
                novelty=float(near.distance_N[at]),
                bucket=NAMES[int(buckets[at])],
                nearest=self.index.train.text(int(near.row_N[at])),
                unknown_words=int(unknown[at]),
            )
            for at, text in enumerate(texts)
        ]


@torch.no_grad()
def score_triples(scorer: nn.Module, triples: Triples, batch: int = BATCH) -> NDArray[np.float64]:
    """Logits [N] of a scorer that is not training; memory does not grow with N."""
    was_training = scorer.training
    scorer.eval()
    try:
        found = [
            scorer(*(torch.from_numpy(part[start : start + batch]) for part in _parts(triples)))
            for start in range(0, len(triples), batch)
        ]
    finally:
        scorer.train(was_training)
    return torch.cat(found).double().numpy() if found else np.empty(0)


def _parts(triples: Triples) -> tuple[NDArray[np.int64], ...]:
    return triples.heads, triples.relations, triples.tails
