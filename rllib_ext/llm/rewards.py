"""A reward model, or any sequence classifier, as a ``Reward`` for text environments.

What a score is and where it is read: ``reward_head``. Left out: training (``supervised.run_reward_model``)
and ensembles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from envs.text.rewards import Reward
from envs.text.score import Outcome, as_score, failed
from envs.text.task import Sample
from rllib_ext.errors import BadConfig, BadData, unknown_name
from rllib_ext.llm.reward_head import has_score_head, open_reward_model, score_rows
from rllib_ext.llm.safety import encode_plain, open_tokenizer


class RewardModel(Reward):
    """Scores prompt + completion with a reward model's (or a classifier's) folder.

    folder      written by ``run_reward_model``, or any sequence classifier in safetensors; or a hub id
    revision    of a hub model
    label       which class's logit is the score, by name or index; needed where there are several
    device      where it runs: "cpu", "cuda", "cuda:1", ...
    batch_size  texts a forward pass
    append_eos  whether the model reads an EOS after the completion, as it did in training. A ``Sample`` does
                not tell whether its text had ended; what an unfinished one is worth is ``missing_eos`` of the
                method

    Constructing costs nothing: the model is opened at the first score, and a pickled copy carries its folder
    only. A text that is too long for the model, or that its tokenizer cannot write, is unscored, never cut.
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
                self.folder, self.revision, need_eos=has_score_head(model) and self.append_eos
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
            except BadData:
                rows.append("cannot be written in the reward model's vocabulary")
                continue
            rows.append(row if 0 < len(row) <= limit else f"empty, or over the reward model's {limit} tokens")
        return rows

    def _row(self, model: PreTrainedModel, tokenizer: Any, sample: Sample) -> list[int]:
        prompt = sample.task.prompt
        if not has_score_head(model):
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
                f"the reward model in {self.folder!r} has no chat template, and the prompt is chat messages; "
                "use a chat reward model or a plain-text environment"
            )
        end = [tokenizer.eos_token_id] if self.append_eos else []
        return start + encode_plain(tokenizer, [sample.completion])[0] + end


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
