"""Traffic-Junction on arrays: B copies, A places for cars, a grid of roads. The rules are those of
``traffic_junction.py``, the documentation page; what cars see is in ``traffic_views.py``, the roads are in
``traffic_roads.py``.

A car's state is its route's number and how far along it is; the cell follows from a table. The only loop of a step is
over the entries (2, 4 or 8), because whether there is room for one more car depends on those before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.batched import Bools, Floats, Ints
from envs.errors import BadEnv
from envs.grid import pictures
from envs.grid.arguments import choice, flag, real, whole
from envs.grid.core import GridCore, Outcome
from envs.grid.traffic_roads import DIFFICULTIES, Roads, roads
from envs.grid.traffic_views import Cars, CleanView, LegacyView

GAS, BRAKE = 0, 1
DELAY, COLLISION = -0.01, -10.0
RATE_STEP = 0.01  # add rates of the curriculum are whole multiples of this


@dataclass(frozen=True)
class Level:
    """What a difficulty has where nothing else is said: the figures of IC3Net's README (medium's rate: the paper's)."""

    dim: int
    max_cars: int
    max_steps: int
    rate_min: float
    rate_max: float


LEVELS = {
    "easy": Level(6, 5, 20, 0.1, 0.3),
    "medium": Level(14, 10, 40, 0.05, 0.2),
    "hard": Level(18, 20, 80, 0.02, 0.05),
}


