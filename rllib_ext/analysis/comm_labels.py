"""What messages are probed for: labels of steps and agents, out of an environment's facts.

A label is a fact with a few values. Where an environment has a goal, its place is also told in five classes (four
quadrants and the middle), as in the probing of CACL (2023 text, table 3). A message is a function of what its sender
sees, so what only some agents are shown is asked of those alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_ext.analysis.recordings import Recording

MOST_CLASSES = 25
#: Facts that say who is shown the goal.
_SHOWN = ("sighted", "sees_goal")


@dataclass(frozen=True)
class Label:
    """values (S, A); asked (S, A): the steps and agents that are asked."""

    name: str
    values: NDArray[Any]
    asked: NDArray[np.bool_]


def labels_of(recording: Recording) -> list[Label]:
    """Every fact with 2 to MOST_CLASSES whole values or two truths, and the goal's place, in order of name."""
    facts = dict(recording.facts)
    goal = "goal_row" in facts and "goal_column" in facts
    if goal:
        facts["goal_place"] = goal_place(facts["goal_row"], facts["goal_column"])
    shown = [facts[name].astype(bool) for name in _SHOWN if name in facts]
    labels = []
    for name, values in sorted(facts.items()):
        asked = recording.active
        for told in shown if name.startswith("goal_") else ():
            asked = asked & told
        if values.dtype.kind in "biu" and 2 <= len(np.unique(values[asked])) <= MOST_CLASSES:
            labels.append(Label(name, values, asked))
    return labels


def goal_place(rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.int64]:
    """0 upper left, 1 upper right, 2 lower left, 3 lower right, 4 the middle row or column of a grid of odd side.

    The side is the largest coordinate that occurs, plus one. On a grid of even side there is no middle, and four classes.
    """
    last = max(int(rows.max(initial=0)), int(columns.max(initial=0)))
    down, right = np.sign(2 * rows - last), np.sign(2 * columns - last)
    return np.where((down == 0) | (right == 0), 4, 2 * (down > 0) + (right > 0)).astype(np.int64)
