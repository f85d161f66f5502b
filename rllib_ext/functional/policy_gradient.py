"""REINFORCE with a leave-one-out baseline (RLOO), in the vanilla and the proximal form.

Sources: Ahmadian et al. 2024 (arXiv 2402.14740) for RLOO; Async RLHF (arXiv 2410.18252) for the proximal form
with a sequence ratio, which is the one its curves are made with. The whole completion is one action with one
reward.

Left out: division by the group's standard deviation, division by the length, token-level ratios (``ppo``) and
any KL term in the loss (``kl.kl_penalised_reward`` puts it into the reward).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rllib_ext.functional.arguments import at_least_float32, finite_scores, require_range, require_same_shape
from rllib_ext.functional.importance import importance_ratio

__all__ = ["RLOOMetrics", "leave_one_out", "rloo_proximal", "rloo_vanilla"]


@dataclass(frozen=True)
class RLOOMetrics:
    """What an RLOO loss saw, one value per completion, detached.

    ratios_B: pi / pi_behaviour of the whole completion; clipped_B: 1.0 where the clip took the gradient away,
    else 0.0; weights_B: importance weight that multiplied the loss. The vanilla form has no ratio: ones and
    zeros.
    """

    ratios_B: Tensor
    clipped_B: Tensor
    weights_B: Tensor


def leave_one_out(rewards_BK: Tensor, scored_BK: Tensor) -> tuple[Tensor, Tensor]:
    """A_i = R_i - mean of the other scored rewards of the prompt.

    The baseline of a completion is made of its siblings, so it is independent of the completion and leaves
    the gradient unbiased, which the group mean does not (it contains R_i itself). For n scored siblings A_i =
    n / (n - 1) (R_i - mean).

    rewards_BK: (B, K) float, any unit; scored_BK: (B, K) boolean, False where the reward gave no score. A
    reward that is not finite counts as unscored. Returns advantages_BK in the unit of the rewards, detached,
    summing to 0 over each prompt, and valid_BK, boolean: scored, with at least one scored sibling.
    Edges: unscored completions enter no baseline and have advantage 0 and valid False; so does a lone scored
    one, as in a group of one. Equal rewards give exactly 0 and stay valid: the minimum is subtracted first,
    so that a large common offset does not leave its rounding behind.
    """
    rewards_BK, scored_BK = finite_scores("leave_one_out", rewards_BK.detach(), scored_BK)
    count_B1 = scored_BK.sum(dim=-1, keepdim=True)
    valid_BK = scored_BK & (count_B1 >= 2)
    lowest_B1 = rewards_BK.masked_fill(~scored_BK, torch.inf).amin(dim=-1, keepdim=True)
    above_BK = torch.where(valid_BK, rewards_BK - lowest_B1, 0.0)
    siblings_BK = (above_BK.sum(dim=-1, keepdim=True) - above_BK) / (count_B1 - 1).clamp(min=1)
    return torch.where(valid_BK, above_BK - siblings_BK, 0.0), valid_BK


def rloo_vanilla(
    logps_B: Tensor, advantages_B: Tensor, weights_B: Tensor | None = None
) -> tuple[Tensor, RLOOMetrics]:
    """loss = -w A log pi(y|x): the plain score-function gradient.

    Unbiased on fresh samples and without any guard on stale ones; ``weights_B`` from ``truncated_importance``
    restores the expectation up to its cap.

    logps_B: (B,) nats, sums over the completion; advantages_B: (B,), from ``leave_one_out``; weights_B: (B,),
    at least 0, None for 1. Gradient flows to logps_B only. Returns loss_B, unbounded and of no meaning as a
    value: only its gradient has one.
    Edge: advantage 0 (equal rewards, invalid completions) gives loss 0 and gradient 0.
    """
    require_same_shape("rloo_vanilla", logps_B=logps_B, advantages_B=advantages_B)
    logps_B = at_least_float32(logps_B)
    weights_B = _weights("rloo_vanilla", weights_B, logps_B)
    loss_B = -weights_B * at_least_float32(advantages_B).detach() * logps_B
    return loss_B, RLOOMetrics(torch.ones_like(weights_B), torch.zeros_like(weights_B), weights_B)


def rloo_proximal(
    logps_B: Tensor,
    behaviour_logps_B: Tensor,
    advantages_B: Tensor,
    clip: float = 0.2,
    weights_B: Tensor | None = None,
) -> tuple[Tensor, RLOOMetrics]:
    """loss = w max(-A rho, -A clip(rho, 1 - c, 1 + c)),   rho = pi(y|x) / pi_behaviour(y|x).

    PPO's pessimistic bound with the completion as the one action: a sample stops pushing once it has moved
    the policy by c in its own direction, so several updates on one batch, or on a stale one, stay near the
    policy that generated it.

    logps_B, behaviour_logps_B: (B,) nats, sums over the completion under the same temperature; advantages_B:
    (B,); clip: c, in [0, 1]; weights_B: (B,), at least 0, None for 1: pi_prox / pi_behaviour of decoupled PPO
    when ``behaviour_logps_B`` is taken from pi_prox. Gradient flows to logps_B only.
    Edges: at rho = 1 the gradient is that of ``rloo_vanilla``. The bound holds for improvements only: a
    negative advantage with a large ratio is not clipped; there the log-ratio's limit of 20 nats keeps loss
    and gradient finite. Advantage 0 gives 0.
    """
    require_range("rloo_proximal", "clip", clip, low=0.0, high=1.0)
    require_same_shape(
        "rloo_proximal", logps_B=logps_B, behaviour_logps_B=behaviour_logps_B, advantages_B=advantages_B
    )
    ratios_B = importance_ratio(logps_B, behaviour_logps_B)
    weights_B = _weights("rloo_proximal", weights_B, ratios_B)
    advantages_B = at_least_float32(advantages_B).detach()
    free_B = -advantages_B * ratios_B
    bound_B = -advantages_B * ratios_B.clamp(1.0 - clip, 1.0 + clip)
    clipped_B = (bound_B > free_B).to(ratios_B.dtype).detach()
    return weights_B * torch.maximum(free_B, bound_B), RLOOMetrics(ratios_B.detach(), clipped_B, weights_B)


def _weights(where: str, weights_B: Tensor | None, like_B: Tensor) -> Tensor:
    if weights_B is None:
        return torch.ones_like(like_B).detach()
    require_same_shape(where, weights_B=weights_B, logps_B=like_B)
    return at_least_float32(weights_B).detach()
