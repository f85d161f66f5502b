"""How many CPU threads a learner in the driver's process uses, so that it does not fight the rollout workers."""

from __future__ import annotations

from typing import Any

import torch

from rllib_ext.runtime.ray_session import available_cores


def learner_threads(config: Any, cores: int) -> int:
    """The knob where it is set; else all cores in sync mode, and in async mode those the workers leave free."""
    if config.learner_threads:
        return config.learner_threads
    if config.mode == "sync":
        return cores
    taken = config.num_env_runners * (config.engine_threads or max(1, int(config.num_cpus_per_env_runner)))
    return max(1, cores - taken)


def set_learner_threads(config: Any) -> None:
    """Apply it where the learner is local; learner actors get theirs from Ray's reservation."""
    if config.num_learners == 0 and not torch.cuda.is_available():
        torch.set_num_threads(learner_threads(config, available_cores()))
