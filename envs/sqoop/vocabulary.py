"""Words and geometry of SQOOP: glyph classes, the four relations, the tokens of a question.

A question is three tokens (X, R, Y): "does X stand in relation R to Y?". Tokens are 0 .. G - 1 for the glyph classes and
G .. G + 3 for left_of, right_of, above, below. Pictures have x to the right and y downwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

GLYPHS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ1234567890"
RELATIONS = ("left_of", "right_of", "above", "below")
ABOVE = 2

Ints = NDArray[np.int64]


def glyph_names(num_glyphs: int) -> tuple[str, ...]:
    """Letters, then digits, then (bitmaps and one-hot pictures have more classes) "#36", "#37" and so on."""
    return tuple(GLYPHS[i] if i < len(GLYPHS) else f"#{i}" for i in range(num_glyphs))


def relation_axis(relation: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether a relation compares y (True) or x."""
    vertical: NDArray[np.bool_] = relation >= ABOVE
    return vertical


def first_is_smaller(relation: NDArray[Any], above_is_visual: bool) -> NDArray[np.bool_]:
    """Whether "X R Y" says that X has the smaller coordinate on the relation's axis.

    left_of: x_X < x_Y. above: y_X < y_Y where ``above_is_visual``, as y grows downwards; the released generator has it
    the other way round (in its data, what is "above" is drawn below).
    """
    even = relation % 2 == 0
    smaller: NDArray[np.bool_] = even if above_is_visual else even ^ relation_axis(relation)
    return smaller


def holds(
    positions: Ints, shapes: Ints, question: Ints, above_is_visual: bool, num_glyphs: int
) -> NDArray[np.bool_]:
    """The truth of each question about its scene, from geometry alone: some X stands in relation R to some Y.

    positions [N, K, 2] centres (x, y), shapes [N, K], question [N, 3] → [N].
    """
    relation = question[:, 1] - num_glyphs
    vertical = relation_axis(relation)
    along = np.where(vertical[:, None], positions[:, :, 1], positions[:, :, 0])
    along = np.where(first_is_smaller(relation, above_is_visual)[:, None], along, -along)
    is_x, is_y = shapes == question[:, :1], shapes == question[:, 2:]
    least_x = np.where(is_x, along, np.iinfo(np.int64).max).min(axis=1)
    most_y = np.where(is_y, along, np.iinfo(np.int64).min).max(axis=1)
    true: NDArray[np.bool_] = least_x < most_y
    return true
