"""PPO's clipped policy and value losses, per token.

Sources: Schulman et al. 2017, eq. 7; the clipped value loss of OpenAI's baselines, as the N+ details (arXiv
2403.17031) use it. The usual total is masked_mean(policy) + 0.1 masked_mean(value), the first under the
completion mask and the second under ``advantages.value_mask``; the learner reduces.

Left out: entropy bonus, KL term, dual clip, the reduction.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rllib_ext.functional.arguments import as_mask, at_least_float32, require_range, require_same_shape
from rllib_ext.functional.importance import importance_ratio
from rllib_ext.functional.kl import k2

__all__ = ["PolicyMetrics", "ValueMetrics", "clipped_policy", "clipped_value"]


@dataclass(frozen=True)
class PolicyMetrics:
    """What the policy loss saw, one value per token, detached, 0 at padding.

    ratios_BT: pi / pi_behaviour; clipped_BT: 1.0 where the clip took the gradient away; approx_kl_BT: half
    the squared log-ratio, nats.
    """

    ratios_BT: Tensor
    clipped_BT: Tensor
    approx_kl_BT: Tensor


@dataclass(frozen=True)
class ValueMetrics:
    """What the value loss saw, one value per token, detached, 0 at padding.

    errors_BT: value minus return; clipped_BT: 1.0 where the clipped branch was the larger.
    """

    errors_BT: Tensor
    clipped_BT: Tensor


def clipped_policy(
    logps_BT: Tensor,
    behaviour_logps_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    clip: float = 0.2,
    weights_BT: Tensor | None = None,
) -> tuple[Tensor, PolicyMetrics]:
    """loss_t = w max(-A rho_t, -A clip(rho_t, 1 - c, 1 + c)),   rho_t = pi(y_t) / pi_behaviour(y_t).

    The maximum makes the surrogate a pessimistic bound: no reward for moving a token's probability further
    than c in the direction its advantage asks for.

    logps_BT, behaviour_logps_BT: (B, T) nats, at one temperature; advantages_BT: (B, T), whitened or not;
    mask_BT: (B, T); clip: c, in [0, 1]; weights_BT: (B, T), at least 0, None for 1 (truncated importance
    weights of stale samples, or pi_prox / pi_behaviour of decoupled PPO). Gradient flows to logps_BT only.
    Returns loss_BT, 0 at padding, and the metrics.
    Edges: before the first update rho is exactly 1 and the loss is -w A; a negative advantage with a large
    ratio is not clipped, the limit of 20 nats on the log-ratio keeps it finite; padding may hold anything
    finite or not.
    """
    require_range("clipped_policy", "clip", clip, low=0.0, high=1.0)
    require_same_shape("clipped_policy", logps_BT=logps_BT, advantages_BT=advantages_BT, mask_BT=mask_BT)
    mask_BT = as_mask(mask_BT)
    ratios_BT = importance_ratio(_only(mask_BT, logps_BT), _only(mask_BT, behaviour_logps_BT))
    advantages_BT = _only(mask_BT, advantages_BT).detach()
    free_BT = -advantages_BT * ratios_BT
    bound_BT = -advantages_BT * ratios_BT.clamp(1.0 - clip, 1.0 + clip)
    loss_BT = torch.maximum(free_BT, bound_BT)
    if weights_BT is not None:
        require_same_shape("clipped_policy", logps_BT=logps_BT, weights_BT=weights_BT)
        loss_BT = _only(mask_BT, weights_BT).detach() * loss_BT
    return loss_BT, PolicyMetrics(
        ratios_BT=_only(mask_BT, ratios_BT.detach()),
        clipped_BT=(bound_BT > free_BT).to(loss_BT.dtype).detach(),
        approx_kl_BT=k2(_only(mask_BT, logps_BT), _only(mask_BT, behaviour_logps_BT)).detach(),
    )


def clipped_value(
    values_BT: Tensor,
    behaviour_values_BT: Tensor,
    returns_BT: Tensor,
    mask_BT: Tensor,
    clip: float | None = 0.2,
) -> tuple[Tensor, ValueMetrics]:
    """loss_t = max((V - R)^2, (V_old + clip(V - V_old, -c, c) - R)^2) / 2.

    The maximum again takes the worse of the two: a value that has moved by c towards its return gets no
    further gradient in this batch.

    values_BT, behaviour_values_BT (the critic's values when the batch was collected), returns_BT: (B, T), one
    unit; mask_BT: (B, T), for language models ``value_mask``; clip: c, in that unit, above 0, None for the
    plain squared error. Gradient flows to values_BT only. Returns loss_BT, at least 0, 0 at padding, and the
    metrics.
    Edge: at V = V_old both branches agree and the gradient is V - R.
    """
    require_same_shape(
        "clipped_value",
        values_BT=values_BT,
        behaviour_values_BT=behaviour_values_BT,
        returns_BT=returns_BT,
        mask_BT=mask_BT,
    )
    mask_BT = as_mask(mask_BT)
    values_BT, old_BT = _only(mask_BT, values_BT), _only(mask_BT, behaviour_values_BT).detach()
    returns_BT = _only(mask_BT, returns_BT).detach()
    free_BT = (values_BT - returns_BT).square()
    errors_BT = (values_BT - returns_BT).detach()
    if clip is None:
        return 0.5 * free_BT, ValueMetrics(errors_BT, torch.zeros_like(errors_BT))
    require_range("clipped_value", "clip", clip, low=0.0, above=True)
    bound_BT = (old_BT + (values_BT - old_BT).clamp(-clip, clip) - returns_BT).square()
    clipped_BT = (bound_BT > free_BT).to(free_BT.dtype).detach()
    return 0.5 * torch.maximum(free_BT, bound_BT), ValueMetrics(errors_BT, clipped_BT)


def _only(mask_BT: Tensor, values_BT: Tensor) -> Tensor:
    """``values_BT`` in float32 or wider, 0 where the mask is False."""
    return torch.where(mask_BT, at_least_float32(values_BT), 0.0)
