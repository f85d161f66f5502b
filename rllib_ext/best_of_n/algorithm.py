"""Best-of-K's one decision: the highest scored completion of a prompt is its target."""

from __future__ import annotations

import torch

from rllib_ext.best_of_n.config import BestOfNConfig
from rllib_ext.functional.best_of_n import best
from rllib_ext.llm.algorithm import LLMAlgorithm
from rllib_ext.llm.batch import Group, score_table


class BestOfN(LLMAlgorithm):
    """A tie is no reason to drop a prompt, because nothing is pushed down; a prompt without any score is."""

    @classmethod
    def get_default_config(cls) -> BestOfNConfig:
        return BestOfNConfig(algo_class=cls)

    def rows_of(self, groups: list[Group]) -> list[Group | None]:
        best_B, valid_B = best(*map(torch.from_numpy, score_table(groups)))
        return [
            group.keep([int(index)]) if valid else None
            for group, index, valid in zip(groups, best_B, valid_B, strict=True)
        ]
