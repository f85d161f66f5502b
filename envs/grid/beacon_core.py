"""Beacon on arrays: B copies, A agents, a G x G grid. The rules are those of ``beacon.py``, the documentation page."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.batched import Bools, Floats, Ints
from envs.grid import pictures
from envs.grid.arguments import whole
from envs.grid.core import GridCore, Outcome

# Right, down, left, up, stay: what is added to (row, column).
MOVES = np.array([(0, 1), (1, 0), (0, -1), (-1, 0), (0, 0)], np.int64)
ARRIVAL, TOGETHER, WAITING = 1.0, 2.0, -0.02


class BeaconCore(GridCore):
    """Agents look for a goal that only some of them are told; see the module."""

    def __init__(
        self,
        num_envs: int,
        *,
        agents: int = 3,
        size: int = 5,
        max_steps: int = 12,
        nuisance: int = 0,
        goal_every: int | None = None,
    ) -> None:
        agents, self.size = whole("agents", agents, 2), whole("size", size, 2)
        self.max_steps, self.nuisance = whole("max_steps", max_steps, 1), whole("nuisance", nuisance, 0)
        self.goal_every = None if goal_every is None else whole("goal_every", goal_every, 1)
        names = tuple(f"agent_{i}" for i in range(agents))
        super().__init__(num_envs, names, 4 * self.size + 1 + self.nuisance, len(MOVES))
        self._one_hot_GG = np.eye(self.size, dtype=np.float32)
        self._starts_CS, self._start_counts_C = self._start_cells()
        copies = self.num_envs
        self.cells_BA2: Ints = np.zeros((copies, agents, 2), np.int64)
        self.goals_B2: Ints = np.zeros((copies, 2), np.int64)
        self.sighted_BA: Bools = np.zeros((copies, agents), bool)
        self.arrived_BA: Bools = np.zeros((copies, agents), bool)
        self.time_B: Ints = np.zeros(copies, np.int64)

    def _start_cells(self) -> tuple[Ints, Ints]:
        """For each goal cell C the cells more than one step away, padded, and how many they are."""
        row_C, column_C = np.divmod(np.arange(self.size**2), self.size)
        distance_CC = abs(row_C[:, None] - row_C) + abs(column_C[:, None] - column_C)
        far_CC = distance_CC > 1
        return np.argsort(~far_CC, axis=1, kind="stable"), far_CC.sum(1)

    def _begin(self, copies_K: Ints) -> None:
        draw, agents = self._generator, len(self.possible_agents)
        goal_K = draw.integers(self.size**2, size=len(copies_K))
        start_KA = draw.integers(self._start_counts_C[goal_K, None], size=(len(copies_K), agents))
        cell_KA = self._starts_CS[goal_K[:, None], start_KA]
        self.goals_B2[copies_K] = np.stack(np.divmod(goal_K, self.size), -1)
        self.cells_BA2[copies_K] = np.stack(np.divmod(cell_KA, self.size), -1)
        told_K = draw.integers(1, agents, size=len(copies_K))
        order_KA = draw.random((len(copies_K), agents)).argsort(1)
        self.sighted_BA[copies_K] = order_KA < told_K[:, None]
        self.arrived_BA[copies_K] = False
        self.time_B[copies_K] = 0

    def _move(self, actions_BA: Ints) -> Outcome:
        before_BA = self.arrived_BA
        step_BA2 = np.where(before_BA[..., None], 0, MOVES[actions_BA])
        self.cells_BA2 = np.clip(self.cells_BA2 + step_BA2, 0, self.size - 1)
        self.arrived_BA = before_BA | np.all(self.cells_BA2 == self.goals_B2[:, None], axis=-1)
        self.time_B += 1
        over_B: Bools = np.all(self.arrived_BA, axis=1)
        rewards_BA = ARRIVAL * (self.arrived_BA & ~before_BA) + WAITING * ~self.arrived_BA
        rewards_BA = rewards_BA + TOGETHER * over_B[:, None]
        if self.goal_every is not None:
            self._move_goals(self.time_B % self.goal_every == 0)
        timeout_B = ~over_B & (self.time_B >= self.max_steps)
        return Outcome(rewards_BA, over_B, timeout_B, measures={"success": over_B})

    def _move_goals(self, moved_B: Bools) -> None:
        """A goal drawn from all cells, in these copies; whoever stands on it arrives by staying."""
        goal_B = self._generator.integers(self.size**2, size=self.num_envs)
        self.goals_B2 = np.where(moved_B[:, None], np.stack(np.divmod(goal_B, self.size), -1), self.goals_B2)

    def _observe(self) -> Floats:
        own_BA2G = self._one_hot_GG[self.cells_BA2]
        goal_B12G = self._one_hot_GG[self.goals_B2][:, None]
        told_BA2G = goal_B12G * self.sighted_BA[..., None, None].astype(np.float32)
        shape, two = self.sighted_BA.shape, 2 * self.size
        seen_BAO = np.empty((*shape, self.observation_sizes[0]), np.float32)
        seen_BAO[..., :two] = own_BA2G.reshape(*shape, two)
        seen_BAO[..., two : 2 * two] = told_BA2G.reshape(*shape, two)
        seen_BAO[..., 2 * two] = self.arrived_BA
        if self.nuisance:
            seen_BAO[..., 2 * two + 1 :] = self._generator.integers(2, size=(*shape, self.nuisance))
        return seen_BAO

    def facts(self) -> dict[str, NDArray[np.bool_] | NDArray[np.int64]]:
        """Who is sighted and who has arrived, and where the goal is, for each agent alike."""
        shape = self.sighted_BA.shape
        return {
            "sighted": self.sighted_BA.copy(),
            "arrived": self.arrived_BA.copy(),
            "goal_row": np.broadcast_to(self.goals_B2[:, :1], shape).copy(),
            "goal_column": np.broadcast_to(self.goals_B2[:, 1:], shape).copy(),
        }

    def render(self, copy: int = 0) -> NDArray[np.uint8]:
        picture = pictures.board(self.size, self.size)
        row, column = self.goals_B2[copy]
        pictures.square(picture, row, column, pictures.GOAL)
        for agent, (row, column) in enumerate(self.cells_BA2[copy]):
            pictures.disc(
                picture,
                row,
                column,
                pictures.colour_of(agent),
                place=agent,
                places=len(self.possible_agents),
            )
        return picture
