"""How far a triple is from everything that training states: its novelty.

Source: Jastrzębski et al. 2018, "Commonsense mining as knowledge base completion? A study on the impact of novelty"
(arXiv 1804.09259)::

    d(x) = min over training triples x' of ||v_h - v_h'||_2 + ||v_t - v_t'||_2

v of a phrase is the mean of the vectors of its words. As published, the vectors are those that training begins with, not
normalised, and the relation does not count. It is a weak measure: in the authors' notebooks its correlation with what
people call novel is .22 to .47. The search is exact (`rllib_ext.functional.nearest_pair`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rllib_ext.commonsense.triples import PADDING, Triples, Vocabulary
from rllib_ext.errors import BadConfig, BadData
from rllib_ext.functional.nearest_pair import PairSet, nearest_pairs

MEMORY_MIB = 256


@dataclass(frozen=True)
class Neighbours:
    """For each of N triples the distance to the nearest training triple, and that triple's row. Of several at the same
    distance it is the first.
    """

    distance_N: NDArray[np.float64]
    row_N: NDArray[np.int64]


class NoveltyIndex:
    """Distances to the triples of one training set.

    Made by `fit`. Memory: the float32 means of the distinct phrases of training, and while it searches ``memory_mib``
    more, however many triples are asked for.
    """

    def __init__(
        self, train: Triples, vectors_VD: NDArray[np.floating], memory_mib: int = MEMORY_MIB
    ) -> None:
        if not len(train):
            raise BadData("novelty needs training triples: the training set is empty")
        if vectors_VD.ndim != 2 or len(vectors_VD) != len(train.vocabulary.words):
            raise BadConfig(
                f"vectors has shape {vectors_VD.shape}; it must be one row for each of the "
                f"{len(train.vocabulary.words)} words of the vocabulary"
            )
        if not np.isfinite(vectors_VD).all():
            raise BadData("vectors has entries that are not finite; distances to them mean nothing")
        if memory_mib < 1:
            raise BadConfig(f"memory_mib is {memory_mib}; it must be 1 or more")
        self.train = train
        self._vectors_VD = np.ascontiguousarray(vectors_VD, dtype=np.float32)
        self._memory = memory_mib * 2**20
        self._known = self._pairs(train)

    @classmethod
    def fit(
        cls, train: Triples, vectors: NDArray[np.floating], *, memory_mib: int = MEMORY_MIB
    ) -> NoveltyIndex:
        """An index of ``train``; ``vectors`` [V, D], a row a word of its vocabulary: the initial ones."""
        return cls(train, np.asarray(vectors), memory_mib)

    @property
    def vocabulary(self) -> Vocabulary:
        return self.train.vocabulary

    def distance(self, batch: Triples) -> NDArray[np.float64]:
        """d of every triple [N]; 0 exactly where both means are those of a training triple."""
        return self.nearest(batch).distance_N

    def nearest(self, batch: Triples) -> Neighbours:
        """Distance and nearest training triple of every triple of ``batch``, which has the vocabulary of training."""
        if batch.vocabulary is not self.vocabulary and batch.vocabulary != self.vocabulary:
            raise BadData(
                "the triples have another vocabulary than the training set; read them with that of training "
                "(Triples.from_text(rows, vocabulary))"
            )
        return Neighbours(*nearest_pairs(self._pairs(batch), self._known, memory_bytes=self._memory))

    def _pairs(self, triples: Triples) -> PairSet:
        heads, head_N = phrase_means(triples.heads, self._vectors_VD)
        tails, tail_N = phrase_means(triples.tails, self._vectors_VD)
        return PairSet(heads, tails, head_N, tail_N)


def phrase_means(
    phrases_NL: NDArray[np.int64], vectors_VD: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(means of the distinct phrases [P, D], row of each phrase in them [N]); padding does not count.

    Phrases are compared and added up as bags, their words in order of id and the sums in float64, so that "hot dog" and
    "dog hot" have one mean to the last bit. A phrase without words has the mean 0.
    """
    bags, row_N = np.unique(np.sort(phrases_NL, axis=1), axis=0, return_inverse=True)
    total = np.zeros((len(bags), vectors_VD.shape[1]))
    for place in range(bags.shape[1]):
        present = np.flatnonzero(bags[:, place] != PADDING)
        total[present] += vectors_VD[bags[present, place]]
    count = np.maximum((bags != PADDING).sum(axis=1), 1)
    total /= count[:, None]
    return total.astype(np.float32), row_N.reshape(-1).astype(np.int64)
