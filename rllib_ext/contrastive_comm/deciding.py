"""One step of all agents of all environments through the module: messages, memories, actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from envs.batched import Moment


@dataclass(frozen=True)
class Decision:
    """actions_BA int64; logps_BA, values_BA float32; said_BAD messages; memory_ABH after the step."""

    actions_BA: np.ndarray
    logps_BA: np.ndarray
    values_BA: np.ndarray
    said_BAD: np.ndarray
    memory_ABH: torch.Tensor


@torch.no_grad()
def decide(
    policy: Any, now: Moment, inbox_BAW: np.ndarray, memory_ABH: torch.Tensor, sampler: torch.Generator | None
) -> Decision:
    """sampler: where actions are drawn from; None: the likeliest action."""
    encodings = policy.encode(torch.from_numpy(now.observations_BAO).transpose(0, 1))
    said = policy.speak(encodings)
    inputs = policy.listen(encodings, torch.from_numpy(inbox_BAW).transpose(0, 1))
    old = torch.from_numpy(~now.first_BA).T.unsqueeze(-1)
    memory = policy.gru.step(policy.gru.from_input(inputs), memory_ABH * old)
    logits, values = policy.act(memory, legal(now, policy.actions))
    if sampler is None:
        actions = logits.argmax(-1)
    else:  # Gumbel: the largest of the noisy logits is a draw from the softmax
        noise = -torch.empty_like(logits).exponential_(generator=sampler).log()
        actions = (logits + noise).argmax(-1)
    logps = logits.log_softmax(-1).gather(-1, actions.unsqueeze(-1)).squeeze(-1)
    columns = (column.transpose(0, 1).numpy() for column in (actions, logps, values, said))
    return Decision(*columns, memory)


@torch.no_grad()
def values_at(
    policy: Any,
    observations_RAO: np.ndarray,
    inbox_RAW: np.ndarray,
    first_RA: np.ndarray,
    memory_ARH: torch.Tensor,
) -> np.ndarray:
    """(R, A) values of what is seen next, from memories up to now."""
    encodings = policy.encode(torch.from_numpy(observations_RAO).transpose(0, 1))
    inputs = policy.listen(encodings, torch.from_numpy(inbox_RAW).transpose(0, 1))
    old = torch.from_numpy(~first_RA).T.unsqueeze(-1)
    memory = policy.gru.step(policy.gru.from_input(inputs), memory_ARH * old)
    return policy.value_head(memory).squeeze(-1).T.numpy()


def legal(now: Moment, actions: int) -> torch.Tensor:
    """(A, B, N) legal actions; all of them where the environment does not say."""
    if now.masks_BAN is None:
        agents_rows = now.active_BA.T.shape
        return torch.ones(1, 1, 1, dtype=torch.bool).expand(*agents_rows, actions)
    return torch.from_numpy(now.masks_BAN).transpose(0, 1)
