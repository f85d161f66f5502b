"""Protocol symmetry: do agents say the same to the same observation? Means of cosines over pairs of agents.

The figure that papers report is the raw cosine (CACL, 2023 text, table 2). Messages out of a sigmoid lie in the positive
orthant, where any two vectors have a high cosine: heads that were never trained reach 0.9, and reach it as well when each
agent is shown *another* observation. So three cosines are given, of the messages as they are, less 0.5, and less the mean
message, and each with its control, the same with the observations shuffled between the two agents. Only what exceeds the
control is a common language.

Edges: the mean is one for all agents, because a mean of each agent's own would hide that agents differ by a constant; a
message that is exactly at the centre has no direction, and its cosine counts as 0; one agent has no pair (nan).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rllib_ext.errors import BadData

Floats = NDArray[np.floating]
SHUFFLES = 8
_TINY = 1e-8


@dataclass(frozen=True)
class Symmetry:
    """Mean cosines in [-1, 1]; ``*_shuffled`` are the controls."""

    raw: float
    raw_shuffled: float
    half: float
    half_shuffled: float
    mean: float
    mean_shuffled: float


def protocol_symmetry(spoken_KAD: Floats, seed: int = 0) -> Symmetry:
    """spoken_KAD: what each of A agents says to the same K observations. Raises BadData without messages."""
    spoken_KAD = np.asarray(spoken_KAD, dtype=np.float64)
    if spoken_KAD.ndim != 3 or not spoken_KAD.size or len(spoken_KAD) < 2:
        raise BadData(
            f"symmetry was asked of messages of shape {spoken_KAD.shape}; give (K, A, D) of two observations or more."
        )
    centres = (0.0, 0.5, spoken_KAD.mean((0, 1)))
    figures = [figure for centre in centres for figure in _matched_and_shuffled(spoken_KAD - centre, seed)]
    return Symmetry(*figures)


def _matched_and_shuffled(messages_KAD: Floats, seed: int) -> tuple[float, float]:
    """Mean cosine over pairs of agents: to the same observation, and to different ones."""
    agents = messages_KAD.shape[1]
    if agents < 2:
        return float("nan"), float("nan")
    length = np.linalg.norm(messages_KAD, axis=-1, keepdims=True)
    unit = np.where(length > _TINY, messages_KAD / np.maximum(length, _TINY), 0.0)
    draw = np.random.default_rng(seed)
    others = [elsewhere(len(unit), draw) for _ in range(SHUFFLES)]
    matched, shuffled = [], []
    for i in range(agents):
        for j in range(i + 1, agents):
            matched.append((unit[:, i] * unit[:, j]).sum(-1).mean())
            shuffled += [(unit[:, i] * unit[order, j]).sum(-1).mean() for order in others]
    return float(np.mean(matched)), float(np.mean(shuffled))


def elsewhere(count: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """A random permutation that leaves nothing in its place (one cycle), for two or more."""
    cycle = draw.permutation(count)
    order = np.empty(count, np.int64)
    order[cycle] = np.roll(cycle, 1)
    return order
