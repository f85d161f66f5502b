"""Small PettingZoo environments for tests: a script says who is there when, and any part can be broken at any step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, Space
from pettingzoo import ParallelEnv

Break = Callable[["Scripted", tuple[Any, ...]], tuple[Any, ...]]


class Scripted(ParallelEnv):
    """Agents come and go by a timetable; observations are draws of the seed and the step; the reward is the action.

    timetable   agent → (first step at which it is there, step in which it ends, "terminated" | "truncated")
    broken      (step, what to do to the returned tuple at that step; step 0 is reset)
    """

    steps_nobody = True  # whether step({}) is answered when nobody is left

    metadata = {"name": "scripted_v0", "render_modes": ["rgb_array"]}

    def __init__(
        self,
        timetable: dict[str, tuple[int, int, str]] | None = None,
        *,
        broken: tuple[int, Break] | None = None,
        render_mode: str | None = "rgb_array",
    ) -> None:
        self.timetable = timetable or {
            "a": (0, 9, "terminated"),
            "b": (0, 6, "truncated"),
            "c": (0, 9, "truncated"),
        }
        self.broken, self.render_mode = broken, render_mode
        self.possible_agents = list(self.timetable)
        self.agents: list[str] = []
        self._observation_spaces: dict[str, Space] = {
            agent: Box(0, 1, (3,), np.float32) for agent in self.timetable
        }
        self._action_spaces = {agent: Discrete(3) for agent in self.timetable}
        self._draw, self.time, self.closed = np.random.default_rng(), 0, 0

    def observation_space(self, agent: str) -> Space:
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> Space:
        return self._action_spaces[agent]

    def look(self, agent: str) -> Any:
        return np.array(
            [self._draw.random(), self.time / 1000, self.possible_agents.index(agent) / 10], np.float32
        )

    def _maybe_break(self, returned: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.broken is not None and self.broken[0] == self.time:
            return self.broken[1](self, returned)
        return returned

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        if seed is not None:
            self._draw = np.random.default_rng(seed)
        self.time = 0
        self.agents = [agent for agent, (comes, _, _) in self.timetable.items() if comes == 0]
        return self._maybe_break(
            ({agent: self.look(agent) for agent in self.agents}, {agent: {} for agent in self.agents})
        )

    def step(self, actions: dict[str, int]) -> Any:
        if not self.agents:
            if not self.steps_nobody:
                raise RuntimeError("nobody is left to step")
            return {}, {}, {}, {}, {}
        assert set(actions) == set(self.agents)
        self.time += 1
        acted = self.agents
        joined = [agent for agent, (comes, _, _) in self.timetable.items() if comes == self.time]
        ends = {
            agent: self.timetable[agent][2] if self.timetable[agent][1] <= self.time else ""
            for agent in acted
        }
        self.agents = [agent for agent in acted if not ends[agent]] + joined
        return self._maybe_break(
            (
                {agent: self.look(agent) for agent in (*acted, *joined)},
                {agent: float(actions[agent]) for agent in acted},
                {agent: ends[agent] == "terminated" for agent in acted},
                {agent: ends[agent] == "truncated" for agent in acted},
                {agent: {"length": self.time} for agent in (*acted, *joined)},
            )
        )

    def render(self) -> Any:
        return np.zeros((8, 8, 3), np.uint8)

    def close(self) -> None:
        self.closed += 1
