"""What a model of SQOOP gets wrong, as pictures: the scene, the question, its answer and what was answered instead.

The surest mistakes come first: what a model is sure of and wrong about says more than what it guesses at. X is framed
solid and Y dashed, where the scenes know their positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from envs.sqoop import Scenes
from rllib_ext.analysis import figures as look
from rllib_ext.errors import BadData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS, CELL = 5, 1.75  # pictures in a row; inches of one
NO_YES = ("no", "yes")


def mistakes(scenes: Scenes, logits: Any, count: int) -> np.ndarray:
    """Rows that were answered wrongly, the surest first; ties in the order of the scenes.

    logits: (N, 2) for no and yes. Raises BadData where they are not of these scenes, or no numbers.
    """
    logits_N2 = np.asarray(logits, np.float64)
    if logits_N2.shape != (len(scenes), 2) or not np.isfinite(logits_N2).all():
        raise BadData(f"logits must be finite numbers of shape ({len(scenes)}, 2), not of {logits_N2.shape}.")
    answered = logits_N2.argmax(axis=1)
    wrong = np.flatnonzero(answered != scenes.answer)
    margin = np.abs(logits_N2[wrong, 1] - logits_N2[wrong, 0])
    return wrong[np.argsort(-margin, kind="stable")][:count]


def failure_examples(
    scenes: Scenes, logits: Any, words: Sequence[str], *, count: int = 10, name: str = ""
) -> Figure:
    """Up to ``count`` mistakes; words: of the tokens, `SqoopGenerator.words`; name: of the model, for the heading."""
    rows = mistakes(scenes, logits, count)
    answered = np.asarray(logits).argmax(axis=1)
    right = float((answered == scenes.answer).mean())
    lines = max(1, -(-len(rows) // COLUMNS))
    figure, axes = look.new_figure(
        0.5 + COLUMNS * CELL,
        1.2 + lines * (CELL + 0.3),
        lines,
        COLUMNS,
        left=0.25,
        right=0.25,
        bottom=0.3,
        top=0.95,
    )
    of = f" of {name}" if name else ""
    look.heading(
        figure,
        f"Mistakes{of}, the surest first",
        f"{right:.1%} of {len(scenes)} answers are right; X solid, Y dashed",
    )
    for ax in axes:
        ax.set_axis_off()
    for ax, row in zip(axes, rows, strict=False):
        x, relation, y = (words[token].replace("_", " ") for token in scenes.question[row])
        ax.imshow(_shown(scenes.image[row]), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        truth, told = NO_YES[scenes.answer[row]], NO_YES[answered[row]]
        ax.set_title(f"{x} {relation} {y}?\n{truth}, answered {told}", size=8, color=look.INK)
        _frame(ax, scenes, row)
    return figure


def _shown(image: np.ndarray) -> np.ndarray:
    """(H, W) grey or (H, W, 3): channels that are no colours are brought together."""
    return image if image.shape[2] == 3 else image.max(axis=2)


def _frame(ax: Any, scenes: Scenes, row: int) -> None:
    """Round the two objects that the question is about, the first two of a scene."""
    from matplotlib.patches import Rectangle

    for place, (colour, line) in enumerate(((look.AMBER, "-"), (look.SKY, "--"))):
        if scenes.shapes.shape[1] <= place or scenes.shapes[row, place] != scenes.question[row, 2 * place]:
            continue
        size, centre = scenes.sizes[row, place], scenes.positions[row, place]
        if size <= 0 or (centre < 0).any():
            continue
        corner = centre - size // 2 - 1
        ax.add_patch(
            Rectangle(tuple(corner), size + 1, size + 1, fill=False, edgecolor=colour, linestyle=line)
        )
