"""Small runs of the language-model algorithms for the integration tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tiny_language import copy_env

import rllib_ext


def tiny_config(model: str, name: str = "AsyncOnlineDPO", **settings: Any) -> Any:
    """A config of the named algorithm on the copy language, Hugging Face engine, one worker, one thread each."""
    from ray import tune

    rllib_ext.register()
    tune.register_env("Copy", copy_env)
    defaults = {
        "engine": "hf",
        "max_prompt_tokens": 8,
        "max_new_tokens": 6,
        "prompts_per_minibatch": 8,
        "lr": 3e-3,
        "total_updates": 50,
        "temperature": 1.0,
        "missing_eos": "keep",
        "engine_threads": 1,
        "learner_threads": 1,
        "evaluation_prompts": 16,
        "worker_timeout_s": 60.0,
    }
    runners = settings.pop("num_env_runners", 1)
    learners = settings.pop("num_learners", 0)
    env_config = settings.pop("env_config", {})
    config = getattr(rllib_ext, f"{name}Config")().environment("Copy", env_config=env_config)
    config = config.debugging(seed=settings.pop("seed", 1)).evaluation(evaluation_interval=None)
    config = config.env_runners(num_env_runners=runners, num_cpus_per_env_runner=0.5)
    config = config.learners(num_learners=learners, num_cpus_per_learner=0.5)
    return config.training(model=model, **{**defaults, **settings})


@contextmanager
def running(config: Any, folder: Path) -> Iterator[Any]:
    """The algorithm of ``config``, writing into ``folder``; stopped at the end."""
    algorithm = config.training(run_folder=str(folder)).build_algo()
    try:
        yield algorithm
    finally:
        algorithm.stop()


def weights_of(algorithm: Any) -> dict[str, torch.Tensor]:
    """A copy of the policy's weights."""
    return algorithm.on_learner(lambda learner, **_: learner.language_module.get_state())


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Bit-equality of two state dicts."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
