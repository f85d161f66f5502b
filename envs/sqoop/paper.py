"""``parity="paper"``: scenes drawn one object after the other and thrown away where they do not fit, as published.

What the released generator does, and what is kept of it here:

    sizes       each object's point size is uniform, and drawn anew whenever its scene is
    rotation    an angle of 0 .. 359 degrees makes the box larger, r = ceil(size (|sin| + |cos|)); letters stay upright
    centre      uniform over r // 2 + 1 .. image - r // 2 - 2
    apart       refused if on one axis two centres are closer than ``min_sep``, or on both axes closer than
                (r1 + r2) // 2 + 1; ten tries an object, then it has failed
    positive    X, then Y, anywhere; all over again unless X R Y; then the others
    negative    X, then Y where R fails; then the others; all over again unless X R (4th object) and (3rd object) R Y
    others      ten failures, and the filling begins anew beside the same X and Y

The scenes are independent, so they are drawn side by side. What differs: a filling is begun `FILLINGS` times, then the
whole scene is drawn anew, and after `envs.sqoop.sampling.ROUNDS` rounds a BadEnv says so (the original may never end).
Because positives and negatives are kept under different conditions, their layouts differ a little even without the
letters: that leak is part of the original, and `envs.sqoop.sampling` does not have it.
"""

from __future__ import annotations

import numpy as np

from envs.errors import BadEnv
from envs.sqoop.sampling import LEAST_ACCEPTED, Flags, Room, Rows, Shorts, until_placed

TRIES, FAILURES, FILLINGS = 10, 10, 4
PROBES = 512
TRIED, MOST = (
    16,
    4096,
)  # times each scene is tried together: most are thrown away, and a stubborn few take as long as all


