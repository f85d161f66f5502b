"""A frozen scorer that says of a triple: how plausible, how novel, and beside what in training.

This is what mining, scoring at scale and the reward share. The novelty is that of the vectors that training began with
(`novelty`), the probability that of `calibration`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rllib_ext.commonsense.buckets import NAMES, pooled_thirds
from rllib_ext.commonsense.calibration import Calibration, fit_calibration
from rllib_ext.commonsense.novelty import NoveltyIndex
from rllib_ext.commonsense.triples import UNKNOWN, Text, Triples
from rllib_ext.errors import BadData

HELD_OUT = 500  # training triples whose distances to the others make the default cuts


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
    """score: triples on the vocabulary of training -> logits [N]. cuts: distances between the buckets."""

    def __init__(
        self,
        score: Callable[[Triples], NDArray[np.float64]],
        index: NoveltyIndex,
        calibration: Calibration,
        cuts: tuple[float, float],
    ) -> None:
        self.score, self.index, self.calibration = score, index, calibration
        self.cuts = (float(cuts[0]), float(cuts[1]))

    @classmethod
    def open(cls, folder: Path | str, cuts: tuple[float, float] | None = None) -> TripleJudge:
        """Of an exported folder (`export`), ``model`` of a run. The calibration is fitted on its scores of dev1.

        cuts: by default `cuts_of`, a property of the training triples and their vectors alone.
        """
        from rllib_ext.commonsense.export import load_scorer

        trained = load_scorer(folder)
        index = NoveltyIndex.fit(trained.train, trained.initial_vectors)
        calibration = fit_calibration(trained.dev1_scores, trained.dev1_labels)
        return cls(trained.score, index, calibration, cuts or cuts_of(trained.train, trained.initial_vectors))

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


def cuts_of(
    train: Triples, vectors_VD: NDArray[np.floating], held_out: int = HELD_OUT, seed: int = 0
) -> tuple[float, float]:
    """Cuts into thirds of how far training triples are from one another: of ``held_out`` of them to all the others.

    Distances have no scale of their own; this gives them one, without an evaluation set. Of thirds that coincide (most
    triples at one distance) the upper is moved above the lower.
    """
    if len(train) < 4:
        raise BadData(f"{len(train)} training triples are too few to say what is far; give cuts")
    chosen = np.zeros(len(train), bool)
    draw = np.random.default_rng(np.random.SeedSequence([seed, 34]))
    chosen[draw.choice(len(train), min(held_out, len(train) // 2), replace=False)] = True
    distance_N = NoveltyIndex.fit(train.take(~chosen), vectors_VD).distance(train.take(chosen))
    low, high = pooled_thirds(distance_N).cuts
    return low, max(high, float(np.nextafter(low, np.inf)))
