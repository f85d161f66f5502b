"""Learning from which of two completions scored higher: online DPO, IPO and the choice of the pair.

Sources: DPO (Rafailov et al. 2023, eq. 7), its conservative form with label smoothing (Mitchell 2023), IPO
(Azar et al. 2023, eq. 17), online DPO as in Async RLHF (arXiv 2410.18252): the pair is the best and the worst
of the K completions the policy itself generated. No importance ratio, no behaviour log-probabilities, no KL
term in the scores.

Left out: length normalisation. Log-probabilities are sums over the completion; TRL's DPOTrainer divides by
the length in its IPO, its OnlineDPOTrainer and the published code do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rllib_ext.functional.arguments import at_least_float32, finite_scores, require_range, require_same_shape

__all__ = ["IPO_SMALLEST_BETA", "PreferenceMetrics", "best_and_worst", "ipo", "online_dpo", "tied"]

# Below this the target 1 / (2 beta) exceeds 5e7, beside which float32 no longer tells z from zero.
IPO_SMALLEST_BETA = 1e-8


@dataclass(frozen=True)
class PreferenceMetrics:
    """What a preference loss saw, one value per pair, detached.

    margins_B: beta z, the difference of the two implicit rewards. accuracies_B: 1.0 where the margin is above
    0, else 0.0 (a margin of exactly 0, as before the first update, counts as wrong). chosen_rewards_B and
    rejected_rewards_B: the implicit rewards beta (log pi - log pi_ref).
    """

    margins_B: Tensor
    accuracies_B: Tensor
    chosen_rewards_B: Tensor
    rejected_rewards_B: Tensor


def online_dpo(
    policy_chosen_B: Tensor,
    policy_rejected_B: Tensor,
    reference_chosen_B: Tensor,
    reference_rejected_B: Tensor,
    beta: float,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, PreferenceMetrics]:
    """DPO's logistic loss on pairs the policy generated.

    z = (log pi(y+) - log pi_ref(y+)) - (log pi(y-) - log pi_ref(y-))
    loss = -(1 - e) log sigmoid(beta z) - e log sigmoid(-beta z),   e = label_smoothing

    The gradient's weight sigmoid(-beta z) fades once a pair is told apart, so a stale pair does little harm:
    of the losses compared in Async RLHF (figure 4) this one tolerates old data best. With e above 0 the
    minimum lies at beta z = log((1 - e) / e) instead of at infinity.

    All tensors: (B,) nats, sums over the completion, tempered like the sampling. Gradient flows to the policy
    only. beta: per nat, 0 or more, typically 0.03 to 0.5. label_smoothing: the chance that a preference is
    wrong, [0, 0.5]. Returns loss_B, at least 0, and the metrics.
    Edges: beta 0 gives log 2 and no gradient; e = 0.5 knows no preference and pulls z to 0. The loss grows
    linearly in -z and is finite for every finite z. A pair of equal completions gives log 2 and gradients
    that cancel; a pair of equal scores teaches an arbitrary order, so ``best_and_worst`` makes none.
    """
    require_range("online_dpo", "beta", beta, low=0.0)
    require_range("online_dpo", "label_smoothing", label_smoothing, low=0.0, high=0.5)
    chosen_B, rejected_B = _log_ratios(
        "online_dpo", policy_chosen_B, policy_rejected_B, reference_chosen_B, reference_rejected_B
    )
    logits_B = beta * (chosen_B - rejected_B)
    loss_B = -(1.0 - label_smoothing) * F.logsigmoid(logits_B)
    if label_smoothing > 0.0:
        loss_B = loss_B - label_smoothing * F.logsigmoid(-logits_B)
    return loss_B, _metrics(chosen_B, rejected_B, beta)


def ipo(
    policy_chosen_B: Tensor,
    policy_rejected_B: Tensor,
    reference_chosen_B: Tensor,
    reference_rejected_B: Tensor,
    beta: float,
) -> tuple[Tensor, PreferenceMetrics]:
    """IPO's squared loss: pull the log-ratio difference to a fixed margin.

    loss = (z - 1 / (2 beta))^2,   z as in ``online_dpo``

    The margin is finite, so a pair that is always preferred the same way does not drive the policy away from
    the reference without bound, as the logistic loss does.

    Shapes, units and gradient as in ``online_dpo``; loss in squared nats, at least 0.
    Edges: beta is the distance kept from the reference, so beta towards 0 asks for an infinite margin: values
    below ``IPO_SMALLEST_BETA`` raise ValueError. The loss is 0 where z is exactly the margin.
    """
    require_range("ipo", "beta", beta, low=IPO_SMALLEST_BETA)
    chosen_B, rejected_B = _log_ratios(
        "ipo", policy_chosen_B, policy_rejected_B, reference_chosen_B, reference_rejected_B
    )
    return (chosen_B - rejected_B - 1.0 / (2.0 * beta)).square(), _metrics(chosen_B, rejected_B, beta)


def best_and_worst(scores_BK: Tensor, scored_BK: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The pair of each prompt: its highest and its lowest scored completion.

    chosen = argmax_k score, rejected = argmin_k score over scored k; valid = two or more scored, and max
    above min.

    Best against worst gives the widest margin K completions offer at the training cost of two (Async RLHF,
    figure 8). A tied group prefers nothing, and training on it would teach whichever came first: typically
    two completions cut off before EOS, both with the same penalty.

    scores_BK: (B, K) float, any unit; scored_BK: (B, K) boolean, False where the reward gave no score. A
    score that is not finite counts as unscored. Returns chosen_B and rejected_B, int64 in [0, K), and
    valid_B, boolean.
    Edges: of equal scores the lowest k is taken, so the result is deterministic. Invalid rows (fewer than two
    scored, or tied) hold index 0 twice: safe to gather with, never to train on.
    """
    scores_BK, scored_BK = finite_scores("best_and_worst", scores_BK, scored_BK)
    best_B1 = scores_BK.masked_fill(~scored_BK, -torch.inf).argmax(dim=-1, keepdim=True)
    worst_B1 = scores_BK.masked_fill(~scored_BK, torch.inf).argmin(dim=-1, keepdim=True)
    # Fewer than two scored: best and worst are one completion, whose score is not above itself.
    valid_B = (scores_BK.gather(-1, best_B1) > scores_BK.gather(-1, worst_B1)).squeeze(-1)
    zero = torch.zeros_like(best_B1.squeeze(-1))
    return (
        torch.where(valid_B, best_B1.squeeze(-1), zero),
        torch.where(valid_B, worst_B1.squeeze(-1), zero),
        valid_B,
    )


