"""Any PettingZoo environment, parallel or AEC, as a `MultiAgentEnv` of RLlib's new API stack.

What is kept, each of which RLlib 2.60's own wrappers break:

- an episode is done when nobody is left, however the agents ended: ``terminated["__all__"]`` where all of them were
  terminated, else ``truncated["__all__"]``. RLlib's wrappers ask each of the two for all agents of the last step, so that
  an episode in which one terminates and another is cut off never ends, and is stepped without agents
- ``possible_agents`` in the environment's own order, the same in every process, with those that come late;
  ``observation_spaces`` and ``action_spaces`` for each of them; ``agents`` are those who are there now, and those whose
  last step this was, who are shown something once more (RLlib refuses to be shown anything of anybody else)
- whoever acted gets an observation and a reward for it, in the last step too; whoever has left gets nothing more
- a parallelizable AEC environment is stepped in cycles, one environment step for one action of each agent. One whose
  agents take turns gives each observation to the agent that acts next, with what it earned since it acted last
- the environment's dictionaries are not written to, and ``render()`` takes nothing

Values that break the contract of PettingZoo (`envs.contract`) raise BadEnv, by agent, step and seed. Given a factory, the
environment is looked through before it is used (`envs.checks`, 50 steps). Each episode has a seed of its own: the one
that RLlib asks for, otherwise one drawn after it. Left out: agents whose place is empty for the moment (``"active":
False``) act here to no effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from pettingzoo import AECEnv, ParallelEnv
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from envs.checks import check_parallel
from envs.contract import Contract, as_parallel, name_of
from envs.errors import BadEnv

EVERYBODY = "__all__"
Returned = tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]


class PettingZooMultiAgentEnv(MultiAgentEnv):
    """RLlib's view of one PettingZoo environment; see the module.

    env_or_factory   an environment, or what makes one
    check            whether one that a factory makes is walked through first (parallel ones; raises BadEnv)
    """

    def __init__(self, env_or_factory: Any, *, check: bool = True) -> None:
        made = isinstance(env_or_factory, ParallelEnv | AECEnv)
        env = env_or_factory if made else env_or_factory()
        self._turns = isinstance(env, AECEnv) and not env.metadata.get("is_parallelizable", False)
        if check and not made and not self._turns:
            check_parallel(env_or_factory, cheap=True, joining=True, seeded=False)
        self.env = env if self._turns else as_parallel(env)
        self._contract = None if self._turns else Contract(self.env, bounds=False)
        self.possible_agents = list(self.env.possible_agents)
        self.agents = list(self.possible_agents)
        self._there: list[str] = list(self.env.possible_agents)
        self.observation_spaces = {agent: self.env.observation_space(agent) for agent in self.possible_agents}
        self.action_spaces = {agent: self.env.action_space(agent) for agent in self.possible_agents}
        self.observation_space = gym.spaces.Dict(self.observation_spaces)
        self.action_space = gym.spaces.Dict(self.action_spaces)
        self.render_mode = getattr(self.env, "render_mode", None)
        self.metadata = dict(self.env.metadata)
        super().__init__()
        self._seeds = np.random.default_rng()
        self._cut = False  # whether anybody's episode was cut off
        self._acted: set[str] = set()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        if seed is not None:
            self._seeds = np.random.default_rng(seed)
        else:
            seed = int(self._seeds.integers(2**31))
        self._cut, self._acted = False, set()
        returned = self.env.reset(seed=seed, options=options)
        if self._contract is None:
            self.agents = self._there = list(self.env.agents)
            agent = self.env.agent_selection
            return {agent: self.env.observe(agent)}, {agent: dict(self.env.infos[agent])}
        observations, infos = self._contract.after_reset(returned, seed)
        self.agents = self._there = list(self._contract.agents)
        return {agent: observations[agent] for agent in self.agents}, {
            agent: dict(infos[agent]) for agent in self.agents
        }

    def step(self, action_dict: Mapping[str, Any]) -> Returned:
        """One step; when nobody is left, nothing but the end that there was."""
        if not self._there:
            return self._ended({}, {}, {}, {}, {})
        missing = [agent for agent in self._to_act() if agent not in action_dict]
        if missing:
            raise BadEnv(f"{name_of(self.env)}: no action was given for {missing}, who act in this step.")
        self._acted.update(self._to_act())
        if self._contract is None:
            return self._turn(action_dict)
        actions = {agent: action_dict[agent] for agent in self._there}
        returned = self._contract.after_step(self.env.step(actions))
        self._there = list(returned.agents)
        seen = {agent: returned.observations[agent] for agent in (*actions, *returned.joined)}
        infos = {agent: dict(returned.infos[agent]) for agent in seen}
        return self._ended(
            seen, dict(returned.rewards), dict(returned.terminated), dict(returned.truncated), infos
        )

    def _to_act(self) -> list[str]:
        return self._there if self._contract is not None else [self.env.agent_selection]

    def _turn(self, action_dict: Mapping[str, Any]) -> Returned:
        """One turn, and the farewells after it: up to the next agent that acts."""
        self.env.step(action_dict[self.env.agent_selection])
        seen: dict[str, Any] = {}
        rewards: dict[str, float] = {}
        terminated: dict[str, bool] = {}
        truncated: dict[str, bool] = {}
        infos: dict[str, Any] = {}
        while self.env.agents:
            agent = self.env.agent_selection
            observation, reward, over, cut, info = self.env.last()
            ended = bool(over or cut)
            if agent in self._acted or not ended:  # RLlib has no episode of an agent that never acted
                seen[agent], infos[agent] = observation, dict(info)
                terminated[agent], truncated[agent] = bool(over), bool(cut and not over)
                if agent in self._acted:
                    rewards[agent] = float(reward)
            if not ended:
                break
            self.env.step(None)
        self._there = list(self.env.agents)
        return self._ended(seen, rewards, terminated, truncated, infos)

    def _ended(
        self,
        seen: dict[str, Any],
        rewards: dict[str, float],
        terminated: dict[str, bool],
        truncated: dict[str, bool],
        infos: dict[str, Any],
    ) -> Returned:
        """The same with ``__all__``."""
        self.agents = [agent for agent in self.possible_agents if agent in seen or agent in self._there]
        self._cut = self._cut or any(truncated.values())
        nobody = not self._there
        terminated[EVERYBODY], truncated[EVERYBODY] = nobody and not self._cut, nobody and self._cut
        return seen, rewards, terminated, truncated, infos

    def render(self) -> Any:
        return self.env.render()

    def close(self) -> None:
        self.env.close()