def check_room(room: Room, boxes: Shorts, rotate: bool) -> None:
    """Raise BadEnv, naming the constraint, where hardly any scene comes about."""
    largest = int(_inflated(np.array([room.largest], np.int16), np.array([45]), rotate)[0])
    if 2 * (largest // 2 + 1) >= room.image_size:
        raise BadEnv(
            f"glyph_size gives boxes of up to {largest} pixels (rotate={rotate}), too many for image_size = "
            f"{room.image_size}. Make the picture larger or the glyphs smaller."
        )
    span = (room.num_objects - 1) * room.min_sep + 1
    free = room.image_size - 2 * (room.smallest // 2 + 1)
    if span > free:
        raise BadEnv(
            f"num_objects = {room.num_objects} centres at least min_sep = {room.min_sep} apart take {span} pixels of an "
            f"axis, and {free} of image_size = {room.image_size} are free. Lower num_objects, min_sep or glyph_size."
        )
    negatives = np.zeros(PROBES, bool)
    accepted = int(_Attempt(np.random.default_rng(0), room, boxes, rotate, negatives).run().sum())
    if accepted < LEAST_ACCEPTED:
        raise BadEnv(
            f"num_objects = {room.num_objects} boxes of glyph_size up to {largest} pixels hardly fit image_size = "
            f"{room.image_size}: {accepted} of {PROBES} scenes did. Lower num_objects, min_sep or glyph_size."
        )


def place(
    rng: np.random.Generator,
    room: Room,
    boxes: Shorts,
    positive_N: Flags,
    smaller_N: Flags,
    rotate: bool,
) -> tuple[Shorts, Shorts, Shorts]:
    """Sizes (rows of ``boxes``), centres along the relation's axis and across it, [K, N] each."""

    num = len(positive_N)

    def draw(tried_T: Rows) -> tuple[tuple[Shorts, ...], Flags]:
        attempt = _Attempt(rng, room, boxes, rotate, positive_N[tried_T])
        fits_T = attempt.run()
        mirrored = np.int16(room.image_size - 1) - attempt.along
        along = np.where(smaller_N[tried_T], attempt.along, mirrored)
        return (attempt.sizes, along, attempt.across), fits_T

    sizes_KN, along_KN, across_KN = until_placed(draw, num, room, min(MOST, TRIED * num))
    return sizes_KN, along_KN, across_KN


class _Attempt:
    """One try of each of N scenes, where "X R Y" is that X has the smaller coordinate along the axis."""

    def __init__(
        self, rng: np.random.Generator, room: Room, boxes: Shorts, rotate: bool, positive_N: Flags
    ) -> None:
        self.rng, self.room, self.boxes, self.rotate = rng, room, boxes, rotate
        self.positive = positive_N
        shape = (room.num_objects, len(positive_N))
        self.sizes, self.along, self.across, self.inflated = (np.zeros(shape, np.int16) for _ in range(4))

    def run(self) -> Flags:
        """Whether each scene has come about."""
        alive = np.arange(len(self.positive))
        alive = alive[self._put(0, alive)]
        alive = alive[self._put(1, alive)]
        alive = alive[~self.positive[alive] | (self.along[0, alive] < self.along[1, alive])]
        alive = self._fill(alive)
        x, y, a, b = self.along[:4, alive]
        alive = alive[self.positive[alive] | ((x < b) & (a < y))]
        done = np.zeros(len(self.positive), bool)
        done[alive] = True
        return done

    def _fill(self, scenes: Rows) -> Rows:
        """Put the other objects; which scenes it worked out for."""
        filled = []
        for _ in range(FILLINGS):
            failures = np.zeros(len(self.positive), np.int16)
            alive = scenes
            for i in range(2, self.room.num_objects):
                waiting = alive
                for _ in range(FAILURES):
                    failed = waiting[~self._put(i, waiting)]
                    failures[failed] += 1
                    waiting = failed[failures[failed] < FAILURES]
                    if not len(waiting):
                        break
                alive = alive[failures[alive] < FAILURES]
            filled.append(alive)
            scenes = np.setdiff1d(scenes, alive, assume_unique=True)
            if not len(scenes):
                break
        return np.sort(np.concatenate(filled))

    def _put(self, i: int, scenes: Rows) -> Flags:
        """Give object i of these scenes a size and a place; whether ten tries were enough."""
        size = self.rng.integers(0, len(self.boxes), len(scenes), dtype=np.int16)
        angle = self.rng.integers(0, 360, len(scenes))
        inflated = _inflated(self.boxes[size], angle, self.rotate)
        self.sizes[i, scenes], self.inflated[i, scenes] = size, inflated
        low, high = inflated // 2 + 1, self.room.image_size - inflated // 2 - 1
        done = np.zeros(len(scenes), bool)
        open_P = np.arange(len(scenes))
        for _ in range(TRIES):
            rows, first, last = scenes[open_P], low[open_P], high[open_P]
            end = last
            if i == 1:  # Y of a negative: where X R Y fails
                end = np.where(self.positive[rows], last, np.minimum(last, self.along[0, rows]))
            along = self.rng.integers(first, np.maximum(end, first + 1), dtype=np.int16)
            across = self.rng.integers(first, last, dtype=np.int16)
            free = self._free(i, rows, along, across, inflated[open_P]) & (end > first)
            self.along[i, rows[free]], self.across[i, rows[free]] = along[free], across[free]
            done[open_P[free]] = True
            open_P = open_P[~free]
            if not len(open_P):
                break
        return done

    def _free(self, i: int, rows: Rows, along: Shorts, across: Shorts, inflated: Shorts) -> Flags:
        """Whether a place is apart from the objects before."""
        free = np.ones(len(rows), bool)
        for j in range(i):
            off, off2 = np.abs(self.along[j, rows] - along), np.abs(self.across[j, rows] - across)
            reach = (self.inflated[j, rows] + inflated) // 2 + 1
            free &= (off >= self.room.min_sep) & (off2 >= self.room.min_sep)
            free &= (off >= reach) | (off2 >= reach)
        return free


def _inflated(boxes: Shorts, angle: Rows, rotate: bool) -> Shorts:
    """Side of the upright box round a square turned by so many degrees."""
    if not rotate:
        return boxes
    turned = np.deg2rad(angle)
    side: Shorts = np.ceil(boxes * (np.abs(np.sin(turned)) + np.abs(np.cos(turned)))).astype(np.int16)
    return side
