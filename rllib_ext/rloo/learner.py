"""The loss of RLOO on rows of K completions.

R = s - kappa KL_seq,  A_i = R_i - mean_{j != i} R_j; the KL is that of the policy that sampled, so R is a constant of
the sample. The ratio's denominator is the sampling engine's log-probability: for a stale sample that is an old policy's.
"""

from __future__ import annotations

import torch

from rllib_ext.functional.importance import importance_ratio, truncated_importance
from rllib_ext.functional.kl import sequence_kl
from rllib_ext.functional.masking import sequence_logps
from rllib_ext.functional.policy_gradient import leave_one_out, rloo_proximal, rloo_vanilla
from rllib_ext.llm.learner import LLMLearner


class RLOOLearner(LLMLearner):
    """Vanilla or proximal; with ``staleness_correction`` each completion's loss has a truncated importance
    weight.
    """

    def per_row_loss(
        self, batch: dict[str, torch.Tensor], logps: torch.Tensor, reference_logps: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        rows, kept = batch["scores"].shape
        mask_BT = batch["action_mask"].flatten(0, 1)
        behaviour_BT = batch["behaviour_logps"].flatten(0, 1)
        policy_B = sequence_logps(logps.flatten(0, 1), mask_BT)
        behaviour_B = sequence_logps(behaviour_BT, mask_BT)
        kl_RK = sequence_kl(behaviour_BT, reference_logps.flatten(0, 1), mask_BT).view(rows, kept)
        rewards_RK = batch["scores"] - self.config.kl_coefficient * kl_RK
        advantages_RK, valid_RK = leave_one_out(rewards_RK, batch["scored"])
        weights_B = self._weights(policy_B, behaviour_B)
        if self.config.loss == "vanilla":
            loss_B, seen = rloo_vanilla(policy_B, advantages_RK.flatten(), weights_B)
        else:
            loss_B, seen = rloo_proximal(
                policy_B, behaviour_B, advantages_RK.flatten(), self.config.clip, weights_B
            )
        ratio_B = importance_ratio(policy_B.detach(), behaviour_B)
        loss_R = loss_B.view(rows, kept).sum(-1) / valid_RK.sum(-1).clamp(min=1)
        return loss_R, {
            "advantage_abs": advantages_RK.abs().mean(-1),
            "ratio": ratio_B.view(rows, kept).mean(-1),
            "clip_share": seen.clipped_B.view(rows, kept).mean(-1),
            "kl_ref": kl_RK.mean(-1),
        }

    def _weights(self, policy_B: torch.Tensor, behaviour_B: torch.Tensor) -> torch.Tensor | None:
        """min(rho, cap) for the vanilla loss; min(1, cap / rho) for the proximal one, whose ratio then ends
        at the cap.
        """
        if self.config.staleness_correction == "none":
            return None
        weights_B = truncated_importance(policy_B, behaviour_B, self.config.truncation_cap)
        if self.config.loss == "vanilla":
            return weights_B
        return weights_B / importance_ratio(policy_B.detach(), behaviour_B)
