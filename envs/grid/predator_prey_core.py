"""Predator-Prey on arrays: B copies, A predators, P prey, a G x G grid. The rules are those of ``predator_prey.py``,
the documentation page; the motion and the order of events are ma-gym's.

A copy is a board of cells with two rings of wall around it, so that the neighbours of a neighbour are on the board as
well and nothing has to be clipped; a position is an index into the flat board. Predators move one after the other and
so do the prey: the loops are over these few, never over copies.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.batched import Bools, Floats, Ints
from envs.errors import BadEnv
from envs.grid import pictures
from envs.grid.arguments import choice, flag, real, whole
from envs.grid.core import GridCore, Outcome

EMPTY, PREDATOR, PREY, WALL = 0, 1, 2, 3
RING = 2
# Down, left, up, right, stay: what is added to (row, column).
MOVES = ((1, 0), (0, -1), (-1, 0), (0, 1), (0, 0))
STAY = 4
PREY_MOVES = (0.175, 0.175, 0.175, 0.175, 0.3)  # ma-gym's prey_move_probs, in the order of MOVES
DRAWS = 5  # moves that a prey thinks of before it stays
TRIES = 1000


class PredatorPreyCore(GridCore):
    """Predators that must hunt together; see the module."""

    def __init__(
        self,
        num_envs: int,
        *,
        predators: int = 4,
        prey: int = 2,
        size: int = 7,
        view: int = 3,
        max_steps: int = 200,
        capture: str | int = "surrounded",
        walls_block: bool = True,
        penalty_when: str = "one",
        capture_reward: float = 10.0,
        penalty: float = -0.5,
        step_cost: float = -0.01,
    ) -> None:
        self.size, self.view = whole("size", size, 2), whole("view", view, 1)
        if self.view % 2 == 0:
            raise BadEnv(f"view = {view!r} must be odd: the window has the predator in its middle.")
        predators, self.num_prey = whole("predators", predators, 1), whole("prey", prey, 1)
        self.max_steps = whole("max_steps", max_steps, 1)
        self.capture = capture if capture == "surrounded" else whole("capture", capture, 1, 4)
        self.walls_block = flag("walls_block", walls_block)
        self.penalty_when = choice("penalty_when", penalty_when, ("one", "any_uncaptured"))
        self.capture_reward = real("capture_reward", capture_reward)
        self.penalty, self.step_cost = real("penalty", penalty), real("step_cost", step_cost)
        names = tuple(f"predator_{i}" for i in range(predators))
        super().__init__(num_envs, names, self.view**2 + 3, len(MOVES))
        self._lay_boards(predators)

    def _lay_boards(self, predators: int) -> None:
        """Boards with nobody on them, and what positions on them mean."""
        copies, width = self.num_envs, self.size + 2 * RING
        self._move_N = np.array([down * width + across for down, across in MOVES], np.int64)
        self._bounds_N = np.cumsum(PREY_MOVES)
        inside = np.arange(RING, RING + self.size)
        self._cells_C = (inside[:, None] * width + inside).ravel()
        self._empty_F = np.full(width * width, WALL, np.int8)
        self._empty_F[self._cells_C] = EMPTY
        self._copies_B = np.arange(copies)
        self._board_BF = np.tile(self._empty_F, (copies, 1))
        self.predators_BA: Ints = np.zeros((copies, predators), np.int64)
        self.prey_BP: Ints = np.zeros((copies, self.num_prey), np.int64)
        self.alive_BP: Bools = np.ones((copies, self.num_prey), bool)
        self.time_B: Ints = np.zeros(copies, np.int64)

    def _begin(self, copies_K: Ints) -> None:
        """Predators, then prey, each uniform over the cells that are free; no prey beside a predator.

        Where a prey finds no such cell, the whole copy is laid out anew. Raises BadEnv where that fails again and
        again: the grid is too small for so many.
        """
        left_L = copies_K
        for _ in range(TRIES):
            left_L = left_L[~self._lay_out(left_L)]
            if not len(left_L):
                break
        else:
            raise BadEnv(
                f"PredatorPrey: {len(self.possible_agents)} predators and {self.num_prey} prey were laid out {TRIES} "
                f"times on {self.size} x {self.size} cells and never were all prey away from all predators; take a "
                f"larger size or fewer of them."
            )
        self.alive_BP[copies_K] = True
        self.time_B[copies_K] = 0

    def _lay_out(self, copies_K: Ints) -> Bools:
        """Place everybody in these copies; (K,) whether there was room."""
        self._board_BF[copies_K] = self._empty_F
        room_K = np.ones(len(copies_K), bool)
        for number in range(len(self.possible_agents) + self.num_prey):
            index = number - len(self.possible_agents)
            free_KC = self._board_BF[copies_K[:, None], self._cells_C] == EMPTY
            if index >= 0:
                beside_KC4 = self._cells_C[:, None] + self._move_N[:STAY]
                free_KC &= ~(self._board_BF[copies_K[:, None, None], beside_KC4] == PREDATOR).any(-1)
            room_K &= free_KC.any(1)
            cell_K = self._cells_C[np.where(free_KC, self._generator.random(free_KC.shape), -1.0).argmax(1)]
            self._board_BF[copies_K, cell_K] = PREDATOR if index < 0 else PREY
            if index < 0:
                self.predators_BA[copies_K, number] = cell_K
            else:
                self.prey_BP[copies_K, index] = cell_K
        return room_K

    def _move(self, actions_BA: Ints) -> Outcome:
        for agent in range(len(self.possible_agents)):
            self.predators_BA[:, agent] = self._moved(
                self.predators_BA[:, agent], actions_BA[:, agent], PREDATOR
            )
        beside_BP, captured_BP = self._hunted()
        tried_BP = beside_BP == 1 if self.penalty_when == "one" else beside_BP >= 1
        failed_BP = tried_BP & self.alive_BP & ~captured_BP
        rewards_B = (
            self.step_cost + self.capture_reward * captured_BP.sum(1) + self.penalty * failed_BP.sum(1)
        )
        self._move_prey(captured_BP)
        self.time_B += 1
        over_B: Bools = ~np.any(self.alive_BP, axis=1)
        return Outcome(
            rewards_BA=np.repeat(rewards_B[:, None], len(self.possible_agents), axis=1),
            over_B=over_B,
            timeout_B=~over_B & (self.time_B >= self.max_steps),
            measures={"success": over_B, "captured": np.sum(~self.alive_BP, axis=1)},
        )

    def _moved(self, from_B: Ints, moves_B: Ints, who: int) -> Ints:
        """One predator or prey of each copy moves where the cell is free, and stays where it is not."""
        to_B = from_B + self._move_N[moves_B]
        free_B = self._board_BF[self._copies_B, to_B] == EMPTY
        now_B = np.where(free_B, to_B, from_B)
        self._board_BF[self._copies_B, from_B] = EMPTY
        self._board_BF[self._copies_B, now_B] = who
        return now_B

    def _hunted(self) -> tuple[Ints, Bools]:
        """(B, P) predators beside each prey, and whether it is captured. Other prey are in nobody's way for long."""
        copies_B11 = self._copies_B[:, None, None]
        around_BP4 = self._board_BF[copies_B11, self.prey_BP[..., None] + self._move_N[:STAY]]
        beside_BP = (around_BP4 == PREDATOR).sum(-1)
        if self.capture != "surrounded":
            captured_BP = beside_BP >= self.capture
        else:
            walls_BP = (around_BP4 == WALL).sum(-1) if self.walls_block else 0
            captured_BP = beside_BP + walls_BP == len(MOVES) - 1
        return beside_BP, captured_BP & self.alive_BP

    def _prey_draws(self) -> Ints:
        """(B, P, DRAWS) moves that the prey think of, in order."""
        uniform_BPD = self._generator.random((self.num_envs, self.num_prey, DRAWS))
        return np.minimum(np.searchsorted(self._bounds_N, uniform_BPD, side="right"), STAY)

    def _move_prey(self, captured_BP: Bools) -> None:
        """Captured prey leave the board at their turn; the others make the first good move, beside no predator.

        Predators stand still meanwhile and a prey is moved by itself alone, so where a predator is near is the same
        for all turns; only whether a cell is free is looked up turn by turn.
        """
        draws_BPD = self._prey_draws()
        to_BPN = self.prey_BP[..., None] + self._move_N
        copies = self._copies_B[:, None, None, None]
        near_BPN = (self._board_BF[copies, to_BPN[..., None] + self._move_N[:STAY]] == PREDATOR).any(-1)
        good_BPD = ~np.take_along_axis(near_BPN, draws_BPD, axis=2)
        first_BP1 = good_BPD.argmax(2)[..., None]
        move_BP = np.where(good_BPD.any(2), np.take_along_axis(draws_BPD, first_BP1, axis=2)[..., 0], STAY)
        for index in range(self.num_prey):
            caught_B = captured_BP[:, index]
            self._board_BF[self._copies_B[caught_B], self.prey_BP[caught_B, index]] = EMPTY
            self.alive_BP[caught_B, index] = False
            self._move_one_prey(index, move_BP[:, index])

    def _move_one_prey(self, index: int, moves_B: Ints) -> None:
        """Prey ``index`` moves in the copies where it lives."""
        alive_B = self.alive_BP[:, index]
        from_B = self.prey_BP[:, index]
        to_B = from_B + self._move_N[moves_B]
        goes_B = alive_B & (self._board_BF[self._copies_B, to_B] == EMPTY)
        self._board_BF[self._copies_B[goes_B], from_B[goes_B]] = EMPTY
        self._board_BF[self._copies_B[goes_B], to_B[goes_B]] = PREY
        self.prey_BP[:, index] = np.where(goes_B, to_B, from_B)

    def _places(self, flat: Ints) -> tuple[Ints, Ints]:
        """(rows, columns) from 0 of flat positions."""
        row, column = np.divmod(flat, self.size + 2 * RING)
        return row - RING, column - RING

    def _observe(self) -> Floats:
        view, span = self.view, max(self.size - 1, 1)
        row_BA, column_BA = self._places(self.predators_BA)
        prey_row_BP, prey_column_BP = self._places(self.prey_BP)
        down_BAP = prey_row_BP[:, None] - row_BA[..., None] + view // 2
        across_BAP = prey_column_BP[:, None] - column_BA[..., None] + view // 2
        seen_BAP = (down_BAP >= 0) & (down_BAP < view) & (across_BAP >= 0) & (across_BAP < view)
        seen_BAP &= self.alive_BP[:, None]
        observed_BAO = np.zeros((*row_BA.shape, self.observation_sizes[0]), np.float32)
        observed_BAO[..., 0], observed_BAO[..., 1] = row_BA / span, column_BA / span
        copy, agent, prey = seen_BAP.nonzero()
        flag_K = 2 + down_BAP[copy, agent, prey] * view + across_BAP[copy, agent, prey]
        observed_BAO[copy, agent, flag_K] = 1.0
        observed_BAO[..., -1] = (self.time_B / self.max_steps)[:, None]
        return observed_BAO

    def facts(self) -> dict[str, NDArray[Any]]:
        """How many prey are left and where each predator is."""
        row_BA, column_BA = self._places(self.predators_BA)
        alive_B1 = self.alive_BP.sum(1, keepdims=True)
        return {
            "row": row_BA,
            "column": column_BA,
            "prey_left": np.broadcast_to(alive_B1, row_BA.shape).copy(),
        }

    def render(self, copy: int = 0) -> NDArray[np.uint8]:
        """Predators are discs, each in its colour; live prey are squares."""
        picture = pictures.board(self.size, self.size)
        for row, column in np.stack(self._places(self.prey_BP[copy]), -1)[self.alive_BP[copy]]:
            pictures.square(picture, row, column, pictures.GOAL)
        for agent, (row, column) in enumerate(np.stack(self._places(self.predators_BA[copy]), -1)):
            pictures.disc(picture, row, column, pictures.colour_of(agent))
        return picture
