"""RLlib's PPO learner for ``mode="ppo"``, with the count of gradient steps that runs of this package report."""

from __future__ import annotations

from typing import Any

from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner


class EmergentPPOLearner(PPOTorchLearner):
    """PPOTorchLearner that counts."""

    def build(self) -> None:
        super().build()
        self.gradient_steps = 0

    def apply_gradients(self, gradients_dict: dict[Any, Any]) -> None:
        super().apply_gradients(gradients_dict)
        self.gradient_steps += 1
