"""PPO learners for tests: built in the test's process, away from their beginnings, with samples that fit them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from local_learner import build_learner, slow_logps, some_groups
from tiny_language import save_tiny_model

from rllib_ext.llm.batch import Completion, Group
from rllib_ext.llm.from_scratch import save_model
from rllib_ext.llm.reward_head import new_reward_model
from rllib_ext.llm.safety import open_tokenizer
from rllib_ext.ppo_llm.config import AsyncPPOConfig
from rllib_ext.ppo_llm.learner import PPOLearner

TEMPERATURE, NEW_TOKENS = 0.7, 8  # ``some_groups`` writes up to 8 tokens: some completions fill the response


def save_reward_model(folder: Path, policy: str, *, seed: int = 3, bias: float = 0.25) -> str:
    """A reward model as ``run_reward_model`` leaves it: random head, a bias as of normalisation."""
    tokenizer = open_tokenizer(policy)
    model = new_reward_model(policy, seed=seed, pad_token_id=tokenizer.pad_token_id)
    with torch.no_grad():
        model.score.bias.fill_(bias)
    return str(save_model(model, tokenizer, folder))


def save_models(folder: Path, architecture: str = "llama") -> tuple[str, str]:
    """(policy, reward model) folders."""
    policy = save_tiny_model(folder / "policy", architecture=architecture)
    return policy, save_reward_model(folder / "reward", policy)


def ppo_learner(models: tuple[str, str], *, moved: float = 0.02, **settings: Any) -> PPOLearner:
    """A learner whose policy and critic are ``moved`` away from reference and reward model (0: not at all)."""
    defaults = {"value_model": models[1], "max_new_tokens": NEW_TOKENS, "max_prompt_tokens": 16}
    learner = build_learner(AsyncPPOConfig, models[0], **{**defaults, **settings})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in learner.language_module.parameters():
            parameter.add_(moved * torch.randn(parameter.shape, generator=generator))
    return learner


@torch.no_grad()
def sampled_by(model: torch.nn.Module, groups: list[Group], noise: float = 0.0, seed: int = 0) -> list[Group]:
    """The groups with log-probabilities of ``model`` as behaviour, or of a policy ``noise`` nats a token away."""
    rng = np.random.default_rng(seed)
    found = []
    for group in groups:
        completions = [
            replace(c, logps=((logps.numpy() + noise * rng.standard_normal(len(c.ids))) * c.sampled).astype(np.float32))
            for c, logps in zip(group.completions, slow_logps(model, group, TEMPERATURE), strict=True)
        ]  # fmt: skip
        found.append(replace(group, completions=tuple(completions)))
    return found


def groups_for(
    learner: PPOLearner,
    rows: int = 5,
    kept: int = 2,
    noise: float = 0.1,
    seed: int = 0,
    unscored: bool = True,
) -> list[Group]:
    """Random groups, some tokens an environment's, sampled by a policy a little away from the learner's."""
    groups = some_groups(rows, kept, seed, unscored=unscored)
    return sampled_by(learner.language_module.model, groups, noise, seed)


def answer(ids: Sequence[int], score: float | None = 1.0, finished: bool = True) -> Completion:
    """A completion of these tokens, all of them sampled."""
    count = len(ids)
    return Completion(
        np.asarray(ids), np.full(count, -1.0, np.float32), np.ones(count, np.float32), score, finished
    )


def group(*answers: Completion, prompt: Sequence[int] = (1, 2, 3), index: int = 0) -> Group:
    return Group((0, index), np.asarray(prompt), tuple(answers), 0)


def once(learner: PPOLearner, groups: list[Group], minibatch: int = 1) -> dict[str, torch.Tensor]:
    """The columns that a mini-batch's passes share, as they stand after the first pass."""
    from local_learner import update

    update(learner, groups, minibatch)
    return learner._cached[1]


def low_words(prompt: str, completion: str, reference: str) -> float:
    """A reward for content: +1/6 for a word below w20, -1/6 for one above; saying nothing is worth 0."""
    numbers = [int(word[1:]) for word in completion.split() if word[1:].isdigit()]
    return sum(1 if number < 20 else -1 for number in numbers) / 6
