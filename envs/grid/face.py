"""The PettingZoo face of a grid environment: a `ParallelEnv` around a core of one copy.

A face names its core and its arguments; spaces, steps, ``infos`` and pictures come from here. ``infos`` hold "active" and
the core's facts for every agent, and at the end of an episode the environment's measures ("success" and others). Agents
whose place is empty for the moment stay in ``agents``, with "active" False, an observation of zeros and no reward.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from envs.batched import Floats, Moment, Step
from envs.errors import BadEnv
from envs.grid.arguments import choice
from envs.grid.core import GridCore

Given = tuple[
    dict[str, Floats], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]
]


class GridEnv(ParallelEnv[str, Floats, int]):  # type: ignore[misc]
    """One grid environment for PettingZoo; see the module.

    A face calls ``super().__init__(render_mode)`` after it has stored its own arguments, and says in ``batched`` how
    a core is made of them.
    """

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = choice("render_mode", render_mode, (None, "rgb_array"))
        self._core = self.batched(1)
        self._core.continues = False
        self.possible_agents = list(self._core.possible_agents)
        self.agents: list[str] = []
        self._observation_spaces = {
            agent: self._observation_box(size)
            for agent, size in zip(self.possible_agents, self._core.observation_sizes, strict=True)
        }
        self._action_spaces: dict[str, Discrete[np.int64]] = {
            agent: Discrete(count)
            for agent, count in zip(self.possible_agents, self._core.action_counts, strict=True)
        }

    @abstractmethod
    def batched(self, num_envs: int) -> GridCore:
        """A core of so many copies with the arguments of this environment."""

    def _observation_box(self, size: int) -> Box:
        """Space of one agent's observation of this length: 0 to 1, where the environment says nothing else."""
        return Box(0.0, 1.0, (size,), np.float32)

    def observation_space(self, agent: str) -> Box:
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> Discrete[np.int64]:
        return self._action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Floats], dict[str, dict[str, Any]]]:
        """Begin an episode. ``options`` are taken and not used."""
        moment = self._core.reset(seed)
        self.agents = list(self.possible_agents)
        return self._seen(moment, self.agents), self._infos(moment, self.agents, {})

    def step(self, actions: Mapping[str, int]) -> Given:
        """One step. Actions are asked of all ``agents``; those of agents that are not active mean nothing.

        Raises BadEnv where an action is missing, of an agent that is not there, or none of the agent's. When nobody is
        left, ``step({})`` gives five empty dictionaries.
        """
        before = list(self.agents)
        actions_BA = self._array(actions)
        if not before:
            return {}, {}, {}, {}, {}
        step = self._core.step(actions_BA)
        terminated, truncated = self._endings(step, before)
        self.agents = [agent for agent in before if not terminated[agent] and not truncated[agent]]
        measures = {name: float(of_B[0]) for name, of_B in step.measures.items()} if step.done_B[0] else {}
        rewards = {agent: float(step.rewards_BA[0, self._place(agent)]) for agent in before}
        infos = self._infos(step.now, before, measures)
        return self._seen(step.now, before), rewards, terminated, truncated, infos

    def render(self) -> NDArray[np.uint8] | None:
        """(H, W, 3) picture of what is now, or None without ``render_mode="rgb_array"``."""
        return self._core.render() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Nothing is held."""

    def _place(self, agent: str) -> int:
        return self.possible_agents.index(agent)

    def _array(self, actions: Mapping[str, int]) -> NDArray[np.int64]:
        """(1, A) actions, 0 of agents that have left."""
        name = type(self).__name__
        strangers = [agent for agent in actions if agent not in self.agents]
        missing = [agent for agent in self.agents if agent not in actions]
        if strangers or missing:
            raise BadEnv(
                f"{name}: actions of {strangers or 'nobody'} were given who are not in the episode, and of "
                f"{missing or 'nobody'} none was given; give one for each of {self.agents}"
                f"{'' if self.agents else ' (nobody: call reset)'}."
            )
        actions_BA = np.zeros((1, len(self.possible_agents)), np.int64)
        for agent, action in actions.items():
            if not self._action_spaces[agent].contains(action):
                raise BadEnv(
                    f"{name}: the action of {agent} is {action!r}; it must be in {self._action_spaces[agent]}."
                )
            actions_BA[0, self._place(agent)] = action
        return actions_BA

    def _endings(self, step: Step, agents: list[str]) -> tuple[dict[str, bool], dict[str, bool]]:
        """(terminated, truncated). Agents whose place is empty end as the episode does."""
        over, done = bool(self._core.over_B[0]), bool(step.done_B[0])
        if self._core.refills:
            return dict.fromkeys(agents, over), dict.fromkeys(agents, done and not over)
        terminated = {agent: over or bool(step.terminated_BA[0, self._place(agent)]) for agent in agents}
        truncated = {agent: done and not terminated[agent] for agent in agents}
        return terminated, truncated

    def _seen(self, moment: Moment, agents: list[str]) -> dict[str, Floats]:
        return {agent: moment.observations_BAO[0, self._place(agent)] for agent in agents}

    def _infos(
        self, moment: Moment, agents: list[str], measures: Mapping[str, float]
    ) -> dict[str, dict[str, Any]]:
        facts = self._core.facts()
        return {
            agent: {
                "active": bool(moment.active_BA[0, self._place(agent)]),
                **{name: of_BA[0, self._place(agent)].item() for name, of_BA in facts.items()},
                **measures,
            }
            for agent in agents
        }
