"""The actors of a run: RLlib's rollout workers, those who may join them, and the actors that score for them.

RLlib makes the first workers and waits for one of them without a deadline; ``await_first`` waits before it, with one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray

from rllib_ext.errors import RllibExtError, Stalled
from rllib_ext.llm.recruiting import Recruiter
from rllib_ext.llm.reward_worker import start_reward_workers
from rllib_ext.llm.rollouts import RolloutPool
from rllib_ext.llm.workers import Limits


def make_pool(config: Any, group: Any, report: Callable[[str, str], None]) -> RolloutPool:
    """The pool on an RLlib EnvRunnerGroup's workers. config: an LLMConfig. report: see RolloutPool."""
    recruiter = None
    if config.max_env_runners is not None:
        recruiter = Recruiter(hire_from(group, config), config.most_env_runners, config.worker_restart_budget)
    return RolloutPool(
        dict(group._worker_manager.actors()),
        Limits.of(config),
        report,
        recruiter=recruiter,
        reward_workers=start_reward_workers(config),
    )


def await_first(group: Any, timeout_s: float) -> None:
    """Until a worker of the group answers, or its end is known. Raises Stalled after ``timeout_s`` seconds."""
    handles = list(group._worker_manager.actors().values())
    if handles and not ray.wait([handle.ping.remote() for handle in handles], timeout=timeout_s)[0]:
        free, wanted = ray.available_resources(), group._remote_args
        raise Stalled(
            f"none of {len(handles)} rollout workers was there within engine_start_timeout_s={timeout_s:g}. Each asks "
            f"for {wanted['num_cpus']} CPUs, {wanted['num_gpus']} GPUs and {wanted['resources']}; free in the cluster: "
            f"{free.get('CPU', 0):g} CPUs, {free.get('GPU', 0):g} GPUs. Lower num_cpus_per_env_runner or "
            "num_gpus_per_env_runner, or add nodes"
        )


def hire_from(group: Any, config: Any) -> Callable[[int], Any]:
    """Make actors of the same class, resources and config as those of an RLlib EnvRunnerGroup."""
    actor = ray.remote(**group._remote_args)(config.env_runner_cls).options(scheduling_strategy="DEFAULT")
    most = config.most_env_runners

    def hire(number: int) -> Any:
        return actor.remote(config=group._remote_config_obj_ref, worker_index=number, num_workers=most)

    return hire


def creation_error(group: Any) -> RllibExtError:
    """Why the workers of an EnvRunnerGroup could not be made: the error of the first one that tells."""
    for number, handle in sorted(group._worker_manager.actors().items()):
        try:
            ray.get(handle.ping.remote(), timeout=60.0)
        except ray.exceptions.ActorDiedError as error:
            cause = getattr(error.args[0], "cause", None) if error.args else None
            if isinstance(cause, RllibExtError):
                return cause
            return Stalled(f"rollout worker {number} could not be made: {error}")
        except ray.exceptions.RayError as error:
            return Stalled(f"rollout worker {number} does not answer: {error}")
    return Stalled("no rollout worker could be made; the cluster may lack the resources that they ask for")
