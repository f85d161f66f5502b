"""Texts to padded batches, and the losses of the two supervised stages.

Prompt and completion are tokenised apart and joined as ids, as at generation time, and EOS ends every
completion (N+ details 3 and 3b). Nothing is cut: a row that is too long is left out and counted, because a
cut completion would teach a model never to stop. Padding is on the right, id 0 under the attention mask, as
wide as the longest row of the batch or as a given width (detail 5: causal models do not see what follows).

A loss returns (sum, number of terms), and the caller divides: then gradient accumulation and batches of
unequal size give exactly the mean over all terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rllib_ext.errors import BadData
from rllib_ext.llm.reward_head import last_token_scores, pad_right, score_rows
from rllib_ext.llm.safety import encode_plain

NO_LOSS = -100  # torch's cross entropy skips such targets
Pair = tuple[str, str]  # (prompt, completion)
Preference = tuple[str, str, str]  # (prompt, chosen, rejected)
Row = dict[str, Any]
Batch = dict[str, torch.Tensor]


def sft_rows(
    pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase, *, max_length: float, loss_on: str = "all"
) -> tuple[list[Row], int]:
    """Rows of ``input_ids``, ``start`` (the first position that carries loss) and ``query_tokens``; and how many were
    too long.

    The very first token is predicted from nothing and never carries loss.
    """
    prompts = encode_plain(tokenizer, _column(pairs, 0, 2), add_special_tokens=True)
    targets = encode_plain(tokenizer, _column(pairs, 1, 2))
    rows = [
        {
            "input_ids": prompt + target + [tokenizer.eos_token_id],
            "start": max(1, len(prompt)) if loss_on == "completion" else 1,
            "query_tokens": len(prompt),
        }
        for prompt, target in zip(prompts, targets, strict=True)
    ]
    kept = [row for row in rows if 1 < len(row["input_ids"]) <= max_length]
    return kept, len(rows) - len(kept)


def preference_rows(
    pairs: Sequence[Preference], tokenizer: PreTrainedTokenizerBase, *, max_length: float
) -> tuple[list[Row], int]:
    """Rows of ``input_ids`` (prompt, chosen, EOS), ``rejected_ids``, ``query_tokens`` and ``pair`` (which of ``pairs``
    it is); and how many were too long.
    """
    prompts = encode_plain(tokenizer, _column(pairs, 0, 3), add_special_tokens=True)
    chosen = encode_plain(tokenizer, _column(pairs, 1, 3))
    rejected = encode_plain(tokenizer, _column(pairs, 2, 3))
    end = [tokenizer.eos_token_id]
    rows = [
        {
            "input_ids": prompt + better + end,
            "rejected_ids": prompt + worse + end,
            "query_tokens": len(prompt),
            "pair": index,
        }
        for index, (prompt, better, worse) in enumerate(zip(prompts, chosen, rejected, strict=True))
    ]
    kept = [row for row in rows if max(len(row["input_ids"]), len(row["rejected_ids"])) <= max_length]
    return kept, len(rows) - len(kept)


def collate_sft(rows: Sequence[Row], width: int | None = None) -> Batch:
    """A batch: ``input_ids_BT``, ``attention_mask_BT``, ``columns_C`` (where some row carries loss),
    ``targets_BC`` (the id that a position must predict, or NO_LOSS), ``terms`` (how many do). EOS is a
    target, padding never. ``width``: pad to so many columns, not to the longest row.
    """
    input_ids, attention_mask = pad_right([row["input_ids"] for row in rows], width)
    targets = torch.full_like(input_ids, NO_LOSS)
    for index, row in enumerate(rows):
        start, end = row["start"], len(row["input_ids"])
        targets[index, start - 1 : end - 1] = input_ids[index, start:end]
    columns = (targets != NO_LOSS).any(dim=0).nonzero().squeeze(1)
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "columns": columns,
        "targets": targets[:, columns],
        "terms": (targets != NO_LOSS).sum(),
    }


def sft_loss(model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of -log p(target) over the positions that carry loss, in nats, and their number (detail 9).

    Only ``columns`` go through the output layer. Where the completion alone carries loss and rows have like
    lengths, that is a quarter of them.
    """
    logits_BCV = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        logits_to_keep=batch["columns"],
        use_cache=False,
    ).logits
    total = F.cross_entropy(
        logits_BCV.flatten(0, 1).float(), batch["targets"].flatten(), ignore_index=NO_LOSS, reduction="sum"
    )
    return total, batch["terms"]


def collate_preferences(rows: Sequence[Row], width: int | None = None) -> Batch:
    """Chosen rows, then rejected rows, in one batch of twice as many rows: one forward pass (detail 10)."""
    input_ids, attention_mask = pad_right(
        [row["input_ids"] for row in rows] + [row["rejected_ids"] for row in rows], width
    )
    return {"input_ids": input_ids, "attention_mask": attention_mask, "terms": torch.tensor(len(rows))}


def preference_loss(model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of -log sigmoid(r_chosen - r_rejected), and the number of pairs; a tie costs ln 2."""
    scores_BL = last_token_scores(model, batch["input_ids"], batch["attention_mask"])
    chosen_B, rejected_B = scores_BL[:, 0].chunk(2)
    return -F.logsigmoid(chosen_B - rejected_B).sum(), batch["terms"]


@torch.no_grad()
def mean_sft_loss(model: PreTrainedModel, rows: Sequence[Row], batch_size: int) -> float:
    """Nats a token over all rows, every token counting alike, whatever batch it is in."""
    total, terms = 0.0, 0
    order = sorted(rows, key=lambda row: len(row["input_ids"]))
    for start in range(0, len(order), batch_size):
        batch = {
            key: value.to(model.device)
            for key, value in collate_sft(order[start : start + batch_size]).items()
        }
        loss, count = sft_loss(model, batch)
        total, terms = total + loss.item(), terms + int(count)
    return total / max(terms, 1)


def agreement(model: PreTrainedModel, rows: Sequence[Row], batch_size: int) -> tuple[float, float]:
    """(share of pairs whose chosen side scores higher, mean of chosen minus rejected); ties are wrong."""
    chosen = score_rows(model, [row["input_ids"] for row in rows], batch_size=batch_size)
    rejected = score_rows(model, [row["rejected_ids"] for row in rows], batch_size=batch_size)
    return (chosen > rejected).double().mean().item(), (chosen - rejected).double().mean().item()


def _column(rows: Sequence[tuple[str, ...]], position: int, width: int) -> list[str]:
    for index, row in enumerate(rows):
        if len(row) != width or not all(isinstance(text, str) for text in row):
            kinds = ", ".join(type(item).__name__ for item in row)
            raise BadData(f"row {index} must be {width} texts, got ({kinds}); mend it or leave it out")
    return [row[position] for row in rows]
