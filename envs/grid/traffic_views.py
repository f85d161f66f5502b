"""What the cars of Traffic-Junction see: a clean observation, and IC3Net's own for comparison with its figures.

Both are a few numbers about the car and a window of (2 v + 1) x (2 v + 1) cells around it, and zeros of an empty
place. What the window shows of the roads depends on the cell alone, so it is made once for all cells and looked up;
only cars are counted at each step.

IC3Net's (its vocabulary "bool") is kept with its quirks: at easy the grid is one larger than the vocabulary was made
for, so that the number of one road cell is the one of "outside"; empty places are counted as cars on cell (0, 0),
which is no road; and a new car begins with the last action of the car that had its place before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from envs.batched import Bools, Floats, Ints
from envs.grid.traffic_roads import Roads


@dataclass(frozen=True)
class Cars:
    """(B, A) each: whether there is a car, its flat cell (0 where there is none), its route, whether it braked last."""

    inside_BA: Bools
    cell_BA: Ints
    route_BA: Ints
    braked_BA: Bools


class View(ABC):
    """Numbers about the car, then its window; see the module.

    size      length of the observation
    highest   the largest value of each of its numbers; the least is 0
    """

    size: int
    highest: Floats

    def __init__(self, roads: Roads, dim: int, vision: int, max_cars: int) -> None:
        self._roads, self._vision = roads, vision
        self._window = 2 * vision + 1
        self._padded = roads.size + 2 * vision
        self._routes = len(roads.routes())
        inside = np.arange(roads.size)
        corner_C = (inside[:, None] * self._padded + inside).ravel()  # of the window around each cell
        steps = np.arange(self._window)
        self._around_CW = corner_C[:, None] + (steps[:, None] * self._padded + steps).ravel()

    @abstractmethod
    def seen(self, cars: Cars) -> Floats:
        """(B, A, O) observations, an array of its own."""

    def _windows(self, values: Ints, outside: int) -> Ints:
        """(C, W) a number of each cell as the windows around all cells C show it, ``outside`` beyond the grid."""
        padded = np.pad(values, self._vision, constant_values=outside).ravel()
        found: Ints = padded[self._around_CW]
        return found

    def _counts(self, cars: Cars, counted_BA: Bools) -> Floats:
        """(B, A, W) how many of these cars are on each cell of each car's window."""
        copies = len(counted_BA)
        middle = self._vision * (self._padded + 1)
        padded_C = self._around_CW[:, 0] + middle
        flat_BA = np.arange(copies)[:, None] * self._padded**2 + padded_C[cars.cell_BA]
        counts_BF = np.bincount(flat_BA[counted_BA], minlength=copies * self._padded**2).reshape(copies, -1)
        copy_B11 = np.arange(copies)[:, None, None]
        counts_BAW: Floats = counts_BF[copy_B11, self._around_CW[cars.cell_BA]].astype(np.float32)
        return counts_BAW


class CleanView(View):
    """Last action, route (one-hot), row, column, then for each cell of the window: is it road, how many other cars."""

    def __init__(self, roads: Roads, dim: int, vision: int, max_cars: int) -> None:
        super().__init__(roads, dim, vision, max_cars)
        self._one_hot_RR = np.eye(self._routes, dtype=np.float32)
        self._road_CW = self._windows(roads.road().astype(np.int64), 0).astype(np.float32)
        self._head = 1 + self._routes + 2
        self.size = self._head + 2 * self._window**2
        self.highest = np.ones(self.size, np.float32)
        self.highest[self._head + 1 :: 2] = max_cars - 1

    def seen(self, cars: Cars) -> Floats:
        seen_BAO = np.empty((*cars.inside_BA.shape, self.size), np.float32)
        seen_BAO[..., 0] = cars.braked_BA
        seen_BAO[..., 1 : self._head - 2] = self._one_hot_RR[cars.route_BA]
        row_BA, column_BA = np.divmod(cars.cell_BA, self._roads.size)
        seen_BAO[..., self._head - 2] = row_BA / (self._roads.size - 1)
        seen_BAO[..., self._head - 1] = column_BA / (self._roads.size - 1)
        seen_BAO[..., self._head :: 2] = self._road_CW[cars.cell_BA]
        counts_BAW = self._counts(cars, cars.inside_BA)
        counts_BAW[..., counts_BAW.shape[-1] // 2] -= 1  # not the car itself
        seen_BAO[..., self._head + 1 :: 2] = counts_BAW
        seen_BAO[~cars.inside_BA] = 0.0
        return seen_BAO


class LegacyView(View):
    """IC3Net's: last action, route's number / (routes - 1), then for each cell of the window the one-hot number of its
    road cell or of "outside", with the count of cars, the car itself too, in the last channel."""

    def __init__(self, roads: Roads, dim: int, vision: int, max_cars: int) -> None:
        super().__init__(roads, dim, vision, max_cars)
        base = 2 * dim * sum(len(band) for band in roads.bands)
        self._vocabulary = base + 3
        named_CW = self._windows(roads.identities(outside=base), base)
        self._cells_CWV = np.eye(self._vocabulary, dtype=np.float32)[named_CW]
        self.size = 2 + self._window**2 * self._vocabulary
        self.highest = np.ones(self.size, np.float32)
        self.highest[1 + self._vocabulary :: self._vocabulary] = max_cars

    def seen(self, cars: Cars) -> Floats:
        shape = cars.inside_BA.shape
        seen_BAO = np.empty((*shape, self.size), np.float32)
        seen_BAO[..., 0] = cars.braked_BA
        seen_BAO[..., 1] = cars.route_BA / (self._routes - 1)
        window_BAWV = self._cells_CWV[cars.cell_BA]
        window_BAWV[..., -1] += self._counts(cars, np.ones(shape, bool))
        seen_BAO[..., 2:] = window_BAWV.reshape(*shape, -1)
        seen_BAO[~cars.inside_BA] = 0.0
        return seen_BAO
