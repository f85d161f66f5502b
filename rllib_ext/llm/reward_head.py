"""Reward models: a causal LM's backbone with one number at the end. Making, opening, scoring, normalising.

The score of a text is the head's output at its last token (N+ detail 12, async RLHF specification B.1), found
by the attention mask and not by the id of PAD, so that padding of any id and width changes nothing. The head
is ``score``, a linear layer of width 1 *with* a bias. The bias holds the normalisation of detail 15 (the mean
score of reference completions, subtracted), is saved with the weights and comes back on opening. Stock
``AutoModelForSequenceClassification`` opens such a folder too but drops the bias: all its scores are then off
by the same constant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from rllib_ext.errors import BadConfig
from rllib_ext.llm.safety import check_model_folder, open_model


def fresh_head(width: int, seed: int) -> torch.nn.Linear:
    """An untrained head (detail 11): bias 0, weights normal with standard deviation 1/sqrt(width + 1).

    Final norms give hidden states of length sqrt(width), so scores start at the scale of 1 for any width.
    """
    head = torch.nn.utils.skip_init(torch.nn.Linear, width, 1)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        head.weight.normal_(0.0, 1 / math.sqrt(width + 1), generator=generator)
        head.bias.zero_()
    return head


def new_reward_model(
    name: str | Path, *, seed: int, pad_token_id: int, revision: str | None = None
) -> PreTrainedModel:
    """The backbone of a causal LM (an SFT model) under a fresh head."""
    values = {"num_labels": 1, "pad_token_id": pad_token_id}
    folder = check_model_folder(name, revision)
    model, _ = open_model(
        AutoModelForSequenceClassification, folder, "float32", config_values=values, may_miss={"score.weight"}
    )
    if not has_score_head(model):
        raise BadConfig(
            f"{type(model).__name__} has no linear layer 'score' to train; start from a decoder such as Llama"
        )
    model.score = fresh_head(model.score.in_features, seed)
    return model


def open_reward_model(
    name: str | Path, dtype: str | torch.dtype = "float32", revision: str | None = None
) -> PreTrainedModel:
    """A trained reward model or any sequence classifier; an untrained head is refused."""
    folder = check_model_folder(name, revision)
    model, unused = open_model(AutoModelForSequenceClassification, folder, dtype)
    if "score.bias" in unused and model.score.bias is None:
        weight, bias = model.score.weight, _stored_tensor(folder, "score.bias")
        model.score = torch.nn.Linear(*reversed(weight.shape), device=weight.device, dtype=weight.dtype)
        model.score.load_state_dict({"weight": weight, "bias": bias})
    return model


def _stored_tensor(folder: Path, name: str) -> torch.Tensor:
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as tensors:
            if name in tensors.keys():  # noqa: SIM118 - no mapping
                return tensors.get_tensor(name)
    raise BadConfig(f"{str(folder)!r} holds no tensor {name!r}; save the model again")


def pad_right(rows: Sequence[Sequence[int]], width: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """``(input_ids_BT, attention_mask_BT)``; padding is id 0 under mask 0 (N+ detail 3b).

    width: columns (N+ detail 5); None: as many as the longest row has. A longer row is an error, never cut.
    """
    return _padded(rows, width, left=False)


def pad_left(rows: Sequence[Sequence[int]], width: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """The same with the padding in front, as queries have it before generation."""
    return _padded(rows, width, left=True)


def _padded(
    rows: Sequence[Sequence[int]], width: int | None, left: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, rows))
    if width is not None and width < longest:
        raise BadConfig(f"a row has {longest} tokens, and batches are padded to {width}; raise that width")
    input_ids = torch.zeros(len(rows), width or longest, dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    for index, row in enumerate(rows):
        start = input_ids.shape[1] - len(row) if left else 0
        input_ids[index, start : start + len(row)] = torch.tensor(row, dtype=torch.long)
        attention_mask[index, start : start + len(row)] = 1
    return input_ids, attention_mask


def last_token_scores(
    model: PreTrainedModel, input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> torch.Tensor:
    """scores_BL in float32, one column a label, at each row's last token under the mask."""
    if not has_score_head(model):
        return model(input_ids=input_ids, attention_mask=attention_mask).logits.float()
    hidden_BTD = model.base_model(
        input_ids=input_ids, attention_mask=attention_mask, use_cache=False
    ).last_hidden_state
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)
    last_B = (positions * attention_mask).argmax(dim=1)
    return model.score(hidden_BTD[torch.arange(len(last_B), device=last_B.device), last_B]).float()


@torch.no_grad()
def score_rows(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], *, batch_size: int = 64, column: int = 0
) -> torch.Tensor:
    """scores_N of token rows, in order; rows of like length share a batch, which saves padding."""
    scores = torch.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        input_ids, mask = (tensor.to(model.device) for tensor in pad_right([rows[index] for index in batch]))
        scores[batch] = last_token_scores(model, input_ids, mask)[:, column].cpu()
    return scores


@torch.no_grad()
def normalise(model: PreTrainedModel, references: Sequence[Sequence[int]], batch_size: int) -> float:
    """Subtract the references' mean score from the head's bias (detail 15); returns their mean after that."""
    subtract_from_bias(model, score_rows(model, references, batch_size=batch_size))
    return score_rows(model, references, batch_size=batch_size).double().mean().item()


@torch.no_grad()
def subtract_from_bias(model: PreTrainedModel, reference_scores: torch.Tensor) -> None:
    """Make the references' mean score 0; the scale stays (detail 15)."""
    model.score.bias -= reference_scores.double().mean()


def has_score_head(model: PreTrainedModel) -> bool:
    """Whether the score is read at the last token by a linear head; encoders (BERT) pool in their own way."""
    return isinstance(getattr(model, "score", None), torch.nn.Linear)
