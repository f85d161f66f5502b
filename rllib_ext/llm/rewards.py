"""Reward models: a causal LM's backbone with one number at the end, as a ``Reward`` for environments and stages.

The score of a text is the head's output at its last token (N+ detail 12, async RLHF specification B.1), found
by the attention mask and not by the id of PAD, so that padding of any id and width changes nothing. The head
is ``score``, a linear layer of width 1 *with* a bias; the bias holds the normalisation of detail 15 (the mean
score of reference completions, subtracted), is saved with the weights and comes back on opening. Stock
``AutoModelForSequenceClassification`` opens such a folder too, but drops the bias: all its scores are then
higher or lower by the same constant.

Left out: training (``supervised.run_reward_model``) and ensembles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from envs.text.rewards import Reward
from envs.text.score import Outcome, as_score, failed
from envs.text.task import Sample
from rllib_ext.errors import BadConfig, BadData, unknown_name
from rllib_ext.llm.safety import check_model_folder, encode_plain, open_model, open_tokenizer


def new_reward_model(
    name: str | Path, *, seed: int, pad_token_id: int, revision: str | None = None
) -> PreTrainedModel:
    """The backbone of a causal LM (an SFT model) under a fresh head: weights N(0, 1/sqrt(d + 1)), the standard
    deviation, for width d, and bias 0 (detail 11). Scores then start at the scale of 1 for any width.
    """
    values = {"num_labels": 1, "pad_token_id": pad_token_id}
    folder = check_model_folder(name, revision)
    model = open_model(AutoModelForSequenceClassification, folder, "float32", config_values=values)
    if not _is_decoder(model):
        raise BadConfig(
            f"{type(model).__name__} has no linear layer 'score' to train; start from a decoder such as Llama"
        )
    width = model.score.in_features
    model.score = torch.nn.Linear(width, 1)
    with torch.no_grad():
        model.score.weight.normal_(
            0.0, 1 / math.sqrt(width + 1), generator=torch.Generator().manual_seed(seed)
        )
        model.score.bias.zero_()
    return model


def open_reward_model(
    name: str | Path, dtype: str | torch.dtype = "float32", revision: str | None = None
) -> PreTrainedModel:
    """A trained reward model, or any sequence classifier, in evaluation mode. A model without a head is refused."""
    folder = check_model_folder(name, revision)
    model, report = open_model(AutoModelForSequenceClassification, folder, dtype, output_loading_info=True)
    missing = sorted(report["missing_keys"])
    if missing:
        raise BadConfig(
            f"{str(folder)!r} is no trained reward model: it has no {', '.join(missing[:3])}; "
            "train one from it with run_reward_model"
        )
    if "score.bias" in report["unexpected_keys"] and model.score.bias is None:
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


def pad_right(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """``(input_ids_BT, attention_mask_BT)``, as wide as the longest row; padding is id 0 under mask 0."""
    input_ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    for index, row in enumerate(rows):
        input_ids[index, : len(row)] = torch.tensor(row, dtype=torch.long)
        attention_mask[index, : len(row)] = 1
    return input_ids, attention_mask


def last_token_scores(
    model: PreTrainedModel, input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> torch.Tensor:
    """scores_BL in float32, one column a label, at each row's last token under the mask."""
    if not _is_decoder(model):
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
    """scores_N of token rows, in order; rows of like length share a batch, so that little padding is computed."""
    scores = torch.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        input_ids, mask = (tensor.to(model.device) for tensor in pad_right([rows[index] for index in batch]))
        scores[batch] = last_token_scores(model, input_ids, mask)[:, column].cpu()
    return scores