class TrafficJunctionCore(GridCore):
    """Cars that must not meet; see the module."""

    refills = True

    def __init__(
        self,
        num_envs: int,
        *,
        difficulty: str = "easy",
        dim: int | None = None,
        max_cars: int | None = None,
        max_steps: int | None = None,
        vision: int = 1,
        add_rate_min: float | None = None,
        add_rate_max: float | None = None,
        curriculum: tuple[int, int] | None = None,
        legacy_obs: bool = False,
    ) -> None:
        level = LEVELS[choice("difficulty", difficulty, DIFFICULTIES)]
        self.difficulty, self.vision = difficulty, whole("vision", vision, 0)
        self.dim = checked_dim(difficulty, level.dim if dim is None else dim, self.vision)
        cars = whole("max_cars", level.max_cars if max_cars is None else max_cars, 1)
        self.max_steps = whole("max_steps", level.max_steps if max_steps is None else max_steps, 1)
        self.rate_max = real("add_rate_max", level.rate_max if add_rate_max is None else add_rate_max, 0, 1)
        default_min = min(level.rate_min, self.rate_max)
        self.rate_min = real(
            "add_rate_min", default_min if add_rate_min is None else add_rate_min, 0, self.rate_max
        )
        self.curriculum = None if curriculum is None else _epochs(curriculum)
        self.legacy_obs = flag("legacy_obs", legacy_obs)
        self.roads: Roads = roads(difficulty, self.dim)
        self._view = (LegacyView if legacy_obs else CleanView)(self.roads, self.dim, self.vision, cars)
        self.highest: Floats = self._view.highest
        names = tuple(f"car_{i}" for i in range(cars))
        super().__init__(num_envs, names, self._view.size, 2)
        self._lay_tables()
        self._lay_places()
        self._epoch = 0

    def _lay_places(self) -> None:
        """Per car: is it there, its route, how far along, did it brake last, steps since it came, has it just come."""
        shape = (self.num_envs, len(self.possible_agents))
        self.inside_BA: Bools = np.zeros(shape, bool)
        self.route_BA: Ints = np.zeros(shape, np.int64)
        self.along_BA: Ints = np.zeros(shape, np.int64)
        self.braked_BA: Bools = np.zeros(shape, bool)
        self.age_BA: Ints = np.zeros(shape, np.int64)
        self.new_BA: Bools = np.zeros(shape, bool)
        self.time_B: Ints = np.zeros(self.num_envs, np.int64)
        self.rate_B: NDArray[np.float64] = np.zeros(self.num_envs)
        self._collided_B: Bools = np.zeros(self.num_envs, bool)
        self._moved_B: Ints = np.zeros(self.num_envs, np.int64)
        self._driven_B: Ints = np.zeros(self.num_envs, np.int64)

    def _lay_tables(self) -> None:
        """Routes as arrays: the flat cell of each step of each route R, its length, and the routes of each entry."""
        routes = self.roads.routes()
        self._lengths_R = np.array([len(route) for route in routes], np.int64)
        self._cells_RL = np.zeros((len(routes), self._lengths_R.max()), np.int64)
        for number, route in enumerate(routes):
            flat = [row * self.roads.size + column for row, column in route]
            self._cells_RL[number, : len(flat)] = flat
        counts = [len(entry) for entry in self.roads.entries]
        self._counts_E = np.array(counts, np.int64)
        self._first_route_E = np.cumsum([0, *counts[:-1]])

    def set_epoch(self, epoch: int) -> None:
        """Tell the curriculum how far training is; episodes that begin from now on have the add rate of this epoch."""
        self._epoch = whole("epoch", epoch, 0)

    def add_rate(self) -> float:
        """The chance, of an entry and step, that a car comes in, in episodes that begin now.

        Without a curriculum ``add_rate_max``. With (start, end) it rises in a straight line from the least rate at
        epoch start to the largest at epoch end, rounded down to a whole hundredth: the original's steps.
        """
        if self.curriculum is None:
            return self.rate_max
        start, end = self.curriculum
        share = min(max((self._epoch - start) / (end - start), 0.0), 1.0)
        if share in (0.0, 1.0):
            return self.rate_max if share else self.rate_min
        exact = self.rate_min + share * (self.rate_max - self.rate_min)
        # A billionth of a step more, so that 0.29999999999999998 is thirty hundredths; never below where it began.
        return max(self.rate_min, RATE_STEP * math.floor(exact / RATE_STEP + 1e-9))

    def _begin(self, copies_K: Ints) -> None:
        """Roads are empty at first."""
        for flags in (self.inside_BA, self.braked_BA, self.new_BA, self._collided_B):
            flags[copies_K] = False
        for numbers in (
            self.route_BA,
            self.along_BA,
            self.age_BA,
            self.time_B,
            self._moved_B,
            self._driven_B,
        ):
            numbers[copies_K] = 0
        self.rate_B[copies_K] = self.add_rate()

    def _move(self, actions_BA: Ints) -> Outcome:
        acting_BA = self.inside_BA.copy()
        go_BA = acting_BA & (actions_BA == GAS)
        self.age_BA += acting_BA
        self.along_BA += go_BA
        left_BA = go_BA & (self.along_BA == self._lengths_R[self.route_BA])
        # A car that leaves has no last action of its own; in the original its place keeps the one before.
        self.braked_BA = np.where(acting_BA & ~left_BA, ~go_BA, self.braked_BA)
        self.inside_BA &= ~left_BA
        self._let_in()
        hit_BA = self.collisions()
        self._collided_B |= hit_BA.any(1)
        self._moved_B += go_BA.sum(1)
        self._driven_B += acting_BA.sum(1)
        self.time_B += 1
        stayed_BA = acting_BA & ~left_BA
        return Outcome(
            rewards_BA=np.where(stayed_BA, DELAY * self.age_BA + COLLISION * hit_BA, 0.0),
            over_B=np.zeros(self.num_envs, bool),
            timeout_B=self.time_B >= self.max_steps,
            left_BA=left_BA,
            measures={
                "success": ~self._collided_B,
                "mean_speed": np.divide(
                    self._moved_B,
                    self._driven_B,
                    out=np.full(self.num_envs, np.nan),
                    where=self._driven_B > 0,
                ),
            },
        )

    def _entry_draws(self) -> tuple[NDArray[np.float64], NDArray[np.float64], Ints]:
        """Of each copy and entry E: (B, E) uniform against the rate, (B, E, A) which empty place is taken (the one with
        the largest), (B, E) which of the entry's routes."""
        copies, entries, cars = self.num_envs, len(self._counts_E), len(self.possible_agents)
        uniform_BE = self._generator.random((copies, entries))
        place_BEA = self._generator.random((copies, entries, cars))
        return uniform_BE, place_BEA, self._generator.integers(self._counts_E, size=(copies, entries))

    def _let_in(self) -> None:
        """Entry by entry, with the chance of the add rate, an empty place becomes a car on a route of the entry."""
        self.new_BA = np.zeros_like(self.inside_BA)
        uniform_BE, place_BEA, route_BE = self._entry_draws()
        for entry, first_route in enumerate(self._first_route_E):
            comes_B = (uniform_BE[:, entry] < self.rate_B) & ~self.inside_BA.all(1)
            copies_K = comes_B.nonzero()[0]
            place_K = np.where(self.inside_BA[copies_K], -1.0, place_BEA[copies_K, entry]).argmax(1)
            self.inside_BA[copies_K, place_K] = self.new_BA[copies_K, place_K] = True
            self.route_BA[copies_K, place_K] = first_route + route_BE[copies_K, entry]
            self.along_BA[copies_K, place_K] = self.age_BA[copies_K, place_K] = 0
            if not self.legacy_obs:
                self.braked_BA[copies_K, place_K] = False

    def cells(self) -> Ints:
        """(B, A) flat cell of each car; of empty places 0, which is no road."""
        along_BA = np.minimum(self.along_BA, self._lengths_R[self.route_BA] - 1)
        return np.where(self.inside_BA, self._cells_RL[self.route_BA, along_BA], 0)

    def collisions(self) -> Bools:
        """(B, A): cars that share their cell with another car."""
        cells_BA = self.cells()
        together_BAA = cells_BA[:, :, None] == cells_BA[:, None]
        np.einsum("baa->ba", together_BAA)[:] = False  # nobody collides with itself
        together_BAA &= self.inside_BA[:, None]
        hit_BA: Bools = np.any(together_BAA, axis=-1) & self.inside_BA
        return hit_BA

    def _present(self) -> Bools:
        return self.inside_BA

    def _entered(self) -> Bools:
        return self.new_BA

    def _observe(self) -> Floats:
        return self._view.seen(Cars(self.inside_BA, self.cells(), self.route_BA, self.braked_BA))

    def facts(self) -> dict[str, NDArray[Any]]:
        """Each car's route, how far along it is and whether it shares its cell; -1, -1 and False of empty places."""
        return {
            "route": np.where(self.inside_BA, self.route_BA, -1),
            "along": np.where(self.inside_BA, self.along_BA, -1),
            "collides": self.collisions(),
            "entered": self.new_BA.copy(),
        }

    def render(self, copy: int = 0) -> NDArray[np.uint8]:
        """Cars are discs, each place in its colour and corner; what is not road is dark."""
        size, places = self.roads.size, len(self.possible_agents)
        picture = pictures.board(size, size)
        for row, column in np.argwhere(~self.roads.road()):
            pictures.square(picture, row, column, pictures.WALL)
        cells_A = self.cells()[copy]
        for place in self.inside_BA[copy].nonzero()[0]:
            row, column = divmod(int(cells_A[place]), size)
            pictures.disc(picture, row, column, pictures.colour_of(place), place=place, places=places)
        return picture


def checked_dim(difficulty: str, dim: int, vision: int) -> int:
    """dim, where a map of this difficulty can be made of it: IC3Net's bounds. Raises BadEnv otherwise."""
    least, factor = (9, 3) if difficulty == "hard" else (4 + vision, 2)
    dim = whole("dim", dim, least)
    if dim % factor:
        raise BadEnv(f"dim = {dim!r} must be a multiple of {factor} at difficulty {difficulty!r}.")
    return dim


def _epochs(curriculum: Any) -> tuple[int, int]:
    """(start, end) of the curriculum. Raises BadEnv where they are no two epochs in order."""
    if not isinstance(curriculum, tuple | list) or len(curriculum) != 2:
        raise BadEnv(f"curriculum = {curriculum!r} must be None or the epochs (start, end).")
    start = whole("curriculum[0]", curriculum[0], 0)
    return start, whole("curriculum[1]", curriculum[1], start + 1)
