"""The critic: a reward model's architecture whose head is read at every position instead of the last one.

V_t values the state before token t, prompt and y_<t, so it comes from the position that predicts token t, and V_L, one
after the last of L tokens, has read the whole completion: there a critic that begins as the reward model says exactly
the reward model's score (N+ detail 22). Positions count from the first real token, so that left-padded prompts give
what the right-padded texts of reward-model training give; the paper leaves them uncorrected and reports the difference
(detail 14).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from transformers import PreTrainedModel

from rllib_ext.errors import BadConfig
from rllib_ext.functional.arguments import at_least_float32
from rllib_ext.llm.forward import completion_outputs
from rllib_ext.llm.reward_head import has_score_head, new_reward_model, open_reward_model
from rllib_ext.llm.safety import open_tokenizer


def open_critic(settings: dict[str, Any]) -> PreTrainedModel:
    """The reward model of ``value_model``, or the policy's backbone under a head of zeros.

    settings: model, revision, dtype, seed, value_model, value_revision. Zeros, because a head drawn at random would
    begin with advantages made of its noise.
    """
    folder = settings["value_model"]
    if folder is None:
        critic = new_reward_model(
            settings["model"], seed=settings["seed"], pad_token_id=0, revision=settings["revision"]
        )
        torch.nn.init.zeros_(critic.score.weight)
        return critic.to(getattr(torch, settings["dtype"]))
    critic = open_reward_model(folder, settings["dtype"], settings["value_revision"])
    if not has_score_head(critic) or critic.score.out_features != 1:
        raise BadConfig(
            f"value_model {folder!r} is no reward model: it needs one linear head 'score' of width 1 that reads every "
            "position; train one with run_reward_model, or leave value_model unset"
        )
    own = open_tokenizer(settings["model"], settings["revision"]).get_vocab()
    if open_tokenizer(folder, settings["value_revision"]).get_vocab() != own:
        raise BadConfig(
            f"value_model {folder!r} has another vocabulary than model {settings['model']!r}, and the critic reads the "
            "policy's token ids; train the reward model from the same SFT model, or leave value_model unset"
        )
    return critic


def as_outputs(critic: torch.nn.Module, **inputs: Any) -> SimpleNamespace:
    """The critic as ``completion_outputs`` calls a model; its "logits" are values (B, T, 1)."""
    keep = inputs.pop("logits_to_keep", 0)
    answer = critic.base_model(**inputs)
    values = critic.score(answer.last_hidden_state[:, -keep:])
    return SimpleNamespace(logits=values, past_key_values=getattr(answer, "past_key_values", None))


def completion_values(
    critic: torch.nn.Module, batch: dict[str, torch.Tensor], *, share_prompts: bool = False
) -> torch.Tensor:
    """values_RKT, float32 or wider: column t is V of the state before token t. Beyond column L they mean nothing."""
    values_BT1 = completion_outputs(
        lambda **inputs: as_outputs(critic, **inputs), batch, share_prompts=share_prompts
    )
    return at_least_float32(values_BT1[..., 0]).reshape(batch["token_ids"].shape)
