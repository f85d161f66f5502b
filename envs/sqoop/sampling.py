"""Where the objects of a scene stand: built so that the answer is right, instead of drawn until it is.

Objects are X, Y, then the others. What is asked of a layout:

    apart       on each axis every two centres differ by at least ``min_sep``
    inside      every box lies in the picture; no two boxes share a pixel
    positive    X R Y
    negative    not X R Y, but X R b and a R Y for others a, b: each half of the question alone is true

Coordinates. n different values out of M = R - (n - 1)(min_sep - 1), each choice and order equally likely, then
``min_sep - 1`` added for every smaller one: n values out of R that keep the distance, again all equally likely. The two
axes are independent. The relation is put in on its own axis, by giving the same values to other objects: a positive takes
min and max of X's and Y's value, a negative sorts four, a < Y < X < b; the opposite relation mirrors the axis. Only boxes
that overlap or stick out remain to be drawn again (the sizes of the objects stay).

No leak from the layout. Who stands where on the relation's axis is a matter of names: which places are taken, by boxes of
which sizes, has the same distribution for positives and negatives, since the other axis and the sizes are exchangeable
and independent of it. A sampler that draws until the constraints hold (`envs.sqoop.paper`) does not have this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.errors import BadEnv

Shorts = NDArray[np.int16]
Flags = NDArray[np.bool_]
Rows = NDArray[np.int64]

ROUNDS = 2000  # of drawing again; what passes the probe needs a few
AT_ONCE = 4096  # scenes that are worked on together: their arrays stay in the cache
AT_LEAST = 256  # layouts a round: a handful of scenes is drawn several times over
PROBES, LEAST_ACCEPTED = 4096, 8  # layouts tried when a generator is made, and how many of them must do


@dataclass(frozen=True)
class Room:
    """The picture's side, objects in a scene, smallest distance of centres on each axis, smallest and largest box."""

    image_size: int
    num_objects: int
    min_sep: int
    smallest: int
    largest: int

    @property
    def places(self) -> int:
        """M of the module."""
        return self.image_size - self.smallest + 1 - (self.num_objects - 1) * (self.min_sep - 1)


def check_room(room: Room) -> None:
    """Raise BadEnv, naming the constraint, where no layout exists or hardly any."""
    if room.largest > room.image_size:
        raise BadEnv(
            f"glyph_size gives boxes of up to {room.largest} pixels, image_size = {room.image_size} is less. "
            "Make the picture larger or the glyphs smaller."
        )
    span = (room.num_objects - 1) * room.min_sep + 1
    free = room.image_size - room.largest + 1
    if span > free:
        raise BadEnv(
            f"num_objects = {room.num_objects} centres at least min_sep = {room.min_sep} apart take {span} pixels of "
            f"an axis, and boxes of {room.largest} leave {free} of image_size = {room.image_size}. "
            "Lower num_objects, min_sep or glyph_size, or raise image_size."
        )
    boxes = np.full((room.num_objects, PROBES), room.largest, np.int16)
    asked = np.zeros(PROBES, bool)
    accepted = _draw(np.random.default_rng(0), room, boxes, asked, asked)[1].sum()
    if accepted < LEAST_ACCEPTED:
        raise BadEnv(
            f"num_objects = {room.num_objects} boxes of glyph_size up to {room.largest} pixels hardly fit "
            f"image_size = {room.image_size} without overlap: {accepted} of {PROBES} layouts did. "
            "Lower num_objects or glyph_size, or raise image_size."
        )


def place(
    rng: np.random.Generator, room: Room, boxes_KN: Shorts, positive_N: Flags, smaller_N: Flags
) -> tuple[Shorts, Shorts]:
    """Centres along the relation's axis and across it, [K, N] each.

    smaller_N   whether the relation wants X at the smaller coordinate
    """

    def draw(tried_T: Rows) -> tuple[tuple[Shorts, ...], Flags]:
        return _draw(rng, room, boxes_KN[:, tried_T], positive_N[tried_T], smaller_N[tried_T])

    along_KN, across_KN = until_placed(draw, boxes_KN.shape[1], room)
    return along_KN, across_KN


