"""Importance ratios between the policy being trained and the one that generated, and how far to trust them.

Stale samples, and an engine whose arithmetic differs from the learner's, are drawn from pi_behaviour instead
of pi. Their ratio pi / pi_behaviour corrects expectations exactly but has unbounded variance; cutting it off
at a cap C bounds the variance for a bias that only touches samples the policy now finds C times as likely
("truncated importance sampling", Ionides 2008; caps of 2 to 8 are usual per token).

Left out: dropping samples outside a band, and the recomputation of proximal log-probabilities that decoupled
PPO needs. Its two ratios are ``importance_ratio`` against pi_prox in the loss and ``truncated_importance`` of
pi_prox against pi_behaviour as the ``weights`` that the losses take.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rllib_ext.functional.arguments import as_mask, at_least_float32, require_range, require_same_shape
from rllib_ext.functional.masking import masked_mean, masked_sum

__all__ = [
    "LOG_RATIO_LIMIT",
    "LogpDifference",
    "effective_sample_size",
    "importance_ratio",
    "logp_difference",
    "sequence_importance",
    "truncated_importance",
]

# Log-ratios are clamped to this many nats either way: exp(20) is 5e8; beyond it there is only overflow.
LOG_RATIO_LIMIT = 20.0


def importance_ratio(logps: Tensor, behaviour_logps: Tensor) -> Tensor:
    """rho = pi / pi_behaviour = exp(log pi - log pi_behaviour), differentiable in ``logps`` alone.

    Any shape, nats: per token from token log-probabilities, per completion from their sums. Returns the same
    shape, in [exp(-20), exp(20)].
    Edge: the log-ratio is clamped to +-``LOG_RATIO_LIMIT`` and has no gradient outside. Without it an
    infinite ratio turns the zero gradient of a clipped branch into 0 * inf = NaN.
    """
    require_same_shape("importance_ratio", logps=logps, behaviour_logps=behaviour_logps)
    log_ratio = at_least_float32(logps) - at_least_float32(behaviour_logps).detach()
    return log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()


def truncated_importance(logps: Tensor, behaviour_logps: Tensor, cap: float) -> Tensor:
    """w = min(pi / pi_behaviour, cap), a constant: no gradient.

    Any shape, nats: per token from token log-probabilities, per completion from their sums (or
    ``sequence_importance``). cap: 1 or more. Returns the same shape, in [0, cap].
    Edges: a ratio that overflows is the cap; equal log-probabilities give 1; a cap below 1 would shrink
    on-policy samples and raises ValueError. At padding the value means nothing: mask it.
    """
    require_range("truncated_importance", "cap", cap, low=1.0)
    require_same_shape("truncated_importance", logps=logps, behaviour_logps=behaviour_logps)
    log_ratio = at_least_float32(logps).detach() - at_least_float32(behaviour_logps).detach()
    return log_ratio.exp().clamp(max=cap)


def sequence_importance(logps_BT: Tensor, behaviour_logps_BT: Tensor, mask_BT: Tensor, cap: float) -> Tensor:
    """w = min(prod_t pi(y_t) / pi_behaviour(y_t), cap) over each completion; (B,), in [0, cap], no gradient.

    The right weight for a loss on whole completions, and a far wilder one: its log-variance grows with the
    length, so its cap is set higher than a token's (5 against 2 is usual).
    Edge: an empty completion has weight 1.
    """
    logps_B = masked_sum(logps_BT.detach(), mask_BT, dim=-1)
    return truncated_importance(logps_B, masked_sum(behaviour_logps_BT, mask_BT, dim=-1), cap)


def effective_sample_size(weights: Tensor, mask: Tensor | None = None) -> Tensor:
    """ESS = (sum w)^2 / sum w^2: how many equally weighted samples these weights are worth (Kong 1992).

    weights: any shape, at least 0, any scale (only proportions matter); mask: the same shape, None counts
    all. Returns a scalar in [1, n] of n samples; n when all weights are equal, 1 when one carries everything.
    Edges: no samples, or all weights 0: 0. Weights are divided by their maximum first, so squares do not
    overflow.
    """
    mask = torch.ones_like(weights, dtype=torch.bool) if mask is None else as_mask(mask)
    require_same_shape("effective_sample_size", weights=weights, mask=mask)
    weights = torch.where(mask, at_least_float32(weights).detach(), 0.0)
    if weights.numel() == 0:
        return weights.sum()
    largest = weights.max()
    scaled = weights / torch.where(largest > 0, largest, torch.ones_like(largest))
    return scaled.sum().square() / scaled.square().sum().clamp(min=torch.finfo(scaled.dtype).tiny)


@dataclass(frozen=True)
class LogpDifference:
    """How far two computations of the same log-probabilities lie apart, nats per token: scalars."""

    mean: Tensor
    maximum: Tensor


def logp_difference(logps_BT: Tensor, behaviour_logps_BT: Tensor, mask_BT: Tensor) -> LogpDifference:
    """Mean and maximum of |log pi - log pi_behaviour| over real tokens, detached.

    With the same weights on both sides it measures the engine against the learner (below 1e-4 in float32);
    with older weights behind pi_behaviour it measures staleness in the policy's own terms.
    Edge: without tokens both are 0.
    """
    require_same_shape(
        "logp_difference", logps_BT=logps_BT, behaviour_logps_BT=behaviour_logps_BT, mask_BT=mask_BT
    )
    gap_BT = (at_least_float32(logps_BT) - at_least_float32(behaviour_logps_BT)).detach().abs()
    kept_BT = torch.where(as_mask(mask_BT), gap_BT, 0.0)
    return LogpDifference(masked_mean(gap_BT, mask_BT), kept_BT.max() if kept_BT.numel() else kept_BT.sum())