def tied(scores_BK: Tensor, scored_BK: Tensor) -> Tensor:
    """Prompts with two or more scored completions, all with the same score; (B,) boolean. Arguments as above.

    Counts what ``best_and_worst`` drops for want of a preference, apart from what it drops for want of
    scores.
    """
    scored_BK = finite_scores("tied", scores_BK, scored_BK)[1]
    return (scored_BK.sum(dim=-1) >= 2) & ~best_and_worst(scores_BK, scored_BK)[2]


def _log_ratios(
    where: str,
    policy_chosen_B: Tensor,
    policy_rejected_B: Tensor,
    reference_chosen_B: Tensor,
    reference_rejected_B: Tensor,
) -> tuple[Tensor, Tensor]:
    require_same_shape(
        where,
        policy_chosen_B=policy_chosen_B,
        policy_rejected_B=policy_rejected_B,
        reference_chosen_B=reference_chosen_B,
        reference_rejected_B=reference_rejected_B,
    )
    chosen_B = at_least_float32(policy_chosen_B) - at_least_float32(reference_chosen_B).detach()
    rejected_B = at_least_float32(policy_rejected_B) - at_least_float32(reference_rejected_B).detach()
    return chosen_B, rejected_B


def _metrics(chosen_B: Tensor, rejected_B: Tensor, beta: float) -> PreferenceMetrics:
    chosen_B, rejected_B = beta * chosen_B.detach(), beta * rejected_B.detach()
    margins_B = chosen_B - rejected_B
    return PreferenceMetrics(margins_B, (margins_B > 0).to(margins_B.dtype), chosen_B, rejected_B)
