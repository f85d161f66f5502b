"""IC3Net's Predator-Prey on arrays: B copies, A predators, one prey that stands still, a G x G grid. The rules are
those of ``ic3_predator_prey.py``, the documentation page.

What a window shows of the grid is the same whenever a predator stands on the same cell, so these vectors are made once
for all cells and looked up; only the counts of predators and prey are written at each step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.batched import Bools, Floats, Ints
from envs.errors import BadEnv
from envs.grid import pictures
from envs.grid.arguments import choice, whole
from envs.grid.core import GridCore, Outcome

# Up, right, down, left, stay: what is added to (row, column).
MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1), (0, 0)], np.int64)
MODES = ("mixed", "cooperative", "competitive")
SEARCHING, ON_PREY = -0.05, 0.05


class IC3PredatorPreyCore(GridCore):
    """Predators that look for one prey; see the module."""

    def __init__(
        self,
        num_envs: int,
        *,
        predators: int = 3,
        size: int = 5,
        vision: int = 0,
        max_steps: int = 20,
        mode: str = "mixed",
    ) -> None:
        self.size, self.vision = whole("size", size, 2), whole("vision", vision, 0)
        predators, self.max_steps = whole("predators", predators, 1), whole("max_steps", max_steps, 1)
        if predators >= self.size**2:
            raise BadEnv(
                f"predators = {predators!r} must be at most {self.size**2 - 1}: they and the prey start on cells "
                f"of their own, and size = {self.size} has {self.size**2}."
            )
        self.mode = choice("mode", mode, MODES)
        self._width = 2 * self.vision + 1
        self._vocabulary = self.size**2 + 4
        names = tuple(f"predator_{i}" for i in range(predators))
        super().__init__(num_envs, names, self._width**2 * self._vocabulary, len(MOVES))
        self._windows_CO = self._grid_windows()
        copies = self.num_envs
        self.cells_BA2: Ints = np.zeros((copies, predators, 2), np.int64)
        self.prey_B2: Ints = np.zeros((copies, 2), np.int64)
        self.arrived_BA: Bools = np.zeros((copies, predators), bool)
        self.time_B: Ints = np.zeros(copies, np.int64)

    def _grid_windows(self) -> Floats:
        """(G * G, O): the window around each cell with nobody on the grid: which cell each place is, or outside."""
        size, width = self.size, self._width
        outside = size**2 + 1  # channel size**2 is never used: the original counts its classes from 1
        named_GG = np.pad(np.arange(size**2).reshape(size, size), self.vision, constant_values=outside)
        views_GGWW = np.lib.stride_tricks.sliding_window_view(named_GG, (width, width))
        windows: Floats = np.eye(self._vocabulary, dtype=np.float32)[views_GGWW]
        return windows.reshape(size**2, self.observation_sizes[0])

    def _begin(self, copies_K: Ints) -> None:
        everybody = len(self.possible_agents) + 1
        order_KC = self._generator.random((len(copies_K), self.size**2)).argsort(1)
        cells_KE2 = np.stack(np.divmod(order_KC[:, :everybody], self.size), -1)
        self.cells_BA2[copies_K], self.prey_B2[copies_K] = cells_KE2[:, :-1], cells_KE2[:, -1]
        self.arrived_BA[copies_K] = False
        self.time_B[copies_K] = 0

    def _move(self, actions_BA: Ints) -> Outcome:
        step_BA2 = np.where(self.arrived_BA[..., None], 0, MOVES[actions_BA])
        self.cells_BA2 = np.clip(self.cells_BA2 + step_BA2, 0, self.size - 1)
        # Whoever is on the prey stays there, so "on it now" and "has arrived" are the same.
        self.arrived_BA = np.all(self.cells_BA2 == self.prey_B2[:, None], axis=-1)
        number_B: Ints = self.arrived_BA.sum(1, dtype=np.int64)
        self.time_B += 1
        together_B: Bools = np.all(self.arrived_BA, axis=1)
        over_B = together_B if self.mode == "mixed" else np.zeros(self.num_envs, bool)
        return Outcome(
            rewards_BA=np.where(self.arrived_BA, self._prize(number_B)[:, None], SEARCHING),
            over_B=over_B,
            timeout_B=~over_B & (self.time_B >= self.max_steps),
            measures={"success": together_B, "arrived": number_B},
        )

    def _prize(self, number_B: Ints) -> NDArray[np.float64]:
        """What each of so many predators on the prey is paid for a step."""
        share_B = {
            "mixed": np.zeros(len(number_B)),
            "cooperative": number_B.astype(np.float64),
            "competitive": 1 / np.maximum(number_B, 1),
        }[self.mode]
        return ON_PREY * share_B

    def _observe(self) -> Floats:
        shape = self.arrived_BA.shape
        flat_BA = self.cells_BA2[..., 0] * self.size + self.cells_BA2[..., 1]
        seen_BAO: Floats = self._windows_CO[flat_BA]
        seen_BAWV = seen_BAO.reshape(*shape, self._width**2, self._vocabulary)
        self._count(seen_BAWV, self.prey_B2, self._vocabulary - 2)
        for agent in range(shape[1]):
            self._count(seen_BAWV, self.cells_BA2[:, agent], self._vocabulary - 1)
        return seen_BAO

    def _count(self, seen_BAWV: Floats, cell_B2: Ints, channel: int) -> None:
        """Add one to this channel, in each predator's window, at the place of this cell, where it is in the window."""
        offset_BA2 = cell_B2[:, None] - self.cells_BA2 + self.vision
        copy, agent = np.all((offset_BA2 >= 0) & (offset_BA2 < self._width), axis=-1).nonzero()
        down_K, across_K = offset_BA2[copy, agent].T
        seen_BAWV[copy, agent, down_K * self._width + across_K, channel] += 1.0

    def facts(self) -> dict[str, NDArray[Any]]:
        """Who has arrived, and where the prey is, for each predator alike."""
        shape = self.arrived_BA.shape
        return {
            "arrived": self.arrived_BA.copy(),
            "prey_row": np.broadcast_to(self.prey_B2[:, :1], shape).copy(),
            "prey_column": np.broadcast_to(self.prey_B2[:, 1:], shape).copy(),
        }

    def render(self, copy: int = 0) -> NDArray[np.uint8]:
        """Predators are discs, each in its colour and corner; the prey is a square."""
        picture = pictures.board(self.size, self.size)
        pictures.square(picture, int(self.prey_B2[copy, 0]), int(self.prey_B2[copy, 1]), pictures.GOAL)
        places = len(self.possible_agents)
        for agent, (row, column) in enumerate(self.cells_BA2[copy]):
            pictures.disc(picture, row, column, pictures.colour_of(agent), place=agent, places=places)
        return picture
