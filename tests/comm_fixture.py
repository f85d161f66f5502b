"""What tests of ContrastiveComm share: small configs, and an environment whose numbers can be followed by hand."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import ray
from gymnasium.spaces import Box, Discrete
from pettingzoo import ParallelEnv

from rllib_ext import ContrastiveCommConfig


class Countdown(ParallelEnv):
    """Agents see (step, own number) and are paid their action. ``plan``: agent -> (step it leaves at, how), how one of
    "terminated" and "truncated"; the episode is over when all have left.
    """

    metadata = {"name": "countdown_v0"}

    def __init__(self, plan: dict[str, tuple[int, str]] | None = None) -> None:
        self.plan = plan or {"a": (3, "terminated"), "b": (3, "terminated")}
        self.possible_agents = sorted(self.plan)
        self._seen = {agent: Box(0.0, 100.0, (2,), np.float32) for agent in self.possible_agents}
        self._acts = {agent: Discrete(2) for agent in self.possible_agents}
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> Box:
        return self._seen[agent]

    def action_space(self, agent: str) -> Discrete:
        return self._acts[agent]

    def _observe(self, agents: list[str]) -> dict[str, np.ndarray]:
        numbers = {agent: self.possible_agents.index(agent) for agent in agents}
        return {agent: np.array([self.t, numbers[agent]], np.float32) for agent in agents}

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        self.t, self.agents = 0, list(self.possible_agents)
        return self._observe(self.agents), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, int]) -> tuple[dict, dict, dict, dict, dict]:
        self.t += 1
        before = list(self.agents)
        ends = {
            how: {agent: self.plan[agent] == (self.t, how) for agent in before}
            for how in ("terminated", "truncated")
        }
        self.agents = [agent for agent in before if self.plan[agent][0] > self.t]
        rewards = {agent: float(actions[agent]) for agent in before}
        infos: dict[str, dict] = {agent: {} for agent in before}
        return self._observe(before), rewards, ends["terminated"], ends["truncated"], infos


def small(
    env: Any = "Beacon", env_config: dict[str, Any] | None = None, **settings: Any
) -> ContrastiveCommConfig:
    """A config of seconds: eight environments, short stretches, this process alone."""
    config = ContrastiveCommConfig().environment(env, env_config=env_config or {}).debugging(seed=0)
    config.env_runners(num_envs_per_env_runner=8)
    return config.training(**{"rollout_steps": 8, "num_epochs": 2, **settings})


def pids(algorithm: Any) -> list[int]:
    """Processes of the remote rollout workers that answer."""
    return algorithm.env_runner_group.foreach_env_runner(
        lambda worker: os.getpid(), local_env_runner=False, timeout_seconds=60.0
    )


def kill_worker_and_train_on(algorithm: Any) -> int:
    """Kill the only worker, train until another process has sampled; the environment steps before it did.

    A busy machine starts a process in half a minute. ray.kill may take effect after one more answer of the old one.
    """
    old = pids(algorithm)
    ray.kill(algorithm.env_runner_group._worker_manager.actors()[1], no_restart=False)
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        before = algorithm.env_steps()
        algorithm.train()
        if algorithm.env_steps() > before and (now := pids(algorithm)) and now != old:
            return before
    raise TimeoutError("the worker was not replaced within 200 s")
