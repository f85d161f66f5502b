"""Settings of asynchronous online DPO."""

from __future__ import annotations

from rllib_ext.errors import BadConfig
from rllib_ext.llm.config import LLMConfig
from rllib_ext.runtime.knobs import Knob

ONLINE_DPO_KNOBS = {
    "loss": Knob("dpo", str, "'dpo': logistic loss; 'ipo': squared loss with a finite margin.", choices=("dpo", "ipo")),
    "beta": Knob(
        0.1, float, "Strength of the pull to the reference, per nat; lower moves further from it (0.03 to 0.5; paper: "
        "0.1 TL;DR, 0.03 chat).", 1e-6, 1e3,
    ),
    "label_smoothing": Knob(0.0, float, "Chance that a preference is wrong ('dpo' only).", 0.0, 0.5),
}  # fmt: skip


class AsyncOnlineDPOConfig(LLMConfig):
    """``AsyncOnlineDPOConfig().environment("TLDR").training(model="my-sft-folder", beta=0.1)``."""

    knobs = LLMConfig.knobs | ONLINE_DPO_KNOBS

    def __init__(self, algo_class: type | None = None) -> None:
        from rllib_ext.online_dpo.algorithm import AsyncOnlineDPO

        super().__init__(algo_class=algo_class or AsyncOnlineDPO)

    def get_default_learner_class(self) -> type:
        from rllib_ext.online_dpo.learner import OnlineDPOLearner

        return OnlineDPOLearner

    def validate(self) -> None:
        super().validate()
        if self.samples_per_prompt < 2:
            raise BadConfig(f"samples_per_prompt is {self.samples_per_prompt}; a preference needs at least 2")
        if self.staleness_correction != "none":
            raise BadConfig(
                f"staleness_correction is {self.staleness_correction!r}, but the loss of online DPO has no importance "
                "ratio to correct; set it to 'none'"
            )
        if self.label_smoothing and self.loss != "dpo":
            raise BadConfig(
                f"label_smoothing is {self.label_smoothing}; it has a meaning for loss='dpo' only"
            )
