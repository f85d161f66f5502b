"""Estimates of the divergence from the reference model, per token and per completion.

All estimate KL(pi || pi_ref) = E_pi[log pi - log pi_ref] from tokens sampled by pi, where the exact sum over
the vocabulary is not kept. Source: Schulman, "Approximating KL divergence" (2020); the names k1, k2, k3 are
his.

| name | value, d = log pi - log pi_ref | as an estimate | where it is used |
| --- | --- | --- | --- |
| k1 | d | unbiased, signed, high variance | reward of PPO and RLOO (N+ details, "k1 KL in reward") |
| k2 | d^2 / 2 | biased, at least 0; its gradient is that of the KL | diagnostics ("approx-KL") |
| k3 | exp(-d) - 1 + d | unbiased, at least 0, low variance | GRPO-style loss terms |
"""

from __future__ import annotations

import torch
from torch import Tensor

from rllib_ext.functional.arguments import at_least_float32, require_range, require_same_shape
from rllib_ext.functional.masking import masked_sum

__all__ = ["K3_LIMIT", "k1", "k2", "k3", "kl_penalised_reward", "sequence_kl"]

# Log-ratios above this are treated as this by k3: exp(20) is 5e8, and its square is still finite in float32.
K3_LIMIT = 20.0


def k1(logps_BT: Tensor, reference_logps_BT: Tensor) -> Tensor:
    """d = log pi - log pi_ref, nats per token, signed.

    Unbiased, so its sum over a completion is an unbiased estimate of the sequence KL; a single value may well
    be negative. (B, T) nats in, (B, T) nats out, differentiable in both. Padding is not masked here.
    """
    require_same_shape("k1", logps_BT=logps_BT, reference_logps_BT=reference_logps_BT)
    return at_least_float32(logps_BT) - at_least_float32(reference_logps_BT)


def k2(logps_BT: Tensor, reference_logps_BT: Tensor) -> Tensor:
    """d^2 / 2, nats per token, at least 0.

    Biased, by the third-order term of the KL; small where the policies are close. Shapes as in ``k1``.
    """
    return 0.5 * k1(logps_BT, reference_logps_BT).square()


def k3(logps_BT: Tensor, reference_logps_BT: Tensor) -> Tensor:
    """exp(-d) - 1 + d, nats per token, at least 0.

    k1 plus exp(-d) - 1, whose expectation under pi is 0: unbiased still, and never negative. Computed with
    expm1, because for the small d of early training 1 - 1 leaves nothing. Shapes as in ``k1``.
    Edge: -d is capped at ``K3_LIMIT``: a token that the reference finds e^20 times as likely costs 5e8 nats
    at most, with no gradient beyond, instead of overflowing.
    """
    inverse_BT = (-k1(logps_BT, reference_logps_BT)).clamp(max=K3_LIMIT)
    return torch.expm1(inverse_BT) - inverse_BT


def sequence_kl(logps_BT: Tensor, reference_logps_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Sum of k1 over each completion: log pi(y|x) - log pi_ref(y|x), (B,) nats, signed.

    Up to and including EOS only; padding after it would add the KL of tokens nobody chose ("unconditional
    KL").
    Edge: an empty completion has 0.
    """
    return masked_sum(k1(logps_BT, reference_logps_BT), mask_BT, dim=-1)


def kl_penalised_reward(
    scores_B: Tensor, logps_BT: Tensor, reference_logps_BT: Tensor, mask_BT: Tensor, coefficient: float
) -> Tensor:
    """R = s - kappa * sum_t (log pi_old(y_t) - log pi_ref(y_t)), the sequence reward of RLOO.

    The penalty sits in the reward, not in the loss, so that its gradient is the policy gradient of the KL and
    includes the effect on later tokens (Async RLHF appendix, RLOO; kappa 0.05).

    scores_B: (B,), the reward's unit; logps_BT: (B, T) nats of the policy that generated; mask_BT: (B, T);
    coefficient: reward per nat, 0 or more. Returns (B,), detached: a reward is a constant of the update.
    Edges: coefficient 0 returns the scores; a score of NaN (unscored) stays NaN and is left out by
    ``leave_one_out``; an empty completion pays nothing.
    """
    require_range("kl_penalised_reward", "coefficient", coefficient, low=0.0)
    kl_B = sequence_kl(logps_BT, reference_logps_BT, mask_BT)
    require_same_shape("kl_penalised_reward", scores_B=scores_B, kl_B=kl_B)
    return (at_least_float32(scores_B) - coefficient * kl_B).detach()