def until_placed(
    draw: Callable[[Rows], tuple[tuple[Shorts, ...], Flags]], num: int, room: Room, at_least: int = AT_LEAST
) -> tuple[Shorts, ...]:
    """Layouts of ``num`` scenes. ``draw`` gives one for each scene it is asked for, and whether it does: else, again.

    Raises BadEnv after `ROUNDS`.
    """
    placed: tuple[Shorts, ...] = ()
    open_P = np.arange(num)
    for _ in range(ROUNDS):
        times = -(-at_least // len(open_P)) if len(open_P) < at_least else 1
        tried_T = np.tile(open_P, times)
        drawn, fits_T = draw(tried_T)
        if not placed:
            placed = tuple(np.empty((room.num_objects, num), np.int16) for _ in drawn)
        good = np.flatnonzero(fits_T)
        if times > 1:  # of several layouts for one scene the first that does
            good = good[np.unique(tried_T[good], return_index=True)[1]]
        done_T = tried_T[good]
        for whole, part in zip(placed, drawn, strict=True):
            whole[:, done_T] = part[:, good]
        open_P = open_P[~fits_T] if times == 1 else np.setdiff1d(open_P, done_T, assume_unique=True)
        if not len(open_P):
            return placed
    raise BadEnv(
        f"{len(open_P)} scenes of num_objects = {room.num_objects} in image_size = {room.image_size} were not placed in "
        f"{ROUNDS} rounds. Lower num_objects, min_sep or glyph_size, or raise image_size."
    )


def _draw(
    rng: np.random.Generator, room: Room, boxes_KN: Shorts, positive_N: Flags, smaller_N: Flags
) -> tuple[tuple[Shorts, Shorts], Flags]:
    """One layout a scene, and whether its boxes are inside and apart."""
    num = boxes_KN.shape[1]
    along = _different(rng, room, num)
    _answer(along, positive_N)
    along_KN = _spread(along, room)
    across_KN = _spread(_different(rng, room, num), room)
    mirrored_KN = np.int16(room.image_size - room.smallest) - along_KN
    along_KN = np.where(smaller_N, along_KN, mirrored_KN)
    offset = room.smallest // 2
    along_KN += offset
    across_KN += offset
    return (along_KN, across_KN), _fit(along_KN, across_KN, boxes_KN, room)


def _different(rng: np.random.Generator, room: Room, num: int) -> list[Shorts]:
    """``num_objects`` different values below ``places``, every ordered choice equally likely.

    The i-th is the v-th value that is not taken yet, v uniform: v moves up by one for each taken value, in order, that it
    reaches.
    """
    ordered: list[Shorts] = []
    drawn: list[Shorts] = []
    for i in range(room.num_objects):
        value = rng.integers(0, room.places - i, num, dtype=np.int16)
        for taken in ordered:
            value += value >= taken
        drawn.append(value)
        larger = value
        for j, taken in enumerate(ordered):
            ordered[j], larger = np.minimum(taken, larger), np.maximum(taken, larger)
        ordered.append(larger)
    return drawn


def _answer(values: list[Shorts], positive_N: Flags) -> None:
    """Hand the first four objects' values round, in place, so that smaller is the relation: see the module."""
    x, y, a, b = values[:4]
    low, high = np.minimum(x, y), np.maximum(x, y)
    low2, high2 = np.minimum(a, b), np.maximum(a, b)
    first, last = np.minimum(low, low2), np.maximum(high, high2)
    inner, inner2 = np.maximum(low, low2), np.minimum(high, high2)
    second, third = np.minimum(inner, inner2), np.maximum(inner, inner2)
    values[0] = np.where(positive_N, low, third)
    values[1] = np.where(positive_N, high, second)
    values[2] = np.where(positive_N, a, first)
    values[3] = np.where(positive_N, b, last)


def _spread(values: list[Shorts], room: Room) -> Shorts:
    """Put ``min_sep - 1`` between neighbours. [K, N]."""
    spread_KN = np.stack(values)
    step = np.int16(room.min_sep - 1)
    if step:
        for i, j in combinations(range(room.num_objects), 2):
            before = values[i] < values[j]
            spread_KN[j] += before * step
            spread_KN[i] += ~before * step
    return spread_KN


def _fit(along_KN: Shorts, across_KN: Shorts, boxes_KN: Shorts, room: Room) -> Flags:
    """Whether every box is in the picture and no two overlap. A box of side b covers c - b // 2 and the b - 1 after."""
    starts = [centres - boxes_KN // 2 for centres in (along_KN, across_KN)]
    ends = [start + boxes_KN for start in starts]
    fits = np.ones(boxes_KN.shape[1], bool)
    if room.smallest != room.largest:
        for start, end in zip(starts, ends, strict=True):
            fits &= (start.min(axis=0) >= 0) & (end.max(axis=0) <= room.image_size)
    if room.min_sep >= room.largest:
        return fits
    for i, j in combinations(range(len(boxes_KN)), 2):
        apart: Any = False
        for start, end in zip(starts, ends, strict=True):
            apart = apart | (end[i] <= start[j]) | (end[j] <= start[i])
        fits &= apart
    return fits
