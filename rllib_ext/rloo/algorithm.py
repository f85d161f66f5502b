"""RLOO trains on all completions of a prompt that has at least two scores."""

from __future__ import annotations

from rllib_ext.llm.algorithm import LLMAlgorithm
from rllib_ext.llm.batch import Group
from rllib_ext.rloo.config import AsyncRLOOConfig


class AsyncRLOO(LLMAlgorithm):
    """A group with equal scores still trains: its KL penalties differ, so its advantages do."""

    @classmethod
    def get_default_config(cls) -> AsyncRLOOConfig:
        return AsyncRLOOConfig(algo_class=cls)

    def rows_of(self, groups: list[Group]) -> list[Group | None]:
        wanted = self.config.samples_per_prompt
        return [
            group
            if len(group.completions) == wanted and sum(c.score is not None for c in group.completions) >= 2
            else None
            for group in groups
        ]
