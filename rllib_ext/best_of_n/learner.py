"""The loss of best-of-K: negative log-likelihood of the best completion, summed over its tokens."""

from __future__ import annotations

import torch

from rllib_ext.functional.best_of_n import best_of_n
from rllib_ext.functional.masking import sequence_logps
from rllib_ext.llm.learner import LLMLearner


class BestOfNLearner(LLMLearner):
    """-log pi(best | prompt)."""

    def per_row_loss(
        self, batch: dict[str, torch.Tensor], logps: torch.Tensor, reference_logps: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        logps_BT, mask_BT = logps[:, 0], batch["action_mask"][:, 0]
        loss_B, seen = best_of_n(logps_BT, mask_BT)
        kl_B = -loss_B.detach() - sequence_logps(reference_logps[:, 0], mask_BT)
        return loss_B, {"token_nll": seen.token_nll_B, "kl_ref": kl_B}
