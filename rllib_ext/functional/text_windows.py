"""Perplexity of a long text under a model with a bounded context: overlapping windows, every token scored once.

The drift measure of Elastic Reset (arXiv 2312.07551): human reference texts, joined by a blank line, under the policy;
windows of 1,024 tokens with a stride of 512. A token's context is what precedes it in the first window that reaches it:
at least ``window - stride`` tokens, but for those of the first window. It needs no sampling, so no seed moves it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from rllib_ext.functional.arguments import require_range

__all__ = ["next_token_logps", "text_perplexity", "windows"]


def windows(length: int, window: int = 1024, stride: int = 512) -> list[tuple[int, int, int]]:
    """(begin, end, first scored) token positions, so that positions 1 to length - 1 are each scored once.

    Position 0 has no context and is never scored; a window's own first token is not scored in it.
    """
    require_range("windows", "window", window, low=2)
    require_range("windows", "stride", stride, low=1, high=window - 1)
    found, scored = [], 1
    begin = 0
    while scored < length:
        end = min(begin + window, length)
        found.append((begin, end, scored))
        scored = end
        begin += stride
    return found


def text_perplexity(
    token_ids: Tensor, logps: Callable[[Tensor], Tensor], window: int = 1024, stride: int = 512
) -> float:
    """exp(mean negative log-likelihood) of ``token_ids`` (T,).

    logps: (1, W) token ids -> (W - 1,) log-probabilities, nats, of tokens 1 to W - 1, each given those before it.
    Edge: a text of fewer than two tokens has nothing to score and perplexity nan.
    """
    total, count = 0.0, 0
    for begin, end, first in windows(len(token_ids), window, stride):
        found = logps(token_ids[None, begin:end]).double()
        kept = found[first - begin - 1 :]
        total -= float(kept.sum())
        count += len(kept)
    return math.exp(total / count) if count else math.nan


def next_token_logps(logits_WV: Tensor, token_ids: Tensor) -> Tensor:
    """The ``logps`` of a causal model: logits_WV (W, V) of token_ids (1, W); returns (W - 1,)."""
    logps = torch.log_softmax(logits_WV[:-1].float(), dim=-1)
    return logps.gather(1, token_ids[0, 1:, None])[:, 0]
