"""What a scorer is worth: one threshold from dev1, and figures of dev1, dev2, test and novel with it.

test has figures for each third of novelty as well, pooled (as published) and of the true triples alone with their own
negatives, and for each relation. Distances are to the training triples in the vectors that words begin with, measured
once. Names of figures: ``dev1/accuracy``, ``test/auc``, ``test/pooled_thirds/far/f1``,
``test/positive_thirds/near/positive_rate``, ``test/relation/IsA/accuracy``, ``novel/auc``. A figure that is not defined
(AUC of one class) is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rllib_ext.commonsense.buckets import bucketize
from rllib_ext.commonsense.classification import (
    FIGURES,
    Figures,
    Threshold,
    best_threshold,
    by_relation,
    figures,
    report,
)
from rllib_ext.commonsense.novelty import NoveltyIndex
from rllib_ext.commonsense.triples import KnowledgeBase, Triples

SCORED_AT_ONCE = 4096
SCHEMES = ("pooled_thirds", "positive_thirds")


@dataclass(frozen=True)
class Judgement:
    """threshold: from dev1. groups: figures by name, see the module. dev1_scores, dev1_labels: what it was fitted on."""

    threshold: Threshold
    groups: dict[str, Figures]
    dev1_scores: NDArray[np.float64]
    dev1_labels: NDArray[np.int64]

    def flat(self) -> dict[str, float]:
        """Every figure that is defined, by its whole name, and the threshold."""
        found = {
            f"{group}/{name}": value
            for group, one in self.groups.items()
            for name in (("accuracy",) if "/relation/" in group else FIGURES)
            if (value := getattr(one, name)) is not None
        }
        return {"threshold": self.threshold.value, **found}


class Judge:
    """Judges scorers on the parts of a base. vectors: those that words begin with."""

    def __init__(self, base: KnowledgeBase, vectors_VD: NDArray[np.float32]) -> None:
        self.base, self._vectors = base, vectors_VD

    @cached_property
    def test_groups(self) -> dict[str, NDArray[np.bool_]]:
        """Masks of the test triples by novelty and by relation."""
        test = self.base.test
        distance_N = NoveltyIndex.fit(self.base.train, self._vectors).distance(test)
        masks = {
            f"{scheme}/{name}": mask
            for scheme in SCHEMES
            for name, mask in bucketize(scheme, distance_N, test).masks().items()
        }
        relations = by_relation(test.relations, self.base.vocabulary.relations)
        return masks | {f"relation/{name}": mask for name, mask in relations.items()}

    def __call__(self, scorer: nn.Module) -> Judgement:
        scores = {name: scores_of(scorer, part) for name, part in self.base.evaluated.items()}
        labels = {name: _labels(part) for name, part in self.base.evaluated.items()}
        threshold = best_threshold(scores["dev1"], labels["dev1"])
        groups = {
            name: figures(scores[name], labels[name], threshold.value) for name in scores if name != "test"
        }
        found = report(scores["test"], labels["test"], threshold.value, self.test_groups)
        groups |= {"test" if name == "all" else f"test/{name}": one for name, one in found.items()}
        return Judgement(threshold, groups, scores["dev1"], labels["dev1"])


def _labels(part: Triples) -> NDArray[np.int64]:
    return part.labels if part.labels is not None else np.zeros(0, np.int64)


@torch.no_grad()
def scores_of(scorer: nn.Module, triples: Triples, at_once: int = SCORED_AT_ONCE) -> NDArray[np.float64]:
    """Logits of triples [N], normalisations in evaluation mode, in blocks."""
    training, device = scorer.training, next(scorer.parameters()).device
    scorer.eval()
    found = []
    for start in range(0, len(triples), at_once):
        rows = slice(start, start + at_once)
        columns = (triples.heads[rows], triples.relations[rows], triples.tails[rows])
        found.append(
            scorer(*(torch.from_numpy(column).to(device) for column in columns)).double().cpu().numpy()
        )
    scorer.train(training)
    return np.concatenate(found) if found else np.zeros(0)
