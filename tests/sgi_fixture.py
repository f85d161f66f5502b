"""Small SGIRainbow configs, and their workers and learners built in the test's own process, without Ray."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from rllib_ext.sgi.dynamics import LatentDynamics
from rllib_ext.sgi.encoders import AtariEncoder
from rllib_ext.sgi.heads import FirstLayers
from rllib_ext.sgi.pretrained import Card, save_pretrained
from rllib_ext.sgi.rainbow import SGIRainbowConfig
from rllib_ext.sgi.runner import AtariRunner

SMALL: dict[str, Any] = {
    "encoder": "S", "hidden": 16, "learning_starts": 30, "steps_per_iteration": 40, "replay_capacity": 400,
    "train_batch_size_per_learner": 6, "spr_steps": 3, "n_step": 4, "updates_per_step": 1,
}  # fmt: skip


def small(env: str = "Atari100k/Pong", copies: int = 1, **settings: Any) -> SGIRainbowConfig:
    """A config that builds and learns in a moment."""
    config = SGIRainbowConfig().environment(env).debugging(seed=0, log_level="ERROR")
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=copies)
    config.evaluation(evaluation_interval=None)
    return config.training(**{**SMALL, **settings})


def runner_of(config: Any, **changes: Any) -> AtariRunner:
    """A worker of this config; changes: attributes of a copy of it."""
    config = config.copy(copy_frozen=False)
    for name, value in changes.items():
        setattr(config, name, value)
    return AtariRunner(config=config, worker_index=0, num_workers=0)


def learner_of(config: Any, seed: int = 0) -> Any:
    """A built learner of this config; its first weights come from ``seed``."""
    torch.manual_seed(seed)
    spec = config.get_multi_rl_module_spec(spaces=runner_of(config).get_spaces(), inference_only=False)
    learner = config.get_default_learner_class()(config=config, module_spec=spec)
    learner.build()
    return learner


def random_windows(
    rows: int = 6, spr_steps: int = 3, actions: int = 6, seed: int = 0
) -> dict[str, np.ndarray]:
    """Columns of `replay.Windows` at random, none of whose episodes ends."""
    random = np.random.default_rng(seed)
    return {
        "frames": random.integers(0, 256, (rows, 4 + spr_steps, 84, 84)).astype(np.uint8),
        "next_stack": random.integers(0, 256, (rows, 4, 84, 84)).astype(np.uint8),
        "actions": random.integers(0, actions, (rows, spr_steps)),
        "returns": random.normal(size=rows).astype(np.float32),
        "discounts": np.full(rows, 0.96, np.float32),
        "masks": np.ones((rows, spr_steps), np.float32),
        "weights": np.linspace(0.2, 1, rows).astype(np.float32),
        "index": np.arange(rows),
    }


def batch_of(columns: dict[str, np.ndarray]) -> MultiAgentBatch:
    """What a learner is given."""
    return MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(columns)}, env_steps=len(columns["index"]))


def tensors_of(columns: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(column) for name, column in columns.items()}


def update(learner: Any, columns: dict[str, np.ndarray]) -> None:
    """One update."""
    learner.update(batch=batch_of(columns), timesteps={"num_env_steps_sampled_lifetime": 1})


def some_stacks(count: int = 5, seed: int = 1) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, 4, 84, 84), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def pretrained_folder(
    folder: Any, *, encoder: str = "S", hidden: int = 16, actions: int = 6, seed: int = 5
) -> Any:
    """A folder as SGIPretrain leaves it, of networks drawn at random; averages are drawn apart."""
    torch.manual_seed(seed)
    nets = {name: AtariEncoder(encoder) for name in ("encoder", "target_encoder")}
    latent = nets["encoder"].latent_dim
    nets |= {name: FirstLayers(latent, hidden) for name in ("first_layers", "target_first_layers")}
    nets["dynamics"] = LatentDynamics(nets["encoder"].channels, actions)
    nets["predictor"] = torch.nn.Linear(2 * hidden, 2 * hidden)
    meanings = ("NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE") if actions == 6 else ()
    card = Card(encoder, hidden, actions, "Pong", "SGI", 5, 0, meanings)
    return save_pretrained(
        folder, tensors={name: net.state_dict() for name, net in nets.items()}, card=card
    ), nets
