"""Learning to send discrete messages: REINFORCE with a learned baseline, straight-through Gumbel, a running mean.

Sources: Lee et al. 2019 (arXiv 1909.04499) and Lu et al. 2020 (arXiv 2003.12694) train senders of messages so; Jang et
al. 2017 (arXiv 1611.01144) for the Gumbel estimator. Every token of a message is an action, the reward comes once, at
its end, undiscounted.

Left out: ratios and clips (one update a batch, on fresh messages), normalised advantages, credit to single tokens beyond
the baseline's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rllib_ext.functional.arguments import as_mask, at_least_float32, require_range, require_same_shape
from rllib_ext.functional.masking import masked_sum

__all__ = [
    "MessageLoss",
    "gumbel_noise",
    "message_loss",
    "running_mean",
    "straight_through",
    "unigram_divergence",
]


@dataclass(frozen=True)
class MessageLoss:
    """Sums over the tokens of each message. policy_B and baseline_B are losses, entropy_B is in nats."""

    policy_B: Tensor
    baseline_B: Tensor
    entropy_B: Tensor


def message_loss(
    logps_BT: Tensor, entropies_BT: Tensor, values_BT: Tensor, rewards_B: Tensor, mask_BT: Tensor
) -> MessageLoss:
    """policy = -sum_t (R - v_t) log pi(m_t),   baseline = sum_t (v_t - R)^2,   entropy = sum_t H_t.

    The sum over tokens, not their mean: sum_t log pi(m_t) is the message's log-probability, so the gradient is that of
    the expected reward; a mean would weigh tokens of short messages more. v_t may depend on what came before token t and
    on nothing later, else it is no baseline. Divide all three by the number of tokens of the batch.

    logps_BT: (B, T) nats, at most 0, of the sent tokens; entropies_BT: (B, T) nats; values_BT: (B, T), the unit of
    rewards_B (B,); mask_BT: (B, T), True up to and including EOS. Policy gradient flows to logps_BT alone and the
    baseline's to values_BT alone.
    Edges: an empty message gives zeros; masked positions may hold anything, NaN included.
    """
    require_same_shape(
        "message_loss", logps_BT=logps_BT, entropies_BT=entropies_BT, values_BT=values_BT, mask_BT=mask_BT
    )
    require_same_shape("message_loss", first_column=logps_BT[..., :1].sum(-1), rewards_B=rewards_B)
    rewards_B1 = at_least_float32(rewards_B).detach().unsqueeze(-1)
    sent_BT = as_mask(mask_BT)
    misses_BT = torch.where(
        sent_BT, at_least_float32(values_BT) - rewards_B1, 0.0
    )  # select first: no 0 times NaN
    safe_logps_BT = torch.where(sent_BT, at_least_float32(logps_BT), 0.0)
    return MessageLoss(
        policy_B=(misses_BT.detach() * safe_logps_BT).sum(dim=-1),
        baseline_B=misses_BT.square().sum(dim=-1),
        entropy_B=masked_sum(entropies_BT, mask_BT, dim=-1),
    )


def gumbel_noise(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """-log(E) with E exponential: a standard Gumbel for each entry of ``like`` (mean 0.577, variance pi^2 / 6)."""
    exponential = torch.empty_like(like, dtype=torch.float32).exponential_(generator=generator)
    return -exponential.clamp_min(torch.finfo(torch.float32).tiny).log()


def straight_through(logits: Tensor, noise: Tensor, temperature: float = 1.0) -> Tensor:
    """The one-hot of argmax(logits + noise) forward; backward the gradient of softmax((logits + noise) / tau).

    With Gumbel noise the one-hot is an exact sample of softmax(logits) at any temperature; the gradient is biased, the
    less the lower tau is, at the price of its variance.

    logits: (..., V) nats; noise: the same shape, from ``gumbel_noise``, or zeros for the greedy choice; temperature:
    above 0. Returns (..., V), rows that sum to 1.
    Edge: logits of -infinity are never chosen and get no gradient, as long as one in the row is finite.
    """
    require_range("straight_through", "temperature", temperature, low=0.0, above=True)
    require_same_shape("straight_through", logits=logits, noise=noise)
    perturbed = at_least_float32(logits) + noise
    soft = torch.softmax(perturbed / temperature, dim=-1)
    hard = torch.zeros_like(soft).scatter(-1, perturbed.argmax(dim=-1, keepdim=True), 1.0)
    return hard + soft - soft.detach()


def running_mean(mean: float, count: int, values_B: Tensor) -> tuple[float, int]:
    """The arithmetic mean of everything seen, as a baseline that no single message can sway.

    mean, count: of what was seen before (count 0: nothing); values_B: (B,), any unit. Returns the new pair.
    Edge: no values leave it as it is.
    """
    total = count + values_B.numel()
    if total == count:
        return mean, count
    return mean + (float(values_B.detach().double().sum()) - mean * values_B.numel()) / total, total


def unigram_divergence(counts_V: Tensor, others_V: Tensor) -> float:
    """Jensen-Shannon divergence of two vocabularies' frequencies in bits, 0 (the same) to 1 (no word in common).

    Finite where one of them lacks a word, unlike KL. counts_V, others_V: (V,), at least 0.
    Edge: where one of them counts nothing there is nothing to compare: NaN.
    """
    require_same_shape("unigram_divergence", counts_V=counts_V, others_V=others_V)
    if not (counts_V.sum() > 0 and others_V.sum() > 0):
        return math.nan
    p_V, q_V = (item.double() / item.double().sum() for item in (counts_V, others_V))
    middle_V = (p_V + q_V) / 2
    halves = (torch.special.xlogy(one, one / middle_V.clamp_min(1e-300)).sum() for one in (p_V, q_V))
    return min(1.0, max(0.0, float(sum(halves)) / (2 * math.log(2))))
