"""From what a config calls its environment to copies that a rollout worker can step.

Accepted: a public name of this package, a name registered with Tune (``register_env``), a PettingZoo class, or any
function of an ``env_config`` that gives a PettingZoo environment, parallel or agent by agent, also inside RLlib's or
this package's MultiAgentEnv. An environment with ``batched(num_envs)`` is stepped as arrays, any other one by one, after
a look at whether it keeps PettingZoo's contract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pettingzoo import AECEnv, ParallelEnv

from envs.batched import BatchedEnv
from envs.checks import check_parallel
from envs.looped import LoopedEnv
from rllib_ext import registry
from rllib_ext.errors import BadConfig, BadEnv


def batched_environment(env: Any, env_config: Mapping[str, Any], num_envs: int) -> BatchedEnv:
    """``num_envs`` copies of the environment that ``env`` names, as arrays."""
    make = maker(env, env_config)
    one = make()
    if isinstance(one, BatchedEnv):
        return one
    if hasattr(one, "batched"):
        return one.batched(num_envs)
    one.close()
    if isinstance(
        one, ParallelEnv
    ):  # fifty steps, so that what is wrong with it is said here and not in training
        check_parallel(make, cheap=True, joining=True, seeded=False)
    return LoopedEnv(make, num_envs)


def maker(env: Any, env_config: Mapping[str, Any]) -> Callable[[], Any]:
    """A function that makes one PettingZoo environment."""
    create = _creator(env)

    def make() -> Any:
        return pettingzoo_of(create(dict(env_config)), env)

    return make


def _creator(env: Any) -> Callable[[dict[str, Any]], Any]:
    if isinstance(env, str) and env in registry.GAMES:
        return lambda config: registry.create_environment(env, config)
    if isinstance(env, str):
        from ray.tune.registry import ENV_CREATOR, _global_registry

        if not _global_registry.contains(ENV_CREATOR, env):
            from rllib_ext.errors import unknown_name

            raise unknown_name("multi-agent environment", env, registry.GAMES)
        return _global_registry.get(ENV_CREATOR, env)
    if isinstance(env, type) and issubclass(env, ParallelEnv | AECEnv):
        return lambda config: env(**config)
    if callable(env):
        return env
    raise BadConfig(
        f"environment is {env!r}; give a public name, a name registered with Tune, or a PettingZoo class"
    )


def pettingzoo_of(made: Any, name: Any) -> Any:
    """The PettingZoo environment inside what a creator gave. Raises BadEnv where there is none."""
    for inside in ("par_env", "env"):  # RLlib's wrappers of PettingZoo, and this package's
        if not isinstance(made, ParallelEnv | AECEnv | BatchedEnv) and hasattr(made, inside):
            made = getattr(made, inside)
    if not isinstance(made, ParallelEnv | AECEnv | BatchedEnv):
        raise BadEnv(
            f"environment {name!r} is a {type(made).__name__}; ContrastiveComm plays PettingZoo environments: give a "
            "ParallelEnv or AECEnv, or a creator of one"
        )
    return made
