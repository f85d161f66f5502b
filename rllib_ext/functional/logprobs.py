"""Log-probabilities of given tokens under the tempered policy, without a second copy of the logits.

Every log-probability of this package is that of the policy tokens are sampled from, softmax(logits /
temperature): ratios and preference margins compare distributions, and those are the distributions. Sources:
the code of Async RLHF (arXiv 2410.18252) and of the N+ details (arXiv 2403.17031), which divide by
temperature + 1e-7; here the temperature is exact, as in vLLM.

Left out: top-p and top-k, whose renormalised distribution is another one, and entropies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rllib_ext.functional.arguments import at_least_float32, require_range

__all__ = ["token_logps"]

# Logits worked on at a time: on a CPU a chunk stays in the cache, elsewhere kernels should stay large.
CPU_CHUNK = 2**19
DEVICE_CHUNK = 2**26


def token_logps(
    logits_BTV: Tensor, token_ids_BT: Tensor, *, temperature: float = 1.0, chunk: int | None = None
) -> Tensor:
    """log softmax(logits / temperature) at the given tokens.

    logp[b, t] = z[id] - max(z) - log sum_v exp(z[v] - max(z)),  z = logits[b, t] / temperature

    Only the selected value is kept, so the widest array alive besides the logits themselves is one chunk; the
    backward pass recomputes the softmax chunk by chunk. Subtracting the maximum first keeps full precision at
    large logits, where "selected minus logsumexp" cancels.

    logits_BTV: (B, T, V), any float type, unbounded; already aligned: logits[b, t] predicts token_ids[b, t]
    (a causal model's logits at position p predict the token at p + 1). token_ids_BT: (B, T) int64 in [0, V).
    temperature: above 0. chunk: logits worked on at a time, None chooses by device. Returns (B, T) nats, at
    most 0, float32 or wider; differentiable once in the logits.
    Edges: temperature 0 is greedy decoding, which has no density: ValueError. A logit of minus infinity (a
    banned token) has probability 0: its log-probability is minus infinity, the others are unaffected. A row
    whose logits are all minus infinity, or that holds plus infinity or NaN, gives NaN. Ids out of range
    raise.
    """
    require_range("token_logps", "temperature", temperature, low=0.0, above=True)
    if logits_BTV.ndim != 3 or logits_BTV.shape[:-1] != token_ids_BT.shape:
        raise ValueError(
            f"token_logps: logits {tuple(logits_BTV.shape)} do not fit ids {tuple(token_ids_BT.shape)}. "
            "Give (B, T, V) and (B, T), the logits sliced so that each predicts the id at the same place."
        )
    if chunk is None:
        chunk = CPU_CHUNK if logits_BTV.device.type == "cpu" else DEVICE_CHUNK
    apply: Callable[..., Tensor] = _SelectedLogSoftmax.apply
    return apply(logits_BTV, token_ids_BT, temperature, chunk)


def _blocks(shape: torch.Size, chunk: int) -> Iterator[tuple[slice, slice]]:
    """Slices of (B, T) that hold about ``chunk`` logits each: whole completions, or parts of a long one."""
    completions, tokens, vocabulary = shape
    columns = max(1, min(tokens, chunk // max(1, vocabulary)))
    rows = max(1, chunk // max(1, columns * vocabulary))
    for row in range(0, completions, rows):
        for column in range(0, tokens, columns):
            yield slice(row, row + rows), slice(column, column + columns)


class _SelectedLogSoftmax(torch.autograd.Function):
    """Forward and backward of ``token_logps``, block by block; the logits need not be contiguous."""

    @staticmethod
    def forward(ctx: Any, logits_BTV: Tensor, token_ids_BT: Tensor, temperature: float, chunk: int) -> Tensor:
        ids_BT1 = token_ids_BT.unsqueeze(-1)
        selected_BT1 = at_least_float32(logits_BTV.gather(-1, ids_BT1)) / temperature
        highest_BT1 = torch.empty_like(selected_BT1)
        log_total_BT1 = torch.empty_like(selected_BT1)
        for block in _blocks(logits_BTV.shape, chunk):
            tempered = at_least_float32(logits_BTV[block]) / temperature
            highest = tempered.amax(dim=-1, keepdim=True)
            highest_BT1[block] = highest
            log_total_BT1[block] = tempered.sub_(highest).exp_().sum(dim=-1, keepdim=True).log_()
        ctx.save_for_backward(logits_BTV, ids_BT1, highest_BT1, log_total_BT1)
        ctx.temperature, ctx.chunk = temperature, chunk
        return (selected_BT1 - highest_BT1 - log_total_BT1).squeeze(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BT: Tensor) -> tuple[Tensor, None, None, None]:
        """d logp / d logits[v] = (1[v = id] - softmax[v]) / temperature."""
        logits_BTV, ids_BT1, highest_BT1, log_total_BT1 = ctx.saved_tensors
        grad_BT1 = grad_BT.unsqueeze(-1) / ctx.temperature
        out_BTV = torch.empty_like(logits_BTV, memory_format=torch.contiguous_format)
        for block in _blocks(logits_BTV.shape, ctx.chunk):
            softmax = at_least_float32(logits_BTV[block]) / ctx.temperature
            softmax.sub_(highest_BT1[block]).sub_(log_total_BT1[block]).exp_()
            out_BTV[block] = softmax.mul_(-grad_BT1[block]).scatter_add_(-1, ids_BT1[block], grad_BT1[block])
        return out_BTV, None, None, None
