"""Best-of-N fine-tuning: maximum likelihood on the best of the N completions the policy generated.

Source: the "Best-of-2" baseline of Async RLHF (arXiv 2410.18252, figure 4), which separates the benefit of
two samples from the benefit of a contrast between them. Left out: the rejected completions, any reference
model, length normalisation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rllib_ext.functional.arguments import as_mask, finite_scores, require_same_shape
from rllib_ext.functional.masking import masked_sum

__all__ = ["BestOfNMetrics", "best", "best_of_n"]


@dataclass(frozen=True)
class BestOfNMetrics:
    """What the loss saw per completion, detached: lengths_B in tokens, token_nll_B in nats per token."""

    lengths_B: Tensor
    token_nll_B: Tensor


def best_of_n(logps_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, BestOfNMetrics]:
    """loss = -log pi(y+|x) = -sum_t log pi(y+_t): negative log-likelihood of each best completion.

    A sum and not a mean over tokens: a completion is one example, however long, as in the published code.

    logps_BT: (B, T) nats, of the best completion of each prompt; mask_BT: (B, T). Returns loss_B in nats, at
    least 0.
    Edge: an empty completion has loss 0, gradient 0 and 0 nats per token.
    """
    require_same_shape("best_of_n", logps_BT=logps_BT, mask_BT=mask_BT)
    loss_B = -masked_sum(logps_BT, mask_BT, dim=-1)
    lengths_B = as_mask(mask_BT).sum(dim=-1)
    return loss_B, BestOfNMetrics(lengths_B, loss_B.detach() / lengths_B.clamp(min=1))


def best(scores_BK: Tensor, scored_BK: Tensor) -> tuple[Tensor, Tensor]:
    """The highest scored completion of each prompt: argmax_k score over scored k.

    scores_BK: (B, K) float, any unit; scored_BK: (B, K) boolean. A score that is not finite counts as
    unscored. Returns best_B, int64 in [0, K), and valid_B, boolean: at least one completion was scored.
    Edges: of equal scores the lowest k is taken; a lone scored completion is its prompt's best. A tie is no
    reason to drop a prompt here, because nothing is pushed down; invalid rows hold index 0.
    """
    scores_BK, scored_BK = finite_scores("best", scores_BK, scored_BK)
    return scores_BK.masked_fill(~scored_BK, -torch.inf).argmax(dim=-1), scored_BK.any(dim=-1)
