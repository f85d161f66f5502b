"""Small SGIPretrain configs on made-up frames, and their learners built in the test's own process, without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from frames_fixture import episode, write
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from rllib_ext.sgi.pretraining import SGIPretrainConfig

MEANINGS = ["NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE"]
ABOUT = {"game": "Pong", "behaviour": "made up", "action_meanings": MEANINGS, "flags": {"sticky": 0.0}}
SMALL: dict[str, Any] = {
    "encoder": "S", "hidden": 16, "horizon": 3, "train_batch_size_per_learner": 6, "updates_per_iteration": 2,
    "goal_farthest": 12, "prefetch": 0, "precision": "float32",
}  # fmt: skip


def data(folder: Path) -> Path:
    """Two games of Pong, of 40 and 25 steps, with a memory whose byte 51 says how bright the frame is."""
    games = [episode(0, 40), episode(1, 25, end="truncated")]
    for game in games:
        shade = np.random.default_rng(len(game["t"])).integers(0, 256, len(game["t"]))
        game["frames_NHW"] = np.maximum(game["frames_NHW"] // 8, shade[:, None, None]).astype(np.uint8)
        game["ram"] = np.zeros((len(game["t"]), 128), np.uint8)
        game["ram"][:, 51] = shade
    return write(folder, *games, about=ABOUT, ram=True)


def small(folder: Path, **settings: Any) -> SGIPretrainConfig:
    """A config that builds and learns in a moment."""
    config = SGIPretrainConfig().debugging(seed=3, log_level="ERROR")
    return config.training(**{**SMALL, "data": str(folder), **settings})


def learner_of(config: SGIPretrainConfig, seed: int = 0) -> Any:
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


def weights(learner: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in learner.networks.state_dict().items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
