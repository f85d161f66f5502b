"""What a mini-batch is fitted to: token rewards, advantages and returns, made once from the old policy and critic.

r_t = -kappa k1_t + score [t = min(L, T - 1)],   whitened without shifting the mean where asked (detail 24)
A, return from generalised advantage estimation; returns are formed first, then advantages are whitened with their
mean (detail 25), over the tokens of the whole mini-batch: of all micro-batches, and of all learners.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from rllib_ext.functional import kl
from rllib_ext.functional.advantages import gae, token_rewards, whiten
from rllib_ext.functional.masking import masked_mean, masked_sum, masked_var, sequence_logps
from rllib_ext.ppo_llm.response import Masks

Total = Callable[[torch.Tensor], torch.Tensor]  # a sum over all learners


@dataclass(frozen=True)
class Targets:
    """All (B, T), detached. penalties_BT: the part of the rewards that is no score; raw_advantages_BT: unwhitened."""

    penalties_BT: torch.Tensor
    rewards_BT: torch.Tensor
    advantages_BT: torch.Tensor
    raw_advantages_BT: torch.Tensor
    returns_BT: torch.Tensor


def targets(
    config: Any,
    scores_B: torch.Tensor,
    old_logps_BT: torch.Tensor,
    reference_logps_BT: torch.Tensor,
    values_BT: torch.Tensor,
    masks: Masks,
    total: Total,
    *,
    kl_coef: float | None = None,
) -> Targets:
    """config: an AsyncPPOConfig. kl_coef: kappa, where a controller moves it; None: the config's. old_logps_BT,
    reference_logps_BT: nats; values_BT: of the old critic, of which only those under ``masks.value_BT`` count
    (elsewhere a value is 0); total: sums a tensor over the learners.
    """
    kappa = config.kl_coef if kl_coef is None else kl_coef
    kept = (old_logps_BT, reference_logps_BT, masks.real_BT, kappa)
    how = {"estimator": getattr(kl, config.kl_estimator), "penalised_BT": masks.penalised_BT}
    penalties_BT = token_rewards(torch.zeros_like(scores_B), *kept, **how)
    rewards_BT = token_rewards(scores_B, *kept, **how)
    if config.whiten_rewards:
        seen = moments(rewards_BT, masks.steps_BT, total)
        rewards_BT = whiten(rewards_BT, masks.steps_BT, shift_mean=False, moments=seen)
    values_BT = torch.where(masks.value_BT, values_BT, 0.0)
    raw_BT, returns_BT = gae(
        rewards_BT, values_BT, masks.steps_BT, discount=config.gamma, trace_decay=config.gae_lambda
    )
    advantages_BT = raw_BT
    if config.whiten_advantages:
        advantages_BT = whiten(raw_BT, masks.policy_BT, moments=moments(raw_BT, masks.policy_BT, total))
    return Targets(penalties_BT, rewards_BT, advantages_BT, raw_BT, returns_BT)


def moments(values: torch.Tensor, mask: torch.Tensor, total: Total) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and biased variance under the mask over all learners, summed in float64."""
    exact = values.double()
    count = total(mask.sum().double()).clamp(min=1)
    mean = total(masked_sum(exact, mask)) / count
    variance = total(masked_sum((exact - mean).square(), mask)) / count
    return mean.to(values.dtype), variance.to(values.dtype)


def facts(
    found: Targets,
    columns: dict[str, torch.Tensor],
    old_logps_BT: torch.Tensor,
    reference_logps_BT: torch.Tensor,
    values_BT: torch.Tensor,
    masks: Masks,
) -> dict[str, float]:
    """The diagnostics that hold for all passes over a mini-batch (N+, validation of a reproduction); of this learner's
    rows. Per completion: kl_ref (sum of k1, nats), sequence_entropy (-log pi_old), rewards. Per token: the others.
    """
    scored_B = columns["scored"].flatten()
    scores_B, ended_B = columns["scores"].flatten(), columns["finished"].flatten()
    penalty_B = found.penalties_BT.sum(-1)
    spread = masked_var(found.returns_BT, masks.value_BT)
    missed = masked_var(found.returns_BT - values_BT, masks.value_BT)
    means = {
        "score": masked_mean(scores_B, scored_B),
        "kl_ref": masked_mean(kl.sequence_kl(old_logps_BT, reference_logps_BT, masks.policy_BT), scored_B),
        "sequence_entropy": masked_mean(-sequence_logps(old_logps_BT, masks.policy_BT), scored_B),
        "non_score_reward": masked_mean(penalty_B, scored_B),
        "rlhf_reward": masked_mean(scores_B + penalty_B, scored_B),
        "missing_eos_share": masked_mean((ended_B == 0).float(), scored_B),
        "completion_tokens": masked_mean(masks.policy_BT.sum(-1).float(), scored_B),
        "token_reward_mean": masked_mean(found.rewards_BT, masks.steps_BT),
        "value_mean": masked_mean(values_BT, masks.value_BT),
        "value_var": masked_var(values_BT, masks.value_BT),
        "return_mean": masked_mean(found.returns_BT, masks.value_BT),
        "return_var": spread,
        "advantage_mean": masked_mean(found.raw_advantages_BT, masks.policy_BT),
        "advantage_var": masked_var(found.raw_advantages_BT, masks.policy_BT),
        "explained_variance": torch.where(spread > 0, 1 - missed / spread.clamp(min=1e-30), 0.0),
    }
    return {name: float(value) for name, value in means.items()}
