"""The mock sentiment reward of the IMDB task: the probability that a two-class classifier gives to its positive class.

    softmax(logits)[positive] = sigmoid(logit of the positive class - logit of the other)

``RewardModel`` answers with one logit, so the classifier is held once for each of its two classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from envs.text.rewards import Reward
from envs.text.task import Sample
from rllib_ext.llm.rewards import RewardModel


class PositiveProbability(Reward):
    """Scores in (0, 1) of a classifier's folder or hub name; class 1 is the positive one, as in IMDB."""

    name = "positive"

    def __init__(self, folder: str, revision: str | None = None) -> None:
        self._classes = [RewardModel(folder, revision=revision, label=label) for label in (0, 1)]

    def score(self, samples: Sequence[Sample]) -> list[float | None]:
        negative, positive = (model.score(samples) for model in self._classes)
        return [
            None if no is None or yes is None else 1.0 / (1.0 + math.exp(min(700.0, no - yes)))
            for no, yes in zip(negative, positive, strict=True)
        ]

    def close(self) -> None:
        for model in self._classes:
            model.close()
