"""Find-Goal on arrays: B copies, A agents, a G x G grid with walls. The rules are those of ``find_goal.py``, the page."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.batched import Bools, Floats, Ints
from envs.errors import BadEnv
from envs.grid import pictures
from envs.grid.arguments import choice, flag, real, whole
from envs.grid.core import GridCore, Outcome

# Right, down, left, up, stay: what is added to (row, column).
MOVES = np.array([(0, 1), (1, 0), (0, -1), (-1, 0), (0, 0)], np.int64)
REWARDS = ("cacl", "share")
EMPTY, WALL, GOAL, AGENT = range(4)
DRAWS = 1000  # tries for a layout in which everybody can reach the goal, before the arguments are blamed


class FindGoalCore(GridCore):
    """Agents search a goal among walls; see the module.

    Cells are kept as numbers, row times size plus column, of the grid with its border.
    """

    def __init__(
        self,
        num_envs: int,
        *,
        agents: int = 3,
        size: int = 15,
        max_steps: int = 512,
        walls: float = 0.15,
        view: int = 3,
        reachable: bool = False,
        reward: str = "cacl",
    ) -> None:
        agents, self.size = whole("agents", agents, 1), whole("size", size, 5)
        self.max_steps, self.reachable = whole("max_steps", max_steps, 1), flag("reachable", reachable)
        self.reward, self.view = choice("reward", reward, REWARDS), whole("view", view, 1)
        if self.view % 2 == 0:
            raise BadEnv(f"view = {view} must be odd: a square with the agent in its middle.")
        names = tuple(f"agent_{i}" for i in range(agents))
        super().__init__(num_envs, names, 4 * self.view**2 + 2 * self.size + 1, len(MOVES))
        inside = np.arange(1, self.size - 1)
        self._inside_I: Ints = (inside[:, None] * self.size + inside).ravel()
        self.num_walls = int(real("walls", walls, 0, 0.9) * len(self._inside_I))
        if self.num_walls + 2 > len(self._inside_I):
            raise BadEnv(
                f"walls = {walls} of {len(self._inside_I)} inner cells leave no room for the goal and an agent; ask for "
                f"fewer walls, or size above {size}."
            )
        # The view looks over the border, so the map has a margin of walls as wide as it can look.
        self._margin = self.view // 2
        reach = np.arange(-self._margin, self._margin + 1)
        self._window_V = (reach[:, None] * self._wide + reach).ravel()
        copies = self.num_envs
        self.walls_BG: Bools = np.ones((copies, self._wide**2), bool)  # on the map with its margin
        self.goals_B: Ints = np.zeros(copies, np.int64)
        self.cells_BA: Ints = np.zeros((copies, agents), np.int64)
        self.arrivals_BA: Ints = np.zeros((copies, agents), np.int64)  # the step of arrival, 0 before
        self.time_B: Ints = np.zeros(copies, np.int64)
        self._eye_GG = np.eye(self.size, dtype=np.float32)

    @property
    def _wide(self) -> int:
        """Side of the map with its margin."""
        return self.size + 2 * self._margin

    def _on_map(self, cells: Ints) -> Ints:
        """The same cells on the map with its margin."""
        rows, columns = np.divmod(cells, self.size)
        on_map: Ints = (rows + self._margin) * self._wide + columns + self._margin
        return on_map

    def _begin(self, copies_K: Ints) -> None:
        self.time_B[copies_K], self.arrivals_BA[copies_K] = 0, 0
        left_K = copies_K
        for _ in range(DRAWS):
            self._lay_out(left_K)
            if not self.reachable:
                return
            left_K = left_K[~self._all_reach(left_K)]
            if not len(left_K):
                return
        raise BadEnv(
            f"find_goal: no layout was found in {DRAWS} draws in which every agent can reach the goal; ask for fewer "
            f"walls or agents, or reachable=False."
        )

    def _lay_out(self, copies_K: Ints) -> None:
        """Walls and goal on cells of their own, agents on cells that are neither; agents may share one."""
        draw, count = self._generator, len(copies_K)
        order_KI = self._inside_I[draw.random((count, len(self._inside_I))).argsort(1)]
        self.goals_B[copies_K] = order_KI[:, self.num_walls]
        free_KF = order_KI[:, self.num_walls + 1 :]
        places_KA = draw.integers(free_KF.shape[1], size=(count, len(self.possible_agents)))
        self.cells_BA[copies_K] = np.take_along_axis(free_KF, places_KA, 1)
        walls_KG = np.ones((count, self._wide**2), bool)
        walls_KG[:, self._on_map(self._inside_I)] = False
        np.put_along_axis(walls_KG, self._on_map(order_KI[:, : self.num_walls]), True, 1)
        self.walls_BG[copies_K] = walls_KG

    def _all_reach(self, copies_K: Ints) -> Bools:
        """(K,): a flood from the goal over free cells comes to every agent."""
        free_KG = ~self.walls_BG[copies_K]
        flood_KG = np.zeros_like(free_KG)
        np.put_along_axis(flood_KG, self._on_map(self.goals_B[copies_K])[:, None], True, 1)
        while True:
            square = flood_KG.reshape(-1, self._wide, self._wide)
            wider = square.copy()
            wider[:, 1:] |= square[:, :-1]
            wider[:, :-1] |= square[:, 1:]
            wider[:, :, 1:] |= square[:, :, :-1]
            wider[:, :, :-1] |= square[:, :, 1:]
            next_KG = wider.reshape(flood_KG.shape) & free_KG
            if np.array_equal(next_KG, flood_KG):
                break
            flood_KG = next_KG
        reached_K: Bools = np.all(
            np.take_along_axis(flood_KG, self._on_map(self.cells_BA[copies_K]), 1), axis=1
        )
        return reached_K

    def _move(self, actions_BA: Ints) -> Outcome:
        before_BA = self.arrivals_BA > 0
        moved_BA = self.cells_BA + (MOVES @ np.array([self.size, 1]))[actions_BA]
        blocked_BA = np.take_along_axis(self.walls_BG, self._on_map(moved_BA), 1) | before_BA
        self.cells_BA = np.where(blocked_BA, self.cells_BA, moved_BA)
        self.time_B += 1
        new_BA = (self.cells_BA == self.goals_B[:, None]) & ~before_BA
        self.arrivals_BA = np.where(new_BA, self.time_B[:, None], self.arrivals_BA)
        arrived_BA = self.arrivals_BA > 0
        over_B: Bools = np.all(arrived_BA, axis=1)
        if self.reward == "cacl":
            rewards_BA = new_BA + 5.0 * over_B[:, None]
        else:
            rewards_BA = np.broadcast_to(new_BA.sum(1, dtype=np.float64)[:, None], new_BA.shape)
        timeout_B = ~over_B & (self.time_B >= self.max_steps)
        spans_BA = np.where(arrived_BA, self.arrivals_BA, self.max_steps)
        measures = {"success": over_B, "arrival": spans_BA.mean(1)}
        return Outcome(rewards_BA, over_B, timeout_B, measures=measures)

    def _observe(self) -> Floats:
        shape, view = self.cells_BA.shape, self.view**2
        copy_B11 = np.arange(self.num_envs)[:, None, None]
        things_BG = np.where(self.walls_BG, WALL, EMPTY).astype(np.int8)
        goal_B, agents_BA = self._on_map(self.goals_B), self._on_map(self.cells_BA)
        np.put_along_axis(things_BG, goal_B[:, None], GOAL, 1)
        seen_BAV = things_BG[copy_B11, agents_BA[..., None] + self._window_V]
        others_BAV = self._others(agents_BA)
        kinds_BAV = np.where(others_BAV & (seen_BAV != GOAL), AGENT, seen_BAV)
        seen_BAO = np.empty((*shape, self.observation_sizes[0]), np.float32)
        window = (kinds_BAV[..., None] == np.arange(4)).reshape(*shape, 4 * view)
        seen_BAO[..., : 4 * view] = window
        rows_BA, columns_BA = np.divmod(self.cells_BA, self.size)
        seen_BAO[..., 4 * view : 4 * view + self.size] = self._eye_GG[rows_BA]
        seen_BAO[..., 4 * view + self.size : -1] = self._eye_GG[columns_BA]
        seen_BAO[..., -1] = self.arrivals_BA > 0
        return seen_BAO

    def _others(self, agents_BA: Ints) -> Bools:
        """(B, A, V): another agent is in this cell of the agent's view."""
        window_BAV = agents_BA[..., None] + self._window_V
        same_BAVA = window_BAV[..., None] == agents_BA[:, None, None, :]
        alone_AA = ~np.eye(agents_BA.shape[1], dtype=bool)
        others_BAV: Bools = np.any(same_BAVA & alone_AA[:, None, :], axis=-1)
        return others_BAV

    def facts(self) -> dict[str, NDArray[np.bool_] | NDArray[np.int64]]:
        """Who has arrived and when, whether the goal is in view, and where it is, for each agent alike."""
        shape = self.cells_BA.shape
        goal_row_B1, goal_column_B1 = (part[:, None] for part in np.divmod(self.goals_B, self.size))
        row_BA, column_BA = np.divmod(self.cells_BA, self.size)
        apart_BA = np.maximum(abs(row_BA - goal_row_B1), abs(column_BA - goal_column_B1))
        return {
            "arrived": self.arrivals_BA > 0,
            "arrived_at": self.arrivals_BA.copy(),
            "sees_goal": apart_BA <= self._margin,
            "goal_row": np.broadcast_to(goal_row_B1, shape).copy(),
            "goal_column": np.broadcast_to(goal_column_B1, shape).copy(),
        }

    def render(self, copy: int = 0) -> NDArray[np.uint8]:
        picture = pictures.board(self.size, self.size)
        for cell in range(self.size**2):
            if self.walls_BG[copy, self._on_map(np.array(cell))]:
                pictures.square(picture, *divmod(cell, self.size), pictures.WALL)
        pictures.square(picture, *divmod(int(self.goals_B[copy]), self.size), pictures.GOAL)
        places = len(self.possible_agents)
        for agent, cell in enumerate(self.cells_BA[copy].tolist()):
            row, column = divmod(cell, self.size)
            pictures.disc(picture, row, column, pictures.colour_of(agent), place=agent, places=places)
        return picture
