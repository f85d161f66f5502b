"""PPO trains on every scored completion by itself; groups only share their prompt's forward pass."""

from __future__ import annotations

from dataclasses import replace

from rllib_ext.llm.algorithm import LLMAlgorithm
from rllib_ext.llm.batch import Group
from rllib_ext.ppo_llm.config import AsyncPPOConfig


class AsyncPPO(LLMAlgorithm):
    """A group without any score is left out; unscored completions beside scored ones are masked in the learner."""

    @classmethod
    def get_default_config(cls) -> AsyncPPOConfig:
        return AsyncPPOConfig(algo_class=cls)

    def rows_of(self, groups: list[Group]) -> list[Group | None]:
        return [
            _filled(group, self.config.samples_per_prompt)
            if any(c.score is not None for c in group.completions)
            else None
            for group in groups
        ]


def _filled(group: Group, wanted: int) -> Group:
    """The group with ``wanted`` completions: where some were refused, unscored copies keep the batch rectangular."""
    missing = wanted - len(group.completions)
    blank = replace(group.completions[0], score=None)
    return replace(group, completions=group.completions + (blank,) * missing)
