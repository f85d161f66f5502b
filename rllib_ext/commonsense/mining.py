"""Mining: candidate triples ranked by a scorer, apart by how novel they are, each beside the nearest thing that training
states.

Source: Jastrzębski et al. 2018 (arXiv 1804.09259), which judges the 100 best candidates of each bucket of novelty. What a
rank does not say: that a triple is true, or new. Scores are highest for near-copies of training triples *and* for some
that are far from everything (in the authors' notebooks the best 100 of about a million candidates are farther away than
the best 100,000), and people found the far ones mostly bad. `novelty_of_best` shows whether that is so here. No claim of
new knowledge follows from a table of this module; it is a list for people to judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_ext.analysis.tables import Table
from rllib_ext.commonsense.buckets import Buckets, fixed_cuts, pooled_thirds
from rllib_ext.commonsense.novelty import NoveltyIndex
from rllib_ext.commonsense.triples import UNKNOWN, Text, Triples, keys_of
from rllib_ext.errors import BadConfig, BadData

TOP = 100
COLUMNS = (
    "bucket", "rank", "score", "probability", "novelty", "head", "relation", "tail", "nearest_head", "nearest_relation",
    "nearest_tail", "unknown_words", "row",
)  # fmt: skip

Score = Callable[
    [Triples], NDArray[np.floating]
]  # logits, or any number that is larger for the more plausible


@dataclass(frozen=True)
class Candidates:
    """What is to be ranked. texts: as they were read, also the words that the vocabulary lacks. row_N: where each was
    read, from 1 (a line of a file, a sentence of a text).
    """

    triples: Triples
    texts: Sequence[Text]
    row_N: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[Text], index: NoveltyIndex, rows: Sequence[int] | None = None) -> Candidates:
        """Of phrases in words, by the vocabulary of training. An unknown relation raises BadConfig."""
        if not len(texts):
            raise BadData("there are no candidates to rank")
        triples = Triples.from_text(texts, index.vocabulary)
        numbers = np.arange(1, len(texts) + 1) if rows is None else np.asarray(rows, np.int64)
        return cls(triples, texts, numbers)


@dataclass(frozen=True)
class Mined:
    """Candidates in the order of their scores, best first; arrays are over the N that were ranked."""

    candidates: Candidates
    score_N: NDArray[np.float64]
    probability_N: NDArray[np.float64] | None
    novelty_N: NDArray[np.float64]
    nearest_N: NDArray[np.int64]
    buckets: Buckets
    index: NoveltyIndex
    left_out: Mapping[str, int] = field(default_factory=dict)

    def table(self, top: int | None = TOP) -> Table:
        """The best ``top`` of every bucket (None: all), bucket by bucket from near to far."""
        if top is not None and top < 1:
            raise BadConfig(f"top is {top}; it must be 1 or more, or None for all")
        rows: list[tuple[Any, ...]] = []
        for name, mask in self.buckets.masks().items():
            for rank, at in enumerate(np.flatnonzero(mask)[:top], start=1):
                rows.append((name, rank, *self._figures(int(at)), *self._words(int(at))))
        return Table("candidates", COLUMNS, rows)

    def _figures(self, at: int) -> tuple[float | None, ...]:
        probability = None if self.probability_N is None else float(self.probability_N[at])
        return float(self.score_N[at]), probability, float(self.novelty_N[at])

    def _words(self, at: int) -> tuple[str | int, ...]:
        triples = self.candidates.triples
        unknown = int((triples.heads[at] == UNKNOWN).sum() + (triples.tails[at] == UNKNOWN).sum())
        nearest = self.index.train.text(int(self.nearest_N[at]))
        return (*self.candidates.texts[at], *nearest, unknown, int(self.candidates.row_N[at]))

    def novelty_of_best(self, counts: Sequence[int] = (100, 1_000, 10_000, 100_000)) -> dict[int, float]:
        """Mean novelty of the best so many candidates; a scorer that prefers extremes is above the last at the first."""
        sizes = [count for count in counts if count < len(self.novelty_N)]
        return {count: float(self.novelty_N[:count].mean()) for count in [*sizes, len(self.novelty_N)]}


def mine(
    candidates: Candidates,
    score: Score,
    index: NoveltyIndex,
    *,
    probability: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
    cuts: tuple[float, float] | None = None,
    keep_known: bool = False,
) -> Mined:
    """Rank candidates.

    A triple that is named twice is ranked once, where it was named first. What training states is left out (counted in
    ``left_out``) unless ``keep_known``. cuts: distances between the buckets; None: thirds of these candidates.
    Of equal scores the nearer comes first, then the one that was read first.
    """
    kept, left_out = _worth_ranking(candidates, index, keep_known)
    if not len(kept):
        raise BadData(
            f"no candidate is left to rank: {left_out}; --keep-known ranks what training states, too"
        )
    triples = candidates.triples.take(kept)
    scores = np.asarray(score(triples), dtype=np.float64)
    if scores.shape != (len(triples),) or not np.isfinite(scores).all():
        raise BadData(
            f"the scorer gave scores of shape {scores.shape}, or some not finite, for {len(triples)} triples"
        )
    near = index.nearest(triples)
    order = np.lexsort((np.arange(len(triples)), near.distance_N, -scores))
    distance_N = near.distance_N[order]
    at = kept[order]
    return Mined(
        candidates=Candidates(
            triples.take(order), [candidates.texts[int(one)] for one in at], candidates.row_N[at]
        ),
        score_N=scores[order],
        probability_N=None if probability is None else probability(scores[order]),
        novelty_N=distance_N,
        nearest_N=near.row_N[order],
        buckets=pooled_thirds(distance_N) if cuts is None else fixed_cuts(distance_N, cuts),
        index=index,
        left_out=left_out,
    )


def _worth_ranking(
    candidates: Candidates, index: NoveltyIndex, keep_known: bool
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Rows of the candidates to rank, and how many were left out, by reason.

    Two candidates whose unknown words differ are different, though the scorer cannot tell them apart.
    """
    texts: dict[Text, int] = {}
    for at, text in enumerate(candidates.texts):
        texts.setdefault((" ".join(text[0].split()), text[1], " ".join(text[2].split())), at)
    kept = np.array(sorted(texts.values()), np.int64)
    left_out = {"named before": len(candidates.texts) - len(kept)}
    if not keep_known:
        train, chosen = index.train, candidates.triples.take(kept)
        known = np.isin(
            keys_of(chosen.heads, chosen.relations, chosen.tails),
            keys_of(train.heads, train.relations, train.tails),
        )
        left_out["stated in training"] = int(known.sum())
        kept = kept[~known]
    return kept, left_out
