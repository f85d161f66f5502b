"""Masks over completions and the sums, means and variances under them.

Source: the masking rule of Async RLHF (positions after the first EOS are padding) and of the N+ details (EOS
itself is a real token: the model has to learn to stop). Prompts are not masked here: every tensor holds
completions only.

An excluded position never reaches a result, not even as NaN or infinity: values are selected, not multiplied
by zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rllib_ext.functional.arguments import as_mask, at_least_float32, require_same_shape

__all__ = [
    "completion_mask",
    "has_eos",
    "masked_mean",
    "masked_sum",
    "masked_var",
    "sequence_logps",
]


def completion_mask(
    token_ids_BT: Tensor, eos_ids: int | Sequence[int], lengths_B: Tensor | None = None
) -> Tensor:
    """True up to and including the first end-of-sequence token of each completion.

    mask[b, t] = no EOS among token_ids[b, :t], and t < lengths[b] where lengths are given.

    EOS counts because stopping is an action of the policy; what follows it was never chosen by anybody.
    Lengths are needed where a completion can end without EOS before column T (its own token budget was
    smaller) or where the padding token is the EOS token: without them the first padding token would pass for
    a real EOS.

    token_ids_BT: (B, T) integer; eos_ids: one id or several (chat models have two); lengths_B: (B,) integer,
    generated tokens. Returns (B, T) boolean.
    Edges: no EOS at all: True up to the length; length 0, or T = 0: an empty mask; no eos_ids: lengths alone
    decide.
    """
    is_eos_BT = _is_eos(token_ids_BT, eos_ids)
    eos_before_BT = is_eos_BT.cumsum(dim=-1) - is_eos_BT.long()
    mask_BT = eos_before_BT == 0
    if lengths_B is not None:
        require_same_shape("completion_mask", first_column=token_ids_BT[..., :1].sum(-1), lengths_B=lengths_B)
        columns_T = torch.arange(token_ids_BT.shape[-1], device=token_ids_BT.device)
        mask_BT = mask_BT & (columns_T < lengths_B.unsqueeze(-1))
    return mask_BT


def has_eos(token_ids_BT: Tensor, eos_ids: int | Sequence[int], lengths_B: Tensor | None = None) -> Tensor:
    """Whether each completion contains an end-of-sequence token of its own; (B,) boolean.

    Completions without one were cut off by the token budget and are what the missing-EOS penalty is for.
    Padding beyond ``lengths_B`` does not count, nor does an EOS in the prompt, which is not part of
    ``token_ids_BT``.
    """
    return (_is_eos(token_ids_BT, eos_ids) & completion_mask(token_ids_BT, eos_ids, lengths_B)).any(dim=-1)


def _is_eos(token_ids_BT: Tensor, eos_ids: int | Sequence[int]) -> Tensor:
    ids = (eos_ids,) if isinstance(eos_ids, int) else tuple(eos_ids)
    is_eos_BT = torch.zeros_like(token_ids_BT, dtype=torch.bool)
    for eos_id in ids:
        is_eos_BT = is_eos_BT | (token_ids_BT == eos_id)
    return is_eos_BT


def masked_sum(values: Tensor, mask: Tensor, dim: int | None = None) -> Tensor:
    """Sum of ``values`` where ``mask`` is True, over ``dim`` or over everything.

    values: any shape, float, any unit; mask: the same shape. Returns float32 or wider.
    Edge: an empty mask gives 0 with zero gradient.
    """
    require_same_shape("masked_sum", values=values, mask=mask)
    values = at_least_float32(values)
    kept = torch.where(as_mask(mask), values, values.new_zeros(()))
    return kept.sum() if dim is None else kept.sum(dim)


def masked_mean(values: Tensor, mask: Tensor, dim: int | None = None) -> Tensor:
    """Mean of ``values`` where ``mask`` is True: sum over count, over ``dim`` or over everything.

    Over everything, long completions weigh more than short ones: the "token mean" of PPO. A mean per
    completion first (``dim=-1``) weighs completions equally.
    Edge: an empty mask gives 0 with zero gradient, so that a batch without data moves nothing.
    """
    mask = as_mask(mask)
    count = mask.sum() if dim is None else mask.sum(dim)
    return masked_sum(values, mask, dim) / count.clamp(min=1)


def masked_var(values: Tensor, mask: Tensor, dim: int | None = None) -> Tensor:
    """Biased variance of ``values`` where ``mask`` is True: the mean squared deviation (n, not n - 1).

    Biased because the whitening of the N+ details is (detail 24); computed in two passes, because the
    difference of two means loses every digit when the mean is large.
    Edges: an empty mask and a mask of one element both give 0.
    """
    mean = masked_mean(values, mask, dim)
    if dim is not None:
        mean = mean.unsqueeze(dim)
    values = at_least_float32(values)
    deviations = torch.where(as_mask(mask), values - mean, values.new_zeros(()))
    return masked_mean(deviations.square(), mask, dim)


def sequence_logps(logps_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Log-probability of each completion: log pi(y|x) = sum over its tokens of log pi(y_t | x, y_<t).

    logps_BT: (B, T) nats, at most 0; mask_BT: (B, T). Returns (B,) nats. Not divided by the length:
    preference losses and sequence ratios are ratios of whole-sequence probabilities.
    Edge: an empty completion has log-probability 0 (the empty product).
    """
    return masked_sum(logps_BT, mask_BT, dim=-1)
