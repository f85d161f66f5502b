"""Log-probabilities of whole completions under a causal LM, from right-padded rows of query and completion.

Sums over the completion and its EOS, in nats, at temperature 1; the query and the padding do not count. Used by DPO
on fixed comparisons and by the KL of an evaluation. The rollouts' own path is ``forward.completion_logps``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from rllib_ext.functional.logprobs import token_logps
from rllib_ext.llm.reward_head import pad_right


def completion_sums(
    model: PreTrainedModel,
    input_ids_BT: torch.Tensor,
    attention_mask_BT: torch.Tensor,
    starts_B: torch.Tensor,
    temperature: float = 1.0,
) -> torch.Tensor:
    """(B,) nats: sum of log p(token) from position ``starts_B`` (at least 1) to the last real token."""
    first = max(1, int(starts_B.min()))
    logits_BTV = model(
        input_ids=input_ids_BT,
        attention_mask=attention_mask_BT,
        use_cache=False,
        logits_to_keep=input_ids_BT.shape[1] - first + 1,
    ).logits[:, :-1]
    logps_BT = token_logps(logits_BTV, input_ids_BT[:, first:], temperature=temperature)
    positions = torch.arange(first, input_ids_BT.shape[1], device=input_ids_BT.device)
    counted = (positions >= starts_B[:, None].clamp(min=1)) & attention_mask_BT[:, first:].bool()
    return torch.where(counted, logps_BT, 0.0).sum(dim=1)


@torch.no_grad()
def score_sequences(
    model: PreTrainedModel,
    rows: Sequence[Sequence[int]],
    starts: Sequence[int],
    batch_size: int,
    temperature: float = 1.0,
) -> torch.Tensor:
    """``completion_sums`` of token rows, in order; rows of like length share a batch."""
    sums = torch.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    for start in range(0, len(order), batch_size):
        part = order[start : start + batch_size]
        input_ids, mask = (tensor.to(model.device) for tensor in pad_right([rows[index] for index in part]))
        starts_B = torch.tensor([starts[index] for index in part], device=model.device)
        sums[part] = completion_sums(model, input_ids, mask, starts_B, temperature).cpu()
    return sums
