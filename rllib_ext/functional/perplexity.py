"""Two perplexities of a completion under a reference model; they differ by what they divide by.

``ppl_completion`` is what the word means. ``ppl_diluted`` is what the plots of Async RLHF call "KL
(perplexity)": its code divides the completion's negative log-likelihood by the tokens of prompt and
completion together (arXiv 2410.18252, measured values 1.07 to 1.15). Both are needed: one to understand a
run, the other to compare it with the paper.

Log-probabilities are those of the reference (SFT) model, at temperature 1. One value per sample; the paper
averages these. Computed in float64, so that a completion of up to 700 nats per token still has a finite
perplexity.
"""

from __future__ import annotations

from torch import Tensor

from rllib_ext.functional.arguments import as_mask, require_same_shape
from rllib_ext.functional.masking import masked_sum

__all__ = ["ppl_completion", "ppl_diluted"]


def ppl_completion(logps_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """exp(-sum_t log p(y_t) / completion tokens), per sample.

    logps_BT: (B, T) nats; mask_BT: (B, T), EOS included. Returns (B,) float64, at least 1 for
    log-probabilities of at most 0.
    Edge: an empty completion has perplexity 1.
    """
    tokens_B = as_mask(mask_BT).sum(dim=-1)
    return (-masked_sum(logps_BT.double(), mask_BT, dim=-1) / tokens_B.clamp(min=1)).exp()


def ppl_diluted(logps_BT: Tensor, mask_BT: Tensor, prompt_lengths_B: Tensor) -> Tensor:
    """exp(-sum_t log p(y_t) / (prompt tokens + completion tokens)), per sample.

    The longer the prompt, the nearer to 1: comparable between runs on the same prompts only. With a prompt of
    0 tokens it equals ``ppl_completion``.

    logps_BT, mask_BT as above; prompt_lengths_B: (B,) tokens, at least 0, padding not counted. Returns (B,)
    float64.
    Edge: an empty completion has perplexity 1.
    """
    tokens_B = as_mask(mask_BT).sum(dim=-1)
    require_same_shape("ppl_diluted", prompt_lengths_B=prompt_lengths_B, completions=tokens_B)
    nll_B = -masked_sum(logps_BT.double(), mask_BT, dim=-1)
    return (nll_B / (tokens_B + prompt_lengths_B).clamp(min=1)).exp()
