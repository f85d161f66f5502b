"""Algorithms with Elastic Reset that are small enough for a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from rllib_ext.elastic_reset import ElasticResetPPOConfig

MODULE = "default_policy"


def cartpole(
    kind: Any = ElasticResetPPOConfig, *, workers: int = 0, learners: int = 0, **settings: Any
) -> Any:
    """PPO on CartPole: 64 steps an iteration, two passes, four gradient steps."""
    config = kind().environment("CartPole-v1").debugging(seed=3)
    config = config.env_runners(num_env_runners=workers, num_cpus_per_env_runner=0.25)
    config = config.learners(num_learners=learners, num_cpus_per_learner=0.25)
    config = config.rl_module(model_config={"fcnet_hiddens": [8], "vf_share_layers": False})
    batch = 64 // max(1, learners)
    fixed = {"train_batch_size_per_learner": batch, "minibatch_size": batch // 2, "num_epochs": 2, "lr": 0.01}
    return config.training(**{**fixed, **settings})


@contextmanager
def built(config: Any) -> Iterator[Any]:
    """The algorithm of ``config``; stopped at the end."""
    algorithm = config.build_algo()
    try:
        yield algorithm
    finally:
        algorithm.stop()


def learner_of(algorithm: Any) -> Any:
    """The local learner."""
    return algorithm.learner_group._learner


def module_state(learner: Any, module_id: str = MODULE) -> dict[str, torch.Tensor]:
    """A copy of every tensor of a module."""
    return {n: t.detach().clone() for n, t in learner.module[module_id].unwrapped().state_dict().items()}


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Bit-equality by name; names that only one has are let pass where it holds nothing else."""
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n].to(left[n].dtype)) for n in left)
