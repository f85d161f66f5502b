"""Roads and routes of Traffic-Junction: which cells are road, where cars come in, and every way through.

Source: IC3Net (Singh et al. 2018, arXiv 1812.09755, section 4.2): easy has two one-way roads that cross, medium two
two-lane roads, hard four two-lane roads with four junctions. Cars keep to the right.

A two-lane road is two neighbouring rows or columns, and a junction is the 2 x 2 cells where two of them cross. Keeping
to the right makes every turn the same small path: in a junction a car takes 1 cell to turn right, 2 to go straight on
and 3 to turn left (over to the far row, then along it). At hard a car chooses twice, at its first two junctions, and
goes straight on at a third; a first turn that leads straight out leaves nothing to choose. So an entry has 3 routes at
medium and 1 + 3 + 3 at hard.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.batched import Ints

Cell = tuple[int, int]
DIFFICULTIES = ("easy", "medium", "hard")
DOWN, LEFT, UP, RIGHT = (1, 0), (0, -1), (-1, 0), (0, 1)
STRAIGHT, TURN_RIGHT, TURN_LEFT = 0, 1, 2


@dataclass(frozen=True)
class Roads:
    """The map of one difficulty.

    size        the grid has size x size cells
    bands       for rows and columns alike: the indices of each road's rows (columns), 1 or 2 of them
    entries     for each place where cars come in, its routes; a route is the cells of a way through, first to last
    """

    size: int
    bands: tuple[tuple[int, ...], ...]
    entries: tuple[tuple[tuple[Cell, ...], ...], ...]

    def routes(self) -> list[tuple[Cell, ...]]:
        """All routes, entry by entry; a route's place in this list is its number."""
        return [route for entry in self.entries for route in entry]

    def road(self) -> NDArray[np.bool_]:
        """(size, size): whether the cell is road."""
        on_road = np.zeros(self.size, bool)
        on_road[[index for band in self.bands for index in band]] = True
        return np.asarray(on_road[:, None] | on_road, bool)

    def identities(self, outside: int) -> Ints:
        """(size, size) number of each road cell in IC3Net's vocabulary, ``outside`` elsewhere.

        Counted along the horizontal roads first, then along the vertical ones, each row by row; where roads cross, the
        later number holds.
        """
        named = np.full((self.size, self.size), outside, np.int64)
        start = 0
        for horizontal in (True, False):
            for band in self.bands:
                block = (slice(band[0], band[-1] + 1), slice(None))
                part = named[block if horizontal else block[::-1]]
                part[...] = np.arange(start, start + part.size).reshape(part.shape)
                start += part.size
        return named


def roads(difficulty: str, dim: int) -> Roads:
    """The map of a difficulty; ``dim`` is IC3Net's, and the easy grid is one larger than it."""
    if difficulty == "easy":
        middle = dim // 2
        down = tuple((row, middle) for row in range(dim + 1))
        across = tuple((middle, column) for column in range(dim + 1))
        return Roads(dim + 1, ((middle,),), ((down,), (across,)))
    if difficulty == "medium":
        bands: tuple[tuple[int, ...], ...] = ((dim // 2 - 1, dim // 2),)
    else:
        bands = ((dim // 3 - 2, dim // 3 - 1), (2 * dim // 3, 2 * dim // 3 + 1))
    starts = _entries(dim, bands)
    return Roads(dim, bands, tuple(_ways(start, heading, dim, bands) for start, heading in starts))


def _entries(size: int, bands: tuple[tuple[int, ...], ...]) -> list[tuple[Cell, Cell]]:
    """(cell, heading) of the places where cars come in, in IC3Net's order."""
    top = [((0, low), DOWN) for low, _ in bands]
    bottom = [((size - 1, high), UP) for _, high in bands]
    left = [((high, 0), RIGHT) for _, high in bands]
    right = [((low, size - 1), LEFT) for low, _ in bands]
    return [*top, *bottom, *left, *right] if len(bands) == 1 else [*top, *left, *bottom, *right]


def _ways(
    start: Cell, heading: Cell, size: int, bands: tuple[tuple[int, ...], ...]
) -> tuple[tuple[Cell, ...], ...]:
    """All routes from one entry, in the order straight, right, left of the first turn, then of the second."""
    ways: list[tuple[Cell, ...]] = []
    for first in (STRAIGHT, TURN_RIGHT, TURN_LEFT):
        for second in (STRAIGHT, TURN_RIGHT, TURN_LEFT):
            way = _way(start, heading, size, bands, (first, second))
            if way not in ways:
                ways.append(way)
    return tuple(ways)


def _way(
    start: Cell, heading: Cell, size: int, bands: tuple[tuple[int, ...], ...], turns: tuple[int, ...]
) -> tuple[Cell, ...]:
    """The cells of a car that takes these turns, one a junction, and goes straight on when they are spent."""
    lanes = {index for band in bands for index in band}
    left_over = list(turns)
    way, (row, column) = [start], start
    while True:
        row, column = row + heading[0], column + heading[1]
        if not (0 <= row < size and 0 <= column < size):
            return tuple(way)
        way.append((row, column))
        if row in lanes and column in lanes:
            turn = left_over.pop(0) if left_over else STRAIGHT
            # The cell just entered is the near one; then 0, 1 or 1 more ahead before the car has its new heading.
            if turn != TURN_RIGHT:
                row, column = row + heading[0], column + heading[1]
                way.append((row, column))
            if turn == TURN_RIGHT:
                heading = (heading[1], -heading[0])
            elif turn == TURN_LEFT:
                heading = (-heading[1], heading[0])
                row, column = row + heading[0], column + heading[1]
                way.append((row, column))
