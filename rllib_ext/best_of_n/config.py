"""Settings of best-of-K supervised finetuning: it has none of its own."""

from __future__ import annotations

from rllib_ext.errors import BadConfig
from rllib_ext.llm.config import LLMConfig


class BestOfNConfig(LLMConfig):
    """``samples_per_prompt`` is K; the loss has no ratio and no reference term."""

    def __init__(self, algo_class: type | None = None) -> None:
        from rllib_ext.best_of_n.algorithm import BestOfN

        super().__init__(algo_class=algo_class or BestOfN)

    def get_default_learner_class(self) -> type:
        from rllib_ext.best_of_n.learner import BestOfNLearner

        return BestOfNLearner

    def validate(self) -> None:
        super().validate()
        if self.staleness_correction != "none":
            raise BadConfig(
                f"staleness_correction is {self.staleness_correction!r}, but best-of-K finetuning has no "
                "importance ratio to correct; set it to 'none'"
            )
