"""The loss of online DPO on rows of (chosen, rejected), one forward pass for both."""

from __future__ import annotations

import torch

from rllib_ext.functional.masking import sequence_logps
from rllib_ext.functional.preference import ipo, online_dpo
from rllib_ext.llm.learner import LLMLearner


class OnlineDPOLearner(LLMLearner):
    """-log sigmoid(beta z) or (z - 1 / (2 beta))^2, z the difference of the two log-ratios to the reference."""

    def per_row_loss(
        self, batch: dict[str, torch.Tensor], logps: torch.Tensor, reference_logps: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        policy_B2 = sequence_logps(logps.flatten(0, 1), batch["action_mask"].flatten(0, 1)).view(-1, 2)
        reference_B2 = sequence_logps(reference_logps.flatten(0, 1), batch["action_mask"].flatten(0, 1)).view(
            -1, 2
        )
        pairs = (policy_B2[:, 0], policy_B2[:, 1], reference_B2[:, 0], reference_B2[:, 1])
        if self.config.loss == "ipo":
            loss_B, seen = ipo(*pairs, self.config.beta)
        else:
            loss_B, seen = online_dpo(*pairs, self.config.beta, self.config.label_smoothing)
        return loss_B, {
            "margin": seen.margins_B,
            "preference_accuracy": seen.accuracies_B,
            "chosen_reward": seen.chosen_rewards_B,
            "rejected_reward": seen.rejected_rewards_B,
            "kl_ref": (policy_B2 - reference_B2).mean(-1),
        }
