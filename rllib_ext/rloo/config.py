"""Settings of asynchronous RLOO."""

from __future__ import annotations

from rllib_ext.errors import BadConfig
from rllib_ext.llm.config import LLMConfig
from rllib_ext.runtime.knobs import Knob

RLOO_KNOBS = {
    "loss": Knob(
        "proximal", str, "'proximal': sequence ratio with a PPO clip; 'vanilla': plain score-function gradient.",
        choices=("proximal", "vanilla"),
    ),
    "kl_coefficient": Knob(
        0.05, float, "Weight of the sequence KL (k1) to the reference in the reward; higher stays closer.", 0.0, 1e3
    ),
    "clip": Knob(0.2, float, "PPO clip of the sequence ratio ('proximal' only).", 0.0, 1.0),
}  # fmt: skip


class AsyncRLOOConfig(LLMConfig):
    """``AsyncRLOOConfig().environment("GSM8K").training(model=..., samples_per_prompt=4, loss="vanilla")``."""

    knobs = LLMConfig.knobs | RLOO_KNOBS

    def __init__(self, algo_class: type | None = None) -> None:
        from rllib_ext.rloo.algorithm import AsyncRLOO

        super().__init__(algo_class=algo_class or AsyncRLOO)

    def get_default_learner_class(self) -> type:
        from rllib_ext.rloo.learner import RLOOLearner

        return RLOOLearner

    def validate(self) -> None:
        super().validate()
        if self.samples_per_prompt < 2:
            raise BadConfig(
                f"samples_per_prompt is {self.samples_per_prompt}; a leave-one-out baseline needs at least 2"
            )
