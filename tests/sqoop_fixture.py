"""Small SQOOP configs, their learners built in the test's own process without Ray, and models on made-up questions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from torch import Tensor

from rllib_ext.sqoop import SQOOPConfig, build_encoder
from rllib_ext.sqoop.answering import AnswerEncoder

SHAPE, GLYPHS = (24, 24, 1), 8
SMALL: dict[str, Any] = {
    "module": "find", "train_scenes": 64, "eval_scenes": 32, "updates_per_iteration": 3, "evaluate_every": 1,
    "train_batch_size_per_learner": 8,
}  # fmt: skip


def small(**settings: Any) -> SQOOPConfig:
    """A config that builds and learns in a moment."""
    config = SQOOPConfig().debugging(seed=3, log_level="ERROR")
    return config.training(**{**SMALL, **settings})


def learner_of(config: SQOOPConfig, seed: int = 0) -> Any:
    """A built learner of this config; its first weights come from ``seed``."""
    config.validate()
    torch.manual_seed(seed)
    learner = config.get_default_learner_class()(config=config, module_spec=config.get_multi_rl_module_spec())
    learner.build()
    return learner


def update(learner: Any, times: int = 1) -> dict[str, float]:
    """So many updates; the figures that the learner reports of them."""
    batch = MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch({"updates": np.zeros(1)})}, env_steps=1)
    steps = {"num_env_steps_sampled_lifetime": 0}
    found = learner.update(batch=batch, timesteps=steps, num_epochs=times)[DEFAULT_MODULE_ID]
    return {name: float(stat.peek() if hasattr(stat, "peek") else stat) for name, stat in found.items()}


def weights(learner: Any) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in learner.encoder.state_dict().items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def model(seed: int = 0, **settings: Any) -> AnswerEncoder:
    """A mini model with weights of ``seed``, in evaluation mode."""
    torch.manual_seed(seed)
    made = build_encoder({"image_shape": SHAPE, "vocabulary": GLYPHS + 4, **settings})
    return made.eval()


def questions(batch: int = 6, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """(image, question, answer): noise, and X, relation and Y by lot."""
    draw = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (batch, *SHAPE), generator=draw, dtype=torch.uint8)
    words = torch.randint(0, GLYPHS, (batch, 3), generator=draw)
    words[:, 1] = torch.randint(GLYPHS, GLYPHS + 4, (batch,), generator=draw)
    return image, words, torch.randint(0, 2, (batch,), generator=draw)
