"""Learners built in the test's own process, without an algorithm, and mini-batches for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from envs.text.space import FreeText
from rllib_ext.llm.batch import Completion, Group, to_columns
from rllib_ext.llm.learner import LLMLearner


def build_learner(kind: type, model: str, **settings: Any) -> LLMLearner:
    """The learner of a config class, on a model folder; weights of the folder, plain text spaces."""
    config = (
        kind().environment("Copy").training(**{"model": model, "lr": 1e-2, "temperature": 0.7, **settings})
    )
    config.validate()
    spec = config.get_default_rl_module_spec()
    spec.observation_space = spec.action_space = FreeText()
    learner = config.get_default_learner_class()(
        config=config, module_spec=MultiRLModuleSpec(rl_module_specs={DEFAULT_MODULE_ID: spec})
    )
    learner.build()
    return learner


def some_groups(rows: int, kept: int, seed: int = 0, unscored: bool = False) -> list[Group]:
    """Random prompts and completions of different lengths; later tokens may be an environment's."""
    rng = np.random.default_rng(seed)
    groups = []
    for row in range(rows):
        completions = []
        for k in range(kept):
            length = int(rng.integers(2, 9))
            sampled = np.ones(length, np.float32)
            sampled[1 : 1 + int(rng.integers(0, 2))] = 0.0
            logps = -rng.random(length).astype(np.float32) * sampled
            score = None if unscored and k == 1 and row % 2 else float(rng.standard_normal())
            completions.append(Completion(rng.integers(0, 40, length), logps, sampled, score, True))
        groups.append(Group((0, row), rng.integers(0, 40, rng.integers(1, 7)), tuple(completions), 0))
    return groups


def update(learner: LLMLearner, groups: list[Group], minibatch: int = 1) -> dict[str, Any]:
    """One optimizer step; returns the module's metrics as plain values."""
    columns = to_columns(groups)
    columns["minibatch"] = np.full(len(groups), minibatch)
    batch = MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(columns)}, env_steps=len(groups))
    metrics = learner.update(batch=batch)[DEFAULT_MODULE_ID]
    return {name: stat.peek() if hasattr(stat, "peek") else stat for name, stat in metrics.items()}


def weights_of(learner: LLMLearner) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in learner.language_module.state_dict().items()}


def optimizer_of(learner: LLMLearner) -> dict[str, torch.Tensor]:
    """Every tensor of the optimizer's state, by parameter and name."""
    state = learner.optimizer.state_dict()["state"]
    return {f"{p}.{name}": v.clone() for p, values in state.items() for name, v in values.items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor], within: float = 0.0) -> bool:
    """Equality to the bit, or within a distance."""
    return left.keys() == right.keys() and all(
        torch.equal(left[n], right[n]) if not within else (left[n] - right[n]).abs().max() <= within
        for n in left
    )


def slow_logps(model: torch.nn.Module, group: Group, temperature: float) -> list[torch.Tensor]:
    """Log-probabilities (T,) of every completion, one unpadded sequence at a time."""
    found = []
    for completion in group.completions:
        ids = torch.as_tensor(np.concatenate([group.prompt_ids, completion.ids]))[None]
        logits = model(input_ids=ids).logits[0, len(group.prompt_ids) - 1 : -1].float()
        logps = torch.log_softmax(logits / temperature, -1)
        found.append(logps.gather(1, ids[0, len(group.prompt_ids) :, None])[:, 0])
    return found
