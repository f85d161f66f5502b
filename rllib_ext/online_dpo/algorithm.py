"""Online DPO's one decision: which two completions of a prompt make its pair."""

from __future__ import annotations

import torch

from rllib_ext.functional.preference import best_and_worst
from rllib_ext.llm.algorithm import LLMAlgorithm
from rllib_ext.llm.batch import Group, score_table
from rllib_ext.online_dpo.config import AsyncOnlineDPOConfig


class AsyncOnlineDPO(LLMAlgorithm):
    """Best against worst of K completions, scored by the environment; ties are dropped and counted."""

    @classmethod
    def get_default_config(cls) -> AsyncOnlineDPOConfig:
        return AsyncOnlineDPOConfig(algo_class=cls)

    def rows_of(self, groups: list[Group]) -> list[Group | None]:
        """Each group reduced to (chosen, rejected), in this order; None for a tie or fewer than two scores."""
        scores_BK, scored_BK = map(torch.from_numpy, score_table(groups))
        chosen_B, rejected_B, valid_B = best_and_worst(scores_BK, scored_BK)
        return [
            group.keep([int(chosen), int(rejected)]) if valid else None
            for group, chosen, rejected, valid in zip(groups, chosen_B, rejected_B, valid_B, strict=True)
        ]
