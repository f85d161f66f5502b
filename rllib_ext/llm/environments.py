"""Making a text environment inside a rollout worker from what ``.environment(...)`` was told."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import gymnasium as gym
from ray.rllib.env.env_context import EnvContext
from ray.tune.registry import ENV_CREATOR, _global_registry

from rllib_ext.errors import BadEnv

# Environments without a table of tasks draw their prompts from seeds; held-out prompts come from seeds up here.
HELD_OUT_SEEDS = 2**30


def make_environment(
    env: str | type, settings: dict[str, Any], count_tokens: Callable[[str], int], worker_index: int
) -> gym.Env:
    """The environment of a registered name, a Gymnasium id or a class.

    Environments of this package that truncate by length count with the policy's own tokenizer unless told otherwise.
    """
    target = _class_of(env)
    if target is not None and "count_tokens" in inspect.signature(target).parameters:
        settings = {"count_tokens": count_tokens, **settings}
    try:
        if isinstance(env, str) and _global_registry.contains(ENV_CREATOR, env):
            return _global_registry.get(ENV_CREATOR, env)(EnvContext(settings, worker_index=worker_index))
        return gym.make(env, **settings) if isinstance(env, str) else env(**settings)
    except TypeError as error:
        raise BadEnv(
            f"environment {env!r} could not be made with {sorted(settings)}: {error}. Evaluation passes split=...; let "
            "the environment accept it, or set evaluation_interval=None"
        ) from error


def of_split(settings: dict[str, Any], split: str) -> dict[str, Any]:
    """The environment's settings for a split. Training passes none: not every environment knows of splits."""
    return dict(settings) if split == "train" else {**settings, "split": split}


def _class_of(env: str | type) -> type | None:
    """The class behind a name of this package's table; None for names that others registered."""
    from rllib_ext.registry import ENVIRONMENTS, environment

    if isinstance(env, type):
        return env
    return environment(env) if env in ENVIRONMENTS else None
