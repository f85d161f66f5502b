"""Pictures of grids as arrays: cells are squares of pixels, agents discs, everything else filled squares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

FREE: Colour = (245, 245, 245)
LINE: Colour = (210, 210, 210)
WALL: Colour = (70, 70, 70)
GOAL: Colour = (70, 170, 90)
# Distinguishable without red against green (Okabe and Ito's set, less the two that are taken).
AGENTS: tuple[Colour, ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
)
PIXELS = 24


def board(rows: int, columns: int) -> Picture:
    """An empty grid of (rows x columns) cells, (H, W, 3) uint8."""
    picture = np.empty((rows * PIXELS, columns * PIXELS, 3), np.uint8)
    picture[:] = FREE
    picture[::PIXELS] = LINE
    picture[:, ::PIXELS] = LINE
    return picture


def square(picture: Picture, row: int, column: int, colour: Colour) -> None:
    """Fill one cell, inside its lines."""
    top, left = row * PIXELS, column * PIXELS
    picture[top + 1 : top + PIXELS, left + 1 : left + PIXELS] = colour


def disc(picture: Picture, row: int, column: int, colour: Colour, *, place: int = 0, places: int = 1) -> None:
    """A disc in one cell. Where several may share a cell, the one at ``place`` of ``places`` has its own corner."""
    side = 1 if places == 1 else int(np.ceil(np.sqrt(places)))
    width = (PIXELS - 1) / side
    down, across = divmod(place, side)
    middle_y = row * PIXELS + 1 + (down + 0.5) * width
    middle_x = column * PIXELS + 1 + (across + 0.5) * width
    y, x = np.ogrid[: picture.shape[0], : picture.shape[1]]
    inside = (y + 0.5 - middle_y) ** 2 + (x + 0.5 - middle_x) ** 2 <= (0.42 * width) ** 2
    picture[inside] = colour


def colour_of(agent: int) -> Colour:
    """The colour of the agent with this index; they come again after the sixth."""
    return AGENTS[agent % len(AGENTS)]