class RewardModel(Reward):
    """Scores prompt + completion with a reward model's (or a classifier's) folder.

    folder      written by ``run_reward_model``, or any sequence classifier in safetensors; or a hub id
    revision    of a hub model
    label       which class's logit is the score, by name or index; needed where there are several
    device      where it runs: "cpu", "cuda", "cuda:1", ...
    batch_size  texts a forward pass
    append_eos  whether the model reads an EOS after the completion, as it did in training. A ``Sample`` does not
                tell whether its text had ended; what an unfinished one is worth is ``missing_eos`` of the method

    Constructing costs nothing: the model is opened at the first score, and a pickled copy carries its folder only.
    A text that is too long for the model, or that its tokenizer cannot write, is unscored, never cut.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        revision: str | None = None,
        label: str | int | None = None,
        device: str = "cpu",
        dtype: str = "float32",
        batch_size: int = 64,
        append_eos: bool = True,
        name: str = "reward_model",
    ) -> None:
        if batch_size < 1:
            raise BadConfig(f"batch_size is {batch_size}; it must be 1 or more")
        self.folder, self.revision, self.label = str(folder), revision, label
        self.device, self.dtype, self.batch_size = device, dtype, batch_size
        self.append_eos, self.name = append_eos, name
        self._opened: tuple[PreTrainedModel, Any, int] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def close(self) -> None:
        """Let go of the model; the next ``score`` opens it again."""
        self._opened = None

    def score(self, samples: Sequence[Sample]) -> list[float | None]:
        return [outcome.score for outcome in self.outcomes(samples)]

    def outcomes(self, samples: Sequence[Sample]) -> list[Outcome]:
        model, _, column = self._open()
        rows = self._rows(samples)
        outcomes = [Outcome(None, row) if isinstance(row, str) else None for row in rows]
        usable = [index for index, row in enumerate(rows) if not isinstance(row, str)]
        try:
            scores = score_rows(
                model, [rows[index] for index in usable], batch_size=self.batch_size, column=column
            )
        except RuntimeError as error:  # out of memory and the like: says nothing about the texts
            return self._remember([failed(error, error.__traceback__)] * len(samples))
        for index, score in zip(usable, scores.tolist(), strict=True):
            outcomes[index] = Outcome(*as_score(score))
        return self._remember(outcomes)

    def _open(self) -> tuple[PreTrainedModel, Any, int]:
        """(model, tokenizer, column of the score)."""
        if self._opened is None:
            model = open_reward_model(self.folder, self.dtype, self.revision).to(self.device)
            tokenizer = open_tokenizer(
                self.folder, self.revision, need_eos=_is_decoder(model) and self.append_eos
            )
            self._opened = (model, tokenizer, _column(model.config, self.label, self.folder))
        return self._opened

    def _rows(self, samples: Sequence[Sample]) -> list[list[int] | str]:
        """Token ids of every sample, or the reason why it has none."""
        model, tokenizer, _ = self._open()
        limit = getattr(model.config, "max_position_embeddings", None) or math.inf
        rows: list[list[int] | str] = []
        for sample in samples:
            try:
                row = self._row(model, tokenizer, sample)
            except BadData as error:
                rows.append(str(error))
                continue
            rows.append(
                row if 0 < len(row) <= limit else f"{len(row)} tokens; the reward model reads 1 to {limit}"
            )
        return rows

    def _row(self, model: PreTrainedModel, tokenizer: Any, sample: Sample) -> list[int]:
        prompt = sample.task.prompt
        if not _is_decoder(model):
            if not isinstance(prompt, str):
                raise BadConfig(f"the classifier in {self.folder!r} reads plain text, not chat messages")
            return encode_plain(tokenizer, [prompt + sample.completion], add_special_tokens=True)[0]
        if isinstance(prompt, str):
            start = encode_plain(tokenizer, [prompt], add_special_tokens=True)[0]
        elif tokenizer.chat_template:
            start = tokenizer.apply_chat_template(
                list(prompt), add_generation_prompt=True, tokenize=True, return_dict=False
            )
        else:
            raise BadConfig(
                f"the reward model in {self.folder!r} has no chat template, and the prompt is a list of messages; "
                "use a chat reward model or a plain-text environment"
            )
        end = [tokenizer.eos_token_id] if self.append_eos else []
        return start + encode_plain(tokenizer, [sample.completion])[0] + end


def _is_decoder(model: PreTrainedModel) -> bool:
    """Whether the score is read at the last token by a linear head; encoders (BERT) pool in their own way."""
    return isinstance(getattr(model, "score", None), torch.nn.Linear)


def _column(config: Any, label: str | int | None, folder: str) -> int:
    labels = {str(value): int(key) for key, value in config.id2label.items()}
    if label is None:
        if len(labels) > 1:
            raise BadConfig(
                f"the classifier in {folder!r} has {len(labels)} labels; set label to one of {sorted(labels)}"
            )
        return 0
    if isinstance(label, int) and 0 <= label < len(labels):
        return label
    if str(label) not in labels:
        raise unknown_name("label", str(label), labels)
    return labels[str(label)]
