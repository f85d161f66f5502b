"""The supervised stages: finetuning on demonstrations (SFT), and reward models on preference pairs.

Source: "The N+ Implementation Details of RLHF with PPO" (arXiv 2403.17031); numbers of details as in the
async RLHF specification, part B.1. Rows, masks and losses are in ``supervised_rows``, the loop is in
``supervised_trainer``. Each stage reads a model folder and writes one: model and tokenizer, ready for the
next.

Dropout is off in every model that is opened (detail 7). Left out: how prompts are formatted and targets
spaced (the caller's, detail 3), and diagnostics by labelling batch and confidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from transformers import PreTrainedModel

from rllib_ext.errors import BadData, unknown_name
from rllib_ext.llm.from_scratch import save_model
from rllib_ext.llm.reward_head import new_reward_model, normalise
from rllib_ext.llm.safety import open_causal_lm, open_tokenizer
from rllib_ext.llm.supervised_rows import (
    Pair,
    Preference,
    agreement,
    collate_preferences,
    collate_sft,
    mean_sft_loss,
    preference_loss,
    preference_rows,
    sft_loss,
    sft_rows,
)
from rllib_ext.llm.supervised_settings import Training
from rllib_ext.llm.supervised_trainer import TrainingRun, train
from rllib_ext.llm.supervised_watch import OnLog

__all__ = ["RewardModelReport", "SFTReport", "Training", "run_reward_model", "run_sft"]


@dataclass(frozen=True)
class SFTReport(TrainingRun):
    """A ``TrainingRun`` (losses in nats a token), and: eval_loss of the held-out pairs; folder, where the
    model is; dropped, how many training pairs were too long.
    """

    eval_loss: float | None
    folder: str
    dropped: int


@dataclass(frozen=True)
class RewardModelReport(TrainingRun):
    """A ``TrainingRun`` (losses in nats a pair), and, of held-out pairs: accuracy, and margin, the mean of
    chosen minus rejected score. Of the references: bias, what normalisation set the head's bias to, and
    reference_mean, their mean score after it. folder and dropped as in ``SFTReport``.
    """

    accuracy: float | None
    margin: float | None
    bias: float
    reference_mean: float | None
    folder: str
    dropped: int


def run_sft(
    *,
    model_folder: str | Path,
    pairs: Sequence[Pair],
    output_folder: str | Path,
    loss_on: Literal["all", "completion"] = "all",
    eval_pairs: Sequence[Pair] = (),
    max_length: int | None = None,
    revision: str | None = None,
    on_log: OnLog | None = None,
    **training: Any,
) -> SFTReport:
    """Finetune a causal LM on (prompt, target) pairs, and save it with its tokenizer in ``output_folder``.

    loss_on     "all": next-token cross entropy on every token but padding, prompt included (detail 9);
                "completion": on the target and its EOS only
    eval_pairs  held-out pairs
    max_length  longest row in tokens, EOS included; None: what the model can read. Longer ones are dropped
    revision    of a hub model
    on_log      gets step, loss, learning_rate, grad_norm, seconds and tokens
    training    see ``Training``; lr is required
    """
    settings = Training.of(training)
    if loss_on not in ("all", "completion"):
        raise unknown_name("loss_on", loss_on, ("all", "completion"))
    tokenizer = open_tokenizer(model_folder, revision)
    model = open_causal_lm(model_folder, revision=revision)
    longest = _longest(model, max_length)
    rows, dropped = sft_rows(pairs, tokenizer, loss_on=loss_on, max_length=longest)
    held_out, _ = sft_rows(eval_pairs, tokenizer, loss_on=loss_on, max_length=longest)
    run = train(model, rows, collate_sft, sft_loss, settings, on_log)
    eval_loss = mean_sft_loss(model, held_out, settings.batch_size) if held_out else None
    folder = save_model(model, tokenizer, output_folder)
    return SFTReport(**asdict(run), eval_loss=eval_loss, folder=str(folder), dropped=dropped)


def run_reward_model(
    *,
    model_folder: str | Path,
    pairs: Sequence[Preference],
    output_folder: str | Path,
    references: Sequence[Pair] | None,
    eval_pairs: Sequence[Preference] = (),
    max_length: int | None = None,
    revision: str | None = None,
    on_log: OnLog | None = None,
    **training: Any,
) -> RewardModelReport:
    """Train a reward model on (prompt, chosen, rejected), starting from the SFT model in ``model_folder``.

    Loss -log sigmoid(r_chosen - r_rejected), both sides in one forward pass (detail 10); head as in detail
    11.
    references  (prompt, completion) pairs whose mean score the bias subtracts afterwards (detail 15: the SFT
                data; the scale stays); None: no normalisation
    Everything else is as in ``run_sft``.
    """
    settings = Training.of(training)
    tokenizer = open_tokenizer(model_folder, revision)
    model = new_reward_model(
        model_folder, seed=settings.seed, pad_token_id=tokenizer.pad_token_id, revision=revision
    )
    longest = _longest(model, max_length)
    rows, dropped = preference_rows(pairs, tokenizer, max_length=longest)
    held_out, _ = preference_rows(eval_pairs, tokenizer, max_length=longest)
    reference_rows, _ = sft_rows(references or (), tokenizer, max_length=longest)
    if references is not None and not reference_rows:
        raise BadData(
            "no reference is short enough to be scored; give some, or references=None to normalise nothing"
        )
    run = train(model, rows, collate_preferences, preference_loss, settings, on_log)
    reference_ids = [row["input_ids"] for row in reference_rows]
    reference_mean = normalise(model, reference_ids, settings.batch_size) if reference_rows else None
    accuracy, margin = agreement(model, held_out, settings.batch_size) if held_out else (None, None)
    folder = save_model(model, tokenizer, output_folder)
    return RewardModelReport(
        **asdict(run),
        accuracy=accuracy,
        margin=margin,
        bias=model.score.bias.item(),
        reference_mean=reference_mean,
        folder=str(folder),
        dropped=dropped,
    )


def _longest(model: PreTrainedModel, max_length: int | None) -> float:
    readable = getattr(model.config, "max_position_embeddings", None) or math.inf
    return min(readable, max_length or math.inf)
