"""Rewards in actors of their own: a reward model on its own device, shared by all rollout workers.

A ``RewardWorker`` makes the run's environment and keeps its reward. A rollout worker holds a ``RemoteReward`` in place
of its own: the same interface, answers from the actor, within a deadline. What the actor does not answer in time is
unscored, with the reason; a reward that fails is handled in the actor as it would be in the worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
import torch

from envs.text.rewards import Outcome, Reward
from envs.text.task import Sample
from rllib_ext.errors import BadConfig
from rllib_ext.llm.environments import make_environment, of_split
from rllib_ext.llm.prompting import prompting_of

_RETRIES = 3  # of a call whose actor died; Ray starts the actor anew and sends the call again


class RewardWorker:
    """The reward of an environment. config: an LLMConfig, as rollout workers get it."""

    def __init__(self, config: Any, number: int) -> None:
        torch.set_num_threads(max(1, int(config.num_cpus_per_reward_worker)))
        self._config, self._number = config, number
        self._count = prompting_of(config).count
        self._rewards: dict[str, Reward] = {}

    def outcomes(self, split: str, samples: Sequence[Sample]) -> list[Outcome]:
        """One outcome a sample, in order; errors come with their tracebacks."""
        return self._reward(split).outcomes(samples)

    def _reward(self, split: str) -> Reward:
        if split not in self._rewards:
            settings = of_split(self._config.env_config, split)
            env = make_environment(self._config.env, settings, self._count, self._number)
            self._rewards[split] = reward_of(env, self._config.env)
        return self._rewards[split]


def reward_of(env: Any, name: Any) -> Reward:
    reward = getattr(env.unwrapped, "reward", None)
    if not isinstance(reward, Reward):
        raise BadConfig(
            f"num_reward_workers is set, but environment {name!r} has no reward object (it scores its own steps); "
            "set num_reward_workers=0, or make it a TextEnv with a reward"
        )
    return reward


class RemoteReward(Reward):
    """The reward that a RewardWorker keeps. local: the same one here, asked for its name and nature only."""

    def __init__(self, worker: Any, split: str, local: Reward, timeout_s: float) -> None:
        self.name, self.compares_with_reference = local.name, local.compares_with_reference
        self._worker, self._split, self._timeout_s = worker, split, timeout_s

    def score(self, samples: Sequence[Sample]) -> list[float | None]:
        return [outcome.score for outcome in self.outcomes(samples)]

    def outcomes(self, samples: Sequence[Sample]) -> list[Outcome]:
        asked = self._worker.outcomes.remote(self._split, list(samples))
        try:
            return self._remember(ray.get(asked, timeout=self._timeout_s))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.GetTimeoutError:
            return self._unanswered(
                len(samples), f"the reward worker did not answer within {self._timeout_s:g} s"
            )
        except ray.exceptions.RayError as error:
            return self._unanswered(len(samples), f"the reward worker was lost ({type(error).__name__})")

    def _unanswered(self, count: int, reason: str) -> list[Outcome]:
        return self._remember([Outcome(None, reason)] * count)


def start_reward_workers(config: Any) -> list[Any]:
    """Handles of the run's reward workers; none where rewards live in the rollout workers."""
    actor = ray.remote(RewardWorker).options(
        num_cpus=config.num_cpus_per_reward_worker,
        num_gpus=config.num_gpus_per_reward_worker,
        max_restarts=-1,
        max_task_retries=_RETRIES,
    )
    return [actor.remote(config, number) for number in range(1, config.num_reward_workers + 1)]


def reward_bundles(config: Any) -> list[dict[str, float]]:
    """What Tune must reserve for them, one bundle a worker."""
    return [
        {"CPU": config.num_cpus_per_reward_worker, "GPU": config.num_gpus_per_reward_worker}
        for _ in range(config.num_reward_workers)
    ]
