"""Token rewards, generalised advantage estimation and whitening, as PPO on language models needs them.

Sources: Schulman et al. 2016 (GAE); the N+ implementation details of RLHF with PPO (arXiv 2403.17031),
details 23 to 25 and the notes on the KL in the reward, the placement of the score and the value mask.

Masks are prefixes: completions are padded on the right, real tokens first. Everything here is data for a
loss, so nothing returned carries a gradient. Left out: discounting by token position, group baselines
(``policy_gradient.leave_one_out``).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rllib_ext.functional.arguments import as_mask, at_least_float32, require_range, require_same_shape
from rllib_ext.functional.kl import k1
from rllib_ext.functional.masking import masked_mean, masked_var

__all__ = ["gae", "token_rewards", "value_mask", "whiten"]


def value_mask(mask_BT: Tensor) -> Tensor:
    """``mask_BT`` and one position more: True at t <= L for L real tokens, as far as column T - 1.

    The score is paid at position L, one after EOS, so the value there is learnt too. mask_BT: (B, T) boolean
    prefix. Returns (B, T) boolean. Edges: a full row stays full; an empty row gets position 0.
    """
    mask_BT = as_mask(mask_BT)
    columns_T = torch.arange(mask_BT.shape[-1], device=mask_BT.device)
    return mask_BT | (columns_T == mask_BT.sum(dim=-1, keepdim=True))


def token_rewards(
    scores_B: Tensor,
    logps_BT: Tensor,
    reference_logps_BT: Tensor,
    mask_BT: Tensor,
    coefficient: float,
    *,
    estimator: Callable[[Tensor, Tensor], Tensor] = k1,
    penalised_BT: Tensor | None = None,
) -> Tensor:
    """r_t = -kappa (log pi_old(y_t) - log pi_ref(y_t)) at real tokens, plus the score once per completion.

    The score lands at index L (one past the last of L real tokens) if the array has that column, else at the
    last token. A completion that stopped is so told apart from one that was cut off. The place depends on T:
    arrays trimmed to the longest completion need one column more than it, unless that is already the fixed
    response length.

    scores_B: (B,), the reward's unit; logps_BT: (B, T) nats of the policy that generated; mask_BT: (B, T)
    prefix; coefficient: kappa, reward per nat, 0 or more; estimator: of the KL, ``k1`` of the formula or another of
    ``kl``; penalised_BT: (B, T), the tokens that are penalised, None for all real ones (fewer where an environment
    wrote some of them; more for the "unconditional KL" that goes on after EOS). Returns (B, T), detached, 0 outside
    ``value_mask`` and ``penalised_BT``.
    Edges: an empty completion is paid at index 0; a score of NaN (unscored) gives NaN there: leave such rows
    out before.
    """
    require_range("token_rewards", "coefficient", coefficient, low=0.0)
    require_same_shape("token_rewards", logps_BT=logps_BT, mask_BT=mask_BT)
    require_same_shape("token_rewards", scores_B=scores_B, completions=logps_BT[..., 0])
    mask_BT = as_mask(mask_BT)
    penalised_BT = mask_BT if penalised_BT is None else as_mask(penalised_BT)
    divergence_BT = estimator(logps_BT, reference_logps_BT).detach()
    penalty_BT = torch.where(penalised_BT, coefficient * divergence_BT, 0.0)
    place_B1 = mask_BT.sum(dim=-1, keepdim=True).clamp(max=mask_BT.shape[-1] - 1)
    scores_B1 = at_least_float32(scores_B).detach().unsqueeze(-1).to(penalty_BT.dtype)
    return (-penalty_BT).scatter_add(-1, place_B1, scores_B1)


def gae(
    rewards_BT: Tensor,
    values_BT: Tensor,
    mask_BT: Tensor,
    *,
    discount: float = 1.0,
    trace_decay: float = 0.95,
    bootstrap_B: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates and the returns the critic is fitted to.

    delta_t = r_t + discount V_{t+1} - V_t,   A_t = delta_t + discount trace_decay A_{t+1},   return_t = A_t +
    V_t

    trace_decay 0 is the one-step error (low variance, all the critic's bias), 1 the Monte Carlo return minus
    the value. Returns are formed before any whitening of the advantages.

    rewards_BT, values_BT: (B, T), one unit; mask_BT: (B, T) prefix, for language models ``value_mask``;
    discount, trace_decay: [0, 1]; bootstrap_B: (B,) value of the state after the last masked step, None for 0
    (the episode ended there). Returns advantages_BT and returns_BT, detached, 0 outside the mask.
    Edges: what lies outside the mask is never read; an empty row is all 0.
    """
    for name, value in (("discount", discount), ("trace_decay", trace_decay)):
        require_range("gae", name, value, low=0.0, high=1.0)
    require_same_shape("gae", rewards_BT=rewards_BT, values_BT=values_BT, mask_BT=mask_BT)
    mask_BT = as_mask(mask_BT)
    rewards_BT = torch.where(mask_BT, at_least_float32(rewards_BT).detach(), 0.0)
    values_BT = torch.where(mask_BT, at_least_float32(values_BT).detach(), 0.0)
    next_values_BT = torch.cat([values_BT[..., 1:], torch.zeros_like(values_BT[..., :1])], dim=-1)
    if bootstrap_B is not None:
        require_same_shape("gae", bootstrap_B=bootstrap_B, completions=mask_BT.sum(dim=-1))
        last_BT = mask_BT & (mask_BT.long().cumsum(-1) == mask_BT.sum(dim=-1, keepdim=True))
        next_values_BT = torch.where(
            last_BT, bootstrap_B.detach().to(values_BT.dtype).unsqueeze(-1), next_values_BT
        )
    deltas_BT = torch.where(mask_BT, rewards_BT + discount * next_values_BT - values_BT, 0.0)
    advantages_BT = torch.empty_like(deltas_BT)
    running_B = torch.zeros_like(deltas_BT[..., :1].sum(-1))
    for t in range(deltas_BT.shape[-1] - 1, -1, -1):
        running_B = deltas_BT[..., t] + discount * trace_decay * running_B
        advantages_BT[..., t] = running_B
    return advantages_BT, advantages_BT + values_BT


def whiten(
    values: Tensor,
    mask: Tensor,
    *,
    shift_mean: bool = True,
    epsilon: float = 1e-8,
    moments: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """(x - mean) / sqrt(var + epsilon), plus the mean again unless ``shift_mean``; statistics under the mask.

    Advantages lose their mean (N+ detail 25): a constant in all of them is no preference. Rewards, where they
    are whitened at all (detail 24, off by default), keep it: their level is what the episode is worth. The
    variance is biased.

    values: any shape and unit; mask: the same shape; moments: mean and variance, None for those of ``values`` under
    the mask (given where ``values`` are a part of a larger batch). Returns the same shape, float32 or wider, detached,
    0 outside the mask.
    Edges: zero variance, and a single element, give 0 (the mean itself without the shift); an empty mask
    gives zeros.
    """
    require_range("whiten", "epsilon", epsilon, low=0.0, above=True)
    values = at_least_float32(values).detach()
    mean, variance = moments or (masked_mean(values, mask), masked_var(values, mask))
    centred = torch.where(as_mask(mask), (values - mean) * torch.rsqrt(variance + epsilon), 0.0)
    return centred if shift_mean else torch.where(as_mask(mask), centred + mean, 0.0)
