"""PPO for language models a second time, in loops over single tokens and unpadded sequences: what the learner must equal.

Nothing of the package's mathematics is used; models are called on one sequence at a time. Differentiable.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from rllib_ext.llm.batch import Group


@dataclass
class Settings:
    """The knobs, by the names that AsyncPPOConfig gives them."""

    temperature: float = 0.7
    max_new_tokens: int = 8
    kl_coef: float = 0.05
    gamma: float = 1.0
    gae_lambda: float = 0.95
    clip: float = 0.2
    value_clip: float | None = 0.2
    value_coef: float = 0.1
    whiten_advantages: bool = True
    whiten_rewards: bool = False


@dataclass
class Row:
    """One completion: constants of the mini-batch, lists over its steps. paid: the index that the score lands on."""

    ids: torch.Tensor
    prompt: int
    sampled: list[float]
    behaviour: list[float]
    score: float
    old_values: list[float] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    advantages: list[float] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)
    paid: int = 0

    @property
    def length(self) -> int:
        return len(self.sampled)


def rows_of(groups: list[Group]) -> list[Row]:
    return [
        Row(
            torch.as_tensor(np.concatenate([group.prompt_ids, c.ids]))[None], len(group.prompt_ids), c.sampled.tolist(),
            c.logps.tolist(), c.score,
        )
        for group in groups
        for c in group.completions
        if c.score is not None
    ]  # fmt: skip


def logps(model: torch.nn.Module, row: Row, temperature: float) -> torch.Tensor:
    logits = model(input_ids=row.ids).logits[0, row.prompt - 1 : -1] / temperature
    return torch.log_softmax(logits, -1).gather(1, row.ids[0, row.prompt :, None])[:, 0]


def values(critic: Any, row: Row) -> torch.Tensor:
    """V before every token, and after the last: one more than there are tokens."""
    hidden = critic.base_model(input_ids=row.ids).last_hidden_state[0, row.prompt - 1 :]
    return critic.score(hidden)[:, 0]


def whitened(numbers: list[float], keep_mean: bool) -> list[float]:
    mean = sum(numbers) / len(numbers)
    variance = sum((x - mean) ** 2 for x in numbers) / len(numbers)
    return [(x - mean) / (variance + 1e-8) ** 0.5 + (mean if keep_mean else 0.0) for x in numbers]


@torch.no_grad()
def prepare(rows: list[Row], reference: Any, critic: Any, settings: Settings) -> None:
    """Fill in everything that is made once from the old policy and the old critic."""
    for row in rows:
        row.paid = row.length if row.length < settings.max_new_tokens else row.length - 1
        row.old_values = values(critic, row)[: row.paid + 1].tolist()
        then = logps(reference, row, settings.temperature).tolist()
        row.rewards = [0.0] * (row.paid + 1)
        for t in range(row.length):
            if row.sampled[t]:
                row.rewards[t] = -settings.kl_coef * (row.behaviour[t] - then[t])
        row.rewards[row.paid] += row.score
    if settings.whiten_rewards:
        flat = iter(whitened([r for row in rows for r in row.rewards], keep_mean=True))
        for row in rows:
            row.rewards = [next(flat) for _ in row.rewards]
    for row in rows:
        running, row.advantages = 0.0, [0.0] * len(row.rewards)
        for t in reversed(range(len(row.rewards))):
            following = row.old_values[t + 1] if t + 1 < len(row.rewards) else 0.0
            error = row.rewards[t] + settings.gamma * following - row.old_values[t]
            running = error + settings.gamma * settings.gae_lambda * running
            row.advantages[t] = running
        row.returns = [a + v for a, v in zip(row.advantages, row.old_values, strict=True)]
    if settings.whiten_advantages:
        chosen = [(row, t) for row in rows for t in range(row.length) if row.sampled[t]]
        shifted = whitened([row.advantages[t] for row, t in chosen], keep_mean=False)
        for (row, t), value in zip(chosen, shifted, strict=True):
            row.advantages[t] = value


def loss(rows: list[Row], policy: Any, critic: Any, settings: Settings) -> torch.Tensor:
    """Token mean of the policy loss + value_coef * step mean of the value loss."""
    policy_terms, value_terms = [], []
    for row in rows:
        now, worth = logps(policy, row, settings.temperature), values(critic, row)
        for t in range(row.length):
            if row.sampled[t]:
                ratio = torch.exp(now[t] - row.behaviour[t])
                bounded = ratio.clamp(1 - settings.clip, 1 + settings.clip)
                policy_terms.append(-torch.minimum(row.advantages[t] * ratio, row.advantages[t] * bounded))
        for t in range(row.paid + 1):
            free = (worth[t] - row.returns[t]) ** 2
            if settings.value_clip is None:
                value_terms.append(0.5 * free)
                continue
            near = row.old_values[t] + (worth[t] - row.old_values[t]).clamp(
                -settings.value_clip, settings.value_clip
            )
            value_terms.append(0.5 * torch.maximum(free, (near - row.returns[t]) ** 2))
    return torch.stack(policy_terms).mean() + settings.value_coef * torch.stack(value_terms).mean()
